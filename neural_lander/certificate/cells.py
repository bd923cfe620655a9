"""From one linear region of a ReLU network to a steeper one: a search that knows where regions meet.

The neurons that are on at an input make a pattern; the inputs that have it are a polytope, on which the slope is
constant. Another pattern with a neuron or two flipped has inputs if a linear programme finds one.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import OptimizeResult, linprog

from neural_lander.certificate.steepest import InputBox, largest_singular

CLEARANCE = 1e-6  # of what the neuron varies by over the range of inputs: how far from each kink an input must be
PAIRS = 60  # steepest pairs of flips that are tried where no single flip is steeper
MAX_MOVES = 200


def climb(W: list[np.ndarray], b: list[np.ndarray], E: np.ndarray, domain: InputBox, at: np.ndarray) -> np.ndarray:
    """An input (inputs,) in the domain at least as steep along E (inputs, m) as ``at``; saturated inputs stay."""
    low, high, held = domain.low.copy(), domain.high.copy(), list(domain.saturated)
    low[held] = high[held] = at[held]
    P = _pattern(W, b, at)
    for _ in range(MAX_MOVES):
        moved = _steeper_neighbour(W, b, E, P, low, high)
        if moved is None:
            break
        P, at = moved
    return at


def _steeper_neighbour(
    W: list[np.ndarray], b: list[np.ndarray], E: np.ndarray, P: np.ndarray, low: np.ndarray, high: np.ndarray
) -> tuple[np.ndarray, np.ndarray] | None:
    """The steepest pattern with inputs that is one flip away, else of ``PAIRS`` that are two away; and its input."""
    value, single = _slopes_of(W, E, P[None])[0], np.eye(len(P), dtype=bool)
    one, other = np.triu_indices(len(P), 1)
    for flips, most in ((single, len(P)), (single[one] | single[other], PAIRS)):
        found = _slopes_of(W, E, P ^ flips)
        for i in np.argsort(-found)[:most]:
            if found[i] <= value * (1 + 1e-9):
                break
            at = _input_with(W, b, P ^ flips[i], low, high)
            if at is not None:
                return P ^ flips[i], at
    return None


def _slopes_of(W: list[np.ndarray], E: np.ndarray, P: np.ndarray) -> np.ndarray:
    """Slope along the inputs E (inputs, m) under each pattern P (N, neurons) bool, whether or not it has inputs."""
    J, at = np.broadcast_to(W[0] @ E, (len(P), len(W[0]), E.shape[1])), 0
    for V in W[1:]:
        J, at = V @ (P[:, at : at + V.shape[1], None] * J), at + V.shape[1]
    return largest_singular(J)


def _pattern(W: list[np.ndarray], b: list[np.ndarray], x: np.ndarray) -> np.ndarray:
    """Which hidden neurons are on at an input, ``(neurons,)`` bool."""
    found = []
    for V, c in zip(W[:-1], b[:-1], strict=True):
        z = V @ x + c
        found.append(z > 0)
        x = np.maximum(z, 0.0)
    return np.concatenate(found)


def _input_with(
    W: list[np.ndarray], b: list[np.ndarray], P: np.ndarray, low: np.ndarray, high: np.ndarray
) -> np.ndarray | None:
    """An input within low..high whose neurons are on as in P and clear of their kinks; None where there is none."""
    slope, offset, rows, offsets, at = W[0], b[0], [], [], 0
    for k in range(1, len(W)):
        on = P[at : at + len(slope)]
        side = np.where(on, 1.0, -1.0)
        rows.append(side[:, None] * slope)
        offsets.append(side * offset)
        slope, offset, at = W[k] @ (on[:, None] * slope), W[k] @ (on * offset) + b[k], at + len(slope)
    found = clearest_input(np.concatenate(rows), np.concatenate(offsets), low, high)
    return found.x[:-1] if found.status == 0 and -found.fun > CLEARANCE else None


def clearest_input(A: np.ndarray, c: np.ndarray, low: np.ndarray, high: np.ndarray) -> OptimizeResult:
    """The input x within low..high at which A x + c >= 0 holds most clearly, as ``scipy.optimize.linprog`` tells it.

    Clearance, its last variable and minus its value, is in units of what each row varies by over the range, at most 1.
    """
    size = np.linalg.norm(A * (high - low), axis=1)  # 0 of a neuron that nothing reaches: its sign is that of its bias
    cost = np.zeros(len(low) + 1)
    cost[-1] = -1.0
    return linprog(cost, A_ub=np.column_stack([-A, size]), b_ub=c, bounds=[*zip(low, high, strict=True), (None, 1.0)])
