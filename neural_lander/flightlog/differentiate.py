"""Velocity from positions, where nothing else tells it."""

from __future__ import annotations

import numpy as np

VELOCITY_FROM = "velocity_from"  # key in a log's metadata
SMOOTH = 0.05  # s, of the slope: a tracked marker set jitters
HOLE_PERIODS, SHORTEST_HOLE = 4.0, 0.1  # times the median period, and s: no slope is averaged across a longer one
WORDS = f"positions, differentiated and smoothed over {SMOOTH:g} s"


def differentiated(t: np.ndarray, position: np.ndarray) -> np.ndarray:
    """Velocity ``(N, 3)`` in m/s by central differences and a moving average, of each stretch between two holes.

    Parameters
    ----------
    t, position
        Rising times ``(N,)`` in s, N at least 2, and places ``(N, 3)`` in m.
    """
    steps, velocity = np.diff(t), np.gradient(position, t, axis=0)
    period = float(np.median(steps))
    window = np.ones(round(SMOOTH / period) | 1)  # odd: an even one is late by half a record
    cuts = np.flatnonzero(steps > max(HOLE_PERIODS * period, SHORTEST_HOLE)) + 1
    for rows in np.split(np.arange(len(t)), cuts):
        if len(rows) < 2:  # alone between two holes: the slope across them is all there is
            continue
        slope = np.gradient(position[rows], t[rows], axis=0)
        count = _averaged(np.ones(len(rows)), window)  # fewer records are averaged at the ends
        velocity[rows] = np.stack([_averaged(v, window) / count for v in slope.T], axis=-1)
    return velocity


def _averaged(values: np.ndarray, window: np.ndarray) -> np.ndarray:
    """Sum within the window around each record, ``(N,)``."""
    whole = np.convolve(values, window, mode="full")
    start = (len(window) - 1) // 2
    return whole[start : start + len(values)]
