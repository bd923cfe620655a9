"""The comparison's world as a Gymnasium environment: what an agent is given is what a controller is given.

An agent takes the place of the tracking law: its action is the force f_d that the rotors should produce. The attitude
law, the allocation, the touchdown detector, the sensors and the figures at the end are those of every other controller;
but an action says nothing of how its force goes on, so that the desired attitude stands still until the next.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np

from neural_lander.components import split
from neural_lander.control.allocation import Allocation
from neural_lander.control.attitude import AttitudeLaw, desired_attitude
from neural_lander.control.touchdown import TIPPED
from neural_lander.errors import UserError
from neural_lander.state import Reference, State
from neural_lander.vehicle import G_VECTOR, load_vehicle
from sim.flight import touched, truth_of
from sim.forecast import forecast_of
from sim.landing import identify_moment_trim, place
from sim.plant import Plant
from sim.scenarios import scenario_named
from sim.sensors import Sensors

FORCE_RANGE = 0.5  # of the weight: an action of 1; twice what a landing needs at the default gains, guess
STEPS_PER_ACTION = 4  # of the world: 60 Hz, what a network on a small computer can keep
OUTSIDE = 3.0  # m from the reference: the flight is lost, guess
LIMIT = 1e3  # of observations in SI: far beyond any flight, so that the space is bounded

_ZERO = np.zeros(3)


class LanderEnv(gymnasium.Env[np.ndarray, np.ndarray]):
    """One flight of a scenario per episode.

    *Action*: ``(3,)`` in [-1, 1], world frame. f_d = m g e_z + FORCE_RANGE m g action, in N.

    *Observation*: ``(17,)`` float32, as measured, with noise and delay: position error to the reference (3) m, velocity
    error (3) m/s, height of the lowest gear point (1) m, velocity (3) m/s, body z axis (3), body rates (3) rad/s,
    contact (1). World frame but for the body rates.

    *Reward*: -(|position error| in m + 0.1 |velocity error| in m/s) per second; -10 for tipping over or getting lost.

    *End*: touchdown (contact of 0.2 s) or a lost vehicle terminates, the scenario's duration truncates. The last
    ``info`` holds the figures of ``compare``, from the truth.

    Parameters
    ----------
    plant : Plant, optional
        Default: the ``intel-aero`` in the default air.
    scenario : str
        A name in ``sim.scenarios``.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012 (Gymnasium's own declaration)

    def __init__(self, plant: Plant | None = None, scenario: str = "land-1d") -> None:
        self.scenario = scenario_named(scenario)
        self.plant = self.scenario.over(plant or Plant(load_vehicle("intel-aero")))
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (3,), np.float32)
        self.observation_space = gymnasium.spaces.Box(-LIMIT, LIMIT, (17,), np.float32)
        vehicle = self.plant.vehicle
        self._attitude, self._allocation = AttitudeLaw(vehicle), Allocation(vehicle)
        self._world = self.plant.build()
        try:
            self._moment_trim = identify_moment_trim(self.plant, self._world)
        except BaseException:
            self._world.close()
            raise
        self._flying, self._closed = False, False

    def reset(
        self, *, seed: int | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin a flight: start, noise and turbulence are drawn from the seed.

        The first action is at time 0 and at the place that was drawn: the hover of 3 s before it, which ``compare``
        flies, is left out, so that the flight of a seed is another one here.
        """
        super().reset(seed=seed)
        del options
        if self._closed:
            raise UserError("the environment is closed: make another one")
        flight = int(self.np_random.integers(2**31)) if seed is None else seed
        self._trajectory = place(self._world, self.plant, self.scenario, flight, 0.0)
        self._attitude.tau_hat = self._moment_trim
        self._sensors = Sensors(self.plant.noise, flight)
        self._touchdown = self.scenario.detector(self.plant.vehicle)
        self._rows: list[tuple[Any, ...]] = []
        self._t, self._step = 0.0, 0
        self._forecast = forecast_of(self.plant.noise, self.plant.vehicle, self._world.dt)
        self._seen = self._now()
        self._flying = True
        return self._observation(), {"seed": flight}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Hold a force for ``STEPS_PER_ACTION`` steps of the world."""
        if not self._flying:
            raise UserError("no flight is under way: call reset() before the first step, and after the end of a flight")
        action = np.asarray(action, dtype=np.float64)
        if action.shape != (3,) or not np.all(np.isfinite(action)):
            raise UserError(f"action = {action!r} must be three finite numbers in [-1, 1]")
        weight = self.plant.vehicle.weight
        f_d = weight * (np.array([0.0, 0.0, 1.0]) + FORCE_RANGE * np.clip(action, -1.0, 1.0))
        reward, lost, landed = 0.0, False, False
        for _ in range(STEPS_PER_ACTION):
            landed = self._advance(f_d)
            if landed:
                break
            truth, reference = self._world.state, self._trajectory(self._t)
            apart = float(np.linalg.norm(truth.position - reference.position))
            drift = float(np.linalg.norm(truth.velocity - reference.velocity))
            reward -= (apart + 0.1 * drift) * self._world.dt
            lost = apart > OUTSIDE or float(truth.rows[2][2]) < TIPPED
            if lost:
                reward -= 10.0
                break
        over = self._t >= self.scenario.duration
        info: dict[str, Any] = {"t_s": self._t}
        self._flying = not (landed or lost or over)
        if not self._flying:
            info["figures"] = self._figures(landed)
        return self._observation(), reward, landed or lost, over and not (landed or lost), info

    def close(self) -> None:
        """Free the world; a second time it does nothing."""
        if not self._closed:
            self._world.close()
        self._flying, self._closed = False, True

    def _advance(self, f_d: np.ndarray) -> bool:
        """One step of the world under f_d; whether it has landed."""
        world, state, reference = self._world, self._seen, self._trajectory(self._t)
        R_d = desired_attitude(split(f_d), reference.yaw, self.plant.vehicle.weight)
        moment = self._attitude(state.rows, split(state.body_rates), R_d)
        thrust = np.float64(f_d @ np.array([row[2] for row in state.rows]))
        u, _ = self._allocation(thrust, moment)
        command = np.sqrt(u)
        if self._touchdown is not None:
            command = touched(self._touchdown, self._t, state, command, self.plant.vehicle.thrust_coefficient)
            if self._touchdown.landed:
                return True
        before = world.state
        world.step(command)
        row = (self._t, before, reference.position, world.applied_force, world.rotor_speeds, _ZERO, _ZERO, None)
        self._rows.append(row)
        self._step += 1
        self._t = self._step * world.dt
        if self._forecast is not None:
            self._forecast.commanded(command, self._attitude.tau_hat)
        self._seen = self._now()
        return False

    def _figures(self, landed: bool) -> dict[str, float]:
        believed, true = self.plant.vehicle, self._world.vehicle
        since = self._touchdown.since if landed and self._touchdown is not None else None
        landed_at = math.nan if since is None else since
        weight = (true.mass - believed.mass) * G_VECTOR
        return self.scenario.score(
            truth_of(self._rows, believed.thrust_coefficient, weight, landed_at), self._trajectory
        )

    def _now(self) -> State:
        seen = self._sensors.delayed(self._sensors.measure(self._world.state))
        return seen if self._forecast is None else self._forecast(seen)

    def _observation(self) -> np.ndarray:
        state, reference = self._seen, self._trajectory(self._t)
        return observation(state, reference)


def observation(state: State, reference: Reference) -> np.ndarray:
    """What an agent sees, ``(17,)`` float32; SI, see :class:`LanderEnv`."""
    parts = (
        state.position - reference.position,
        state.velocity - reference.velocity,
        [float(state.height)],
        state.velocity,
        [row[2] for row in state.rows],
        state.body_rates,
        [float(state.contact)],
    )
    return np.clip(np.concatenate(parts), -LIMIT, LIMIT).astype(np.float32)
