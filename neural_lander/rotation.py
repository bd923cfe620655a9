"""Rotations of arrays: Hamilton quaternions ``(w, x, y, z)``, body to world, and matrices on SO(3).

Every function takes any number of leading batch axes and either array library. The formulas are those of
``components``, which hot loops call themselves.
"""

from __future__ import annotations

import numpy as np

from neural_lander import components
from neural_lander.arrays import Array, constant, namespace
from neural_lander.components import euler_quaternion, join, quaternion_product, quaternion_rows, split


def cross(a: Array, b: Array) -> Array:
    """Vector product a x b, ``(..., 3)``."""
    return join(components.cross(split(a), split(b)))


def apply(R: Array, v: Array) -> Array:
    """Matrix times vector over batches: ``(..., 3, 3), (..., 3) -> (..., 3)``."""
    return R @ v if v.ndim == 1 else (R @ v[..., None])[..., 0]


def normalise(q: Array) -> Array:
    """Unit quaternion or vector along the last axis; the argument must not be zero."""
    xp = namespace(q)
    return q / xp.sqrt(xp.sum(q * q, axis=-1, keepdims=True))


def quaternion_to_matrix(q: Array) -> Array:
    """Rotation matrix body to world of a unit quaternion, ``(..., 4) -> (..., 3, 3)``."""
    rows = [join(row) for row in quaternion_rows(split(q))]
    return namespace(q).stack(rows, axis=-2)


def quaternion_multiply(a: Array, b: Array) -> Array:
    """Hamilton product a * b: first b, then a, ``(..., 4)``."""
    return join(quaternion_product(split(a), split(b)))


def quaternion_conjugate(q: Array) -> Array:
    """Inverse of a unit quaternion."""
    return q * constant(np.array([1.0, -1.0, -1.0, -1.0]), q)


def quaternion_from_euler(roll: Array, pitch: Array, yaw: Array) -> Array:
    """Quaternion of Euler angles in rad, ``(...) -> (..., 4)``: that of ``components.euler_quaternion``."""
    return join(euler_quaternion(roll, pitch, yaw))


def quaternion_exp(rotation_vector: Array) -> Array:
    """Unit quaternion of a rotation vector in rad, ``(..., 3) -> (..., 4)``, exact at zero too."""
    xp = namespace(rotation_vector)
    half = xp.sqrt(xp.sum(rotation_vector * rotation_vector, axis=-1, keepdims=True)) / 2
    small = half < 1e-4  # sin(x)/x = 1 - x^2/6 to 1e-17 there
    sinc = xp.where(small, 1 - half * half / 6, xp.sin(half) / xp.where(small, xp.ones_like(half), half))
    return xp.concat([xp.cos(half), rotation_vector * sinc / 2], axis=-1)
