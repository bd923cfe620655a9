"""Composite adaptation of the last layer: the law against plain recursions and an integrator, the bound by search."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.integrate import solve_ivp

from neural_lander.certificate.contraction import contraction_factor
from neural_lander.control.adaptation import AdaptationGains, LastLayerAdaptation, largest_singular_value
from neural_lander.control.controller import Controller
from neural_lander.control.tracking import TrackingGains
from neural_lander.errors import UserError
from neural_lander.residual.model import ReluNetwork
from neural_lander.residual.norms import network_bounds
from neural_lander.rotation import normalise
from neural_lander.state import Reference, State
from neural_lander.vehicle import GRAVITY, load_vehicle
from tests.random_network import random_network

VEHICLE = load_vehicle("intel-aero")
M, W = VEHICLE.mass, VEHICLE.weight
K_v = 3 * M * np.ones(3)
NETWORK = random_network(VEHICLE, 3)
DT = 0.004
LEVEL = np.array([1.0, 0.0, 0.0, 0.0])
HOVER = np.full(4, W / 4)
ZERO = np.zeros(3)


def states(rng: np.random.Generator, n: int, yaw: bool = False) -> list[State]:
    q = normalise(LEVEL + 0.1 * rng.normal(size=(n, 4)))
    if yaw:
        q = normalise(np.stack([rng.normal(size=n), 0 * q[:, 1], 0 * q[:, 1], rng.normal(size=n)], axis=-1))
    v, h = 0.3 * rng.normal(size=(n, 3)), rng.random(n)
    felt = rng.normal(size=(n, 3)) + [0, 0, GRAVITY]
    return [State(v[k], v[k], q[k], ZERO, h[k], specific_force=felt[k]) for k in range(n)]


def plain(adaptation: LastLayerAdaptation, gains: AdaptationGains, flown: list[tuple[Any, ...]]) -> np.ndarray:
    """The composite law written as loops over scalars, without batches, clamps or frames; returns A."""
    A, P = np.zeros((3, NETWORK.weights[-1].shape[1] + 1)), adaptation._P0.copy()
    n = len(P)
    R, Q = (M * gains.noise) ** 2, adaptation._Q
    lam = np.array([gains.forget] * (n - 1) + [0.0])
    for missing_of, x, s in flown:
        e, Px = missing_of(A), P @ x
        new = np.zeros_like(A)
        S = np.zeros_like(P)
        for i in range(n):
            for j in range(n):
                S[i, j] = P[i, j] * np.exp(-(lam[i] + lam[j]) * DT) + Q[i, j] * DT
        SPx = S @ x
        denominator = x @ SPx + R / DT
        for i in range(3):
            kappa = gains.Gamma * K_v[i] / (gains.prior * W) ** 2
            for j in range(n):
                new[i, j] = A[i, j] * np.exp(-lam[j] * DT) + e[i] * SPx[j] / denominator + DT * kappa * s[i] * Px[j]
        A, P = new, S - np.outer(SPx, SPx) / denominator
    return A


def test_the_law_is_a_plain_recursion() -> None:
    rng, gains = np.random.default_rng(0), AdaptationGains(rate=1.0, prior=1e-3, noise=0.5)
    adaptation = LastLayerAdaptation(VEHICLE, NETWORK, K_v, gains)
    adaptation.radius = adaptation._limit = 1e9  # ball and clamp are tests of their own
    flown: list[tuple[Any, ...]] = []
    s = np.zeros(3)
    W0, b = NETWORK.weights[-1], NETWORK.biases[-1]
    for k, state in enumerate(states(rng, 60)):
        phi = NETWORK.hidden_at_features(NETWORK.features.of(state))(HOVER)
        f_net = adaptation.at(state)(HOVER)
        assert_allclose(f_net, (W0 + adaptation.A[:, :-1]) @ phi + b, atol=1e-12)
        y = M * np.asarray(state.specific_force) - W * state.R[:, 2]
        adaptation.observe(k * DT, state, HOVER, f_net)
        if k:
            x = np.append(phi, 1.0)
            flown.append((lambda A, y=y, x=x: y - (W0 @ x[:-1] + b) - A @ x, x, s))
        s = rng.normal(size=3)
        adaptation.update(k * DT, s, False)
    expected = plain(adaptation, gains, flown)
    assert np.abs(expected).max() > 1e-3
    assert_allclose(adaptation.A, expected, atol=1e-9)


def test_small_steps_follow_the_differential_equations_of_neural_fly() -> None:
    """A' and P' by an adaptive integrator, at a constant regressor and measurement."""
    gains = AdaptationGains(rate=2.0, prior=0.02, noise=0.3, forget=0.5, Gamma=0.5)
    adaptation = LastLayerAdaptation(VEHICLE, NETWORK, K_v, gains)
    adaptation.radius = adaptation._limit = 1e9
    felt = np.array([0.1, 0.0, GRAVITY + 0.5])
    # that they differ in the last digits tells them from an outage
    pair = [State(ZERO, np.full(3, e), LEVEL, ZERO, np.float64(0.1), specific_force=felt) for e in (0.0, 1e-13)]
    state = pair[0]
    x = np.append(NETWORK.hidden_at_features(NETWORK.features.of(state))(HOVER), 1.0)
    y, s = M * (np.asarray(state.specific_force) - [0, 0, GRAVITY]), np.array([0.05, -0.02, 0.1])
    f_0 = NETWORK.at(state)(HOVER)
    n, R = len(x), (M * gains.noise) ** 2
    lam, kappa = np.diag([gains.forget] * (n - 1) + [0.0]), np.diag(gains.Gamma * K_v / (gains.prior * W) ** 2)

    def rates(t: float, z: np.ndarray) -> np.ndarray:
        A, P = z[: 3 * n].reshape(3, n), z[3 * n :].reshape(n, n)
        e, Px = y - f_0 - A @ x, P @ x
        dA = -A @ lam + np.outer(e, Px) / R + np.outer(kappa @ s, Px)
        dP = -lam @ P - P @ lam + adaptation._Q - np.outer(Px, Px) / R
        return np.concatenate([dA.ravel(), dP.ravel()])

    start = np.concatenate([np.zeros(3 * n), adaptation._P0.ravel()])
    expected = solve_ivp(rates, (0, 0.5), start, rtol=1e-8, atol=1e-10).y[: 3 * n, -1].reshape(3, n)
    step = 2e-4
    for k in range(round(0.5 / step) + 1):
        adaptation.update(k * step, s, False)
        adaptation._last_s, adaptation._hold = s, False
        adaptation.observe(k * step, pair[k % 2], HOVER, adaptation.at(state)(HOVER))
    assert_allclose(adaptation.A, expected, atol=0.01 * np.abs(expected).max())


@settings(max_examples=25)
@given(seed=st.integers(0, 10**6), size=st.floats(-2, 3), forget=st.floats(0, 5))
def test_whatever_is_measured_the_iteration_contracts_as_certified(seed: int, size: float, forget: float) -> None:
    """Forces and errors up to a thousand newtons: the slope of the adapted network stays below L_u, by search."""
    rng, factor = np.random.default_rng(seed), contraction_factor(network_bounds(NETWORK), VEHICLE)
    gains = AdaptationGains(rate=20.0, prior=0.5, forget=forget)
    adaptation = LastLayerAdaptation(VEHICLE, NETWORK, K_v, gains)
    share = VEHICLE.thrust_direction
    for k, state in enumerate(states(rng, 12)):
        felt = 10**size * rng.normal(size=3)
        pushed = State(state.position, state.velocity, state.attitude, ZERO, state.height, specific_force=felt)
        adaptation.observe(k * DT, pushed, HOVER + rng.normal(size=4), rng.normal(size=3))
        adaptation.update(k * DT, 10**size * rng.normal(size=3), False)
        assert np.linalg.norm(adaptation.W, 2) <= np.linalg.norm(NETWORK.weights[-1], 2)
        force = adaptation.at(state)
        grid = np.linspace(0, 2 * W, 40)
        values = np.array([force(rng_thrust) for rng_thrust in share * grid[:, None]])
        slopes = np.linalg.norm(np.diff(values, axis=0), axis=1) / np.diff(grid)
        assert slopes.max() <= factor * (1 + 1e-9)
        assert np.abs(adaptation.d_hat).max() <= 0.3 * W
    assert np.abs(adaptation.A[:, :-1]).max() > 1e-6


def test_the_bound_that_the_ball_keeps_is_the_network_s_own() -> None:
    """Norms of the adapted weights give no larger L_u than those of the trained ones, for every product bound."""
    rng = np.random.default_rng(5)
    adaptation = LastLayerAdaptation(VEHICLE, NETWORK, K_v, AdaptationGains(rate=20.0, prior=0.5))
    for k, state in enumerate(states(rng, 30)):
        adaptation.observe(k * DT, state, HOVER, ZERO)
        adaptation.update(k * DT, ZERO, False)
    adapted = ReluNetwork(
        (*NETWORK.weights[:-1], adaptation.W), NETWORK.biases, "paper", NETWORK.state_low, NETWORK.state_high
    )
    new, old = network_bounds(adapted), network_bounds(NETWORK)
    for name in ("total", "rotor_thrust"):
        assert getattr(new, name) <= getattr(old, name)


@pytest.mark.parametrize("seed", range(20))
def test_the_closed_form_of_the_norm_is_that_of_the_svd(seed: int) -> None:
    rng = np.random.default_rng(seed)
    W = rng.normal(size=(3, 15)) * 10.0 ** rng.uniform(-3, 3, (3, 1))
    assert largest_singular_value(W) == pytest.approx(np.linalg.norm(W, 2), rel=1e-7)
    many = rng.normal(size=(4, 3, 15))
    assert_allclose(largest_singular_value(many), np.linalg.norm(many, 2, axis=(1, 2)), rtol=1e-7)


def test_the_norm_of_special_matrices() -> None:
    assert largest_singular_value(np.zeros((3, 4))) == pytest.approx(0, abs=1e-12)
    assert largest_singular_value(2.0 * np.eye(3)) == pytest.approx(2.0)
    assert largest_singular_value(np.diag([3.0, 3.0, 1.0])) == pytest.approx(3.0, rel=1e-7)


def closed_loop(adaptation: LastLayerAdaptation, force: np.ndarray, seconds: float) -> tuple[np.ndarray, float]:
    """Level translation with ideal motors: position at the end, and d_hat's vertical part."""
    gains = TrackingGains.critically_damped(VEHICLE, Gamma=0.0)
    controller = Controller(
        VEHICLE.with_(motor_time_constant=1e-6), adaptation, gains, estimate=adaptation, uncertified="random weights"
    )
    p, v, felt = np.array([0.0, 0.0, 1.0]), np.zeros(3), np.array([0.0, 0.0, GRAVITY])
    hold = p.copy()
    for k in range(round(seconds / DT)):
        state = State(p, v, LEVEL, ZERO, p[2], specific_force=felt)
        n = controller(k * DT, state, Reference(hold, ZERO, ZERO))
        felt = np.array([0.0, 0.0, VEHICLE.thrust_coefficient * float(n @ n) + force[2]]) / M
        v = v + DT * (felt - [0, 0, GRAVITY])
        p = p + DT * v
    return p - hold, float(controller.tracking.d_hat[2])


@pytest.mark.parametrize("accelerometer", [True, False])
def test_a_force_that_the_network_does_not_know_is_found(accelerometer: bool) -> None:
    quiet = ReluNetwork(
        (*NETWORK.weights[:-1], 0.01 * NETWORK.weights[-1]), tuple(0 * b for b in NETWORK.biases), "paper",
        NETWORK.state_low, NETWORK.state_high,
    )  # fmt: skip
    gains = AdaptationGains(rate=0.0 if not accelerometer else 2.0)
    error, _ = closed_loop(LastLayerAdaptation(VEHICLE, quiet, K_v, gains), np.array([0.0, 0.0, 1.5]), 10.0)
    assert abs(error[2]) < 0.05 * 1.5 / (9 * M)


def test_contact_saturation_and_missing_numbers_leave_it_as_it_is() -> None:
    rng = np.random.default_rng(1)
    for case in range(3):
        adaptation = LastLayerAdaptation(VEHICLE, NETWORK, K_v)
        for k, state in enumerate(states(rng, 8)):
            felt = np.full(3, np.nan) if case == 2 and k > 3 else state.specific_force
            touched = State(
                state.position, state.velocity, state.attitude, ZERO, state.height, case == 0 and k > 3, None, felt
            )
            adaptation.observe(k * DT, touched, HOVER, ZERO)
            adaptation.update(k * DT, np.ones(3), case == 1 and k >= 3)
            if k == 3:
                before = adaptation.A, adaptation.P
        assert np.any(before[0] != 0)
        assert_allclose(adaptation.A, before[0])
        assert_allclose(adaptation.P, before[1])


def test_it_turns_with_the_vehicle_where_the_features_do() -> None:
    """Features in the heading frame: a world that is turned gives the same force, turned."""
    network = random_network(VEHICLE, 2, features="heading")
    found = []
    for yaw in (0.0, 1.1):
        turn = np.array([[np.cos(yaw), -np.sin(yaw), 0], [np.sin(yaw), np.cos(yaw), 0], [0, 0, 1]])
        q = np.array([np.cos(yaw / 2), 0, 0, np.sin(yaw / 2)])
        adaptation = LastLayerAdaptation(VEHICLE, network, K_v)
        for k in range(40):
            felt = turn @ np.array([0.4, -0.2, GRAVITY + 0.3])
            state = State(ZERO, turn @ [0.1, 0.2, 1e-13 * (k % 2)], q, ZERO, np.float64(0.2), specific_force=felt)
            adaptation.observe(k * DT, state, HOVER, adaptation.at(state)(HOVER))
            adaptation.update(k * DT, turn @ [0.1, 0.0, 0.1], False)
        found.append(turn.T @ (adaptation.d_hat + adaptation.at(state)(HOVER)))
    assert np.abs(found[0]).max() > 0.1
    assert_allclose(found[1], found[0], atol=1e-9)


@pytest.mark.parametrize("features", ["paper", "heading"])
def test_a_batch_in_either_library_gives_what_each_gives_alone(features: str) -> None:
    rng, n, steps = np.random.default_rng(2), 4, 25
    network = random_network(VEHICLE, 2, features=features)
    v, felt, s = 0.3 * rng.normal(size=(3, steps, n, 3))
    thrust = W / 4 + rng.normal(size=(steps, n, 4))
    q, contact = normalise(LEVEL + 0.2 * rng.normal(size=(steps, n, 4))), rng.random((steps, n)) < 0.1
    felt[7, 2] = np.nan

    def fly(pick: Callable[[np.ndarray], Any]) -> np.ndarray:
        adaptation = LastLayerAdaptation(VEHICLE, network, K_v, AdaptationGains(rate=5.0), lambda state: 1.0)
        for k in range(steps):
            p = pick(v[k])
            state = State(p, p, pick(q[k]), p, p[..., 2], pick(contact[k]), None, pick(felt[k] + [0, 0, GRAVITY]))
            force = adaptation.at(state)(pick(thrust[k]))
            adaptation.observe(k * DT, state, pick(thrust[k]), force)
            adaptation.update(k * DT, pick(s[k]), pick(contact[k]))
        return np.asarray(force + adaptation.d_hat)

    alone = np.array([fly(lambda x, i=i: x[i]) for i in range(n)])  # type: ignore[misc]
    assert np.all(np.isfinite(alone))
    assert_allclose(fly(np.asarray), alone, atol=1e-9)
    assert_allclose(fly(torch.as_tensor), alone, atol=1e-9)


@pytest.mark.parametrize("changes", [{"rate": -1.0}, {"prior": 0.0}, {"forget": 99.0}, {"noise": float("nan")}])
def test_gains_out_of_range_are_refused_by_name(changes: dict[str, float]) -> None:
    with pytest.raises(UserError, match=next(iter(changes))):
        AdaptationGains(**changes)


def test_reset_returns_to_the_network_as_trained() -> None:
    adaptation = LastLayerAdaptation(VEHICLE, NETWORK, K_v)
    for k, state in enumerate(states(np.random.default_rng(1), 5)):
        adaptation.observe(k * DT, state, HOVER, ZERO)
    adaptation.reset(np.array([0.0, 0.0, 1.0]))
    assert_allclose(adaptation.W, NETWORK.weights[-1])
    assert_allclose(adaptation.d_hat, [0, 0, 1])
