"""Attitude gains by the motors' lag: roots against a state space, and the vehicles that need them."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from neural_lander.control.attitude import AttitudeGains
from neural_lander.control.horizontal_loop import DAMPED, attitude_response, damping
from neural_lander.errors import NeuralLanderWarning
from neural_lander.vehicle import load_vehicle
from sim.collection import FLIGHT_TIME, collect_flight
from sim.plant import Plant

OMEGA_N = 3.0
SLOW = load_vehicle("intel-aero").with_(motor_time_constant=0.12)


def matrix(omega: float, zeta: float, tau: float, Gamma: float) -> np.ndarray:
    """Of the states x, x', theta, theta', theta'', d."""
    A = np.zeros((6, 6))
    A[0, 1] = A[1, 2] = A[2, 3] = A[3, 4] = 1.0
    k = omega**2
    A[4] = np.array([-k * OMEGA_N**2, -2 * k * OMEGA_N, -k, -2 * zeta * omega, -1.0, -k]) / tau
    A[5, :2] = Gamma * OMEGA_N**2, Gamma * OMEGA_N
    return A if Gamma > 0 else A[:5, :5]


@pytest.mark.parametrize("Gamma", [0.0, 1.5])
@pytest.mark.parametrize(("omega", "zeta", "tau"), [(16.7, 1.0, 0.03), (8.7, 1.0, 0.057), (11.0, 0.8, 0.12)])
def test_the_damping_is_that_of_the_state_spaces_roots(omega: float, zeta: float, tau: float, Gamma: float) -> None:
    roots = np.linalg.eigvals(matrix(omega, zeta, tau, Gamma))
    found = damping(np.array([omega]), np.array([zeta]), tau, OMEGA_N, Gamma)
    assert found[0] == pytest.approx((-roots.real / np.abs(roots)).min(), abs=1e-9)


def test_motors_of_usual_speed_have_a_critically_damped_attitude_at_half_their_bandwidth() -> None:
    for tau in (0.01, 0.02, 0.03):
        omega, zeta, found = attitude_response(tau)
        assert omega == min(20.0, 0.5 / tau) and zeta == 1.0 and found >= DAMPED


@pytest.mark.parametrize("tau", [0.04, 0.057, 0.08, 0.12])
def test_slow_motors_have_what_damps_best_and_nothing_swings_up(tau: float) -> None:
    omega, zeta, found = attitude_response(tau)
    usual = min(damping(np.array([0.5 / tau]), np.ones(1), tau, OMEGA_N, Gamma)[0] for Gamma in (0.0, 1.5))
    assert found > max(usual, 0.1)
    flown = solve_ivp(lambda t, x: matrix(omega, zeta, tau, 1.5) @ x, (0.0, 10.0), [1.0, 0, 0, 0, 0, 0], rtol=1e-8)
    assert np.abs(flown.y[0, flown.t > 8.0]).max() < 0.05  # m, of the metre that it was off


def test_gains_are_the_inertia_times_what_the_response_says() -> None:
    omega, zeta, _ = attitude_response(SLOW.motor_time_constant)
    gains = AttitudeGains.for_motors(SLOW)
    np.testing.assert_allclose(gains.k_R[:2], SLOW.inertia[:2] * omega**2)
    np.testing.assert_allclose(gains.k_omega[:2], 2 * zeta * omega * SLOW.inertia[:2])


@pytest.mark.slow
def test_a_vehicle_with_slow_motors_flies_its_collection_to_the_end() -> None:
    """At half the motors' bandwidth the loop was unstable at 0.12 s, and every flight ended upside down."""
    pytest.importorskip("pybullet", reason="the PyBullet world needs pybullet, which has wheels up to Python 3.11")
    assert collect_flight(Plant(SLOW).with_airframe(0), 3).duration > FLIGHT_TIME - 1.0


def test_motors_that_no_gains_can_stand_on_are_told() -> None:
    with pytest.warns(NeuralLanderWarning, match=r"motor_time_constant = 0\.5 s of 'intel-aero': no attitude gains"):
        AttitudeGains.for_motors(load_vehicle("intel-aero").with_(motor_time_constant=0.5))
