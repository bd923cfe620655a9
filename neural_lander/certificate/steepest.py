"""The steepest slope a search finds: a lower bound beside each proved one, so that a reader sees how tight it is.

A ReLU network's slope is constant on polytopes, so that gradients lead nowhere: samples, then differential evolution
(Storn and Price 1997) with neutral moves, which follow edges between polytopes of one slope.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from neural_lander.certificate.check_slopes import KINK

SAMPLES = 20_000
POPULATION = 96
CHILDREN = 16
ROUNDS = 120
FROM_KINK = 2 * KINK  # of the layer's largest input: the checker sees the same slope, whatever its rounding


@dataclass(frozen=True, eq=False)
class InputBox:
    """Inputs that occur: the state is clipped to its range, thrusts to what rotors give."""

    low: np.ndarray  # (inputs,)
    high: np.ndarray  # (inputs,)
    saturated: tuple[int, ...] = ()
    """Inputs that sit at either end."""

    def confine(self, x: np.ndarray) -> np.ndarray:
        """Nearest inputs within, ``(..., inputs)``."""
        x = np.clip(x, self.low, self.high)
        for i in self.saturated:
            x[..., i] = np.where(x[..., i] > (self.low[i] + self.high[i]) / 2, self.high[i], self.low[i])
        return x


def slopes(W: list[np.ndarray], b: list[np.ndarray], E: np.ndarray, x: np.ndarray) -> np.ndarray:
    """|df_a/dx E| at inputs ``(N, inputs) -> (N,)``, float64; 0 too near to a kink to tell."""
    J, clear = np.broadcast_to(W[0] @ E, (len(x), len(W[0]), E.shape[1])), np.ones(len(x), dtype=bool)
    for k in range(1, len(W)):
        z = x @ W[k - 1].T + b[k - 1]
        clear &= np.abs(z).min(1) > FROM_KINK * np.abs(z).max(1)
        x = np.maximum(z, 0.0)
        J = W[k] @ ((z > 0)[:, :, None] * J)
    return np.asarray(largest_singular(J) * clear)


def largest_singular(J: np.ndarray) -> np.ndarray:
    """Of each matrix ``(N, outputs, m)``, ``(N,)``."""
    if J.shape[2] == 1:
        return np.asarray(np.linalg.norm(J[:, :, 0], axis=1))
    return np.asarray(np.sqrt(np.maximum(np.linalg.eigvalsh(J @ J.transpose(0, 2, 1))[:, -1], 0.0)))


def steepest(
    W: list[np.ndarray],
    b: list[np.ndarray],
    E: np.ndarray,
    domain: InputBox,
    seed: int = 0,
    starts: Sequence[np.ndarray] = (),
) -> tuple[float, np.ndarray]:
    """Largest slope found along the inputs E (inputs, m), and the input (inputs,) where it is.

    ``starts`` are inputs to begin with beside the samples.
    """
    rng, span, size = np.random.default_rng(seed), domain.high - domain.low, len(domain.low)
    x = domain.low + span * rng.random((SAMPLES, size))
    x = domain.confine(np.concatenate([x, *(start[None] for start in starts)]))
    value = slopes(W, b, E, x)
    best = np.argsort(-value)[:POPULATION]
    x, value = x[best], value[best]
    members, half, quarter = np.arange(POPULATION), CHILDREN // 2, POPULATION // 4
    for k in range(ROUNDS):
        one, other = rng.integers(0, POPULATION, (2, POPULATION, half))
        shape = (POPULATION, half, size)
        across = (x[one] - x[other]) * rng.random((*shape[:2], 1)) * _some(rng, shape, (0.3, 1.0))
        around = span * 10 ** rng.uniform(-4, 0, (*shape[:2], 1)) * rng.normal(size=shape)
        around *= _some(rng, shape, (0.1, 0.4, 1.0))
        children = domain.confine(x[:, None] + np.concatenate([across, around], axis=1))
        found = slopes(W, b, E, children.reshape(-1, size)).reshape(POPULATION, 2 * half)
        chosen = found.argmax(1)
        better = found[members, chosen] >= value
        x[better], value[better] = children[members, chosen][better], found[members, chosen][better]
        if k % 15 == 14:  # the worst begin again where the best are
            order = np.argsort(-value)
            x[order[-quarter:]], value[order[-quarter:]] = x[order[:quarter]], value[order[:quarter]]
    top = int(value.argmax())
    return float(value[top]), x[top]


def _some(rng: np.random.Generator, shape: tuple[int, int, int], shares: tuple[float, ...]) -> np.ndarray:
    """Which coordinates of each child move."""
    return np.asarray(rng.random(shape) < rng.choice(shares, (*shape[:2], 1)))
