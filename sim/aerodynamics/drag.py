"""Drag of the rotors in their plane."""

from __future__ import annotations

from dataclasses import dataclass

from neural_lander.arrays import Array, namespace
from neural_lander.state import State
from neural_lander.vehicle import Vehicle
from sim.terrain import Terrain


@dataclass(frozen=True)
class RotorDrag:
    """f = -R diag(d, d, 0) R^T v m, scaled by rotor speed over hover speed (Faessler, Franchi and Scaramuzza, RA-L 2018)."""

    d: float = 0.3  # 1/s
    """Identified by the authors at 0.26 to 0.54 1/s on their quadrotors."""

    def __call__(self, state: State, rotor_speeds: Array, vehicle: Vehicle, terrain: Terrain) -> tuple[Array, Array]:
        """See :class:`~sim.aerodynamics.effect.AerodynamicEffect`."""
        del terrain
        axis = state.R[..., :, 2]
        v = state.velocity
        xp = namespace(v)
        in_plane = v - xp.vecdot(v, axis)[..., None] * axis
        speeds = xp.vecdot(rotor_speeds, xp.ones_like(rotor_speeds)) / (4 * vehicle.hover_speed)
        force = (-self.d * vehicle.mass) * speeds[..., None] * in_plane
        return force, 0 * force


