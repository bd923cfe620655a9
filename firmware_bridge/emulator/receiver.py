"""How a firmware that is flown by sticks meets a receiver that falls silent, as measured on both in software."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Habits:
    """Of one firmware."""

    held: float  # s
    """For which lost sticks keep their values; then they are centred, without throttle."""
    failsafe: float  # s
    """Of silence until it goes to its failsafe, and disarms."""
    recovery: float  # s
    """Of frames until a lost receiver counts as there."""
    release: float | None  # s
    """With the arming switch off until a failsafe ends that began while armed; None where frames end it."""


BETAFLIGHT = Habits(held=0.3, failsafe=1.4, recovery=0.0, release=None)
"""4.5: ``held`` is MAX_INVALID_PULSE_TIME_MS, 1.4 to 1.5 s were measured."""
INAV = Habits(held=math.inf, failsafe=0.88, recovery=0.6, release=1.6)
"""9.1, set to drop; sticks and throttle still stood at their last values 5 s later."""


class Receiver:
    """What is made of frames that come or do not; called once per tick with the time in s."""

    def __init__(self, habits: Habits) -> None:
        self.habits = habits
        self.failsafe = False
        self.lost = True
        """Whether the receiver counts as gone."""
        self._heard = self._back = self._wanted = -math.inf
        self._in_flight = False

    def hear(self, now: float) -> None:
        """A frame counts at this time."""
        self._heard = now

    def begin_airborne(self, now: float) -> None:
        """As if frames had come for long."""
        self._heard, self.lost = now, False

    def update(self, now: float, armed: bool, wanted: bool) -> bool:
        """Whether a failsafe ends in this tick; ``wanted`` is the arming switch, as last taken."""
        silent = now - self._heard
        self._back = now if silent > 0 else self._back
        self._wanted = now if wanted else self._wanted
        self.lost = silent > 0 or now - self._back < self.habits.recovery
        if not self.failsafe and silent > self.habits.failsafe:
            self.failsafe, self._in_flight = True, armed
        released = self.habits.release is None or not self._in_flight or now - self._wanted >= self.habits.release
        if self.failsafe and not self.lost and released:
            self.failsafe = False
            return True
        return False

    def holds(self, now: float) -> bool:
        """Whether lost sticks still keep their values."""
        return now - self._heard <= self.habits.held

    @property
    def refuses(self) -> bool:
        """Whether the failsafe keeps it from arming."""
        return self.failsafe and (self.habits.release is None or self._in_flight)
