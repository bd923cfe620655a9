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

BANDWIDTH = 2.0  # rad/s; a guess: an offset is known within 1.5 s; 30 ms between both are at most 2 cm/s for 1 m/s
UNCERTAIN = 0.02  # m/s in each axis: 30 ms between both at 1 m/s; a position that wanders by 1 cm within seconds; guess
LARGEST = 0.2  # m/s in each axis that is believed, a guess: more is no offset but a filter that diverges
LONGEST_GAP = 0.5  # s between two reports that the velocity bridges, a guess

Vector = tuple[float, float, float]


class SpeedOffset:
    """Offset of the reported velocity, world; zero to begin with."""

    def __init__(self) -> None:
        self._o: Vector = (0.0, 0.0, 0.0)
        self._t = -math.inf
        self._p: Vector = (0.0, 0.0, 0.0)
        self._v: Vector = (0.0, 0.0, 0.0)

    @property
    def value(self) -> Vector:
        """(3,) m/s: what is certain of it."""
        x, y, z = (math.copysign(max(abs(o) - UNCERTAIN, 0.0), o) for o in self._o)
        return x, y, z

    def update(self, t: float, position: Vector, velocity: Vector, moved: bool) -> None:
        """Take in a report of time ``t`` in s: position in m and velocity in m/s, world.

        Where the position ``moved`` without the vehicle, by a reset, the way there tells nothing.
        """
        dt, before, self._t, self._v = t - self._t, self._v, t, velocity
        if moved or not 0.0 < dt <= LONGEST_GAP:
            self._p = position
            return
        theta = math.exp(-BANDWIDTH * dt)
        follow, learn = 1.0 - theta**2, (1.0 - theta) ** 2 / dt
        axes = [
            _axis(p + (0.5 * (u + v) - o) * dt, z, o, follow, learn)
            for p, z, u, v, o in zip(self._p, position, before, velocity, self._o, strict=True)
        ]
        self._p, self._o = tuple(p for p, _ in axes), tuple(o for _, o in axes)  # type: ignore[assignment]


def _axis(predicted: float, z: float, offset: float, follow: float, learn: float) -> tuple[float, float]:
    r = z - predicted
    return predicted + follow * r, min(max(offset - learn * r, -LARGEST), LARGEST)
