"""Motion capture of an emulated vehicle: poses as datagrams, on a clock of their own, without a socket."""

from __future__ import annotations

import math
from collections import deque

import numpy as np

from firmware_bridge.emulator.vehicle import EmulatedVehicle
from firmware_bridge.estimation.pose import encode

PERIOD = 0.01  # s: 100 Hz, a common rate
NOISE = 3e-4  # m, standard deviation per axis, guess: a few tenths of a millimetre
CLOCK = 5000.0  # s by which its clock is ahead


class Mocap:
    """Looks like a bound UDP socket to :class:`~firmware_bridge.estimation.pose.PoseReceiver`."""

    def __init__(self, vehicle: EmulatedVehicle, seed: int) -> None:
        self.poisoned = False
        """Whether poses are not numbers."""
        self.newest = -math.inf
        """s, when the last pose that was read was true."""
        self._vehicle = vehicle
        self._rng = np.random.default_rng([seed, 0x0CA])
        self._datagrams: deque[tuple[float, bytes]] = deque(maxlen=100)
        self._due = -math.inf

    def step(self, now: float) -> None:
        """Measure, if it is time to, at ``now`` in s."""
        if now + 1e-9 < self._due:
            return
        self._due = now + PERIOD
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
