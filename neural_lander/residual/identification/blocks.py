"""Moments by blocks of a flight: instrumental variables and a block bootstrap without going back to the samples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

BLOCK = 2.0  # s: longer than the correlation of label noise and of the position loop; a guess
DRAWS = 200  # of the bootstrap
CONFIDENCE = 0.95
RANK = 1e-9  # of the largest eigenvalue: directions of the instruments below it are rounding


@dataclass(frozen=True, eq=False)
class BlockMoments:
    """Products of instruments Z and columns M, per block."""

    zz: np.ndarray  # (B, k, k)
    zm: np.ndarray  # (B, k, m)

    @classmethod
    def of(cls, instruments: np.ndarray, columns: np.ndarray, blocks: np.ndarray) -> BlockMoments:
        """From ``(N, k)`` instruments, ``(N, m)`` columns and the number ``(N,)`` of the block that each row is in.

        Instruments are scaled to unit spread, which changes no estimate.
        """
        spread = instruments.std(axis=0)
        Z = instruments / np.where(spread > 0, spread, np.abs(instruments).max(axis=0) + 1e-300)
        starts = np.flatnonzero(np.concatenate([[True], np.diff(blocks) != 0]))
        parts = list(zip(starts, [*starts[1:], len(blocks)], strict=True))
        return cls(
            np.stack([Z[a:b].T @ Z[a:b] for a, b in parts]), np.stack([Z[a:b].T @ columns[a:b] for a, b in parts])
        )

    def __len__(self) -> int:
        return len(self.zz)

    def projected(self, weights: np.ndarray) -> np.ndarray:
        """Columns projected on the span of the instruments, in an orthonormal basis of it, ``(k', m)``.

        ``weights`` ``(B,)`` says how often each block counts. Ordinary least squares on what is returned is two-stage
        least squares on the samples.
        """
        values, vectors = np.linalg.eigh(np.tensordot(weights, self.zz, 1))
        kept = values > RANK * values[-1]
        return np.asarray((vectors[:, kept] / np.sqrt(values[kept])).T @ np.tensordot(weights, self.zm, 1))


def block_numbers(t: np.ndarray) -> np.ndarray:
    """Number of the 2 s block that each time in s lies in."""
    return np.asarray(t // BLOCK, dtype=np.intp)


def resamples(blocks: int, seed: int = 0, draws: int = DRAWS) -> np.ndarray:
    """How often each block is drawn in each bootstrap sample, ``(1 + draws, blocks)``; the first row: each once."""
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(blocks, np.full(blocks, 1 / blocks), size=draws)
    return np.vstack([np.ones(blocks), drawn])


def interval(draws: np.ndarray) -> tuple[float, float]:
    """Percentile interval of 95 % of ``(draws,)``."""
    tail = 0.5 * (1 - CONFIDENCE)
    low, high = np.quantile(draws, [tail, 1 - tail])
    return float(low), float(high)


def pooled(values: np.ndarray, errors: np.ndarray) -> tuple[float, float, float]:
    """Mean of flights as a random effect: mean, its standard error, and the spread between flights.

    Parameters
    ----------
    values, errors
        One estimate per flight and its standard error, ``(F,)``.

    Notes
    -----
    DerSimonian and Laird (1986): the moment estimate of the variance between flights.
    """
    w = 1 / errors**2
    mean = float(np.sum(w * values) / np.sum(w))
    excess = float(np.sum(w * (values - mean) ** 2)) - (len(values) - 1)
    between = max(0.0, excess / float(np.sum(w) - np.sum(w**2) / np.sum(w))) if len(values) > 1 else 0.0
    w = 1 / (errors**2 + between)
    return float(np.sum(w * values) / np.sum(w)), float(1 / np.sqrt(np.sum(w))), float(np.sqrt(between))
