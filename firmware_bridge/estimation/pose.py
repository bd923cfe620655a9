"""Poses of motion capture from a UDP socket: checked, put on our clock, never waited for.

One datagram is one pose, 68 bytes, little-endian, no padding:

    offset  type      content
    0       4 bytes   "NLP1"
    4       double    time of the measurement on the sender's own clock, s
    12      3 double  position of the centre of mass, m: east, north, up, or any right-handed frame with z up
    36      4 double  attitude as a unit quaternion w, x, y, z: body (x forward, y left, z up) to that frame

In Python: ``struct.pack("<4s8d", b"NLP1", t, x, y, z, qw, qx, qy, qz)``. What is not exactly that is dropped and
counted. There is no signature: anybody who reaches the socket can say where the vehicle is. It is therefore bound to
127.0.0.1 unless another address is named, and ``?from=ADDRESS`` takes datagrams of one sender alone.
"""

from __future__ import annotations

import math
import socket
import struct
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

import numpy as np

from firmware_bridge.estimation.time_sync import BootClock, Step
from neural_lander.errors import UserError

MAGIC = b"NLP1"
LAYOUT = struct.Struct("<4s8d")
NORM_ERROR = 1e-3  # of the quaternion; poses come as doubles, a guess
FARTHEST = 1e4  # m: nothing of a room or a field lies further off
AT_ONCE = 256  # datagrams looked at per call: a flood cannot hold the loop up
BUFFER = 65_536  # bytes of the socket: 10 s of 100 Hz, so that little that is old waits there
SLOT, SLOTS = 1.0, 10  # s, and how many: the least delay of the last ten seconds counts; 50 ppm drift by 0.5 ms in it
APART = 1e-6  # s at least between two poses: of those that waited together, each may have had the least delay so far
OPTIONS = ("latency", "from")


@dataclass(frozen=True, eq=False)
class Pose:
    """One measurement of motion capture."""

    t: float  # s, ours, when it was true
    received: float  # s
    position: np.ndarray  # (3,) m, world
    attitude: np.ndarray  # (4,) unit quaternion (w, x, y, z), body to world
    error: float = 0.0  # s by which it may be older: the time since the socket was looked at before


def encode(t: float, position: Sequence[float] | np.ndarray, attitude: Sequence[float] | np.ndarray) -> bytes:
    """The datagram of a pose; see the module."""
    return LAYOUT.pack(MAGIC, t, *position, *attitude)


class SenderClock:
    """The sender's clock seen from ours, from one-way delays: the least of the last seconds is taken for none.

    What even the fastest datagram took cannot be seen here; it is told by ``latency``.
    """

    def __init__(self, latency: float = 0.0) -> None:
        self.restarts = 0
        self._latency = latency
        self._boot = BootClock()
        self._least: deque[tuple[int, float]] = deque(maxlen=SLOTS)  # (slot, least of received - stamp in it)

    def to_ours(self, stamp: float, received: float) -> float | None:
        """Our time of a stamp in s, never later than its arrival; None where the stamp is an old one."""
        step = self._boot.see(stamp)
        if step is Step.OLD:
            return None
        if step is Step.RESTARTED:
            self.restarts += 1
            self._least.clear()
        slot, late = int(received / SLOT), received - stamp
        if self._least and self._least[-1][0] == slot:
            self._least[-1] = (slot, min(late, self._least[-1][1]))
        else:
            self._least.append((slot, late))
        offset = min(least for at, least in self._least if slot - at < SLOTS)
        return min(stamp + offset, received) - self._latency

    @property
    def rate(self) -> float | None:
        """Seconds of the sender in one of ours, by the least delays of two of the last seconds; None before."""
        if len(self._least) < 2:
            return None
        (first, early), (last, late) = self._least[0], self._least[-1]
        return 1.0 - (late - early) / (SLOT * (last - first))


class PoseReceiver:
    """Poses from a socket that does not block.

    Parameters
    ----------
    line : socket
        Datagrams, bound, not blocking.
    address : str
        For messages.
    sender : str, optional
        IP address; of others nothing is taken.
    latency : float
        s from the measurement to its arrival, of the fastest.
    """

    def __init__(self, line: socket.socket, address: str, sender: str | None = None, latency: float = 0.0) -> None:
        self.address = address
        self.taken = 0
        self.dropped: Counter[str] = Counter()
        """Datagrams by why they were dropped."""
        self.clock = SenderClock(latency)
        self._line, self._sender = line, sender
        self._last: tuple[float, ...] = ()
        self._t = self._stamp = self._looked = -math.inf

    def take(self, now: float) -> list[Pose]:
        """What came by time ``now`` in s, oldest first."""
        poses = []
        since, self._looked = now - self._looked, now
        for _ in range(AT_ONCE):
            try:
                data, (host, _) = self._line.recvfrom(LAYOUT.size + 1)  # one more, so that a longer one shows
            except BlockingIOError:
                break
            except OSError:  # a refusal of ICMP that belongs to something else
                self.dropped["socket error"] += 1
                break
            pose = self._read(data, host, now, since)
            if isinstance(pose, Pose):
                poses.append(pose)
            else:
                self.dropped[pose] += 1
        self.taken += len(poses)
        return poses

    def close(self) -> None:
        """Release the port."""
        self._line.close()

    def _read(self, data: bytes, host: str, now: float, since: float) -> Pose | str:
        """A pose, or why it is none; it has waited for up to ``since`` s."""
        if self._sender not in (None, host):
            return "of another sender"
        if len(data) != LAYOUT.size:
            return "wrong size"
        magic, stamp, *values = LAYOUT.unpack(data)
        if magic != MAGIC:
            return "wrong first bytes"
        if not (math.isfinite(stamp) and all(math.isfinite(value) for value in values)):
            return "not finite"
        if abs(math.hypot(*values[3:]) - 1.0) > NORM_ERROR:
            return "no unit quaternion"
        if math.hypot(*values[:3]) > FARTHEST:
            return "too far away"
        before = self.clock.restarts
        t = self.clock.to_ours(stamp, now)
        if self.clock.restarts != before:
            self._t, self._stamp, self._last = -math.inf, -math.inf, ()
        if t is None or stamp <= self._stamp:
            return "not newer than the one before"
        if tuple(values) == self._last:  # noise alone makes a difference: a body that is lost is often told again
            return "the same pose again"
        self._t, self._stamp, self._last = max(t, self._t + APART), stamp, tuple(values)
        return Pose(self._t, now, np.array(values[:3]), np.array(values[3:]) / math.hypot(*values[3:]), since)


def split_address(address: str) -> tuple[str, int, dict[str, str]]:
    """Host, port and options of ``udp://HOST:PORT?...``; without a host this computer.

    Raises
    ------
    UserError
        Where it is no such address.
    """
    example = "write for instance udp://127.0.0.1:5005"
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError as error:
        raise UserError(f"--pose '{address}': {error}; {example}") from error
    if parts.scheme != "udp" or port is None or parts.path not in ("", "/"):
        raise UserError(f"--pose '{address}' is no address; {example}")
    return parts.hostname or "127.0.0.1", port, dict(parse_qsl(parts.query, keep_blank_values=True))


def open_pose(address: str) -> PoseReceiver:
    """Receiver at ``udp://HOST:PORT``, ``udp://:PORT`` for 127.0.0.1; options ``?latency=0.005&from=192.168.1.20``.

    Raises
    ------
    UserError
        Where the address is none, or the port is taken.
    """
    host, port, options = split_address(address)
    unknown = sorted(set(options) - set(OPTIONS))
    if unknown:
        raise UserError(f"--pose '{address}': option '{unknown[0]}' is not known; use any of: {', '.join(OPTIONS)}")
    latency = _latency(address, options.get("latency", "0"))
    line = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sender = socket.gethostbyname(options["from"]) if "from" in options else None
        line.setblocking(False)
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        line.bind((host, port))
    except OSError as error:
        line.close()
        raise UserError(f"--pose '{address}' cannot be listened to: {error}; look at the address and port") from error
    host, port = line.getsockname()
    return PoseReceiver(line, f"udp://{host}:{port}", sender, latency)


def _latency(address: str, text: str) -> float:
    try:
        latency = float(text)
    except ValueError:
        latency = math.nan
    if not 0.0 <= latency <= 0.2:
        raise UserError(f"--pose '{address}': latency = '{text}' must lie between 0 and 0.2 s")
    return latency
