"""The pilot of an emulated vehicle: a script, or a person at the emulator's own terminal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from firmware_bridge.emulator.autopilot import Autopilot
from firmware_bridge.emulator.modes import TICK, Mode
from firmware_bridge.emulator.sticks import StickAutopilot
from firmware_bridge.emulator.vehicle import FlightWatch
from firmware_bridge.msp.messages import ANGLE, ARM, OVERRIDE

TAKEOFF_HEIGHT = 1.0  # m
HOVER_HEIGHT = 2.0  # m, of a pilot who hovers for a calibration: out of ground effect
PATIENCE = 1.0  # s between a pilot's looks at his screen, guess
SETTLED_SPEED = 0.1  # m/s, guess
STREAM_TIME = 1.5  # s of setpoints before the pilot trusts a companion, guess


class Pilot(Protocol):
    """Someone with a switch."""

    def step(self, now: float) -> None:
        """Look, and do what is to be done at ``now`` in s."""
        ...


class TakeoffPilot:
    """Arms, takes off to 1 m, gives control to a companion that is there; takes it back only by the autopilot's rules.

    Parameters
    ----------
    autopilot : Autopilot
    companion_heard : callable
        Whether a companion has been heard of late, at a time in s.
    height : float
        m above where it was switched on.
    gives : bool
        False: keeps control, and hovers there.
    """

    def __init__(
        self,
        autopilot: Autopilot,
        companion_heard: Callable[[float], bool],
        height: float = TAKEOFF_HEIGHT,
        gives: bool = True,
    ) -> None:
        self._autopilot, self._heard, self._height = autopilot, companion_heard, height
        self._looks, self._done, self._gave = 0.0, False, not gives

    def step(self, now: float) -> None:
        """See :class:`Pilot`."""
        pilot = self._autopilot
        if now < self._looks or self._done:
            return
        self._looks = now + PATIENCE
        if not pilot.armed:
            self._done = pilot.watch.flown
            if not self._done and self._heard(now) and pilot.arm("pilot") is None:
                pilot.take_off(self._height, "pilot")
        elif pilot.mode is Mode.HOLD and not self._gave:
            still = abs(float(pilot.estimator.state.velocity[2])) < SETTLED_SPEED
            ready = self._heard(now) and (pilot.settings.stream_before_switch == 0 or pilot.streamed_for(STREAM_TIME))
            self._gave = still and ready and pilot.switch(Mode.COMPANION, "pilot") is None


class ArmingPilot:
    """Arms once the autopilot is in the companion's mode: the companion takes off itself."""

    def __init__(self, autopilot: Autopilot) -> None:
        self._autopilot = autopilot
        self._looks, self._done = 0.0, False
        self._refusal: str | None = None

    def step(self, now: float) -> None:
        """See :class:`Pilot`. A refusal is told to everybody, once: the companion waits for this."""
        pilot = self._autopilot
        if now < self._looks or self._done:
            return
        self._looks = now + PATIENCE
        if pilot.mode is Mode.COMPANION and pilot.streamed_for(STREAM_TIME):
            refusal = pilot.arm("pilot")
            self._done = refusal is None
            if refusal is not None and refusal != self._refusal:
                pilot.note(refusal, severity=2)
            self._refusal = refusal


class SwitchPilot:
    """Of an autopilot that is flown by sticks: arms at rest, gives the override to a companion that sends channels.

    He disarms once it has flown and stands with its motors at idle.
    """

    def __init__(self, autopilot: StickAutopilot) -> None:
        self._autopilot, self._watch = autopilot, FlightWatch(autopilot.world)
        self._looks, self._given, self._idle = 0.0, False, False
        autopilot.switch(ANGLE, True)

    def step(self, now: float) -> None:
        """See :class:`Pilot`."""
        pilot = self._autopilot
        self._watch.look()
        if now < self._looks:
            return
        self._looks = now + PATIENCE
        if self._given:
            idle = self._watch.flown and pilot.world.state.contact and pilot.channels[2] <= pilot.sticks.lowest
            if idle and self._idle:  # as at the look before
                pilot.switch(ARM, False)
            self._idle = bool(idle)
            return
        if now - pilot.frame_at > PATIENCE:
            return
        if not pilot.armed:
            pilot.switch(ARM, not pilot.refusals)  # a switch that was on while it refused must be taken off first
        else:
            pilot.switch(OVERRIDE, True)
            self._given = True


class HoverPilot:
    """Holds a height with the throttle stick, by eye, in a mode that levels the vehicle.

    Parameters
    ----------
    autopilot : StickAutopilot
    height : callable
        m over time in s.
    """

    def __init__(self, autopilot: StickAutopilot, height: Callable[[float], float] = lambda now: HOVER_HEIGHT) -> None:
        self._autopilot, self._height, self._integral = autopilot, height, 0.0
        autopilot.switch(ANGLE, True)

    def step(self, now: float) -> None:
        """See :class:`Pilot`; once a tick."""
        pilot = self._autopilot
        if not pilot.armed:
            pilot.switch(ARM, not pilot.refusals)
            return
        state = pilot.world.state
        error = self._height(now) - float(state.position[2])
        self._integral += 0.1 * error * TICK
        push = 0.08 * min(error, 0.5) - 0.12 * float(state.velocity[2]) + self._integral
        if pilot.radio is not None:
            pilot.radio[2] = pilot.sticks.throttle(min(max(pilot.hover_throttle + push, 0.05), 1.0))


Action = Callable[[], str | None]
"""What a key does; the reason where it was refused."""


def mode_keys(autopilot: Autopilot) -> dict[str, tuple[str, Action]]:
    """Key -> what it does, for an autopilot with modes."""
    return {
        "a": ("arm", lambda: autopilot.arm("pilot")),
        "d": ("disarm", lambda: autopilot.disarm("pilot")),
        "t": (f"take off to {TAKEOFF_HEIGHT:g} m", lambda: autopilot.take_off(TAKEOFF_HEIGHT, "pilot")),
        "s": ("level", lambda: autopilot.switch(Mode.LEVEL, "pilot")),
        "h": ("hold position", lambda: autopilot.switch(Mode.HOLD, "pilot")),
        "g": ("companion", lambda: autopilot.switch(Mode.COMPANION, "pilot")),
        "l": ("land", lambda: autopilot.switch(Mode.LAND, "pilot")),
        "k": ("stop the motors", lambda: autopilot.disarm("pilot", force=True)),
    }


def switch_keys(autopilot: StickAutopilot) -> dict[str, tuple[str, Action]]:
    """Key -> what it does, for an autopilot with switches."""
    return {
        "a": ("arm", lambda: autopilot.switch(ARM, True)),
        "d": ("disarm", lambda: autopilot.switch(ARM, False)),
        "g": ("companion", lambda: autopilot.switch(OVERRIDE, True)),
        "h": ("sticks", lambda: autopilot.switch(OVERRIDE, False)),
    }


class Keyboard:
    """Keys of a person.

    Parameters
    ----------
    keys : mapping
        Key -> (what it does, doing it).
    read : callable
        Keys pressed since the last call.
    tell : callable
        Takes a refusal.
    """

    def __init__(
        self, keys: Mapping[str, tuple[str, Action]], read: Callable[[], str], tell: Callable[[str], None]
    ) -> None:
        self._keys, self._read, self._tell = keys, read, tell

    def step(self, now: float) -> None:
        """See :class:`Pilot`."""
        for key in self._read():
            if key in self._keys:
                what, act = self._keys[key]
                refusal = act()
                if refusal is not None:
                    self._tell(f"{what} refused: {refusal}")
