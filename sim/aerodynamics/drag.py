"""Drag of the rotors in their plane."""

from __future__ import annotations

from dataclasses import dataclass

from neural_lander.arrays import Array
from neural_lander.components import columns, dot, join, minus, nothing, scaled, split
from neural_lander.state import State
from neural_lander.vehicle import Vehicle
from sim.terrain import Surface


@dataclass(frozen=True)
class RotorDrag:
    """f = -d m R diag(1, 1, 0) R^T v, times rotor speed over hover speed (Faessler, Franchi, Scaramuzza, RA-L 2018)."""

    d: float = 0.3  # 1/s
    """Identified by the authors at 0.26 to 0.54 1/s on their quadrotors."""

    def __call__(self, state: State, rotor_speeds: Array, vehicle: Vehicle, terrain: Surface) -> tuple[Array, Array]:
        """See :class:`~sim.aerodynamics.effect.AerodynamicEffect`."""
        del terrain
        axis, v = columns(state.rows)[2], split(state.velocity)
        n1, n2, n3, n4 = split(rotor_speeds)
        factor = (n1 + n2 + n3 + n4) * (-self.d * vehicle.mass / (4 * vehicle.hover_speed))
        force = join(scaled(factor, minus(v, scaled(dot(v, axis), axis))))
        return force, nothing(force)
