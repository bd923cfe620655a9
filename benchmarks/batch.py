"""The batched world in closed loop: drone-steps per second of all cores, compiled or not, and how cost grows with N."""

from __future__ import annotations

import multiprocessing
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from benchmarks.closed_loop import closed_loop, default_network
from neural_lander.control.controller import Controller
from neural_lander.residual.options import DEFAULT_THRUST_SLOPE
from neural_lander.state import Reference
from neural_lander.vehicle import load_vehicle
from sim.batch.controllers import batched
from sim.batch.graph import AirWorld, Graph, GraphAllocation, GraphController
from sim.batch.sensors import BatchSensors
from sim.plant import Plant

DT = 0.002  # s
HEIGHT = 0.5  # m, of a hover with noise: ground effect and turbulence act, nobody touches
BLOCK = 8192  # drones in one call of a graph: its arrays stay in the cache
SECONDS = 3.0  # of one measurement
REPEATS = 3
NUMBERS = (10, 100, 1_000, 10_000, 100_000, 1_000_000)
GRAPHICS_BLOCK = 1_000_000
REQUIRED = 4e6  # drone-steps/s
REQUIRED_PYBULLET = 1e4  # steps/s
Loop = Callable[[], None]


def eager(n: int, device: str = "cpu", dtype: torch.dtype = torch.float32) -> tuple[Loop, list[Any]]:
    """A step of n drones that hover: noise, delay, every effect, controller with network; and what it changes."""
    vehicle = load_vehicle("intel-aero")
    plant, like = Plant(vehicle).with_airframe(1), torch.zeros((), dtype=dtype, device=device)
    world = AirWorld(plant.true_vehicle, plant.effects, [plant.airframe] * n, dt=DT, like=like)
    start = np.array([0.0, 0.0, HEIGHT]) + 0.01 * np.random.default_rng(0).standard_normal((n, 3))
    world.reset(start, seeds=range(n))
    sensors = BatchSensors(plant.noise, torch.arange(n, device=device), DT)
    alone = Controller(
        vehicle, default_network(vehicle), contraction_factor=DEFAULT_THRUST_SLOPE, uncertified="random weights"
    )
    controller = batched([alone], [n], [np.zeros(3)], like)
    place, still = torch.tensor([0.0, 0.0, HEIGHT]).to(like), torch.zeros(3).to(like)
    reference, clock = Reference(place, still, still), [0.0]

    def step() -> None:
        clock[0] += DT
        world.step(controller(clock[0], sensors.delayed(sensors.measure(world.state)), reference))

    return step, [world, sensors, controller]


def compiled(n: int, device: str = "cpu", dtype: torch.dtype = torch.float32) -> tuple[Graph, list[Any]]:
    """The same as a graph."""
    step, things = eager(n, device, dtype)
    controller = things[2]
    controller.__class__, controller.allocation.__class__ = GraphController, GraphAllocation
    return Graph(step, things), things


def rate(step: Loop, n: int, seconds: float) -> float:
    """Drone-steps per second, for about that long and at least twice."""
    count, started = 0, time.perf_counter()
    while count < 2 or time.perf_counter() - started < seconds:
        step()
        count += 1
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return n * count / (time.perf_counter() - started)


def _worker(index: int, turn: Any, together: Any, results: Any) -> None:
    torch.set_num_threads(1)
    with torch.no_grad():
        if index == 0:  # compiles for all: the others find its work in the cache
            graph, things = compiled(BLOCK)
            graph()
            turn.wait()
        else:
            turn.wait()
            graph, things = compiled(BLOCK)
            graph()
        plain, _ = eager(BLOCK)
        plain()
        loops: list[tuple[str, Loop]] = [("compiled", graph), ("eager", plain)]
        for name, step in loops * REPEATS:
            together.wait()
            results.put((name, rate(step, BLOCK, SECONDS)))
        graph.put_back()
        world = things[0]
        hovers = bool(world.state.position.isfinite().all()) and float((world.p[2] - HEIGHT).abs().max()) < 0.2
        results.put(("valid", hovers and not bool(world.grounded)))


def all_cores() -> dict[str, list[float]]:
    """Rates of one process per core, summed: compiled and eager in turn, all at the same time."""
    workers = os.cpu_count() or 1
    context = multiprocessing.get_context("spawn")
    turn, together, results = context.Barrier(workers), context.Barrier(workers), context.Queue()
    processes = [context.Process(target=_worker, args=(k, turn, together, results)) for k in range(workers)]
    for process in processes:
        process.start()
    found: dict[str, list[float]] = {"compiled": [], "eager": [], "valid": []}
    for _ in range(workers * (2 * REPEATS + 1)):
        name, value = results.get(timeout=1200)
        found[name].append(value)
    for process in processes:
        process.join()
    assert all(found["valid"]), "a drone has left the hover that is measured"
    return {name: np.reshape(found[name], (REPEATS, workers)).sum(axis=1).tolist() for name in ("compiled", "eager")}


def growth() -> list[dict[str, Any]]:
    """Cost of an eager step over N, one process, all cores."""
    rows = []
    for n in NUMBERS:
        with torch.no_grad():
            step, _ = eager(n)
            step()
            found = rate(step, n, 1.0)
        rows.append({"loop": f"eager, N = {n:,}", "steps/s": found, "ms per step": 1e3 * n / found})
    return rows


def pybullet() -> float:
    """Steps per second of the PyBullet world in closed loop, one core."""
    vehicle = load_vehicle("intel-aero")
    plant = Plant(vehicle).with_airframe(1)
    with plant.build() as world:
        loop, times = closed_loop(world, plant, default_network(vehicle)), []
        for _ in range(REPEATS):
            started = time.perf_counter()
            loop()
            times.append(time.perf_counter() - started)
    return 2400 / statistics.median(times)


def run() -> dict[str, Any]:
    """Everything in one run, so that the rows compare."""
    cores, alone = all_cores(), pybullet()
    rate_compiled, rate_eager = (statistics.median(cores[name]) for name in ("compiled", "eager"))

    def row(loop: str, found: float, n: int) -> dict[str, Any]:
        return {"loop": loop, "steps/s": found, "ms per step": 1e3 * n / found}

    per_core = BLOCK * (os.cpu_count() or 1)
    rows = [
        row(f"compiled, {BLOCK:,} per core", rate_compiled, per_core),
        row(f"eager, {BLOCK:,} per core", rate_eager, per_core),
        row("PyBullet, one core", alone, 1),
        *growth(),
    ]
    result: dict[str, Any] = {
        "what": (
            f"hover at {HEIGHT:g} m with noise, effects, controller and network every {DT:g} s, float32, "
            f"{os.cpu_count()} cores; required: {REQUIRED:.0f} and {REQUIRED_PYBULLET:.0f} in PyBullet"
        ),
        "rows": rows,
        "drone_steps_per_s": rate_compiled,
        "pybullet_steps_per_s": alone,
        "met": rate_compiled >= REQUIRED and alone >= REQUIRED_PYBULLET,
    }
    if torch.cuda.is_available():
        with torch.no_grad():
            graph, _ = compiled(GRAPHICS_BLOCK, "cuda")
            graph()
            found = rate(graph, GRAPHICS_BLOCK, SECONDS)
        rows.append(row(f"compiled, {GRAPHICS_BLOCK:,} on {torch.cuda.get_device_name()}", found, GRAPHICS_BLOCK))
        result["cuda_drone_steps_per_s"] = found
    return result
