"""Mode and arming as often as we need them, also from an autopilot that streams its HEARTBEAT once a second.

PX4 refuses an interval for HEARTBEAT, but sends one for each MAV_CMD_REQUEST_MESSAGE (mavlink_receiver.cpp). A second
is long: a request of ours could replace the mode that the pilot has just taken.
"""

from __future__ import annotations

import math
from collections import deque
from itertools import pairwise

from pymavlink.dialects.v20 import ardupilotmega as dialect

from firmware_bridge.link import CheckResult
from firmware_bridge.mavlink.autopilot import STATUS_RATE
from firmware_bridge.mavlink.requests import Command, Commands

HEARTBEAT = (float(dialect.MAVLINK_MSG_ID_HEARTBEAT),)
"""Parameters of the request for one."""

LATE = 1.5  # periods without a HEARTBEAT after which one is asked for: a stream at STATUS_RATE is left alone
ANSWER_TIME = 0.15  # s for an answer, a guess: so long one that is lost holds up the next
DENIED_TIME = 1.0  # s until it is asked again after a refusal: PX4 refuses where its line has no room just then, guess
MOST_DENIED = 10  # refusals in a row: then it cannot


class FreshStatus:
    """Asks for a HEARTBEAT where the last one has grown old.

    Parameters
    ----------
    commands : Commands
        Of the link.
    """

    def __init__(self, commands: Commands) -> None:
        self._commands = commands
        self._heard: deque[float] = deque(maxlen=5)  # s
        self._asked = -math.inf  # s
        self._denied = 0

    def heard(self, now: float) -> None:
        """One came, at ``now`` in s."""
        self._heard.append(now)

    def keep_up(self, now: float) -> None:
        """Ask for one where that is due, one at a time; an autopilot that cannot is not asked again."""
        last = self._heard[-1] if self._heard else -math.inf
        wait = DENIED_TIME if self._denied else 1 / STATUS_RATE
        if self._denied >= MOST_DENIED or now - last < LATE / STATUS_RATE or now - self._asked < wait:
            return
        if self._commands.pending(dialect.MAV_CMD_REQUEST_MESSAGE, HEARTBEAT):
            return
        self._asked = now
        number = dialect.MAV_CMD_REQUEST_MESSAGE
        self._commands.ask(Command(number, HEARTBEAT, "status", 1, self._answered, answer_time=ANSWER_TIME))

    def check(self) -> CheckResult:
        """How late the pilot's switch may be seen; nobody is kept from flying by it."""
        longest = max(after - before for before, after in pairwise(self._heard)) if len(self._heard) > 1 else math.inf
        if not math.isfinite(longest):
            return CheckResult("mode and arming", True, "HEARTBEAT has come once so far")
        return CheckResult(
            "mode and arming",
            True,
            f"HEARTBEAT comes at least every {longest:.2f} s: so late may the pilot's switch be seen",
        )

    def _answered(self, result: int | None) -> None:
        if result == dialect.MAV_RESULT_UNSUPPORTED:
            self._denied = MOST_DENIED
        elif result is not None:
            self._denied = 0 if result == dialect.MAV_RESULT_ACCEPTED else self._denied + 1
