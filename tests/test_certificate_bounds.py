"""LipSDP against cvxpy, against what activation patterns reach, and on networks that break naive certificates."""

import json
import math
from fractions import Fraction
from itertools import pairwise, product
from pathlib import Path

import cvxpy as cp
import numpy as np
import pytest
from learning_flights import flight
from lipsdp_reference import constraint, unit_layers
from random_network import random_network

from benchmarks.training import synthetic
from neural_lander.bundle import save_bundle
from neural_lander.certificate import check
from neural_lander.certificate.cells import climb
from neural_lander.certificate.check_slopes import (
    input_maps,
    product_bound,
    proves,
    slope_at,
    thrust_direction,
    without_silent,
)
from neural_lander.certificate.evidence import product_slopes, proved_slopes
from neural_lander.certificate.lipsdp import lipschitz_bound
from neural_lander.certificate.lipsdp_cvxpy import cvxpy_bound
from neural_lander.certificate.steepest import InputBox, slopes, steepest
from neural_lander.cli.main import main
from neural_lander.residual.features import features_named
from neural_lander.residual.model import ReluNetwork
from neural_lander.residual.network import train_network
from neural_lander.residual.options import TrainingOptions
from neural_lander.residual.training import train_residual
from neural_lander.vehicle import load_vehicle

VEHICLE = load_vehicle("intel-aero")
MAIN = ("lipschitz_total", "lipschitz_state", "lipschitz_rotor_thrust", "lipschitz_collective")


def random_layers(sizes: tuple[int, ...], seed: int = 0) -> list[np.ndarray]:
    """Layers of spectral norm 1."""
    rng = np.random.default_rng(seed)
    W = [rng.normal(size=(b, a)) for a, b in pairwise(sizes)]
    return [w / np.linalg.norm(w, 2) for w in W]


@pytest.fixture(scope="module")
def trained() -> ReluNetwork:
    logs = [flight(VEHICLE, 30.0, seed=k) for k in range(3)]
    return train_residual(logs, VEHICLE, TrainingOptions(epochs=8, held_out=0.0)).predictors.network


def folded(network: ReluNetwork) -> tuple[dict[str, np.ndarray], list[np.ndarray], list[np.ndarray]]:
    W = [np.asarray(w, dtype=np.float64) for w in network.weights]
    maps = input_maps(W[0].shape[1], VEHICLE.thrust_direction)
    return maps, W, [np.asarray(b, dtype=np.float64) for b in network.biases]


def lipsdp_by_cvxpy(F: np.ndarray, rest: list[np.ndarray], solver: str, **options: float) -> float:
    layers, gain = unit_layers([F, *rest])
    t, rho = cp.Variable(sum(len(W) for W in layers[:-1]), nonneg=True), cp.Variable()
    problem = cp.Problem(cp.Minimize(rho), [constraint(layers, rho, cp.diag(t)) >> 0])
    problem.solve(solver=solver, **options)
    return float(gain * np.sqrt(rho.value))


@pytest.mark.parametrize("sizes, solver", [
    ((2, 3, 2), "CLARABEL"), ((1, 6, 5, 1), "CLARABEL"), ((12, 8, 8, 3), "CLARABEL"), ((5, 7, 3), "SCS"),
])  # fmt: skip
def test_the_bound_is_that_of_cvxpy(sizes: tuple[int, ...], solver: str) -> None:
    F, *rest = random_layers(sizes, seed=len(sizes))
    bound, t = lipschitz_bound(3.0 * F, [5.0 * rest[0], *rest[1:]])
    reference = lipsdp_by_cvxpy(
        3.0 * F, [5.0 * rest[0], *rest[1:]], solver, **({"eps": 1e-6} if solver == "SCS" else {})
    )
    assert t is not None
    assert bound == pytest.approx(reference, rel=2e-5 if solver == "SCS" else 3e-6)


@pytest.mark.parametrize(
    "sizes, solver", [((2, 3, 2), "CLARABEL"), ((12, 8, 8, 3), "CLARABEL"), ((12, 8, 8, 3), "SCS")]
)
def test_a_solver_of_cvxpy_gives_the_same_bound_and_multipliers_that_prove_it(
    sizes: tuple[int, ...], solver: str
) -> None:
    """With layers a thousand times apart in norm, which the programme is not to feel."""
    F, *rest = random_layers(sizes, seed=1)
    F, rest = 1e3 * F, [1e-3 * rest[0], *rest[1:]]
    bound, t = cvxpy_bound(solver)(F, rest)
    ours, _ = lipschitz_bound(F, rest)
    assert t is not None and proves(t, bound, F, rest)
    assert bound == pytest.approx(ours, rel=1e-4 if solver == "SCS" else 1e-5)
    assert cvxpy_bound(solver)(0.0 * F, rest) == (0.0, None)


@pytest.mark.slow
@pytest.mark.parametrize("solver", ["scs", "clarabel"])
def test_certify_by_a_solver_of_cvxpy_writes_a_certificate_that_the_checker_accepts(
    solver: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    options = TrainingOptions(hidden=(6, 5), epochs=2, held_out=0.0)
    save_bundle(tmp_path / "B", train_residual([flight(VEHICLE, 12.0, seed=0)], VEHICLE, options))
    bounds = {}
    for name in ("newton", solver):
        assert main(["certify", str(tmp_path / "B"), "--solver", name, "--json"]) == 0
        bounds[name] = json.loads(capsys.readouterr().out)["entries"]
        contents = {name: (tmp_path / "B" / name).read_bytes() for name in check.FILES}
        assert list(check.problems(contents)) == []
    for name in MAIN:
        assert bounds[solver][name]["value"] == pytest.approx(bounds["newton"][name]["value"], rel=1e-3)


def test_a_solver_that_is_not_known_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["certify", str(tmp_path), "--solver", "mosek"]) == 2
    assert "newton, scs, clarabel" in capsys.readouterr().err


def test_neurons_that_no_input_activates_do_not_count() -> None:
    """And those that some input does are kept: sampled inputs activate none of the silent ones."""
    rng = np.random.default_rng(5)
    W = random_layers((4, 9, 8, 3), seed=5)
    b = [rng.normal(size=len(V)) - 0.7 for V in W]
    low, high = -np.ones(4), np.array([1.0, 0.5, 2.0, 1.0])
    V, c = without_silent(W, b, low, high)
    assert 0 < sum(map(len, W)) - sum(map(len, V)) < 17 and len(V[2]) == 3
    x = rng.uniform(low, high, (20_000, 4))
    for k in range(2):
        z = x @ W[k].T + b[k]
        gone = [i for i in range(len(z.T)) if not np.any(np.isclose(b[k][i], c[k], rtol=0, atol=0))]
        assert len(gone) == len(W[k]) - len(V[k]) and not np.any(z[:, gone] > 0)
        x = np.maximum(z, 0)
    x = y = rng.uniform(low, high, (100, 4))
    for k in range(3):
        x, y = (np.maximum(v, 0) if k else v for v in (x, y))
        x, y = x @ W[k].T + b[k], y @ V[k].T + c[k]
    np.testing.assert_allclose(x, y, atol=1e-12)
    assert product_bound(V[0], V[1:]) <= product_bound(W[0], W[1:])
    V, c = without_silent(W, [b[0] - 100, *b[1:]], low, high)
    assert [len(V[0]), product_bound(V[0], V[1:])] == [0, 0.0]


@pytest.mark.slow
def test_the_bound_of_a_trained_network_is_that_of_cvxpy(trained: ReluNetwork) -> None:
    maps, W, _ = folded(trained)
    for name in MAIN:
        bound, t = lipschitz_bound(W[0] @ maps[name], W[1:])
        assert proves(t, bound, W[0] @ maps[name], W[1:])
        reach = dict.fromkeys(("tol_gap_abs", "tol_gap_rel", "tol_feas"), 1e-9)
        theirs = lipsdp_by_cvxpy(W[0] @ maps[name], W[1:], "CLARABEL", **reach)
        assert (
            (1 - 1e-4) * theirs <= bound <= (1 + 3e-6) * theirs
        )  # the more digits it is asked for, the nearer to ours


def test_a_network_with_one_hidden_neuron_has_its_exact_slope() -> None:
    F, out = np.array([[3.0, 4.0]]), np.array([[1.0], [2.0], [2.0]])
    bound, _ = lipschitz_bound(F, [out])
    assert bound == pytest.approx(15.0, rel=1e-9)


@pytest.mark.parametrize("change", ["dead neuron", "dead layer", "twin inputs"])
def test_degenerate_networks_are_bounded(change: str) -> None:
    F, *rest = random_layers((4, 6, 5, 3))
    if change == "dead neuron":
        F[2], rest[0][:, 4] = 0.0, 0.0
    elif change == "dead layer":
        rest[0][:] = 0.0
    else:
        F[:, 1] = F[:, 0]
    bound, t = lipschitz_bound(F, rest)
    assert bound <= product_bound(F, rest) * (1 + 1e-11)
    assert t is None or proves(t, bound, F, rest)
    assert (bound == 0.0) == (change == "dead layer")


def test_less_than_the_bound_is_not_proved() -> None:
    F, *rest = random_layers((12, 25, 30, 15, 3))
    bound, t = lipschitz_bound(F, rest)
    assert t is not None
    assert proves(t, bound, F, rest)
    assert not proves(t, bound * (1 - 1e-5), F, rest)
    assert bound < 0.75 * product_bound(F, rest)


def test_the_product_of_many_layers_norms_is_no_less_than_in_exact_arithmetic() -> None:
    rng, norms, partial, exact = np.random.default_rng(0), [0.3], 0.3, Fraction(0.3)
    for _ in range(2000):  # each the one of 20 whose product is rounded down by most
        tried = [(float(w), partial * float(w)) for w in rng.uniform(0.999, 1.001, 20)]
        norm, partial = max(tried, key=lambda pair: Fraction(partial) * Fraction(pair[0]) / Fraction(pair[1]))
        norms.append(norm)
        exact *= Fraction(norm)
    layers = [np.array([[norm]]) for norm in norms]
    assert product_bound(layers[0], layers[1:]) >= exact


def determinant(rows: list[list[Fraction]]) -> Fraction:
    """By the first row."""
    if not rows:
        return Fraction(1)
    minors = ([row[:k] + row[k + 1 :] for row in rows[1:]] for k in range(len(rows)))
    return sum(((-1) ** k * rows[0][k] * determinant(minor) for k, minor in enumerate(minors)), Fraction(0))


@pytest.mark.parametrize("apart", [0.1, 1e-3, 1e-6, 1e-9])
def test_the_direction_of_collective_thrust_is_as_close_to_the_exact_one_as_it_says(apart: float) -> None:
    """Rotors 1 and 2 turn alike, and lie ``apart``."""
    rng = np.random.default_rng(3)
    for _ in range(20):
        x, y, turns = (
            rng.uniform(0.1, 0.2, 4) * [1, -1, -1, 1],
            apart * rng.uniform(0.5, 1, 4) * [1, 1, -1, -1],
            [1, -1, 1, -1],
        )
        rows = [[Fraction(float(v)) for v in row] for row in (y, x, turns)]
        ones = [Fraction(1)] * 4
        minors = [(-1) ** k * determinant([row[:k] + row[k + 1 :] for row in rows]) for k in range(4)]
        exact = [minor / determinant([ones, *rows]) for minor in minors]
        found, off = thrust_direction(np.column_stack([x, y, np.zeros(4)]), turns)
        error = math.hypot(*(float(Fraction(float(d)) - e) for d, e in zip(found, exact, strict=True)))
        assert error <= off <= 1e-10 / apart


@pytest.mark.parametrize("small", [1e-140, 1e-155, 1e-170, 1e-300, 5e-324])
@pytest.mark.parametrize("share", [0.1, 1e-3, 1e-100, 1e-160])
def test_multipliers_and_bounds_whose_products_underflow_prove_nothing(small: float, share: float) -> None:
    F, *rest = random_layers((4, 6, 8, 5, 3))
    for first, later in ((small, 16.0), (16.0, small), (1 / small if small > 1e-308 else 1e300, small)):
        t = np.concatenate([np.full(6, first), np.full(13, later)])
        with np.errstate(all="ignore"):
            assert not proves(t, share * product_bound(F, rest), F, rest)
            assert not proves(np.full(19, 16.0), 1e-160, F, rest)


def test_a_network_without_hidden_neurons_is_not_proved_by_multipliers() -> None:
    assert not proves([], 0.5, np.ones((3, 4)), [])


def steepest_pattern(F: np.ndarray, rest: list[np.ndarray]) -> float:
    """Largest |W_L D W_(L-1) ... D F| over diagonal D of zeros and ones: coordinate search from several starts.

    These are the networks of the same weights and any biases, which is what LipSDP bounds.
    """
    rng, sizes = np.random.default_rng(0), [len(F), *(len(W) for W in rest[:-1])]
    ends = np.cumsum(sizes)

    def norm(active: np.ndarray) -> np.ndarray:
        J = np.broadcast_to(F, (len(active), *F.shape))
        for W, end, size in zip(rest, ends, sizes, strict=True):
            J = W @ (active[:, end - size : end, None] * J)
        return np.linalg.norm(J, 2, axis=(1, 2)) if F.shape[1] > 1 else np.linalg.norm(J, axis=(1, 2))

    best, every = 0.0, np.arange(ends[-1])
    for start in (1.0, 0.8, 0.8, 0.5, 0.5, 0.5):
        active = (rng.random((1, ends[-1])) < start).astype(float)
        value, before = float(norm(active)[0]), -1.0
        while value > before:
            before = value
            flipped = np.repeat(active, len(every), axis=0)
            flipped[every, every] = 1.0 - flipped[every, every]
            values = norm(flipped)
            if values.max() > value:
                value, active = float(values.max()), flipped[[int(values.argmax())]]
        best = max(best, value)
    return best


def test_bounds_of_a_trained_network_are_within_a_percent_of_what_activation_patterns_reach(
    trained: ReluNetwork,
) -> None:
    maps, W, _ = folded(trained)
    for name in MAIN:
        bound, _ = lipschitz_bound(W[0] @ maps[name], W[1:])
        reached = steepest_pattern(W[0] @ maps[name], W[1:])
        assert reached <= bound <= 1.01 * reached, name


def test_the_search_reports_a_slope_that_is_there_and_close_to_the_bound(trained: ReluNetwork) -> None:
    maps, W, b = folded(trained)
    full = VEHICLE.thrust_coefficient * VEHICLE.u_max
    low = np.concatenate([trained.state_low, np.zeros(4)]).astype(float)
    high = np.concatenate([trained.state_high, np.full(4, full)]).astype(float)
    E = maps["lipschitz_collective"]
    value, at = steepest(W, b, E, InputBox(low, high))
    assert np.all(low <= at) and np.all(at <= high)
    assert slope_at(at, E, W, b) == pytest.approx(value, rel=1e-12)
    step = 1e-7 * E[-4:, 0]
    change = trained(at[:-4], at[-4:] + step) - trained(at[:-4], at[-4:] - step)
    assert np.linalg.norm(change) / 2e-7 == pytest.approx(value, rel=1e-5)
    bound, _ = lipschitz_bound(W[0] @ E, W[1:])
    assert value <= bound <= 1.1 * value  # no input of this network's range activates the worst pattern
    rng = np.random.default_rng(1)
    assert value >= slopes(W, b, E, rng.uniform(low, high, (50_000, len(low)))).max()


@pytest.mark.slow
@pytest.mark.parametrize("hidden, gap", [((25, 30, 15), 0.01), ((50, 50, 50), 0.03)])
def test_bounds_of_spectrally_normalised_networks_are_reached_by_inputs_of_their_range(
    hidden: tuple[int, ...], gap: float
) -> None:
    """Over the same set: what is certified and what is searched are both inputs within the network's range."""
    options = TrainingOptions(hidden=hidden, layers="projection")
    network = train_network(synthetic(VEHICLE), features_named(options.features), VEHICLE, options).network
    maps, W, b = folded(network)
    full = VEHICLE.thrust_coefficient * VEHICLE.u_max
    low = np.concatenate([network.state_low, np.zeros(4)]).astype(float)
    high = np.concatenate([network.state_high, np.full(4, full)]).astype(float)
    V, _ = without_silent(W, b, low, high)
    for name in MAIN:
        bound, _ = lipschitz_bound(V[0] @ maps[name], V[1:])
        domain = InputBox(low, high)
        at = climb(W, b, maps[name], domain, steepest(W, b, maps[name], domain)[1])
        reached = slope_at(at, maps[name], W, b)
        assert reached <= bound <= (1 + gap) * reached, name


def test_saturated_rotors_are_held_at_either_end() -> None:
    domain = InputBox(np.zeros(3), np.array([1.0, 2.0, 4.0]), saturated=(1,))
    x = domain.confine(np.array([[-1.0, 0.9, 9.0], [0.5, 1.1, 2.0]]))
    np.testing.assert_array_equal(x, [[0.0, 0.0, 4.0], [0.5, 2.0, 2.0]])


def test_a_bound_in_scaled_units_is_not_taken_for_one_in_physical_units() -> None:
    """Height divided by 1 cm: the weights as trained have slope 1 at most, the exported ones 100 N/m."""
    F, *rest = random_layers((12, 25, 30, 15, 3), seed=3)
    raw = F / np.array([0.01, *np.ones(11)])
    zeros = [np.zeros(len(W)) for W in (F, *rest)]
    wide = np.full(8, 5.0)
    network = ReluNetwork((raw, *rest), tuple(zeros), "paper", -wide, wide)
    scaled, _ = lipschitz_bound(F[:, :1], rest)
    assert product_bound(F, rest) <= 1.0 + 1e-9
    assert product_slopes(network, VEHICLE)["lipschitz_height"].bound > 5.0
    bound, t = lipschitz_bound(raw[:, :1], rest)
    assert bound == pytest.approx(100 * scaled, rel=1e-5)
    assert t is not None and not proves(t, scaled, raw[:, :1], rest)


def test_norms_that_power_iteration_took_for_smaller_are_bounded_as_they_are() -> None:
    """Two singular values close together: after a few iterations the estimate is below the norm it divides by."""
    rng = np.random.default_rng(0)
    layers = []
    for a, b in pairwise((12, 25, 30, 15, 3)):
        U, _ = np.linalg.qr(rng.normal(size=(b, b)))
        V, _ = np.linalg.qr(rng.normal(size=(a, a)))
        k = min(a, b)
        W = U[:, :k] @ np.diag(1 - 0.02 * np.arange(k)) @ V[:, :k].T
        u = rng.normal(size=b)
        for _ in range(2):
            v = W.T @ u / np.linalg.norm(W.T @ u)
            u = W @ v / np.linalg.norm(W @ v)
        layers.append(2.0 * W / (u @ W @ v))
    nominal = 2.0**4
    assert product_bound(layers[0], layers[1:]) > 1.001 * nominal
    all_active = np.linalg.norm(np.linalg.multi_dot(layers[::-1]), 2)
    bound, t = lipschitz_bound(layers[0], layers[1:])
    assert all_active <= bound <= product_bound(layers[0], layers[1:]) * (1 + 1e-11)
    assert t is None or proves(t, bound, layers[0], layers[1:])


@pytest.mark.slow
def test_every_slope_of_a_network_lies_between_what_is_found_and_what_is_proved(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("neural_lander.certificate.steepest.ROUNDS", 10)
    done: list[float] = []
    below: list[float] = []
    largest = 0.0
    for name, slope in proved_slopes(random_network(VEHICLE, seed=1), VEHICLE, progress=done.append).items():
        if slope.reached is None:
            below.append(slope.bound)
        else:
            assert 0 < slope.reached <= slope.bound, name
            largest = max(largest, slope.reached) if "collective" in name else largest
    assert max(below, default=0.0) <= largest
    assert done[-1] == 1.0 and done == sorted(done)


def exactly_positive_definite(t: np.ndarray, bound: float, layers: list[np.ndarray]) -> bool:
    """The checker's form by Gaussian elimination in rational numbers: no rounding at all."""
    norms = [Fraction(float(np.linalg.norm(W, 2))) for W in layers]
    exact = [[[Fraction(float(v)) / c for v in row] for row in W] for W, c in zip(layers, norms, strict=True)]
    m, size, last = layers[0].shape[1], layers[0].shape[1] + len(t), layers[-1].shape[1]
    M = [[Fraction(0)] * size for _ in range(size)]
    for i in range(size):
        M[i][i] = (Fraction(bound) / math.prod(norms)) ** 2 if i < m else 2 * Fraction(float(t[i - m]))
    at = m
    for W in exact[:-1]:
        for i, j in product(range(len(W)), range(len(W[0]))):
            here, before = at + i, at - len(W[0]) + j
            M[here][before] = M[before][here] = -Fraction(float(t[here - m])) * W[i][j]
        at += len(W)
    for i, j in product(range(last), repeat=2):
        M[size - last + i][size - last + j] -= sum(row[i] * row[j] for row in exact[-1])
    for i in range(size):
        if M[i][i] <= 0:
            return False
        for r in range(i + 1, size):
            M[r] = [a - M[r][i] / M[i][i] * b for a, b in zip(M[r], M[i], strict=True)]
    return True


def test_what_the_checker_accepts_holds_in_exact_arithmetic() -> None:
    """At and around the edge of what the multipliers prove, with layers of very different scales."""
    rng, verdicts = np.random.default_rng(0), []
    for _ in range(8):
        F, *rest = (rng.normal(size=shape) * 10 ** rng.uniform(-2, 2) for shape in ((3, 2), (3, 3), (2, 3)))
        bound, t = lipschitz_bound(F, rest)
        if t is not None:
            for change in (0.0, -1e-12, -1e-9, -1e-8, -2e-8, -1e-7, -1e-6, -1e-5):
                near = bound * (1 + change)
                verdicts.append((proves(t, near, F, rest), exactly_positive_definite(t, near, [F, *rest])))
    assert not [v for v in verdicts if v == (True, False)]
    assert verdicts.count((True, True)) > 10 and verdicts.count((False, False)) > 10
