"""Ground effect of a multirotor, per rotor."""

from __future__ import annotations

import math
from dataclasses import dataclass

from neural_lander.arrays import Array
from neural_lander.components import Scalar, dot, join, maximum, minimum, split
from neural_lander.state import State
from neural_lander.vehicle import Vehicle
from sim.terrain import Surface

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

    def increase(self, z: Scalar, vehicle: Vehicle) -> Scalar:
        """s at a rotor height z in m."""
        R2 = vehicle.rotor_radius**2
        d, b = vehicle.hub_distances
        z = maximum(z, vehicle.rotor_radius / 8)
        four_z2 = 4.0 * z * z
        near, far = d * d + four_z2, b * b + four_z2  # 2 d^2 = b^2 on the square that the paper has
        images = z * near**-1.5 + (0.5 + 2.0 * self.K_b) * z * far**-1.5
        return minimum(R2 * (0.25 / four_z2 + images), self.s_max)

    def __call__(self, state: State, rotor_speeds: Array, vehicle: Vehicle, terrain: Surface) -> tuple[Array, Array]:
        """See :class:`~sim.aerodynamics.effect.AerodynamicEffect`."""
        X, Y, Z = state.rows
        x, y, z = split(state.position)
        v_x, v_y, _ = split(state.velocity)
        v_i2 = vehicle.weight / (8 * AIR_DENSITY * math.pi * vehicle.rotor_radius**2)
        calm = 1.0 / (1.0 + (v_x * v_x + v_y * v_y) / v_i2)
        total, roll, pitch = 0.0, 0.0, 0.0
        for hub, n in zip(vehicle.rotor_positions.tolist(), split(rotor_speeds), strict=True):
            above = z + dot(Z, hub) - terrain.height(x + dot(X, hub), y + dot(Y, hub))
            s = self.increase(above, vehicle) * calm
            extra = vehicle.thrust_coefficient * n * n * (s / (1.0 - s))
            total, roll, pitch = total + extra, roll + hub[1] * extra, pitch - hub[0] * extra
        return join([total * X[2], total * Y[2], total * Z[2]]), join([roll, pitch, 0.0 * pitch])
