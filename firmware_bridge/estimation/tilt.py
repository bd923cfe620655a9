"""An attitude for autopilots that take roll, pitch and a yaw rate, but no heading."""

from __future__ import annotations

import math

import numpy as np

from firmware_bridge.link import AttitudeSetpoint
from neural_lander.components import quaternion_rows, yaw_of
from neural_lander.errors import UserError

ATTITUDE_AGE = 0.2  # s, of the heading that a setpoint is turned into; a guess
YAW_GAIN = 2.0  # 1/s, from heading error to yaw rate; a guess
YAW_RATE_MOST = 1.0  # rad/s, of that; a guess


def tilt_in_heading(wanted: np.ndarray, present: np.ndarray) -> tuple[float, float, float]:
    """Roll and pitch (body FLU, rad) that give the wanted thrust direction at the present heading, and the turn left.

    Both are unit quaternions, body to world. Of a thrust direction z in the frame turned by the heading, roll is
    -asin z_y and pitch atan2(z_x, z_z), since z is the third column of R_y(pitch) R_x(roll).
    """
    W, P = quaternion_rows(np.asarray(wanted, dtype=float).tolist()), quaternion_rows(present.tolist())
    yaw = yaw_of(P)
    c, s = math.cos(yaw), math.sin(yaw)
    x, y, z = c * W[0][2] + s * W[1][2], c * W[1][2] - s * W[0][2], W[2][2]
    turn = math.remainder(yaw_of(W) - yaw, 2 * math.pi)
    return -math.asin(min(max(y, -1.0), 1.0)), math.atan2(x, z), turn


def tilt_and_rate(setpoint: AttitudeSetpoint, present: np.ndarray | None, age: float) -> tuple[float, float, float]:
    """Roll and pitch in rad for a setpoint, and the yaw rate in rad/s, counter-clockwise, that takes up the turn left.

    Parameters
    ----------
    present, age
        The attitude that was heard last, (4,), and how long ago in s.

    Raises
    ------
    UserError
        Where none has come, or none of late.
    """
    if present is None or age > ATTITUDE_AGE:
        raise UserError(f"setpoint: no attitude came for {ATTITUDE_AGE} s, so a tilt has no direction; wait for one")
    roll, pitch, turn = tilt_in_heading(setpoint.attitude, present)
    return roll, pitch, setpoint.yaw_rate + min(max(YAW_GAIN * turn, -YAW_RATE_MOST), YAW_RATE_MOST)
