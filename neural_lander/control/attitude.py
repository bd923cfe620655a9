"""Geometric attitude control on SO(3) after Lee, Leok and McClamroch (CDC 2010), with moment trim."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import numpy as np

from neural_lander.arrays import Array, constant
from neural_lander.components import (
    Rows,
    Scalar,
    Vector,
    choose,
    columns,
    cross,
    dot,
    join,
    maximum,
    minimum,
    minus,
    plus,
    rotate_back,
    scaled,
    sqrt,
    times,
    unit,
)
from neural_lander.control.horizontal_loop import attitude_response
from neural_lander.errors import NeuralLanderWarning
from neural_lander.vehicle import Vehicle

MAX_TILT = math.radians(35.0)  # guess: beyond it a landing is not a landing
STEEPEST = math.tan(MAX_TILT)
LEAST_LIFT = 0.2  # of the weight, guess: with less a vehicle falls nearly free, and what is wanted sideways is noise
YAW_FREQUENCY_RATIO = 0.35  # yaw is slower than tilt: reaction torque is the weakest of the moments, guess
TRIM_RATE = 1.0  # 1/s, guess: settles within a few seconds of hover, slow against the attitude loop


@dataclass(frozen=True, eq=False)
class AttitudeGains:
    """Diagonal gains of the attitude law."""

    k_R: np.ndarray  # (3,) N m
    k_omega: np.ndarray  # (3,) N m s/rad

    @classmethod
    def of_response(cls, vehicle: Vehicle, natural_frequency: float, damping: float = 1.0) -> AttitudeGains:
        """Without the motors' lag tilt answers with this natural frequency in rad/s and damping ratio."""
        frequency = natural_frequency * np.array([1.0, 1.0, YAW_FREQUENCY_RATIO])
        return cls(vehicle.inertia * frequency**2, 2 * damping * vehicle.inertia * frequency)

    @classmethod
    def for_motors(cls, vehicle: Vehicle) -> AttitudeGains:
        """What the vehicle's motors allow: see :func:`~neural_lander.control.horizontal_loop.attitude_response`."""
        omega, zeta, damped = attitude_response(vehicle.motor_time_constant)
        if damped <= 0.0:
            warnings.warn(
                f"motor_time_constant = {vehicle.motor_time_constant:g} s of '{vehicle.name}': no attitude gains keep "
                "the horizontal loop stable at its default gains with motors this slow; is it in ms?",
                NeuralLanderWarning,
                stacklevel=2,
            )
        return cls.of_response(vehicle, omega, zeta)


def desired_attitude(force: Vector, yaw: float, weight: float) -> Rows:
    """Rows of R_d, whose z axis is along ``force`` in N, world, tilted at most MAX_TILT, at heading yaw in rad.

    A quadrotor cannot pull down: where less than LEAST_LIFT of the ``weight`` in N is wanted upwards, the tilt is that
    of the horizontal force over so much lift, which goes to level with it.
    """
    _, a, b, shrink = _slope(force, weight)
    z = unit((a * shrink, b * shrink, 1.0 + 0.0 * a))
    level_y = (-math.sin(yaw), math.cos(yaw), 0.0)
    x = unit(cross(level_y, z))
    y = cross(z, x)
    return columns((x, y, z))


def _slope(force: Vector, weight: float) -> tuple[Scalar, Scalar, Scalar, Scalar]:
    """1 / lift in 1/N, the tangents f_x / lift and f_y / lift, and what the limit of the tilt leaves of both."""
    up = 1.0 / maximum(force[2], LEAST_LIFT * weight)
    a, b = force[0] * up, force[1] * up
    return up, a, b, minimum(STEEPEST / sqrt(a * a + b * b + 1e-12), 1.0)


def desired_rates(force: Vector, R_d: Rows, turning: Vector, yaw: float, weight: float) -> Vector:
    """Angular velocity of R_d in rad/s, world, while ``force`` in N changes by ``turning`` in N/s and yaw stays.

    From R_d' = omega_d x R_d, with R_d = :func:`desired_attitude`: z along the force within its limits, x without a
    part to the side of the heading (after Mellinger and Kumar, ICRA 2011). From half the largest tilt on less and less
    of what tilts it further is told, so that no momentum carries the vehicle past the limit, where R_d stops at once.
    """
    x, y, z = columns(R_d)
    up, a, b, shrink = _slope(force, weight)
    rise = choose(force[2] > LEAST_LIFT * weight, turning[2], 0.0 * up)
    da, db = up * (turning[0] - a * rise), up * (turning[1] - b * rise)
    square = a * a + b * b + 1e-12
    outward = (a * da + b * db) / square
    told = maximum(minimum(2.0 - 2.0 * sqrt(square) / STEEPEST, 1.0), 0.0)
    outward = outward * choose((shrink < 1.0) | (outward > 0.0), 1.0 - told, 0.0 * told)  # what is not told
    h = scaled(z[2] * shrink, (da - a * outward, db - b * outward, 0.0 * up))  # z' but for what is along z
    p, q = -dot(y, h), dot(x, h)
    level_y = (-math.sin(yaw), math.cos(yaw), 0.0)
    r = q * dot(z, level_y) / dot(y, level_y)
    return plus(plus(scaled(p, x), scaled(q, y)), scaled(r, z))


class AttitudeLaw:
    """tau_d = -k_R e_R - k_omega (omega - R^T omega_d) + omega x J omega - tau_hat.

    omega_d is what the reference's jerk turns R_d by. What errors turn it by is left out, since that is a derivative of
    noise, and so is the moment for omega_d'.
    """

    def __init__(self, vehicle: Vehicle, gains: AttitudeGains | None = None) -> None:
        self.gains = gains or AttitudeGains.for_motors(vehicle)
        self._k_R, self._k_omega = self.gains.k_R.tolist(), self.gains.k_omega.tolist()
        self._J: list[float] = vehicle.inertia.tolist()
        self.tau_hat: Array = np.zeros(3)  # (..., 3) N m, body
        self._e_R: Vector = (0.0, 0.0, 0.0)

    def __call__(self, R: Rows, omega: Vector, R_d: Rows, omega_d: Vector | None = None) -> Array:
        """Moment (..., 3) in N m, body, from attitude, body rates in rad/s and desired attitude.

        ``omega_d`` is the angular velocity of R_d in rad/s, world; None where it stands still.
        """
        e_R = self._e_R = attitude_error(R, R_d)
        gyroscopic = cross(omega, times(self._J, omega))
        e_omega = omega if omega_d is None else minus(omega, rotate_back(R, omega_d))
        moment = join(minus(minus(gyroscopic, times(self._k_R, e_R)), times(self._k_omega, e_omega)))
        return moment - constant(self.tau_hat, moment)

    def learn_trim(self, dt: float) -> None:
        """One step of dt in s of tau_hat' = k_i e_R, in hover: takes up a centre of mass that is off."""
        e_R = join(self._e_R)
        self.tau_hat = constant(self.tau_hat, e_R) + dt * TRIM_RATE * constant(self.gains.k_R, e_R) * e_R


def attitude_error(R: Rows, R_d: Rows) -> Vector:
    """e_R = 1/2 (R_d^T R - R^T R_d)^vee of Lee et al., body."""
    (x, y, z), (x_d, y_d, z_d) = columns(R), columns(R_d)
    return (
        0.5 * (dot(z_d, y) - dot(y_d, z)),
        0.5 * (dot(x_d, z) - dot(z_d, x)),
        0.5 * (dot(y_d, x) - dot(x_d, y)),
    )
