"""The pilot of an emulated vehicle: a script, or a person at the emulator's own terminal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from firmware_bridge.emulator.autopilot import Autopilot, Mode

TAKEOFF_HEIGHT = 1.0  # m
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
    """

    def __init__(
        self, autopilot: Autopilot, companion_heard: Callable[[float], bool], height: float = TAKEOFF_HEIGHT
    ) -> None:
        self._autopilot, self._heard, self._height = autopilot, companion_heard, height
        self._looks, self._done, self._gave = 0.0, False, False

    def step(self, now: float) -> None:
        """See :class:`Pilot`."""
        pilot = self._autopilot
        if now < self._looks or self._done:
            return
        self._looks = now + PATIENCE
        if not pilot.armed:
            self._done = pilot.flown
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

    def step(self, now: float) -> None:
        """See :class:`Pilot`."""
        pilot = self._autopilot
        if now < self._looks or self._done:
            return
        self._looks = now + PATIENCE
        if pilot.mode is Mode.COMPANION and pilot.streamed_for(STREAM_TIME):
            self._done = pilot.arm("pilot") is None


class Keyboard:
    """Keys of a person.

    Parameters
    ----------
    autopilot : Autopilot
    read : callable
        Keys pressed since the last call.
    """

    KEYS: Mapping[str, str] = {
        "a": "arm", "d": "disarm", "t": "take off to 1 m", "s": "level", "h": "hold position", "g": "companion",
        "l": "land", "k": "stop the motors",
    }  # fmt: skip

    def __init__(self, autopilot: Autopilot, read: Callable[[], str]) -> None:
        self._autopilot, self._read = autopilot, read

    def step(self, now: float) -> None:
        """See :class:`Pilot`."""
        for key in self._read():
            refusal = self._press(key)
            if refusal is not None:
                self._autopilot.note(f"refused: {refusal}")

    def _press(self, key: str) -> str | None:
        pilot = self._autopilot
        modes = {"s": Mode.LEVEL, "h": Mode.HOLD, "g": Mode.COMPANION, "l": Mode.LAND}
        if key in modes:
            return pilot.switch(modes[key], "pilot")
        if key == "a":
            return pilot.arm("pilot")
        if key in ("d", "k"):
            return pilot.disarm("pilot", force=key == "k")
        return pilot.take_off(TAKEOFF_HEIGHT, "pilot") if key == "t" else None
