"""Messages that an emulated autopilot streams: from its beliefs, in our frames, to MAVLink's fields and frames."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from pymavlink.dialects.v20 import ardupilotmega as dialect

from firmware_bridge.emulator.autopilot import Autopilot
from firmware_bridge.emulator.mavlink_firmware import ARDUPILOT, PX4, Firmware
from firmware_bridge.emulator.modes import Mode
from neural_lander.frames import swap_attitude, swap_body, swap_world
from neural_lander.vehicle import GRAVITY

RANGE_MIN, RANGE_MAX = 0.02, 8.0  # m, of a small time-of-flight rangefinder, guess
RANGE_EVERY = 0.02  # s between its measurements: 50 Hz, guess
ESC_RATE = 50.0  # Hz at which each speed controller tells its speed and ArduPilot counts it, guess
USABLE = 2.8  # V between a full and an empty pack of four cells, guess
ESC_STATUS = 291
"""Not among the messages that pymavlink carries; laid out by hand after MAVLink's common.xml."""


class EscStatus:
    """ESC_STATUS, with what pymavlink's sender needs of a message."""

    def __init__(self, time_usec: int, rpm: np.ndarray, voltage: float) -> None:
        speeds, volts, amperes = [round(n) for n in rpm.tolist()], [voltage] * 4, [0.0] * 4
        self._payload = struct.pack("<Q4i4f4fB", time_usec, *speeds, *volts, *amperes, 0)

    def pack(self, mav: Any) -> bytes:
        """The whole frame."""
        head = struct.pack(
            "<BBBBBBBHB", dialect.PROTOCOL_MARKER_V2, len(self._payload), 0, 0, mav.seq, mav.srcSystem,
            mav.srcComponent, ESC_STATUS & 0xFFFF, ESC_STATUS >> 16,
        )  # fmt: skip
        checksum = dialect.x25crc(head[1:] + self._payload + bytes([_esc_status_seed()])).crc
        return head + self._payload + struct.pack("<H", checksum)


def _esc_status_seed() -> int:
    """Checksum seed from names and types, as the MAVLink guide on serialisation derives it."""
    text = "ESC_STATUS uint64_t time_usec int32_t rpm \x04float voltage \x04float current \x04uint8_t index "
    crc = int(dialect.x25crc(text.encode("latin-1")).crc)
    return crc & 0xFF ^ crc >> 8


@dataclass
class Telemetry:
    """What goes into the messages of one instant."""

    autopilot: Autopilot
    firmware: Firmware
    clock_rate: float = 1.0
    """Seconds of the autopilot's clock per second."""
    poisoned: bool = False
    """Whether position and attitude are not numbers."""
    _range_due: float = -math.inf
    _range: float = 0.0

    @property
    def microseconds(self) -> int:
        """Since boot, by the autopilot's clock."""
        return round(self.autopilot.uptime * self.clock_rate * 1e6)

    @property
    def milliseconds(self) -> int:
        """Since boot, by the autopilot's clock."""
        return self.microseconds // 1000

    def heartbeat(self) -> Any:
        """HEARTBEAT."""
        pilot = self.autopilot
        base = dialect.MAV_MODE_FLAG_CUSTOM_MODE_ENABLED | dialect.MAV_MODE_FLAG_STABILIZE_ENABLED
        if pilot.armed:
            base |= dialect.MAV_MODE_FLAG_SAFETY_ARMED
        if pilot.mode is Mode.COMPANION:
            base |= dialect.MAV_MODE_FLAG_GUIDED_ENABLED
        flying = dialect.MAV_STATE_CRITICAL if pilot.failsafe else dialect.MAV_STATE_ACTIVE
        return dialect.MAVLink_heartbeat_message(
            dialect.MAV_TYPE_QUADROTOR,
            self.firmware.autopilot,
            base,
            self.firmware.custom_mode(pilot.mode),
            flying if pilot.armed else dialect.MAV_STATE_STANDBY,
            3,
        )

    def local_position_ned(self) -> Any:
        """LOCAL_POSITION_NED."""
        state = self.autopilot.estimator.state
        p, v = swap_world(state.position).tolist(), swap_world(state.velocity).tolist()
        if self.poisoned:
            p = [math.nan] * 3
        return dialect.MAVLink_local_position_ned_message(self.milliseconds, *p, *v)

    def attitude_quaternion(self) -> Any:
        """ATTITUDE_QUATERNION."""
        state = self.autopilot.estimator.state
        q, w = swap_attitude(state.attitude).tolist(), swap_body(state.body_rates).tolist()
        if self.poisoned:
            q = [math.nan] * 4
        return dialect.MAVLink_attitude_quaternion_message(self.milliseconds, *q, *w)

    def attitude_target(self) -> Any:
        """ATTITUDE_TARGET: the throttle alone is filled in, which both autopilots tell in every mode."""
        mask = dialect.ATTITUDE_TARGET_TYPEMASK_ATTITUDE_IGNORE
        return dialect.MAVLink_attitude_target_message(
            self.milliseconds, mask, [1.0, 0.0, 0.0, 0.0], 0.0, 0.0, 0.0, self.autopilot.throttle
        )

    def highres_imu(self) -> Any:
        """HIGHRES_IMU."""
        estimator = self.autopilot.estimator
        a, w = swap_body(estimator.accelerometer).tolist(), swap_body(estimator.gyroscope).tolist()
        rest = (0.2, 0.0, 0.4, 1013.25, 0.0, 0.0, 25.0)  # field in gauss, pressures in hPa, altitude in m, deg C
        return dialect.MAVLink_highres_imu_message(self.microseconds, *a, *w, *rest, 0b111111)

    def _scaled(self) -> list[int]:
        """Accelerometer in milli-g, gyroscope in mrad/s, magnetometer in mgauss."""
        estimator = self.autopilot.estimator
        a = swap_body(estimator.accelerometer) / GRAVITY * 1000
        w = swap_body(estimator.gyroscope) * 1000
        values = np.clip(np.concatenate([a, w]), -32768, 32767).round().astype(int)
        return [*values.tolist(), 200, 0, 400]

    def raw_imu(self) -> Any:
        """RAW_IMU, which ArduPilot scales like SCALED_IMU."""
        return dialect.MAVLink_raw_imu_message(self.microseconds, *self._scaled())

    def scaled_imu(self) -> Any:
        """SCALED_IMU."""
        return dialect.MAVLink_scaled_imu_message(self.milliseconds, *self._scaled())

    @property
    def range(self) -> float:
        """Latest measurement of the rangefinder in m."""
        if self.autopilot.now >= self._range_due:
            self._range_due = self.autopilot.now + RANGE_EVERY
            self._range = self.autopilot.estimator.distance(self.autopilot.vehicle.gear_points.tolist())
        return self._range

    def distance_sensor(self) -> Any:
        """DISTANCE_SENSOR: whole centimetres, what is beyond them cut off, as by both autopilots."""
        low, high, now = (min(max(int(100 * d), 0), 65535) for d in (RANGE_MIN, RANGE_MAX, self.range))
        kind, downward = dialect.MAV_DISTANCE_SENSOR_LASER, dialect.MAV_SENSOR_ROTATION_PITCH_270
        quality = 100 if low <= now <= high else 1
        return dialect.MAVLink_distance_sensor_message(
            self.milliseconds, low, high, now, kind, 0, downward, 255, signal_quality=quality
        )

    def rangefinder(self) -> Any:
        """RANGEFINDER."""
        return dialect.MAVLink_rangefinder_message(self.range, 0.0)

    def _rpm(self) -> np.ndarray:
        return np.maximum(self.autopilot.estimator.rotor_speed, 0.0) * 30 / math.pi

    def esc_status(self) -> EscStatus:
        """ESC_STATUS."""
        return EscStatus(self.microseconds, self._rpm(), self.autopilot.voltage)

    def esc_telemetry(self) -> Any:
        """ESC_TELEMETRY_1_TO_4."""
        volts, none = [round(100 * self.autopilot.voltage)] * 4, [0] * 4
        rpm = [min(round(n), 65535) for n in self._rpm().tolist()]
        heard = [int(self.autopilot.uptime * ESC_RATE) & 0xFFFF] * 4
        return dialect.MAVLink_esc_telemetry_1_to_4_message(bytes(4), volts, none, none, rpm, heard)

    def _remaining(self) -> int:
        power = self.autopilot.power
        spent = power.drawn + power.battery.full - power.battery.start
        return round(100 * min(max(1 - spent / USABLE, 0.0), 1.0))

    def battery_status(self) -> Any:
        """BATTERY_STATUS: the pack's voltage as that of a single cell, as both autopilots do without a cell monitor."""
        volts = [round(1000 * self.autopilot.voltage)] + [65535] * 9
        return dialect.MAVLink_battery_status_message(0, 0, 0, 32767, volts, -1, -1, -1, self._remaining())

    def sys_status(self) -> Any:
        """SYS_STATUS."""
        sensors = dialect.MAV_SYS_STATUS_SENSOR_3D_GYRO | dialect.MAV_SYS_STATUS_SENSOR_3D_ACCEL
        volts = round(1000 * self.autopilot.voltage)
        return dialect.MAVLink_sys_status_message(
            sensors, sensors, sensors, 250, volts, -1, self._remaining(), 0, 0, 0, 0, 0, 0
        )

    def extended_sys_state(self) -> Any:
        """EXTENDED_SYS_STATE."""
        landed = dialect.MAV_LANDED_STATE_ON_GROUND if self.autopilot.landed else dialect.MAV_LANDED_STATE_IN_AIR
        return dialect.MAVLink_extended_sys_state_message(dialect.MAV_VTOL_STATE_UNDEFINED, landed)

    def system_time(self) -> Any:
        """SYSTEM_TIME of a vehicle that knows no date."""
        return dialect.MAVLink_system_time_message(0, self.milliseconds)

    def autopilot_version(self) -> Any:
        """AUTOPILOT_VERSION."""
        capabilities = dialect.MAV_PROTOCOL_CAPABILITY_MAVLINK2 | dialect.MAV_PROTOCOL_CAPABILITY_SET_ATTITUDE_TARGET
        return dialect.MAVLink_autopilot_version_message(
            capabilities, self.firmware.version, 0, 0, 0, bytes(8), bytes(8), bytes(8), 0, 0, 1
        )


Build = Callable[[Telemetry], Any]

_COMMON: dict[int, Build] = {
    dialect.MAVLINK_MSG_ID_HEARTBEAT: Telemetry.heartbeat,
    dialect.MAVLINK_MSG_ID_SYS_STATUS: Telemetry.sys_status,
    dialect.MAVLINK_MSG_ID_SYSTEM_TIME: Telemetry.system_time,
    dialect.MAVLINK_MSG_ID_LOCAL_POSITION_NED: Telemetry.local_position_ned,
    dialect.MAVLINK_MSG_ID_ATTITUDE_QUATERNION: Telemetry.attitude_quaternion,
    dialect.MAVLINK_MSG_ID_ATTITUDE_TARGET: Telemetry.attitude_target,
    dialect.MAVLINK_MSG_ID_DISTANCE_SENSOR: Telemetry.distance_sensor,
    dialect.MAVLINK_MSG_ID_BATTERY_STATUS: Telemetry.battery_status,
    dialect.MAVLINK_MSG_ID_EXTENDED_SYS_STATE: Telemetry.extended_sys_state,
    dialect.MAVLINK_MSG_ID_AUTOPILOT_VERSION: Telemetry.autopilot_version,
}
STREAMS: Mapping[str, Mapping[int, Build]] = {
    PX4.name: {
        **_COMMON,
        dialect.MAVLINK_MSG_ID_HIGHRES_IMU: Telemetry.highres_imu,
        dialect.MAVLINK_MSG_ID_SCALED_IMU: Telemetry.scaled_imu,
        ESC_STATUS: Telemetry.esc_status,
    },
    ARDUPILOT.name: {  # no HIGHRES_IMU: ArduCopter 4.5 in software has none, and 4.7 leaves it out again
        **_COMMON,
        dialect.MAVLINK_MSG_ID_RAW_IMU: Telemetry.raw_imu,
        dialect.MAVLINK_MSG_ID_SCALED_IMU: Telemetry.scaled_imu,
        dialect.MAVLINK_MSG_ID_RANGEFINDER: Telemetry.rangefinder,
        dialect.MAVLINK_MSG_ID_ESC_TELEMETRY_1_TO_4: Telemetry.esc_telemetry,
    },
}
"""Firmware -> message id -> how it is made."""
POSE_MESSAGES = frozenset({dialect.MAVLINK_MSG_ID_LOCAL_POSITION_NED, dialect.MAVLINK_MSG_ID_ATTITUDE_QUATERNION})
"""What carries position and attitude."""
STATE_MESSAGES = frozenset(
    {
        *POSE_MESSAGES,
        dialect.MAVLINK_MSG_ID_HIGHRES_IMU,
        dialect.MAVLINK_MSG_ID_RAW_IMU,
        dialect.MAVLINK_MSG_ID_SCALED_IMU,
    }
)
"""What carries the state, for faults of the estimator."""
