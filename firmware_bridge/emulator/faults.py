"""Faults between the companion's port and the vehicle, seeded: what happens to frames, to the cable, to the autopilot.

Faults of the line act frame by frame (:class:`~firmware_bridge.emulator.line.Fault`) and are the same for every
protocol. Those of the autopilot need one that can be told to misbehave, as :class:`Faulty` has it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from firmware_bridge.emulator.line import Fault, Line

BYTE_LOSS = 0.02  # share of bytes dropped or flipped: every second frame of 40 bytes is hit, guess
DAMAGED = 0.3  # share of frames that are duplicated or that garbage precedes, guess
PIECE_GAP = 0.004  # s between the two pieces of a split frame: more than a tick of any loop, guess
MERGED = 0.04  # s between bursts of a line that gathers frames: USB adapters with a large latency timer

Pieces = list[tuple[float, bytes]]


@dataclass
class Dropped:
    """Single bytes vanish."""

    rng: np.random.Generator

    def __call__(self, now: float, frame: bytes) -> Pieces:
        """See :class:`~firmware_bridge.emulator.line.Fault`."""
        data = np.frombuffer(frame, np.uint8)
        return [(now, data[self.rng.random(len(data)) >= BYTE_LOSS].tobytes())]


@dataclass
class Flipped:
    """Single bits change."""

    rng: np.random.Generator

    def __call__(self, now: float, frame: bytes) -> Pieces:
        """See :class:`~firmware_bridge.emulator.line.Fault`."""
        data = np.frombuffer(frame, np.uint8)
        bits = (1 << self.rng.integers(0, 8, len(data))).astype(np.uint8)
        return [(now, np.where(self.rng.random(len(data)) < BYTE_LOSS, data ^ bits, data).astype(np.uint8).tobytes())]


@dataclass
class Split:
    """Each frame comes in two pieces, cut at an offset that goes through all of them."""

    at: int = 0

    def __call__(self, now: float, frame: bytes) -> Pieces:
        """See :class:`~firmware_bridge.emulator.line.Fault`."""
        self.at += 1
        cut = self.at % len(frame)
        return [(now, frame[:cut]), (now + PIECE_GAP, frame[cut:])]


@dataclass
class Merged:
    """Frames are gathered, and come in bursts."""

    def __call__(self, now: float, frame: bytes) -> Pieces:
        """See :class:`~firmware_bridge.emulator.line.Fault`."""
        return [((now // MERGED + 1) * MERGED, frame)]


@dataclass
class Duplicated:
    """Some frames come twice, or again one frame later."""

    rng: np.random.Generator
    previous: bytes = b""

    def __call__(self, now: float, frame: bytes) -> Pieces:
        """See :class:`~firmware_bridge.emulator.line.Fault`."""
        again = self.previous if self.rng.random() < 0.5 else frame
        self.previous = frame
        return [(now, frame + (again if self.rng.random() < DAMAGED else b""))]


@dataclass
class Garbage:
    """Noise before some frames; half of it begins like a frame of either protocol."""

    rng: np.random.Generator

    def __call__(self, now: float, frame: bytes) -> Pieces:
        """See :class:`~firmware_bridge.emulator.line.Fault`."""
        if self.rng.random() >= DAMAGED:
            return [(now, frame)]
        noise = self.rng.bytes(int(self.rng.integers(1, 40)))
        begin = (frame[:3], frame[:1], b"")[self.rng.integers(0, 3)]
        return [(now, begin + noise + frame)]


@dataclass
class Stalled:
    """Nothing comes until ``until`` in s, then all at once."""

    until: float

    def __call__(self, now: float, frame: bytes) -> Pieces:
        """See :class:`~firmware_bridge.emulator.line.Fault`."""
        return [(max(now, self.until), frame)]


def lost(now: float, frame: bytes) -> Pieces:
    """Nothing comes through: one direction of a half-open link."""
    del now, frame
    return []


class Faulty(Protocol):
    """An emulated autopilot that can be told to misbehave."""

    foreign: bool
    frozen: bool
    halted: bool
    poisoned: bool

    def reboot(self) -> None:
        """Lose power for a moment."""
        ...


@dataclass
class Target:
    """What a fault acts on."""

    line: Line
    autopilot: Faulty
    poison_controller: Callable[[bool], None] = field(default=lambda _: None)
    """Makes the companion's own controller give NaN, or stop doing so."""


@dataclass(frozen=True)
class FaultKind:
    """One fault by name."""

    name: str
    what: str
    duration: float  # s
    begin: Callable[[Target, np.random.Generator, float], None]
    """From the time in s on."""
    end: Callable[[Target], None] = lambda _: None
    needs: str = ""
    """Attribute of the emulated autopilot that must be there; ``controller`` for a fault of the companion's own."""


def _on_both(
    make: Callable[[np.random.Generator, float], Fault],
) -> Callable[[Target, np.random.Generator, float], None]:
    def begin(target: Target, rng: np.random.Generator, now: float) -> None:
        for wire in (target.line.to_companion, target.line.to_autopilot):
            wire.fault = make(rng, now)

    return begin


def _repair(target: Target) -> None:
    target.line.to_companion.fault = target.line.to_autopilot.fault = None


def _of_line(name: str, what: str, duration: float, make: Callable[[np.random.Generator, float], Fault]) -> FaultKind:
    return FaultKind(name, what, duration, _on_both(make), _repair)


def _stall(milliseconds: int) -> FaultKind:
    seconds = milliseconds / 1000
    name, what = f"stall-{milliseconds}ms", f"both directions stand still for {milliseconds} ms"
    return _of_line(name, what, seconds, lambda _, now: Stalled(now + seconds))


def _deaf(target: Target, rng: np.random.Generator, now: float) -> None:
    target.line.to_companion.fault = lost


def _mute(target: Target, rng: np.random.Generator, now: float) -> None:
    target.line.to_autopilot.fault = lost


def _of_autopilot(name: str, what: str, duration: float, attribute: str) -> FaultKind:
    def begin(target: Target, rng: np.random.Generator, now: float) -> None:
        setattr(target.autopilot, attribute, True)

    return FaultKind(name, what, duration, begin, lambda t: setattr(t.autopilot, attribute, False), attribute)


_KINDS = (
    _of_line("dropped-bytes", f"{BYTE_LOSS:.0%} of the bytes vanish", 0.5, lambda rng, _: Dropped(rng)),
    _of_line("flipped-bits", f"a bit changes in {BYTE_LOSS:.0%} of the bytes", 0.5, lambda rng, _: Flipped(rng)),
    _of_line("split-frames", "frames in two pieces, at every offset in turn", 1.0, lambda rng, _: Split()),
    _of_line("merged-frames", f"frames in bursts every {1000 * MERGED:.0f} ms", 1.0, lambda rng, _: Merged()),
    _of_line("duplicated-frames", f"{DAMAGED:.0%} of the frames twice", 1.0, lambda rng, _: Duplicated(rng)),
    _of_line("garbage", f"noise before {DAMAGED:.0%} of the frames", 1.0, lambda rng, _: Garbage(rng)),
    *(_stall(milliseconds) for milliseconds in (50, 200, 1000)),
    FaultKind("half-open-deaf", "the companion hears nothing and is heard", 2.0, _deaf, _repair),
    FaultKind("half-open-mute", "the companion hears and is not heard", 2.0, _mute, _repair),
    FaultKind("unplugged", "cable out, and in again", 1.0, lambda t, _, __: t.line.unplug(), lambda t: t.line.plug()),
    FaultKind("restart", "the autopilot loses power for a moment", 0.0, lambda t, _, __: t.autopilot.reboot()),
    _of_autopilot("stale-state", "valid state frames that no longer change, stamps included", 1.0, "frozen"),
    _of_autopilot("frozen-values", "position and attitude no longer change, their stamps run on", 1.0, "halted"),
    _of_autopilot("foreign-ids", "others on the line contradict the autopilot", 2.0, "foreign"),
    _of_autopilot("nan-state", "position and attitude are not numbers", 0.5, "poisoned"),
    FaultKind(
        "nan-setpoint",
        "the companion's controller gives NaN",
        0.5,
        lambda t, _, __: t.poison_controller(True),
        lambda t: t.poison_controller(False),
        "controller",
    ),
)
FAULTS: Mapping[str, FaultKind] = {kind.name: kind for kind in _KINDS}
