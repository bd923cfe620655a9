"""Payloads of MSP messages to values: units, frames and lists of names change here and nowhere else.

Betaflight and INAV have body FLU and world north-west-up; their Euler angles are roll to the right, pitch *nose down*
and a heading clockwise from north. Layouts were read in the firmwares' MSP handlers (Betaflight 4.5.5 and 2026.8,
INAV 4 to 9); fields that newer versions append are left unread.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from neural_lander.components import euler_quaternion, quaternion_product
from neural_lander.frames import swap_yaw
from neural_lander.rotation import normalise
from neural_lander.rotor_order import motors_by_quadrant
from neural_lander.units import DEGREE, RPM
from neural_lander.vehicle import Vehicle

API_VERSION, FC_VARIANT, FC_VERSION, BOARD_INFO = 1, 2, 3, 4
MODE_RANGES, FEATURE_CONFIG, RX_CONFIG, SONAR_ALTITUDE, RX_MAP = 34, 36, 44, 58, 64
PID_ADVANCED, RAW_IMU, RC, ATTITUDE, ALTITUDE, RC_TUNING = 94, 102, 105, 108, 109, 111
BOXNAMES, BOXIDS, RC_DEADBAND, BATTERY_STATE = 116, 119, 125, 130
MOTOR_TELEMETRY, STATUS_EX, ATTITUDE_QUATERNION, SET_RAW_RC = 139, 150, 167, 200
COMMON_SETTING, INAV_STATUS, INAV_ANALOG, INAV_ESC_RPM = 0x1003, 0x2000, 0x2002, 0x2040

INAV_ACC_1G = 512  # counts, fixed in INAV's reply
RATE_UNIT = {"BTFL": 2000 / 32768 * DEGREE, "INAV": DEGREE}
"""rad/s per count of the gyroscope in MSP_RAW_IMU. Betaflight sends the sensor's own counts (measured: 16.4 per deg/s),
so that a sensor set to 4000 deg/s (gyro_high_fsr) reads half. INAV sends whole degrees per second."""

ARM, ANGLE, HORIZON, OVERRIDE = 0, 1, 2, 50
"""Permanent numbers of boxes (mode switches), the same in both firmwares."""
TAKES_OVER = {"BTFL": (27, 46, 56, 11, 3, 35, 12), "INAV": (27, 10, 28, 11, 3, 45, 53, 52, 12)}
"""Boxes under which the sticks do not mean an attitude, the most telling first. Betaflight: failsafe, GPS rescue,
autopilot, position hold, altitude hold, flip, passthrough; INAV: failsafe, return home, waypoints, position hold,
altitude hold, course hold, cruise, turtle, manual."""

BETAFLIGHT_REFUSALS = (
    "NOGYRO", "FAILSAFE", "RXLOSS", "NOT_DISARMED", "BOXFAILSAFE", "RUNAWAY", "CRASH", "THROTTLE", "ANGLE",
    "BOOTGRACE", "NOPREARM", "LOAD", "CALIB", "CLI", "CMS", "BST", "MSP", "PARALYZE", "GPS", "RESCUE_SW",
    "DSHOT_TELEM", "REBOOT_REQD", "DSHOT_BBANG", "NO_ACC_CAL", "MOTOR_PROTO", "FLIP_SWITCH", "ALT_HOLD_SW",
    "POS_HOLD_SW", "AUTOPILOT_SW",
)  # fmt: skip
"""By bit. The last bit that a version has is ARM_SWITCH; 4.5 has it where later ones have FLIP_SWITCH."""
INAV_REFUSALS = {
    6: "GEOZONE", 7: "FAILSAFE_SYSTEM", 8: "NOT_LEVEL", 9: "SENSORS_CALIBRATING", 10: "SYSTEM_OVERLOADED",
    11: "NAVIGATION_UNSAFE", 12: "COMPASS_NOT_CALIBRATED", 13: "ACCELEROMETER_NOT_CALIBRATED", 14: "ARM_SWITCH",
    15: "HARDWARE_FAILURE", 16: "BOXFAILSAFE", 18: "RC_LINK", 19: "THROTTLE", 20: "CLI", 21: "CMS_MENU",
    22: "OSD_MENU", 23: "ROLLPITCH_NOT_CENTERED", 24: "SERVO_AUTOTRIM", 25: "OOM", 26: "INVALID_SETTING",
    27: "PWM_OUTPUT_ERROR", 28: "NO_PREARM", 29: "DSHOT_BEEPER", 30: "LANDING_DETECTED",
}  # fmt: skip
INAV_ARMED, INAV_WAS_EVER_ARMED = 1 << 2, 1 << 3
BOOTING = 1 << 9  # BOOTGRACE in Betaflight, SENSORS_CALIBRATING in INAV

QUADRANTS = ((-1, -1), (1, -1), (-1, 1), (1, 1))
"""Signs of body x (forward) and y (left) of motors 1 to 4: rear right, front right, rear left, front left (quad X)."""


@dataclass(frozen=True)
class Status:
    """What the autopilot says of its modes."""

    boxes: int
    """Bit k is set where the k-th box of MSP_BOXIDS is active."""
    refusals: int
    """Bits of the firmware's list."""
    refusal_count: int
    """Length of Betaflight's list; 0 with INAV."""


def betaflight_status(payload: bytes) -> Status:
    """MSP_STATUS_EX of Betaflight."""
    low, more = struct.unpack_from("<6xI5xB", payload)
    more &= 0x0F
    high = int.from_bytes(payload[16 : 16 + more], "little")
    count, refusals = struct.unpack_from("<BI", payload, 16 + more)
    return Status(low | high << 32, refusals, count)


def inav_status(payload: bytes) -> Status:
    """MSP2_INAV_STATUS: its box mask has 8 or 12 bytes, after which a version may put one byte."""
    (flags,) = struct.unpack_from("<9xI", payload)
    size = (len(payload) - 13) // 4 * 4
    return Status(int.from_bytes(payload[13 : 13 + size], "little"), flags, 0)


def refusal_names(variant: str, status: Status) -> tuple[str, ...]:
    """Why the autopilot does not arm, in its own words."""
    bits = [bit for bit in range(32) if status.refusals >> bit & 1]
    if variant == "INAV":
        return tuple(INAV_REFUSALS.get(bit, f"FLAG_{bit}") for bit in bits if bit >= 6)
    known = dict(enumerate(BETAFLIGHT_REFUSALS)) | {status.refusal_count - 1: "ARM_SWITCH"}
    return tuple(known.get(bit, f"FLAG_{bit}") for bit in bits)


def attitude(payload: bytes) -> np.ndarray:
    """MSP_ATTITUDE as a quaternion of ours; tenths of a degree, but the heading comes in whole degrees."""
    roll, pitch, heading = struct.unpack_from("<hhh", payload)
    yaw = float(swap_yaw(np.array(heading * DEGREE)))
    return np.array(euler_quaternion(roll * DEGREE / 10, pitch * DEGREE / 10, yaw))


def attitude_quaternion(payload: bytes) -> np.ndarray | None:
    """MSP_ATTITUDE_QUATERNION (2026), which is north-west-up; None where the estimator has none."""
    q = np.array(struct.unpack_from("<4h", payload)) / 0x7FFF
    if not 0.9 < float(np.linalg.norm(q)) < 1.1:
        return None
    return np.array(quaternion_product(euler_quaternion(0.0, 0.0, math.pi / 2), normalise(q).tolist()))


def raw_imu(payload: bytes, rate_unit: float) -> tuple[np.ndarray, np.ndarray]:
    """Accelerometer in counts and body rates in rad/s, body FLU; ``rate_unit`` is that of the firmware, in rad/s."""
    values = struct.unpack_from("<6h", payload)
    return np.array(values[:3], dtype=float), np.array(values[3:]) * rate_unit


def betaflight_rotors(payload: bytes) -> np.ndarray | None:
    """Speeds of four motors in rad/s, in the firmware's order; None where it has fewer. Zero where no ESC tells any."""
    if payload[0] < 4:
        return None
    rpm = [struct.unpack_from("<I", payload, 1 + 13 * motor)[0] for motor in range(4)]
    return RPM * np.array(rpm, dtype=float)


def inav_rotors(payload: bytes) -> np.ndarray:
    """The same of INAV."""
    return RPM * np.array(struct.unpack_from("<4I", payload), dtype=float)


def betaflight_battery(payload: bytes) -> tuple[float, float | None]:
    """MSP_BATTERY_STATE: volts, and what is left of the capacity that the user entered, if any."""
    capacity, used, volts = struct.unpack_from("<xHxH3xH", payload)
    return volts / 100, max(0.0, 1 - used / capacity) if capacity else None


def inav_battery(payload: bytes) -> tuple[float, float | None]:
    """MSP2_INAV_ANALOG."""
    volts, percent = struct.unpack_from("<xH18xB", payload)
    return volts / 100, min(percent, 100) / 100


def quadrant_order(vehicle: Vehicle) -> tuple[int, ...] | None:
    """For each rotor of the profile the firmware's motor that it is, from 0; None where they lie in no X."""
    return motors_by_quadrant(vehicle, QUADRANTS)


@dataclass(frozen=True)
class ModeRange:
    """A box that is active while an auxiliary channel lies in a range."""

    box: int
    """Permanent number."""
    channel: int
    """Index among all channels: the first auxiliary one is 4."""
    low: int  # us
    high: int  # us

    @property
    def on(self) -> int:
        """Middle of the range in us."""
        return (self.low + self.high) // 2

    @property
    def off(self) -> int:
        """A pulse in us outside of the range."""
        return 1000 if self.low > 1000 else 2000


def mode_ranges(payload: bytes) -> tuple[ModeRange, ...]:
    """MSP_MODE_RANGES: box, auxiliary channel, limits in steps of 25 us from 900 us; empty ones left out."""
    rows = (payload[k : k + 4] for k in range(0, len(payload) // 4 * 4, 4))
    return tuple(ModeRange(box, 4 + aux, 900 + 25 * low, 900 + 25 * high) for box, aux, low, high in rows if low < high)


def is_on(box: int, channels: Sequence[int], ranges: Sequence[ModeRange]) -> bool:
    """Whether channels in us put the switch of a box on."""
    return any(r.low <= channels[r.channel] <= r.high for r in ranges if r.box == box)


def range_of(box: int, ranges: Sequence[ModeRange]) -> ModeRange | None:
    """Switch of a box, if it has one."""
    return next((r for r in ranges if r.box == box), None)
