"""What a perfect network would reach, and where PD must hang: both from the plant itself, for tables only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq

from neural_lander.arrays import Array, constant, namespace
from neural_lander.components import split
from neural_lander.control.tracking import TrackingGains
from neural_lander.errors import FOREIGN, UserError
from neural_lander.state import State
from neural_lander.vehicle import G_VECTOR, Vehicle
from sim.aerodynamics import AerodynamicEffect, known_part, name_of, ours
from sim.airframe import Airframe
from sim.rigid_body import TIME_STEP
from sim.terrain import Flat, Lifted, Still, Surface, Terrain, clearance

SCANNED = 201  # heights of 1 m that are tried for a hang: every 5 mm


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
            for k, effect in enumerate(known):
                try:
                    total = total + self._asked(k, effect, state)(state, speeds, self.true, surface)[0]
                except FOREIGN as error:
                    raise UserError(
                        f"effect '{name_of(effect)}' failed with {type(error).__name__}: {error}"
                    ) from error
            return total

        return force

    def _asked(self, k: int, effect: AerodynamicEffect, state: State) -> AerodynamicEffect:
        """The k-th known effect as this state's world calls it: a stranger's takes what the batched world gives."""
        if isinstance(state.velocity, np.ndarray) or ours(effect):
            return effect
        from sim.batch.effects import for_batch

        ready: dict[int, AerodynamicEffect] = vars(self).setdefault("_ready", {})
        if k not in ready:
            ready[k] = for_batch(effect, self.true, self.terrain.mean(), TIME_STEP)
        return ready[k]

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

    The highest such place up to 1 m; 0 where the ground effect is too weak to hold it off the floor.
    """
    k_p = float(gains.K_v[2] * gains.Lambda[2])

    def lift(height: float) -> float:
        thrust = vehicle.weight
        for _ in range(60):  # a contraction: f_a,z grows with T at the rate of the ground effect, below 1
            before, thrust = thrust, vehicle.weight - vertical_residual(vehicle, effects, height, thrust)
            if abs(thrust - before) < 1e-12 * vehicle.weight:
                break
        return vehicle.weight - thrust

    def balance(error: float) -> float:
        return lift(reference + error) - k_p * error

    errors = np.linspace(1.0, max(-reference, 0.0), SCANNED)  # from above: it comes down, and stays at the first
    held = next((k for k, error in enumerate(errors) if balance(float(error)) > 0), None)
    if held is None:
        return 0.0
    return 1.0 if held == 0 else float(brentq(balance, errors[held], errors[held - 1]))
