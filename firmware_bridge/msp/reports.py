"""Answers of an MSP autopilot as reports of ours; holds what is spread over several messages."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence

import numpy as np

from firmware_bridge.link import (
    AltitudeReport,
    AttitudeReport,
    BatteryReport,
    ImuReport,
    RangeReport,
    Report,
    RestartReport,
    RotorReport,
    StatusReport,
    ThrottleReport,
)
from firmware_bridge.msp import messages as msg
from firmware_bridge.msp.identity import Identity
from firmware_bridge.msp.messages import Status
from neural_lander.components import quaternion_rows
from neural_lander.units import DEGREE, STANDARD_GRAVITY

REST_SAMPLES = 50  # of the accelerometer, disarmed and still, that tell its counts per g
REST_RATE = 3 * DEGREE  # rad/s
REST_TOLERANCE = 0.15  # of g, by which the mean may miss a power of two; a guess
COUNTS_PER_G = tuple(2**k for k in range(7, 15))  # of the sensors that Betaflight knows
THROTTLE = 3  # place in MSP_RC
LEAST_COSINE = 0.5  # of the tilt, below which a rangefinder does not look down; a guess


class Telemetry:
    """What the autopilot measured last."""

    def __init__(self, order: Sequence[int] | None) -> None:
        self.attitude: np.ndarray | None = None
        """(4,) unit quaternion, body to world."""
        self.attitude_at = -math.inf  # s
        self.voltage: float | None = None  # V
        self.status: Status | None = None
        self.armed = False
        self.by_hand = False
        """Whether the throttle stick is the motors' throttle: no mode that holds altitude, no rescue."""
        self.channels: list[int] = []
        """us, as MSP_RC returns them: roll, pitch, yaw, throttle, auxiliary."""
        self.counts_per_g: float | None = None
        """Scale of the accelerometer; None until it is known."""
        self._order = None if order is None else list(order)
        self._rates = np.zeros(3)
        self._rest: list[float] = []
        self._counts = b""
        self._counted = self._before = -math.inf  # s, of the last inertial data, and of those before it changed
        self._still_since: float | None = None
        self._rotors_seen = False

    def read(
        self, command: int, payload: bytes, identity: Identity, t: float, now: float, error: float = 0.0
    ) -> Sequence[Report]:
        """Reports of one answer, measured at ``t`` or up to ``error`` before and received at ``now`` (s).

        Raises
        ------
        struct.error, IndexError
            Where the payload is shorter than it must be.
        """
        match command:
            case msg.RAW_IMU:
                return self._imu(payload, identity, t, now)
            case msg.ATTITUDE:
                return self._attitude(msg.attitude(payload), t, now, error)
            case msg.ATTITUDE_QUATERNION:
                return self._attitude(msg.attitude_quaternion(payload), t, now, error)
            case msg.STATUS_EX:
                return self._status(msg.betaflight_status(payload), identity, now)
            case msg.INAV_STATUS:
                return self._status(msg.inav_status(payload), identity, now)
            case msg.MOTOR_TELEMETRY:
                return self._rotors(msg.betaflight_rotors(payload), t, now)
            case msg.INAV_ESC_RPM:
                return self._rotors(msg.inav_rotors(payload), t, now)
            case msg.BATTERY_STATE:
                return self._battery(*msg.betaflight_battery(payload), now)
            case msg.INAV_ANALOG:
                return self._battery(*msg.inav_battery(payload), now)
            case msg.SONAR_ALTITUDE:
                return self._range(struct.unpack_from("<i", payload)[0] / 100, t, now)
            case msg.RC:
                self.channels = list(struct.unpack_from(f"<{len(payload) // 2}H", payload))
                return self._throttle(identity, t, now)
            case msg.ALTITUDE:
                centimetres, climb = struct.unpack_from("<ih", payload)
                return (AltitudeReport(now, centimetres / 100, climb / 100),)
        return ()

    def _attitude(self, attitude: np.ndarray | None, t: float, now: float, error: float) -> Sequence[Report]:
        if attitude is None:
            return ()
        self.attitude, self.attitude_at = attitude, now
        if self.armed and self._still_since is not None:
            error = max(error, t - self._still_since)
        return (AttitudeReport(t, now, attitude, self._rates, error),)

    def _imu(self, payload: bytes, identity: Identity, t: float, now: float) -> Sequence[Report]:
        counts, self._rates = msg.raw_imu(payload, msg.RATE_UNIT[identity.variant])
        self._live(payload, t)
        if self.counts_per_g is None:
            self.counts_per_g = msg.INAV_ACC_1G if identity.variant == "INAV" else self._learn_scale(counts)
        if self.counts_per_g is None:
            return ()
        return (ImuReport(t, now, counts * (STANDARD_GRAVITY / self.counts_per_g), self._rates),)

    def _live(self, payload: bytes, t: float) -> None:
        """MSP has no time stamps, but sensors make noise: while they repeat themselves in flight, nothing is new.

        What was told since may be as old as the last time before that they told something else.
        """
        if payload != self._counts:
            self._counts, self._before, self._still_since = payload, self._counted, None
        elif self._still_since is None:
            self._still_since = self._before
        self._counted = t

    def _learn_scale(self, counts: np.ndarray) -> float | None:
        """The scale of Betaflight's accelerometer depends on the sensor and is told nowhere: learnt at rest."""
        still = self.status is not None and not self.armed and float(np.abs(self._rates).max()) < REST_RATE
        self._rest = [*self._rest, float(np.linalg.norm(counts))] if still else []
        if len(self._rest) < REST_SAMPLES:
            return None
        mean, self._rest = float(np.mean(self._rest)), []
        nearest = min(COUNTS_PER_G, key=lambda scale: abs(mean / scale - 1))
        return nearest if abs(mean / nearest - 1) < REST_TOLERANCE else None

    def _throttle(self, identity: Identity, t: float, now: float) -> Sequence[Report]:
        """Of the stick that the firmware goes by, the pilot's or ours."""
        if identity.sticks is None or len(self.channels) <= THROTTLE or not self.by_hand:
            return ()
        return (ThrottleReport(t, now, identity.sticks.fraction(self.channels[THROTTLE])),)

    def _rotors(self, speeds: np.ndarray | None, t: float, now: float) -> Sequence[Report]:
        """Zeros are believed once another speed was seen: where no ESC tells any, all are zero."""
        if speeds is None or self._order is None:
            return ()
        self._rotors_seen = self._rotors_seen or bool(speeds.any())
        if not self._rotors_seen:
            return ()
        return (RotorReport(t, now, speeds[self._order]),)

    def _battery(self, volts: float, remaining: float | None, now: float) -> Sequence[Report]:
        self.voltage = volts or None  # 0 is no battery: fed over USB
        return (BatteryReport(now, volts, remaining),)

    def _range(self, altitude: float, t: float, now: float) -> Sequence[Report]:
        """The firmware multiplied by the cosine of the tilt; undone here. 0 is no sensor, negative is out of range."""
        if altitude == 0 or self.attitude is None:
            return ()
        cosine = quaternion_rows(self.attitude.tolist())[2][2]
        return (RangeReport(t, now, altitude / max(cosine, LEAST_COSINE), altitude > 0 and cosine > LEAST_COSINE),)

    def _status(self, status: Status, identity: Identity, now: float) -> Sequence[Report]:
        if not identity.boxes:
            return ()
        before, self.status = self.status, status
        active = identity.active(status.boxes)
        inav = identity.variant == "INAV"
        self.armed = bool(status.refusals & msg.INAV_ARMED) if inav else msg.ARM in active
        over = next((box for box in msg.TAKES_OVER[identity.variant] if box in active), None)
        self.by_hand = over is None
        follows = identity.receiver_is_msp or msg.OVERRIDE in active
        report = StatusReport(
            received=now,
            armed=self.armed,
            mode=_mode(identity, over, active),
            accepts_setpoints=follows and over is None and msg.ANGLE in active,
            arming_refusals=() if self.armed else msg.refusal_names(identity.variant, status),
        )
        reason = restart(identity.variant, before, status)
        return (RestartReport(now, reason), report) if reason else (report,)


def _mode(identity: Identity, over: int | None, active: set[int]) -> str:
    """The firmware's own name of what it flies by."""
    flown = over if over is not None else next((box for box in (msg.ANGLE, msg.HORIZON) if box in active), None)
    mode = "ACRO" if flown is None else identity.box_names.get(flown, f"box {flown}")
    return f"{mode} + {identity.box_names.get(msg.OVERRIDE, 'MSP OVERRIDE')}" if msg.OVERRIDE in active else mode


def restart(variant: str, before: Status | None, status: Status) -> str:
    """What tells that the autopilot booted anew; empty where nothing does.

    MSP has neither a time nor a sequence number. Betaflight refuses to arm for some seconds after its start, INAV
    while it calibrates its sensors, and INAV remembers whether it was ever armed.
    """
    if before is None:
        return ""
    if status.refusals & ~before.refusals & msg.BOOTING:
        return f"{'SENSORS_CALIBRATING' if variant == 'INAV' else 'BOOTGRACE'} appeared: the autopilot has just started"
    if variant == "INAV" and before.refusals & ~status.refusals & msg.INAV_WAS_EVER_ARMED:
        return "the autopilot no longer knows that it was armed: it has just started"
    return ""
