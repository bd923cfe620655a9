"""What the supervisor sees, remembers and decides."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from firmware_bridge.link import StatusReport


class Phase(StrEnum):
    """Where a flight stands."""

    DISCONNECTED = "disconnected"
    OBSERVING = "observing"
    READY = "ready"
    ARMED = "armed"
    TRACKING = "tracking"
    FADING = "fading"
    HOLDING = "holding"
    HANDING_BACK = "handing back"
    LANDED = "landed"


IN_CONTROL = frozenset({Phase.TRACKING, Phase.FADING, Phase.HOLDING})


class Output(StrEnum):
    """What goes out in a tick."""

    NOTHING = "nothing"
    IDLE = "idle"
    """Level, no thrust: the vehicle stands on the ground."""
    STAY = "stay"
    """Where it is, without a flight plan: what an autopilot wants to see before its mode is switched."""
    FOLLOW = "follow"
    """The flight plan."""
    HOLD = "hold"
    """The place where holding began, or above it when going around."""


@dataclass(frozen=True)
class Situation:
    """All that the supervisor knows in one tick."""

    now: float  # s
    connected: bool = True
    """The port is there."""
    restarted: bool = False
    """The autopilot booted anew since the last tick."""
    status: StatusReport | None = None
    position_age: float = float("inf")  # s, at most
    attitude_age: float = float("inf")  # s, at most
    height_age: float = float("inf")  # s
    """Of the height above the ground; infinite where there is none."""
    on_ground: bool = True
    """Standing, as far as height and the autopilot tell."""
    grounded: bool = False
    """In control, but not lifted yet, or at the landing's end, where the ground is asked whether it carries, or low."""
    domain_score: float = 0.0
    """0 inside the residual's data, 1 at their edge, more outside."""
    tilt: float = 0.0  # rad
    conflict: float = 0.0  # rad
    """Between the autopilot's attitude and that of motion capture."""
    descent_speed: float = 0.0  # m/s, positive downwards
    outside: float = 0.0  # m
    """By how much it is outside of the flight volume; 0 inside."""
    leaving: float = 0.0  # m/s
    """How fast it goes further outside; 0 inside."""
    jumped: bool = False
    """The estimator's position or attitude moved more than its velocity explains."""
    battery_low: bool = False
    lateness: float = 0.0  # s
    abort: bool = False
    """The abort key was pressed since the last tick."""
    stop: bool = False
    """The program ends: by the user's key, or when its time is over."""
    checks_passed: bool = True
    controller_alive: bool = True
    """The last step of the controller gave a setpoint that the link took."""
    disobedience: float = 0.0  # m/s^2
    """Thrust that is felt beyond the one that was sent, where that lasts; see ``obedience``."""
    touchdown: bool = False
    pilot_disarms: bool = False
    """The pilot's switch alone disarms, and there is no land mode that would."""
    overdue: bool = False
    """The flight plan should have ended in a touchdown long ago."""
    stuck: bool = False
    """It should have left the ground long ago."""


@dataclass(frozen=True)
class Memory:
    """What is carried from tick to tick."""

    phase: Phase = Phase.DISCONNECTED
    since: float = float("-inf")  # s
    """When the phase began."""
    locked: str = ""
    """Why nothing is sent any more until the program is started again."""
    share: float = 0.0
    """Of the network in the control law."""
    updated: float | None = None  # s
    fresh: float = float("-inf")  # s
    """When the state was last young enough."""
    calm: float = float("-inf")  # s
    """Since when no reason to fade has been there."""
    granted: bool = False
    """Whether the mode that follows setpoints has been seen while ready."""
    touched_down: bool = False
    """Whether our landing has ended on the ground; what is left is to disarm."""
    was_armed: bool = False
    """Whether the vehicle has been armed since the program began."""
    asked: float = float("-inf")  # s
    """When the last request was made in this phase."""
    requests: int = 0
    """Made in this phase."""

    @property
    def followed(self) -> bool:
        """Whether the autopilot may follow what we sent last: then it has to take over before the program ends."""
        landed = self.phase is Phase.LANDED and not self.locked
        return self.phase in IN_CONTROL or self.phase is Phase.HANDING_BACK or landed


@dataclass(frozen=True)
class Decision:
    """What is to be done in this tick."""

    memory: Memory
    output: Output
    network_share: float
    """0..1"""
    take_control: bool = False
    arm: bool = False
    hand_back: bool = False
    disarm: bool = False
    go_around: bool = False
    entered: bool = False
    """Whether the phase began, or was locked, in this tick."""
    reason: str = ""
    """Of the transition; in observing without one, what stands in the way."""

    @property
    def phase(self) -> Phase:
        """The phase after this tick."""
        return self.memory.phase
