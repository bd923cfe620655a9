"""One flight of a comparison: one controller, one plant, one seed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from neural_lander.control.controller import Controller
from neural_lander.control.touchdown import RESTING_SHARE, TouchdownDetector
from neural_lander.control.tracking import DEFAULT_NATURAL_FREQUENCY, DEFAULT_TRIM_RATE, TrackingGains
from neural_lander.errors import UserError
from neural_lander.flightlog.log import FlightLog
from neural_lander.residual.model import NoResidual, ResidualModel
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


@dataclass(frozen=True)
class ControllerKind:
    """One column of the comparison."""

    name: str
    label: str
    residual: str
    """``none``, ``cheeseman-bennett``, ``network`` or ``oracle``."""
    trim: bool


CONTROLLERS: Mapping[str, ControllerKind] = {
    kind.name: kind
    for kind in (
        ControllerKind("pd", "PD", "none", False),
        ControllerKind("pd-trim", "PD + trim", "none", True),
        ControllerKind("pd-cb", "PD + Cheeseman-Bennett", "cheeseman-bennett", False),
        ControllerKind("pd-cb-trim", "PD + Cheeseman-Bennett + trim", "cheeseman-bennett", True),
        ControllerKind("neural-lander", "Neural-Lander", "network", False),
        ControllerKind("neural-lander-trim", "Neural-Lander + trim", "network", True),
        ControllerKind("oracle", "Oracle", "oracle", False),
        ControllerKind("oracle-trim", "Oracle + trim", "oracle", True),
    )
}


def controller_named(name: str) -> ControllerKind:
    """Controller kind by name, or an error that lists the known ones."""
    if name not in CONTROLLERS:
        raise UserError(f"controller '{name}' is not known; use any of: {', '.join(CONTROLLERS)}")
    return CONTROLLERS[name]


@dataclass(frozen=True)
class Learned:
    """What was learned for one airframe, from its logs alone."""

    network: ResidualModel
    cheeseman_bennett: ResidualModel
    contraction_factor: float
    """Certified bound on the contraction of the thrust iteration under the network."""
    iterations: int | None = None
    """Passes that the certificate counts; None: as many as the factor alone asks for."""
    uncertified: str = ""
    """Why no certificate lets the network fly, where it flies for research all the same."""


def build_controller(
    kind: ControllerKind, plant: Plant, learned: Learned | None, omega_n: float = DEFAULT_NATURAL_FREQUENCY
) -> Controller:
    """Controller of the kind: gains, attitude loop and detector are the same for all.

    Raises
    ------
    UserError
        If the kind needs a learned model and none is given.
    """
    gains = TrackingGains.critically_damped(plant.vehicle, omega_n, DEFAULT_TRIM_RATE if kind.trim else 0.0)
    if kind.residual in ("network", "cheeseman-bennett") and learned is None:
        raise UserError(f"controller '{kind.name}' needs a bundle: pass --bundle, or leave it out of --controllers")
    models: dict[str, ResidualModel] = {"none": NoResidual(), "oracle": plant.oracle()}
    if learned is not None:
        models |= {"network": learned.network, "cheeseman-bennett": learned.cheeseman_bennett}
    if learned is None or kind.residual != "network":
        return Controller(plant.vehicle, models[kind.residual], gains)
    return Controller(
        plant.vehicle,
        learned.network,
        gains,
        contraction_factor=learned.contraction_factor,
        iterations=learned.iterations,
        uncertified=learned.uncertified,
    )


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


def place(world: PyBulletWorld, plant: Plant, trajectory: Trajectory, seed: int, t: float) -> None:
    """Put the vehicle near the reference's start, as the seed draws it, at time t in s."""
    rng = np.random.default_rng([seed, 0x57A])
    start = trajectory(0.0).position + START_SPREAD * rng.standard_normal(3) * [1.0, 1.0, 0.5]
    start[2] = max(start[2], plant.pad[2] + 0.02)
    world.reset(start, velocity=0.05 * rng.standard_normal(3), seed=seed, t=t)


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
    """One flight and its figures. The seed draws start, noise and turbulence, alike for every controller."""
    trajectory = scenario.trajectory(plant.pad)
    place(world, plant, trajectory, seed, -WARM_UP)
    controller.reset(moment_trim)
    log, truth = fly(
        world,
        controller,
        trajectory,
        Sensors(plant.noise, seed),
        start=-WARM_UP,
        end=scenario.duration,
        touchdown=TouchdownDetector(resting_share=resting_share) if scenario.lands else None,
        before_step=before_step,
        metadata=metadata,
    )
    return log, truth, trajectory, scenario.score(truth, trajectory)
