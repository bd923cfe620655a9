"""Which messages come at which rate: asked for one by one, denied or granted, and counted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pymavlink.dialects.v20 import ardupilotmega as dialect

from firmware_bridge.link import CheckResult
from firmware_bridge.mavlink.autopilot import Autopilot
from firmware_bridge.mavlink.framing import ESC_STATUS
from firmware_bridge.mavlink.requests import Command

TRIES = 5
COUNTING = 1.0  # s over which rates are measured
ENOUGH = 0.5  # of the rate asked for; a guess


def message_name(number: int) -> str:
    """MAVLink's name of a message id."""
    if number == ESC_STATUS:
        return "ESC_STATUS"
    kind = dialect.mavlink_map.get(number)
    return str(kind.msgname) if kind else f"message {number}"


@dataclass
class _Stream:
    rate: float  # 1/s asked for
    needed: bool
    """Whether nobody can fly without it."""
    result: int | None = None
    answered: bool = False
    count: int = 0
    measured: float = 0.0  # 1/s

    @property
    def denied(self) -> bool:
        return self.answered and self.result != dialect.MAV_RESULT_ACCEPTED


class Streams:
    """Asks an autopilot for its messages.

    Parameters
    ----------
    autopilot : Autopilot
    rate : float
        1/s of position, attitude and inertial data.
    ask : callable
        Queues a command.
    others : mapping, optional
        Message id -> 1/s of what is wanted beside an autopilot's own list.
    """

    def __init__(
        self,
        autopilot: Autopilot,
        rate: float,
        ask: Callable[[Command], None],
        others: Mapping[int, float] | None = None,
    ) -> None:
        self._autopilot, self._rate, self._ask = autopilot, rate, ask
        self._slow = {**autopilot.slow, **(others or {})}
        self._streams: dict[int, _Stream] = {}
        self._since: float | None = None

    def start(self) -> None:
        """Ask for all of them, also again after a restart."""
        self._streams.clear()
        for group in self._autopilot.fast:
            self._request(group, self._rate, True)
        for number, rate in self._slow.items():
            self._request((number,), rate, False)

    def _request(self, group: tuple[int, ...], rate: float, needed: bool) -> None:
        """Ask for the first of a group; where it is denied, for the next."""
        number, others = group[0], group[1:]
        stream = self._streams[number] = _Stream(rate, needed)

        def answered(result: int | None) -> None:
            stream.answered, stream.result = True, result
            if stream.denied and others:
                stream.needed = False
                self._request(others, rate, needed)

        interval = (float(number), 1e6 / rate)
        purpose = f"{message_name(number)} at {rate:g} Hz"
        self._ask(Command(dialect.MAV_CMD_SET_MESSAGE_INTERVAL, interval, purpose, TRIES, answered))

    def count(self, number: int) -> None:
        """One message came."""
        stream = self._streams.get(number)
        if stream is not None:
            stream.count += 1

    def measure(self, now: float) -> None:
        """Once a second, rates from counts."""
        if self._since is None:
            self._since = now
        elapsed = now - self._since
        if elapsed >= COUNTING:
            for stream in self._streams.values():
                stream.measured, stream.count = stream.count / elapsed, 0
            self._since = now

    @property
    def rates(self) -> Mapping[str, float]:
        """Message -> measured 1/s over the last second."""
        return {message_name(number): stream.measured for number, stream in self._streams.items()}

    def checks(self) -> list[CheckResult]:
        """One verdict for each message that is needed, and one line about what was denied."""
        results = []
        for number, stream in self._streams.items():
            if stream.needed:
                good = stream.measured >= ENOUGH * stream.rate
                words = f"{message_name(number)} comes at {stream.measured:.0f} Hz of {stream.rate:g} Hz asked for"
                remedy = (
                    "" if good else "; use a faster line or a lower --rate, and look at the autopilot's stream rates"
                )
                results.append(CheckResult(message_name(number), good, words + remedy))
        denied = [message_name(number) for number, stream in self._streams.items() if stream.denied]
        # What nobody needs to fly may be denied: it is named, and does not stop anyone.
        lost = any(stream.denied and stream.needed for stream in self._streams.values())
        words = f"denied or not answered: {', '.join(denied)}" if denied else "no message that we asked for is denied"
        results.append(CheckResult("message intervals", not lost, words))
        return results
