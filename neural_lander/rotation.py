"""Rotations: Hamilton quaternions ``(w, x, y, z)``, body to world, and matrices on SO(3).

Every function takes any number of leading batch axes and either array library. The bilinear maps are
written as products with constant tensors: one matrix product costs a single vehicle less than a dozen
component-wise operations, and batches as well.
"""

from __future__ import annotations

import numpy as np

from neural_lander.arrays import Array, constant, namespace
from neural_lander.components import euler_quaternion, join

# HAT[k, 3 i + j] = d S(w)_ij / d w_k, so that S(w) = (w @ HAT) reshaped; S(w) v = w x v.
HAT = np.zeros((3, 9))
for _i, _j, _k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
    HAT[_k, 3 * _i + _j] = -1.0
    HAT[_k, 3 * _j + _i] = 1.0

# (a * b)_r = sum_pq a_p b_q QUATERNION_PRODUCT[p, q, r], Hamilton's i j = k.
QUATERNION_PRODUCT = np.zeros((4, 4, 4))
for _p, _q, _r, _sign in (
    (0, 0, 0, 1), (0, 1, 1, 1), (0, 2, 2, 1), (0, 3, 3, 1),
    (1, 0, 1, 1), (1, 1, 0, -1), (1, 2, 3, 1), (1, 3, 2, -1),
    (2, 0, 2, 1), (2, 1, 3, -1), (2, 2, 0, -1), (2, 3, 1, 1),
    (3, 0, 3, 1), (3, 1, 2, 1), (3, 2, 1, -1), (3, 3, 0, -1),
):  # fmt: skip
    QUATERNION_PRODUCT[_p, _q, _r] = _sign

# R_ij = sum_pq q_p q_q QUATERNION_TO_MATRIX[4 p + q, 3 i + j] for a unit quaternion.
_MAP = np.zeros((4, 4, 3, 3))
for _i in range(3):
    _MAP[0, 0, _i, _i] = 1.0
    for _p in range(1, 4):
        _MAP[_p, _p, _i, _i] = 1.0 if _p == _i + 1 else -1.0
for _i, _j, _k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
    for _a, _b in ((_i, _j), (_j, _i)):
        _MAP[_i + 1, _j + 1, _a, _b] = 2.0
    _MAP[0, _k + 1, _i, _j] = -2.0
    _MAP[0, _k + 1, _j, _i] = 2.0
QUATERNION_TO_MATRIX = _MAP.reshape(16, 9)


def hat(w: Array) -> Array:
    """Skew matrix S(w), ``(..., 3) -> (..., 3, 3)``, with S(w) v = w x v."""
    return (w @ constant(HAT, w)).reshape(*w.shape[:-1], 3, 3)


def cross(a: Array, b: Array) -> Array:
    """Vector product a x b, ``(..., 3)``."""
    return apply(hat(a), b)


def apply(R: Array, v: Array) -> Array:
    """Matrix times vector over batches: ``(..., 3, 3), (..., 3) -> (..., 3)``."""
    return R @ v if v.ndim == 1 else (R @ v[..., None])[..., 0]


def normalise(q: Array) -> Array:
    """Unit quaternion or vector along the last axis; the argument must not be zero."""
    xp = namespace(q)
    return q / xp.sqrt(xp.sum(q * q, axis=-1, keepdims=True))


def quaternion_to_matrix(q: Array) -> Array:
    """Rotation matrix body to world of a unit quaternion, ``(..., 4) -> (..., 3, 3)``."""
    outer = (q[..., :, None] * q[..., None, :]).reshape(*q.shape[:-1], 16)
    return (outer @ constant(QUATERNION_TO_MATRIX, q)).reshape(*q.shape[:-1], 3, 3)


def quaternion_multiply(a: Array, b: Array) -> Array:
    """Hamilton product a * b: first b, then a, ``(..., 4)``."""
    left = (a @ constant(QUATERNION_PRODUCT.reshape(4, 16), a)).reshape(*a.shape[:-1], 4, 4)
    return (b[..., None, :] @ left)[..., 0, :]


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
