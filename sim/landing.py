"""One flight of a comparison: one controller, one plant, one seed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from neural_lander.control.controller import Controller
from neural_lander.control.touchdown import RESTING_SHARE
from neural_lander.flightlog.log import FlightLog
from neural_lander.state import State
from neural_lander.trajectory import Hover, Trajectory
from sim.flight import Truth, fly
from sim.plant import Plant
from sim.scenarios import START_SPREAD, WARM_UP, Scenario
from sim.sensors import Sensors
from sim.world import PyBulletWorld

IDENTIFICATION_HEIGHT = 1.5  # m: moment trim is identified in hover above 1 m
IDENTIFICATION_TIME = 6.0  # s
IDENTIFICATION_SEED = 9  # of the one hover flight per airframe


def identify_moment_trim(plant: Plant, world: PyBulletWorld) -> np.ndarray:
    """Disturbing moment (3,) in N m, body, from one hover of PD with trim; every controller subtracts it."""
    controller = Controller(plant.vehicle)
    hover = Hover(plant.pad + np.array([0.0, 0.0, IDENTIFICATION_HEIGHT]))
    world.reset(hover.position, seed=IDENTIFICATION_SEED)
    settled: list[np.ndarray] = []

    def learn(t: float, _: State) -> None:
        controller.attitude.learn_trim(world.dt)
        if t > IDENTIFICATION_TIME / 2:
            settled.append(controller.attitude.tau_hat)

    sensors = Sensors(plant.noise, IDENTIFICATION_SEED)
    fly(world, controller, hover, sensors, start=0.0, end=IDENTIFICATION_TIME, before_step=learn)
    return np.mean(settled, axis=0)


def drawn_start(trajectory: Trajectory, pad: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Where the hover before time 0 begins, (3,) m, and how fast, (3,) m/s: a little off, drawn from the seed."""
    rng = np.random.default_rng([seed, 0x57A])
    start = trajectory(0.0).position + START_SPREAD * rng.standard_normal(3) * [1.0, 1.0, 0.5]
    start[2] = max(start[2], pad[2] + 0.02)
    return start, 0.05 * rng.standard_normal(3)


def place(world: PyBulletWorld, plant: Plant, scenario: Scenario, seed: int, t: float) -> Trajectory:
    """The flight's reference; the vehicle is put near its start at time t in s, over ground as the seed draws it."""
    drawn = scenario.drawn(seed)
    plant = drawn.over(plant)
    world.terrain, trajectory = plant.terrain, drawn.trajectory(plant.pad)
    start, velocity = drawn_start(trajectory, plant.pad, seed)
    world.reset(start, velocity, seed=seed, t=t)
    return trajectory


def fly_once(
    world: PyBulletWorld,
    plant: Plant,
    controller: Controller,
    scenario: Scenario,
    seed: int,
    moment_trim: np.ndarray,
    metadata: Mapping[str, Any] | None = None,
    resting_share: float = RESTING_SHARE,
    before_step: Callable[[float, State], None] | None = None,
) -> tuple[FlightLog, Truth, Trajectory, dict[str, float]]:
    """One flight and its figures. The seed draws start, noise, turbulence and a deck's phase, alike for everyone."""
    trajectory = place(world, plant, scenario, seed, -WARM_UP)
    controller.reset(moment_trim)
    log, truth = fly(
        world,
        controller,
        trajectory,
        Sensors(plant.noise, seed),
        start=-WARM_UP,
        end=scenario.duration,
        touchdown=scenario.detector(plant.vehicle, resting_share),
        before_step=before_step,
        metadata=metadata,
    )
    return log, truth, trajectory, scenario.score(truth, trajectory)
