"""The tracking law against PD and against a double integrator; the whole controller over batches and libraries."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from neural_lander.control.controller import Controller
from neural_lander.control.tracking import TrackingGains, TrackingLaw
from neural_lander.errors import UserError
from neural_lander.residual.model import NoResidual, ResidualModel
from neural_lander.rotation import normalise
from neural_lander.state import Reference, State
from neural_lander.vehicle import GRAVITY, load_vehicle
from tests.random_network import random_network

VEHICLE = load_vehicle("intel-aero")
M = VEHICLE.mass
ZERO = np.zeros(3)
LEVEL = np.array([1.0, 0.0, 0.0, 0.0])
N = 24


def at(position: np.ndarray, velocity: np.ndarray = ZERO, contact: Any = False) -> State:
    return State(position, velocity, LEVEL, ZERO, position[..., 2], contact)


def random_gains(rng: np.random.Generator, Gamma: float = 0.0) -> TrackingGains:
    return TrackingGains(rng.uniform(0.5, 6, 3), rng.uniform(0.5, 10, 3), Gamma)


@pytest.mark.parametrize("seed", range(5))
def test_without_trim_it_is_pd_with_the_gains_of_the_design(seed: int) -> None:
    """f_bar_d = m p_d'' + m g e_z - (K_v Lambda) p~ - (m Lambda + K_v) v~."""
    rng = np.random.default_rng(seed)
    gains = random_gains(rng)
    p, v, p_d, v_d, a_d = rng.normal(size=(5, 3))
    pd = M * (a_d + [0, 0, GRAVITY]) - gains.K_v * gains.Lambda * (p - p_d) - (M * gains.Lambda + gains.K_v) * (v - v_d)
    assert_allclose(TrackingLaw(VEHICLE, gains)(at(p, v), Reference(p_d, v_d, a_d)), pd, rtol=1e-13)


def test_default_gains_put_both_poles_at_three_rad_per_s() -> None:
    gains = TrackingGains.critically_damped(VEHICLE)
    for Lambda, K_v in zip(gains.Lambda, gains.K_v, strict=True):
        assert_allclose(np.roots([M, M * Lambda + K_v, K_v * Lambda]), [-3, -3], atol=1e-6)


@pytest.mark.parametrize(
    "changes, named",
    [
        ({"Lambda": np.array([1.0, 0.0, 1.0])}, "Lambda"),
        ({"K_v": np.array([1.0, np.nan, 1.0])}, "K_v"),
        ({"K_v": np.ones(2)}, "K_v"),
        ({"Gamma": -1.0}, "Gamma"),
        ({"trim_limit": 1.5}, "trim_limit"),
    ],
)
def test_gains_that_make_no_sense_are_refused_by_name(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(UserError, match=named):
        replace(TrackingGains.critically_damped(VEHICLE), **changes)


def test_a_natural_frequency_must_be_positive() -> None:
    with pytest.raises(UserError, match="natural_frequency = -1"):
        TrackingGains.critically_damped(VEHICLE, -1.0)


DT = 0.005


def double_integrator(
    law: TrackingLaw, disturbance: np.ndarray, seconds: float, hold: Callable[[float], bool] = lambda t: False
) -> np.ndarray:
    """m p'' = f_d + m g + disturbance from rest at the reference 0; position at the end."""
    p, v = np.zeros(3), np.zeros(3)
    for k in range(round(seconds / DT)):
        force = law(at(p, v), Reference(ZERO, ZERO, ZERO))
        law.update(k * DT, hold(k * DT))
        v = v + DT * ((force + disturbance) / M - [0, 0, GRAVITY])
        p = p + DT * v
    return p


DISTURBANCE = np.array([0.5, -0.8, 2.0])  # N


def test_without_trim_a_constant_force_leaves_force_over_stiffness() -> None:
    gains = TrackingGains.critically_damped(VEHICLE, Gamma=0.0)
    assert_allclose(double_integrator(TrackingLaw(VEHICLE, gains), DISTURBANCE, 6.0), DISTURBANCE / (9 * M), rtol=1e-3)


def test_trim_finds_a_constant_force_and_leaves_no_error() -> None:
    law = TrackingLaw(VEHICLE, TrackingGains.critically_damped(VEHICLE))
    assert_allclose(double_integrator(law, DISTURBANCE, 8.0), 0, atol=1e-4)
    assert_allclose(law.d_hat, DISTURBANCE, rtol=2e-3)


def test_trim_does_not_wind_up_while_held() -> None:
    law = TrackingLaw(VEHICLE, TrackingGains.critically_damped(VEHICLE))
    double_integrator(law, DISTURBANCE, 3.0, hold=lambda t: True)
    assert np.all(law.d_hat == 0)
    double_integrator(law, DISTURBANCE, 3.0, hold=lambda t: t > 1.0)
    frozen = law.d_hat.copy()
    assert np.all(np.abs(frozen) > 0.1)
    assert np.all(np.abs(frozen) < np.abs(DISTURBANCE))


def test_after_a_pause_trim_does_not_jump() -> None:
    law = TrackingLaw(VEHICLE, TrackingGains.critically_damped(VEHICLE))
    law(at(np.ones(3)), Reference(ZERO, ZERO, ZERO))
    for t in (0.0, 5.0, 4.0):  # first call, a pause, a clock that goes backwards
        law.update(t, False)
    assert np.all(law.d_hat == 0)
    law.update(4.01, False)
    assert_allclose(law.d_hat, 0.01 * law.gains.Gamma * law.gains.K_v * law.s)


def test_trim_stays_within_its_share_of_the_weight() -> None:
    law = TrackingLaw(VEHICLE, TrackingGains.critically_damped(VEHICLE))
    double_integrator(law, np.array([50.0, -50.0, 50.0]), 5.0)
    assert_allclose(np.abs(law.d_hat), 0.3 * VEHICLE.weight)


def test_reset_forgets_the_trim() -> None:
    law = TrackingLaw(VEHICLE, TrackingGains.critically_damped(VEHICLE))
    double_integrator(law, DISTURBANCE, 1.0)
    law.reset()
    assert np.all(law.d_hat == 0)
    law.reset(np.array([0.0, 0.0, 1.0]))
    assert law(at(ZERO), Reference(ZERO, ZERO, ZERO))[2] == pytest.approx(VEHICLE.weight - 1.0)


def test_contact_and_saturation_hold_the_trim_of_the_controller() -> None:
    above, below = (Reference(np.array([0.0, 0.0, z]), ZERO, ZERO) for z in (0.1, -0.1))
    far_above = Reference(np.array([0.0, 0.0, 100.0]), ZERO, ZERO)
    for state, reference, moves in (
        (at(ZERO), above, True),
        (at(ZERO), below, True),
        (at(ZERO, contact=True), below, False),
        (at(ZERO, contact=True), above, True),  # it is asked to leave the ground
        (at(ZERO), far_above, False),
    ):
        controller = Controller(VEHICLE)
        for t in (0.0, 0.004):
            controller(t, state, reference)
        assert bool(np.any(controller.tracking.d_hat != 0)) is moves


def flights(rng: np.random.Generator, spread: float) -> tuple[list[np.ndarray], Reference]:
    """Random states of N vehicles, saturating at ``spread`` 1, and one reference for all."""
    q = normalise(LEVEL + 0.3 * spread * rng.normal(size=(N, 4)))
    p, v, w = spread * rng.normal(size=(3, N, 3))
    contact = rng.random(N) < 0.3
    reference = Reference(0.1 * rng.normal(size=3), ZERO, ZERO, 0.4, rng.normal(size=3))
    return [p, v, q, w, rng.random(N), contact], reference


def repeated(
    residual: ResidualModel, fields: list[Any], reference: Reference, convert: Callable[[Any], Any] = np.asarray
) -> tuple[np.ndarray, Controller]:
    """Rotor speeds after three calls: trim and the warm start of the fixed point take part."""
    controller = Controller(VEHICLE, residual, uncertified="random weights")
    state = State(*(convert(f) for f in fields))
    parts = (convert(f) for f in (reference.position, reference.velocity, reference.acceleration))
    wanted = Reference(*parts, 0.4, convert(reference.jerk))
    speeds = None
    for k in range(3):
        speeds = controller(0.005 * k, state, wanted)
    return np.asarray(speeds), controller


MODELS = {"PD": NoResidual(), "network": random_network(VEHICLE, 5)}
# the iteration of a batch stops when all have converged: single ones may stop earlier, within the tolerance
TOLERANCE = {"PD": 1e-3, "network": 0.3}  # rad/s; 0.3 rad/s of 680 is 1e-3 of the thrust


@pytest.mark.parametrize("spread", [0.05, 1.0])
@pytest.mark.parametrize("model", MODELS)
def test_a_batch_of_states_gives_what_each_gives_alone(model: str, spread: float) -> None:
    fields, reference = flights(np.random.default_rng(3), spread)
    together, controller = repeated(MODELS[model], fields, reference)
    assert together.shape == (N, 4)
    for k in range(N):
        alone, single = repeated(MODELS[model], [f[k] for f in fields], reference)
        assert_allclose(together[k], alone, atol=TOLERANCE[model])
        assert_allclose(controller.tracking.d_hat[k], single.tracking.d_hat, atol=1e-12)


@pytest.mark.parametrize("spread", [0.05, 1.0])
@pytest.mark.parametrize("model", MODELS)
def test_torch_gives_what_numpy_gives(model: str, spread: float) -> None:
    fields, reference = flights(np.random.default_rng(4), spread)
    expected, numpy_controller = repeated(MODELS[model], fields, reference)
    speeds, controller = repeated(MODELS[model], fields, reference, torch.as_tensor)
    assert_allclose(speeds, expected, atol=1e-4)  # sqrt next to zero
    assert isinstance(controller.tracking.d_hat, torch.Tensor)
    assert_allclose(controller.tracking.d_hat, numpy_controller.tracking.d_hat, atol=1e-12)
    assert bool(np.any(numpy_controller.tracking.d_hat != 0)) is (spread < 1)  # saturation holds it


def test_two_batch_axes_are_as_good_as_one() -> None:
    fields, reference = flights(np.random.default_rng(5), 0.05)
    expected, _ = repeated(MODELS["network"], fields, reference)
    speeds, _ = repeated(MODELS["network"], [f.reshape(4, 6, *f.shape[1:]) for f in fields], reference)
    assert speeds.shape == (4, 6, 4)
    assert_allclose(speeds.reshape(N, 4), expected, atol=1e-9)


def test_the_references_jerk_turns_the_vehicle_as_its_acceleration_turns_the_force() -> None:
    """Pitch follows jerk along x: about k_omega m j / (m g), beside none of a reference without."""
    moments = []
    for jerk in (None, ZERO, np.array([2.0, 0.0, 0.0]), np.array([0.0, 0.0, 2.0])):
        controller = Controller(VEHICLE)
        controller(0.0, at(ZERO), Reference(ZERO, ZERO, ZERO, jerk=jerk))
        assert controller.wanted is not None
        moments.append(controller.wanted.moment)
    none, zero, forward, up = moments
    assert_allclose(none, zero, atol=1e-15)
    assert_allclose(up, none, atol=1e-12)  # changes the force, and not where it points
    expected = [0.0, controller.attitude.gains.k_omega[1] * 2.0 / 9.81, 0.0]
    assert_allclose(forward - none, expected, rtol=1e-3, atol=1e-9)


def test_hover_asks_for_hover_speed() -> None:
    speeds = Controller(VEHICLE)(0.0, at(ZERO), Reference(ZERO, ZERO, ZERO))
    assert_allclose(speeds, VEHICLE.hover_speed, rtol=1e-12)


def test_on_the_ground_the_trim_lifts_off_and_learns_nothing_else() -> None:
    """Only with the reference more than 1 cm above, only upwards, and in a batch as alone."""
    gains = replace(TrackingGains.critically_damped(VEHICLE), Gamma=1.5)
    target, resting = np.array([0.2, -0.1, 0.05]), np.array([0.0, 0.0, 0.0])
    cases = [  # position, contact, whether d_hat moves: horizontally, vertically
        (resting, True, False, True),
        (target - [0.2, 0.0, 0.005], True, False, False),
        (target + [0.2, 0.0, 0.02], True, False, False),
        (target - [0.2, 0.1, 0.03], False, True, True),
    ]
    alone = []
    for position, contact, *_ in cases:
        law = TrackingLaw(VEHICLE, gains)
        for k in range(3):
            law(at(position, contact=contact), Reference(target, ZERO, ZERO))
            law.update(0.01 * k, False, contact)
        alone.append(law.d_hat)
    for d_hat, (_, contact, sideways, upwards) in zip(alone, cases, strict=True):
        assert bool(np.any(d_hat[:2])) is sideways and bool(d_hat[2] < 0) is upwards, contact
    law, positions = TrackingLaw(VEHICLE, gains), torch.tensor(np.array([case[0] for case in cases]))
    touching = torch.tensor([case[1] for case in cases])
    state = at(positions, torch.zeros_like(positions), touching)
    for k in range(3):
        law(state, Reference(torch.tensor(target), torch.zeros(3), torch.zeros(3)))
        law.update(0.01 * k, False, touching)
    assert_allclose(law.d_hat, np.array(alone), atol=1e-12)
