"""An emulated autopilot that speaks MAVLink 2 as PX4 or ArduPilot: bytes in, bytes out, no sockets and no clock.

What it does that a companion has to cope with, each measured on or read in the real firmware: requests are served by
a scheduler, so that a round trip takes 6 ms; intervals may be denied; arming and mode are told by the next heartbeat
only; ArduCopter reads thrust as a climb rate unless GUID_OPTIONS has its bit 3, and drops setpoints with ignored
throttle or a quaternion off unit norm without a word; PX4 wants to see setpoints for a second before it changes to
OFFBOARD, keeps integers bit by bit in a float, and asks for the companion's time with the message that tells its own.
"""

from __future__ import annotations

import math
import struct
from collections import Counter, deque
from collections.abc import Collection
from typing import Any

import numpy as np
from pymavlink.dialects.v20 import ardupilotmega as dialect

from firmware_bridge.emulator.autopilot import Autopilot
from firmware_bridge.emulator.mavlink_firmware import ARDUPILOT, Firmware, Parameter
from firmware_bridge.emulator.mavlink_streams import POSE_MESSAGES, STATE_MESSAGES, STREAMS, Telemetry
from firmware_bridge.emulator.modes import Demand, Mode
from neural_lander.components import split
from neural_lander.frames import swap_attitude, swap_body
from neural_lander.rotation import normalise

SERVED_AFTER = (0.0024, 0.0033)  # s, each way: makes a round trip of 5.8 ms median, 6.6 ms worst, as on ArduCopter
UNIT_TOLERANCE = 1e-3  # of the squared norm: ArduPilot's Quaternion::is_unit_length
CLOCK_ERROR = 2e-5  # relative, of the autopilot's crystal, guess
BACKLOG = 1024  # bytes that wait for the line at most; streams are put off beyond
FORCE_DISARM = 21196  # param2 of COMPONENT_ARM_DISARM
_IGNORE_RATES, _IGNORE_THROTTLE, _IGNORE_ATTITUDE = 0x07, 0x40, 0x80


class MavlinkAutopilot:
    """The protocol side of one :class:`Autopilot`.

    Parameters
    ----------
    autopilot : Autopilot
    firmware : Firmware
    seed : int
        Of the scheduler's delays.
    denied : collection of int
        Messages whose interval is refused.
    system : int
        MAVLink system id.
    """

    def __init__(
        self,
        autopilot: Autopilot,
        firmware: Firmware = ARDUPILOT,
        *,
        seed: int = 0,
        denied: Collection[int] = (),
        system: int = 1,
    ) -> None:
        self.autopilot, self.firmware, self.denied = autopilot, firmware, frozenset(denied)
        self.system = system
        self.parameters: dict[str, Parameter] = firmware.parameters(autopilot)
        for parameter in self.parameters.values():
            self._apply(parameter)
        self.telemetry = Telemetry(autopilot, firmware, 1 + CLOCK_ERROR)
        self.taken = 0
        """Setpoints that the autopilot acted upon, or would have in the companion's mode."""
        self.dropped: Counter[str] = Counter()
        """Setpoints that it dropped without a word, by reason."""
        self.received: Counter[str] = Counter()
        """Messages by name, bad ones included."""
        self.last_companion = -math.inf  # s
        """When a companion's heartbeat last came in."""
        self.foreign = False
        """Whether others on the same line speak too: a gimbal, a ground station, another vehicle."""
        self.frozen = False
        """Whether the state messages are served again and again as they were, time stamps included."""
        self.halted = False
        """Whether position and attitude are those of a moment, under stamps that run on: ArduPilot's stale EKF."""
        self.poisoned = False
        """Whether position and attitude are not numbers."""
        self._rng = np.random.default_rng([seed, 0x3A7])
        others = (
            (system, dialect.MAV_COMP_ID_GIMBAL),
            (255, dialect.MAV_COMP_ID_MISSIONPLANNER),
            (system + 1, dialect.MAV_COMP_ID_AUTOPILOT1),
        )
        self._others = [dialect.MAVLink(None, srcSystem=s, srcComponent=c) for s, c in others]
        self._boot()

    def _boot(self) -> None:
        self._boots = self.autopilot.boots
        self._mav = dialect.MAVLink(None, srcSystem=self.system, srcComponent=dialect.MAV_COMP_ID_AUTOPILOT1)
        self._mav.robust_parsing = True
        self._inbox: deque[tuple[float, Any]] = deque()
        self._outbox: deque[tuple[float, bytes]] = deque()
        self._intervals = {dialect.MAVLINK_MSG_ID_HEARTBEAT: 1.0, dialect.MAVLINK_MSG_ID_SYS_STATUS: 1.0}  # s
        self._due = dict.fromkeys(self._intervals, -math.inf)
        self._kept: dict[int, Any] = {}
        self._timesync_due = self._foreign_due = -math.inf

    def reboot(self) -> None:
        """Lose power for a moment."""
        self.autopilot.reboot()

    def set_parameter(self, name: str, value: float) -> None:
        """Change a parameter as a ground station would; an unknown name is a KeyError."""
        parameter = self.parameters[name]
        parameter.value = value
        self._apply(parameter)

    def _apply(self, parameter: Parameter) -> None:
        if parameter.apply is not None:
            parameter.apply(self.autopilot.settings, parameter.value)

    # Bytes

    def step(self, now: float, received: bytes = b"", room: int = BACKLOG) -> list[bytes]:
        """Run up to ``now`` in s with what came in since the last call; returns the frames that go out.

        ``room`` is the number of bytes that the line can still take: streams wait for it, as they do for the
        transmit buffer of an autopilot.
        """
        self.autopilot.advance(now)
        if self.autopilot.boots != self._boots:
            self._boot()
        if not self.autopilot.running:
            return []
        for message in self._mav.parse_buffer(received) or [] if received else []:
            self.received[message.get_type()] += 1
            if message.get_msgId() >= 0:
                self._inbox.append((self._later(self._inbox), message))
        while self._inbox and self._inbox[0][0] <= now:
            self._handle(self._inbox.popleft()[1])
        if self.autopilot.boots != self._boots:  # it was told to
            self._boot()
            return []
        self._stream(now, room)
        frames = []
        while self._outbox and self._outbox[0][0] <= now:
            frames.append(self._outbox.popleft()[1])
        return frames

    def _later(self, queue: deque[Any]) -> float:
        """When the scheduler comes to it: never before what is ahead in the queue."""
        low, high = SERVED_AFTER
        due = self.autopilot.asked + low + (high - low) * float(self._rng.random())
        return max(due, queue[-1][0]) if queue else due

    def _send(self, message: Any, mav: Any = None) -> None:
        mav = mav or self._mav
        data = message.pack(mav)
        mav.seq = (mav.seq + 1) % 256
        self._outbox.append((self._later(self._outbox), data))

    # Out

    def _stream(self, now: float, room: int) -> None:
        waiting = sum(len(data) for _, data in self._outbox)
        streams = STREAMS[self.firmware.name]
        self.telemetry.poisoned = self.poisoned
        for number, interval in self._intervals.items():
            if now + 1e-9 < self._due[number] or waiting > room:
                continue
            self._due[number] = max(self._due[number] + interval, now - interval)
            message = streams[number](self.telemetry)
            if self.frozen and number in STATE_MESSAGES:
                message = self._kept.setdefault(number, message)
            elif self.halted and number in POSE_MESSAGES:
                stamp: int = message.time_boot_ms
                if number in self._kept:
                    message = self._kept[number]
                    message.time_boot_ms = stamp
                self._kept[number] = message
            else:
                self._kept.pop(number, None)
            self._send(message)
            waiting += len(self._outbox[-1][1])
        texts = self.autopilot.texts
        while texts:
            severity, text = texts.popleft()
            self._send(dialect.MAVLink_statustext_message(severity, text[:50].encode("ascii", "replace")))
        if now >= self._timesync_due:
            self._timesync_due = now + 1 / self.firmware.timesync_rate
            self._send(dialect.MAVLink_timesync_message(0, 1000 * self.telemetry.microseconds))
        if self.foreign and now >= self._foreign_due:
            self._foreign_due = now + 0.1
            self._chatter()

    def _chatter(self) -> None:
        """What others on the line say: each a heartbeat that contradicts ours, and a vehicle elsewhere."""
        armed = dialect.MAV_MODE_FLAG_CUSTOM_MODE_ENABLED
        armed |= 0 if self.autopilot.armed else dialect.MAV_MODE_FLAG_SAFETY_ARMED
        kinds = (dialect.MAV_TYPE_GIMBAL, dialect.MAV_TYPE_GCS, dialect.MAV_TYPE_QUADROTOR)
        pilots = (dialect.MAV_AUTOPILOT_INVALID, dialect.MAV_AUTOPILOT_INVALID, self.firmware.autopilot)
        other = Mode.LAND if self.autopilot.mode is Mode.COMPANION else Mode.COMPANION
        for mav, kind, pilot in zip(self._others, kinds, pilots, strict=True):
            mode = self.firmware.custom_mode(other)
            self._send(dialect.MAVLink_heartbeat_message(kind, pilot, armed, mode, dialect.MAV_STATE_ACTIVE, 3), mav)
            elsewhere = dialect.MAVLink_local_position_ned_message(7, 40.0, -30.0, -20.0, 3.0, 2.0, 1.0)
            self._send(elsewhere, mav)

    # In

    def _handle(self, message: Any) -> None:
        if getattr(message, "target_system", self.system) not in (0, self.system):
            return
        if getattr(message, "target_component", 1) not in (0, dialect.MAV_COMP_ID_AUTOPILOT1):
            return
        kind = message.get_type()
        if kind == "HEARTBEAT":
            if message.type == dialect.MAV_TYPE_ONBOARD_CONTROLLER:
                self.last_companion = self.autopilot.now
        elif kind == "TIMESYNC":
            if message.tc1 == 0:
                self._send(dialect.MAVLink_timesync_message(1000 * self.telemetry.microseconds, message.ts1))
        elif kind == "SET_ATTITUDE_TARGET":
            self._attitude_target(message)
        elif kind == "COMMAND_LONG":
            self._command(message)
        elif kind == "SET_MODE":
            self._switch(message.custom_mode)
        elif kind == "PARAM_REQUEST_READ":
            self._tell_parameter(message.param_id if message.param_index < 0 else message.param_index)
        elif kind == "PARAM_REQUEST_LIST":
            for name in self.parameters:
                self._tell_parameter(name)
        elif kind == "PARAM_SET":
            self._set_parameter(message)

    def _attitude_target(self, message: Any) -> None:
        reason = self._reason_to_drop(message)
        if reason is not None:
            self.dropped[reason] += 1
            return
        self.taken += 1
        if message.type_mask & _IGNORE_ATTITUDE:
            rates = np.array([message.body_roll_rate, message.body_pitch_rate, message.body_yaw_rate])
            demand = Demand(self.autopilot.now, message.thrust, rates=split(swap_body(rates)))
        else:
            attitude = swap_attitude(normalise(np.array(message.q)))
            demand = Demand(self.autopilot.now, message.thrust, attitude=split(attitude))
        self.autopilot.accept(demand)

    def _reason_to_drop(self, message: Any) -> str | None:
        mask, wanted = message.type_mask, [message.thrust]
        strict = self.firmware.checks_setpoints
        if mask & _IGNORE_ATTITUDE and mask & _IGNORE_RATES:
            return "neither attitude nor rates"
        if mask & _IGNORE_ATTITUDE:
            wanted += [message.body_roll_rate, message.body_pitch_rate, message.body_yaw_rate]
        else:
            wanted += message.q
        if not all(math.isfinite(x) for x in wanted):
            return "not finite"
        if mask & _IGNORE_THROTTLE:
            return "throttle ignored"
        if strict and self.autopilot.mode is not Mode.COMPANION:
            return "not in guided"
        error = abs(sum(c * c for c in message.q) - 1)
        if not mask & _IGNORE_ATTITUDE and error >= (UNIT_TOLERANCE if strict else 1.0):
            return "quaternion"
        return None

    def _command(self, message: Any) -> None:
        pilot, command, refused = self.autopilot, message.command, self.firmware.refused
        result, refusal = dialect.MAV_RESULT_ACCEPTED, None
        if command == dialect.MAV_CMD_COMPONENT_ARM_DISARM:
            force = message.param2 == FORCE_DISARM
            refusal = pilot.arm("companion") if message.param1 == 1 else pilot.disarm("companion", force)
        elif command == dialect.MAV_CMD_DO_SET_MODE:
            mode = self.firmware.mode_of(int(message.param2), int(message.param3))
            refusal = "No such mode" if mode is None else pilot.switch(mode, "companion")
        elif command == dialect.MAV_CMD_NAV_LAND:
            refusal = pilot.switch(Mode.LAND, "companion")
        elif command == dialect.MAV_CMD_SET_MESSAGE_INTERVAL:
            result = self._set_interval(int(message.param1), message.param2)
        elif command == dialect.MAV_CMD_REQUEST_MESSAGE:
            result = self._send_once(int(message.param1))
        elif command == dialect.MAV_CMD_PREFLIGHT_REBOOT_SHUTDOWN:
            if pilot.armed:
                refusal = "Armed"
            else:
                pilot.reboot()
                return
        else:
            result = dialect.MAV_RESULT_UNSUPPORTED
        if refusal is not None:
            result = refused
            pilot.note(refusal, severity=2)
        source, component = message.get_srcSystem(), message.get_srcComponent()
        self._send(dialect.MAVLink_command_ack_message(command, result, 0, 0, source, component))

    def _switch(self, custom_mode: int) -> None:
        mode = next((m for m in self.firmware.modes if self.firmware.custom_mode(m) == custom_mode), None)
        if mode is not None:
            self.autopilot.switch(mode, "companion")

    def _set_interval(self, number: int, microseconds: float) -> int:
        fixed = number == dialect.MAVLINK_MSG_ID_HEARTBEAT and self.firmware.heartbeat_is_fixed
        if number not in STREAMS[self.firmware.name] or number in self.denied or fixed:
            if self.firmware is ARDUPILOT:
                self.autopilot.note(f"No ap_message for mavlink id ({number})", severity=6)
            return self.firmware.unknown_interval
        if microseconds <= 0:  # -1 stops the stream, 0 is its default: none here
            self._intervals.pop(number, None)
        else:
            self._intervals[number] = self.firmware.interval(microseconds * 1e-6)
            self._due[number] = -math.inf
        return int(dialect.MAV_RESULT_ACCEPTED)

    def _send_once(self, number: int) -> int:
        streams = STREAMS[self.firmware.name]
        if number not in streams:
            return self.firmware.unknown_interval
        self._send(streams[number](self.telemetry))
        return int(dialect.MAV_RESULT_ACCEPTED)

    def _tell_parameter(self, which: str | int) -> None:
        names = list(self.parameters)
        name = which if isinstance(which, str) else names[which] if which < len(names) else ""
        parameter = self.parameters.get(name)
        if parameter is None:
            return
        value = parameter.value
        if self.firmware.bitwise_integers and parameter.kind != dialect.MAV_PARAM_TYPE_REAL32:
            (value,) = struct.unpack("<f", struct.pack("<i", int(value)))
        where = len(names), names.index(name)
        self._send(dialect.MAVLink_param_value_message(name.encode("ascii"), value, parameter.kind, *where))

    def _set_parameter(self, message: Any) -> None:
        parameter = self.parameters.get(message.param_id)
        if parameter is None:
            return
        value = message.param_value
        if self.firmware.bitwise_integers and parameter.kind != dialect.MAV_PARAM_TYPE_REAL32:
            (value,) = struct.unpack("<i", struct.pack("<f", value))
        self.set_parameter(message.param_id, value)
        self._tell_parameter(message.param_id)
