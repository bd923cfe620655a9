"""What a MAVLink autopilot says of itself: armed, mode, landed, and why it does not arm."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pymavlink.dialects.v20 import ardupilotmega as dialect

from firmware_bridge.link import CheckResult, Report, StatusReport
from firmware_bridge.mavlink.autopilot import Autopilot

QUADROTOR = dialect.MAV_TYPE_QUADROTOR
REFUSALS = ("prearm:", "arm:", "preflight fail", "arming denied")
"""What texts begin with that say why it does not arm: ArduPilot's, then PX4's."""
REFUSAL_LIFE = 35.0  # s; ArduPilot repeats its own every 30 s
MOST_REFUSALS = 20
FAILSAFE_TEXT_LIFE = 2.0  # s for which a failsafe's text explains a mode that is left, guess
LANDED = {
    dialect.MAV_LANDED_STATE_ON_GROUND: True,
    dialect.MAV_LANDED_STATE_IN_AIR: False,
    dialect.MAV_LANDED_STATE_TAKEOFF: False,
    dialect.MAV_LANDED_STATE_LANDING: False,
}
FAULTS = {
    dialect.MAV_STATE_CRITICAL: "MAV_STATE_CRITICAL, one of its failsafes is active",
    dialect.MAV_STATE_EMERGENCY: "MAV_STATE_EMERGENCY, it has lost control over parts of the vehicle",
    dialect.MAV_STATE_POWEROFF: "MAV_STATE_POWEROFF, it is shutting down",
    dialect.MAV_STATE_FLIGHT_TERMINATION: "MAV_STATE_FLIGHT_TERMINATION, it stops its motors",
}
"""HEARTBEAT.system_status under which nobody should fly on. PX4 says CRITICAL while it is armed and in failsafe, and
FLIGHT_TERMINATION under its kill switch; without any of that it stays below. ArduCopter says CRITICAL for failsafes
too, but also once it has found an internal error, as 4.5 does in a companion's take-off by thrust, and flies on."""


def _fault(status: int, autopilot: Autopilot) -> str:
    """ArduCopter's failsafes act by mode, which is heard: its CRITICAL alone says too little to hand back for."""
    if status == dialect.MAV_STATE_CRITICAL and not autopilot.critical_in_failsafe_alone:
        return ""
    return FAULTS.get(status, "")


def _tells_failsafe(text: str) -> bool:
    """ArduCopter's "Radio Failsafe - Landing" and "Alt fence breached"; not of one that is over, or changes no mode."""
    text = text.lower()
    if text.startswith(REFUSALS):
        return False
    over = "cleared" in text or "continuing" in text
    return ("failsafe" in text and not over) or ("fence" in text and "breached" in text)


class StatusReader:
    """Gathers one :class:`StatusReport` from HEARTBEAT, EXTENDED_SYS_STATE, SYS_STATUS and texts."""

    def __init__(self) -> None:
        self._last: StatusReport | None = None
        self._landed: bool | None = None
        self._type = QUADROTOR
        self._refusals: dict[str, float] = {}  # text -> s when it was last said
        self._critical_for_us = False
        self._failsafe_text = -math.inf  # s

    def heartbeat(self, m: Any, autopilot: Autopilot, now: float) -> StatusReport:
        """Status after a HEARTBEAT of the autopilot itself."""
        armed = bool(m.base_mode & dialect.MAV_MODE_FLAG_SAFETY_ARMED)
        self._type = m.type
        self._refusals = {} if armed else {t: s for t, s in self._refusals.items() if now - s < REFUSAL_LIFE}
        self._last = StatusReport(
            received=now,
            armed=armed,
            mode=autopilot.mode_name(m.custom_mode),
            accepts_setpoints=autopilot.follows(m.custom_mode),
            landed=self._landed,
            arming_refusals=tuple(self._refusals),
            fault=_fault(m.system_status, autopilot),
            failsafe=self._failsafe(m, autopilot, armed, now),
        )
        return self._last

    def _failsafe(self, m: Any, autopilot: Autopilot, armed: bool, now: float) -> bool | None:
        """PX4 tells it by CRITICAL, while armed alone. ArduCopter's CRITICAL is one where it came as the mode was left.

        What it said in our mode already may be an internal error; a fence's failsafe it tells by a text alone.
        """
        critical = m.system_status == dialect.MAV_STATE_CRITICAL
        if m.system_status > dialect.MAV_STATE_CRITICAL:
            return None
        if autopilot.critical_in_failsafe_alone:
            return critical if armed else None
        if autopilot.follows(m.custom_mode):
            self._critical_for_us = critical
        if now - self._failsafe_text <= FAILSAFE_TEXT_LIFE:
            return True
        return None if critical and self._critical_for_us else critical

    def other(self, number: int, m: Any, now: float) -> Sequence[Report]:
        """A status anew where a message changes the autopilot's opinion on being landed."""
        if number == dialect.MAVLINK_MSG_ID_SYS_STATUS:
            if m.onboard_control_sensors_health & dialect.MAV_SYS_STATUS_PREARM_CHECK:
                self._refusals.clear()
        elif number == dialect.MAVLINK_MSG_ID_STATUSTEXT:
            self._text(m.text.split(b"\0")[0].decode("utf-8", "replace"), now)
        elif number == dialect.MAVLINK_MSG_ID_EXTENDED_SYS_STATE:
            landed = LANDED.get(m.landed_state)
            if landed != self._landed:
                self._landed = landed
                if self._last is not None:
                    self._last = replace(self._last, landed=landed)
                    return (self._last,)
        return ()

    def _text(self, text: str, now: float) -> None:
        if _tells_failsafe(text):
            self._failsafe_text = now
        if text.lower().startswith(REFUSALS) and (text in self._refusals or len(self._refusals) < MOST_REFUSALS):
            self._refusals[text] = now

    def checks(self) -> list[CheckResult]:
        """Whether it is a quadrotor at all."""
        good = self._type == QUADROTOR
        name = dialect.enums["MAV_TYPE"][self._type].name if self._type in dialect.enums["MAV_TYPE"] else self._type
        words = "a quadrotor" if good else f"it says that it is {name}; only quadrotors are flown"
        return [CheckResult("airframe", good, words)]
