"""The scalar fixed point of the thrust against a bracketing root finder."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from constant_residual import ConstantResidual
from scipy.optimize import brentq

from neural_lander.control.controller import FIXED_POINT_TOLERANCE, Controller
from neural_lander.residual.model import ReluNetwork
from neural_lander.rotation import normalise, quaternion_to_matrix
from neural_lander.state import Reference, State
from neural_lander.vehicle import load_vehicle
from tests.random_network import random_network

VEHICLE = load_vehicle("intel-aero")
FACTOR = 0.45


def situation(seed: int) -> tuple[Controller, ReluNetwork, State]:
    """A controller that has chosen its thrust, in a random state; one rotor or more saturates in some."""
    rng = np.random.default_rng(seed)
    network = random_network(VEHICLE, seed, FACTOR)
    controller = Controller(VEHICLE, network, contraction_factor=FACTOR, uncertified="random weights")
    spread = 10 ** rng.uniform(-2, -0.3)
    q = normalise([1.0, 0, 0, 0] + 0.5 * spread * rng.normal(size=4))
    state = State(*(spread * rng.normal(size=(2, 3))), q, spread * rng.normal(size=3), np.float64(rng.random()))
    controller(0.0, state, Reference(np.zeros(3), np.zeros(3), np.zeros(3)))
    return controller, network, state


def mapped(controller: Controller, network: ReluNetwork, state: State, T: float) -> float:
    """(f_bar_d - f_a_hat(u(T))) . k, written from the equations: u(T) = clip(B0^-1 (T, tau_d), 0, u_max)."""
    assert controller.wanted is not None
    u = np.clip(np.linalg.solve(VEHICLE.B0, [T, *controller.wanted.moment]), 0, VEHICLE.rotor_speed_max**2)
    zeta = np.concatenate([[state.height], state.velocity, state.attitude])
    f_bar_d = controller.tracking(state, Reference(np.zeros(3), np.zeros(3), np.zeros(3)))
    return float((f_bar_d - network(zeta, VEHICLE.thrust_coefficient * u)) @ quaternion_to_matrix(state.attitude)[:, 2])


@pytest.mark.parametrize("seed", range(40))
def test_thrust_is_the_root_that_a_bracketing_search_finds(seed: int) -> None:
    controller, network, state = situation(seed)
    assert controller.wanted is not None
    root = brentq(lambda T: T - mapped(controller, network, state, T), -300, 300, xtol=1e-12)
    tolerance = FIXED_POINT_TOLERANCE * VEHICLE.weight
    assert abs(float(controller.wanted.thrust) - root) <= tolerance


def test_the_situations_include_saturated_rotors_and_free_ones() -> None:
    saturated = []
    for seed in range(40):
        controller, _, _ = situation(seed)
        assert controller.wanted is not None
        u = np.linalg.solve(VEHICLE.B0, [float(controller.wanted.thrust), *controller.wanted.moment])
        saturated.append(bool(np.any((u < 0) | (u > VEHICLE.rotor_speed_max**2))))
    assert 5 < sum(saturated) < 35


@pytest.mark.parametrize("seed", range(10))
def test_the_map_contracts_by_no_more_than_its_certified_factor(seed: int) -> None:
    controller, network, state = situation(seed)
    grid = np.linspace(-10, 60, 500)
    image = np.array([mapped(controller, network, state, T) for T in grid])
    slopes = np.abs(np.diff(image) / np.diff(grid))
    assert np.all(slopes <= FACTOR * (1 + 1e-9))
    assert slopes.max() > 1e-4  # the networks do depend on thrust


def test_the_estimate_that_was_subtracted_is_reported() -> None:
    controller, _, state = situation(1)
    assert controller.wanted is not None
    f_bar_d = controller.tracking(state, Reference(np.zeros(3), np.zeros(3), np.zeros(3)))
    k = quaternion_to_matrix(state.attitude)[:, 2]
    assert float((f_bar_d - controller.wanted.f_a_hat) @ k) == pytest.approx(float(controller.wanted.thrust), abs=1e-12)


class Proportional:
    """f_a,z = slope x collective thrust; counts its evaluations."""

    def __init__(self, slope: float) -> None:
        self.slope, self.calls = slope, 0

    def at(self, state: State) -> Callable[[np.ndarray], np.ndarray]:
        def force(rotor_thrust: np.ndarray) -> np.ndarray:
            self.calls += 1
            return np.array([0.0, 0.0, self.slope * rotor_thrust.sum()])

        return force


def hover_with(model: Proportional, factor: float) -> float:
    controller = Controller(VEHICLE, model, contraction_factor=factor)
    state = State(np.zeros(3), np.zeros(3), np.array([1.0, 0, 0, 0]), np.zeros(3), np.float64(0.0))
    controller(0.0, state, Reference(np.zeros(3), np.zeros(3), np.zeros(3)))
    assert controller.wanted is not None
    return float(controller.wanted.thrust)


@pytest.mark.parametrize("slope", [-0.45, -0.1, 0.2, 0.45])
def test_a_linear_residual_has_its_root_in_closed_form(slope: float) -> None:
    """T = m g - slope T."""
    expected = VEHICLE.weight / (1 + slope)
    assert hover_with(Proportional(slope), FACTOR) == pytest.approx(
        expected, abs=FIXED_POINT_TOLERANCE * VEHICLE.weight
    )


def test_a_larger_certified_factor_asks_for_more_iterations() -> None:
    careful, sure = Proportional(0.3), Proportional(0.3)
    hover_with(careful, 0.9)
    hover_with(sure, 0.31)
    assert careful.calls > sure.calls


def test_a_model_that_does_not_see_the_thrusts_needs_no_contraction() -> None:
    controller = Controller(VEHICLE, ConstantResidual(np.array([0.0, 0.0, 1.0])), contraction_factor=0.0)
    state = State(np.array([0.0, 0.0, 1.0]), np.zeros(3), np.array([1.0, 0, 0, 0]), np.zeros(3), 1.0)
    controller(0.0, state, Reference(state.position, np.zeros(3), np.zeros(3)))
    assert controller.wanted is not None
    assert controller.wanted.thrust == pytest.approx(VEHICLE.weight - 1.0)


@pytest.mark.parametrize("field", ["position", "velocity", "attitude", "body_rates", "height"])
def test_a_state_that_is_no_number_is_forgotten_by_the_next(field: str) -> None:
    hover = Reference(np.zeros(3), np.zeros(3), np.zeros(3))
    (controller, _, state), (other, _, _) = situation(3), situation(3)
    before = controller(0.01, state, hover)
    other(0.01, state, hover)
    assert np.isnan(controller(0.02, replace(state, **{field: math.nan * getattr(state, field)}), hover)).any()
    found, expected = controller(0.03, state, hover), other(0.03, state, hover)
    np.testing.assert_allclose(found, expected, rtol=1e-2)
    assert np.abs(found - before).max() < 0.05 * np.abs(before).max()
