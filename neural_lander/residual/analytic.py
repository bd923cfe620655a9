"""An analytic residual model: the fitted law of Cheeseman and Bennett."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from neural_lander.arrays import Array, constant, namespace
from neural_lander.state import State

MAX_BLOCKAGE = (
    1 / 3
)  # mu (R/4z)^2 is held at or below it: half the thrust is added at most, so that iterating contracts


@dataclass(frozen=True)
class CheesemanBennett:
    """f_a,z = T (1 / (1 - mu (R / 4z)^2) - 1) + c, z the height of the centre of mass above the ground.

    Cheeseman and Bennett, "The Effect of the Ground on a Helicopter Rotor in Forward Flight", ARC R&M 3021, 1955, with
    a factor mu for what four rotors and a body add, and a constant c for errors of mass and thrust.
    """

    mu: float
    c: float  # N
    rotor_radius: float  # m
    gear_clearance: float  # m
    """From the lowest gear point up to the centre of mass of the level vehicle."""

    def f_az(self, centre_height: Array, thrust: Array) -> Array:
        """f_a,z in N from the height of the centre of mass in m and collective thrust in N, both ``(...)``."""
        blockage = self.mu * (self.rotor_radius / (4 * centre_height)) ** 2
        xp = namespace(blockage)
        blockage = xp.minimum(blockage, MAX_BLOCKAGE + 0 * blockage)
        return thrust * (1 / (1 - blockage) - 1) + self.c

    def at(self, state: State) -> Callable[[Array], Array]:
        """f_a_hat at one state as a function of rotor thrusts, ``(..., 4) N -> (..., 3) N``, world."""
        xp = namespace(state.height)
        centre_height = xp.maximum(state.height, 0 * state.height) + self.gear_clearance
        up = constant(np.array([0.0, 0.0, 1.0]), state.velocity)
        return lambda rotor_thrust: self.f_az(centre_height, xp.sum(rotor_thrust, axis=-1))[..., None] * up
