"""Ground effect as it was measured on real quadrotors."""

from __future__ import annotations

from dataclasses import dataclass

from neural_lander.arrays import Array
from neural_lander.components import Scalar, maximum
from neural_lander.state import State
from neural_lander.vehicle import Vehicle
from sim.aerodynamics.per_rotor import extra_lift
from sim.terrain import Surface


@dataclass(frozen=True)
class MeasuredGroundEffect:
    """In hover f_a,z = m g a (1 - z/(c R))^p below z = c R, nothing above, with z the height of the rotor discs.

    Fitted by least squares to the mean f_a,z per height of two vehicles (32 g and 67 g, rotors of 23 and 33 mm) in the
    flights of the Neural-Swarm2 data set, each flight's own bias removed; in units of weight and rotor radius both lie
    on one curve within 0.014. Nothing was measured below 2.7 R, where the curve goes on to a at the floor. Unlike the
    laws of images it ends.
    """

    a: float = 0.230
    """Of the weight, at z = 0."""
    c: float = 6.08
    """Height in rotor radii at which it ends."""
    p: float = 1.34

    def increase(self, z: Scalar, vehicle: Vehicle) -> Scalar:
        """s at a rotor height z in m: 1 - T/(m g) in hover."""
        inside = maximum(1.0 - maximum(z, 0.0) / (self.c * vehicle.rotor_radius), 0.0)
        return self.a * inside**self.p

    def __call__(self, state: State, rotor_speeds: Array, vehicle: Vehicle, terrain: Surface) -> tuple[Array, Array]:
        """See :class:`~sim.aerodynamics.effect.AerodynamicEffect`."""
        return extra_lift(state, rotor_speeds, vehicle, terrain, self.increase)
