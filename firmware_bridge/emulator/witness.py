"""Sees what passes between a MAVLink companion and an emulated autopilot, without the companion's own parser.

A frame has arrived intact where the very bytes that the autopilot sent are found in what the companion was given. From
that, and from the time stamps inside, follows how old the state really was that a setpoint was made from.
"""

from __future__ import annotations

import math
import struct
from collections import deque
from collections.abc import Callable, Iterable

from pymavlink.dialects.v20 import ardupilotmega as dialect

from firmware_bridge.emulator.mavlink import MavlinkAutopilot
from firmware_bridge.emulator.modes import Mode
from firmware_bridge.mavlink_framing import LONGEST, Frame, FrameParser
from firmware_bridge.port import Port

HEAD = 10  # bytes before the payload
GIVEN_UP = 2.5  # s after which a frame that was damaged is looked for no longer
_STATES = (dialect.MAVLINK_MSG_ID_LOCAL_POSITION_NED, dialect.MAVLINK_MSG_ID_ATTITUDE_QUATERNION)


def message_id(frame: bytes) -> int:
    """Of a MAVLink 2 frame."""
    return int.from_bytes(frame[7:10], "little")


class Witness:
    """Stands between an emulator and a line as its peer, and between a port and a link as its port.

    Parameters
    ----------
    emulator : MavlinkAutopilot
    clock : callable
        The companion's time in s.
    """

    def __init__(self, emulator: MavlinkAutopilot, clock: Callable[[], float]) -> None:
        self.emulator, self._clock = emulator, clock
        self._mode, _ = emulator.firmware.modes[Mode.COMPANION]
        self.oldest = 0.0  # s
        """Of the position or attitude that lay behind any setpoint."""
        self.setpoints: list[float] = []
        """When one was sent, s."""
        self.armings: list[float] = []
        """When arming was asked for, s."""
        self.takings: list[float] = []
        """When the companion's mode was asked for, s."""
        self.not_finite = 0
        """Setpoints with something other than numbers."""
        self.intact = self.late = 0
        """Frames that arrived as they were sent; those of them that the parser gave out after a later read only."""
        self._true_time = dict.fromkeys(_STATES, -math.inf)
        self._sent: deque[tuple[float, float, bytes]] = deque()  # (s sent, s powered up, frame)
        self._past = b""
        self._unparsed: dict[tuple[int, int, int, bytes], int] = {}

    @property
    def lost(self) -> int:
        """Intact frames that the parser has not given out."""
        return len(self._unparsed)

    def step(self, now: float, received: bytes = b"", room: int = 0) -> Iterable[bytes]:
        """As the emulator's."""
        frames = self.emulator.step(now, received, room)
        pilot = self.emulator.autopilot
        powered = pilot.asked - pilot.uptime
        self._sent.extend((now, powered, frame) for frame in frames)
        return frames

    def arrived(self, data: bytes) -> None:
        """Bytes that the companion was given."""
        if not data:
            return
        now, heard = self._clock(), self._past + data
        self._past = heard[-LONGEST:]  # a frame may come in pieces; one that is older is another, with the same number
        missing: deque[tuple[float, float, bytes]] = deque()
        for sent, powered, frame in self._sent:
            if frame in heard:
                self._intact(frame, powered)
            elif now - sent < GIVEN_UP:
                missing.append((sent, powered, frame))
        self._sent = missing

    def _intact(self, frame: bytes, powered: float) -> None:
        self.intact += 1
        self._unparsed[frame[4], message_id(frame), frame[5], frame[HEAD:-2]] = 0
        kind = message_id(frame)
        if kind in _STATES and (frame[5], frame[6]) == (self.emulator.system, 1):
            stamp, *numbers = struct.unpack_from("<I3f", frame[HEAD:-2].ljust(16, b"\0"))
            if all(math.isfinite(x) for x in numbers):
                true_time = powered + stamp * 1e-3 / self.emulator.telemetry.clock_rate
                self._true_time[kind] = max(self._true_time[kind], true_time)

    def parsed(self, frames: Iterable[Frame]) -> None:
        """What the companion's parser gave out after a read."""
        for f in frames:
            waited = self._unparsed.pop((f.sequence, f.message, f.system, f.payload), 0)
            self.late += waited > 0
        for key in self._unparsed:
            self._unparsed[key] += 1

    def written(self, frame: bytes) -> None:
        """A frame of the companion."""
        now, kind = self._clock(), message_id(frame)
        payload = frame[HEAD:-2].ljust(40, b"\0")
        if kind == dialect.MAVLINK_MSG_ID_SET_ATTITUDE_TARGET:
            self.setpoints.append(now)
            self.oldest = max(self.oldest, now - min(self._true_time.values()))
            self.not_finite += not all(math.isfinite(x) for x in struct.unpack_from("<8f", payload, 4))
        elif kind == dialect.MAVLINK_MSG_ID_COMMAND_LONG:
            first, second = struct.unpack_from("<2f", payload)
            (command,) = struct.unpack_from("<H", payload, 28)
            if command == dialect.MAV_CMD_COMPONENT_ARM_DISARM and first == 1:
                self.armings.append(now)
            elif command == dialect.MAV_CMD_DO_SET_MODE and second == self._mode:
                self.takings.append(now)


class WitnessedPort:
    """A port that is looked at."""

    def __init__(self, port: Port, witness: Witness) -> None:
        self._port, self._witness = port, witness

    def read(self) -> bytes:
        """See :class:`firmware_bridge.port.Port`."""
        data = self._port.read()
        self._witness.arrived(data)
        return data

    def write(self, data: bytes) -> None:
        """See :class:`firmware_bridge.port.Port`."""
        self._port.write(data)
        self._witness.written(data)

    def close(self) -> None:
        """See :class:`firmware_bridge.port.Port`."""
        self._port.close()


class WitnessedParser(FrameParser):
    """The companion's parser, looked at."""

    def __init__(self, witness: Witness) -> None:
        super().__init__()
        self._witness = witness
        self.most_held = 0
        """Bytes."""

    def feed(self, data: bytes) -> list[Frame]:
        """See :class:`~firmware_bridge.mavlink_framing.FrameParser`."""
        found = super().feed(data)
        self._witness.parsed(found)
        self.most_held = max(self.most_held, self.held)
        return found
