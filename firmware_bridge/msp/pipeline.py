"""Which requests are on their way: MSP answers in the order it was asked, and only when asked.

One request at a time is limited by the autopilot's serial task (94 Hz measured), so several are kept outstanding: up
to eight, with which 394 Hz over TCP and 721 Hz over a pseudo-terminal were measured. But a task that takes one command
a turn only lengthens its queue by that, and setpoints wait in it; so there are fewer where the answers begin to lag.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

MOST_OUTSTANDING, LEAST_OUTSTANDING = 8, 3  # requests
LAG = 0.010  # s above the shortest round trip from which requests queue up; a guess
GROWTH = 0.25  # requests per answer that does not lag; a guess
PATIENCE = 0.25  # s without any answer after which all open requests count as lost; a guess, 25 turns of the task
ROUND_TRIP_MEMORY = 1.002  # growth of the least round trip per answer, so that a slower line is noticed; a guess
RATE_WINDOW = 1.0  # s over which answers are counted


class Request(NamedTuple):
    """A command with its payload; the same command with another payload is another request."""

    command: int
    payload: bytes = b""


class Pipeline:
    """Bookkeeping of what was asked and not yet answered."""

    def __init__(self) -> None:
        self.least_round_trip = math.inf
        """s; half of it is the delay of a measurement, as well as MSP lets one know."""
        self.asked = -math.inf
        """s, when the request went out that was answered last: what its answer tells is not older."""
        self._window = float(LEAST_OUTSTANDING)
        self._outstanding: deque[tuple[Request, float]] = deque()
        self._answers: deque[float] = deque(maxlen=4096)

    @property
    def window(self) -> int:
        """How many requests may be outstanding."""
        return int(self._window)

    def room(self, now: float) -> int:
        """How many requests may be sent. A single lost one shows by the order of the answers, a silence loses all."""
        if self._outstanding and now - max(self._outstanding[0][1], self._last_answer) > PATIENCE:
            self._outstanding.clear()
        return self.window - len(self._outstanding)

    @property
    def _last_answer(self) -> float:
        return self._answers[-1] if self._answers else -math.inf

    def waiting(self, command: int) -> int:
        """How many requests of a command are on their way."""
        return sum(request.command == command for request, _ in self._outstanding)

    def sent(self, request: Request, now: float) -> None:
        """A request went out."""
        self._outstanding.append((request, now))

    def answered(self, command: int, now: float) -> Request | None:
        """The request that an answer belongs to; None where none is open, as with a duplicate.

        Those before it were lost: the autopilot keeps the order.
        """
        if not any(request.command == command for request, _ in self._outstanding):
            return None
        while True:
            request, sent = self._outstanding.popleft()
            if request.command == command:
                break
        self.asked = sent
        self.least_round_trip = min(now - sent, self.least_round_trip * ROUND_TRIP_MEMORY)
        lags = now - sent > self.least_round_trip + LAG
        self._window += -GROWTH if lags else GROWTH
        self._window = min(max(self._window, LEAST_OUTSTANDING), MOST_OUTSTANDING)
        self._answers.append(now)
        return request

    def rate(self, now: float) -> float:
        """Answers in 1/s over the last second."""
        while self._answers and now - self._answers[0] > RATE_WINDOW:
            self._answers.popleft()
        return len(self._answers) / RATE_WINDOW

    def forget(self) -> None:
        """Expect no more of the answers that are open."""
        self._outstanding.clear()


class Schedule:
    """What is to be asked next: first what is asked once, then what is due longest."""

    def __init__(self) -> None:
        self._once: dict[Request, float] = {}
        self._periods: dict[Request, float] = {}
        self._due: dict[Request, float] = {}

    def once(self, requests: Iterable[Request]) -> None:
        """Ask these until each is answered or refused."""
        self._once |= dict.fromkeys(requests, -math.inf)

    def every(self, period: float, request: Request) -> None:
        """Ask this with a period in s from now on."""
        self._periods[request], self._due[request] = period, -math.inf

    def drop(self, request: Request) -> None:
        """Ask this no more."""
        self._once.pop(request, None)
        self._periods.pop(request, None)
        self._due.pop(request, None)

    def settled(self, request: Request) -> None:
        """It was answered."""
        self._once.pop(request, None)

    @property
    def open(self) -> bool:
        """Whether something that is asked once has no answer yet."""
        return bool(self._once)

    def next(self, now: float) -> Request | None:
        """The next request that is due at ``now``, if any; it counts as sent."""
        for request, asked in self._once.items():
            if now - asked > 2 * PATIENCE:
                self._once[request] = now
                return request
        due = min(self._due.values(), default=math.inf)
        if due > now:
            return None
        chosen = next(request for request, when in self._due.items() if when == due)
        period = self._periods[chosen]
        self._due[chosen] = due + period if due + period > now else now + period
        return chosen
