"""By how much the reported velocity is off, from the reported positions: vibration on an accelerometer does it.

An autopilot's filter corrects its position by a sensor, and lives with a velocity that is wrong for minutes: a
vehicle that stands still is said to sink. The controller then holds it off by the offset over Lambda, centimetres.

    p- = p + (v - o) dt      r = z - p-      p = p- + alpha r      o = o - beta r / dt

with v, z the reported velocity and position, and alpha, beta as in :mod:`firmware_bridge.estimation.pose_filter`: slow,
since a position that is some 30 ms older than the velocity beside it looks like an offset whenever the vehicle speeds
up. What is smaller than ``UNCERTAIN`` may be that, or a position that wanders, and is left alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from firmware_bridge.estimation.pose_filter import fading_memory

BANDWIDTH = 2.0  # rad/s; a guess: an offset is known within 1.5 s; 30 ms between both are at most 2 cm/s for 1 m/s
UNCERTAIN = 0.02  # m/s in each axis: 30 ms between both at 1 m/s; a position that wanders by 1 cm within seconds; guess
LARGEST = 0.2  # m/s in each axis that is believed, a guess: more is no offset but a filter that diverges
LONGEST_GAP = 0.5  # s between two reports that the velocity bridges, a guess


class SpeedOffset:
    """Offset of the reported velocity, world; zero to begin with."""

    def __init__(self) -> None:
        self._t = -math.inf
        self._o: Sequence[float] = (0.0, 0.0, 0.0)
        self._p: Sequence[float] = (0.0, 0.0, 0.0)
        self._v: Sequence[float] = (0.0, 0.0, 0.0)

    @property
    def value(self) -> list[float]:
        """(3,) m/s: what is certain of it."""
        return [math.copysign(max(abs(o) - UNCERTAIN, 0.0), o) for o in self._o]

    def update(self, t: float, position: Sequence[float], velocity: Sequence[float], moved: bool) -> None:
        """Take in a report of time ``t`` in s: position in m and velocity in m/s, world.

        Where the position ``moved`` without the vehicle, by a reset, the way there tells nothing.
        """
        dt, before, self._t, self._v = t - self._t, self._v, t, velocity
        if moved or not 0.0 < dt <= LONGEST_GAP:
            self._p = position
            return
        alpha, beta_over_dt = fading_memory(BANDWIDTH, dt)
        mean = [0.5 * (u + v) - o for u, v, o in zip(before, velocity, self._o, strict=True)]
        predicted = [p + w * dt for p, w in zip(self._p, mean, strict=True)]
        r = [z - p for z, p in zip(position, predicted, strict=True)]
        self._p = [p + alpha * x for p, x in zip(predicted, r, strict=True)]
        self._o = [min(max(o - beta_over_dt * x, -LARGEST), LARGEST) for o, x in zip(self._o, r, strict=True)]
