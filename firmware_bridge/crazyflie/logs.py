"""What a Crazyflie tells: its log blocks, kept running, and its clock seen from ours."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from firmware_bridge.estimation.time_sync import DRIFT

BLOCKS: Mapping[str, tuple[int, tuple[tuple[str, str], ...]]] = {
    "position": (10, tuple((f"stateEstimate.{name}", "float") for name in ("x", "y", "z", "vx", "vy", "vz"))),
    "attitude": (
        10,
        (
            *((f"stateEstimate.{name}", "float") for name in ("qw", "qx", "qy", "qz")),
            *((f"gyro.{axis}", "FP16") for axis in "xyz"),
        ),
    ),
    "inertial": (
        10,
        (*((f"acc.{axis}", "float") for axis in "xyz"), *((f"gyro.{axis}", "FP16") for axis in "xyz")),
    ),
    "range": (20, (("range.zrange", "uint16_t"),)),
    "rotors": (20, tuple((f"rpm.m{motor}", "uint16_t") for motor in range(1, 5))),
    "status": (100, (("supervisor.info", "uint16_t"),)),
    "battery": (100, (("pm.vbat", "float"), ("pm.batteryLevel", "uint8_t"))),
}
"""Log blocks: period in ms, and variables with the type they are fetched as; at most 26 bytes each. A block whose
variables the firmware lacks is left out."""
NEEDED = frozenset({"position", "attitude", "inertial", "status"})
RETRY = 1.0  # s without a packet after which a block is started again, guess
RESTART = 1.0  # s by which the firmware's clock must be off
STAMP_RANGE = 2**24 / 1000  # s: time stamps are milliseconds in three bytes, so that they come round after 4.7 hours


class LogBlocks:
    """Started once the link stands, and again where one stays silent: a request may be lost.

    Parameters
    ----------
    config : type
        cflib's LogConfig.
    listener : callable
        Makes what a block of some name calls with its packets.
    """

    def __init__(self, config: Callable[..., Any], listener: Callable[[str], Callable[..., None]]) -> None:
        self.missing: list[str] = []
        """Blocks that the firmware does not have, and why."""
        self._config, self._listener = config, listener
        self._blocks: dict[str, Any] = {}
        self._heard: dict[str, float] = {}
        self._asked: dict[str, float] = {}

    def start(self, log: Any, now: float) -> None:
        """Ask for all blocks, of cflib's ``Crazyflie.log``, at time ``now`` in s."""
        self.missing, self._blocks = [], {}
        for name, (period, variables) in BLOCKS.items():
            block = self._config(name=name, period_in_ms=period)
            for variable, kind in variables:
                block.add_variable(variable, kind)
            try:
                log.add_config(block)
            except KeyError as error:  # the firmware has no such variable, or the deck is not there
                self.missing.append(f"{name} ({error.args[0]})")
                continue
            block.data_received_cb.add_callback(self._listener(name))
            block.start()
            self._blocks[name], self._heard[name], self._asked[name] = block, now, now

    def hear(self, name: str, now: float) -> None:
        """A packet of a block came in."""
        self._heard[name] = now

    def revive(self, now: float) -> None:
        """Start again what has been silent for too long."""
        for name in self.silent(now):
            if now - self._asked[name] > RETRY:
                self._asked[name] = now
                self._blocks[name].start()

    def silent(self, now: float) -> list[str]:
        """Blocks that were asked for and do not come."""
        return [name for name in self._blocks if now - self._heard[name] > RETRY]

    def lacking(self, name: str) -> bool:
        """Whether the firmware does not have a block."""
        return bool(self._blocks) and name not in self._blocks


class LogClock:
    """The firmware's clock, of which nothing but the time stamps of its log packets comes in.

    The packet that was fastest sets the offset, and what is slower was older. How long the fastest was under way no
    stamp tells; half of cflib's round trip (95th percentile) stands for it. Two crystals drift apart, so that the
    offset may follow by as much: otherwise a clock that is slower by 5e-5 makes states look 50 ms old in a quarter of
    an hour.
    """

    def __init__(self) -> None:
        self.error = math.inf
        """s by which a state may be older than :meth:`to_ours` says; infinite until a round trip was measured."""
        self._stamp: float | None = None
        self._elapsed = self._offset = math.inf
        self._seen = -math.inf

    def take_round_trip(self, seconds: float) -> None:
        """What cflib measured, by a clock that may be set: a negative one is none."""
        self.error = float(seconds) / 2 if seconds >= 0 else math.inf  # a percentile of NumPy's there

    def see(self, stamp: float, now: float) -> bool:
        """Take in a stamp in s, received at ``now`` in s; whether the firmware began anew."""
        if self._stamp is None:
            self._begin(stamp, now)
            return False
        moved = math.remainder(stamp - self._stamp, STAMP_RANGE)
        if moved < -RESTART or moved > now - self._seen + RESTART:
            self._begin(stamp, now)
            return True
        self._elapsed += moved
        self._offset = min(now - self._elapsed, self._offset + DRIFT * max(now - self._seen, 0.0))
        self._stamp, self._seen = stamp, now
        return False

    def to_ours(self) -> float:
        """Our time in s of the stamp that was seen last."""
        return self._elapsed + self._offset

    def _begin(self, stamp: float, now: float) -> None:
        self._stamp, self._elapsed, self._seen = stamp, stamp, now
        self._offset = now - stamp
