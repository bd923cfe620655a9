"""Setpoints as SET_ATTITUDE_TARGET, poses as VISION_POSITION_ESTIMATE.

All that goes out changes frames and thrust here and nowhere else.
"""

from __future__ import annotations

import math

import numpy as np
from pymavlink.dialects.v20 import ardupilotmega as dialect

from firmware_bridge.estimation.pose import Pose
from firmware_bridge.link import AttitudeSetpoint, Setpoint
from firmware_bridge.mavlink.messages import AUTOPILOT, Packable
from firmware_bridge.thrust import ThrustMap
from neural_lander.components import euler_angles, quaternion_rows
from neural_lander.frames import swap_attitude, swap_body, swap_world

ATTITUDE_AND_THRUST = 0b00000111  # type_mask: ignore the three body rates
RATES_AND_THRUST = 0b10000000  # type_mask: ignore the attitude
LEAST_BOOST_COSINE = 0.1  # ArduPilot boosts by at most ten (AC_AttitudeControl_Multi::get_throttle_boosted)
NO_ATTITUDE = [1.0, 0.0, 0.0, 0.0]


def sent_fraction(setpoint: Setpoint, thrust: ThrustMap, voltage: float | None, tilt_boost: float) -> float:
    """Fraction to send; a thrust that the battery no longer gives becomes full.

    ``tilt_boost`` is what the autopilot will multiply the fraction by (:func:`tilt_boost`).
    """
    return min(thrust.fraction(setpoint.thrust, voltage) / tilt_boost, 1.0)


def attitude_target(setpoint: Setpoint, system: int, boot_ms: int, fraction: float) -> Packable:
    """SET_ATTITUDE_TARGET of a setpoint that was checked."""
    q, rates, mask = NO_ATTITUDE, [0.0, 0.0, 0.0], RATES_AND_THRUST
    if isinstance(setpoint, AttitudeSetpoint):
        attitude = np.asarray(setpoint.attitude, dtype=float)
        q, mask = swap_attitude(attitude / np.linalg.norm(attitude)).tolist(), ATTITUDE_AND_THRUST
    else:
        rates = swap_body(np.asarray(setpoint.body_rates, dtype=float)).tolist()
    return dialect.MAVLink_set_attitude_target_message(boot_ms, system, AUTOPILOT, mask, q, *rates, fraction)


def vision_position(pose: Pose, resets: int) -> Packable:
    """VISION_POSITION_ESTIMATE of a pose: NED, angles of FRD in it, our clock, which TIMESYNC has told the autopilot.

    The covariance is not known, which MAVLink says by NaN in its first place.
    """
    angles = euler_angles(quaternion_rows(swap_attitude(pose.attitude).tolist()))
    unknown = [math.nan] + [0.0] * 20
    x, y, z = swap_world(pose.position).tolist()
    return dialect.MAVLink_vision_position_estimate_message(
        max(int(pose.t * 1e6), 0), x, y, z, *angles, unknown, resets % 256
    )


def tilt_boost(attitude: np.ndarray) -> float:
    """1/cos(tilt), by which ArduPilot (ATC_ANGLE_BOOST) raises the fraction while the vehicle is tilted as measured."""
    _, x, y, _ = (float(part) for part in attitude)
    return 1 / max(1 - 2 * (x * x + y * y), LEAST_BOOST_COSINE)
