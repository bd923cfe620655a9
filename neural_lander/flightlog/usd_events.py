"""Container of the Crazyflie µSD-deck log, present version: a table of event types, then events in order of time.

1. one byte 0xBC, uint16 version (1 or 2), uint16 number of event types;
2. for each: uint16 id, its name, uint16 number of variables, each ``name(type)``; names end in a zero byte, type is a
   ``struct`` code;
3. events: uint16 id, time stamp (version 1: uint32 milliseconds, version 2: uint64 microseconds), packed variables;
4. uint32 CRC-32 of everything before it, written when logging is stopped. All little-endian.

The one checksum says that a file is damaged, not where. In a file whose checksum fails only events are taken that begin
with a known id and a time stamp close to the one before; elsewhere the next three such events in a row are looked for.

Described by tools/usdlog in https://github.com/bitcraze/crazyflie-firmware.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from neural_lander.errors import UserError
from neural_lander.flightlog.packed import gather
from neural_lander.flightlog.usd_blocks import STRUCT_CODES

MAGIC = 0xBC
STAMPS: Mapping[int, tuple[str, float]] = {1: ("<u4", 1e-3), 2: ("<u8", 1e-6)}
"""Version -> type of the time stamp, and seconds per count."""
TIME = "event time"  # of the stamp, beside the variables; no variable's name holds a space
LARGEST_STEP = 10.0  # s forward from one event to the next
BACKWARD_STEP = 1.0  # s: tasks of lower priority log late
IN_A_ROW = 3  # events that follow each other where reading begins anew
_HEAD = struct.Struct("<BHH")
_VARIABLE = re.compile(rb"([A-Za-z_][\w.]*)\(([A-Za-z])\)")


@dataclass
class Events:
    """Events by name, and an account of what is not readable."""

    by_name: dict[str, np.ndarray] = field(default_factory=dict)  # (N,) structured, with TIME in counts
    seconds_per_count: float = 1e-3
    sound: bool = True
    """Whether the checksum fits."""
    lost_bytes: int = 0
    left_over: int = 0
    """Bytes at the end that are no whole event."""


def looks_like_events(head: bytes) -> bool:
    """Whether a file begins as a log of this version."""
    return len(head) >= _HEAD.size and head[0] == MAGIC and int.from_bytes(head[1:3], "little") in STAMPS


def read_events(data: bytes, source: str) -> Events:
    """All events that can be trusted.

    Raises
    ------
    UserError
        Where the table of event types is cut or damaged.
    """
    _, version, count = _HEAD.unpack_from(data)
    stamp, seconds = STAMPS[version]
    at = _HEAD.size
    types: dict[int, tuple[str, np.dtype]] = {}
    for _ in range(count):
        kind, name, dtype, at = _event_type(data, at, stamp, source)
        types[kind] = (name, dtype)
    found = Events(seconds_per_count=seconds)
    found.sound = len(data) >= at + 4 and zlib.crc32(data[:-4]) == int.from_bytes(data[-4:], "little")
    walk = _Walk(data, len(data) - 4 if found.sound else len(data), {k: d for k, (_, d) in types.items()}, seconds)
    walk.run(at, trusted=found.sound)
    found.lost_bytes, found.left_over = walk.lost_bytes, walk.left_over
    for kind, places in walk.places.items():
        name, dtype = types[kind]
        found.by_name[name] = gather(data, places, dtype)
    return found


def _event_type(data: bytes, at: int, stamp: str, source: str) -> tuple[int, str, np.dtype, int]:
    """Id, name and packed type of one entry of the table, and the offset after it."""
    kind, at = int.from_bytes(data[at : at + 2], "little"), at + 2
    name, at = _text(data, at, source)
    count, at = int.from_bytes(data[at : at + 2], "little"), at + 2
    fields: list[tuple[str, str]] = [("event id", "<u2"), (TIME, stamp)]
    for _ in range(count):
        text, at = _text(data, at, source)
        match = _VARIABLE.fullmatch(text)
        code = STRUCT_CODES.get(match[2].decode()) if match else None
        if match is None or code is None or match[1].decode() in dict(fields):
            raise UserError(f"{source}: the table of event types is damaged before byte {at}: nothing can be read")
        fields.append((match[1].decode(), code))
    return kind, name.decode("ascii", "replace"), np.dtype(fields), at


def _text(data: bytes, at: int, source: str) -> tuple[bytes, int]:
    end = data.find(b"\0", at, at + 256)
    if end < 0:
        raise UserError(f"{source}: the file ends within its table of event types, or that is damaged at byte {at}")
    return data[at:end], end + 1


class _Walk:
    """From event to event."""

    def __init__(self, data: bytes, end: int, types: Mapping[int, np.dtype], seconds: float) -> None:
        self.data, self.end = data, end
        self.sizes = {kind: dtype.itemsize for kind, dtype in types.items()}
        stamp = next(iter(types.values()))[TIME] if types else np.dtype("<u4")
        self.stamp_size, self.forward, self.backward = stamp.itemsize, LARGEST_STEP / seconds, BACKWARD_STEP / seconds
        self.places: dict[int, list[int]] = {}
        self.lost_bytes = self.left_over = 0

    def run(self, at: int, trusted: bool) -> None:
        """Collect the offsets of all events from ``at`` on; without trust only of plausible ones."""
        last = None
        while at < self.end:
            size = self._size(at)
            begun = self._plausible(at, last) if last is not None else self._row(at, None)
            if size is None or not (trusted or begun):
                after = self._resume(at + 1, last)
                if after is None:
                    break
                self.lost_bytes += after - at
                at = after
                continue
            last = self._time(at)
            self.places.setdefault(self._kind(at), []).append(at)
            at += size
        self.left_over = self.end - at

    def _kind(self, at: int) -> int:
        return self.data[at] | self.data[at + 1] << 8

    def _time(self, at: int) -> int:
        return int.from_bytes(self.data[at + 2 : at + 2 + self.stamp_size], "little")

    def _size(self, at: int) -> int | None:
        """Bytes of the event at ``at``; None where there is no whole one of a known id."""
        size = self.sizes.get(self._kind(at)) if at + 2 <= self.end else None
        return size if size is not None and at + size <= self.end else None

    def _plausible(self, at: int, last: int | None) -> bool:
        return last is None or -self.backward <= self._time(at) - last <= self.forward

    def _resume(self, start: int, last: int | None) -> int | None:
        """The first of three plausible events in a row from ``start`` on."""
        for at in range(start, self.end - 2):
            if self._kind(at) in self.sizes and self._row(at, last):
                return at
        return None

    def _row(self, at: int, last: int | None) -> bool:
        for _ in range(IN_A_ROW):
            size = self._size(at)
            if size is None or not self._plausible(at, last):
                return False
            last, at = self._time(at), at + size
        return True
