"""Serves an emulated autopilot behind a pseudo-terminal or a TCP port, in real time, at the pace of a serial line."""

from __future__ import annotations

import contextlib
import math
import os
import select
import socket
import time
import tty
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from firmware_bridge.emulator.line import Line
from firmware_bridge.emulator.modes import LONGEST_PAUSE, TICK
from neural_lander.errors import UserError

PERIOD = 0.00125  # s between looks at the line: half a tick of the autopilot
CHUNK = 4096  # bytes
PENDING = 4096  # bytes that may wait for a reader who does not read; then they are lost, as in a USB adapter


class Endpoint(Protocol):
    """Where a companion connects."""

    address: str
    """What it gives to pyserial."""

    def read(self) -> bytes:
        """What the companion wrote. Never waits."""
        ...

    def write(self, data: bytes) -> int:
        """How many bytes went out. Never waits."""
        ...

    def close(self) -> None:
        """Hang up."""
        ...


class PseudoTerminal:
    """A serial port without a wire.

    Parameters
    ----------
    link : Path, optional
        Symbolic link to keep pointing at it: a name that stays the same when it is unplugged and plugged again.
    """

    def __init__(self, link: Path | None = None) -> None:
        self._ours, theirs = os.openpty()
        tty.setraw(theirs)
        os.set_blocking(self._ours, False)
        self.device = os.ttyname(theirs)
        self._theirs: int | None = theirs  # held open, so that a companion may come and go
        self._link = link
        self.address = self.device
        if link is not None:
            self.address = str(link)
            _point(link, self.device)

    def read(self) -> bytes:
        """See :class:`Endpoint`."""
        try:
            return os.read(self._ours, CHUNK)
        except OSError:  # nothing there
            return b""

    def wait(self, seconds: float) -> bool:
        """Whether the companion has written, waiting so long for it."""
        return bool(select.select([self._ours], [], [], seconds)[0])

    def write(self, data: bytes) -> int:
        """See :class:`Endpoint`."""
        try:
            return os.write(self._ours, data)
        except BlockingIOError:
            return 0

    def close(self) -> None:
        """See :class:`Endpoint`: a port that a companion has open then gives an error, as a device that was pulled."""
        if self._theirs is not None:
            os.close(self._theirs)
            os.close(self._ours)
            self._theirs = None
            if self._link is not None:
                self._link.unlink(missing_ok=True)


def _point(link: Path, device: str) -> None:
    if link.exists() and not link.is_symlink():
        raise UserError(f"address '{link}' exists and is no symbolic link; name another one")
    link.unlink(missing_ok=True)
    try:
        link.symlink_to(device)
    except OSError as error:
        raise UserError(f"address '{link}' cannot be made: {error}") from error


class TcpServer:
    """A port on this machine's loop-back for one companion at a time: ``socket://127.0.0.1:PORT`` of pyserial."""

    def __init__(self, port: int = 0) -> None:
        self._listener = socket.create_server(("127.0.0.1", port))
        self._listener.setblocking(False)
        self._peer: socket.socket | None = None
        self.address = f"socket://127.0.0.1:{self._listener.getsockname()[1]}"

    def read(self) -> bytes:
        """See :class:`Endpoint`."""
        if self._peer is None:
            with contextlib.suppress(BlockingIOError):
                self._peer, _ = self._listener.accept()
                self._peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._peer.setblocking(False)
        if self._peer is None:
            return b""
        try:
            data = self._peer.recv(CHUNK)
        except BlockingIOError:
            return b""
        except OSError:
            data = b""
        if not data:
            self._hang_up()
        return data

    def write(self, data: bytes) -> int:
        """See :class:`Endpoint`."""
        if self._peer is None:
            return len(data)
        try:
            return self._peer.send(data)
        except BlockingIOError:
            return 0
        except OSError:
            self._hang_up()
            return len(data)

    def _hang_up(self) -> None:
        if self._peer is not None:
            self._peer.close()
            self._peer = None

    def close(self) -> None:
        """See :class:`Endpoint`."""
        self._hang_up()
        self._listener.close()


class Server:
    """Carries bytes between a :class:`Line` and where the companion connects.

    Parameters
    ----------
    line : Line
    connect : callable
        Makes an endpoint; called again when the line is plugged in after having been unplugged.
    """

    def __init__(self, line: Line, connect: Callable[[], Endpoint]) -> None:
        self.line = line
        self._connect = connect
        self._end: Endpoint | None = connect()
        self._pending = b""
        self.address = self._end.address
        self._stepped = math.nan
        self.overrun = 0
        """Bytes lost because nobody read them."""

    def step(self, now: float) -> None:
        """Move what has come to now, in s."""
        if self.line.plugged and self._end is None:
            self._end = self._connect()
        elif not self.line.plugged and self._end is not None:
            self._end.close()
            self._end, self._pending = None, b""
        if self._end is not None:
            received = self._end.read()
            if received:
                self.line.to_autopilot.write(now, received)
        for t in self._steps(now):
            self.line.step(t)
        arrived = self.line.arrived()
        if self._end is None:
            return
        self._pending += arrived
        if self._pending:
            self._pending = self._pending[self._end.write(self._pending) :]
            if len(self._pending) > PENDING:
                self.overrun += len(self._pending)
                self._pending = b""

    def _steps(self, now: float) -> list[float]:
        """Times since the last call, a tick apart: what a busy computer delays comes late, but all of it."""
        since = max(now - self._stepped, 0.0) if self._stepped == self._stepped else 0.0
        self._stepped = now
        ticks = math.ceil(min(since, LONGEST_PAUSE) / TICK - 1e-6)
        return [now - k * TICK for k in range(ticks - 1, 0, -1)] + [now]

    def close(self) -> None:
        """Hang up."""
        if self._end is not None:
            self._end.close()
            self._end = None


def run(step: Callable[[float], bool], period: float = PERIOD) -> None:
    """Call ``step`` with monotonic seconds about every ``period`` s until it returns False."""
    while step(time.monotonic()):
        time.sleep(period)
