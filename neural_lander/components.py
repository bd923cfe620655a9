"""Vectors as components: Python floats for one vehicle, arrays of one shape for a batch.

At three components NumPy's overhead exceeds the arithmetic tenfold, and a batch runs fastest with one array per
component. The same formulas serve both: whatever is written here and in terms of it takes either.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy import ndarray

from neural_lander.arrays import Array, constant, namespace

Scalar = Any
"""A Python float, or an array of the batch's shape."""
Vector = Sequence[Scalar]
Rows = tuple[Vector, Vector, Vector]
"""Rows of a 3 x 3 matrix."""
LEAST = 1e-30
"""Added to a length that may be 0 before it divides: it changes no other, and float32 has it too."""


def split(v: Array) -> Vector:
    """Components along the last axis, ``(..., n) -> n``."""
    if type(v) is ndarray and v.ndim == 1:
        return v.tolist()
    return tuple(v[..., i] for i in range(v.shape[-1]))


def join(components: Vector) -> Array:
    """Inverse of :func:`split`; all components must have one type. Outside of NumPy each stays one piece of memory."""
    if isinstance(components[-1], float | int):
        return np.array(components, dtype=np.float64)
    xp = namespace(*components)
    return xp.stack(list(components), axis=-1) if xp is np else xp.moveaxis(xp.stack(list(components), axis=0), 0, -1)


def nothing(like: Array) -> Array:
    """0 of the shape of a vector; of one vehicle always the same piece of memory, which cannot be written to."""
    if type(like) is ndarray and like.shape == (3,):
        return _NOTHING
    return 0.0 * like


_NOTHING = np.zeros(3)
_NOTHING.flags.writeable = False


def sqrt(x: Scalar) -> Scalar:
    """Square root."""
    return math.sqrt(x) if isinstance(x, float) else namespace(x).sqrt(x)


def sin(x: Scalar) -> Scalar:
    """Sine of an angle in rad."""
    return math.sin(x) if isinstance(x, float) else namespace(x).sin(x)


def cos(x: Scalar) -> Scalar:
    """Cosine of an angle in rad."""
    return math.cos(x) if isinstance(x, float) else namespace(x).cos(x)


def maximum(x: Scalar, bound: float) -> Scalar:
    """Larger of x and a constant."""
    if isinstance(x, float):
        return x if x > bound else bound
    return namespace(x).clip(x, bound, None)


def minimum(x: Scalar, bound: float) -> Scalar:
    """Smaller of x and a constant."""
    if isinstance(x, float):
        return x if x < bound else bound
    return namespace(x).clip(x, None, bound)


def sign(x: Scalar) -> Scalar:
    """1 where x >= 0, else -1."""
    if isinstance(x, float):
        return 1.0 if x >= 0.0 else -1.0
    return namespace(x).where(x >= 0, 0 * x + 1, 0 * x - 1)


def choose(condition: bool | Array, a: Scalar, b: Scalar) -> Scalar:
    """a where the condition holds, else b; a constant is taken for the whole batch."""
    if isinstance(condition, bool | np.bool_):
        return a if condition else b
    if isinstance(a, float):
        a = namespace(b).full_like(b, a)
    return namespace(condition).where(condition, a, b)


def choose_rows(condition: bool | Array, a: Array, b: Array) -> Array:
    """Vectors ``(..., n)``: a where the condition ``(...)`` holds, else b, which may be one for the whole batch."""
    if isinstance(condition, bool | np.bool_):
        return a if condition else b
    return namespace(a).where(condition[..., None], a, constant(b, a))


def logical_not(condition: bool | Array) -> bool | Array:
    """Whether it does not hold: of a bool, or of each of a batch."""
    return not condition if isinstance(condition, bool | np.bool_) else ~condition


def finite(*xs: Scalar) -> bool | Array:
    """Whether all are finite numbers: one bool, or one for each of the batch."""
    total = sum(xs)
    return math.isfinite(total) if isinstance(total, float) else namespace(total).isfinite(total)


def dot(a: Vector, b: Vector) -> Scalar:
    """a . b in three dimensions."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def cross(a: Vector, b: Vector) -> Vector:
    """a x b."""
    (ax, ay, az), (bx, by, bz) = a, b
    return ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx


def unit(a: Vector) -> Vector:
    """a over its length."""
    inverse = 1.0 / sqrt(dot(a, a))
    return a[0] * inverse, a[1] * inverse, a[2] * inverse


def plus(a: Vector, b: Vector) -> Vector:
    """a + b in three dimensions."""
    return a[0] + b[0], a[1] + b[1], a[2] + b[2]


def minus(a: Vector, b: Vector) -> Vector:
    """a - b in three dimensions."""
    return a[0] - b[0], a[1] - b[1], a[2] - b[2]


def times(D: Vector, a: Vector) -> Vector:
    """D a in three dimensions, of a diagonal matrix D."""
    return D[0] * a[0], D[1] * a[1], D[2] * a[2]


def scaled(k: Scalar, a: Vector) -> Vector:
    """k a in three dimensions, of a number k."""
    return k * a[0], k * a[1], k * a[2]


def heading(rows: Rows) -> tuple[Scalar, Scalar]:
    """Cosine and sine of the yaw of R: of the body's x axis in the horizontal plane.

    Not defined where that axis is vertical, which no landing is: there both are 0.
    """
    a, b = rows[0][0], rows[1][0]
    length = sqrt(a * a + b * b) + LEAST
    return a / length, b / length


def columns(rows: Rows) -> Rows:
    """Columns of a matrix of rows: the axes of the body in the world, where it is R."""
    (a, b, c), (d, e, f), (g, h, i) = rows
    return (a, d, g), (b, e, h), (c, f, i)


def rotate(rows: Rows, v: Vector) -> Vector:
    """R v."""
    (a, b, c), (d, e, f), (g, h, i) = rows
    x, y, z = v
    return a * x + b * y + c * z, d * x + e * y + f * z, g * x + h * y + i * z


def rotate_back(rows: Rows, v: Vector) -> Vector:
    """R^T v."""
    (a, b, c), (d, e, f), (g, h, i) = rows
    x, y, z = v
    return a * x + d * y + g * z, b * x + e * y + h * z, c * x + f * y + i * z


def quaternion_product(a: Vector, b: Vector) -> Vector:
    """Hamilton product a * b of quaternions (w, x, y, z)."""
    (aw, ax, ay, az), (bw, bx, by, bz) = a, b
    return (
        aw * bw - ax * bx - ay * by - az * bz,
        aw * bx + ax * bw + ay * bz - az * by,
        aw * by - ax * bz + ay * bw + az * bx,
        aw * bz + ax * by - ay * bx + az * bw,
    )


def euler_quaternion(roll: Scalar, pitch: Scalar, yaw: Scalar) -> Vector:
    """Quaternion (w, x, y, z) of Euler angles in rad.

    Turned by yaw about z, then by pitch about the new y, then by roll about the new x, as autopilots have them.
    """
    (cx, sx), (cy, sy), (cz, sz) = ((cos(0.5 * angle), sin(0.5 * angle)) for angle in (roll, pitch, yaw))
    yawed = quaternion_product((cz, 0.0, 0.0, sz), (cy, 0.0, sy, 0.0))
    return quaternion_product(yawed, (cx, sx, 0.0, 0.0))


def euler_angles(rows: Rows) -> tuple[float, float, float]:
    """Roll, pitch and yaw in rad of one vehicle's R: the inverse of :func:`euler_quaternion`."""
    return math.atan2(rows[2][1], rows[2][2]), math.asin(min(max(-rows[2][0], -1.0), 1.0)), yaw_of(rows)


def yaw_of(rows: Rows) -> float:
    """Yaw in rad of one vehicle's R; :func:`heading` gives its cosine and sine, also for a batch."""
    return math.atan2(rows[1][0], rows[0][0])


def quaternion_rows(q: Vector) -> Rows:
    """Rows of R, body to world, of a unit quaternion (w, x, y, z)."""
    w, x, y, z = q
    return (
        (1.0 - 2.0 * (y * y + z * z), 2.0 * (x * y - w * z), 2.0 * (x * z + w * y)),
        (2.0 * (x * y + w * z), 1.0 - 2.0 * (x * x + z * z), 2.0 * (y * z - w * x)),
        (2.0 * (x * z - w * y), 2.0 * (y * z + w * x), 1.0 - 2.0 * (x * x + y * y)),
    )


def turned(q: Vector, w: Vector, dt: float) -> Vector:
    """Attitude q after dt in s at the body rates w in rad/s, a unit quaternion: q * exp(w dt), exact at rest too."""
    square = dot(w, w) * (dt * dt / 4)  # of half the angle
    # sin(a)/a and cos(a) by series below 0.01 rad (to 1e-17), so that their gradients exist at rest
    small = square < 1e-4
    half = sqrt(choose(small, 1.0, square))
    sinc = choose(small, 1 - square * (1 / 6 - square * (1 / 120 - square / 5040)), sin(half) / half)
    cosine = choose(small, 1 - square * (1 / 2 - square * (1 / 24 - square / 720)), cos(half))
    scale = dt / 2 * sinc
    a, b, c, d = quaternion_product(q, (cosine, *(scale * x for x in w)))
    shrink = 1.0 / sqrt(a * a + b * b + c * c + d * d)
    return [a * shrink, b * shrink, c * shrink, d * shrink]
