"""How a rigid body turns within one step, and how long a step is: the same in both worlds."""

from __future__ import annotations

from collections.abc import Sequence

from neural_lander.components import Scalar, Vector, minus

TIME_STEP = 1 / 240  # s, of both worlds, and of sensors and controllers in them: Bullet's default


def gyroscopic(J: Sequence[float], w: Vector) -> Vector:
    """w x J w in N m, body, of the principal moments J in kg m^2 and rates w in rad/s, body."""
    (Jx, Jy, Jz), (x, y, z) = J, w
    return (Jz - Jy) * y * z, (Jx - Jz) * z * x, (Jy - Jx) * x * y


def net_moment(J: Sequence[float], w: Vector, tau: Vector, dt: Scalar) -> Vector:
    """Mean of tau - w x J w in N m, body, over the next dt in s, of its mid-point."""
    half, (Jx, Jy, Jz) = dt / 2, J
    x, y, z = minus(tau, gyroscopic(J, w))
    middle = w[0] + half * x / Jx, w[1] + half * y / Jy, w[2] + half * z / Jz
    return minus(tau, gyroscopic(J, middle))


def angular_acceleration(J: Sequence[float], w: Vector, tau: Vector, dt: Scalar) -> Vector:
    """Mean of w' in rad/s^2, body, over the next dt in s: the mid-point step of J w' = J w x w + tau."""
    x, y, z = net_moment(J, w, tau, dt)
    return x / J[0], y / J[1], z / J[2]
