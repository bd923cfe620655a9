"""Closed loop in PyBullet with the controller at every step, against bare Bullet in the same run."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

from neural_lander.control.controller import Controller
from neural_lander.residual.features import ROTORS, features_named
from neural_lander.residual.model import NoResidual, ReluNetwork, ResidualModel
from neural_lander.residual.options import TrainingOptions
from neural_lander.trajectory import Hover
from neural_lander.vehicle import Vehicle, load_vehicle
from sim.flight import fly
from sim.plant import Plant
from sim.rigid_body import TIME_STEP
from sim.sensors import Sensors
from sim.world import PyBulletWorld

STEPS = 2400  # 10 s of flight
REPEATS = 7
REQUIRED = 10_000.0  # steps/s with the network


def default_network(vehicle: Vehicle, seed: int = 0) -> ReluNetwork:
    """Random weights of the default size with the default bounds.

    Their values decide how many passes the thrust iteration takes: about two in the hover that is measured, as with a
    trained network.
    """
    rng, options = np.random.default_rng(seed), TrainingOptions()
    n = features_named(options.features).size
    sizes = (n + ROTORS, *options.hidden, 3)
    weights = [rng.normal(size=(b, a)) for a, b in pairwise(sizes)]
    weights = [W / np.linalg.norm(W, 2) for W in weights]
    weights[0] *= options.rotor_thrust_lipschitz(vehicle)
    biases = [rng.normal(size=size) for size in sizes[1:]]
    return ReluNetwork(tuple(weights), tuple(biases), options.features, np.full(n, -3.0), np.full(n, 3.0))


def bare_bullet(world: PyBulletWorld) -> Callable[[], None]:
    """Two reads, a force, a torque and a step per iteration, on the body and floor of our own world."""
    b, body, weight = world._bullet, world._body, [0.0, 0.0, world.vehicle.weight]
    b.resetBasePositionAndOrientation(body, [0.0, 0.0, 1.0], [0.0, 0.0, 0.0, 1.0])
    read, read_velocity = b.getBasePositionAndOrientation, b.getBaseVelocity
    push, turn, step, frame = b.applyExternalForce, b.applyExternalTorque, b.stepSimulation, b.WORLD_FRAME

    def loop() -> None:
        for _ in range(STEPS):
            position, _attitude = read(body)
            read_velocity(body)
            push(body, -1, weight, position, frame)
            turn(body, -1, [0.0, 0.0, 0.0], frame)
            step()

    return loop


def closed_loop(world: PyBulletWorld, plant: Plant, residual: ResidualModel) -> Callable[[], None]:
    """Hover with every effect, sensor noise, controller, log and truth: what ``compare`` flies."""
    controller = Controller(plant.vehicle, residual, uncertified="random weights")
    hover = Hover(np.array([0.0, 0.0, 0.5]))

    def loop() -> None:
        world.reset(hover.position)
        controller.reset()
        fly(world, controller, hover, Sensors(plant.noise, 0), start=0.0, end=STEPS * TIME_STEP)

    return loop


def run() -> dict[str, Any]:
    """Steps per second, the median of several repeats taken in turn."""
    vehicle = load_vehicle("intel-aero")
    plant = Plant(vehicle).with_airframe(1)
    with plant.build() as world:
        loops = {
            "bare Bullet": bare_bullet(world),
            "PD with trim": closed_loop(world, plant, NoResidual()),
            "Neural-Lander with trim": closed_loop(world, plant, default_network(vehicle)),
        }
        times: dict[str, list[float]] = {name: [] for name in loops}
        for _ in range(REPEATS):
            for name, loop in loops.items():
                started = time.perf_counter()
                loop()
                times[name].append(time.perf_counter() - started)
    rates = {name: STEPS / statistics.median(taken) for name, taken in times.items()}
    rows = [
        {
            "loop": name,
            "steps/s": rate,
            "best steps/s": STEPS / min(times[name]),
            "bare/ours": rates["bare Bullet"] / rate,
        }
        for name, rate in rates.items()
    ]
    return {
        "what": f"one core, {STEPS} steps of 1/240 s, median of {REPEATS}; required: {REQUIRED:.0f} steps/s",
        "rows": rows,
        "required_steps_per_s": REQUIRED,
        "met": rates["Neural-Lander with trim"] >= REQUIRED,
    }
