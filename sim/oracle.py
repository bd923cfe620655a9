"""What a perfect network would reach, and where PD must hang: both from the plant itself, for tables only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq

from neural_lander.arrays import Array, constant, namespace
from neural_lander.components import split
from neural_lander.control.tracking import TrackingGains
from neural_lander.errors import UserError
from neural_lander.state import State
from neural_lander.vehicle import G_VECTOR, Vehicle
from sim.aerodynamics import AerodynamicEffect, known_part
from sim.airframe import Airframe
from sim.terrain import Flat, Lifted, Still, Surface, Terrain, clearance


@dataclass(frozen=True)
class Oracle:
    """The plant's own f_a as a residual model: what acts beyond the nominal model, turbulence apart."""

    believed: Vehicle
    """The vehicle that the controller computes with."""
    true: Vehicle
    effects: Sequence[AerodynamicEffect]
    airframe: Airframe
    terrain: Terrain

    def at(self, state: State) -> Callable[[Array], Array]:
        """See :class:`~neural_lander.residual.model.ResidualModel`."""
        known = known_part(self.effects)
        R, xp = state.R, namespace(state.velocity)
        c_ratio = self.true.thrust_coefficient / self.believed.thrust_coefficient
        rotors = self.airframe.wrench_map(self.true)[:, :3]  # (4, 3) force per nominal thrust of each, body
        axes = constant(c_ratio * rotors - [0.0, 0.0, 1.0], state.velocity)
        heavier = constant((self.true.mass - self.believed.mass) * G_VECTOR, state.velocity)

        surface = self._surface(state)

        def force(rotor_thrust: Array) -> Array:
            speeds = xp.sqrt(rotor_thrust / self.believed.thrust_coefficient)
            total = (R @ (rotor_thrust @ axes)[..., None])[..., 0] + heavier
            for effect in known:
                try:
                    total = total + effect(state, speeds, self.true, surface)[0]
                except Exception as error:
                    name = getattr(effect, "__name__", type(effect).__name__)
                    raise UserError(f"effect '{name}' failed with {type(error).__name__}: {error}") from error
            return total

        return force

    def _surface(self, state: State) -> Surface:
        """The ground as the height tells: where it moves, its mean brought as far below the gear as measured."""
        mean = self.terrain.mean()
        if isinstance(self.terrain, Still):
            return mean
        gap = clearance(state.rows, split(state.position), self.true.gear_points.tolist(), mean)
        return Lifted(mean, gap - state.height)


def level_state(vehicle: Vehicle, height: float) -> State:
    """At rest and level at ``height`` m of the gear above the floor z = 0."""
    zero = np.zeros(3)
    position = np.array([0.0, 0.0, height + vehicle.gear_clearance])
    return State(position, zero, np.array([1.0, 0.0, 0.0, 0.0]), zero, np.asarray(height))


def vertical_residual(vehicle: Vehicle, effects: Sequence[AerodynamicEffect], height: float, thrust: float) -> float:
    """f_a,z in N of the symmetric airframe, level and at rest, at a collective thrust in N."""
    oracle = Oracle(vehicle, vehicle, effects, Airframe.nominal(), Flat())
    return float(oracle.at(level_state(vehicle, height))(np.full(4, thrust / 4))[2])


def closed_form_hang(
    vehicle: Vehicle, effects: Sequence[AerodynamicEffect], gains: TrackingGains, reference: float = 0.0
) -> float:
    """Height error in m at which PD stands still: k_p (h - reference) = f_a,z(h, T) with T + f_a,z = m g.

    0 where the ground effect is too weak to hold it off the floor.
    """
    k_p = float(gains.K_v[2] * gains.Lambda[2])

    def lift(height: float) -> float:
        thrust = vehicle.weight
        for _ in range(60):  # a contraction: f_a,z grows with T at the rate of the ground effect, below 1
            thrust = vehicle.weight - vertical_residual(vehicle, effects, height, thrust)
        return vehicle.weight - thrust

    def balance(error: float) -> float:
        return lift(reference + error) - k_p * error

    if balance(max(-reference, 0.0)) <= 0:
        return 0.0
    return float(brentq(balance, 0.0, 1.0))
