"""Container of the Crazyflie µSD-deck log, older version: a header, then blocks of records, each with a CRC-32.

1. one byte: the number of logged fields n;
2. n ASCII descriptions ``name(type)``, each ended by a comma; type is a ``struct`` code;
3. four bytes, little-endian: CRC-32 of everything before, without the final inversion (CRC-32/JAMCRC);
4. blocks: one byte k, k packed little-endian records, four bytes of the same CRC over the block from its k.

What is done about damage, and why it is sound:

- A block whose checksum fails and which is followed by a sound one is dropped.
- Otherwise its count byte may be what is wrong. The checksum covers the count, so the one count that satisfies it
  is the right one (a false match has odds below 255 / 2^32), and nothing is lost.
- Otherwise the next block is found by its own checksum, not by the count of the damaged one. Only offsets where the
  time stamps rise as they must are tried: fast, and less open to chance.
- A last block that the file ends within is what a power loss leaves: its complete records are kept for as long as
  their time stamps are plausible, without a checksum, and a warning says so.
- A file cut exactly between two blocks cannot be told from a shorter flight, and gives no warning.
"""

from __future__ import annotations

import re
import struct
import zlib
from dataclasses import dataclass

import numpy as np

from neural_lander.errors import UserError

STRUCT_CODES = {
    "b": "<i1", "B": "<u1", "h": "<i2", "H": "<u2", "i": "<i4", "I": "<u4", "l": "<i4", "L": "<u4",
    "q": "<i8", "Q": "<u8", "f": "<f4", "d": "<f8",
}  # fmt: skip
"""``struct`` code in standard size -> NumPy type."""

TICK = "tick"
WINDOW = 1 << 14  # bytes searched at a time, so that many damaged places cost no more than their number
LARGEST_STEP = 1_000_000  # ticks; 1 s where a tick is 1 us, a guess of what no logging gap exceeds
_FIELD = re.compile(rb"([A-Za-z_][\w.]*)\(([A-Za-z])\)")
_FIRST_FIELD = re.compile(rb"[\x01-\xff]" + _FIELD.pattern + rb",", re.DOTALL)


@dataclass
class Blocks:
    """What is left of a file: records in file order and an account of what is not."""

    records: np.ndarray  # (N,) structured
    dropped_bytes: int = 0
    dropped_records: int = 0  # an estimate: as many as fit into each dropped region, taken as one block
    dropped_regions: int = 0
    first_dropped: int = 0  # byte offset
    repaired_counts: int = 0
    cut: bool = False
    tail_announced: int = 0  # records that the cut block should have held
    tail_kept: int = 0  # records of it that are kept, without a checksum
    tail_dropped_bytes: int = 0

    def drop(self, start: int, stop: int) -> None:
        """Account for bytes that are given up."""
        self.first_dropped = self.first_dropped or start
        self.dropped_regions += 1
        self.dropped_bytes += stop - start
        self.dropped_records += max(0, stop - start - 5) // self.records.dtype.itemsize


def looks_like_header(head: bytes) -> bool:
    """Whether a file that begins with ``head`` holds a µSD log of this version."""
    return _FIRST_FIELD.match(head) is not None


def crc(data: bytes | memoryview) -> int:
    """CRC-32/JAMCRC: the usual CRC-32 without its final inversion."""
    return zlib.crc32(data) ^ 0xFFFFFFFF


def parse_header(data: bytes, source: str) -> tuple[np.dtype, int]:
    """Record type and the offset of the first block.

    Raises
    ------
    UserError
        Where the header is cut, damaged or describes something that no record can hold.
    """
    end, names, codes = 1, [], []
    for _ in range(int.from_bytes(data[:1], "little")):
        comma = data.find(b",", end, end + 256)
        if comma < 0 and end + 256 > len(data):
            raise UserError(f"{source}: the file ends within its header ({len(data)} bytes): it holds no flight record")
        match = _FIELD.fullmatch(data[end : max(comma, end)])
        if match is None:
            raise UserError(
                f"{source}: the header is damaged at byte {end}: fields cannot be told apart, so nothing can be read"
            )
        names.append(match[1].decode())
        codes.append(match[2].decode())
        end = comma + 1
    if end + 4 > len(data):
        raise UserError(f"{source}: the file ends within its header ({len(data)} bytes): it holds no flight record")
    if struct.unpack_from("<I", data, end)[0] != crc(data[:end]):
        raise UserError(f"{source}: the header is damaged (checksum mismatch): field names and types cannot be trusted")
    unknown = [f"{name}({code})" for name, code in zip(names, codes, strict=True) if code not in STRUCT_CODES]
    if unknown or len(set(names)) < len(names):
        what = f"a field of unknown type, {unknown[0]}" if unknown else "the same field twice"
        raise UserError(f"{source}: the header lists {what}; known types: {' '.join(STRUCT_CODES)}")
    if TICK not in names or STRUCT_CODES[codes[names.index(TICK)]][1] not in "iu":
        raise UserError(
            f"{source}: the log lacks the needed field '{TICK}' of an integer type; log it on the Crazyflie"
        )
    return np.dtype([(name, STRUCT_CODES[code]) for name, code in zip(names, codes, strict=True)]), end + 4


def read_blocks(data: bytes, start: int, dtype: np.dtype) -> Blocks:
    """All records that can be trusted, from the first block at ``start``."""
    found, file, size = Blocks(np.empty(0, dtype)), _File(data, dtype), dtype.itemsize
    spans: list[memoryview] = []
    at = start
    while at < len(data):
        count = data[at]
        if not file.sound(at, count):
            after = at + 1 + count * size + 4
            repaired = None if file.sound_or_end(after) else file.repaired_count(at)
            if repaired is None:
                next_block = after if file.sound_or_end(after) else file.next_sound_block(at + 1)
                if next_block is None:
                    break
                found.drop(at, next_block)
                at = next_block
                continue
            count = repaired
            found.repaired_counts += 1
        spans.append(file.view[at + 1 : at + 1 + count * size])
        at += 1 + count * size + 4
    found.records = np.frombuffer(b"".join(spans), dtype)
    if at < len(data):
        if at + 1 + data[at] * size + 4 <= len(data):
            found.drop(at, len(data))  # the block is complete and its checksum fails
        else:
            _append_tail(found, data, at)
    return found


class _File:
    """The bytes of a log, and what is a block in them."""

    def __init__(self, data: bytes, dtype: np.dtype) -> None:
        self.data, self.view, self.size = data, memoryview(data), dtype.itemsize
        self.tick_type = dtype[TICK]
        self.tick_offset = int(np.dtype(dtype).fields[TICK][1])  # type: ignore[index]

    def sound(self, at: int, count: int) -> bool:
        """Whether ``count`` records and a checksum that fits follow the byte at ``at``."""
        end = at + 1 + count * self.size
        if end + 4 > len(self.data):
            return False
        expected = zlib.crc32(self.view[at + 1 : end], zlib.crc32(bytes([count]))) ^ 0xFFFFFFFF
        return int.from_bytes(self.view[end : end + 4], "little") == expected

    def sound_or_end(self, at: int) -> bool:
        """Whether a sound block begins at ``at``, or the file ends exactly there."""
        return at == len(self.data) or (at < len(self.data) and self.sound(at, self.data[at]))

    def repaired_count(self, at: int) -> int | None:
        """The count with which the block at ``at`` is sound, if its count byte is all that is wrong."""
        fits = min(255, (len(self.data) - at - 5) // self.size)
        if fits < 1:
            return None
        ticks = np.ndarray((fits,), self.tick_type, self.data, at + 1 + self.tick_offset, (self.size,))
        longest = 1 + int(np.argmin(np.append(_plausible(np.diff(ticks)), False)))
        return next((count for count in range(1, longest + 1) if self.sound(at, count)), None)

    def next_sound_block(self, start: int) -> int | None:
        """Offset of the first block from ``start`` on that is sound and holds at least one record."""
        single = len(self.data) - self.size - 4  # offsets below this have room for one record
        double = single - self.size
        for window in range(start, double, WINDOW):
            n = min(WINDOW, double - window)
            counts = np.frombuffer(self.data, np.uint8, n, window)
            first, second = (
                np.ndarray((n,), self.tick_type, self.data, window + 1 + k * self.size + self.tick_offset, (1,))
                for k in (0, 1)
            )
            likely = (counts == 1) | ((counts > 1) & _plausible(second - first))
            for at in (window + np.flatnonzero(likely)).tolist():
                if self.sound(at, self.data[at]):
                    return int(at)
        rest = range(max(start, double), single)
        return next((at for at in rest if self.data[at] == 1 and self.sound(at, 1)), None)


def _plausible(steps: np.ndarray) -> np.ndarray:
    """Steps from one time stamp to the next that a log can have; unsigned counters wrap as they should."""
    return (steps > 0) & (steps <= LARGEST_STEP)


def _append_tail(found: Blocks, data: bytes, at: int) -> None:
    """Keep the complete records of the block that the file ends in."""
    size = found.records.dtype.itemsize
    complete = min(data[at], (len(data) - at - 1) // size)
    tail = np.frombuffer(data, found.records.dtype, complete, at + 1)
    ticks = np.concatenate([found.records[-1:], tail])[TICK]
    first = 0 if len(found.records) else 1  # without a record before it the first one has no step
    kept = min(complete, first + int(np.argmin(np.append(_plausible(np.diff(ticks)), False))))
    found.cut, found.tail_announced, found.tail_kept = True, data[at], kept
    found.tail_dropped_bytes = len(data) - at - 1 - kept * size
    found.records = np.concatenate([found.records, tail[:kept]])
