"""Bytes to and from an autopilot: any address of pyserial, read and written without waiting.

An address is a device (``/dev/ttyACM0``), a pseudo-terminal, or a URL of ``serial.serial_for_url``
(``socket://127.0.0.1:5760``, ``loop://``), with options after a ``?``: ``/dev/ttyUSB0?baud=921600&rtscts=1``.
"""

from __future__ import annotations

import io
import os
import select
import time
from collections.abc import Mapping
from typing import Any, Protocol
from urllib.parse import parse_qsl

import serial

from firmware_bridge.link import LinkLost
from neural_lander.errors import UserError

DEFAULT_BAUD = 921_600  # 1/s, the fastest line that autopilots' telemetry ports are commonly set to
CHUNK = 4096  # bytes of one read, the size of Linux' terminal buffer
MOST_CHUNKS = 16  # of one poll: what 921600 baud bring in 0.7 s; a peer that sends more has to wait
STALL_LIMIT = 1.0  # s without room for a single frame, after which a line counts as lost; a guess
WRITE_TIMEOUT = 0.02  # s, a guess; reached only where a port's room cannot be asked for
OPTIONS = ("baud", "rtscts")
OTHER_FORMS = ("tcp", "tcpin", "tcpout", "udp", "udpin", "udpout", "udpbcast")
"""How other ground stations begin an address that pyserial does not know."""


class Port(Protocol):
    """What a link needs of a line; a test passes its own."""

    def read(self) -> bytes:
        """All bytes that are there, perhaps none. Never waits. Raises LinkLost."""
        ...

    def write(self, data: bytes) -> bool:
        """Write one frame, or drop it and say False where the line has no room for it. Raises LinkLost."""
        ...

    def close(self) -> None:
        """Release it. May be called twice."""
        ...


class SerialPort:
    """A port of pyserial. ``dropped`` counts the frames for which the line had no room, ``file`` is its descriptor."""

    def __init__(self, line: Any, address: str) -> None:
        self.address = address
        self.dropped = 0
        self._line = line
        self._full_since: float | None = None
        try:
            self.file: int | None = line.fileno()
        except (io.UnsupportedOperation, AttributeError):
            self.file = None

    def read(self) -> bytes:
        """See :class:`Port`."""
        parts = []
        try:
            while True:
                part = self._line.read(CHUNK)
                parts.append(part)
                if len(part) < CHUNK or len(parts) >= MOST_CHUNKS:
                    return b"".join(parts)
        except (serial.SerialException, OSError, TypeError) as error:  # TypeError: pyserial, closed under its hands
            raise self._lost(error) from error

    def write(self, data: bytes) -> bool:
        """See :class:`Port`. A line that has had no room for 1 s is lost."""
        try:
            if self.file is not None and not select.select([], [self.file], [], 0)[1]:
                self._full(time.monotonic())
                return False
            self._line.write(data)
        except serial.SerialTimeoutException:
            self._full(time.monotonic())
            return False
        except (serial.SerialException, OSError, ValueError, TypeError) as error:
            raise self._lost(error) from error
        self._full_since = None
        return True

    def close(self) -> None:
        """See :class:`Port`."""
        self._line.close()
        self.file = None

    def _full(self, now: float) -> None:
        self.dropped += 1
        if self._full_since is None:
            self._full_since = now
        elif now - self._full_since > STALL_LIMIT:
            raise LinkLost(
                f"port {self.address} has taken no byte for {now - self._full_since:.1f} s: "
                "the other end does not read; look at its power and at flow control"
            )

    def _lost(self, error: Exception) -> LinkLost:
        return LinkLost(f"port {self.address} is gone ({error}); look at the cable and the autopilot's power")


def split_address(address: str) -> tuple[str, dict[str, str]]:
    """What to open, and the options after the ``?``."""
    url, _, query = address.partition("?")
    if not url:
        raise UserError(f"address '{address}' names no port; write for instance /dev/ttyACM0?baud=921600")
    return url, dict(parse_qsl(query, keep_blank_values=True))


def open_port(address: str) -> SerialPort:
    """Port at an address.

    Raises
    ------
    UserError
        Where the address cannot mean a port: an option or a protocol that is not known.
    LinkLost
        Where nothing is there to be opened.
    """
    url, options = split_address(address)
    unknown = sorted(set(options) - set(OPTIONS))
    if unknown:
        raise UserError(f"address '{address}': option '{unknown[0]}' is not known; use any of: {', '.join(OPTIONS)}")
    baud, rtscts = _number(options, "baud", DEFAULT_BAUD), _number(options, "rtscts", 0)
    if baud <= 0 or rtscts not in (0, 1):
        raise UserError(f"address '{address}': baud must be positive, and rtscts 0 or 1")
    form, _, rest = url.partition(":")
    if form in OTHER_FORMS:
        raise UserError(f"address '{address}' is no port: for TCP write socket://{rest.lstrip('/')}; UDP is not spoken")
    try:
        line = serial.serial_for_url(
            url, baudrate=baud, rtscts=bool(rtscts), timeout=0, write_timeout=WRITE_TIMEOUT, exclusive=True
        )
    except ValueError as error:
        raise UserError(f"address '{address}' is no port: {error}") from error
    except (serial.SerialException, OSError) as error:
        raise LinkLost(f"port {url} cannot be opened ({_reason(error)}); {_remedy(url)}") from error
    return SerialPort(line, url)


def _reason(error: Exception) -> str:
    """The system's own words, where pyserial has wrapped them in its own."""
    for found in (error, error.__cause__, error.__context__):
        if isinstance(found, OSError) and found.errno is not None:
            return os.strerror(found.errno)
    return str(error)


def _remedy(url: str) -> str:
    if "://" in url:
        return "look at the address, and whether the other end runs"
    return "look at the cable, its name and your rights"


def _number(options: Mapping[str, str], name: str, default: int) -> int:
    text = options.get(name, str(default))
    try:
        return int(text)
    except ValueError as error:
        raise UserError(f"option {name} = '{text}' must be a whole number") from error
