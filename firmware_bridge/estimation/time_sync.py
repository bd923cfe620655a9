"""The autopilot's clock seen from ours: offset and round trip, and whether it began anew.

A TIMESYNC exchange sent at a and received at b (ours) with the autopilot's time c in between says that
c - offset lies in [a, b]: offset = c - (a + b)/2 to within half the round trip. Waiting makes the round trip
longer and the middle worse, never better, so that the exchange with the shortest round trip of the last
seconds is the one to believe: the minimum-delay filter of NTP (RFC 5905, section 10).
"""

from __future__ import annotations

import math
from collections import deque
from enum import Enum

WINDOW = 64  # exchanges, 6.4 s at 10 Hz; two crystals 50 ppm apart (usual) drift by 0.3 ms in that time
ENOUGH = 5  # exchanges before the offset is believed; a guess
LONGEST = 1.0  # s: a longer round trip says nothing
BACK = 0.3  # s by which a time stamp may lie behind the newest: messages carry times of different samples; a guess
DRIFT = 1e-4  # of a second per second: two crystals, 50 ppm each, apart
CONFIRM = 5  # stamps in a row that lie behind: an old frame that was repeated is not a restart; a guess


class Step(Enum):
    """What a time stamp of the autopilot says of its clock."""

    ON = "as it should be"
    OLD = "behind the newest: an old frame"
    RESTARTED = "the clock began anew"


class TimeSync:
    """Offset between the clocks from exchanges of TIMESYNC. All times in s."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, float, float]] = deque(maxlen=WINDOW)  # (round trip, offset, received)
        self._best: tuple[float, float, float] | None = None

    def add(self, sent: float, remote: float, received: float) -> None:
        """One exchange: sent and received by our clock, ``remote`` by the autopilot's."""
        round_trip = received - sent
        if not 0 <= round_trip <= LONGEST:
            return
        self._samples.append((round_trip, remote - (sent + received) / 2, received))
        self._best = min(self._samples)

    def clear(self) -> None:
        """Forget everything: another clock."""
        self._samples.clear()
        self._best = None

    @property
    def ready(self) -> bool:
        """Whether there are enough exchanges."""
        return len(self._samples) >= ENOUGH

    @property
    def round_trip(self) -> float | None:
        """Shortest of the window, s."""
        return self._best[0] if self._best else None

    @property
    def delay(self) -> float:
        """One way, s, taken as half the shortest round trip; 0 while nothing is known."""
        return self._best[0] / 2 if self._best else 0.0

    def error(self, now: float) -> float:
        """s by which the offset may be off at time ``now`` in s: half the round trip, and what the clocks drift since.

        Infinite until there are enough exchanges: then nothing tells how long a frame was under way.
        """
        if self._best is None or not self.ready:
            return math.inf
        return self._best[0] / 2 + DRIFT * max(now - self._best[2], 0.0)

    def to_ours(self, remote: float, received: float) -> float:
        """Our time of an instant of the autopilot's clock, never later than its arrival.

        Until there are enough exchanges, the time of arrival stands for it.
        """
        if self._best is None or not self.ready:
            return received
        return min(remote - self._best[1], received)


class BootClock:
    """Tells a clock that began anew from single frames that are old."""

    def __init__(self) -> None:
        self.newest = float("-inf")  # s since boot
        self._behind = 0
        self._newest_behind = float("-inf")

    def see(self, stamp: float) -> Step:
        """Judge one time stamp, s since boot."""
        if stamp >= self.newest - BACK:
            self.newest = max(self.newest, stamp)
            self._behind, self._newest_behind = 0, float("-inf")
            return Step.ON
        # A restarted clock runs on; a frame that is repeated over and over does not.
        if stamp < self._newest_behind - BACK:
            self._behind, self._newest_behind = 1, stamp
        elif stamp > self._newest_behind:
            self._behind, self._newest_behind = self._behind + 1, stamp
        if self._behind < CONFIRM:
            return Step.OLD
        self.newest, self._behind, self._newest_behind = stamp, 0, float("-inf")
        return Step.RESTARTED
