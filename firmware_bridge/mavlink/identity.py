"""Who on a MAVLink line is our autopilot: the mind is made up once, and a foreign HEARTBEAT never changes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from firmware_bridge.link import CheckResult
from firmware_bridge.mavlink.ardupilot import ARDUPILOT
from firmware_bridge.mavlink.autopilot import Autopilot
from firmware_bridge.mavlink.framing import Frame
from firmware_bridge.mavlink.px4 import PX4

AUTOPILOTS: Mapping[int, Autopilot] = {kind.identity: kind for kind in (PX4, ARDUPILOT)}
"""MAV_AUTOPILOT -> what it is."""


class Identity:
    """The first autopilot heard, or the first of the system that the user names."""

    def __init__(self, system: int | None) -> None:
        self.system = system
        """System id, once known."""
        self.autopilot: Autopilot | None = None
        """Its kind, once known."""
        self._named = system is not None
        self._others: set[int] = set()
        self._version = 2

    def is_ours(self, frame: Frame) -> bool:
        """Whether a frame of an autopilot component is of ours."""
        return self.autopilot is not None and frame.system == self.system

    def heartbeat(self, frame: Frame, message: Any) -> bool:
        """Look at a HEARTBEAT of an autopilot component; True where it made up our mind."""
        kind = AUTOPILOTS.get(message.autopilot)
        if kind is None:
            return False
        found = self.autopilot is None and self.system in (None, frame.system)
        if found:
            self.system, self.autopilot = frame.system, kind
        if frame.system == self.system:
            self._version = frame.version
        else:
            self._others.add(frame.system)
        return found

    def checks(self) -> list[CheckResult]:
        """Whether there is an autopilot, only one, and of a protocol that carries what we need."""
        if self.autopilot is None:
            words = "no HEARTBEAT of PX4 or ArduPilot has come; look at the line, the baud rate and the system id"
            return [CheckResult("autopilot", False, words)]
        words, certain = f"{self.autopilot.name}, system {self.system}", self._named or not self._others
        if not certain:
            heard = ", ".join(str(system) for system in sorted(self._others))
            words += (
                f"; autopilots of other systems ({heard}) are on this line too: say which is yours by its system id"
            )
        results = [CheckResult("autopilot", certain, words)]
        if self._version == 1:
            words = "it speaks MAVLink 1; set MAV_PROTO_VER (PX4) or SERIALn_PROTOCOL (ArduPilot) to 2"
            return [*results, CheckResult("protocol", False, words)]
        return [*results, CheckResult("protocol", True, "MAVLink 2")]
