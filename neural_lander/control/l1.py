"""L1 adaptive augmentation: a predictor of the velocity, piecewise-constant adaptation, and a low-pass filter.

    m v_hat' = m g + R (0, 0, T) + f_a_hat + sigma_hat - m a v~          v~ = v_hat - v
    sigma_hat = -m Phi^-1 e^(-a T_s) v~,  Phi = (1 - e^(-a T_s)) / a     at every step of length T_s
    d_hat = C(s) sigma_hat,  C(s) = omega_c / (s + omega_c)

Hovakimyan and Cao, "L1 Adaptive Control Theory", SIAM 2010, section 3.3, as flown by Wu et al., "L1 adaptive
augmentation for geometric tracking control of quadrotors", ICRA 2022 (L1Quad). The law chooses sigma_hat so that it
cancels the error of the predictor over the next step. What comes of it is linear: sigma_hat is e^(-a T_s) d, one step
late, so that d_hat follows a constant force with the time constant 1 / omega_c. It needs no accelerometer, and pays for
that by differentiating the measured velocity: noise of d_hat grows with m omega_c. T is what the motors produce, the
command behind their first-order lag; without that a command would look like a disturbance until the rotors follow.
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
from neural_lander.vehicle import GRAVITY, Vehicle

DEFAULT_BANDWIDTH = 10.0  # rad/s, guess: above the position loop's 3 rad/s, below motors and attitude; tuned
DEFAULT_PREDICTOR_RATE = 1.0  # 1/s, guess: slow enough that 0.4 % of a constant force is left at 240 Hz


@dataclass(frozen=True)
class L1Gains:
    """Free parameters."""

    bandwidth: float = DEFAULT_BANDWIDTH  # rad/s
    """omega_c of the filter C(s)."""
    predictor_rate: float = DEFAULT_PREDICTOR_RATE  # 1/s
    """a: how fast the predictor forgets its error; e^(-a T_s) of a constant force is found."""
    limit: float = DISTURBANCE_LIMIT
    """Bound on every component of d_hat as a fraction of the weight."""

    def __post_init__(self) -> None:
        for name in ("bandwidth", "predictor_rate"):
            if not 0.1 <= getattr(self, name) <= 1000:
                raise UserError(f"L1 {name} = {getattr(self, name)!r} 1/s must lie in [0.1, 1000]")
        if not 0 < self.limit <= 1:
            raise UserError(f"L1 limit = {self.limit!r} of the weight must lie in (0, 1]")


class L1:
    """The L1 law's d_hat. Held in contact, where the floor's force would be taken for a disturbance.

    Parameters
    ----------
    vehicle : Vehicle
    gains : L1Gains, optional
    """

    def __init__(self, vehicle: Vehicle, gains: L1Gains | None = None) -> None:
        self.gains = gains or L1Gains()
        self._mass, self._limit = vehicle.mass, self.gains.limit * vehicle.weight
        self._clock, self._lag, self._repeated = Clock(), MotorLag(vehicle), Repetition()
        self.reset()

    def reset(self, d_hat: Array | None = None) -> None:
        """Forget the past, or start from a known force in N."""
        self.d_hat: Array = np.zeros(3) if d_hat is None else d_hat  # (..., 3) N, world
        self.sigma_hat: Vector = split(self.d_hat)  # N, world
        self._filtered: Vector = self.sigma_hat  # N, world: d_hat before its clamp
        self._error: Vector = (0.0, 0.0, 0.0)  # m/s, v~ at the last call
        self._v: Vector | None = None  # m/s, as measured then
        for part in (self._clock, self._lag, self._repeated):
            part.reset()

    def observe(self, t: float, state: State, rotor_thrust: Array, f_a_hat: Array) -> None:
        """Step the predictor to the present velocity, adapt, and filter; not in contact."""
        dt, v = self._clock(t), split(state.velocity)
        thrust = sum(split(self._lag(dt, rotor_thrust)))
        before, self._v = self._v, v
        if before is None or dt == 0.0:
            self._error = (0.0, 0.0, 0.0)
            return
        m, a = self._mass, self.gains.predictor_rate
        left = math.exp(-a * dt)
        Phi, share = (1.0 - left) / a, 1.0 - math.exp(-self.gains.bandwidth * dt)
        rows, modelled = state.rows, split(f_a_hat)
        force = [thrust * row[2] + f + sigma for row, f, sigma in zip(rows, modelled, self.sigma_hat, strict=True)]
        force[2] = force[2] - m * GRAVITY
        error = [
            left * e + Phi * (f / m - (now - then) / dt)
            for e, f, now, then in zip(self._error, force, v, before, strict=True)
        ]
        hold = held(state.contact, *error)
        wait = hold | self._repeated(*v, *split(state.position))  # the predictor goes on, and is corrected afterwards
        self._error = [choose(hold, 0.0, e) for e in error]
        self.sigma_hat = [
            choose(wait, x, -m / Phi * left * e) for x, e in zip(self.sigma_hat, self._error, strict=True)
        ]
        self._filtered = [
            choose(hold, x, x + share * (sigma - x)) for x, sigma in zip(self._filtered, self.sigma_hat, strict=True)
        ]
        self.d_hat = clamped(self._filtered, self._limit)

    def update(self, t: float, s: Array, hold: bool | Array) -> None:
        """Nothing: L1 learns from its predictor's error alone."""
