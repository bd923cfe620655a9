"""PX4 as a MAVLink autopilot.

https://docs.px4.io/main/en/advanced_config/parameter_reference and px4_custom_mode.h
"""

from __future__ import annotations

from collections.abc import Sequence

from pymavlink.dialects.v20 import ardupilotmega as dialect

from firmware_bridge.link import CheckResult
from firmware_bridge.mavlink.autopilot import (
    Autopilot,
    HeightReference,
    Values,
    hover_check,
    hover_map,
    loss_check,
    number,
    unread,
)
from firmware_bridge.mavlink.framing import ESC_STATUS
from firmware_bridge.thrust import ThrustMap
from neural_lander.vehicle import Vehicle

_MODES = {
    1: "MANUAL", 2: "ALTCTL", 3: "POSCTL", 4: "AUTO", 5: "ACRO", 6: "OFFBOARD", 7: "STABILIZED", 8: "RATTITUDE",
}  # fmt: skip
_AUTO = {
    1: "READY", 2: "TAKEOFF", 3: "LOITER", 4: "MISSION", 5: "RTL", 6: "LAND", 8: "FOLLOW_TARGET", 9: "PRECLAND",
}  # fmt: skip
_OFFBOARD, _AUTO_MAIN, _AUTO_LAND = 6, 4, 6
_ON_LOSS = {
    0: "Position mode", 1: "Altitude mode", 2: "Manual mode", 3: "Return", 4: "Land", 5: "Hold", 6: "Terminate",
    7: "Disarm",
}  # fmt: skip
_BAD_ON_LOSS = (3, 6, 7)  # it climbs in a room, or falls


def _mode(custom: int) -> str:
    main, sub = custom >> 16 & 0xFF, custom >> 24 & 0xFF
    name = _MODES.get(main, f"main mode {main}")
    return f"AUTO.{_AUTO.get(sub, sub)}" if main == _AUTO_MAIN else name


def _checks(values: Values, vehicle: Vehicle) -> Sequence[CheckResult]:
    action, curve = values.get("COM_OBL_RC_ACT"), values.get("THR_MDL_FAC")
    results = [loss_check(values, "COM_OF_LOSS_T"), hover_check(values, "MPC_THR_HOVER", vehicle)]
    if action is None:
        results.append(unread("COM_OBL_RC_ACT"))
    else:
        good = action not in _BAD_ON_LOSS
        words = f"COM_OBL_RC_ACT = {action:g}: then it goes to {_ON_LOSS.get(int(action), 'an unknown action')}"
        results.append(CheckResult("COM_OBL_RC_ACT", good, words + ("" if good else "; set 4 (Land) or 0 (Position)")))
    if curve is not None:
        words = "as proportional to thrust" if curve == 0 else "by that curve"
        results.append(
            CheckResult("THR_MDL_FAC", True, f"THR_MDL_FAC = {curve:g}: PX4 takes the motors' signal {words}")
        )
    return results


def _thrust(values: Values, vehicle: Vehicle) -> ThrustMap:
    curve = number(values, "THR_MDL_FAC", 0.0)
    return hover_map(values, "MPC_THR_HOVER", vehicle, curve, number(values, "MC_BAT_SCALE_EN", 0.0) != 0)


PX4 = Autopilot(
    name="PX4",
    identity=dialect.MAV_AUTOPILOT_PX4,
    bitwise_parameters=True,
    raw_imu_is_scaled=False,
    stream_before_switch=1.0,
    control_mode=(_OFFBOARD, 0),
    land_mode=(_AUTO_MAIN, _AUTO_LAND),
    mode_name=_mode,
    follows=lambda custom: custom >> 16 & 0xFF == _OFFBOARD,
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
    checks=_checks,
    thrust_map=_thrust,
    critical_in_failsafe_alone=True,
    height=HeightReference(
        "EKF2_HGT_REF",
        {0: "the barometer", 1: "GPS", 2: "the rangefinder", 3: "vision"},
        good=3,
        fusion=("EKF2_EV_CTRL", 2),
    ),
    boosts_tilt=lambda values: False,
)
