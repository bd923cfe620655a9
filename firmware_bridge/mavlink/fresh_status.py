"""Mode and arming as often as we need them, also from an autopilot that streams its HEARTBEAT once a second.

PX4 refuses an interval for HEARTBEAT, but sends one for each MAV_CMD_REQUEST_MESSAGE (mavlink_receiver.cpp). A second
is long: a request of ours could replace the mode that the pilot has just taken.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from itertools import pairwise

from pymavlink.dialects.v20 import ardupilotmega as dialect

from firmware_bridge.link import CheckResult
from firmware_bridge.mavlink.autopilots import STATUS_RATE
from firmware_bridge.mavlink.requests import Command

LATE = 1.5  # periods without a HEARTBEAT after which one is asked for: a stream at STATUS_RATE is left alone


class FreshStatus:
    """Asks for a HEARTBEAT where the last one has grown old.

    Parameters
    ----------
    ask : callable
        Queues a command.
    """

    def __init__(self, ask: Callable[[Command], None]) -> None:
        self._ask = ask
        self._heard: deque[float] = deque([-math.inf], maxlen=5)  # s
        self._asked = -math.inf  # s
        self._refused = False

    def heard(self, now: float) -> None:
        """One came, at ``now`` in s."""
        self._heard.append(now)

    def keep_up(self, now: float) -> None:
        """Ask for one where that is due; an autopilot that refused is not asked again."""
        if self._refused or now - self._heard[-1] < LATE / STATUS_RATE or now - self._asked < 1 / STATUS_RATE:
            return
        self._asked = now
        heartbeat = (float(dialect.MAVLINK_MSG_ID_HEARTBEAT),)
        self._ask(Command(dialect.MAV_CMD_REQUEST_MESSAGE, heartbeat, "status", 1, self._answered))

    def check(self) -> CheckResult:
        """How late the pilot's switch may be seen; nobody is kept from flying by it."""
        longest = max(after - before for before, after in pairwise(self._heard)) if len(self._heard) > 1 else math.inf
        if not math.isfinite(longest):
            return CheckResult("mode and arming", True, "HEARTBEAT has come once or twice so far")
        return CheckResult(
            "mode and arming",
            True,
            f"HEARTBEAT comes at least every {longest:.2f} s: so late may the pilot's switch be seen",
        )

    def _answered(self, result: int | None) -> None:
        self._refused = result in (dialect.MAV_RESULT_UNSUPPORTED, dialect.MAV_RESULT_DENIED, dialect.MAV_RESULT_FAILED)
