"""A number that is missing from one measurement costs that step, whichever law flies, and is not remembered."""

import math
from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose
from random_network import random_network

from neural_lander.control.build import build_controller
from neural_lander.control.kinds import controller_named
from neural_lander.control.learned import Learned
from neural_lander.control.touchdown import TouchdownDetector
from neural_lander.residual.analytic import CheesemanBennett
from neural_lander.state import Reference, State
from neural_lander.vehicle import load_vehicle

VEHICLE = load_vehicle("intel-aero")
LEARNED = Learned(
    random_network(VEHICLE, 0),
    CheesemanBennett(1.0, 0.0, VEHICLE.rotor_radius, VEHICLE.gear_clearance),
    0.45,
    None,
    "random weights",
)
HOVER = Reference(np.array([0.0, 0.0, 1.0]), np.zeros(3), np.zeros(3))
NAMES = [
    "pd",
    "pd-trim",
    "indi",
    "l1",
    "neural-lander",
    "neural-lander-trim",
    "neural-lander-l1",
    "neural-lander-adaptive",
]
FIELDS = ["position", "velocity", "attitude", "body_rates", "height", "specific_force"]
DT = 1 / 240


def measured(k: int, batch: tuple[int, ...] = ()) -> State:
    rng = np.random.default_rng(k)
    noise = 1e-3 * rng.standard_normal((3, 3))
    parts = HOVER.position + noise[0], noise[1], np.array([1.0, 0.0, 0.0, 0.0]), np.zeros(3)
    position, velocity, attitude, rates = (np.broadcast_to(x, (*batch, len(x))).copy() for x in parts)
    felt = np.broadcast_to([0.0, 0.0, 9.81] + noise[2], (*batch, 3)).copy()
    height, contact = (np.full(batch, 0.9), np.zeros(batch, bool)) if batch else (np.float64(0.9), False)
    return State(position, velocity, attitude, rates, height, contact, specific_force=felt)


def without(state: State, field: str) -> State:
    """One number of the last vehicle is missing."""
    values = np.array(getattr(state, field))
    values.reshape(-1)[-1] = math.nan
    return replace(state, **{field: values if values.ndim else np.float64(values)})


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("name", [*NAMES, *(f"{name}+guard" for name in NAMES)])
def test_the_steps_after_are_flown_as_if_it_had_not_been(name: str, field: str) -> None:
    flown = []
    for missing in (False, True):
        controller = build_controller(controller_named(name), VEHICLE, LEARNED)
        for k in range(150):
            state = measured(k)
            speeds = controller(k * DT, without(state, field) if missing and k == 50 else state, HOVER)
        flown.append((speeds, controller.tracking.d_hat))
    (clean, d_clean), (speeds, d_hat) = flown
    assert_allclose(speeds, clean, rtol=0.01)
    assert_allclose(d_hat, d_clean, atol=0.02 * VEHICLE.weight)


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("name", NAMES)
def test_in_a_batch_it_is_forgotten_too_and_the_others_do_not_notice(name: str, field: str) -> None:
    controller = build_controller(controller_named(name), VEHICLE, LEARNED)
    for k in range(150):
        state = measured(k, (2,))
        speeds = controller(k * DT, without(state, field) if k == 50 else state, HOVER)
        assert np.all(np.isfinite(speeds[0]))
    assert_allclose(speeds[1], speeds[0], rtol=0.01)


@pytest.mark.parametrize("at", [0.8, 1.02, 1.1])
@pytest.mark.parametrize("field", ["thrust", "climb", "upright"])
def test_the_motors_stop_after_touchdown_all_the_same(field: str, at: float) -> None:
    detector = TouchdownDetector()
    for k in range(480):
        t = k * DT
        told = {"thrust": 1.0, "climb": 0.0, "upright": 1.0}
        detector(t, t > 1.0, **told | ({field: math.nan} if k == round(at / DT) else {}))
    assert detector.landed is True and detector.since == pytest.approx(1.0, abs=2 * DT)
