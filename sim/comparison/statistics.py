"""Statistics of flights: medians, differences, rates and tails, each with how sure they are. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

BOOTSTRAP = 1000  # draws: the ends of an interval then scatter by a tenth of its width
CONFIDENCE_Z = 1.959963984540054  # standard normal quantile of 97.5 %: every interval here is one of 95 %
FEW = 9  # airframes; of ten and more the bootstrap holds the truth in 93 of 100 cases (measured on normal samples)
TAIL = 0.01  # share of the flights that "the worst" means
CHUNK = 4_000_000  # drawn values held at once, 32 MB

Interval = tuple[float, float]


def median_interval(values: np.ndarray, groups: np.ndarray, seed: int = 0) -> Interval:
    """95 % interval of the median over airframes and flights.

    Flights of one airframe are not independent. A bootstrap that draws airframes first and flights on each of them
    second needs many airframes: of three it can never leave their range, and holds the truth in three cases of four. So
    up to ``FEW`` the interval is Student's, of the airframes' medians; above, and on one airframe alone, where it says
    nothing about others, the percentile bootstrap's. In how sure it is every airframe counts the same, whatever its
    number of flights; the median of all flights is in it.

    Parameters
    ----------
    values : (n,) array
        Finite.
    groups : (n,) array
        Which airframe each value is from.
    """
    if values.min() == values.max():
        return float(values[0]), float(values[0])
    parts = [values[groups == g] for g in np.unique(groups)]
    drawn, middle = _bootstrap(parts, seed), float(np.median(values))
    drawn = min(drawn[0], middle), max(drawn[1], middle)
    if not 1 < len(parts) <= FEW:
        return drawn
    low, high = _student(values, parts)  # of no width where few medians happen to coincide
    return min(low, drawn[0]), max(high, drawn[1])


def _student(values: np.ndarray, parts: list[np.ndarray]) -> Interval:
    """Of the medians of few airframes; of magnitudes it holds nothing below 0."""
    medians = np.array([np.median(part) for part in parts])
    half = stdtrit(len(parts) - 1, 0.975) * np.std(medians, ddof=1) / math.sqrt(len(parts))
    least = 0.0 if values.min() >= 0 else -math.inf
    return float(max(np.mean(medians) - half, least)), float(np.mean(medians) + half)


def _bootstrap(parts: list[np.ndarray], seed: int) -> Interval:
    size, lengths, rng = max(len(p) for p in parts), np.array([len(p) for p in parts]), np.random.default_rng(seed)
    table = np.array([np.resize(p, size) for p in parts])
    step, medians = max(CHUNK // table.size, 1), []
    for first in range(0, BOOTSTRAP, step):
        draws = min(step, BOOTSTRAP - first)
        who = rng.integers(0, len(parts), (draws, len(parts)))
        which = (rng.random((draws, *table.shape)) * lengths[who][..., None]).astype(np.intp)
        medians.append(np.median(table[who[..., None], which].reshape(draws, -1), axis=-1))
    low, high = np.quantile(np.concatenate(medians), [0.025, 0.975])
    return float(low), float(high)


def wilson_interval(successes: int, n: int) -> Interval:
    """95 % interval of a rate (Wilson, J. Am. Stat. Assoc. 22, 1927); for none of none it is all of [0, 1]."""
    if n == 0:
        return 0.0, 1.0
    z2, rate = CONFIDENCE_Z**2, successes / n
    middle = (rate + z2 / (2 * n)) / (1 + z2 / n)
    half = CONFIDENCE_Z / (1 + z2 / n) * math.sqrt(rate * (1 - rate) / n + z2 / (4 * n * n))
    return (0.0 if successes == 0 else middle - half), (1.0 if successes == n else middle + half)


def worst_mean(values: np.ndarray) -> float:
    """Mean of the largest hundredth of the values, at least of one: the conditional value at risk at 99 %."""
    count = max(math.ceil(TAIL * len(values) - 1e-9), 1)
    return float(np.mean(np.partition(values, len(values) - count)[-count:]))


def separate(a: Sequence[float], b: Sequence[float]) -> bool:
    """Whether two intervals do not overlap."""
    return a[1] < b[0] or b[1] < a[0]


@dataclass(frozen=True)
class Paired:
    """How one controller differs from another on the same seeds."""

    median: float
    """Of the differences, seed by seed; negative where the first is smaller."""
    ci95: Interval
    smaller: float
    """Share of the seeds on which the first is smaller; half of those on which both are the same."""
    n: int
    """Seeds on which both have a value."""


def paired_difference(a: np.ndarray, b: np.ndarray, groups: np.ndarray, seed: int = 0) -> Paired | None:
    """Difference a - b of values (n,) in the order of the same seeds; None where no seed has both."""
    both = np.isfinite(a) & np.isfinite(b)
    if not np.any(both):
        return None
    difference = a[both] - b[both]
    smaller = float(np.mean((difference < 0) + 0.5 * (difference == 0)))
    return Paired(
        float(np.median(difference)), median_interval(difference, groups[both], seed), smaller, int(both.sum())
    )
