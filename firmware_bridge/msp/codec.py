"""MultiWii Serial Protocol: frames of version 1 and 2 to bytes, and bytes to frames.

Version 1 is ``$M<``, length, command, payload, XOR of all after the arrow; a length of 255 says that the true one
follows the command in two bytes. Version 2 is ``$X<``, flags, command and length of two bytes each, payload,
CRC-8/DVB-S2 of all after the arrow. Little-endian. The arrow is ``<`` in requests, ``>`` in replies and ``!`` in
replies that refuse.
"""

from __future__ import annotations

import struct
from functools import reduce
from operator import xor
from typing import NamedTuple

REQUEST, REPLY, REFUSAL = b"<", b">", b"!"
NO_REPLY = 1  # flag of version 2: INAV then answers nothing; Betaflight answers all the same
JUMBO = 255  # length of version 1 from which the true one follows
MAX_PAYLOAD = 1024  # bytes, a guess: the longest reply that a link asks for, INAV's box names, has some 700
MAX_FRAME = 9 + MAX_PAYLOAD  # bytes

_POLYNOMIAL = 0xD5  # x^8 + x^7 + x^6 + x^4 + x^2 + 1, EN 302 307


def _crc_of_byte(value: int) -> int:
    for _ in range(8):
        value = (value << 1) ^ (_POLYNOMIAL if value & 0x80 else 0)
    return value & 0xFF


_CRC = bytes(_crc_of_byte(value) for value in range(256))


class Frame(NamedTuple):
    """One message."""

    command: int
    payload: bytes = b""
    arrow: bytes = REQUEST
    flags: int = 0
    version: int = 2


def crc8_dvb_s2(data: bytes) -> int:
    """CRC-8/DVB-S2: polynomial 0xD5, initial value 0, nothing reflected."""
    crc = 0
    for byte in data:
        crc = _CRC[crc ^ byte]
    return crc


def encode(frame: Frame) -> bytes:
    """Bytes of a frame; version 1 has commands up to 254 and no flags."""
    if frame.version == 1:
        length = len(frame.payload)
        head = bytes((min(length, JUMBO), frame.command))
        body = head + (struct.pack("<H", length) if length >= JUMBO else b"") + frame.payload
        return b"$M" + frame.arrow + body + bytes((reduce(xor, body),))
    body = struct.pack("<BHH", frame.flags, frame.command, len(frame.payload)) + frame.payload
    return b"$X" + frame.arrow + body + bytes((crc8_dvb_s2(body),))


class Decoder:
    """Bytes in pieces of any size to frames; what is no frame is skipped.

    A flipped length makes a header that promises bytes which are those of the next frames. So while a frame is
    incomplete, a whole one behind its start is believed instead: the decoder is back with the first sound frame.
    Nothing is looked through anew before one may be complete or another may begin, so that single bytes cost little.
    Less than ``MAX_FRAME`` bytes are ever kept.
    """

    def __init__(self) -> None:
        self.skipped = 0
        """Bytes that belonged to no frame."""
        self._buffer = b""
        self._due = 0  # bytes in the buffer before which no frame that has begun is complete

    @property
    def kept(self) -> int:
        """Bytes held back until their frame is complete."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[Frame]:
        """Frames that these bytes complete, in order."""
        buffer = self._buffer + data
        if len(buffer) < self._due and b"$" not in data:
            self._buffer = buffer
            return []
        frames: list[Frame] = []
        start = done = 0  # done: behind the last frame
        waiting, due = -1, 0  # first frame that may yet be completed, and where the first of all such ends at least
        while (start := buffer.find(b"$", start)) >= 0:
            end = _end(buffer, start)
            if end > len(buffer):
                waiting, due = (start, end) if waiting < 0 else (waiting, min(due, end))
                start += 1
            elif end and (frame := _frame(buffer, start, end)):
                frames.append(frame)
                self.skipped += start - done
                start = done = end
                waiting = -1
            else:
                start += 1
        keep = waiting if waiting >= 0 else len(buffer)
        self.skipped += keep - done
        self._due = due - keep if waiting >= 0 else 0
        self._buffer = buffer[keep:]
        return frames


def _end(buffer: bytes, start: int) -> int:
    """Index behind the frame at ``start``, 0 where there is none; while its length is missing, the least it may be."""
    head = buffer[start : start + 8]
    kind = head[1:2]
    if kind not in (b"", b"M", b"X") or head[2:3] not in (b"", REQUEST, REPLY, REFUSAL):
        return 0
    if kind == b"X":
        if len(head) < 8:
            return start + 9
        length = head[6] | head[7] << 8
        return start + 9 + length if length <= MAX_PAYLOAD else 0
    if len(head) < 5:
        return start + 6
    if head[3] < JUMBO:
        return start + 6 + head[3]
    if len(head) < 7:
        return start + 8
    length = head[5] | head[6] << 8
    return start + 8 + length if length <= MAX_PAYLOAD else 0


def _frame(buffer: bytes, start: int, end: int) -> Frame | None:
    """Frame between two indices; None where its checksum is wrong."""
    body, checksum = buffer[start + 3 : end - 1], buffer[end - 1]
    arrow = buffer[start + 2 : start + 3]
    if buffer[start + 1] == ord("M"):
        if reduce(xor, body) != checksum:
            return None
        return Frame(body[1], body[4 if body[0] == JUMBO else 2 :], arrow, version=1)
    if crc8_dvb_s2(body) != checksum:
        return None
    return Frame(body[1] | body[2] << 8, body[5:], arrow, body[0])
