"""Bounds by cases against every linear region of small networks, and the search that walks between regions."""

from fractions import Fraction
from itertools import pairwise, product

import numpy as np
import pytest
from scipy.optimize import linprog

from neural_lander.certificate.cases import bound_by_cases, splits_of
from neural_lander.certificate.cells import climb
from neural_lander.certificate.check import Case, holds, impossible, proves
from neural_lander.certificate.lipsdp import lipschitz_bound
from neural_lander.certificate.patterns import ascend, slopes_of
from neural_lander.certificate.steepest import Domain, slopes

INPUTS = {"one input": np.eye(3)[:, :1], "two together": np.array([[0.0], [0.6], [0.8]]), "all": np.eye(3)}


def small_box(seed: int, hidden: tuple[int, ...] = (5, 4)) -> Case:
    """A network whose kinks lie all over the range of its three inputs, or none of which does for some neurons."""
    rng = np.random.default_rng(seed)
    W = [rng.normal(size=(b, a)) for a, b in pairwise((3, *hidden, 2))]
    return Case(W, [0.8 * rng.normal(size=len(V)) for V in W], np.array([-1.0, 0.0, -0.5]), np.array([1.0, 0.7, 0.5]))


def steepest_region(box: Case, E: np.ndarray) -> float:
    """Largest slope over all regions that have inputs: every pattern is tried."""
    best = 0.0
    for bits in product((0.0, 1.0), repeat=sum(len(V) for V in box.W[:-1])):
        A, c, J, rows, offsets, at = box.W[0], box.b[0], box.W[0] @ E, [], [], 0
        for V, b in zip(box.W[1:], box.b[1:], strict=True):
            on = np.array(bits[at : at + len(A)])
            rows.append((1 - 2 * on)[:, None] * A)
            offsets.append((2 * on - 1) * c)
            A, c, J, at = V @ (on[:, None] * A), V @ (on * c) + b, V @ (on[:, None] * J), at + len(on)
        slope = np.linalg.norm(J, 2)
        if slope > best:
            limits = list(zip(box.low, box.high, strict=True))
            if linprog(np.zeros(3), np.concatenate(rows), np.concatenate(offsets), bounds=limits).status == 0:
                best = float(slope)
    return best


@pytest.mark.parametrize("what", INPUTS)
@pytest.mark.parametrize("seed", range(4))
def test_a_bound_by_cases_is_above_every_region_and_below_the_bound_without(seed: int, what: str) -> None:
    box, E = small_box(seed), INPUTS[what]
    loose, t = lipschitz_bound(box.W[0] @ E, box.W[1:])
    true = steepest_region(box, E)
    bound, proof = bound_by_cases(box, E, loose, t, true, 60)
    assert true <= bound * (1 + 1e-9) and bound <= loose
    assert bound < 0.9 * loose or seed in (0, 3)  # where the steepest region of the first layer is
    assert holds(proof, bound, E, box)
    assert not holds(proof, bound * (1 - 1e-3), E, box)


def test_cases_close_most_of_the_gap() -> None:
    """With one hidden layer every region is a case, and nothing is left of it."""
    gaps = []
    for seed in range(6):
        box, E = small_box(seed, hidden=(6,)), np.eye(3)
        loose, t = lipschitz_bound(box.W[0] @ E, box.W[1:])
        true = steepest_region(box, E)
        gaps.append((loose / true, bound_by_cases(box, E, loose, t, 1.0001 * true, 60)[0] / true))
    loose_gap, gap = np.max(gaps, axis=0)
    assert loose_gap > 1.2 and gap < 1.001


def test_no_more_splits_than_allowed() -> None:
    box = small_box(1)
    bound, proof = bound_by_cases(box, np.eye(3), *lipschitz_bound(box.W[0], box.W[1:]), 0.0, 2)
    assert splits_of(proof) == str(proof).count("neuron") == 2
    assert holds(proof, bound, np.eye(3), box)


def test_signs_are_impossible_only_where_no_input_has_them() -> None:
    """Two neurons of one kink apart by a bias: on and off the wrong way round is what cannot be."""
    case = Case([np.array([[1.0, 0.0], [1.0, 0.0]])], [np.array([0.0, 0.5])], -np.ones(2), np.ones(2))
    wrong = case._replace(signs={0: True, 1: False})
    assert impossible([1.0, 1.0], wrong)
    assert not impossible([1.0, 1.0], case._replace(signs={0: False, 1: True}))
    assert not impossible([0.0, 0.0], wrong)
    assert not impossible([1.0, 0.4], wrong)
    for weights in ([1.0], [1.0, -1.0], [1.0, np.nan], [np.inf, 1.0], [], [[1.0, 1.0]]):
        assert not impossible(weights, wrong)
    assert not impossible([1.0, 1.0], wrong._replace(b=[np.zeros(2)]))  # they meet at the kink


def exactly_positive_definite(t: np.ndarray, bound: float, layers: list[np.ndarray], signs: dict[int, bool]) -> bool:
    """The checker's form with some neurons on or off, in rational numbers, by elimination."""
    norms = [Fraction(float(np.linalg.norm(W, 2))) for W in layers]
    exact = [[[Fraction(float(v)) / c for v in row] for row in W] for W, c in zip(layers, norms, strict=True)]
    m = layers[0].shape[1]
    free = [i for i in range(len(layers[0])) if i not in signs]
    later = [len(W) for W in layers[1:-1]]
    size = m + len(free) + sum(later)

    def unit(i: int) -> list[Fraction]:
        return [Fraction(int(i == j)) for j in range(size)]

    x, at, pairs = [unit(j) for j in range(m)], m, []
    for k, W in enumerate(exact):
        gets = [[sum((w * v[j] for w, v in zip(row, x, strict=True)), Fraction(0)) for j in range(size)] for row in W]
        if k == len(exact) - 1:
            break
        x = []
        for i, v in enumerate(gets):
            if k == 0 and i in signs:
                x.append(v if signs[i] else [Fraction(0)] * size)
            else:
                pairs.append((unit(at), [a - c for a, c in zip(unit(at), v, strict=True)]))
                x.append(unit(at))
                at += 1
    gain = Fraction(1)
    for norm in norms:
        gain *= norm
    rho = (Fraction(bound) / gain) ** 2
    M = [[rho * (i == j) * (i < m) - sum(v[i] * v[j] for v in gets) for j in range(size)] for i in range(size)]
    for weight, (p, q) in zip(t, pairs, strict=True):
        for i, j in product(range(size), repeat=2):
            M[i][j] += Fraction(float(weight)) * (p[i] * q[j] + q[i] * p[j])
    for i in range(size):
        if M[i][i] <= 0:
            return False
        for r in range(i + 1, size):
            M[r] = [a - M[r][i] / M[i][i] * c for a, c in zip(M[r], M[i], strict=True)]
    return True


def test_what_the_checker_accepts_of_a_case_holds_in_exact_arithmetic() -> None:
    rng, verdicts = np.random.default_rng(1), []
    for k in range(8):
        shapes = ((4, 2), (3, 4), (2, 3)) if k % 2 else ((4, 2), (2, 4))
        F, *rest = (rng.normal(size=shape) * 10 ** rng.uniform(-2, 2) for shape in shapes)
        signs = {0: True, 2: bool(k % 3), 3: True}
        bound, t = lipschitz_bound(F, rest, signs)
        if t is not None:
            for change in (0.0, -1e-12, -1e-9, -1e-8, -1e-7, -1e-6, -1e-5, -1e-4):
                near = bound * (1 + change)
                exact = exactly_positive_definite(t, near, [F, *rest], signs)
                verdicts.append((proves(t, near, F, rest, signs), exact))
    assert not [v for v in verdicts if v == (True, False)]
    assert verdicts.count((True, True)) > 8 and verdicts.count((False, False)) > 8


@pytest.mark.parametrize("seed", range(4))
def test_the_climb_ends_at_an_input_that_is_as_steep_as_it_says_and_no_less_than_its_start(seed: int) -> None:
    box, E = small_box(seed), np.eye(3)[:, :1]
    rng, true = np.random.default_rng(seed), steepest_region(box, E)
    domain, best = Domain(box.low, box.high, (1,)), 0.0
    for start in domain.confine(rng.uniform(box.low, box.high, (5, 3))):
        at = climb(box.W, box.b, E, domain, start)
        before, after = slopes(box.W, box.b, E, np.array([start, at]))
        assert before <= after * (1 + 1e-9) <= true * (1 + 2e-9)
        assert np.all(box.low <= at) and np.all(at <= box.high) and at[1] == start[1]
        best = max(best, after)
    free = [climb(box.W, box.b, E, Domain(box.low, box.high), x) for x in rng.uniform(box.low, box.high, (8, 3))]
    assert slopes(box.W, box.b, E, np.array(free)).max() > 0.97 * true


def test_patterns_rise_and_what_is_held_stays() -> None:
    box, E = small_box(0), np.eye(3)
    P = np.random.default_rng(0).random((6, 9)) < 0.5
    held = np.zeros(P.shape, dtype=bool)
    held[:, 3] = True
    value, Q = ascend(box.W, E, P, held)
    np.testing.assert_array_equal(Q[:, 3], P[:, 3])
    np.testing.assert_allclose(slopes_of(box.W, E, Q), value)
    assert np.all(value >= slopes_of(box.W, E, P))
