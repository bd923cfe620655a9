"""What autopilots do differently: modes, streams, parameters, and what these must be; and checks that all share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from firmware_bridge.link import CheckResult
from firmware_bridge.thrust import VOLTAGE_EXPONENT, ThrustMap
from neural_lander.errors import UserError
from neural_lander.vehicle import Vehicle

LONGEST_LOSS = 0.5
"""s that an autopilot may hold our last setpoint after we died; a guess for a landing: a thrust that was a fifth of the
weight short makes 1 m/s of it. By default PX4 waits for 1 s, ArduPilot for 3 s."""
HOVER_RATIO = 2.0  # between measured and expected hover fraction, either way; a guess: a wrong vehicle or battery
STATUS_RATE = 10.0  # 1/s of HEARTBEAT: at its usual 1 Hz the pilot's switch is seen up to a second late; a guess

Values = Mapping[str, float | None]


@dataclass(frozen=True)
class HeightReference:
    """Which sensor an autopilot's height is that of in the long run."""

    parameter: str
    sources: Mapping[float, str]
    """Value -> what it is."""
    good: int
    """The value of motion capture: only then does a declared floor stay where it is."""
    fusion: tuple[str, int] | None = None
    """Parameter and bit by which that sensor's height is taken in at all."""


@dataclass(frozen=True)
class Autopilot:
    """One kind of autopilot."""

    name: str
    identity: int
    """MAV_AUTOPILOT in its HEARTBEAT."""
    bitwise_parameters: bool
    """Whether integers lie bit by bit in PARAM_VALUE."""
    raw_imu_is_scaled: bool
    """Whether RAW_IMU is in milli-g and mrad/s after all."""
    stream_before_switch: float  # s
    """How long setpoints must have been coming before its mode can be asked for."""
    control_mode: tuple[float, float]
    """Parameters 2 and 3 of DO_SET_MODE for the mode that follows us."""
    land_mode: tuple[float, float]
    mode_name: Callable[[int], str]
    """Of HEARTBEAT.custom_mode."""
    follows: Callable[[int], bool]
    """Whether that mode follows setpoints."""
    fast: tuple[tuple[int, ...], ...]
    """Messages wanted at the fast rate; of each group the first that is not denied."""
    slow: Mapping[int, float]
    """Messages wanted at other rates, in 1/s."""
    parameters: tuple[str, ...]
    checks: Callable[[Values, Vehicle], Sequence[CheckResult]]
    thrust_map: Callable[[Values, Vehicle], ThrustMap]
    """Raises UserError while it cannot be known."""
    critical_in_failsafe_alone: bool
    """Whether MAV_STATE_CRITICAL says that a failsafe is active, and nothing else."""
    height: HeightReference
    boosts_tilt: Callable[[Values], bool]
    """Whether it divides the fraction by the cosine of the tilt."""


def required(values: Values, name: str) -> float:
    """Value of a parameter that nothing is sent without."""
    value = values.get(name)
    if value is None:
        raise UserError(f"parameter {name} has not been read from the autopilot, and nothing is sent without it")
    return value


def number(values: Values, name: str, default: float) -> float:
    """Value of a parameter, or a default where it is not there."""
    value = values.get(name)
    return default if value is None else value


def hover_map(values: Values, hover: str, vehicle: Vehicle, curve: float, corrected: bool) -> ThrustMap:
    """Thrust by the hover throttle that the autopilot has learned, and its curve of the motors.

    ``corrected``: whether it makes up for the battery's voltage itself.
    """
    return ThrustMap(
        required(values, hover),
        vehicle.weight,
        autopilot_curve=curve,
        motor_curve=curve,
        voltage_exponent=0.0 if corrected else VOLTAGE_EXPONENT,
    )


def unread(name: str) -> CheckResult:
    """Verdict on a parameter that did not come."""
    return CheckResult(name, False, f"{name} could not be read; look at the line and at the firmware's version")


def loss_check(values: Values, name: str) -> CheckResult:
    """For how long it may hold our last setpoint after we fall silent."""
    value = values.get(name)
    if value is None:
        return unread(name)
    words = f"{name} = {value:g} s: after we fall silent it holds our last setpoint for that long"
    remedy = "" if value <= LONGEST_LOSS else f"; set it to {LONGEST_LOSS:g} s or less: a landing is soon over"
    return CheckResult(name, value <= LONGEST_LOSS, words + remedy)


def hover_check(values: Values, name: str, vehicle: Vehicle) -> CheckResult:
    """The profile's mass against the autopilot's hover throttle."""
    value = values.get(name)
    if value is None:
        return unread(name)
    expected = vehicle.weight / vehicle.full_thrust
    fits = expected / HOVER_RATIO <= value <= expected * HOVER_RATIO
    words = f"{name} = {value:.3g}; the profile of '{vehicle.name}' hovers at {expected:.3g} of its full thrust"
    return CheckResult(name, fits, words + ("" if fits else "; mass, rotors or profile are not this vehicle's"))
