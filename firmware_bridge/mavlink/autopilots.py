"""What PX4 and ArduPilot do differently: modes, streams, parameters, and what these must be."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pymavlink.dialects.v20 import ardupilotmega as dialect

from firmware_bridge.link import CheckResult
from firmware_bridge.mavlink.framing import ESC_STATUS
from firmware_bridge.thrust import VOLTAGE_EXPONENT, ThrustMap
from neural_lander.errors import UserError
from neural_lander.vehicle import Vehicle

LONGEST_LOSS = 0.5
"""s that an autopilot may hold our last setpoint after we died; a guess for a landing: a thrust that was a fifth of the
weight short makes 1 m/s of it. By default PX4 waits for 1 s, ArduPilot for 3 s."""
HOVER_RATIO = 2.0  # between measured and expected hover fraction, either way; a guess: a wrong vehicle or battery
STATUS_RATE = 10.0  # 1/s of HEARTBEAT: at its usual 1 Hz the pilot's switch is seen up to a second late; a guess
THRUST_AS_THRUST = 8  # GUID_OPTIONS bit 3, "SetAttitudeTarget interprets Thrust As Thrust"

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


def missing(names: Sequence[str], values: Values) -> list[str]:
    """Names that have no value yet."""
    return [name for name in names if values.get(name) is None]


def _required(values: Values, name: str) -> float:
    value = values.get(name)
    if value is None:
        raise UserError(f"parameter {name} has not been read from the autopilot, and nothing is sent without it")
    return value


def _number(values: Values, name: str, default: float) -> float:
    value = values.get(name)
    return default if value is None else value


def _unread(name: str) -> CheckResult:
    return CheckResult(name, False, f"{name} could not be read; look at the line and at the firmware's version")


def _loss_check(values: Values, name: str) -> CheckResult:
    value = values.get(name)
    if value is None:
        return _unread(name)
    words = f"{name} = {value:g} s: after we fall silent it holds our last setpoint for that long"
    remedy = "" if value <= LONGEST_LOSS else f"; set it to {LONGEST_LOSS:g} s or less: a landing is soon over"
    return CheckResult(name, value <= LONGEST_LOSS, words + remedy)


def _hover_check(values: Values, name: str, vehicle: Vehicle) -> CheckResult:
    """The profile's mass against the autopilot's hover throttle."""
    value = values.get(name)
    if value is None:
        return _unread(name)
    expected = vehicle.weight / vehicle.full_thrust
    fits = expected / HOVER_RATIO <= value <= expected * HOVER_RATIO
    words = f"{name} = {value:.3g}; the profile of '{vehicle.name}' hovers at {expected:.3g} of its full thrust"
    return CheckResult(name, fits, words + ("" if fits else "; mass, rotors or profile are not this vehicle's"))


# --- PX4 -------------------------------------------------------------------------------------------------------------
# https://docs.px4.io/main/en/advanced_config/parameter_reference and px4_custom_mode.h

_PX4_MODES = {
    1: "MANUAL", 2: "ALTCTL", 3: "POSCTL", 4: "AUTO", 5: "ACRO", 6: "OFFBOARD", 7: "STABILIZED", 8: "RATTITUDE",
}  # fmt: skip
_PX4_AUTO = {
    1: "READY", 2: "TAKEOFF", 3: "LOITER", 4: "MISSION", 5: "RTL", 6: "LAND", 8: "FOLLOW_TARGET", 9: "PRECLAND",
}  # fmt: skip
_PX4_OFFBOARD, _PX4_AUTO_MAIN, _PX4_AUTO_LAND = 6, 4, 6
_PX4_ON_LOSS = {
    0: "Position mode", 1: "Altitude mode", 2: "Manual mode", 3: "Return", 4: "Land", 5: "Hold", 6: "Terminate",
    7: "Disarm",
}  # fmt: skip
_PX4_BAD_ON_LOSS = (3, 6, 7)  # it climbs in a room, or falls


def _px4_mode(custom: int) -> str:
    main, sub = custom >> 16 & 0xFF, custom >> 24 & 0xFF
    name = _PX4_MODES.get(main, f"main mode {main}")
    return f"AUTO.{_PX4_AUTO.get(sub, sub)}" if main == _PX4_AUTO_MAIN else name


def _px4_checks(values: Values, vehicle: Vehicle) -> Sequence[CheckResult]:
    action, curve = values.get("COM_OBL_RC_ACT"), values.get("THR_MDL_FAC")
    results = [_loss_check(values, "COM_OF_LOSS_T"), _hover_check(values, "MPC_THR_HOVER", vehicle)]
    if action is None:
        results.append(_unread("COM_OBL_RC_ACT"))
    else:
        good = action not in _PX4_BAD_ON_LOSS
        words = f"COM_OBL_RC_ACT = {action:g}: then it goes to {_PX4_ON_LOSS.get(int(action), 'an unknown action')}"
        results.append(CheckResult("COM_OBL_RC_ACT", good, words + ("" if good else "; set 4 (Land) or 0 (Position)")))
    if curve is not None:
        words = "as proportional to thrust" if curve == 0 else "by that curve"
        results.append(
            CheckResult("THR_MDL_FAC", True, f"THR_MDL_FAC = {curve:g}: PX4 takes the motors' signal {words}")
        )
    return results


def _px4_thrust(values: Values, vehicle: Vehicle) -> ThrustMap:
    curve = _number(values, "THR_MDL_FAC", 0.0)
    corrected = _number(values, "MC_BAT_SCALE_EN", 0.0) != 0
    return ThrustMap(
        _required(values, "MPC_THR_HOVER"),
        vehicle.weight,
        autopilot_curve=curve,
        motor_curve=curve,
        voltage_exponent=0.0 if corrected else VOLTAGE_EXPONENT,
    )


PX4 = Autopilot(
    name="PX4",
    identity=dialect.MAV_AUTOPILOT_PX4,
    bitwise_parameters=True,
    raw_imu_is_scaled=False,
    stream_before_switch=1.0,
    control_mode=(_PX4_OFFBOARD, 0),
    land_mode=(_PX4_AUTO_MAIN, _PX4_AUTO_LAND),
    mode_name=_px4_mode,
    follows=lambda custom: custom >> 16 & 0xFF == _PX4_OFFBOARD,
    fast=(
        (dialect.MAVLINK_MSG_ID_LOCAL_POSITION_NED,),
        (dialect.MAVLINK_MSG_ID_ATTITUDE_QUATERNION, dialect.MAVLINK_MSG_ID_ATTITUDE),
        (dialect.MAVLINK_MSG_ID_HIGHRES_IMU, dialect.MAVLINK_MSG_ID_SCALED_IMU),
    ),
    slow={
        dialect.MAVLINK_MSG_ID_DISTANCE_SENSOR: 50.0,
        ESC_STATUS: 50.0,
        dialect.MAVLINK_MSG_ID_BATTERY_STATUS: 5.0,
        dialect.MAVLINK_MSG_ID_EXTENDED_SYS_STATE: 5.0,
        dialect.MAVLINK_MSG_ID_SYS_STATUS: 2.0,
        dialect.MAVLINK_MSG_ID_SYSTEM_TIME: 2.0,
    },
    parameters=(
        "MPC_THR_HOVER",
        "COM_OF_LOSS_T",
        "COM_OBL_RC_ACT",
        "THR_MDL_FAC",
        "MC_BAT_SCALE_EN",
        "EKF2_HGT_REF",
        "EKF2_EV_CTRL",
    ),
    checks=_px4_checks,
    thrust_map=_px4_thrust,
    critical_in_failsafe_alone=True,
    height=HeightReference(
        "EKF2_HGT_REF",
        {0: "the barometer", 1: "GPS", 2: "the rangefinder", 3: "vision"},
        good=3,
        fusion=("EKF2_EV_CTRL", 2),
    ),
    boosts_tilt=lambda values: False,
)

# --- ArduPilot -------------------------------------------------------------------------------------------------------
# https://ardupilot.org/copter/docs/parameters.html and ArduCopter/mode.h

_COPTER_MODES = {
    0: "STABILIZE", 1: "ACRO", 2: "ALT_HOLD", 3: "AUTO", 4: "GUIDED", 5: "LOITER", 6: "RTL", 7: "CIRCLE", 9: "LAND",
    11: "DRIFT", 13: "SPORT", 14: "FLIP", 15: "AUTOTUNE", 16: "POSHOLD", 17: "BRAKE", 18: "THROW", 19: "AVOID_ADSB",
    20: "GUIDED_NOGPS", 21: "SMART_RTL", 22: "FLOWHOLD", 23: "FOLLOW", 24: "ZIGZAG", 25: "SYSTEMID", 26: "AUTOROTATE",
    27: "AUTO_RTL", 28: "TURTLE",
}  # fmt: skip
_GUIDED, _GUIDED_NOGPS, _LAND = 4, 20, 9


def _ardupilot_checks(values: Values, vehicle: Vehicle) -> Sequence[CheckResult]:
    options, filtered = values.get("GUID_OPTIONS"), _number(values, "PILOT_THR_FILT", 0.0)
    if options is None:
        thrust = _unread("GUID_OPTIONS")
    elif int(options) & THRUST_AS_THRUST:
        thrust = CheckResult("GUID_OPTIONS", True, f"GUID_OPTIONS = {options:g}: thrust means thrust")
    else:
        words = (
            f"GUID_OPTIONS = {options:g}: thrust would mean a climb rate; set it to {int(options) | THRUST_AS_THRUST}"
        )
        thrust = CheckResult("GUID_OPTIONS", False, words)
    results = [thrust, _loss_check(values, "GUID_TIMEOUT"), _hover_check(values, "MOT_THST_HOVER", vehicle)]
    if filtered > 0:
        words = f"PILOT_THR_FILT = {filtered:g} Hz: our thrust is filtered by it too; set it to 0"
        results.append(CheckResult("PILOT_THR_FILT", False, words))
    if values.get("MOT_THST_EXPO") is None:
        results.append(_unread("MOT_THST_EXPO"))
    return results


def _ardupilot_thrust(values: Values, vehicle: Vehicle) -> ThrustMap:
    """ArduPilot corrects for the battery where MOT_BAT_VOLT_MAX is given."""
    if not int(_required(values, "GUID_OPTIONS")) & THRUST_AS_THRUST:
        raise UserError(
            f"GUID_OPTIONS = {values['GUID_OPTIONS']:g}: ArduPilot would read thrust as a climb rate; "
            f"nothing is sent until bit 3 (value {THRUST_AS_THRUST}) is set"
        )
    curve = _required(values, "MOT_THST_EXPO")
    corrected = _number(values, "MOT_BAT_VOLT_MAX", 0.0) > 0
    return ThrustMap(
        _required(values, "MOT_THST_HOVER"),
        vehicle.weight,
        autopilot_curve=curve,
        motor_curve=curve,
        voltage_exponent=0.0 if corrected else VOLTAGE_EXPONENT,
    )


ARDUPILOT = Autopilot(
    name="ArduPilot",
    identity=dialect.MAV_AUTOPILOT_ARDUPILOTMEGA,
    bitwise_parameters=False,
    raw_imu_is_scaled=True,
    stream_before_switch=0.0,
    control_mode=(_GUIDED, 0),
    land_mode=(_LAND, 0),
    mode_name=lambda custom: _COPTER_MODES.get(custom, f"mode {custom}"),
    follows=lambda custom: custom in (_GUIDED, _GUIDED_NOGPS),
    fast=(
        (dialect.MAVLINK_MSG_ID_LOCAL_POSITION_NED,),
        (dialect.MAVLINK_MSG_ID_ATTITUDE_QUATERNION, dialect.MAVLINK_MSG_ID_ATTITUDE),
        (dialect.MAVLINK_MSG_ID_HIGHRES_IMU, dialect.MAVLINK_MSG_ID_RAW_IMU, dialect.MAVLINK_MSG_ID_SCALED_IMU),
    ),
    slow={
        dialect.MAVLINK_MSG_ID_HEARTBEAT: STATUS_RATE,
        dialect.MAVLINK_MSG_ID_DISTANCE_SENSOR: 50.0,
        dialect.MAVLINK_MSG_ID_ESC_TELEMETRY_1_TO_4: 50.0,
        dialect.MAVLINK_MSG_ID_BATTERY_STATUS: 5.0,
        dialect.MAVLINK_MSG_ID_EXTENDED_SYS_STATE: 5.0,
        dialect.MAVLINK_MSG_ID_SYS_STATUS: 2.0,
        dialect.MAVLINK_MSG_ID_SYSTEM_TIME: 2.0,
    },
    parameters=(
        "GUID_OPTIONS",
        "GUID_TIMEOUT",
        "MOT_THST_HOVER",
        "MOT_THST_EXPO",
        "MOT_BAT_VOLT_MAX",
        "ATC_ANGLE_BOOST",
        "PILOT_THR_FILT",
        "EK3_SRC1_POSZ",
    ),
    checks=_ardupilot_checks,
    thrust_map=_ardupilot_thrust,
    critical_in_failsafe_alone=False,
    height=HeightReference(
        "EK3_SRC1_POSZ",
        {0: "nothing", 1: "the barometer", 2: "the rangefinder", 3: "GPS", 4: "a beacon", 6: "external navigation"},
        good=6,
    ),
    boosts_tilt=lambda values: _number(values, "ATC_ANGLE_BOOST", 1.0) != 0,
)

AUTOPILOTS: Mapping[int, Autopilot] = {kind.identity: kind for kind in (PX4, ARDUPILOT)}
