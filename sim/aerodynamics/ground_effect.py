"""Ground effect of a multirotor, per rotor."""

from __future__ import annotations

from dataclasses import dataclass

from neural_lander.arrays import Array
from neural_lander.components import Scalar, maximum, minimum
from neural_lander.state import State
from neural_lander.vehicle import Vehicle
from sim.aerodynamics.per_rotor import extra_lift
from sim.terrain import Surface


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
        R, (d, b) = vehicle.rotor_radius, vehicle.hub_distances
        z = maximum(z, R / 8)
        four_z2 = 4.0 * z * z
        near, far = d * d + four_z2, b * b + four_z2  # 2 d^2 = b^2 on the square that the paper has
        images = z * near**-1.5 + (0.5 + 2.0 * self.K_b) * z * far**-1.5
        return minimum(R * R * (0.25 / four_z2 + images), self.s_max)

    def __call__(self, state: State, rotor_speeds: Array, vehicle: Vehicle, terrain: Surface) -> tuple[Array, Array]:
        """See :class:`~sim.aerodynamics.effect.AerodynamicEffect`."""
        return extra_lift(state, rotor_speeds, vehicle, terrain, self.increase)
