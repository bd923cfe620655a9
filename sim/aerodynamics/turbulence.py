"""Unsteady air near the ground."""

from __future__ import annotations

import math

import numpy as np

from neural_lander.arrays import Array
from neural_lander.components import split
from neural_lander.state import State
from neural_lander.vehicle import Vehicle
from sim.aerodynamics.ground_effect import GroundEffect
from sim.terrain import Terrain


class NearGroundTurbulence:
    """A force that fluctuates in proportion to the ground effect: first-order Gauss-Markov per axis.

    The wake that the floor turns back is unsteady; published hover logs show more force noise near the ground,
    without a law. Intensity and correlation time are therefore guesses.
    """

    def __init__(self, intensity: float = 0.1, correlation_time: float = 0.15, horizontal: float = 0.5) -> None:
        self.intensity = intensity  # standard deviation over the ground effect's force, guess
        self.correlation_time = correlation_time  # s, guess: rotor diameter over the induced velocity, a few times
        self._axes = np.array([horizontal, horizontal, 1.0])
        self._ground_effect = GroundEffect()
        self.reset(0, 1 / 240)

    def reset(self, seed: int, dt: float) -> None:
        """See :class:`~sim.aerodynamics.effect.RandomEffect`."""
        self._rng = np.random.default_rng(seed)
        self._keep = math.exp(-dt / self.correlation_time)
        self._drive = math.sqrt(1 - self._keep**2) * self._axes
        self._x = self._rng.standard_normal(3) * self._axes
        self._block, self._next = np.empty((0, 3)), 0

    def __call__(self, state: State, rotor_speeds: Array, vehicle: Vehicle, terrain: Terrain) -> tuple[Array, Array]:
        """See :class:`~sim.aerodynamics.effect.AerodynamicEffect`; advances by one step. One vehicle, NumPy."""
        if self._next == len(self._block):
            self._block, self._next = self._rng.standard_normal((512, 3)) * self._drive, 0
        self._x = self._keep * self._x + self._block[self._next]
        self._next += 1
        x, y, z = split(state.position)
        s = self._ground_effect.increase(z + float(vehicle.rotor_positions[0, 2]) - terrain.height(x, y), vehicle)
        thrust = vehicle.thrust_coefficient * rotor_speeds.dot(rotor_speeds)
        return self._x * (self.intensity * thrust * s), _NO_MOMENT


_NO_MOMENT = np.zeros(3)
