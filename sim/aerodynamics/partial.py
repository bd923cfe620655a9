"""Rotors that are half over an edge."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from neural_lander.arrays import Array
from neural_lander.state import State
from neural_lander.vehicle import Vehicle
from sim.aerodynamics.ground_effect import GroundEffect
from sim.aerodynamics.per_rotor import extra_lift
from sim.terrain import Surface

POINTS = 32  # per disc: the share of a disc on one side of an edge comes out within 0.052
GOLDEN_ANGLE = math.pi * (3.0 - math.sqrt(5.0))  # rad


@dataclass(frozen=True)
class PartialGroundEffect:
    """The ground effect of Sanchez-Cuevas et al., averaged over each disc's area: no jump where a hub passes an edge.

    Each part of a disc is taken to feel the ground under it, as blade elements feel the inflow where they are. Measured
    curves over edges are smooth on the scale of the rotor (Sanchez-Cuevas et al. 2017, partial ground effect); their
    shape is not modelled beyond that.
    """

    whole: GroundEffect = field(default_factory=GroundEffect)

    def __call__(self, state: State, rotor_speeds: Array, vehicle: Vehicle, terrain: Surface) -> tuple[Array, Array]:
        """See :class:`~sim.aerodynamics.effect.AerodynamicEffect`."""
        points = disc_points(vehicle.rotor_radius)
        return extra_lift(state, rotor_speeds, vehicle, terrain, self.whole.increase, points)


def disc_points(radius: float, count: int = POINTS) -> list[tuple[float, float]]:
    """Points that stand for equal areas of a disc: the sunflower's spiral (Vogel 1979)."""
    polar = ((radius * math.sqrt((k + 0.5) / count), k * GOLDEN_ANGLE) for k in range(count))
    return [(r * math.cos(a), r * math.sin(a)) for r, a in polar]
