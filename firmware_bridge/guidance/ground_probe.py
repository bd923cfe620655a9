"""Whether what looks like the ground carries: thrust is taken away little by little, and what stands does not sink.

A height of two centimetres is no contact: a vehicle that hangs there looks just like one that stands (see
``ground_contact`` for the signs). So while there is a sign, the share of the thrust falls at ``RATE``. A vehicle that
stands lays its weight on the gear and stays where it is; with ``TAKEN`` of its thrust gone and no fall seen, the ground
carries it, whatever ground effect, thrust map and battery make of a newton. A vehicle that hangs sinks at once: what
was taken so far then proves nothing and is counted anew from there, and where it sinks faster than ``SINK`` thrust
comes back. So it is let down, and stands before its motors stop. Without the sign all of the thrust comes back within
half a second.

A fall is believed where height and vertical speed both tell it: a rangefinder counts in centimetres, and the speed of
an autopilot's estimator may be off by some for seconds. So the speed alone gives thrust back for
``SINK_TIME`` between two falls and no longer: a vehicle that really sinks has fallen by then. And what noise took for a
fall may leave less than ``TAKEN`` to be taken: but nothing hangs at ``LEAST``, so what does not fall there for
``LEAST_TIME`` is carried.
"""

from __future__ import annotations

from dataclasses import dataclass

RATE = 0.5  # 1/s of share: without its support a vehicle then sinks at 0.1 m/s after 0.2 s, by 7 mm; guess
RECOVERY = 1.5  # 1/s of share: from the least in a third of a second, guess
TAKEN = 0.25  # of the thrust: more than ground effect gives back within ``FALL`` at the steepest plant, 6 weights/m
LEAST = 0.4  # share: two falls seen on the way still leave room for ``TAKEN``
LEAST_TIME = 0.3  # s: a vehicle in the air falls 0.2 m in it, guess
SINK = 0.08  # m/s, mean, at which it is let down no faster: a quarter of the landing's, guess
SINK_TIME = 0.2  # s between two falls for which the speed alone gives thrust back: at ``SINK`` one falls 16 mm, guess
FALL = 0.01  # m by which the mean height falls: a step of a rangefinder that counts in centimetres
MOVED = 0.5  # of ``FALL`` that the vertical speed must tell as well, guess
MEAN_TIME = 0.1  # s, time constant of the means: single reports are noisy by centimetres, guess
LONGEST_STEP = 0.1  # s: after a pause nothing is taken for the time of it


@dataclass
class GroundProbe:
    """One landing."""

    share: float = 1.0
    """Of the thrust that is left, 0..1."""
    _updated: float | None = None
    _means: tuple[float, float, float] | None = None
    """Height in m, vertical speed in m/s, commanded thrust in N."""
    _mark: tuple[float, float] | None = None
    """Height and thrust when it was last seen to fall, or at the beginning."""
    _moved: float = 0.0  # m since then, by the vertical speed
    _sinking: float = 0.0  # s since then in which the speed alone gave thrust back
    _least: float = 0.0  # s since then with the least thrust

    def __call__(self, now: float, sign: bool, height: float, climb: float, thrust: float) -> bool:
        """Whether the ground carries at time ``now`` in s.

        Parameters
        ----------
        sign
            Whether it looks like the ground.
        height, climb
            Of the gear above the ground in m, and vertical speed in m/s.
        thrust
            N that was commanded last, after all that was taken away.
        """
        dt = 0.0 if self._updated is None else min(max(now - self._updated, 0.0), LONGEST_STEP)
        self._updated = now
        new, blend = (height, climb, thrust), min(dt / MEAN_TIME, 1.0)
        self._means = tuple(m + blend * (x - m) for m, x in zip(self._means or new, new, strict=True))  # type: ignore[assignment]
        h, v, T = self._means  # type: ignore[misc]
        if not sign:
            self._mark = None
            self.share = min(self.share + RECOVERY * dt, 1.0)
            return False
        self._moved += climb * dt
        fell = self._mark is not None and h < self._mark[0] - FALL and self._moved < -MOVED * FALL
        if self._mark is None or fell:
            self._mark, self._moved, self._sinking, self._least = (h, T), 0.0, 0.0, 0.0
        sinks = v < -SINK and self._sinking < SINK_TIME
        self._sinking += dt if sinks else 0.0
        self._least = self._least + dt if self.share <= LEAST else 0.0
        self.share += (RECOVERY if sinks else -RATE) * dt
        self.share = min(max(self.share, LEAST), 1.0)
        return (1.0 - TAKEN) * self._mark[1] >= T or self._least >= LEAST_TIME
