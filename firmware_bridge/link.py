"""What the loop and an autopilot say to each other. One file per autopilot implements :class:`Link`.

Frames are the project's own: world ENU with z up, body FLU, quaternions ``(w, x, y, z)`` from body to world, SI. A link
converts at its edge and nowhere else. Times are seconds of the companion's monotonic clock: ``t`` is when a thing was
true, as well as the link knows (its measured delay subtracted), ``received`` when its last byte came in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np


class LinkLost(ConnectionError):
    """The port vanished or the other end hung up; the message says which port and what to look at."""


@dataclass(frozen=True, eq=False)
class PositionReport:
    """Where the autopilot's estimator believes the vehicle to be."""

    t: float  # s
    received: float  # s
    position: np.ndarray  # (3,) m, world, relative to the autopilot's own origin
    velocity: np.ndarray  # (3,) m/s, world
    error: float = 0.0  # s by which it may be older than ``t`` says


@dataclass(frozen=True, eq=False)
class AttitudeReport:
    """Attitude and body rates."""

    t: float  # s
    received: float  # s
    attitude: np.ndarray  # (4,) unit quaternion (w, x, y, z), body to world
    body_rates: np.ndarray  # (3,) rad/s, body
    error: float = 0.0  # s by which it may be older than ``t`` says
    conflict: float = 0.0  # rad by which motion capture says otherwise; 0 where nobody else tells one


@dataclass(frozen=True, eq=False)
class ImuReport:
    """Accelerometer and gyroscope."""

    t: float  # s
    received: float  # s
    specific_force: np.ndarray  # (3,) m/s^2, body, +9.81 along z at rest
    body_rates: np.ndarray  # (3,) rad/s, body


@dataclass(frozen=True)
class RangeReport:
    """One measurement of a downward rangefinder, along its own axis."""

    t: float  # s
    received: float  # s
    distance: float  # m
    valid: bool
    """Whether the sensor itself says that the value is good (range limits, signal quality)."""


@dataclass(frozen=True, eq=False)
class RotorReport:
    """Measured rotor speeds, in the rotor order of the vehicle profile."""

    t: float  # s
    received: float  # s
    rotor_speed: np.ndarray  # (4,) rad/s


@dataclass(frozen=True)
class BatteryReport:
    """Battery at the autopilot's terminals."""

    received: float  # s
    voltage: float  # V
    remaining: float | None = None  # 0..1


@dataclass(frozen=True)
class ThrottleReport:
    """Collective thrust that the autopilot itself commands, whoever flies: what a calibration needs."""

    t: float  # s
    received: float  # s
    fraction: float
    """0..1 of full thrust, in the unit of the link's own setpoints."""


@dataclass(frozen=True)
class AltitudeReport:
    """The autopilot's barometric altitude: to be shown, and to tell a hover from a climb, never to land by."""

    received: float  # s
    altitude: float  # m, over where it was armed or switched on
    climb: float  # m/s


@dataclass(frozen=True)
class StatusReport:
    """What the autopilot says of itself. Arming and mode are believed from here alone, never from what was asked."""

    received: float  # s
    armed: bool
    mode: str
    """The autopilot's own name of its mode."""
    accepts_setpoints: bool
    """Whether it is in the mode in which it follows the companion (PX4 OFFBOARD, ArduPilot GUIDED, an MSP override)."""
    landed: bool | None = None
    """Its own opinion; None where it has none."""
    arming_refusals: tuple[str, ...] = ()
    """Why it does not arm, in its own words."""
    fault: str = ""
    """Why it should not fly on, in its own words: control is handed back. Not a pilot's takeover. MSP tells none: a
    failsafe there is a mode, which takes the sticks from us."""
    failsafe: bool | None = None
    """Whether one of its failsafes is what has left the mode that follows setpoints; None where that cannot be told."""


@dataclass(frozen=True)
class RestartReport:
    """The autopilot booted anew: its time or its sequence numbers began again."""

    received: float  # s
    reason: str


@dataclass(frozen=True)
class TextReport:
    """A line that the autopilot wants its user to read."""

    received: float  # s
    severity: int
    """0 emergency to 7 debug, as in syslog."""
    text: str


Report = (
    PositionReport
    | AttitudeReport
    | ImuReport
    | RangeReport
    | RotorReport
    | BatteryReport
    | ThrottleReport
    | AltitudeReport
    | StatusReport
    | RestartReport
    | TextReport
)


@dataclass(frozen=True, eq=False)
class AttitudeSetpoint:
    """Attitude and collective thrust."""

    attitude: np.ndarray  # (4,) unit quaternion (w, x, y, z), body to world
    thrust: float  # N, collective, along body z
    yaw_rate: float = 0.0  # rad/s


@dataclass(frozen=True, eq=False)
class RatesSetpoint:
    """Body rates and collective thrust."""

    body_rates: np.ndarray  # (3,) rad/s, body
    thrust: float  # N, collective, along body z


Setpoint = AttitudeSetpoint | RatesSetpoint


@dataclass(frozen=True)
class Capabilities:
    """What a link can carry."""

    name: str
    rates_setpoints: bool
    """Whether it takes body rates, beside the attitude that every link takes."""
    rotor_speed: bool
    position: bool
    """False where position must come from elsewhere (motion capture)."""
    arming: bool = True
    """False where the pilot's radio alone can arm."""
    keeps_mode: bool = False
    """Whether the mode that :meth:`Link.take_control` asks for outlasts this program."""


@dataclass(frozen=True)
class CheckResult:
    """Verdict of one pre-flight check."""

    name: str
    passed: bool
    finding: str
    """What was read, with its value; and the remedy where it did not pass."""


class Link(Protocol):
    """One autopilot behind one port.

    No method blocks for longer than a write. ``poll`` is called every tick and does all the bookkeeping: heartbeats,
    time synchronisation, requests that have to be repeated.
    """

    capabilities: Capabilities

    def poll(self, now: float) -> Sequence[Report]:
        """Everything that came in since the last call, in the order of arrival.

        Raises
        ------
        LinkLost
            Where the port is gone.
        """
        ...

    def send(self, setpoint: Setpoint, now: float) -> bool:
        """Write one setpoint; False where there was no room for it, and nothing went out.

        Refuses with UserError what is not finite, not unit, or out of the thrust range.

        Raises
        ------
        LinkLost, UserError
        """
        ...

    def arm(self, now: float) -> None:
        """Ask to arm. Only the supervisor calls this, and only where the user gave the flag and confirmed it."""
        ...

    def take_control(self, now: float) -> None:
        """Ask for the mode in which setpoints are followed."""
        ...

    def hand_back(self, now: float) -> None:
        """Ask the autopilot to land by itself; where the protocol has no such request, release the override."""
        ...

    def disarm(self, now: float) -> None:
        """Ask to disarm: after touchdown only."""
        ...

    def preflight(self) -> Sequence[CheckResult]:
        """Parameters of the autopilot that decide whether our setpoints mean what we think; as read so far."""
        ...

    def quality(self) -> tuple[str, str]:
        """How well it is heard, in words for the display: how much comes, and how fast and how whole it is."""
        ...

    def close(self) -> None:
        """Release the port. Sends nothing."""
        ...
