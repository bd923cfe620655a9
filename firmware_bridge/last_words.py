"""The end of a run that the autopilot may still follow: it is asked to take over, or to disarm, and listened to."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeVar

from firmware_bridge.link import Link, LinkLost, StatusReport
from firmware_bridge.realtime import Clock
from firmware_bridge.supervisor.limits import Limits
from firmware_bridge.supervisor.types import Memory, Phase

LOOK = 0.01  # s between looks at the line, as at 100 Hz: a link does its own bookkeeping in them

T = TypeVar("T")


def let_go(link: Link, memory: Memory, status: StatusReport | None, limits: Limits, clock: Clock, until: float) -> bool:
    """Ask as often as the supervisor does, until ``until`` in s; whether the autopilot has left our mode, or disarmed.

    This stands apart from loop and supervisor, since one of them may have failed, and asks on whatever the link fails
    in. ``status`` was heard last: a pilot who has taken over is not overruled.
    """
    ask = link.disarm if memory.phase is Phase.LANDED else link.hand_back
    asked = -math.inf
    try:
        while (now := clock.now()) < until:
            heard = _tried(link.poll, now) or ()
            status = next((report for report in reversed(heard) if isinstance(report, StatusReport)), status)
            if status is not None and not (status.armed and status.accepts_setpoints):
                return True
            if now - asked >= limits.request_period:
                asked = now
                _tried(ask, now)
            clock.sleep_until(now + LOOK)
    except LinkLost:
        pass
    return False


def _tried(method: Callable[[float], T], now: float) -> T | None:
    try:
        return method(now)
    except LinkLost:
        raise
    except Exception:  # noqa: BLE001 - the error that ended the run is the one that is shown
        return None
