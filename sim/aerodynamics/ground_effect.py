"""Ground effect of a multirotor, per rotor."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neural_lander.arrays import Array, constant, namespace
from neural_lander.state import State
from neural_lander.vehicle import Vehicle
from sim.terrain import Terrain

AIR_DENSITY = 1.225  # kg/m^3, ISA at sea level


@dataclass(frozen=True)
class GroundEffect:
    """Sanchez-Cuevas, Heredia and Ollero (Int. J. Aerospace Eng. 2017), with the fountain under the body.

    T_IGE/T_OGE = 1 / (1 - s),
    s = (R/4z)^2 + R^2 z/(d^2+4z^2)^(3/2) + (R^2/2) z/(2d^2+4z^2)^(3/2) + 2 R^2 K_b z/(b^2+4z^2)^(3/2),

    with z the height of this rotor above the terrain under it, d the distance of adjacent hubs, b of opposite
    ones. Forward speed blows the images away: s is divided by 1 + (V/v_i)^2 (Cheeseman and Bennett, ARC R&M
    3021, 1955), v_i the induced velocity in hover. Each rotor's extra thrust acts at its hub, so that a tilted
    vehicle, or one over an edge, feels a moment too.
    """

    K_b: float = 2.0
    """Fountain coefficient; 2 in the paper, 0 switches the fountain off."""
    s_max: float = 0.5
    """Bound on s, at which thrust doubles: the image model diverges where a rotor meets the floor."""

    def increase(self, z: Array, vehicle: Vehicle) -> Array:
        """s at rotor heights z in m, any shape."""
        xp = namespace(z)
        R2 = vehicle.rotor_radius**2
        d, b = vehicle.hub_distances
        z = xp.maximum(z, vehicle.rotor_radius / 8 + 0 * z)
        z2 = z * z
        near, far = d * d + 4 * z2, b * b + 4 * z2  # 2 d^2 = b^2 on the square that the paper has
        s = R2 / (16 * z2) + R2 * z / (near * xp.sqrt(near)) + (0.5 + 2 * self.K_b) * R2 * z / (far * xp.sqrt(far))
        return xp.minimum(s, self.s_max + 0 * s)

    def __call__(self, state: State, rotor_speeds: Array, vehicle: Vehicle, terrain: Terrain) -> tuple[Array, Array]:
        """See :class:`~sim.aerodynamics.effect.AerodynamicEffect`."""
        xp = namespace(rotor_speeds)
        hubs = constant(vehicle.rotor_positions, rotor_speeds)
        axis = state.R[..., :, 2]
        world = state.position[..., None, :] + hubs @ xp.matrix_transpose(state.R)
        s = self.increase(world[..., 2] - terrain.height(world[..., 0], world[..., 1]), vehicle)
        v_x, v_y = state.velocity[..., 0], state.velocity[..., 1]
        v_i2 = vehicle.weight / (8 * AIR_DENSITY * np.pi * vehicle.rotor_radius**2)
        s = s / (1 + (v_x * v_x + v_y * v_y) / v_i2)[..., None]
        extra = vehicle.thrust_coefficient * rotor_speeds * rotor_speeds * (s / (1 - s))
        return xp.vecdot(extra, xp.ones_like(extra))[..., None] * axis, extra @ constant(vehicle.lever_arms, rotor_speeds)

