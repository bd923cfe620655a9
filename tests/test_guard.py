"""The guard's projection against cvxpy, its invariance in simulation, and that it lets a landing pass."""

import math

import cvxpy as cp
import numpy as np
import pytest
import torch
from constant_residual import ConstantResidual
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from neural_lander.control.controller import Controller
from neural_lander.control.guard import Guarded, Limits, nearest_force
from neural_lander.control.tracking import TrackingGains
from neural_lander.errors import UserError
from neural_lander.residual.domain import Domain, FadingResidual
from neural_lander.rotation import quaternion_exp
from neural_lander.state import Reference, State
from neural_lander.vehicle import GRAVITY, load_vehicle

VEHICLE = load_vehicle("intel-aero")
LIMITS = Limits()
ZERO = np.zeros(3)
SLOW = TrackingGains.critically_damped(VEHICLE, 3.0, 0.0)


def oracle_force(force: np.ndarray, low: float, high: float, slope: float, problem: dict) -> np.ndarray:
    """The same QP, a second-order cone program, by cvxpy and CLARABEL."""
    for name, value in {"f": force, "low": low, "high": high, "slope": slope}.items():
        problem[name].value = value
    problem["p"].solve(solver=cp.CLARABEL)
    return np.asarray(problem["x"].value)


@pytest.fixture(scope="module")
def problem() -> dict:
    x, f = cp.Variable(3), cp.Parameter(3)
    low, high, slope = cp.Parameter(nonneg=True), cp.Parameter(nonneg=True), cp.Parameter(nonneg=True)
    limits = [x[2] >= low, x[2] <= high, cp.norm(x[:2]) <= slope * x[2]]
    return {
        "p": cp.Problem(cp.Minimize(cp.sum_squares(x - f)), limits), "x": x, "f": f, "low": low, "high": high,
        "slope": slope,
    }  # fmt: skip


def random_cases(n: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    low = rng.uniform(0, 20, n)
    return rng.normal(scale=15, size=(n, 3)), low, low + rng.uniform(0, 15, n), np.tan(rng.uniform(0.1, 0.7, n))


@pytest.mark.slow
def test_the_closed_form_is_the_solution_of_the_program_on_a_thousand_states(problem: dict) -> None:
    force, low, high, slope = random_cases(1000, 0)
    ours = np.array([nearest_force(f, a, b, k) for f, a, b, k in zip(force.tolist(), low, high, slope, strict=True)])
    theirs = np.array([oracle_force(*case, problem) for case in zip(force, low, high, slope, strict=True)])
    assert_allclose(ours, theirs, atol=2e-4)
    moved = np.linalg.norm(ours - force, axis=-1) > 1e-6
    assert 100 < moved.sum() < 1000


def test_the_closed_form_is_the_solution_of_the_program_on_some_states(problem: dict) -> None:
    for case in zip(*random_cases(40, 1), strict=True):
        assert_allclose(nearest_force(case[0].tolist(), *case[1:]), oracle_force(*case, problem), atol=2e-4)


@given(st.integers(0, 10_000))
def test_the_projection_is_inside_and_no_nearer_point_is(seed: int) -> None:
    """Variational inequality of a projection on a convex set: (f - p) . (q - p) <= 0 for every q inside."""
    force, low, high, slope = (a[0] for a in random_cases(1, seed))
    p = np.array(nearest_force(force.tolist(), low, high, slope))
    assert low - 1e-9 <= p[2] <= high + 1e-9 and np.hypot(*p[:2]) <= slope * p[2] * (1 + 1e-9)
    rng = np.random.default_rng(seed + 1)
    z = rng.uniform(low, high, 50)
    angle, r = rng.uniform(0, 2 * np.pi, 50), slope * z * rng.uniform(0, 1, 50)
    q = np.stack([r * np.cos(angle), r * np.sin(angle), z], axis=-1)
    assert np.all((q - p) @ (force - p) <= 1e-9)


def test_batches_in_either_library_are_projected_as_single_forces() -> None:
    force, low, high, slope = random_cases(200, 2)
    single = [nearest_force(f, a, b, k) for f, a, b, k in zip(force.tolist(), low.tolist(), high.tolist(),
                                                            slope.tolist(), strict=True)]  # fmt: skip
    assert_allclose(np.stack(nearest_force(force.T, low, high, slope), axis=-1), single, atol=1e-12)
    tensors = nearest_force(torch.tensor(force).T, *(torch.tensor(a) for a in (low, high, slope)))
    assert_allclose(torch.stack(tensors, dim=-1), single, atol=1e-12)


@given(st.floats(0.0, 3.0), st.floats(-5.0, 1.0))
def test_the_least_acceleration_is_that_of_the_barrier_condition(height: float, climb: float) -> None:
    """db/dt by finite differences along the motion equals -gamma b."""
    a, e = LIMITS.least_acceleration(height, climb), 1e-6
    h = max(height, 1e-4)
    a = LIMITS.least_acceleration(h, climb)

    def b(t: float) -> float:
        return climb + a * t + LIMITS.sink_speed(h + climb * t)

    assert (b(e) - b(-e)) / (2 * e) == pytest.approx(-LIMITS.gamma * b(0.0), abs=1e-3 * (1 + abs(a)))


@given(st.floats(0.05, 4.0), st.floats(0.0, 1.0))
def test_a_point_that_falls_as_fast_as_it_is_allowed_never_leaves_the_safe_set(height: float, share: float) -> None:
    """Forward invariance of the closed form itself, with the ground as the end, by fine steps."""
    h, v, dt = height, -share * LIMITS.sink_speed(height), 1e-3
    while h > 0:
        v += dt * max(LIMITS.least_acceleration(h, v), -GRAVITY)
        h += dt * v
        assert v + LIMITS.sink_speed(h) > -2e-3
    assert -v <= LIMITS.touch_speed + 2e-3


def state(height: float, velocity: np.ndarray = ZERO, tilt: float = 0.0) -> State:
    q = quaternion_exp(np.array([tilt, 0.0, 0.0]))
    return State(np.array([0, 0, height + 0.11]), velocity, q, ZERO, np.float64(height))


def reference(height: float, velocity: np.ndarray = ZERO) -> Reference:
    return Reference(np.array([0, 0, height + 0.11]), velocity, ZERO)


def test_what_is_safe_passes_bit_for_bit_and_says_so() -> None:
    bare, guarded = Controller(VEHICLE), Guarded(Controller(VEHICLE))
    for k in range(50):
        s = state(1.0 - 0.01 * k, np.array([0.02, 0.0, -0.3]), 0.02)
        r = reference(1.0 - 0.01 * k, np.array([0, 0, -0.3]))
        assert np.array_equal(guarded(0.01 * k, s, r), bare(0.01 * k, s, r))
        assert guarded.intervention is not None and not guarded.intervention.active
        assert np.all(guarded.intervention.force == 0) and guarded.intervention.barrier > 0
        assert np.array_equal(guarded.tracking.d_hat, bare.tracking.d_hat)


def test_a_sink_that_is_too_fast_is_braked_with_the_thrust_of_the_barrier() -> None:
    guarded = Guarded(Controller(VEHICLE, gains=SLOW))
    v = np.array([0.0, 0.0, -1.5])
    speeds = guarded(0.0, state(0.1, v), reference(0.0, np.array([0, 0, -3.0])))
    thrust = VEHICLE.thrust_coefficient * np.sum(speeds**2)
    assert guarded.intervention is not None and guarded.intervention.active and guarded.intervention.barrier < 0
    expected = VEHICLE.mass * (GRAVITY + LIMITS.least_acceleration(0.1, -1.5))
    assert thrust == pytest.approx(min(expected, 0.9 * 4 * VEHICLE.thrust_coefficient * VEHICLE.u_max), rel=1e-9)
    assert guarded.wanted.thrust == pytest.approx(thrust)
    assert_allclose(guarded.flown_thrust, VEHICLE.thrust_coefficient * speeds**2)
    assert_allclose(guarded.controller.rotor_thrust, guarded.flown_thrust)


def test_the_trim_is_held_while_the_guard_acts() -> None:
    guarded = Guarded(Controller(VEHICLE))
    falling, down = state(0.1, np.array([0, 0, -1.5])), reference(-2.0)
    guarded(0.0, falling, down)
    for k in range(1, 40):
        guarded(0.005 * k, falling, down)
        assert guarded.intervention.active
    assert np.all(guarded.tracking.d_hat == 0)


@pytest.mark.parametrize("height, largest", [(0.0, 15.0), (1.0, 35.0)])
def test_tilt_is_limited_more_near_the_ground(height: float, largest: float) -> None:
    guarded = Guarded(Controller(VEHICLE, gains=SLOW))
    r = Reference(np.array([3.0, 0, height + 0.11]), ZERO, ZERO)
    guarded(0.0, state(height), r)
    asked = [row[2] for row in guarded.wanted.R_d]
    assert math.degrees(math.acos(asked[2])) == pytest.approx(largest, abs=0.01)


def test_what_the_rotors_cannot_give_is_said_and_the_most_is_given() -> None:
    guarded = Guarded(Controller(VEHICLE, gains=SLOW))
    speeds = guarded(0.0, state(0.2, np.array([0, 0, -4.0])), reference(0.0))
    assert guarded.intervention.saturated
    most = 4 * VEHICLE.thrust_coefficient * VEHICLE.u_max
    assert VEHICLE.thrust_coefficient * np.sum(speeds**2) == pytest.approx(0.9 * most, rel=1e-6)


def test_a_force_that_is_no_number_becomes_the_weight_upright() -> None:
    guarded = Guarded(Controller(VEHICLE, ConstantResidual(np.array([0, 0, np.nan])), SLOW))
    with np.errstate(invalid="ignore"):
        speeds = guarded(0.0, state(1.0), reference(1.0))
    assert_allclose(speeds, VEHICLE.hover_speed, rtol=1e-9)
    assert guarded.intervention.active


def test_outside_of_its_domain_the_network_is_faded_out_and_the_share_is_reported() -> None:
    domain = Domain(
        np.array([0.0, 1.0]),
        np.array([[-0.5, 0.5], [-0.5, 0.5]]),
        np.array([1.0, 1.0]),
        np.array([0.2, 0.2]),
        2.0,
        ZERO,
        np.array([5.0, 30.0]),
    )
    push = ConstantResidual(np.array([0.0, 0.0, 3.0]))
    guarded = Guarded(Controller(VEHICLE, FadingResidual(push, domain), SLOW))
    for climb, share in ((-0.3, 1.0), (-0.75, 0.5), (-1.5, 0.0)):
        guarded(0.0, state(0.9, np.array([0, 0, climb])), reference(0.9))
        assert guarded.intervention.network_share == pytest.approx(share)
        assert guarded.wanted.f_a_hat[2] == pytest.approx(3.0 * share)
    assert Guarded(Controller(VEHICLE)).intervention is None


def test_a_batch_in_either_library_is_guarded_as_single_vehicles() -> None:
    rng, n = np.random.default_rng(4), 40
    h = rng.uniform(0.0, 1.0, n)
    v = rng.normal(scale=[0.5, 0.5, 1.2], size=(n, 3))
    q = quaternion_exp(0.2 * rng.normal(size=(n, 3)))
    p = np.column_stack([np.zeros((n, 2)), h + 0.11])
    w = 0.3 * rng.normal(size=(n, 3))
    r = Reference(np.array([0.3, 0.0, 0.11]), ZERO, ZERO)
    expected, active = [], []
    for k in range(n):
        guarded = Guarded(Controller(VEHICLE, gains=SLOW))
        expected.append(guarded(0.0, State(p[k], v[k], q[k], w[k], h[k]), r))
        active.append(bool(guarded.intervention.active))
    assert 5 < sum(active) < n
    batch = Guarded(Controller(VEHICLE, gains=SLOW))
    batch.controller.rotor_thrust = np.full((n, 4), VEHICLE.weight / 4)
    assert_allclose(batch(0.0, State(p, v, q, w, h), r), expected, rtol=1e-9, atol=1e-4)
    assert batch.intervention.active.tolist() == active
    tensors = Guarded(Controller(VEHICLE, gains=SLOW))
    tensors.controller.rotor_thrust = torch.full((n, 4), VEHICLE.weight / 4, dtype=torch.float64)
    in_torch = Reference(*(torch.tensor(a) for a in (r.position, r.velocity, r.acceleration)))
    found = tensors(0.0, State(*(torch.tensor(a) for a in (p, v, q, w, h))), in_torch)
    assert_allclose(found, expected, rtol=1e-9, atol=1e-4)


def test_a_reference_whose_jerk_is_missing_is_flown_without_it() -> None:
    wrong = Reference(np.array([0.3, 0.0, 1.0]), ZERO, ZERO, jerk=np.full(3, np.nan))
    here = state(0.9, ZERO)
    assert np.all(np.isnan(Controller(VEHICLE)(0.0, here, wrong)))
    guarded = Guarded(Controller(VEHICLE))
    found = guarded(0.0, here, wrong)
    assert np.all(np.isfinite(found)) and guarded.intervention is not None and guarded.intervention.active


@pytest.mark.parametrize(
    "change, message",
    [({"brake": 0.0}, "guard: brake = 0.0 must be a positive number"), ({"tilt_low": 1.0}, "guard: tilt_low = 1.0")],
)
def test_limits_that_are_none_are_refused(change: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Limits(**change)
