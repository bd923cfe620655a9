"""The search that walks between linear regions, against every linear region of small networks."""

from itertools import pairwise, product
from typing import NamedTuple

import numpy as np
import pytest
from scipy.optimize import linprog

from neural_lander.certificate.cells import climb
from neural_lander.certificate.lipsdp import lipschitz_bound
from neural_lander.certificate.steepest import InputBox, slopes


class Box(NamedTuple):
    """A network and the range of its inputs."""

    W: list[np.ndarray]
    b: list[np.ndarray]
    low: np.ndarray
    high: np.ndarray


def small_box(seed: int) -> Box:
    """A network whose kinks lie all over the range of its three inputs, or none of which does for some neurons."""
    rng = np.random.default_rng(seed)
    W = [rng.normal(size=(b, a)) for a, b in pairwise((3, 5, 4, 2))]
    return Box(W, [0.8 * rng.normal(size=len(V)) for V in W], np.array([-1.0, 0.0, -0.5]), np.array([1.0, 0.7, 0.5]))


def steepest_region(box: Box, E: np.ndarray) -> float:
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


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_the_bound_is_above_every_region(seed: int) -> None:
    box = small_box(seed)
    for E in (np.eye(3)[:, :1], np.array([[0.0], [0.6], [0.8]]), np.eye(3)):
        assert steepest_region(box, E) <= lipschitz_bound(box.W[0] @ E, box.W[1:])[0]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_the_climb_ends_at_an_input_that_is_as_steep_as_it_says_and_no_less_than_its_start(seed: int) -> None:
    box, E = small_box(seed), np.eye(3)[:, :1]
    rng, true = np.random.default_rng(seed), steepest_region(box, E)
    domain, best = InputBox(box.low, box.high, (1,)), 0.0
    for start in domain.confine(rng.uniform(box.low, box.high, (5, 3))):
        at = climb(box.W, box.b, E, domain, start)
        before, after = slopes(box.W, box.b, E, np.array([start, at]))
        assert before <= after * (1 + 1e-9) <= true * (1 + 2e-9)
        assert np.all(box.low <= at) and np.all(at <= box.high) and at[1] == start[1]
        best = max(best, after)
    free = [climb(box.W, box.b, E, InputBox(box.low, box.high), x) for x in rng.uniform(box.low, box.high, (8, 3))]
    assert slopes(box.W, box.b, E, np.array(free)).max() > 0.97 * true
