"""Trim: an integrator on the tracking error, d_hat' = Gamma K_v s (design, *Trim*).

With the tracking law m s' = -K_v s + d - d_hat it makes a loop of second order with the poles of
m r^2 + K_v r + Gamma K_v = 0: a constant force is taken up with a time constant of about 1 / Gamma.
"""

from __future__ import annotations

import numpy as np

from neural_lander.arrays import Array, constant
from neural_lander.components import choose_rows, plus, scaled, split, times
from neural_lander.control.estimate import Clock, clamped, held
from neural_lander.state import State


class Trim:
    """The slow bias: battery, payload, thrust scale. Clamped; held in saturation, and in contact but to lift off.

    Parameters
    ----------
    rate : ndarray
        Gamma K_v, ``(3,)`` kg/s^2; zero keeps d_hat at zero, which is the law of the paper.
    limit : float
        N, on every component.
    """

    def __init__(self, rate: np.ndarray, limit: float) -> None:
        self._rate, self._limit, self._off = split(rate), limit, not np.any(rate)
        self._clock = Clock()
        self.reset()

    def reset(self, d_hat: Array | None = None) -> None:
        """Forget the trim, or start from a known one in N."""
        self.d_hat: Array = np.zeros(3) if d_hat is None else d_hat  # (..., 3) N, world
        self._clock.reset()

    def observe(self, t: float, state: State, rotor_thrust: Array, f_a_hat: Array) -> None:
        """Nothing: the trim learns from the tracking error alone."""

    def update(self, t: float, s: Array, hold: bool | Array) -> None:
        """Integrate up to time t in s, except where ``hold`` or where s is not finite."""
        dt = self._clock(t)
        if dt == 0.0 or self._off:
            return
        d_hat, error = constant(self.d_hat, s), split(s)
        moved = plus(split(d_hat), times(scaled(dt, self._rate), error))
        self.d_hat = choose_rows(held(hold, *error), d_hat, clamped(moved, self._limit))
