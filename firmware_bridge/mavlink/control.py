"""Asking a MAVLink autopilot for its mode and for arming. What comes of it is told by its HEARTBEAT alone.

Everything is asked for once. A repetition of our own, after an answer that was lost, could undo what the pilot has done
with the switch in between; the supervisor repeats, and sees the pilot's mode before it does.
"""

from __future__ import annotations

import math

from pymavlink.dialects.v20 import ardupilotmega as dialect

from firmware_bridge.mavlink.autopilot import Autopilot
from firmware_bridge.mavlink.requests import Command, Commands

STREAM_GAP = 0.4  # s between setpoints that still count as a stream; PX4 wants more than 2 Hz
STREAM_MARGIN = 0.2  # s beyond what the autopilot wants to see before its mode is switched; a guess
PATIENCE = 1.5  # s for which a wish for control waits for the stream; a guess: longer than that takes from its begin
CUSTOM_MODE = float(dialect.MAV_MODE_FLAG_CUSTOM_MODE_ENABLED)
SET_MODE, ARM = dialect.MAV_CMD_DO_SET_MODE, dialect.MAV_CMD_COMPONENT_ARM_DISARM


class Control:
    """Requests of one flight, in order; the newest of a kind replaces those before it."""

    def __init__(self, commands: Commands) -> None:
        self._commands = commands
        self.clear()

    def clear(self) -> None:
        """As if nothing had been asked for or sent."""
        self._wish: float | None = None
        self._last_sent = self._stream_since = -math.inf

    def setpoint_sent(self, autopilot: Autopilot, now: float) -> None:
        """A setpoint went out; a wish for control that waited for the stream is asked for with it.

        With it alone: what has stopped sending meanwhile, because the pilot or a limit would have it so, does not take
        the vehicle afterwards.
        """
        if now - self._last_sent > STREAM_GAP:
            self._stream_since = now
        self._last_sent = now
        if self._wish is not None and now - self._stream_since >= autopilot.stream_before_switch + STREAM_MARGIN:
            self._wish = None
            self._set_mode(autopilot.control_mode, "taking control")

    def take(self, autopilot: Autopilot, now: float) -> None:
        """Ask for control, at once or as soon as the autopilot has seen setpoints for long enough to listen."""
        if autopilot.stream_before_switch:
            self._wish = now
        else:
            self._set_mode(autopilot.control_mode, "taking control")

    def given_up(self, autopilot: Autopilot, now: float) -> str | None:
        """Why control is not asked for any more, in one line, where a wish has just ended so."""
        if self._wish is None or now - self._wish <= PATIENCE:
            return None
        self._wish, wanted = None, autopilot.stream_before_switch
        return f"taking control: not asked for, because no setpoints were streamed for {wanted:g} s before"

    def hand_back(self, autopilot: Autopilot) -> None:
        """Ask for the landing mode; ends any wish for control."""
        self._wish = None
        self._set_mode(autopilot.land_mode, "handing back")

    def arm(self) -> None:
        """Ask to arm."""
        self._request(ARM, (1.0,), "arming")

    def disarm(self) -> None:
        """Ask to disarm."""
        self._request(ARM, (0.0,), "disarming")

    def _set_mode(self, mode: tuple[float, float], purpose: str) -> None:
        self._request(SET_MODE, (CUSTOM_MODE, *mode), purpose)

    def _request(self, number: int, parameters: tuple[float, ...], purpose: str) -> None:
        if not self._commands.pending(number, parameters):
            self._commands.drop(number)
            self._commands.ask(Command(number, parameters, purpose, tries=1))
