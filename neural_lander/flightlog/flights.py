"""The flights of one file: an autopilot that logs while it is armed writes all of them into one, with holes between.

Bias, battery and landing are a flight's own. Taken for one, two flights whose thrust differs by 6 % gave a network with
twice the error near the ground (simulated).
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np

from neural_lander.errors import NeuralLanderWarning
from neural_lander.flightlog.log import FlightLog
from neural_lander.flightlog.streams import SPLIT

SHORTEST = 2.0  # s of records; less is no flight, guess


def flights_of(log: FlightLog) -> list[FlightLog]:
    """The flights of a log, parted where more than ``SPLIT`` lies between two records; the log itself where nowhere.

    Each has a source and a time of its own, and knows its file. Where none lasts ``SHORTEST``, the log stays whole.
    """
    ends = [*(np.flatnonzero(np.diff(log.t) > SPLIT) + 1).tolist(), len(log.t)]
    parts = [(a, b) for a, b in zip([0, *ends], ends, strict=False) if log.t[b - 1] - log.t[a] >= SHORTEST]
    if len(ends) == 1 or not parts:
        return [log]
    k = np.arange(len(log.t))
    return [log.where((a <= k) & (k < b)).as_flight(number, len(parts)) for number, (a, b) in enumerate(parts, 1)]


def told_apart(log: FlightLog) -> list[FlightLog]:
    """:func:`flights_of`, and a warning where there are several or where something was left out."""
    parts = flights_of(log)
    left_out = len(log.t) - sum(len(part.t) for part in parts)
    if len(parts) > 1 or left_out:
        name = Path(log.source).name or "a log"
        rest = f"; {left_out} records between them last less than {SHORTEST:g} s and are left out" if left_out else ""
        warnings.warn(
            f"{name} holds {len(parts)} flight{'s' * (len(parts) > 1)}, with more than {SPLIT:g} s without a record "
            f"around each{rest}",
            NeuralLanderWarning,
            stacklevel=3,
        )
    return parts
