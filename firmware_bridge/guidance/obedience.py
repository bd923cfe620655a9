"""Whether the vehicle does what it is told: the thrust that is commanded beside the one that is felt.

An autopilot that no longer hears us may keep its mode and fly on by itself (ArduCopter in guided levels and holds its
height), and nothing that it reports says so. But the accelerometer feels all thrust. Along the body's z it must be

    m f_z = T + (f_a_hat + d_hat) . z

where d_hat is the trim, so that errors of mass, battery and thrust curve do not count. Both sides go through the same
low-pass; what is left must not stay above ``MISMATCH`` for ``PATIENCE``. Near the ground the gear may carry, and
nothing is judged.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

SMOOTHING = 0.1  # s, time constant of the low-pass: twice the motors' and the attitude loop's lag, guess
MISMATCH = 2.5  # m/s^2, a quarter of g: ground effect that no network knows takes the trim some 1 m/s^2 behind, guess
PATIENCE = 0.3  # s: a gust passes, and a deaf autopilot has not yet gone far; guess


@dataclass
class Obedience:
    """Fed once per tick that was in control."""

    _updated: float = -math.inf
    _difference: float = 0.0  # m/s^2, smoothed
    _since: float = math.inf

    def reset(self) -> None:
        """Nothing is known: nothing was sent, or the vehicle stands."""
        self._updated, self._difference, self._since = -math.inf, 0.0, math.inf

    def __call__(self, now: float, felt: float, expected: float) -> None:
        """Take in the specific force along the body's z in m/s^2 at ``now`` in s, and the one that should be felt."""
        dt = min(max(now - self._updated, 0.0), SMOOTHING) if self._updated > -math.inf else 0.0
        self._updated = now
        self._difference += dt / SMOOTHING * (felt - expected - self._difference)
        if not abs(self._difference) > MISMATCH:
            self._since = math.inf
        elif self._since == math.inf:
            self._since = now

    @property
    def mismatch(self) -> float:
        """m/s^2, felt beyond what was told; 0 until it has lasted for ``PATIENCE``."""
        return self._difference if self._updated - self._since >= PATIENCE else 0.0
