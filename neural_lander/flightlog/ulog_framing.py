"""The sound messages of a ULog as one file: what pyulog can be given.

pyulog reads on after damage, seldom says so, and can run in a circle over a damaged length; records behind appended
data it loses. The format has no checksum. So the chain of messages is walked first: every message must be of a known
kind, of a length that its kind can have, and of a topic that was announced with that length. Where the chain breaks,
the next place from which it holds is looked for. A file cut between two messages cannot be told from a shorter flight.

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
IN_A_ROW = 4  # messages that must fit where reading begins anew
_KINDS = frozenset(map(ord, SHORTEST))
_FRAME = struct.Struct("<HB")
_APPENDED = HEADER + _FRAME.size + 8  # first byte of the incompatible flags, bit 0: data is appended
_OFFSETS = slice(HEADER + _FRAME.size + 16, HEADER + _FRAME.size + 40)  # of appended data, in the flag bits


def sound_messages(data: bytes) -> tuple[bytes, list[str]]:
    """The log without what is no message, appended data joined on, and one sentence for each kind of loss."""
    flags = data[HEADER + 2 : HEADER + 3] == b"B" and len(data) > _OFFSETS.stop and data[_APPENDED] & 1
    stored = [int.from_bytes(data[k : k + 8], "little") for k in range(_OFFSETS.start, _OFFSETS.stop, 8)]
    ends = [*sorted(offset for offset in stored if flags and HEADER < offset < len(data)), len(data)]
    walk, at = _Walk(data), HEADER
    for end in ends:
        walk.segment(at, end)
        at = end
    messages = bytearray(b"".join([data[:HEADER], *walk.parts]))
    if flags and len(messages) > _OFFSETS.stop:
        messages[_APPENDED] &= 0xFE
        messages[_OFFSETS] = bytes(24)
    return bytes(messages), walk.account(ends)


class _Walk:
    """From message to message; remembers the size of each topic's records."""

    def __init__(self, data: bytes) -> None:
        self.data, self.sizes = data, dict[int, int]()
        self.parts: list[bytes] = []
        self.damaged: list[tuple[int, int]] = []
        """Begin and end of what is no message."""
        self.unfinished: list[tuple[int, int]] = []
        """The same for the message that a segment ends within."""

    def segment(self, at: int, end: int) -> None:
        """Collect all sound messages between two offsets."""
        while at < end:
            stopped = self._until(at, end)
            self.parts.append(self.data[at:stopped])
            if stopped == end:
                return
            again = self._resume(stopped + 1, end)
            if again is None:
                kind = self.data[stopped + 2 : stopped + 3]
                whole = stopped + _FRAME.size > end or kind[0] in _KINDS
                (self.unfinished if whole else self.damaged).append((stopped, end))
                return
            self.damaged.append((stopped, again))
            at = again

    def account(self, ends: list[int]) -> list[str]:
        """One sentence for each kind of loss."""
        said = []
        if self.damaged:
            lost, first = sum(b - a for a, b in self.damaged), self.damaged[0][0]
            said.append(
                f"damaged at {len(self.damaged)} places, the first at byte {first}: {lost} of {len(self.data)} bytes "
                "are no messages and are lost"
            )
        for a, b in self.unfinished:
            if b == ends[-1]:
                said.append(f"cut short: the last {b - a} bytes are no whole message, and whatever came later is lost")
            else:
                said.append(f"interrupted at byte {a}, where data was appended: the record in progress is lost")
        return said

    def _until(self, at: int, end: int) -> int:
        """Offset after the last sound message of the chain from ``at``."""
        while (after := self._after(at, end)) is not None:
            body, kind = at + _FRAME.size, self.data[at + 2]
            if kind == ord("A"):
                self.sizes[self._topic(body + 1)] = 0
            elif kind == ord("D"):
                self.sizes[self._topic(body)] = after - body
            at = after
        return at

    def _resume(self, start: int, end: int) -> int | None:
        """The first offset from which some messages fit in a row, or up to the end."""
        for at in range(start, end - _FRAME.size):
            if self.data[at + 2] not in _KINDS:
                continue
            if self._in_a_row(at, end):
                return at
        return None

    def _in_a_row(self, at: int, end: int) -> bool:
        """Whether some messages fit from ``at`` on, or all up to the end."""
        for _ in range(IN_A_ROW):
            after = self._after(at, end)
            if after is None or after == end:
                return after == end
            at = after
        return True

    def _after(self, at: int, end: int) -> int | None:
        """Offset after the message at ``at``, or None where none fits there."""
        if at + _FRAME.size > end:
            return None
        size, code = _FRAME.unpack_from(self.data, at)
        kind, body = chr(code), at + _FRAME.size
        least = SHORTEST.get(kind)
        if least is None or size < least or (kind in FIXED and size != least) or body + size > end:
            return None
        if kind == "D" and self.sizes.get(self._topic(body), -1) not in (0, size):
            return None  # of no topic, or of another size than its topic's records
        return body + size

    def _topic(self, at: int) -> int:
        return self.data[at] | self.data[at + 1] << 8
