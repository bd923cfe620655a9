"""MAVLink 2 frames out of a stream of bytes: bounded, never raising, and back in step at the next whole frame.

pymavlink gives the messages their checksum seeds, sizes and fields. Its own parser trusts the length of whatever begins
like a frame, and one flipped byte then swallows the good frames behind it; here a candidate that fails its checksum
costs one byte, and the search goes on inside it.

A frame is: marker 0xFD, length, two flags, sequence, system, component, message id (3 bytes), payload, checksum (2),
and a signature (13) where the first flag says so. Of MAVLink 1 only HEARTBEAT is read: an autopilot that speaks version
1 goes over to 2 as soon as it hears us. https://mavlink.io/en/guide/serialization.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from pymavlink.dialects.v20 import ardupilotmega as dialect

HEAD, CHECKSUM, SIGNATURE = 10, 2, 13  # bytes
HEARTBEAT_1 = 17  # bytes of a HEARTBEAT of MAVLink 1
SIGNED = 0x01
LONGEST = HEAD + 255 + CHECKSUM + SIGNATURE  # bytes
ESC_STATUS, ESC_STATUS_SEED = 291, 10
"""Of mavlink's common.xml; PX4 sends it, pymavlink's dialects lack it. The seed follows from names and types."""

SEEDS: Mapping[int, bytes] = {
    **{number: bytes([kind.crc_extra]) for number, kind in dialect.mavlink_map.items()},
    ESC_STATUS: bytes([ESC_STATUS_SEED]),
}
"""Message id -> what its checksum ends with."""
_START = re.compile(rb"\xfd|\xfe\x09|\xfe\Z")


class Frame(NamedTuple):
    """One frame whose checksum is right."""

    message: int
    """Message id."""
    sequence: int
    system: int
    component: int
    payload: bytes
    """As sent: trailing zeros left out."""
    version: int = 2


class FrameParser:
    """Incremental parser. Between two calls it holds fewer than ``LONGEST`` bytes."""

    def __init__(self) -> None:
        self.frames = 0
        """Good frames so far."""
        self.failed = 0
        """Candidates with a known message id and a wrong checksum."""
        self._rest = b""

    @property
    def held(self) -> int:
        """Bytes that wait for the rest of their frame."""
        return len(self._rest)

    def feed(self, data: bytes) -> list[Frame]:
        """All frames that these bytes complete. A frame of an unknown message is passed over like noise."""
        buffer = self._rest + data if self._rest else data
        found: list[Frame] = []
        at, end = 0, len(buffer)
        while at < end:
            if buffer[at] != dialect.PROTOCOL_MARKER_V2:
                start = _START.search(buffer, at)
                if start is None:
                    at = end
                    break
                at = start.start()
            size = self._take(buffer, at, end, found)
            if size == 0:
                break
            at += size
        self._rest = buffer[at:]
        self.frames += len(found)
        return found

    def _take(self, buffer: bytes, at: int, end: int, found: list[Frame]) -> int:
        """Bytes to go on by from a marker at ``at``; 0 where more bytes are needed to tell."""
        if buffer[at] == dialect.PROTOCOL_MARKER_V1:
            return self._take_version_1(buffer, at, end, found)
        if end - at < HEAD:
            return 0
        length, flags = buffer[at + 1], buffer[at + 2]
        message = buffer[at + 7] | buffer[at + 8] << 8 | buffer[at + 9] << 16
        seed = SEEDS.get(message)
        if seed is None or flags & ~SIGNED:
            return 1
        body = at + HEAD + length
        size = HEAD + length + CHECKSUM + (SIGNATURE if flags else 0)
        if end - at < size:
            return 0
        if dialect.x25crc(buffer[at + 1 : body] + seed).crc != buffer[body] | buffer[body + 1] << 8:
            self.failed += 1
            return 1
        payload = buffer[at + HEAD : body]
        found.append(Frame(message, buffer[at + 4], buffer[at + 5], buffer[at + 6], payload))
        return size

    def _take_version_1(self, buffer: bytes, at: int, end: int, found: list[Frame]) -> int:
        if end - at < HEARTBEAT_1:
            return 0
        heartbeat = dialect.MAVLINK_MSG_ID_HEARTBEAT
        body = at + HEARTBEAT_1 - CHECKSUM
        seed = SEEDS[heartbeat]
        if (
            buffer[at + 5] != heartbeat
            or dialect.x25crc(buffer[at + 1 : body] + seed).crc != buffer[body] | buffer[body + 1] << 8
        ):
            return 1
        found.append(Frame(heartbeat, buffer[at + 2], buffer[at + 3], buffer[at + 4], buffer[at + 6 : body], version=1))
        return HEARTBEAT_1
