"""What an emulated autopilot does and can be told: modes, settings, setpoints."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from neural_lander.components import Vector

TICK = 1 / 400  # s, main loop of ArduCopter
LONGEST_PAUSE = 0.25  # s that a process may have been suspended for and is caught up with


class Mode(Enum):
    """What the autopilot does, under its own name in each protocol."""

    LEVEL = "level"
    """Level at hover throttle: a pilot with centred sticks."""
    HOLD = "hold"
    TAKEOFF = "takeoff"
    COMPANION = "companion"
    LAND = "land"


class OnLoss(Enum):
    """What happens when setpoints stop in the companion's mode."""

    HOLD = "hold"
    LAND = "land"
    LEVEL = "level"
    """Stay in the mode, level, climb rate zero: position drifts (ArduCopter)."""


@dataclass
class Settings:
    """What parameters of the autopilot can change while it runs."""

    setpoint_timeout: float  # s
    on_loss: OnLoss
    stream_before_switch: float = 0.0  # s
    """How long setpoints must have been coming before the companion's mode is accepted; while disarmed the mode is, and
    arming in it is not."""
    thrust_is_climb_rate: bool = False
    climb_speed: float = 2.5  # m/s at thrust 1, WPNAV_SPEED_UP
    sink_speed: float = 1.5  # m/s at thrust 0, WPNAV_SPEED_DN
    spool_time: float = 1.0  # s
    """From arming to the first thrust: COM_SPOOLUP_TIME of PX4."""
    disarm_delay: float = 2.0  # s on the ground before it disarms by itself
    land_disarm_delay: float = 0.0  # s, the same in the landing mode
    thrust_curve: float = 0.0
    """Its belief of e in T/T_full = (1 - e) s + e s^2, with s the signal to the motors."""
    lands_in_companions_mode: bool = True
    """Whether it notices that it stands while it follows setpoints. ArduCopter does not: its land detector wants a
    descent that its own altitude control has asked for. Nor does it then let itself be disarmed."""
    landed_share: float = 0.45
    """Of the weight; with more thrust than that it does not believe that it stands. PX4's low-thrust threshold."""
    pilot_arms_in_companions_mode: bool = True
    """Whether the transmitter may arm in the mode that follows setpoints (ArduCopter: GUID_OPTIONS bit 0)."""
    minds_take_off_by_thrust: bool = False
    """Whether a companion's take-off by thrust is an internal error, after which it does not arm until it is restarted
    (ArduCopter 4.5: its land detector was not told)."""
    boosts_tilt: bool = False
    """Whether it divides thrust by the cosine of the tilt (ArduPilot's angle boost)."""


@dataclass(frozen=True)
class Demand:
    """One setpoint as it came in, in our frames."""

    received: float  # s
    thrust: float  # 0..1
    attitude: Vector | None = None  # (4,) body to world
    rates: Vector | None = None  # (3,) rad/s, body
