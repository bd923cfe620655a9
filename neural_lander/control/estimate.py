"""What differs between the laws: the estimate of the force that is missing from the model, which is subtracted.

All controllers share the tracking law, thrust iteration, attitude law and allocation. One file per estimate:
``trim`` (an integrator), ``indi`` (measured acceleration), ``l1`` (velocity predictor), ``adaptation`` (last layer).
"""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np

from neural_lander.arrays import Array, constant
from neural_lander.components import Scalar, Vector, finite, join, maximum, minimum
from neural_lander.lag import share_after
from neural_lander.state import State
from neural_lander.vehicle import Vehicle

LONGEST_STEP = 0.1  # s between two calls: beyond it the loop has paused, and nothing is integrated over the gap
DISTURBANCE_LIMIT = 0.3  # of the weight: battery, payload and thrust scale; beyond it something is broken


class ForceEstimate(Protocol):
    """Estimate d_hat of the force in N, world, that neither the nominal model nor f_a_hat explains.

    A controller calls :meth:`observe` before the tracking law and :meth:`update` after the allocation and behind a
    guard, where there is one, once each per step. Both take one vehicle or a batch, in either array library. A
    measurement that is not finite, one that is the last one again, and contact leave d_hat as it is.
    """

    d_hat: Array  # (..., 3) N, world
    """What the tracking law subtracts now."""

    def reset(self, d_hat: Array | None = None) -> None:
        """Forget the past, or start from a known force in N."""
        ...

    def observe(self, t: float, state: State, rotor_thrust: Array, f_a_hat: Array) -> None:
        """Learn from what was measured at time t in s.

        Parameters
        ----------
        rotor_thrust
            ``(..., 4)`` N, what the rotors were told since the last call, after allocation and whatever came behind it:
            a thrust that was never asked of the rotors is not missed, so that saturation winds nothing up.
        f_a_hat
            ``(..., 3)`` N, world: the modelled force at the last call.
        """
        ...

    def update(self, t: float, s: Array, hold: bool | Array) -> None:
        """Learn from the tracking error s ``(..., 3)`` m/s, except where ``hold`` ``(...)``.

        That is in saturation, in contact, and where a guard has overruled the law: s is then not what it asked for. On
        the ground with the reference above it s is its vertical part alone, where that asks for more thrust.
        """
        ...


class Clock:
    """Time between calls."""

    def __init__(self) -> None:
        self._last = math.nan

    def reset(self) -> None:
        """The next call is the first one."""
        self._last = math.nan

    def __call__(self, t: float) -> float:
        """Seconds since the last call; 0 on the first one, after a pause, and where the clock went backwards."""
        dt, self._last = t - self._last, t
        return dt if 0.0 < dt < LONGEST_STEP else 0.0


class MotorLag:
    """Rotor thrusts as produced: the commanded ones through the first-order lag of the vehicle profile."""

    def __init__(self, vehicle: Vehicle) -> None:
        self._time_constant = vehicle.motor_time_constant
        self._hover = np.full(4, vehicle.weight / 4)
        self.reset()

    def reset(self) -> None:
        """Hover."""
        self.thrust: Array = self._hover  # (..., 4) N

    def __call__(self, dt: float, commanded: Array) -> Array:
        """Thrusts ``(..., 4)`` in N at the end of dt s under this command."""
        share = share_after(dt, self._time_constant)
        thrust = constant(self.thrust, commanded)
        self.thrust = thrust + share * (commanded - thrust)
        return self.thrust


class Repetition:
    """Whether a measurement is the last one again: that is what an outage looks like to a controller."""

    def __init__(self) -> None:
        self._last: Vector = ()

    def reset(self) -> None:
        """The next measurement is a new one."""
        self._last = ()

    def __call__(self, *measured: Scalar) -> bool | Array:
        """Equal to the last bit, all of them: one bool, or one for each of the batch."""
        before, self._last = self._last, measured
        same: bool | Array = bool(before)
        for now, then in zip(measured, before, strict=False):
            same = same & (now == then)
        return same


def held(contact: bool | Array, *measured: Scalar) -> bool | Array:
    """True where learning must pause: in contact (the ground's force is no disturbance) or where a value is missing."""
    known = finite(*measured)
    return contact or not known if isinstance(known, bool) else contact | ~known


def clamped(force: Vector, limit: float) -> Array:
    """``(..., 3)`` of the components, each within the limit in N."""
    return join([minimum(maximum(x, -limit), limit) for x in force])
