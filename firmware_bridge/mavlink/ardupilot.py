"""ArduCopter as a MAVLink autopilot.

https://ardupilot.org/copter/docs/parameters.html and ArduCopter/mode.h
"""

from __future__ import annotations

from collections.abc import Sequence

from pymavlink.dialects.v20 import ardupilotmega as dialect

from firmware_bridge.link import CheckResult
from firmware_bridge.mavlink.autopilot import (
    STATUS_RATE,
    Autopilot,
    HeightReference,
    Values,
    hover_check,
    hover_map,
    loss_check,
    number,
    required,
    unread,
)
from firmware_bridge.thrust import ThrustMap
from neural_lander.errors import UserError
from neural_lander.vehicle import Vehicle

THRUST_AS_THRUST = 8  # GUID_OPTIONS bit 3, "SetAttitudeTarget interprets Thrust As Thrust"

_MODES = {
    0: "STABILIZE", 1: "ACRO", 2: "ALT_HOLD", 3: "AUTO", 4: "GUIDED", 5: "LOITER", 6: "RTL", 7: "CIRCLE", 9: "LAND",
    11: "DRIFT", 13: "SPORT", 14: "FLIP", 15: "AUTOTUNE", 16: "POSHOLD", 17: "BRAKE", 18: "THROW", 19: "AVOID_ADSB",
    20: "GUIDED_NOGPS", 21: "SMART_RTL", 22: "FLOWHOLD", 23: "FOLLOW", 24: "ZIGZAG", 25: "SYSTEMID", 26: "AUTOROTATE",
    27: "AUTO_RTL", 28: "TURTLE",
}  # fmt: skip
_GUIDED, _GUIDED_NOGPS, _LAND = 4, 20, 9


def _checks(values: Values, vehicle: Vehicle) -> Sequence[CheckResult]:
    options, filtered = values.get("GUID_OPTIONS"), number(values, "PILOT_THR_FILT", 0.0)
    if options is None:
        thrust = unread("GUID_OPTIONS")
    elif int(options) & THRUST_AS_THRUST:
        thrust = CheckResult("GUID_OPTIONS", True, f"GUID_OPTIONS = {options:g}: thrust means thrust")
    else:
        words = (
            f"GUID_OPTIONS = {options:g}: thrust would mean a climb rate; set it to {int(options) | THRUST_AS_THRUST}"
        )
        thrust = CheckResult("GUID_OPTIONS", False, words)
    results = [thrust, loss_check(values, "GUID_TIMEOUT"), hover_check(values, "MOT_THST_HOVER", vehicle)]
    if filtered > 0:
        words = f"PILOT_THR_FILT = {filtered:g} Hz: our thrust is filtered by it too; set it to 0"
        results.append(CheckResult("PILOT_THR_FILT", False, words))
    if values.get("MOT_THST_EXPO") is None:
        results.append(unread("MOT_THST_EXPO"))
    return results


def _thrust(values: Values, vehicle: Vehicle) -> ThrustMap:
    """ArduPilot corrects for the battery where MOT_BAT_VOLT_MAX is given."""
    if not int(required(values, "GUID_OPTIONS")) & THRUST_AS_THRUST:
        raise UserError(
            f"GUID_OPTIONS = {values['GUID_OPTIONS']:g}: ArduPilot would read thrust as a climb rate; "
            f"nothing is sent until bit 3 (value {THRUST_AS_THRUST}) is set"
        )
    curve = required(values, "MOT_THST_EXPO")
    return hover_map(values, "MOT_THST_HOVER", vehicle, curve, number(values, "MOT_BAT_VOLT_MAX", 0.0) > 0)


ARDUPILOT = Autopilot(
    name="ArduPilot",
    identity=dialect.MAV_AUTOPILOT_ARDUPILOTMEGA,
    bitwise_parameters=False,
    raw_imu_is_scaled=True,
    stream_before_switch=0.0,
    control_mode=(_GUIDED, 0),
    land_mode=(_LAND, 0),
    mode_name=lambda custom: _MODES.get(custom, f"mode {custom}"),
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
    checks=_checks,
    thrust_map=_thrust,
    critical_in_failsafe_alone=False,
    height=HeightReference(
        "EK3_SRC1_POSZ",
        {0: "nothing", 1: "the barometer", 2: "the rangefinder", 3: "GPS", 4: "a beacon", 6: "external navigation"},
        good=6,
    ),
    boosts_tilt=lambda values: number(values, "ATC_ANGLE_BOOST", 1.0) != 0,
)
