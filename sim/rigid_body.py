"""How a rigid body turns within one step: the same in both worlds."""

from __future__ import annotations

from collections.abc import Sequence

from neural_lander.components import Scalar, Vector


def gyroscopic(J: Sequence[float], w: Vector) -> Vector:
    """w x J w in N m, body, of the principal moments J in kg m^2 and rates w in rad/s, body."""
    (Jx, Jy, Jz), (x, y, z) = J, w
    return (Jz - Jy) * y * z, (Jx - Jz) * z * x, (Jy - Jx) * x * y


def angular_acceleration(J: Sequence[float], w: Vector, tau: Vector, dt: Scalar) -> Vector:
    """Mean of w' in rad/s^2, body, over the next dt in s: the mid-point step of J w' = J w x w + tau."""
    half = dt / 2
    (gx, gy, gz), (Jx, Jy, Jz), (tx, ty, tz) = gyroscopic(J, w), J, tau
    middle = w[0] + half * (tx - gx) / Jx, w[1] + half * (ty - gy) / Jy, w[2] + half * (tz - gz) / Jz
    gx, gy, gz = gyroscopic(J, middle)
    return (tx - gx) / Jx, (ty - gy) / Jy, (tz - gz) / Jz
