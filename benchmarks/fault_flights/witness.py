"""Sees what passes between a companion and an emulated autopilot, without the companion's own parser.

A frame has arrived intact where the very bytes that the autopilot sent are found in what the companion was given. From
that, and from when the autopilot made what is inside, follows how old the state really was that a setpoint was made
from.
"""

from __future__ import annotations

import math
import struct
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Hashable, Iterable
from typing import Any

from pymavlink.dialects.v20 import ardupilotmega as dialect

from firmware_bridge.emulator.line import Peer
from firmware_bridge.emulator.mavlink import MavlinkAutopilot
from firmware_bridge.emulator.mavlink_streams import POSE_MESSAGES
from firmware_bridge.emulator.modes import Mode
from firmware_bridge.emulator.msp import MspAutopilot
from firmware_bridge.emulator.sticks import RANGES
from firmware_bridge.mavlink.framing import LONGEST, FrameParser
from firmware_bridge.mavlink.framing import Frame as MavlinkFrame
from firmware_bridge.msp import messages as msp
from firmware_bridge.msp.codec import MAX_FRAME, Decoder, encode
from firmware_bridge.msp.codec import Frame as MspFrame
from firmware_bridge.port import Port

GIVEN_UP = 2.5  # s after which a frame that was damaged is looked for no longer


class Witness(ABC):
    """Stands between an emulator and a line as its peer, and between a port and a link as its port.

    Parameters
    ----------
    emulator : Peer
    clock : callable
        The companion's time in s.
    longest : int
        Bytes of a frame.
    """

    def __init__(self, emulator: Peer, clock: Callable[[], float], longest: int) -> None:
        self._emulator, self._clock, self._longest = emulator, clock, longest
        self.oldest = 0.0  # s
        """Of the position or attitude that lay behind any setpoint."""
        self.setpoints: list[float] = []
        """When one was sent, s."""
        self.armings: list[float] = []
        """When arming was asked for, s."""
        self.takings: list[float] = []
        """When the companion's mode was asked for, s."""
        self.not_finite = 0
        """Setpoints with something other than numbers, or out of range."""
        self.intact = self.late = 0
        """Frames that arrived as they were sent; those of them that the parser gave out after a later read only."""
        self._sent: deque[tuple[float, Any, bytes]] = deque()  # (s sent, what is known of it, frame)
        self._past = b""
        self._unparsed: dict[Hashable, int] = {}
        self._order: list[Hashable] = []

    @property
    def lost(self) -> int:
        """Intact frames that the parser has not given out."""
        return len(self._unparsed)

    @property
    def lost_in_a_row(self) -> int:
        """Of those, the most one after the other."""
        longest = run = 0
        for key in self._order:
            run = run + 1 if key in self._unparsed else 0
            longest = max(longest, run)
        return longest

    def step(self, now: float, received: bytes = b"", room: int = 1 << 30) -> Iterable[bytes]:
        """As the emulator's."""
        frames = self._emulator.step(now, received, room)
        self._sent.extend((now, self._made(now, frame), frame) for frame in frames)
        return frames

    def arrived(self, data: bytes) -> None:
        """Bytes that the companion was given."""
        if not data:
            return
        now, heard, before = self._clock(), self._past + data, len(self._past)
        self._past = heard[-self._longest :]  # a frame may come in pieces; an older one is another, as its number tells
        missing: deque[tuple[float, Any, bytes]] = deque()
        for sent, made, frame in self._sent:
            if heard.find(frame, max(before - len(frame) + 1, 0)) >= 0:  # not wholly in what was heard before
                self.intact += 1
                key = self._key(frame)
                self._unparsed[key] = 0
                self._order.append(key)
                self._told(frame, made)
            elif now - sent < GIVEN_UP:
                missing.append((sent, made, frame))
        self._sent = missing

    def parsed(self, keys: Iterable[Hashable]) -> None:
        """What the companion's parser gave out after a read."""
        for key in keys:
            self.late += self._unparsed.pop(key, 0) > 0
        for key in self._unparsed:
            self._unparsed[key] += 1

    def _setpoint(self, now: float, true_time: float, finite: bool) -> None:
        self.setpoints.append(now)
        self.oldest = max(self.oldest, now - true_time)
        self.not_finite += not finite

    # What a protocol adds

    def _made(self, now: float, frame: bytes) -> Any:
        """What has to be kept of a frame that is sent at ``now`` in s; nothing by default."""
        return None

    @abstractmethod
    def _key(self, frame: bytes) -> Hashable:
        """What tells a frame from the others, before and after parsing."""

    @abstractmethod
    def _told(self, frame: bytes, made: Any) -> None:
        """A frame has arrived as it was sent."""

    @abstractmethod
    def written(self, frame: bytes) -> None:
        """A frame of the companion."""


_HEAD = 10  # bytes of MAVLink 2 before the payload


def message_id(frame: bytes) -> int:
    """Of a MAVLink 2 frame."""
    return int.from_bytes(frame[7:10], "little")


class MavlinkWitness(Witness):
    """By the time stamps inside, and of values that no longer change by the stamp that they first had."""

    def __init__(self, emulator: MavlinkAutopilot, clock: Callable[[], float]) -> None:
        super().__init__(emulator, clock, LONGEST)
        self.emulator = emulator
        self._mode, _ = emulator.firmware.modes[Mode.COMPANION]
        self._true_time = dict.fromkeys(POSE_MESSAGES, -math.inf)
        self._values: dict[int, tuple[float, bytes]] = {}  # message -> (s true, what it holds)

    def _made(self, now: float, frame: bytes) -> float:
        """When the content of a state was true, s; halted values keep their time."""
        kind = message_id(frame)
        if not self._is_state(frame):
            return math.nan
        pilot, emulator = self.emulator.autopilot, self.emulator
        (stamp,) = struct.unpack_from("<I", frame[_HEAD:-2].ljust(4, b"\0"))
        values = frame[_HEAD + 4 : -2]
        if not (emulator.halted and self._values.get(kind, (0.0, b""))[1] == values):
            switched_on = pilot.asked - pilot.uptime
            self._values[kind] = switched_on + stamp * 1e-3 / emulator.telemetry.clock_rate, values
        return self._values[kind][0]

    def _is_state(self, frame: bytes) -> bool:
        """Of the autopilot, not of others on the line."""
        return message_id(frame) in POSE_MESSAGES and (frame[5], frame[6]) == (self.emulator.system, 1)

    def _key(self, frame: bytes) -> Hashable:
        return frame[4], message_id(frame), frame[5], frame[_HEAD:-2]

    def _told(self, frame: bytes, made: float) -> None:
        kind = message_id(frame)
        if self._is_state(frame):
            numbers = struct.unpack_from("<3f", frame[_HEAD:-2].ljust(16, b"\0"), 4)
            if all(math.isfinite(x) for x in numbers):
                self._true_time[kind] = max(self._true_time[kind], made)

    def written(self, frame: bytes) -> None:
        """See :class:`Witness`."""
        now, kind = self._clock(), message_id(frame)
        payload = frame[_HEAD:-2].ljust(40, b"\0")
        if kind == dialect.MAVLINK_MSG_ID_SET_ATTITUDE_TARGET:
            finite = all(math.isfinite(x) for x in struct.unpack_from("<8f", payload, 4))
            self._setpoint(now, min(self._true_time.values()), finite)
        elif kind == dialect.MAVLINK_MSG_ID_COMMAND_LONG:
            first, second = struct.unpack_from("<2f", payload)
            (command,) = struct.unpack_from("<H", payload, 28)
            if command == dialect.MAV_CMD_COMPONENT_ARM_DISARM and first == 1:
                self.armings.append(now)
            elif command == dialect.MAV_CMD_DO_SET_MODE and second == self._mode:
                self.takings.append(now)


_LEVEL = (1500, 1500, 1500)  # us: the frame by which the link lets the sticks go, which comes of no state


class MspWitness(Witness):
    """By when an answer was served; positions come another way, and ``located`` tells when the newest was true."""

    def __init__(self, emulator: MspAutopilot, clock: Callable[[], float], located: Callable[[], float]) -> None:
        super().__init__(emulator, clock, MAX_FRAME)
        self.emulator = emulator
        self._located = located
        self._served: tuple[float, bytes] = (-math.inf, b"")
        self._attitude = -math.inf
        self._switches: dict[int, bool] = {}

    def _made(self, now: float, frame: bytes) -> float:
        """When its content was true, s; frozen content keeps its time."""
        if _command(frame) == msp.ATTITUDE and not (self.emulator.frozen and self._served[1] == frame):
            self._served = (now, frame)
        return self._served[0]

    def _key(self, frame: bytes) -> Hashable:
        return frame

    def _told(self, frame: bytes, made: float) -> None:
        if _command(frame) == msp.ATTITUDE:
            self._attitude = max(self._attitude, made)

    def written(self, frame: bytes) -> None:
        """See :class:`Witness`."""
        if _command(frame) != msp.SET_RAW_RC:
            return
        now, channels = self._clock(), struct.unpack_from("<16H", frame[8:-1])
        if (channels[0], channels[1], channels[3]) != _LEVEL:
            in_range = all(1000 <= channel <= 2000 for channel in channels)
            self._setpoint(now, min(self._attitude, self._located()), in_range)
        if self.emulator.autopilot.has_radio:
            return  # the switches are the pilot's
        for box, asked in ((msp.ARM, self.armings), (msp.ANGLE, self.takings)):
            on = msp.is_on(box, channels, RANGES)
            if on and not self._switches.get(box, False):
                asked.append(now)
            self._switches[box] = on


def _command(frame: bytes) -> int:
    """Of an MSP frame of version 2."""
    return int.from_bytes(frame[4:6], "little")


class WitnessedPort:
    """A port that is looked at."""

    def __init__(self, port: Port, witness: Witness) -> None:
        self._port, self._witness = port, witness

    def read(self) -> bytes:
        """See :class:`firmware_bridge.port.Port`."""
        data = self._port.read()
        self._witness.arrived(data)
        return data

    def write(self, data: bytes) -> bool:
        """See :class:`firmware_bridge.port.Port`."""
        written = self._port.write(data)
        if written:
            self._witness.written(data)
        return written

    def close(self) -> None:
        """See :class:`firmware_bridge.port.Port`."""
        self._port.close()


class WitnessedParser(FrameParser):
    """The companion's MAVLink parser, looked at."""

    def __init__(self, witness: Witness) -> None:
        super().__init__()
        self._witness = witness
        self.most_held = 0
        """Bytes."""

    def feed(self, data: bytes) -> list[MavlinkFrame]:
        """See :class:`~firmware_bridge.mavlink.framing.FrameParser`."""
        found = super().feed(data)
        self._witness.parsed((f.sequence, f.message, f.system, f.payload) for f in found)
        self.most_held = max(self.most_held, self.held)
        return found


class WitnessedDecoder(Decoder):
    """The companion's MSP decoder, looked at."""

    def __init__(self, witness: Witness) -> None:
        super().__init__()
        self._witness = witness
        self.most_held = 0
        """Bytes."""

    def feed(self, data: bytes) -> list[MspFrame]:
        """See :class:`~firmware_bridge.msp.codec.Decoder`."""
        found = super().feed(data)
        self._witness.parsed(encode(frame) for frame in found)
        self.most_held = max(self.most_held, self.kept)
        return found
