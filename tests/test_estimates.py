"""Trim, INDI and L1 against their linear equivalents, in saturation and contact, with bad measurements, in torch."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy import signal

from neural_lander.control.controller import Controller
from neural_lander.control.estimate import Clock, ForceEstimate, MotorLag, Repetition
from neural_lander.control.indi import Indi, IndiGains
from neural_lander.control.l1 import L1, L1Gains
from neural_lander.control.tracking import TrackingGains
from neural_lander.control.trim import Trim
from neural_lander.errors import UserError
from neural_lander.rotation import normalise
from neural_lander.state import Reference, State
from neural_lander.vehicle import G_VECTOR, GRAVITY, load_vehicle

VEHICLE = load_vehicle("intel-aero")
M, W = VEHICLE.mass, VEHICLE.weight
DT = 0.002
ZERO = np.zeros(3)
LEVEL = np.array([1.0, 0.0, 0.0, 0.0])
HOVER = np.full(4, W / 4)
FORCE = np.array([0.3, -0.2, 1.0])  # N

ESTIMATES: dict[str, Callable[[], ForceEstimate]] = {
    "trim": lambda: Trim(1.5 * 3 * M * np.ones(3), 0.3 * W),
    "indi": lambda: Indi(VEHICLE),
    "l1": lambda: L1(VEHICLE),
}


def seen(velocity: np.ndarray = ZERO, felt: np.ndarray | None = None, contact: Any = False) -> State:
    height = velocity[..., 0] * 0 + 1.0
    return State(0 * velocity, velocity, LEVEL + 0 * velocity[..., :1], 0 * velocity, height, contact, None, felt)


def under_force(estimate: ForceEstimate, force: np.ndarray, seconds: float) -> np.ndarray:
    """d_hat (N, 3) of a vehicle that hovers level while ``force`` pulls it away."""
    v, d_hat = np.zeros(3), []
    for k in range(round(seconds / DT) + 1):
        estimate.observe(k * DT, seen(v, force / M - G_VECTOR), HOVER, ZERO)
        estimate.update(k * DT, v, False)
        d_hat.append(estimate.d_hat)
        v = v + DT * force / M
    return np.array(d_hat)


def test_indi_follows_a_constant_force_as_two_lags_do() -> None:
    d_hat, omega = under_force(Indi(VEHICLE, IndiGains(30.0)), FORCE, 0.4), 30.0
    t = DT * np.arange(len(d_hat))
    assert_allclose(d_hat / FORCE, (1 - (1 + omega * t) * np.exp(-omega * t))[:, None] * np.ones(3), atol=0.03)


def test_indi_is_a_filtered_disturbance_observer_of_any_signal() -> None:
    """Against the transfer function in SciPy: zero-order hold of each lag on m a - R (0, 0, T) - f_a_hat."""
    rng, n, omega = np.random.default_rng(0), 400, 25.0
    felt, modelled = rng.normal(size=(n, 3)) + [0, 0, GRAVITY], rng.normal(size=(n, 3))
    commanded = HOVER + rng.normal(size=(n, 4))
    q = normalise(LEVEL + 0.2 * rng.normal(size=(n, 4)))
    estimate, d_hat = Indi(VEHICLE, IndiGains(omega)), []
    for k in range(n):
        state = replace(seen(felt=felt[k]), attitude=q[k])
        estimate.observe(k * DT, state, commanded[k], modelled[k])
        d_hat.append(estimate.d_hat)
    from scipy.spatial.transform import Rotation

    def lag(x: np.ndarray, time_constant: float) -> np.ndarray:
        share = 1 - math.exp(-DT / time_constant)
        return signal.lfilter([share], [1, share - 1], x, axis=0)

    axis = Rotation.from_quat(q, scalar_first=True).as_matrix()[:, :, 2]
    change = commanded.sum(axis=1) - W
    change[0] = 0.0  # the first call is the start of the clock
    thrust = W + lag(change, VEHICLE.motor_time_constant)
    missing = M * felt - thrust[:, None] * axis - modelled
    missing[0] = 0.0
    expected = lag(lag(missing, 1 / omega), 1 / omega)
    assert np.abs(expected).max() < 0.3 * W
    assert_allclose(d_hat, expected, atol=1e-10)


def test_l1_finds_all_but_what_its_predictor_forgets_of_a_constant_force() -> None:
    """sigma_hat is e^(-a T_s) d from the second step on: the piecewise-constant law is deadbeat."""
    estimate = L1(VEHICLE, L1Gains(bandwidth=20.0, predictor_rate=8.0))
    d_hat = under_force(estimate, FORCE, 0.5)
    assert_allclose(estimate.sigma_hat, math.exp(-8.0 * DT) * FORCE, rtol=1e-9)
    t = DT * np.arange(len(d_hat))
    expected = math.exp(-8.0 * DT) * (1 - np.exp(-20.0 * t))
    assert_allclose(d_hat / FORCE, expected[:, None] * np.ones(3), atol=0.02)


def test_l1_is_its_linear_equivalent_in_scipy() -> None:
    """Predictor, adaptation and filter as one discrete system from the unexplained acceleration to d_hat."""
    rng, n, a, omega = np.random.default_rng(1), 300, 12.0, 15.0
    v = np.cumsum(rng.normal(size=n) * DT)
    estimate, d_hat = L1(VEHICLE, L1Gains(omega, a)), []
    for k in range(n):
        estimate.observe(k * DT, seen(np.array([0, 0, v[k]])), HOVER, ZERO)
        d_hat.append(estimate.d_hat[2])
    left, share = math.exp(-a * DT), 1 - math.exp(-omega * DT)
    Phi = (1 - left) / a
    # x = (v~, d_hat): v~+ = left v~ - left v~ - Phi (dv / dt), since sigma_hat = -m left / Phi v~
    A = np.array([[0.0, 0.0], [0.0, 1 - share]])
    B = np.array([[-Phi], [share * M * left]])
    system = signal.dlti(A, B, np.array([[0.0, 1.0]]), np.zeros((1, 1)), dt=DT)
    _, expected, _ = signal.dlsim(system, np.diff(v) / DT)
    assert_allclose(d_hat[1:-1], expected[1:, 0], atol=1e-10)


@pytest.mark.parametrize("name", ESTIMATES)
def test_each_law_rejects_a_constant_force_in_the_closed_loop(name: str) -> None:
    """Translation with ideal attitude and motors without lag: from rest, the error returns to zero (L1: to its 1 %)."""
    vehicle = VEHICLE.with_(motor_time_constant=1e-6)
    estimate = {"trim": ESTIMATES["trim"], "indi": lambda: Indi(vehicle), "l1": lambda: L1(vehicle)}[name]()
    controller = Controller(vehicle, gains=TrackingGains.critically_damped(vehicle), estimate=estimate)
    p, v, felt = np.zeros(3), np.zeros(3), -G_VECTOR
    force, worst = np.array([0.0, 0.0, 1.0]), 0.0
    for k in range(round(6.0 / DT)):
        state = State(p, v, LEVEL, ZERO, np.float64(1.0), specific_force=felt)
        n = controller(k * DT, state, Reference(ZERO, ZERO, ZERO))
        thrust = vehicle.thrust_coefficient * float(np.sum(n * n))
        felt = np.array([0.0, 0.0, thrust + force[2]]) / M
        v = v + DT * (felt + G_VECTOR)
        p = p + DT * v
        worst = max(worst, p[2])
    hang = force[2] / (9 * M)  # what PD keeps
    assert abs(p[2]) < 0.015 * hang
    assert worst < {"trim": 0.7, "indi": 0.3, "l1": 0.4}[name] * hang


def test_trim_has_the_poles_that_it_says() -> None:
    """m s' = -K_v s + d - d_hat, d_hat' = Gamma K_v s: d_hat of a constant force is a step response of second order."""
    K, Gamma = 3 * M, 1.5
    trim, s, found = Trim(Gamma * K * np.ones(3), W), 0.0, []
    for k in range(2000):
        trim.update(k * DT, np.full(3, s), False)
        s += DT * (-K * s + 1.0 - trim.d_hat[2]) / M
        found.append(trim.d_hat[2])
    t = DT * np.arange(2000)
    _, expected = signal.step(signal.TransferFunction([Gamma * K], [M, K, Gamma * K]), T=t)
    assert_allclose(found, expected, atol=0.01)


@pytest.mark.parametrize("name", ESTIMATES)
def test_contact_leaves_an_estimate_as_it_is(name: str) -> None:
    estimate = ESTIMATES[name]()
    estimate.reset(np.array([0.1, 0.2, 0.3]))
    for k in range(50):
        estimate.observe(k * DT, seen(np.full(3, 0.1 * k), np.full(3, 30.0), True), HOVER, ZERO)
        estimate.update(k * DT, np.ones(3), True)
    assert_allclose(estimate.d_hat, [0.1, 0.2, 0.3], atol=1e-12)


@pytest.mark.parametrize("name", ESTIMATES)
def test_a_number_that_is_missing_is_no_force(name: str) -> None:
    """Dropouts that come as NaN: the estimate waits, and goes on where it was."""
    estimate, before = ESTIMATES[name](), np.zeros(3)
    bad = np.full(3, np.nan)
    v = np.zeros(3)
    for k in range(300):
        lost = k % 10 == 3
        before = estimate.d_hat
        estimate.observe(k * DT, seen(bad if lost else v, bad if lost else FORCE / M - G_VECTOR), HOVER, ZERO)
        estimate.update(k * DT, bad if lost else v, False)
        if lost:
            assert_allclose(estimate.d_hat, before, atol=0.02)
        v = v + DT * FORCE / M
    assert np.all(np.isfinite(estimate.d_hat))
    assert_allclose(np.sign(estimate.d_hat), np.sign(FORCE))


@pytest.mark.parametrize("name", ["indi", "l1"])
def test_an_outage_that_repeats_the_last_state_is_no_force(name: str) -> None:
    """A vehicle that falls while nothing new arrives: taken at its word, it would hang in the air."""
    found = []
    for lost in (range(0), range(200, 212)):
        estimate, v, last = ESTIMATES[name](), np.zeros(3), seen()
        for k in range(260):
            force = np.array([0.0, 0.0, -4.0 + 0.01 * k])
            if k not in lost:
                last = State(np.full(3, 0.01 * k), v, LEVEL, ZERO, np.float64(1.0), specific_force=force / M - G_VECTOR)
            estimate.observe(k * DT, last, HOVER, ZERO)
            found.append(estimate.d_hat[2])
            v = v + DT * force / M
    steady, broken = np.array(found[:260]), np.array(found[260:])
    assert np.abs(broken - steady).max() < 0.15  # N; the force itself moves by 0.12 in the outage


def test_repetition_is_told_for_each_of_a_batch() -> None:
    repeated = Repetition()
    assert repeated(1.0, 2.0) is False
    assert repeated(1.0, 2.0) is True
    assert repeated(1.0, 2.5) is False
    repeated.reset()
    repeated(np.array([1.0, 2.0]), np.array([3.0, 4.0]))
    assert repeated(np.array([1.0, 2.0]), np.array([3.0, 5.0])).tolist() == [True, False]
    repeated.reset()
    assert repeated(np.array([1.0, 2.0]), np.array([3.0, 5.0])) is False


@pytest.mark.parametrize("name", ESTIMATES)
def test_an_estimate_stays_within_its_share_of_the_weight(name: str) -> None:
    estimate = ESTIMATES[name]()
    assert_allclose(np.abs(under_force(estimate, np.array([60.0, -60.0, 60.0]), 2.0)).max(axis=0), 0.3 * W)


@pytest.mark.parametrize("name", ["indi", "l1"])
def test_a_thrust_that_the_rotors_cannot_give_is_not_missed(name: str) -> None:
    """Saturated: they are told u_max and give it. No disturbance is there, and none is found."""
    estimate, most = ESTIMATES[name](), np.full(4, VEHICLE.thrust_coefficient * VEHICLE.u_max)
    lag, v = MotorLag(VEHICLE), np.zeros(3)
    for k in range(500):
        given = lag(DT if k else 0.0, most).sum()
        v = v + (DT * np.array([0.0, 0.0, given / M - GRAVITY]) if k else 0)
        estimate.observe(k * DT, seen(v, np.array([0.0, 0.0, given / M])), most, ZERO)
        estimate.update(k * DT, np.full(3, -1.0), True)
    assert_allclose(estimate.d_hat, 0, atol=1e-9)


@pytest.mark.parametrize("name", ESTIMATES)
def test_a_pause_or_a_clock_that_goes_backwards_learns_nothing(name: str) -> None:
    estimate = ESTIMATES[name]()
    for t in (0.0, 5.0, 4.0):
        estimate.observe(t, seen(np.full(3, t), np.full(3, 5.0)), HOVER, ZERO)
        estimate.update(t, np.ones(3), False)
    assert np.all(np.asarray(estimate.d_hat) == 0)


@pytest.mark.parametrize("name", ESTIMATES)
def test_an_estimate_begins_where_it_is_told_and_forgets_on_reset(name: str) -> None:
    estimate = ESTIMATES[name]()
    under_force(estimate, FORCE, 1.0)
    estimate.reset()
    assert np.all(estimate.d_hat == 0)
    estimate.reset(np.array([0.0, 0.0, 1.0]))
    estimate.observe(0.0, seen(felt=-G_VECTOR), HOVER, ZERO)
    assert_allclose(estimate.d_hat, [0.0, 0.0, 1.0])


@pytest.mark.parametrize("name", ESTIMATES)
def test_a_batch_in_either_library_gives_what_each_gives_alone(name: str) -> None:
    rng, n, steps = np.random.default_rng(2), 5, 40
    v, felt, s = rng.normal(size=(3, steps, n, 3))
    thrust = W / 4 + rng.normal(size=(steps, n, 4))
    q, contact = normalise(LEVEL + 0.2 * rng.normal(size=(steps, n, 4))), rng.random((steps, n)) < 0.1
    v[7, 2], felt[7, 2], s[7, 2] = np.nan, np.nan, np.nan

    def fly(pick: Callable[[np.ndarray], Any]) -> np.ndarray:
        estimate = ESTIMATES[name]()
        for k in range(steps):
            state = State(
                pick(v[k]), pick(v[k]), pick(q[k]), pick(v[k]), pick(v[k])[..., 2], pick(contact[k]), None,
                pick(felt[k] + [0, 0, GRAVITY]),
            )  # fmt: skip
            estimate.observe(k * DT, state, pick(thrust[k]), pick(0.1 * s[k]) * 0)
            estimate.update(k * DT, pick(s[k]), pick(contact[k]))
        return np.asarray(estimate.d_hat)

    alone = np.array([fly(lambda x, i=i: x[i]) for i in range(n)])  # type: ignore[misc]
    assert np.all(np.isfinite(alone)) and np.ptp(alone) > 0.1
    assert_allclose(fly(np.asarray), alone, atol=1e-12)
    assert_allclose(fly(torch.as_tensor), alone, atol=1e-12)


def test_one_word_may_hold_or_free_a_whole_batch() -> None:
    for hold in (True, False):
        trim = ESTIMATES["trim"]()
        for t in (0.0, DT):
            trim.update(t, np.ones((4, 3)), hold)
        assert np.all((trim.d_hat == 0) == hold)


def test_indi_without_an_accelerometer_is_refused_at_the_first_state_and_waits_later() -> None:
    estimate = Indi(VEHICLE)
    with pytest.raises(UserError, match="needs a state with specific_force"):
        estimate.observe(0.0, seen(), HOVER, ZERO)
    under_force(estimate, FORCE, 0.5)
    before = estimate.d_hat
    estimate.observe(0.502, seen(), HOVER, ZERO)
    assert estimate.d_hat is before


@pytest.mark.parametrize(
    "make, named",
    [
        (lambda: IndiGains(cut_off=0.0), "cut_off"),
        (lambda: IndiGains(limit=2.0), "limit"),
        (lambda: L1Gains(bandwidth=-1.0), "bandwidth"),
        (lambda: L1Gains(predictor_rate=math.nan), "predictor_rate"),
        (lambda: L1Gains(limit=0.0), "limit"),
    ],
)
def test_gains_out_of_range_are_refused_by_name(make: Callable[[], Any], named: str) -> None:
    with pytest.raises(UserError, match=named):
        make()


def test_what_is_taken_from_the_command_behind_the_controller_is_no_disturbance() -> None:
    """The touchdown detector leaves 70 % of the thrust: with that said, INDI does not push against it."""
    found = {}
    for told in (True, False):
        controller = Controller(VEHICLE, estimate=Indi(VEHICLE))
        lag = MotorLag(VEHICLE)
        felt = -G_VECTOR
        for k in range(200):
            state = State(ZERO, ZERO, LEVEL, ZERO, np.float64(1.0), specific_force=felt)
            n = controller(k * DT, state, Reference(ZERO, ZERO, ZERO))
            flown = 0.7 * VEHICLE.thrust_coefficient * n * n
            felt = np.array([0.0, 0.0, lag(DT, flown).sum() / M])
            if told:
                controller.flown_thrust = flown
        found[told] = controller.tracking.d_hat[2]
    assert abs(found[True]) < 0.05
    assert found[False] < -1.0


def test_a_clock_counts_only_steps_that_a_loop_takes() -> None:
    clock = Clock()
    assert [clock(t) for t in (1.0, 1.25, 1.25, 1.3125, 0.0)] == [0.0, 0.0, 0.0, 0.0625, 0.0]
