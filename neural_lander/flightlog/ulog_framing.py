"""Whether a ULog is whole: its chain of messages, walked without looking into them.

pyulog reads on after damage and seldom says so, and the format has no checksum. What can be checked is that every
message is of a known kind, of a length its kind can have, of a topic that was announced, and that the last one ends
where the file does. A file cut between two messages cannot be told from a shorter flight.

https://docs.px4.io/main/en/dev_log/ulog_file_format.html
"""

from __future__ import annotations

import struct

HEADER = 16  # bytes
SHORTEST = {
    "B": 40, "F": 3, "I": 3, "M": 4, "P": 3, "Q": 4, "A": 4, "D": 10, "L": 9, "C": 11, "S": 8, "O": 2, "R": 2,
}  # fmt: skip
"""Kind of message -> least bytes after its frame; ``FIXED`` kinds have exactly as many."""
FIXED = "SOR"
_FRAME = struct.Struct("<HB")
_APPENDED = HEADER + _FRAME.size + 8  # first byte of the incompatible flags, bit 0: data is appended
_OFFSETS = slice(HEADER + _FRAME.size + 16, HEADER + _FRAME.size + 40)  # of appended data, in the flag bits


def joined(data: bytes) -> tuple[bytes, list[str]]:
    """The log with data that was appended to it joined on, and one sentence for what is wrong with its messages.

    Data is appended where a log was cut off, within a record; pyulog loses all records behind such a place.
    """
    flags = data[HEADER + 2 : HEADER + 3] == b"B" and data[_APPENDED] & 1
    stored = [int.from_bytes(data[k : k + 8], "little") for k in range(_OFFSETS.start, _OFFSETS.stop, 8)]
    ends = [*sorted(offset for offset in stored if flags and HEADER < offset < len(data)), len(data)]
    walk, at, parts, cuts = _Walk(data), HEADER, [], 0
    for end in ends:
        stopped = walk.until(at, end)
        if walk.fault:
            where = f"damaged at byte {stopped} of {len(data)} ({walk.fault})"
            return data, [f"{where}: what is lost there cannot be counted"]
        parts.append(data[at:stopped])
        cuts += stopped < end < len(data)
        at = end
    if len(ends) == 1:
        lost = len(data) - stopped
        said = f"cut short: the last {lost} bytes are no whole message, and whatever came later is lost"
        return data, [said] if lost else []
    head = bytearray(parts[0])
    head[_APPENDED - HEADER] &= 0xFE
    head[_OFFSETS.start - HEADER : _OFFSETS.stop - HEADER] = bytes(24)
    said = f"interrupted {cuts} times before data was appended: a record is lost each time"
    return b"".join([data[:HEADER], head, *parts[1:]]), [said] if cuts else []


class _Walk:
    """From message to message; remembers the size of each topic's records."""

    def __init__(self, data: bytes) -> None:
        self.data, self.sizes, self.fault = data, dict[int, int](), ""

    def until(self, at: int, end: int) -> int:
        """Offset after the last whole message before ``end``, or of the first impossible one, with ``fault`` set."""
        while at + _FRAME.size <= end:
            size, kind = _FRAME.unpack_from(self.data, at)
            after = at + _FRAME.size + size
            self.fault = self._fault(chr(kind), size, at + _FRAME.size)
            if self.fault or after > end:
                return at
            at = after
        return at

    def _fault(self, kind: str, size: int, body: int) -> str:
        if kind not in SHORTEST:
            return "a message of no known kind"
        if size < SHORTEST[kind] or (kind in FIXED and size != SHORTEST[kind]):
            return "a message of impossible length"
        if kind == "A":
            self.sizes[int.from_bytes(self.data[body + 1 : body + 3], "little")] = 0
        elif kind == "D":
            topic = int.from_bytes(self.data[body : body + 2], "little")
            known = self.sizes.get(topic)
            if known is None:
                return "a record of no topic"
            if known not in (0, size):
                return "a record of another size than its topic's"
            self.sizes[topic] = size
        return ""
