"""One run of an emulated autopilot in real time: its server, its pilot, a fault, and what is told of them."""

from __future__ import annotations

import math
import sys
import time
from dataclasses import dataclass
from typing import Any, Protocol, TextIO

import numpy as np

from firmware_bridge.emulator.autopilot import Autopilot
from firmware_bridge.emulator.faults import FaultKind, Target
from firmware_bridge.emulator.line import Peer
from firmware_bridge.emulator.mavlink import MavlinkAutopilot
from firmware_bridge.emulator.mocap import PoseSender
from firmware_bridge.emulator.modes import Mode
from firmware_bridge.emulator.msp import MspAutopilot
from firmware_bridge.emulator.pilot import (
    HOVER_HEIGHT,
    Action,
    ArmingPilot,
    HoverPilot,
    Pilot,
    SwitchPilot,
    TakeoffPilot,
    mode_keys,
    switch_keys,
)
from firmware_bridge.emulator.pty import Server
from firmware_bridge.emulator.sticks import StickAutopilot
from firmware_bridge.emulator.vehicle import FlightWatch
from firmware_bridge.msp.messages import OVERRIDE

LINE_EVERY = 0.2  # s between lines of telemetry
AFTER_FLIGHT = 3.0  # s to go on for after the only flight, so that the companion hears of its end
COMPANION_AGE = 3.0  # s: three heartbeats


class Emulation(Protocol):
    """What runs behind the line, whatever its protocol."""

    name: str

    @property
    def pilot(self) -> Autopilot | StickAutopilot:
        """The autopilot."""
        ...

    @property
    def peer(self) -> Peer:
        """Its protocol side."""
        ...

    @property
    def mode(self) -> str:
        """In words."""
        ...

    @property
    def in_companions_hands(self) -> bool:
        """Whether it flies by setpoints of the companion."""
        ...

    def setpoints(self) -> dict[str, Any]:
        """How many were taken, and dropped for what reason."""
        ...

    def scripted(self, arms_only: bool) -> Pilot:
        """A pilot who is a script; ``arms_only`` leaves the take-off to the companion."""
        ...

    def hovering(self) -> Pilot:
        """A script who keeps control and hovers out of ground effect."""
        ...

    def keys(self) -> dict[str, tuple[str, Action]]:
        """What a person at the keyboard can do."""
        ...

    def note(self, what: str) -> None:
        """Write into the autopilot's log."""
        ...


@dataclass
class MavlinkEmulation:
    """See :class:`Emulation`."""

    name: str
    pilot: Autopilot
    peer: MavlinkAutopilot

    @property
    def mode(self) -> str:
        """See :class:`Emulation`."""
        return self.pilot.mode.value

    @property
    def in_companions_hands(self) -> bool:
        """See :class:`Emulation`."""
        return self.pilot.armed and self.pilot.mode is Mode.COMPANION

    def setpoints(self) -> dict[str, Any]:
        """See :class:`Emulation`."""
        return {"setpoints_taken": self.peer.taken, "setpoints_dropped": dict(self.peer.dropped)}

    def scripted(self, arms_only: bool) -> Pilot:
        """See :class:`Emulation`."""
        return ArmingPilot(self.pilot) if arms_only else TakeoffPilot(self.pilot, self._heard)

    def hovering(self) -> Pilot:
        """See :class:`Emulation`."""
        return TakeoffPilot(self.pilot, self._heard, HOVER_HEIGHT, gives=False)

    def _heard(self, now: float) -> bool:
        return now - self.peer.last_companion < COMPANION_AGE

    def keys(self) -> dict[str, tuple[str, Action]]:
        """See :class:`Emulation`."""
        return mode_keys(self.pilot)

    def note(self, what: str) -> None:
        """See :class:`Emulation`."""
        self.pilot.note(what)


@dataclass
class MspEmulation:
    """See :class:`Emulation`."""

    name: str
    pilot: StickAutopilot
    peer: MspAutopilot

    @property
    def mode(self) -> str:
        """See :class:`Emulation`."""
        return "companion" if self.pilot.active(OVERRIDE) else "sticks"

    @property
    def in_companions_hands(self) -> bool:
        """See :class:`Emulation`."""
        return self.pilot.armed and self.pilot.active(OVERRIDE)

    def setpoints(self) -> dict[str, Any]:
        """See :class:`Emulation`."""
        return {"setpoints_taken": self.peer.taken, "setpoints_dropped": {}}

    def scripted(self, arms_only: bool) -> Pilot:
        """See :class:`Emulation`: such an autopilot holds no position, so that the companion takes off in any case."""
        return SwitchPilot(self.pilot)

    def hovering(self) -> Pilot:
        """See :class:`Emulation`."""
        return HoverPilot(self.pilot)

    def keys(self) -> dict[str, tuple[str, Action]]:
        """See :class:`Emulation`."""
        return switch_keys(self.pilot)

    def note(self, what: str) -> None:
        """See :class:`Emulation`."""
        self.pilot.events.append((self.pilot.now, what))


class Trouble:
    """One fault, a while after the companion was given control.

    Parameters
    ----------
    emulation : Emulation
    fault : FaultKind, optional
        None: no trouble.
    after : float
        s from control to the fault.
    seed : int
    """

    def __init__(self, emulation: Emulation, fault: FaultKind | None, after: float, seed: int) -> None:
        self._emulation, self._fault, self._after = emulation, fault, after
        self._rng = np.random.default_rng(seed)
        self._given = self._since = math.nan

    def step(self, now: float, server: Server) -> None:
        """Begin or end it where it is time, at ``now`` in s."""
        fault, emulation = self._fault, self._emulation
        if fault is None:
            return
        if math.isnan(self._given) and emulation.in_companions_hands:
            self._given = now
        target = Target(server.line, emulation.peer)  # type: ignore[arg-type]  # what it lacks was asked for before
        if math.isnan(self._since) and now - self._given >= self._after:
            self._since = now
            emulation.note(f"fault begins: {fault.what}")
            fault.begin(target, self._rng, now)
        elif now - self._since > fault.duration:
            emulation.note("fault over")
            fault.end(target)
            self._fault = None


class Session:
    """Steps all parts until it is over, and tells of it.

    Parameters
    ----------
    emulation, server, pilot, trouble
        The parts.
    duration : float, optional
        s after which it is over.
    once : bool
        Whether it is over after the first flight.
    out : text stream
        Where events and telemetry go.
    poses : PoseSender, optional
        Motion capture that the companion hears.
    """

    def __init__(
        self,
        emulation: Emulation,
        server: Server,
        pilot: Pilot | None,
        trouble: Trouble,
        duration: float | None,
        once: bool,
        out: TextIO = sys.stderr,
        poses: PoseSender | None = None,
    ) -> None:
        self.emulation, self.server = emulation, server
        self._pilot, self._trouble, self._duration, self._once = pilot, trouble, duration, once
        self._poses = poses
        self._out, self._live = out, out.isatty()
        self._watch = FlightWatch(emulation.pilot.world)
        self._began = time.monotonic()
        self._ended, self._told, self._line_due = math.nan, 0, 0.0
        self._stepped = self._began
        self.longest_pause = 0.0  # s
        """Between two looks at the line: how badly this computer kept the emulator waiting."""

    def step(self, now: float) -> bool:
        """One look; False when it is over."""
        self.longest_pause = max(self.longest_pause, now - self._stepped)
        self._stepped = now
        self.server.step(now)
        if self._poses is not None:
            self._poses.step(now)
        self._watch.look()
        if self._pilot is not None:
            self._pilot.step(now)
        self._trouble.step(now, self.server)
        self._tell(now)
        if self._watch.flown and not self.emulation.pilot.armed and math.isnan(self._ended):
            self._ended = now
        over = self._duration is not None and now - self._began > self._duration
        return not over and not (self._once and now - self._ended > AFTER_FLIGHT)

    def _tell(self, now: float) -> None:
        """What happened, line by line, and one line of telemetry that stays at the bottom of a terminal."""
        pilot = self.emulation.pilot
        clear = "\r\x1b[K" if self._live else ""
        for t, what in pilot.events[self._told :]:
            self._out.write(f"{clear}{t - self._began:7.2f} s  {what}\n")
        self._told = len(pilot.events)
        if self._live and now >= self._line_due:
            self._line_due = now + LINE_EVERY
            state = pilot.world.state
            self._out.write(
                f"{clear}{now - self._began:7.2f} s  {'armed' if pilot.armed else 'disarmed'}  {self.emulation.mode}  "
                f"h {float(state.height):6.3f} m  v_z {state.velocity[2]:6.2f} m/s  {pilot.voltage:.1f} V  "
                f"setpoints {self.emulation.setpoints()['setpoints_taken']}"
            )
        self._out.flush()

    def result(self) -> dict[str, Any]:
        """What happened, with the units in the keys."""
        pilot = self.emulation.pilot
        return {
            "address": self.server.address,
            "autopilot": self.emulation.name,
            "vehicle": pilot.vehicle.name,
            "duration_s": time.monotonic() - self._began,
            "flown": self._watch.flown,
            "armed": pilot.armed,
            "height_m": float(pilot.world.state.height),
            "touchdown_speed_m_per_s": self._watch.touchdown_speed,
            **self.emulation.setpoints(),
            "poses_sent": 0 if self._poses is None else self._poses.sent,
            "bytes_nobody_read": self.server.overrun,
            "longest_pause_s": self.longest_pause,
            "events": [{"t_s": t - self._began, "what": what} for t, what in pilot.events],
        }
