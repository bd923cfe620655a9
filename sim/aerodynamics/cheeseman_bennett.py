"""Ground effect of single rotors."""

from __future__ import annotations

from dataclasses import dataclass

from neural_lander.arrays import Array
from neural_lander.components import Scalar, maximum, minimum
from neural_lander.state import State
from neural_lander.vehicle import Vehicle
from sim.aerodynamics.per_rotor import extra_lift
from sim.terrain import Surface


@dataclass(frozen=True)
class CheesemanBennett:
    """T_IGE/T_OGE = 1 / (1 - s), s = (R/4z)^2 / (1 + (V/v_i)^2), rotor by rotor (ARC R&M 3021, 1955).

    The nominal law: measured multirotors show several times as much, since their rotors feel each other's images and
    the fountain between them.
    """

    s_max: float = 0.5
    """Bound on s, at which thrust doubles: the image model diverges where a rotor meets the floor."""

    def increase(self, z: Scalar, vehicle: Vehicle) -> Scalar:
        """s at a rotor height z in m, at rest."""
        z = maximum(z, vehicle.rotor_radius / 8)
        return minimum((vehicle.rotor_radius / 4) ** 2 / (z * z), self.s_max)

    def __call__(self, state: State, rotor_speeds: Array, vehicle: Vehicle, terrain: Surface) -> tuple[Array, Array]:
        """See :class:`~sim.aerodynamics.effect.AerodynamicEffect`."""
        return extra_lift(state, rotor_speeds, vehicle, terrain, self.increase)
