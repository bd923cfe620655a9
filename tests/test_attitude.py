"""The attitude law against Lee's formula in matrices, and in closed loop on a rigid body integrated by SciPy."""

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.integrate import solve_ivp
from scipy.spatial.transform import Rotation

from neural_lander.components import split
from neural_lander.control.attitude import (
    LEAST_LIFT,
    MAX_TILT,
    STEEPEST,
    AttitudeGains,
    AttitudeLaw,
    attitude_error,
    desired_attitude,
    desired_rates,
)
from neural_lander.vehicle import load_vehicle

VEHICLE = load_vehicle("intel-aero")
J, WEIGHT = np.diag(VEHICLE.inertia), VEHICLE.weight
RNG = np.random.default_rng(6)
R, R_D = Rotation.random(40, rng=RNG).as_matrix(), Rotation.random(40, rng=RNG).as_matrix()
OMEGA = RNG.normal(size=(40, 3))


def rows(M: np.ndarray) -> tuple:
    return tuple(split(M[..., i, :]) for i in range(3))


def vee(S: np.ndarray) -> np.ndarray:
    return np.stack([S[..., 2, 1], S[..., 0, 2], S[..., 1, 0]], axis=-1)


def lee_error(R: np.ndarray, R_d: np.ndarray) -> np.ndarray:
    """1/2 (R_d^T R - R^T R_d)^vee."""
    relative = np.swapaxes(R_d, -1, -2) @ R
    return 0.5 * vee(relative - np.swapaxes(relative, -1, -2))


def test_attitude_error_is_that_of_lee() -> None:
    assert_allclose(np.stack(attitude_error(rows(R), rows(R_D)), axis=-1), lee_error(R, R_D), atol=1e-14)


def test_moment_is_that_of_lee_with_the_trim_taken_off() -> None:
    gains = AttitudeGains(np.array([1.0, 2.0, 0.5]), np.array([0.1, 0.2, 0.3]))
    law = AttitudeLaw(VEHICLE, gains)
    law.tau_hat = np.array([0.01, -0.02, 0.03])
    expected = -gains.k_R * lee_error(R, R_D) - gains.k_omega * OMEGA + np.cross(OMEGA, OMEGA @ J) - law.tau_hat
    assert_allclose(law(rows(R), split(OMEGA), rows(R_D)), expected, atol=1e-14)
    assert_allclose(law(rows(R[0]), split(OMEGA[0]), rows(R_D[0])), expected[0], atol=1e-14)


def test_default_gains_damp_critically_and_yaw_is_slower() -> None:
    gains = AttitudeGains.for_motors(VEHICLE)
    for inertia, k_R, k_omega in zip(VEHICLE.inertia, gains.k_R, gains.k_omega, strict=True):
        poles = np.roots([inertia, k_omega, k_R])
        assert_allclose(poles, poles.real.mean(), rtol=1e-6)
    natural = np.sqrt(gains.k_R / VEHICLE.inertia)
    assert natural[0] == natural[1] > 2 * natural[2]
    assert natural[0] <= 0.5 / VEHICLE.motor_time_constant


finite = st.floats(-50, 50)


@given(finite, finite, st.floats(-20, 50), st.floats(-np.pi, np.pi))
def test_desired_attitude_is_a_rotation_at_the_heading_and_within_the_tilt_limit(
    x: float, y: float, z: float, yaw: float
) -> None:
    R_d = np.array(desired_attitude((x, y, z), yaw, WEIGHT))
    assert_allclose(R_d @ R_d.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(R_d) == pytest.approx(1)
    assert R_d[2, 2] >= np.cos(MAX_TILT) - 1e-9
    nose = np.array([np.cos(yaw), np.sin(yaw), 0])
    left = np.array([-np.sin(yaw), np.cos(yaw), 0])
    assert R_d[:, 0] @ left == pytest.approx(0, abs=1e-12)  # the nose has no part to the side of the heading
    assert R_d[:, 0] @ nose > 0


@given(st.floats(0, 0.6), st.floats(-np.pi, np.pi), st.floats(4, 40), st.floats(-np.pi, np.pi))
def test_thrust_points_along_the_force_that_is_wanted(tilt: float, side: float, size: float, yaw: float) -> None:
    direction = np.array([np.sin(tilt) * np.cos(side), np.sin(tilt) * np.sin(side), np.cos(tilt)])
    R_d = np.array(desired_attitude(tuple(size * direction), yaw, WEIGHT))
    assert_allclose(R_d[:, 2], direction, atol=1e-6)


@pytest.mark.parametrize("z", [10.0, 0.0, -10.0])
def test_a_force_out_of_reach_tilts_by_the_limit_to_its_side(z: float) -> None:
    axis = np.array(desired_attitude((30.0, -40.0, z), 0.3, WEIGHT))[:, 2]
    assert np.arccos(axis[2]) == pytest.approx(MAX_TILT)
    assert_allclose(axis[:2] / np.linalg.norm(axis[:2]), [0.6, -0.8], atol=1e-9)


def tilt(force: np.ndarray) -> float:
    return float(np.arccos(desired_attitude(force.tolist(), 0.3, WEIGHT)[2][2]))


@pytest.mark.parametrize("z", [0.5, 0.0, -1e-3, -20.0])
def test_who_wants_no_lift_does_not_tilt_along_noise(z: float) -> None:
    """0.1 N is what the sensors' noise makes of the wanted force: at the limit of 35 degrees it would be obeyed."""
    for _ in range(20):
        x, y = RNG.normal(scale=0.1, size=2)
        assert tilt(np.array([x, y, z])) <= np.hypot(x, y) / (LEAST_LIFT * WEIGHT) < np.radians(10)


def test_the_tilt_fades_without_a_jump_and_above_the_least_lift_is_that_of_the_force() -> None:
    z = np.linspace(-WEIGHT, WEIGHT, 2001)
    found = np.array([tilt(np.array([0.2, -0.3, lift])) for lift in z])
    assert np.abs(np.diff(found)).max() < 0.002 and found.max() < np.radians(8)
    above = z > LEAST_LIFT * WEIGHT
    assert_allclose(found[above], np.arctan(np.hypot(0.2, 0.3) / z[above]), atol=1e-7)
    for force in ((1.0, -2.0, 14.0), (0.3, 0.1, 3.0), (9.0, 9.0, 4.0)):  # equal to the last bit
        assert desired_attitude(force, 0.3, WEIGHT) == desired_attitude(force, 0.3, 1e-5)


def test_batches_of_forces_give_what_each_gives() -> None:
    forces = RNG.normal(size=(40, 3)) * [10, 10, 5] + [0, 0, 3]
    assert 5 < np.sum(forces[:, 2] < LEAST_LIFT * WEIGHT) < 35
    batch = np.array(desired_attitude(split(forces), 0.7, WEIGHT))
    tensors = torch.stack([torch.stack(list(row)) for row in desired_attitude(torch.tensor(forces).T, 0.7, WEIGHT)])
    for k, force in enumerate(forces):
        one = np.array(desired_attitude(split(force), 0.7, WEIGHT))
        assert_allclose(batch[..., k], one, atol=1e-13)
        assert_allclose(tensors[..., k], one, atol=1e-13)


@given(
    st.floats(0, np.pi), st.floats(-np.pi, np.pi), st.floats(4, 40), st.floats(-np.pi, np.pi),
    st.lists(st.floats(-20, 20), min_size=3, max_size=3),
)  # fmt: skip
def test_rates_are_those_at_which_the_desired_attitude_turns(
    tilt: float, side: float, size: float, yaw: float, turning: list[float]
) -> None:
    """R' = S(omega) R with omega in the world, by finite differences; at the limits of tilt and lift as well."""
    force = size * np.array([np.sin(tilt) * np.cos(side), np.sin(tilt) * np.sin(side), np.cos(tilt)])
    lift, h = max(force[2], LEAST_LIFT * WEIGHT), 1e-5
    steep, rise = np.hypot(*force[:2]) / lift / STEEPEST, turning[2] * (force[2] > LEAST_LIFT * WEIGHT)
    outward = force[:2] @ (np.array(turning[:2]) - rise / lift * force[:2])
    assume(abs(force[2] - LEAST_LIFT * WEIGHT) > 1e-3 and abs(steep - 1) > 1e-3)
    assume(steep > 1 or steep < 0.5 or outward < 0)
    before, here, after = (np.array(desired_attitude((force + k * h * np.array(turning)).tolist(), yaw, WEIGHT))
                           for k in (-1, 0, 1))  # fmt: skip
    S = (after - before) / (2 * h) @ here.T
    found = desired_rates(force.tolist(), rows(here), turning, yaw, WEIGHT)
    assert_allclose(found, vee(S), atol=2e-5 * (1 + np.abs(turning).max()))


def test_batches_of_rates_are_what_each_gives() -> None:
    forces, turning = 9 * RNG.normal(size=(40, 3)) + [0, 0, 6], RNG.normal(size=(40, 3))
    batch = desired_rates(split(forces), desired_attitude(split(forces), 0.7, WEIGHT), split(turning), 0.7, WEIGHT)
    for k, (f, d) in enumerate(zip(forces, turning, strict=True)):
        one = desired_rates(split(f), desired_attitude(split(f), 0.7, WEIGHT), split(d), 0.7, WEIGHT)
        assert_allclose(np.array(batch)[:, k], one, atol=1e-14)


def test_with_its_rates_an_attitude_that_turns_is_followed_without_lag() -> None:
    """J omega' = J omega x omega + tau towards an attitude that turns at a constant rate, world."""
    law, turn = AttitudeLaw(VEHICLE), np.array([0.3, -0.2, 0.1])

    def behind(fed_forward: bool) -> float:
        def flow(t: float, y: np.ndarray) -> np.ndarray:
            R, omega = y[:9].reshape(3, 3), y[9:]
            S = np.array([[0, -omega[2], omega[1]], [omega[2], 0, -omega[0]], [-omega[1], omega[0], 0]])
            R_d = rows(Rotation.from_rotvec(t * turn).as_matrix())
            tau = law(rows(R), split(omega), R_d, turn.tolist() if fed_forward else None)
            return np.concatenate([(R @ S).ravel(), np.linalg.solve(J, np.cross(J @ omega, omega) + tau)])

        y = solve_ivp(flow, (0, 4), np.concatenate([np.eye(3).ravel(), np.zeros(3)]), rtol=1e-8, atol=1e-9).y[:, -1]
        return float((Rotation.from_rotvec(4 * turn).inv() * Rotation.from_matrix(y[:9].reshape(3, 3))).magnitude())

    lag = np.linalg.norm((law.gains.k_omega / law.gains.k_R * turn)[:2])  # rad: k_R e_R = k_omega omega
    assert behind(False) > lag > 0.02
    assert behind(True) < 0.02 * lag


def closed_loop(
    start: Rotation, omega: np.ndarray, seconds: float, torque: np.ndarray
) -> tuple[np.ndarray, AttitudeLaw]:
    """R' = R S(omega), J omega' = J omega x omega + tau + torque towards level; angle to level over time."""
    law = AttitudeLaw(VEHICLE)
    level = rows(np.eye(3))

    def flow(_: float, y: np.ndarray) -> np.ndarray:
        R, omega = y[:9].reshape(3, 3), y[9:]
        S = np.array([[0, -omega[2], omega[1]], [omega[2], 0, -omega[0]], [-omega[1], omega[0], 0]])
        tau = law(rows(R), split(omega), level) + torque
        return np.concatenate([(R @ S).ravel(), np.linalg.solve(J, np.cross(J @ omega, omega) + tau)])

    y0 = np.concatenate([start.as_matrix().ravel(), omega])
    solution = solve_ivp(flow, (0, seconds), y0, rtol=1e-8, atol=1e-9, dense_output=True)
    end = solution.sol(np.linspace(0, seconds, 50)).T
    return Rotation.from_matrix(end[:, :9].reshape(-1, 3, 3)).magnitude(), law


@pytest.mark.parametrize("seed", range(8))
def test_large_attitude_errors_and_rates_settle(seed: int) -> None:
    rng = np.random.default_rng(seed)
    axis = rng.normal(size=3)
    start = Rotation.from_rotvec(rng.uniform(1.0, 2.8) * axis / np.linalg.norm(axis))
    angle, _ = closed_loop(start, 3 * rng.normal(size=3), 4.0, np.zeros(3))
    assert angle[0] > 0.9
    assert angle[-1] < 1e-3


def test_trim_takes_up_a_constant_moment() -> None:
    """Discrete loop, linear about level: J phi'' = tau + torque."""
    law, torque = AttitudeLaw(VEHICLE), np.array([0.02, -0.03, 0.004])
    angle, omega, dt = np.zeros(3), np.zeros(3), 1 / 240
    for _ in range(round(8.0 / dt)):
        tau = law(rows(Rotation.from_rotvec(angle).as_matrix()), split(omega), rows(np.eye(3)))
        law.learn_trim(dt)
        omega = omega + dt * (tau + torque) / VEHICLE.inertia
        angle = angle + dt * omega
    assert_allclose(law.tau_hat, torque, rtol=0.02)
    assert_allclose(angle, 0, atol=1e-4)


def test_without_trim_the_moment_leaves_an_angle() -> None:
    torque = np.array([0.05, 0.0, 0.0])
    angle, law = closed_loop(Rotation.identity(), np.zeros(3), 3.0, torque)
    assert np.sin(angle[-1]) == pytest.approx(torque[0] / law.gains.k_R[0], rel=1e-3)
