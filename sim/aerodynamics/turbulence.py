"""Unsteady air near the ground."""

from __future__ import annotations

from neural_lander.arrays import Array
from neural_lander.components import join, nothing, scaled, split, times
from neural_lander.state import State
from neural_lander.vehicle import Vehicle
from sim.aerodynamics.ground_effect import GroundEffect
from sim.draws import GaussMarkov
from sim.rigid_body import TIME_STEP
from sim.terrain import Surface

STREAM = 0x7B1  # of the random numbers


class NearGroundTurbulence:
    """A force that fluctuates in proportion to the ground effect: first-order Gauss-Markov per axis.

    The wake that the floor turns back is unsteady; published hover logs show more force noise near the ground,
    without a law. Intensity and correlation time are therefore guesses.
    """

    def __init__(self, intensity: float = 0.1, correlation_time: float = 0.15, horizontal: float = 0.5) -> None:
        self.intensity = intensity  # standard deviation over thrust times the ground effect's share of it, guess
        self.correlation_time = correlation_time  # s, guess: rotor diameter over the induced velocity, a few times
        self._axes = (horizontal, horizontal, 1.0)
        self._ground_effect = GroundEffect()
        self.reset(0, TIME_STEP)

    def reset(self, seed: int | Array, dt: float) -> None:
        """See :class:`~sim.aerodynamics.effect.RandomEffect`."""
        self._wander = GaussMarkov(seed, STREAM, 3, dt / self.correlation_time)

    def __call__(self, state: State, rotor_speeds: Array, vehicle: Vehicle, terrain: Surface) -> tuple[Array, Array]:
        """See :class:`~sim.aerodynamics.effect.AerodynamicEffect`; advances by one step."""
        x, y, z = split(state.position)
        s = self._ground_effect.increase(z + vehicle.hubs[0][2] - terrain.height(x, y), vehicle)
        n1, n2, n3, n4 = split(rotor_speeds)
        thrust = vehicle.thrust_coefficient * (n1 * n1 + n2 * n2 + n3 * n3 + n4 * n4)
        strength = self.intensity * thrust * s
        force = join(scaled(strength, times(self._axes, self._wander(state.velocity))))
        return force, nothing(force)
