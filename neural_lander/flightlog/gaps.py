"""Records that a regular clock shows to be missing: the one trace that a lost record leaves where no counter counts.

And values that stand still, which is how a logger fills a table where nothing came.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

LATE = 1.5  # median periods from one record to the next: halfway to a whole record missing
EARLY = 0.75  # median periods: a record this early makes up for one that came late
NEAR, MOST = 0.25, 0.9  # of the period, of the steps: a clock with fewer steps this near to its period is irregular
FEWEST = 9  # records; of fewer there is no period to speak of


@dataclass(frozen=True)
class Gaps:
    """What is missing of one regular stream."""

    records: int
    places: int
    first: float
    """Time in s of the last record before the first place."""
    longest: float
    """s from one record to the next."""


def find_gaps(t: np.ndarray) -> Gaps | None:
    """Missing records of one stream; None where nothing is missing, or where an irregular clock cannot tell.

    Parameters
    ----------
    t
        Rising times ``(N,)`` in s. The steps between them are compared with their median. A record that comes late
        and is made up for by an early one is a delay, and nothing is missing.
    """
    if len(t) < FEWEST:
        return None
    steps = np.diff(t)
    ratio = steps / float(np.median(steps))
    late = np.flatnonzero(ratio > LATE)
    if not len(late) or float(np.mean(np.abs(ratio - 1) < NEAR)) < MOST:
        return None
    around = np.concatenate([[1.0], ratio, [1.0]])
    owed = 1.0 - np.minimum(np.minimum(around[late], around[late + 2]), 1.0)
    missing = np.round(ratio[late] - np.where(owed > 1.0 - EARLY, owed, 0.0)).astype(int) - 1
    at = late[missing > 0]
    if not len(at):
        return None
    return Gaps(int(missing[missing > 0].sum()), len(at), float(t[at[0]]), float(steps[at].max()))


def longest_run(where: np.ndarray, periods: np.ndarray) -> float:
    """Longest time in s for which ``where`` ``(N,)`` bool holds without a break, of records that last ``periods`` s."""
    longest = current = 0.0
    for holds, dt in zip(where.tolist(), periods.tolist(), strict=True):
        current = current + dt if holds else 0.0
        longest = max(longest, current)
    return longest


def gap_words(t: np.ndarray, start: float = 0.0) -> list[str]:
    """The sentence about one stream's gaps, its time counted from ``start``; none where there are no gaps."""
    found = find_gaps(t)
    return [_words(found, start)] if found else []


def all_gap_words(times: Mapping[str, np.ndarray], start: float) -> list[str]:
    """One sentence for all streams that miss the same records: fields of one topic are lost together."""
    by_gaps: dict[Gaps, list[str]] = {}
    for name, t in times.items():
        found = find_gaps(t)
        if found:
            by_gaps.setdefault(found, []).append(name)
    return [f"{', '.join(names)}: {_words(found, start)}" for found, names in by_gaps.items()]


def _words(gaps: Gaps, start: float) -> str:
    verb = "record is" if gaps.records == 1 else "records are"
    places = "1 place" if gaps.places == 1 else f"{gaps.places} places"
    return (
        f"{gaps.records} {verb} missing at {places} by the clock, the first after t = {gaps.first - start:.3f} s, "
        f"at most {gaps.longest:.3g} s from one record to the next"
    )
