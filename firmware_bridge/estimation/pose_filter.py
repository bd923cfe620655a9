"""Velocity from positions: motion capture tells none, and a difference of two is noise.

    p- = p + v dt + a dt^2 / 2      v- = v + a dt      r = z - p-
    p  = p- + alpha r               v  = v- + beta r / dt

with alpha = 1 - theta^2, beta = (1 - theta)^2, theta = exp(-w dt): both poles at theta, critically damped (the fading
memory filter; Brookner, *Tracking and Kalman Filtering Made Easy*, 1998, section 1.2.6). The acceleration a is the
accelerometer's, so that the filter lags only behind what that does not feel.
"""

from __future__ import annotations

import math

import numpy as np

BANDWIDTH = 20.0  # rad/s; a guess: 1 mm of noise at 100 Hz is some 10 mm/s, and a bias of 0.1 m/s^2 is 10 mm/s
JUMP = 0.15  # m off where the velocity leads: no noise but another place, of poses and of estimators' reports; guess
JUMP_ACCELERATION = 10.0  # m/s^2 that nobody measured, guess: 1 g
LONGEST_GAP = 0.5  # s that the accelerometer alone can bridge; a guess
SETTLING = 6.0 / BANDWIDTH  # s until the velocity is that of the vehicle: an error has gone down to 2 %


def fading_memory(bandwidth: float, dt: float) -> tuple[float, float]:
    """alpha, and beta / dt in 1/s, of a filter with both poles at exp(-bandwidth dt); rad/s and s."""
    theta = math.exp(-bandwidth * dt)
    return 1.0 - theta**2, (1.0 - theta) ** 2 / dt


class PoseFilter:
    """Position and velocity at the time of each pose."""

    def __init__(self) -> None:
        self.resets = 0
        """How often positions began anew elsewhere, or after a gap."""
        self._t = -math.inf
        self._since = math.inf
        self._p, self._v = np.zeros(3), np.zeros(3)

    def reset(self) -> None:
        """Begin anew with the next position."""
        self.resets += self._t > -math.inf
        self._t = -math.inf

    def update(self, t: float, position: np.ndarray, acceleration: np.ndarray) -> None:
        """Take in a position (3,) m at ``t`` s and the mean acceleration (3,) m/s^2, world, since the one before."""
        dt = t - self._t
        if abs(dt) > LONGEST_GAP:
            self.reset()
            self._since, self._v = t, np.zeros(3)
            self._t, self._p = t, position
            return
        if dt <= 0.0:  # a sender that began anew: its first poses may come before the last one
            return
        predicted = self._p + self._v * dt + 0.5 * acceleration * dt**2
        v = self._v + acceleration * dt
        r = position - predicted
        self._t = t
        if float(np.linalg.norm(r)) > JUMP + 0.5 * JUMP_ACCELERATION * dt**2:
            self.resets += 1
            self._p, self._v = position, v  # elsewhere, and as fast as before: the jump itself is no speed
            return
        alpha, beta_over_dt = fading_memory(BANDWIDTH, dt)
        self._p = predicted + alpha * r
        self._v = v + beta_over_dt * r

    @property
    def state(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Position (3,) m and velocity (3,) m/s at the newest pose; None until the velocity has settled."""
        return (self._p, self._v) if self._t - self._since >= SETTLING else None
