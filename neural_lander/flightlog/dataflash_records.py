"""Container of ArduPilot's DataFlash log (.BIN): messages A3 95 type, described by FMT messages in the same file.

Each FMT message gives type, length, name, format characters and column names. All messages of a type have one length,
so that NumPy decodes them at once: ten times faster than pymavlink's reader, which the tests hold this one to. Every
byte that belongs to no message is counted. Where the chain of messages breaks, the next place with two whole messages
in a row is looked for. The format has neither a checksum nor an end mark: a file that is cut exactly between two
messages cannot be told from a shorter flight.

https://ardupilot.org/dev/docs/code-overview-adding-a-new-log-message.html
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from neural_lander.flightlog.packed import as_float, gather

MARK = b"\xa3\x95"
FMT_TYPE, FMT_LENGTH = 128, 89
FMT_HEAD = MARK + bytes([FMT_TYPE])
HEAD = 3  # bytes before the payload
CHARACTERS: Mapping[str, tuple[str, float]] = {
    "b": ("<i1", 1.0), "B": ("<u1", 1.0), "M": ("<u1", 1.0), "h": ("<i2", 1.0), "H": ("<u2", 1.0),
    "i": ("<i4", 1.0), "I": ("<u4", 1.0), "q": ("<i8", 1.0), "Q": ("<u8", 1.0), "g": ("<f2", 1.0),
    "f": ("<f4", 1.0), "d": ("<f8", 1.0), "c": ("<i2", 0.01), "C": ("<u2", 0.01), "e": ("<i4", 0.01),
    "E": ("<u4", 0.01), "L": ("<i4", 1e-7), "n": ("S4", 1.0), "N": ("S16", 1.0), "Z": ("S64", 1.0),
    "a": ("(32,)<i2", 1.0),
}  # fmt: skip
"""Format character -> NumPy type, and factor to the unit that the column's name stands for."""


@dataclass(frozen=True)
class Format:
    """One type of message."""

    name: str
    dtype: np.dtype
    factors: tuple[float, ...]

    @property
    def length(self) -> int:
        """Bytes of a message with its head."""
        return HEAD + self.dtype.itemsize


@dataclass
class Records:
    """Messages by name, and an account of what is not readable."""

    messages: dict[str, np.ndarray] = field(default_factory=dict)  # (N,) structured, as stored
    formats: dict[str, Format] = field(default_factory=dict)
    lost_bytes: int = 0
    lost_places: int = 0
    first_lost: int = 0
    cut_bytes: int = 0
    """Of a message that the end of the file cuts, or of the padding of a log's last page."""

    def column(self, name: str, column: str) -> np.ndarray:
        """One column of all messages of a name, ``(N,)`` float64 in its unit."""
        fmt = self.formats[name]
        factor = fmt.factors[(fmt.dtype.names or ()).index(column)]
        return as_float(self.messages[name][column]) * factor

    def columns(self, name: str, columns: tuple[str, ...]) -> np.ndarray:
        """Several columns, ``(N, k)``."""
        return np.stack([self.column(name, column) for column in columns], axis=-1)

    def time(self, name: str) -> np.ndarray:
        """Time since boot in s of all messages of a name, ``(N,)``."""
        return self.column(name, "TimeUS") / 1e6

    def has(self, name: str, *columns: str) -> bool:
        """Whether there are messages of a name with all these columns."""
        return name in self.messages and set(columns) <= set(self.formats[name].dtype.names or ())


def looks_like_dataflash(head: bytes) -> bool:
    """Whether a file begins with the FMT message of FMT itself, as every log does."""
    return head.startswith(FMT_HEAD) and head[5:9] == b"FMT\x00"


def read_records(data: bytes, wanted: frozenset[str]) -> Records:
    """All messages of the wanted names."""
    found = Records()
    by_type: dict[int, Format] = {}
    lengths = [0] * 256
    lengths[FMT_TYPE] = FMT_LENGTH
    offsets: dict[int, list[int]] = {}
    at, end = 0, len(data)
    while at + HEAD <= end:
        length = lengths[data[at + 2]] if data[at] == 0xA3 and data[at + 1] == 0x95 else 0
        if not length:
            after = _next(data, at + 1, lengths)
            if after is None:
                break
            found.lost_bytes += after - at
            found.first_lost = found.first_lost or at
            found.lost_places += 1
            at = after
            continue
        if at + length > end:
            break
        kind = data[at + 2]
        if kind == FMT_TYPE:
            described = _format(data[at + HEAD : at + length])
            if described is not None and lengths[described[0]] in (0, described[1].length):
                by_type[described[0]] = described[1]
                lengths[described[0]] = described[1].length
        else:
            offsets.setdefault(kind, []).append(at + HEAD)
        at += length
    found.cut_bytes = end - at
    for kind, places in offsets.items():
        fmt = by_type[kind]
        if fmt.name in wanted and fmt.name not in found.messages:
            found.messages[fmt.name] = gather(data, places, fmt.dtype)
            found.formats[fmt.name] = fmt
    return found


def _format(payload: bytes) -> tuple[int, Format] | None:
    """Type and format that an FMT message describes, or None where that is impossible."""
    kind, length = payload[0], payload[1]
    name, characters, columns = (
        payload[a:b].split(b"\0")[0].decode("ascii", "replace") for a, b in ((2, 6), (6, 22), (22, 86))
    )
    names = columns.split(",") if columns else []
    if (
        any(c not in CHARACTERS for c in characters)
        or len(set(names)) != len(characters)
        or len(names) != len(set(names))
    ):
        return None
    dtype = np.dtype([(column, CHARACTERS[c][0]) for column, c in zip(names, characters, strict=True)])
    if HEAD + dtype.itemsize != length:
        return None
    return kind, Format(name, dtype, tuple(CHARACTERS[c][1] for c in characters))


def _next(data: bytes, start: int, lengths: list[int]) -> int | None:
    """The first message from ``start`` on that another one follows, or the file's end."""
    at = data.find(MARK, start)
    while 0 <= at <= len(data) - HEAD:
        after = at + lengths[data[at + 2]]
        if after > at and (after == len(data) or data[after : after + 2] == MARK):
            return at
        at = data.find(MARK, at + 1)
    return None
