"""First-order motors."""

from __future__ import annotations

import math

import numpy as np


class FirstOrderMotors:
    """u = n^2 follows its command with time constant tau: what a thrust stand shows; exact over a step.

    Parameters
    ----------
    time_constant : float
        s; 0 for motors without lag.
    u_max : float
        (rad/s)^2.
    """

    def __init__(self, time_constant: float, u_max: float) -> None:
        self.time_constant = time_constant
        self.u_max = u_max
        self.u = np.zeros(4)  # (rad/s)^2

    def reset(self, rotor_speeds: np.ndarray) -> None:
        """Turn at these speeds in rad/s, (4,)."""
        self.u = np.asarray(rotor_speeds, dtype=np.float64) ** 2

    def step(self, command: np.ndarray, dt: float) -> np.ndarray:
        """u after dt in s under a constant command in rad/s, (4,)."""
        target = np.minimum(command * command, self.u_max)
        share = 1 - math.exp(-dt / self.time_constant) if self.time_constant > 0 else 1.0
        self.u = self.u + share * (target - self.u)
        return self.u
