"""Motion capture of an emulated vehicle: poses as datagrams, on a clock of their own, with or without a socket."""

from __future__ import annotations

import math
import socket
from collections import deque

import numpy as np

from firmware_bridge.emulator.vehicle import EmulatedVehicle
from firmware_bridge.estimation.pose import LAYOUT, encode, split_address
from neural_lander.errors import UserError

RATE = 100.0  # Hz, a common one
NOISE = 3e-4  # m, standard deviation per axis, guess: a few tenths of a millimetre
CLOCK = 5000.0  # s by which its clock is ahead


class Mocap:
    """Looks like a bound UDP socket to :class:`~firmware_bridge.estimation.pose.PoseReceiver`; ``rate`` in Hz."""

    def __init__(self, vehicle: EmulatedVehicle, seed: int, rate: float = RATE) -> None:
        self.poisoned = False
        """Whether poses are not numbers."""
        self.newest = -math.inf
        """s, when the last pose that was read was true."""
        self._vehicle, self._period = vehicle, 1.0 / rate
        self._rng = np.random.default_rng([seed, 0x0CA])
        self._datagrams: deque[tuple[float, bytes]] = deque(maxlen=100)
        self._due = -math.inf

    def step(self, now: float) -> None:
        """Measure, if it is time to, at ``now`` in s."""
        if now + 1e-9 < self._due:
            return
        self._due = self._due + self._period if now - self._due < self._period else now + self._period
        state = self._vehicle.state
        position = state.position + self._rng.normal(0, NOISE, 3)
        if self.poisoned:
            position = np.full(3, math.nan)
        self._datagrams.append((math.nan if self.poisoned else now, encode(now + CLOCK, position, state.attitude)))

    def recvfrom(self, size: int) -> tuple[bytes, tuple[str, int]]:
        """See ``socket.socket``; there is always somebody who has measured, or BlockingIOError."""
        if not self._datagrams:
            raise BlockingIOError
        t, data = self._datagrams.popleft()
        if math.isfinite(t):
            self.newest = t
        return data[:size], ("127.0.0.1", 0)

    def close(self) -> None:
        """Nothing is held."""


class PoseSender:
    """Sends what a :class:`Mocap` measures to a companion.

    Parameters
    ----------
    mocap : Mocap
    address : str
        ``udp://HOST:PORT``, of the companion.

    Raises
    ------
    UserError
        Where the address is none.
    """

    def __init__(self, mocap: Mocap, address: str) -> None:
        host, port, options = split_address(address)
        if options:
            raise UserError(f"--pose '{address}': options are the companion's, such as those of 'fly --pose'")
        self.sent = 0
        self._mocap, self._line = mocap, socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._line.setblocking(False)
        try:
            self._line.connect((host, port))
        except OSError as error:
            self._line.close()
            raise UserError(f"--pose '{address}' cannot be sent to: {error}; look at the address and port") from error

    def step(self, now: float) -> None:
        """Measure and send, if it is time to, at ``now`` in s; where nobody listens yet a pose is lost."""
        self._mocap.step(now)
        while True:
            try:
                data, _ = self._mocap.recvfrom(LAYOUT.size)
                self._line.send(data)
            except BlockingIOError:
                return
            except OSError:
                continue  # nobody listens
            self.sent += 1

    def close(self) -> None:
        """Release the port."""
        self._line.close()
