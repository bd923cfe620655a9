"""Air takes time: an effect that follows its cause with a lag."""

from __future__ import annotations

import math

from neural_lander.arrays import Array
from neural_lander.state import State
from neural_lander.vehicle import Vehicle
from sim.aerodynamics.effect import AerodynamicEffect
from sim.aerodynamics.ground_effect import GroundEffect
from sim.rigid_body import TIME_STEP
from sim.terrain import Surface


class Lagged:
    """Force and moment of another effect through a first-order lag; at the first step they are settled."""

    def __init__(self, effect: AerodynamicEffect, time_constant: float) -> None:
        self.known = effect
        self.time_constant = time_constant  # s
        self.reset(0, TIME_STEP)

    def reset(self, seed: int | Array, dt: float) -> None:
        """See :class:`~sim.aerodynamics.effect.RandomEffect`."""
        del seed
        self._share = 1.0 - math.exp(-dt / self.time_constant)
        self._now: tuple[Array, Array] | None = None

    def __call__(self, state: State, rotor_speeds: Array, vehicle: Vehicle, terrain: Surface) -> tuple[Array, Array]:
        """See :class:`~sim.aerodynamics.effect.AerodynamicEffect`; advances by one step."""
        force, moment = self.known(state, rotor_speeds, vehicle, terrain)
        if self._now is not None:
            f, tau = self._now
            force, moment = f + self._share * (force - f), tau + self._share * (moment - tau)
        self._now = force, moment
        return force, moment


class LaggedGroundEffect(Lagged):
    """The default ground effect, 50 ms late.

    A guess: downwash of 5 m/s needs 30 ms from a rotor to a floor 0.15 m below, and as long for the fountain to rise;
    dynamic inflow settles within 50 to 100 ms on rotors of this size.
    """

    def __init__(self, time_constant: float = 0.05) -> None:
        super().__init__(GroundEffect(), time_constant)
