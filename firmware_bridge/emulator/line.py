"""A serial line in whatever time its user keeps: paced, and broken on purpose.

The emulated autopilot is at one end, the companion's link at the other, through the same interface as a real port.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from firmware_bridge.link import LinkLost

BITS_PER_BYTE = 10  # start bit, eight bits, stop bit


class Fault(Protocol):
    """What becomes of a frame on the way."""

    def __call__(self, now: float, frame: bytes) -> Sequence[tuple[float, bytes]]:
        """Pieces of ``frame``, written at ``now`` in s, each with the time in s before which it does not come out."""
        ...


class Wire:
    """One direction: takes frames at once, gives up their bytes in order, at the line's speed.

    Parameters
    ----------
    baud : float
        Bits per second; infinite for a line that is never late.
    """

    def __init__(self, baud: float = math.inf) -> None:
        self.rate = baud / BITS_PER_BYTE  # bytes/s
        self.fault: Fault | None = None
        self._queue: deque[tuple[float, bytes]] = deque()
        self._free_at = -math.inf  # s, when the line will have sent all that it was given
        self.waiting = 0
        """Bytes that have not come out yet."""

    def write(self, now: float, frame: bytes) -> None:
        """Put one frame in at ``now`` in s."""
        for begin, data in ((now, frame),) if self.fault is None else self.fault(now, frame):
            if data:
                self._free_at = max(self._free_at, begin) + len(data) / self.rate
                self._queue.append((self._free_at, data))
                self.waiting += len(data)

    def read(self, now: float) -> bytes:
        """What has come out by ``now`` in s: of a piece under way the part that has passed."""
        parts = []
        while self._queue and self._queue[0][0] <= now:
            parts.append(self._queue.popleft()[1])
        if self._queue and self.rate < math.inf:
            done_at, data = self._queue[0]
            passed = max(len(data) - math.ceil((done_at - now) * self.rate), 0)
            parts.append(data[:passed])
            self._queue[0] = (done_at, data[passed:])
        out = b"".join(parts)
        self.waiting -= len(out)
        return out

    def clear(self) -> None:
        """Lose what is on the way."""
        self._queue.clear()
        self.waiting, self._free_at = 0, -math.inf


class Peer(Protocol):
    """An emulated autopilot of either protocol: bytes in, frames out."""

    def step(self, now: float, received: bytes = b"", room: int = ...) -> Iterable[bytes]:
        """Run up to ``now`` in s; ``room`` is what the line can still take."""
        ...


class Line:
    """Both directions, with an emulated autopilot at one end and a port at the other.

    Parameters
    ----------
    peer : Peer
    baud : float
        Bits per second.
    buffer : int
        Bytes of the autopilot's transmit buffer.
    """

    def __init__(self, peer: Peer, baud: float = 921_600.0, buffer: int = 1024) -> None:
        self.peer, self.buffer = peer, buffer
        self.to_companion, self.to_autopilot = Wire(baud), Wire(baud)
        self.plugged = True
        self._arrived = bytearray()

    def step(self, now: float) -> None:
        """Let the autopilot run up to ``now`` in s."""
        received = self.to_autopilot.read(now)
        frames = self.peer.step(now, received, max(self.buffer - self.to_companion.waiting, 0))
        for frame in frames:
            if self.plugged:
                self.to_companion.write(now, frame)
        self._arrived += self.to_companion.read(now)

    def arrived(self) -> bytes:
        """What has come to the companion's end since the last call."""
        data = bytes(self._arrived)
        self._arrived.clear()
        return data

    def unplug(self) -> None:
        """Pull the cable: what is on the way is lost, and the port of that time is dead for good."""
        self.plugged = False
        for wire in (self.to_companion, self.to_autopilot):
            wire.clear()
        self._arrived.clear()

    def plug(self) -> None:
        """Put the cable back: a port opened from now on works."""
        self.plugged = True


class LinePort:
    """The companion's port on a :class:`Line`; ``clock`` gives the time in s at which it writes."""

    def __init__(self, line: Line, clock: Callable[[], float]) -> None:
        if not line.plugged:
            raise LinkLost("emulated line: no such port; plug it in")
        self._line, self._clock, self._dead = line, clock, False
        line.arrived()  # what came before it was opened

    def _check(self) -> None:
        self._dead = self._dead or not self._line.plugged
        if self._dead:
            raise LinkLost("emulated line: the cable is out; plug it in")

    def read(self) -> bytes:
        """See :class:`firmware_bridge.port.Port`."""
        self._check()
        return self._line.arrived()

    def write(self, data: bytes) -> bool:
        """See :class:`firmware_bridge.port.Port`."""
        self._check()
        self._line.to_autopilot.write(self._clock(), data)
        return True

    def close(self) -> None:
        """See :class:`firmware_bridge.port.Port`."""
        self._dead = True
