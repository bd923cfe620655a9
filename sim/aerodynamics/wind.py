"""Wind with gusts, and effects that feel the air rather than the ground."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

from neural_lander.arrays import Array
from neural_lander.components import Scalar, Vector, join, split
from neural_lander.state import State
from neural_lander.vehicle import Vehicle
from sim.aerodynamics.drag import RotorDrag
from sim.aerodynamics.effect import AerodynamicEffect, RandomEffect, known_part, name_of
from sim.aerodynamics.ground_effect import GroundEffect
from sim.draws import WhiteNoise
from sim.rigid_body import TIME_STEP
from sim.terrain import Surface

STREAM = 0xD87  # of the random numbers
FOOT = 0.3048  # m
LOWEST = 10.0  # ft: the low-altitude model begins there
SEED_STRIDE = 104729  # between the seeds of the effects in one wind


class Wind(Protocol):
    """Velocity of the air over time, world."""

    @property
    def mean(self) -> Vector:
        """(3) m/s."""
        ...

    def reset(self, seed: int | Array, dt: float) -> None:
        """See :class:`~sim.aerodynamics.effect.RandomEffect`."""
        ...

    def __call__(self, like: Array) -> Vector:
        """(3) m/s at the next step, for a vehicle or a batch like ``like``."""
        ...


class Dryden:
    """Steady wind and Dryden gusts, low-altitude model of MIL-F-8785C at its lowest height, 10 ft.

    With h in feet: L_w = h, L_u = L_v = h / (0.177 + 0.000823 h)^1.2; sigma_w = 0.1 W_20 and
    sigma_u = sigma_v = sigma_w / (0.177 + 0.000823 h)^0.4, W_20 the wind at 20 ft, here taken for the wind itself. The
    gusts are carried past at the speed of the wind (Taylor), so that with T = L / W their spectra are those of

        u: sigma sqrt(2 T) / (1 + T s)        v, w: sigma sqrt(T) (1 + sqrt(3) T s) / (1 + T s)^2

    driven by white noise; the steps are exact, and the first is drawn from the stationary distribution. Below 10 ft
    the model says nothing; eddies get smaller there, which it leaves out.
    """

    def __init__(self, speed: float = 2.0, direction: float = 0.0) -> None:
        self.speed, self.direction = speed, direction  # m/s; rad from world x, where it blows to
        shape = 0.177 + 0.000823 * LOWEST
        self.lengths = (LOWEST * FOOT / shape**1.2, LOWEST * FOOT / shape**1.2, LOWEST * FOOT)  # m, u, v, w
        self.sigmas = (0.1 * speed / shape**0.4, 0.1 * speed / shape**0.4, 0.1 * speed)  # m/s
        self.reset(0, TIME_STEP)

    @property
    def mean(self) -> Vector:
        """See :class:`Wind`."""
        return self.speed * math.cos(self.direction), self.speed * math.sin(self.direction), 0.0

    def reset(self, seed: int | Array, dt: float) -> None:
        """See :class:`Wind`."""
        self._noise = WhiteNoise(seed, STREAM, 5)
        self._keep = math.exp(-dt * self.speed / self.lengths[0])
        self._lateral, self._vertical = (_DoublePole(dt * self.speed / L) for L in self.lengths[1:])
        self._x: Vector | None = None

    def __call__(self, like: Array) -> Vector:
        """See :class:`Wind`."""
        e = self._noise(like)
        if self._x is None:  # all states have unit variance and are independent of each other at any one instant
            self._x = tuple(e)
        else:
            u, v1, v2, w1, w2 = self._x
            u = self._keep * u + math.sqrt(1 - self._keep**2) * e[0]
            self._x = (u, *self._lateral(v1, v2, e[1], e[2]), *self._vertical(w1, w2, e[3], e[4]))
        u, v1, v2, w1, w2 = self._x
        along = self.speed + self.sigmas[0] * u
        across = self.sigmas[1] * (0.5 * v1 + math.sqrt(0.75) * v2)
        c, s = math.cos(self.direction), math.sin(self.direction)
        return c * along - s * across, s * along + c * across, self.sigmas[2] * (0.5 * w1 + math.sqrt(0.75) * w2)


class _DoublePole:
    """x'' + 2 x'/T + x/T^2 = white noise, exact over a step of ``theta`` T; x and x' in units of their deviations."""

    def __init__(self, theta: float) -> None:
        fade = math.exp(-theta)
        self._a, self._b, self._c = fade * (1 + theta), fade * theta, fade * (1 - theta)
        # what the step adds has the covariance I - Phi Phi^T
        q11 = 1 - self._a**2 - self._b**2
        q21 = self._b * (self._a - self._c)
        q22 = 1 - self._b**2 - self._c**2
        self._l11 = math.sqrt(max(q11, 0.0))
        self._l21 = q21 / self._l11 if self._l11 > 0 else 0.0
        self._l22 = math.sqrt(max(q22 - self._l21**2, 0.0))

    def __call__(self, x: Scalar, rate: Scalar, e1: Scalar, e2: Scalar) -> Vector:
        return (
            self._a * x + self._b * rate + self._l11 * e1,
            self._c * rate - self._b * x + self._l21 * e1 + self._l22 * e2,
        )


class InWind:
    """Other effects, in wind: they are given the velocity relative to the air.

    By default ground effect and rotor drag, and 2 m/s with gusts.
    """

    def __init__(self, effects: Sequence[AerodynamicEffect] | None = None, wind: Wind | None = None) -> None:
        self.effects = (GroundEffect(), RotorDrag()) if effects is None else tuple(effects)
        self.wind: Wind = wind or Dryden()
        names = (name_of(effect) for effect in self.effects)
        self.__name__ = f"{' + '.join(names)} in wind"  # what errors call it

    @property
    def known(self) -> AerodynamicEffect:
        """What can be known of the inner effects, in the mean wind."""
        known, mean = known_part(self.effects), self.wind.mean

        def effect(state: State, rotor_speeds: Array, vehicle: Vehicle, terrain: Surface) -> tuple[Array, Array]:
            return _total(known, _relative(state, mean), rotor_speeds, vehicle, terrain)

        return effect

    def reset(self, seed: int | Array, dt: float) -> None:
        """See :class:`~sim.aerodynamics.effect.RandomEffect`."""
        self.wind.reset(seed, dt)
        for k, effect in enumerate(self.effects):
            if isinstance(effect, RandomEffect):
                effect.reset(seed + SEED_STRIDE * (k + 1), dt)

    def __call__(self, state: State, rotor_speeds: Array, vehicle: Vehicle, terrain: Surface) -> tuple[Array, Array]:
        """See :class:`~sim.aerodynamics.effect.AerodynamicEffect`; advances by one step."""
        air = self.wind(state.velocity)
        return _total(self.effects, _relative(state, air), rotor_speeds, vehicle, terrain)


def _relative(state: State, air: Vector) -> State:
    velocity = join([v - a for v, a in zip(split(state.velocity), air, strict=True)])
    return state.with_velocity(velocity)


def _total(
    effects: Sequence[AerodynamicEffect], state: State, rotor_speeds: Array, vehicle: Vehicle, terrain: Surface
) -> tuple[Array, Array]:
    force = moment = 0.0 * state.velocity
    for effect in effects:
        f, tau = effect(state, rotor_speeds, vehicle, terrain)
        force, moment = force + f, moment + tau
    return force, moment
