"""INDI: incremental nonlinear dynamic inversion of the linear acceleration, as a filtered disturbance estimate.

    d_hat = H(s) [ m a - R (0, 0, T) - f_a_hat ]      a: specific force, world     H(s) = (omega_c / (s + omega_c))^2

Smeur, de Croon and Chu, "Gust disturbance alleviation with incremental nonlinear dynamic inversion", IROS 2016;
Tal and Karaman, "Accurate tracking of aggressive quadrotor trajectories using incremental nonlinear dynamic inversion
and differential flatness", IEEE TCST 29(3), 2021: the new force is the filtered present one plus the mass times what
the acceleration lacks, f_c = H R (0, 0, T) + m (a_c - H a). With the acceleration a_c that PD asks for, that is the
tracking law with this d_hat. Both signals pass the same filter, so that neither leads the other; T is what the motors
produce, the command behind their first-order lag: a command that has not reached the air yet is no disturbance.

H is two equal lags: near Butterworth, and exact for whatever step the loop takes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from neural_lander.arrays import Array
from neural_lander.components import Vector, choose, split
from neural_lander.control.estimate import DISTURBANCE_LIMIT, Clock, MotorLag, Repetition, clamped, held
from neural_lander.errors import UserError
from neural_lander.state import State
from neural_lander.vehicle import Vehicle

DEFAULT_CUT_OFF = 30.0  # rad/s of each lag, guess: above the position loop's 3 rad/s, below rotor vibration; tuned


@dataclass(frozen=True)
class IndiGains:
    """Free parameters."""

    cut_off: float = DEFAULT_CUT_OFF  # rad/s
    """omega_c: a constant force is taken up in about 2 / omega_c; noise grows with its root."""
    limit: float = DISTURBANCE_LIMIT
    """Bound on every component of d_hat as a fraction of the weight."""

    def __post_init__(self) -> None:
        if not 0.1 <= self.cut_off <= 1000:
            raise UserError(f"INDI cut_off = {self.cut_off!r} rad/s must lie in [0.1, 1000]")
        if not 0 < self.limit <= 1:
            raise UserError(f"INDI limit = {self.limit!r} of the weight must lie in (0, 1]")


class Indi:
    """The incremental law's d_hat. Held in contact, where the accelerometer feels the floor.

    Parameters
    ----------
    vehicle : Vehicle
    gains : IndiGains, optional
    """

    def __init__(self, vehicle: Vehicle, gains: IndiGains | None = None) -> None:
        self.gains = gains or IndiGains()
        self._mass, self._limit = vehicle.mass, self.gains.limit * vehicle.weight
        self._clock, self._lag, self._repeated = Clock(), MotorLag(vehicle), Repetition()
        self.felt = False
        """Whether there is an accelerometer: one that was heard once is there after a reset too."""
        self.reset()

    def reset(self, d_hat: Array | None = None) -> None:
        """Forget the past, or start from a known force in N."""
        self.d_hat: Array = np.zeros(3) if d_hat is None else d_hat  # (..., 3) N, world
        self._once: Vector = split(self.d_hat)  # N, behind one lag and behind two
        self._twice: Vector = self._once
        for part in (self._clock, self._lag, self._repeated):
            part.reset()

    def observe(self, t: float, state: State, rotor_thrust: Array, f_a_hat: Array) -> None:
        """Filter what the accelerometer feels beyond thrust and model, except in contact.

        Raises
        ------
        UserError
            If no state has held a specific force yet; a later one without leaves d_hat as it is.
        """
        dt = self._clock(t)
        thrust = sum(split(self._lag(dt, rotor_thrust)))
        if state.specific_force is None:
            if not self.felt:
                raise UserError("INDI needs a state with specific_force, and this one has none: fly l1 or trim instead")
            return
        self.felt = True
        share = 1.0 - math.exp(-self.gains.cut_off * dt)
        felt, modelled = split(state.specific_force), split(f_a_hat)
        missing = [self._mass * a - thrust * row[2] - f for a, row, f in zip(felt, state.rows, modelled, strict=True)]
        hold = held(state.contact, *missing) | self._repeated(*felt, *split(state.velocity))
        once = [x + share * (y - x) for x, y in zip(self._once, missing, strict=True)]
        twice = [x + share * (y - x) for x, y in zip(self._twice, once, strict=True)]
        self._once = [choose(hold, x, y) for x, y in zip(self._once, once, strict=True)]
        self._twice = [choose(hold, x, y) for x, y in zip(self._twice, twice, strict=True)]
        self.d_hat = clamped(self._twice, self._limit)

    def update(self, t: float, s: Array, hold: bool | Array) -> None:
        """Nothing: INDI learns from the accelerometer alone."""
