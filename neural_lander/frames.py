"""Between our frames (world ENU, body FLU) and those of autopilots and their logs (world NED, body FRD).

Either change of frame is a half turn, so that each function is its own inverse: the same call leads there and
back. The world's half turn is about (1, 1, 0) (swap x and y, negate z), the body's about its x axis. East is
our world x; a local frame that knows no north calls its own x east. Any batch axes in front, either array library.
"""

from __future__ import annotations

import math

import numpy as np

from neural_lander.arrays import Array, constant, namespace
from neural_lander.rotation import quaternion_multiply

NED_FROM_ENU = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, -1.0]])
FRD_FROM_FLU = np.diag([1.0, -1.0, -1.0])
_WORLD_HALF_TURN = np.array([0.0, math.sqrt(0.5), math.sqrt(0.5), 0.0])  # NED_FROM_ENU as a quaternion
_BODY_HALF_TURN = np.array([0.0, 1.0, 0.0, 0.0])  # FRD_FROM_FLU as a quaternion


def swap_world(v: Array) -> Array:
    """World vector from ENU to NED or back: position, velocity, acceleration, force, ``(..., 3)`` in its unit."""
    return v @ constant(NED_FROM_ENU, v)  # symmetric, so that v @ M is M v


def swap_body(v: Array) -> Array:
    """Body vector from FLU to FRD or back: body rates in rad/s, moment, specific force, ``(..., 3)`` in its unit."""
    return v @ constant(FRD_FROM_FLU, v)


def swap_attitude(q: Array) -> Array:
    """Unit quaternion (w, x, y, z) of FLU in ENU from that of FRD in NED or back, ``(..., 4)``.

    R_ned_frd = P R_enu_flu D with the two half turns P and D. The sign is kept: a continuous sequence stays so.
    """
    world, body = (constant(half_turn, q) for half_turn in (_WORLD_HALF_TURN, _BODY_HALF_TURN))
    return quaternion_multiply(quaternion_multiply(world, q), body)


def swap_yaw(yaw: Array) -> Array:
    """Heading in rad, from counter-clockwise from east to clockwise from north or back, ``(...)`` in (-pi, pi]."""
    xp = namespace(yaw)
    return xp.atan2(xp.cos(yaw), xp.sin(yaw))
