"""Allocation against linear programs that state its priorities, and its properties under any request."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.optimize import linprog

from neural_lander.control.allocation import Allocation
from neural_lander.vehicle import load_vehicle

VEHICLE = load_vehicle("intel-aero")
ALLOCATION = Allocation(VEHICLE)
B0, U_MAX = VEHICLE.B0, VEHICLE.rotor_speed_max**2
T_MAX = float(B0[0].sum() * U_MAX)
TILT_MAX = float(np.abs(B0[1]).sum() * U_MAX / 2)  # N m, roll alone with two rotors at full speed
YAW_MAX = float(np.abs(B0[3]).sum() * U_MAX / 2)


def by_priority(T: float, tau: np.ndarray, B0: np.ndarray = B0) -> np.ndarray:
    """(share of roll and pitch, thrust error, share of yaw), each as good as those before it leave room for.

    Variables: u/u_max (4), shares a of tilt and b of yaw, thrust, and its error e >= |thrust - T|, forces in units of
    T_MAX. Roll and pitch are given without yaw.
    """
    scale = np.array([T_MAX, TILT_MAX, TILT_MAX, YAW_MAX])
    wanted = np.array([T, *tau]) / scale
    balance = np.zeros((4, 8))  # B u = (thrust, a tau_xy, b tau_z)
    balance[:, :4] = B0 * U_MAX / scale[:, None]
    balance[[0, 1, 2, 3], [6, 4, 4, 5]] = [-1, *-wanted[1:]]
    error = np.zeros((2, 8))
    error[:, 6], error[:, 7] = [1, -1], -1
    bounds: list[tuple[float | None, float | None]] = [(0, 1)] * 4 + [(0, 1), (0, 1), (None, None), (0, None)]

    def optimum(cost_of: int, sign: float) -> np.ndarray:
        cost = np.zeros(8)
        cost[cost_of] = sign
        b_ub = [wanted[0], -wanted[0]]
        found = linprog(cost, A_ub=error, b_ub=b_ub, A_eq=balance, b_eq=np.zeros(4), bounds=bounds)
        assert found.status == 0, found.message
        return np.asarray(found.x)

    bounds[5] = (0, 0)
    tilt = optimum(4, -1)[4]
    bounds[4:6] = [(tilt - 1e-9, tilt), (0, 1)]
    thrust = optimum(7, 1)[6]
    bounds[6] = (thrust - 1e-9, thrust + 1e-9)
    yaw = optimum(5, -1)[5]
    return np.array([tilt, abs(thrust - wanted[0]) * T_MAX, yaw])


def achieved(u: np.ndarray, T: float, tau: np.ndarray, B0: np.ndarray = B0) -> np.ndarray:
    got = B0 @ u
    size = tau[:2] @ tau[:2]
    tilt = got[1:3] @ tau[:2] / size if size else 1.0
    return np.array([tilt, abs(got[0] - T), got[3] / tau[2] if tau[2] else 1.0])


@pytest.mark.parametrize("seed", range(60))
def test_where_a_rotor_saturates_tilt_comes_before_thrust_and_thrust_before_yaw(seed: int) -> None:
    rng = np.random.default_rng(seed)
    T = float(rng.uniform(-0.1, 1.1) * T_MAX)
    tau = rng.uniform(-1.5, 1.5, 3) * rng.choice([0.1, 1.0], 3) * [TILT_MAX, TILT_MAX, YAW_MAX]
    u, _ = ALLOCATION(np.float64(T), tau)
    assert_allclose(achieved(u, T, tau), by_priority(T, tau), atol=1e-5)


@pytest.mark.parametrize("seed", range(40))
def test_so_it_is_on_frames_of_any_shape(seed: int) -> None:
    """A hub that is off by a fraction of a millimetre, a dead cat, rotors of different strength in thrust."""
    rng = np.random.default_rng(1000 + seed)
    hubs = VEHICLE.rotor_positions + rng.choice([1e-4, 1e-3, 0.03]) * rng.normal(size=(4, 3))
    vehicle = VEHICLE.with_(rotor_positions=hubs)
    allocation, B0 = Allocation(vehicle), vehicle.B0
    for _ in range(5):
        T = float(rng.uniform(-0.1, 1.1) * T_MAX)
        tau = rng.uniform(-1.5, 1.5, 3) * rng.choice([0.3, 1.0], 3) * [TILT_MAX, TILT_MAX, YAW_MAX]
        u, _ = allocation(np.float64(T), tau)
        assert np.all(u >= 0) and np.all(u <= U_MAX)
        assert_allclose(achieved(u, T, tau, B0), by_priority(T, tau, B0), atol=3e-4)  # as far as the slacks reach here
        batch, _ = allocation(torch.tensor([T], dtype=torch.float64), torch.tensor(tau[None]))
        assert_allclose(batch.numpy()[0], u, atol=1e-6)


def test_the_cases_do_saturate_in_each_of_the_three() -> None:
    limited = np.zeros(3)
    for seed in range(60):
        rng = np.random.default_rng(seed)
        T = float(rng.uniform(-0.1, 1.1) * T_MAX)
        tau = rng.uniform(-1.5, 1.5, 3) * rng.choice([0.1, 1.0], 3) * [TILT_MAX, TILT_MAX, YAW_MAX]
        tilt, error, yaw = achieved(ALLOCATION(np.float64(T), tau)[0], T, tau)
        limited += [tilt < 0.99, error > 0.1, yaw < 0.99]
    assert np.all(limited > 5)
    assert np.all(limited < 60)


@given(st.lists(st.floats(0, 1), min_size=4, max_size=4))
def test_what_is_feasible_is_given_exactly(share: list[float]) -> None:
    u_wanted = np.array(share) * U_MAX
    T, *tau = B0 @ u_wanted
    u, _ = ALLOCATION(np.float64(T), np.array(tau))
    assert_allclose(u, u_wanted, atol=1e-7 * U_MAX)


@given(st.floats(-100, 200), st.lists(st.floats(-20, 20), min_size=3, max_size=3))
def test_any_request_gives_speeds_that_a_rotor_can_turn_at_and_keeps_the_direction_of_the_tilt(
    T: float, moment: list[float]
) -> None:
    tau = np.array(moment)
    u, saturated = ALLOCATION(np.float64(T), tau)
    assert np.all(u >= 0) and np.all(u <= U_MAX)
    got = B0 @ u
    assert got[1] * tau[1] == pytest.approx(got[2] * tau[0], abs=1e-6)  # parallel
    assert got[1:3] @ tau[:2] >= -1e-9
    if not saturated:
        assert_allclose(got, [T, *tau], atol=1e-9)
    if np.hypot(*tau[:2]) < 0.7 * TILT_MAX:  # any direction of it fits in between 0 and full speed
        assert_allclose(got[1:3], tau[:2], atol=1e-9)


@given(
    st.floats(-0.2, 1.2),
    st.lists(st.floats(-1.5, 1.5), min_size=3, max_size=3),
    st.lists(st.floats(-1, 1), min_size=4, max_size=4),
)
def test_a_slightly_different_request_gives_slightly_different_speeds(
    T: float, moment: list[float], change: list[float]
) -> None:
    request = np.array([T, *moment])
    limits = np.array([T_MAX, TILT_MAX, TILT_MAX, YAW_MAX])
    u, v = (ALLOCATION(r[0], r[1:])[0] for r in (request * limits, (request + 1e-7 * np.array(change)) * limits))
    assert_allclose(u, v, atol=1e-5 * U_MAX)


def test_the_flag_says_where_a_rotor_saturated() -> None:
    for T, expected in ((0.5 * T_MAX, False), (1.01 * T_MAX, True), (-1.0, True)):
        _, saturated = ALLOCATION(np.float64(T), np.zeros(3))
        assert saturated is expected


def test_batches_and_torch_give_what_single_requests_give() -> None:
    rng = np.random.default_rng(0)
    T, tau = rng.uniform(-5, 1.2 * T_MAX, 100), rng.normal(size=(100, 3)) * [TILT_MAX, TILT_MAX, YAW_MAX]
    tau[::2] *= 0.05
    singles = [ALLOCATION(T[k], tau[k]) for k in range(100)]
    expected, flags = np.array([u for u, _ in singles]), np.array([flag for _, flag in singles])
    assert 10 < flags.sum() < 90
    u, saturated = ALLOCATION(T, tau)
    assert_allclose(u, expected, atol=1e-6)
    assert np.array_equal(saturated, flags)
    u, saturated = ALLOCATION(torch.tensor(T).reshape(4, 25), torch.tensor(tau).reshape(4, 25, 3))
    assert_allclose(u.numpy().reshape(100, 4), expected, atol=1e-6)
    assert np.array_equal(saturated.numpy().ravel(), flags)
