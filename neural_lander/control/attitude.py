"""Geometric attitude control on SO(3) after Lee, Leok and McClamroch (CDC 2010), with moment trim."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from neural_lander.arrays import Array, constant, namespace
from neural_lander.rotation import apply, cross, hat, transpose, vee
from neural_lander.vehicle import Vehicle

MAX_TILT = math.radians(35.0)  # guess: beyond it a landing is not a landing
YAW_FREQUENCY_RATIO = 0.35  # yaw is slower than tilt: reaction torque is the weakest of the moments
TRIM_RATE = 1.0  # 1/s, guess: settles within a few seconds of hover, slow against the attitude loop


@dataclass(frozen=True)
class AttitudeGains:
    """Diagonal gains of the attitude law."""

    k_R: np.ndarray  # (3,) N m
    k_omega: np.ndarray  # (3,) N m s/rad

    @classmethod
    def critically_damped(cls, vehicle: Vehicle, natural_frequency: float | None = None) -> AttitudeGains:
        """Both poles at ``natural_frequency`` in rad/s; by default half the motor's bandwidth, at most 20 rad/s."""
        omega = natural_frequency or min(20.0, 0.5 / vehicle.motor_time_constant)
        frequency = omega * np.array([1.0, 1.0, YAW_FREQUENCY_RATIO])
        return cls(vehicle.inertia * frequency**2, 2 * vehicle.inertia * frequency)


def desired_attitude(force: Array, yaw: float) -> Array:
    """R_d ``(..., 3, 3)`` whose z axis is along ``force`` (..., 3) N, tilted at most MAX_TILT, at heading yaw."""
    xp = namespace(force)
    up = xp.maximum(force[..., 2:], 1e-6 + 0 * force[..., 2:])  # a quadrotor cannot pull down
    side = force[..., :2] / up
    steepness = xp.sqrt(xp.vecdot(side, side))[..., None]
    side = side / xp.maximum(steepness / math.tan(MAX_TILT), xp.ones_like(steepness))
    z = xp.concat([side, xp.ones_like(up)], axis=-1)
    z = z / xp.sqrt(xp.vecdot(z, z))[..., None]
    across = constant(np.array([-math.sin(yaw), math.cos(yaw), 0.0]), force)  # y axis of a level vehicle
    S_z = hat(z)
    x = -apply(S_z, across + 0 * z)  # across x z: forward, in the plane of the rotors
    x = x / xp.sqrt(xp.vecdot(x, x))[..., None]
    return xp.stack([x, apply(S_z, x), z], axis=-1)


class AttitudeLaw:
    """tau_d = -k_R e_R - k_omega e_omega + omega x J omega - tau_hat, desired body rates zero.

    The rates of R_d are left out: they are derivatives of noise, and a landing turns slowly.
    """

    def __init__(self, vehicle: Vehicle, gains: AttitudeGains | None = None) -> None:
        self.gains = gains or AttitudeGains.critically_damped(vehicle)
        self._inertia = vehicle.inertia
        self._trim_rate = TRIM_RATE * self.gains.k_R
        self.tau_hat: Array = np.zeros(3)  # (..., 3) N m, body
        self.e_R: Array = np.zeros(3)

    def __call__(self, R: Array, omega: Array, R_d: Array) -> Array:
        """Moment in N m, body, ``(..., 3, 3), (..., 3) rad/s, (..., 3, 3) -> (..., 3)``."""
        J = constant(self._inertia, omega)
        self.e_R = vee(transpose(R_d) @ R)  # vee takes the skew part, the 1/2 of Lee's e_R
        feedback = constant(self.gains.k_R, omega) * self.e_R + constant(self.gains.k_omega, omega) * omega
        return cross(omega, J * omega) - feedback - self.tau_hat

    def learn_trim(self, dt: float) -> None:
        """One step of dt in s of tau_hat' = k_i e_R, in hover: takes up a centre of mass that is off."""
        self.tau_hat = self.tau_hat + (dt * constant(self._trim_rate, self.e_R)) * self.e_R


