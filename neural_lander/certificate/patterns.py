"""Slopes of activation patterns: which neurons are on, whether or not an input has that pattern.

A ReLU network's slope is constant where its pattern is. With D_k the diagonal of zeros and ones of layer k it is
|W_L D_(L-1) ... D_1 W_1 E|.
"""

from __future__ import annotations

import numpy as np


def slopes_of(W: list[np.ndarray], E: np.ndarray, P: np.ndarray) -> np.ndarray:
    """Slope along the inputs E (inputs, m) under each pattern P (N, neurons) bool, ``(N,)``."""
    J, at = np.broadcast_to(W[0] @ E, (len(P), len(W[0]), E.shape[1])), 0
    for V in W[1:]:
        J, at = V @ (P[:, at : at + V.shape[1], None] * J), at + V.shape[1]
    return largest_singular(J)


def largest_singular(J: np.ndarray) -> np.ndarray:
    """Of each matrix ``(N, outputs, m)``, ``(N,)``."""
    if J.shape[2] == 1:
        return np.asarray(np.linalg.norm(J[:, :, 0], axis=1))
    return np.asarray(np.sqrt(np.maximum(np.linalg.eigvalsh(J @ J.transpose(0, 2, 1))[:, -1], 0.0)))


def random_patterns(rng: np.random.Generator, count: int, neurons: int) -> np.ndarray:
    """``(count, neurons)`` bool, some with most neurons on."""
    return np.asarray(rng.random((count, neurons)) < rng.choice([0.5, 0.7, 0.9], (count, 1)))


def ascend(W: list[np.ndarray], E: np.ndarray, P: np.ndarray, held: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Flip the neuron that gains most until none does; ``held`` (N, neurons) bool stay. Slopes and patterns."""
    P, value, n = P.copy(), slopes_of(W, E, P), P.shape[1]
    rising = np.arange(len(P))
    while len(rising):
        flipped = np.repeat(P[rising, None], n, axis=1)
        flipped[:, np.arange(n), np.arange(n)] ^= True
        found = np.where(held[rising], 0.0, slopes_of(W, E, flipped.reshape(-1, n)).reshape(-1, n))
        best = found.argmax(axis=1)
        top = found[np.arange(len(rising)), best]
        better = top > value[rising] * (1 + 1e-9)
        rising, best, top = rising[better], best[better], top[better]
        P[rising, best] ^= True
        value[rising] = top
    return value, P
