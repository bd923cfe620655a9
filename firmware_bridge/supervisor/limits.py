"""The numbers that the supervisor decides by, and what the user permits."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from firmware_bridge.estimation.estimator import PROPAGATED
from neural_lander.errors import UserError

LATE_PERIODS = 1.5  # a tick that is left out makes the next one late by one; guess


@dataclass(frozen=True)
class Permission:
    """What the user has allowed."""

    observe: bool = False
    """Look and log; nothing is ever sent."""
    take_control: bool = False
    """Ask for the mode that follows setpoints, while disarmed. Without it the pilot's switch alone gives control. Where
    arming is asked for too, the user has confirmed both."""
    arm: bool = False
    """Ask to arm: the flag was given and the user has confirmed it, both."""


@dataclass(frozen=True)
class Limits:
    """Every value here is a guess of what suits a small quadrotor at a landing, unless its line says otherwise."""

    state_age: float = 0.05  # s
    """Oldest position or attitude that a setpoint is made from: at 0.3 m/s the vehicle moves 15 mm in it. Streams
    of 30 Hz and more stay below it; the link's delay counts."""
    stale_time: float = 0.25  # s
    """Without a fresh state, until we hand back: half of what the autopilot itself may wait for (``LONGEST_LOSS``)."""
    status_age: float = 3.0  # s
    """Heartbeats come at 1 Hz: three in a row are missing then."""
    height_age: float = 0.2  # s
    """Oldest height that the network is used with: rangefinders give 10 to 50 Hz."""
    height_loss: float = 1.0  # s
    """Without height, until a flight does not begin."""
    domain_score: float = 1.0
    """Beyond it the network is faded out. A bundle's model fades by itself from the edge, 1, to the score where nothing
    is left of it: there this is that score."""
    share_time: float = 0.5  # s
    """From the whole network to none of it: slower than the attitude loop, faster than a descent of 0.2 m."""
    recovery_time: float = 0.5  # s
    """Without a reason to fade, until the network comes back."""
    height_hold: float = 3.0  # s
    """Without height, until the descent stops: enough to finish one of 0.9 m over the ground that was last known."""
    hold_time: float = 5.0  # s
    """Enough to switch by hand."""
    disarm_time: float = 3.0  # s
    """After touchdown, until the autopilot's own land mode is asked to finish: ArduCopter sees no landing in guided."""
    tilt: float = math.radians(50.0)  # rad
    """The controller asks for 35 degrees at most; beyond this something is broken."""
    conflict: float = math.radians(10.0)  # rad
    """Between two attitudes of one vehicle: a wrong axis or order shows once it tilts by this or by half of it."""
    descent_speed: float = 1.0  # m/s
    """Three times the landing speed."""
    outside: float = 0.5  # m
    """Beyond the flight volume, until we hand back: what leaves it at 1 m/s holds well within that."""
    leaving: float = 1.5  # m/s
    """Outwards and already beyond it: no hold would stop that within ``outside``, and no flight plan is so fast."""
    lateness: float = 0.02  # s
    """At slow rates more, see :func:`lateness_at`: one tick that is left out shall not take the network away."""
    worst_lateness: float = 0.25  # s
    """As ``stale_time``: for so long the autopilot has flown by one setpoint."""
    lead_time: float = 1.5  # s
    """Setpoints before the mode is asked for: PX4 wants more than 1 s of them at more than 2 Hz."""
    request_period: float = 1.0  # s
    request_repeats: int = 5
    """Of every request except handing back, which is repeated until it is heard."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not 0 < value < math.inf:
                raise UserError(f"limit {field.name} = {value!r} must be positive and finite")
        if self.state_age > PROPAGATED:
            raise UserError(
                f"limit state_age = {self.state_age:g} s is more than the {PROPAGATED:g} s a state is moved on: "
                "raise the streams' rates or the line's speed"
            )


def lateness_at(rate: float) -> float:
    """Limit on lateness in s of ticks at ``rate`` in Hz."""
    return max(Limits.lateness, LATE_PERIODS / rate)
