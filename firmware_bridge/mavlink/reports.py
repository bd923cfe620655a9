"""MAVLink messages as reports of ours. All that comes in changes units, frames and rotor order here and nowhere else.

MAVLink: world NED, body FRD, quaternions of FRD in NED, time since boot. Setpoints go the other way in
:mod:`firmware_bridge.mavlink.setpoints`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from pymavlink.dialects.v20 import ardupilotmega as dialect

from firmware_bridge.estimation.time_sync import TimeSync
from firmware_bridge.link import (
    AttitudeReport,
    BatteryReport,
    ImuReport,
    PositionReport,
    RangeReport,
    Report,
    RotorReport,
    TextReport,
    ThrottleReport,
)
from firmware_bridge.mavlink.framing import ESC_STATUS
from neural_lander.errors import UserError
from neural_lander.frames import swap_attitude, swap_body, swap_world
from neural_lander.rotation import normalise, quaternion_from_euler
from neural_lander.rotor_order import AUTOPILOT_X, motors_by_quadrant
from neural_lander.units import RPM, STANDARD_GRAVITY
from neural_lander.vehicle import Vehicle

MILLI_G = 1e-3 * STANDARD_GRAVITY  # m/s^2
DOWN = dialect.MAV_SENSOR_ROTATION_PITCH_270
UNKNOWN_VOLTAGE = 65535  # of 16 bits: "not sent"
CUT_OFF = (
    0.005  # m: both autopilots cut whole centimetres off rather than round, so that the mean lies half of one above
)
INVALID_SIGNAL = 1  # DISTANCE_SENSOR.signal_quality: 0 is unknown, 1 invalid, 100 perfect
LONGEST_TEXT = 1000  # bytes of a text in chunks; a guess, only a bound
UNIX_ERA = 1e8  # s: a stamp beyond three years since boot is a calendar's
BATTERY_SILENCE = 5.0  # s without BATTERY_STATUS after which SYS_STATUS stands in


def motor_order(vehicle: Vehicle) -> tuple[int, ...]:
    """For each rotor of the profile the autopilot's motor that it is, counted from 0; by the quadrant that it is in.

    Raises
    ------
    UserError
        Where the rotors do not lie one in each quadrant (a quad +): name the order then.
    """
    order = motors_by_quadrant(vehicle, AUTOPILOT_X)
    if order is None:
        raise UserError(
            f"vehicle '{vehicle.name}': its rotors lie in no X, so the autopilot's motors cannot be told apart; "
            "give motor_order: for each rotor of the profile the motor's number from 0"
        )
    return order


def _vector(*values: float) -> np.ndarray:
    """Numbers of a message; an infinite one is no measurement and becomes NaN, which the supervisor sees."""
    return np.array([value if math.isfinite(value) else math.nan for value in values])


def boot_time(message: Any) -> float | None:
    """Time since boot that a message carries, s; None where it carries none, or the calendar's."""
    fields = message._fields
    if "time_boot_ms" in fields:
        return float(message.time_boot_ms) / 1e3
    if "tc1" in fields:  # TIMESYNC: an answer has the autopilot's time first, a question has it second
        stamp = (message.tc1 or message.ts1) / 1e9
    else:
        stamp = message.time_usec / 1e6 if "time_usec" in fields else math.inf
    return stamp if stamp < UNIX_ERA else None


class ReportReader:
    """Turns decoded messages into reports; holds what is spread over several messages."""

    def __init__(self, order: Sequence[int], sync: TimeSync, raw_imu_is_scaled: bool) -> None:
        if sorted(order) != [0, 1, 2, 3]:
            raise UserError(f"motor_order = {tuple(order)} must hold 0, 1, 2 and 3 once each")
        self.texts = TextReader()
        self._order = list(order)
        self._sync = sync
        self._battery_seen = -math.inf
        self._turned = False
        self._readers: Mapping[int, Callable[[Any, float], Sequence[Report]]] = {
            dialect.MAVLINK_MSG_ID_LOCAL_POSITION_NED: self._position,
            dialect.MAVLINK_MSG_ID_ATTITUDE_QUATERNION: self._attitude,
            dialect.MAVLINK_MSG_ID_ATTITUDE: self._euler,
            dialect.MAVLINK_MSG_ID_HIGHRES_IMU: self._highres_imu,
            dialect.MAVLINK_MSG_ID_SCALED_IMU: self._scaled_imu,
            dialect.MAVLINK_MSG_ID_DISTANCE_SENSOR: self._range,
            dialect.MAVLINK_MSG_ID_ESC_TELEMETRY_1_TO_4: self._esc_telemetry,
            dialect.MAVLINK_MSG_ID_ATTITUDE_TARGET: self._throttle,
            dialect.MAVLINK_MSG_ID_BATTERY_STATUS: self._battery,
            dialect.MAVLINK_MSG_ID_SYS_STATUS: self._sys_status,
            dialect.MAVLINK_MSG_ID_STATUSTEXT: self._text,
            ESC_STATUS: self._esc_status,
            **({dialect.MAVLINK_MSG_ID_RAW_IMU: self._raw_imu} if raw_imu_is_scaled else {}),
        }
        self.has_quaternion = False

    def read(self, number: int, message: Any, received: float) -> Sequence[Report]:
        """Reports of one decoded message, perhaps none."""
        reader = self._readers.get(number)
        return reader(message, received) if reader else ()

    def _time(self, message: Any, received: float) -> float:
        """Our time of a message's content; of one without a stamp, its arrival less the way."""
        stamp = boot_time(message)
        return received - self._sync.delay if stamp is None else self._sync.to_ours(stamp, received)

    def _position(self, m: Any, received: float) -> Sequence[Report]:
        position = swap_world(_vector(m.x, m.y, m.z))
        velocity = swap_world(_vector(m.vx, m.vy, m.vz))
        return (PositionReport(self._time(m, received), received, position, velocity, self._sync.error(received)),)

    def _attitude(self, m: Any, received: float) -> Sequence[Report]:
        self.has_quaternion = True
        return self._attitude_report(m, _vector(m.q1, m.q2, m.q3, m.q4), received)

    def _euler(self, m: Any, received: float) -> Sequence[Report]:
        """Roll, pitch and yaw, where no quaternion comes."""
        if self.has_quaternion:
            return ()
        q = np.asarray(quaternion_from_euler(*_vector(m.roll, m.pitch, m.yaw)))
        return self._attitude_report(m, q, received)

    def _attitude_report(self, m: Any, q: np.ndarray, received: float) -> Sequence[Report]:
        """A quaternion that is none (PX4 sends zeros before it knows) becomes NaN, which the supervisor sees."""
        norm = float(np.linalg.norm(q))
        attitude = normalise(swap_attitude(q)) if 0.9 < norm < 1.1 else np.full(4, np.nan)
        rates = swap_body(_vector(m.rollspeed, m.pitchspeed, m.yawspeed))
        return (AttitudeReport(self._time(m, received), received, attitude, rates, self._sync.error(received)),)

    def _highres_imu(self, m: Any, received: float) -> Sequence[Report]:
        return self._imu(m, 1.0, 1.0, received) if m.id == 0 else ()

    def _scaled_imu(self, m: Any, received: float) -> Sequence[Report]:
        return self._imu(m, MILLI_G, 1e-3, received)

    def _raw_imu(self, m: Any, received: float) -> Sequence[Report]:
        return self._imu(m, MILLI_G, 1e-3, received) if m.id == 0 else ()

    def _imu(self, m: Any, to_force: float, to_rates: float, received: float) -> Sequence[Report]:
        force = swap_body(to_force * _vector(m.xacc, m.yacc, m.zacc))
        rates = swap_body(to_rates * _vector(m.xgyro, m.ygyro, m.zgyro))
        return (ImuReport(self._time(m, received), received, force, rates),)

    def _range(self, m: Any, received: float) -> Sequence[Report]:
        """ArduPilot stamps these with the time of sending, not of measuring."""
        if m.orientation != DOWN:
            return ()
        valid = m.min_distance <= m.current_distance <= m.max_distance and m.signal_quality != INVALID_SIGNAL
        return (RangeReport(self._time(m, received), received, m.current_distance / 100 + CUT_OFF, bool(valid)),)

    def _esc_status(self, m: Any, received: float) -> Sequence[Report]:
        """PX4: the first group holds motors 1 to 4; rpm is negative for a motor that turns the other way."""
        return self._rotors(m, received) if m.index == 0 else ()

    def _esc_telemetry(self, m: Any, received: float) -> Sequence[Report]:
        """ArduPilot, without a time stamp. A motor with neither speed nor a count has never spoken, or stands.

        The count alone tells nothing: by bidirectional DShot speeds come and the count stays 0.
        """
        silent = any(not speed and not count for speed, count in zip(m.rpm, m.count, strict=True))
        return () if silent else self._rotors(m, received)

    def _rotors(self, m: Any, received: float) -> Sequence[Report]:
        """Zeros are believed once another speed was seen: ArduCopter in software counts, and tells zeros for ever."""
        self._turned = self._turned or any(m.rpm)
        if not self._turned:
            return ()
        speed = RPM * np.abs(np.array(m.rpm, dtype=float))[self._order]
        return (RotorReport(self._time(m, received), received, speed),)

    def _throttle(self, m: Any, received: float) -> Sequence[Report]:
        """ATTITUDE_TARGET: both autopilots tell the thrust that their attitude loop was given, in any mode."""
        if not 0 <= m.thrust <= 1:
            return ()
        return (ThrottleReport(self._time(m, received), received, m.thrust),)

    def _battery(self, m: Any, received: float) -> Sequence[Report]:
        cells = [v for v in m.voltages if v != UNKNOWN_VOLTAGE] + [v for v in m.voltages_ext if v]
        if m.id != 0 or not any(cells):
            return ()
        self._battery_seen = received
        return (BatteryReport(received, sum(cells) / 1e3, _remaining(m.battery_remaining)),)

    def _sys_status(self, m: Any, received: float) -> Sequence[Report]:
        if m.voltage_battery in (0, UNKNOWN_VOLTAGE) or received - self._battery_seen < BATTERY_SILENCE:
            return ()
        return (BatteryReport(received, m.voltage_battery / 1e3, _remaining(m.battery_remaining)),)

    def _text(self, m: Any, received: float) -> Sequence[Report]:
        text = self.texts.read(m)
        return () if text is None else (TextReport(received, m.severity, text),)


def _remaining(percent: int) -> float | None:
    return percent / 100 if 0 <= percent <= 100 else None


class TextReader:
    """Texts of one or several STATUSTEXT."""

    def __init__(self) -> None:
        self._id, self._next, self._text = 0, 0, b""

    def read(self, m: Any) -> str | None:
        """A text that is complete with this message. A text of which a chunk is lost is given as far as it came."""
        chunk, ended = m.text.split(b"\0")[0], b"\0" in m.text
        if m.id == 0:
            return chunk.decode("utf-8", "replace")
        if m.id != self._id or m.chunk_seq != self._next:
            self._id, self._next, self._text = m.id, m.chunk_seq, b"" if m.chunk_seq == 0 else b"... "
        self._text += chunk
        self._next += 1
        if not ended and len(self._text) < LONGEST_TEXT:
            return None
        text, self._id, self._text = self._text, 0, b""
        return text.decode("utf-8", "replace")
