"""First-order motors."""

from __future__ import annotations

import math

import numpy as np

from neural_lander.lag import share_after


class FirstOrderMotors:
    """u = n^2 follows its command with time constant tau: what a thrust stand shows; exact over a step.

    Parameters
    ----------
    time_constant : float or (4,)
        s, of all motors or of each; 0 for motors without lag.
    u_max : float
        (rad/s)^2.
    """

    def __init__(self, time_constant: float | np.ndarray, u_max: float) -> None:
        self.time_constant = time_constant
        self._dt, self._share = math.nan, np.ones(())  # the share of a step that is made in the last dt
        self.u_max = np.asarray(u_max)
        self.u = np.zeros(4)  # (rad/s)^2

    def reset(self, rotor_speeds: np.ndarray) -> None:
        """Turn at these speeds in rad/s, (4,)."""
        self.u = np.asarray(rotor_speeds, dtype=np.float64) ** 2

    def step(self, command: np.ndarray, dt: float) -> np.ndarray:
        """u after dt in s under a constant command in rad/s, (4,)."""
        if self._dt != dt:
            self._dt, self._share = dt, np.asarray(share_after(dt, self.time_constant))
        target = np.minimum(command * command, self.u_max)
        self.u = self.u + self._share * (target - self.u)
        return self.u
