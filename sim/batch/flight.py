"""Closes the loop for many flights at once: the figures of :func:`sim.landing.fly_once` for every seed.

    fly_batch(tasks, scenario, omega_n=..., resting_share=..., like=...) -> list of rows per task

A :class:`Task` is one controller on one airframe for some seeds; the tasks of a call share plant and scenario, and the
more flights there are in one call the less each costs. A row holds what ``scenario.score`` gives. A flight that failed
has ``failed`` = 1 and nothing else, and a warning says why. What else is in the batch changes numbers by rounding only.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import torch

from neural_lander.components import split
from neural_lander.control.touchdown import RESTING_SHARE
from neural_lander.control.tracking import DEFAULT_NATURAL_FREQUENCY
from neural_lander.errors import NeuralLanderWarning
from neural_lander.state import Reference
from sim.aerodynamics import ours
from sim.batch.controllers import batched, on_torch, rows_of
from sim.batch.sensors import BatchSensors
from sim.batch.world import BatchWorld
from sim.controllers import build_controller, controller_named
from sim.flight import Truth
from sim.forecast import forecast_of
from sim.landing import drawn_start
from sim.plant import Copy
from sim.scenarios import WARM_UP, Scenario, scenario_named


@dataclass(frozen=True)
class Task:
    """Flights of one controller on one airframe."""

    copy: Copy
    controller: str
    seeds: Sequence[int]
    moment_trim: np.ndarray  # (3,) N m
    tuned: Mapping[str, float] | None = None
    """Gains of its own, for :func:`sim.controllers.build_controller`."""


def fly_batch(
    tasks: Sequence[Task],
    scenario: str,
    *,
    omega_n: float = DEFAULT_NATURAL_FREQUENCY,
    resting_share: float = RESTING_SHARE,
    like: torch.Tensor | None = None,
) -> list[list[dict[str, float]]]:
    """Figures of each seed of each task; ``like`` decides precision and device, float64 on the CPU by default."""
    with _without_gradients(tasks):
        order = sorted(range(len(tasks)), key=lambda k: (_law(tasks[k], k), tasks[k].controller))
        flights = Flights([tasks[k] for k in order], scenario_named(scenario), omega_n, resting_share, like)
        flights.fly()
        found = dict(zip(order, flights.figures(), strict=True))
        return [found[k] for k in range(len(tasks))]


def _without_gradients(tasks: Sequence[Task]) -> AbstractContextManager[Any]:
    """Torch's fastest mode, which counts no writes; strangers' effects and laws are told to write by that count."""
    known = all(":" not in task.controller and all(map(ours, task.copy.plant.effects)) for task in tasks)
    return torch.inference_mode() if known else torch.no_grad()


def _law(task: Task, k: int) -> str:
    """The same for tasks that one batched controller can fly: a trim may be off, what adapts a network flies alone."""
    kind = controller_named(task.controller)
    own = "" if kind.estimate in ("none", "trim") else str(task.tuned) if kind.estimate in ("indi", "l1") else str(k)
    return f"{kind.guarded} {'trim' if kind.estimate == 'none' else kind.estimate} {own}"


class Flights:
    """N flights of one scenario on airframes of one plant."""

    def __init__(
        self,
        tasks: Sequence[Task],
        scenario: Scenario,
        omega_n: float,
        resting_share: float,
        like: torch.Tensor | None,
    ) -> None:
        self.tasks, self.scenario = tasks, scenario
        self.like = torch.zeros((), dtype=torch.float64) if like is None else like
        self.seeds = [seed for task in tasks for seed in task.seeds]
        drawn = scenario.drawn(self.seeds)
        plants = [scenario.over(task.copy.plant) for task in tasks]
        self.plant = plants[0]
        self.trajectory = drawn.trajectory(self.plant.pad)
        airframes = [plant.airframe for plant, task in zip(plants, tasks, strict=True) for _ in task.seeds]
        self.world = BatchWorld(
            self.plant.true_vehicle, self.plant.effects, airframes,
            on_torch(drawn.over(self.plant).terrain, self.like), like=self.like,
        )  # fmt: skip
        pad = self.plant.pad
        starts = [drawn_start(scenario.drawn(seed).trajectory(pad), pad, seed) for seed in self.seeds]
        position, velocity = (np.array(part) for part in zip(*starts, strict=True))
        self.world.reset(position, velocity, self.seeds, t=-WARM_UP)
        self.sensors = BatchSensors(self.plant.noise, torch.tensor(self.seeds, device=self.like.device))
        self.touchdown = scenario.detector(self.plant.vehicle, resting_share)
        if self.touchdown is not None:
            self.touchdown.reset(self.world.state.height.double())  # its times are told apart to the step
        self.controllers = self._controllers(plants, omega_n)
        self._c_T = self.plant.vehicle.thrust_coefficient
        self.forecast = forecast_of(self.plant.noise, self.plant.vehicle, self.world.dt)
        self.steps = round((WARM_UP + scenario.duration) / self.world.dt)

    def _controllers(self, plants: Sequence[Any], omega_n: float) -> list[tuple[slice, Any]]:
        """Neighbouring tasks whose laws differ by numbers and residual model alone fly as one."""
        built = [
            build_controller(controller_named(task.controller), plant, task.copy.learned, omega_n, task.tuned)
            for task, plant in zip(self.tasks, plants, strict=True)
        ]
        made, end = [], 0
        for _, group in groupby(range(len(built)), lambda k: _law(self.tasks[k], k)):
            members = list(group)
            sizes, trims = [len(self.tasks[k].seeds) for k in members], [self.tasks[k].moment_trim for k in members]
            rows = slice(end, end + sum(sizes))
            made.append((rows, batched([built[k] for k in members], sizes, trims, self.like)))
            end = rows.stop
        return made

    def fly(self) -> None:
        """From the warm-up to the end; what scores need is kept step by step."""
        world, dt = self.world, self.world.dt
        size = (self.steps, world.size)
        self.t = -WARM_UP + dt * np.arange(self.steps)
        self.seen = {name: torch.empty(size, dtype=self.like.dtype, device=self.like.device) for name in RECORDED}
        self.contact = torch.empty(size, dtype=torch.bool, device=self.like.device)
        self.reference = np.empty((self.steps, *self.trajectory(0.0).position.shape))  # one for all, or one for each
        self.cut = torch.full((world.size,), self.steps, device=self.like.device)
        measured = self.sensors.measure(world.state)
        for k, t in enumerate(self.t.tolist()):
            command = self._command(k, t, self.sensors.delayed(measured))
            self._record(k)
            world.step(command)
            measured = self.sensors.measure(world.state)

    def _command(self, k: int, t: float, seen: Any) -> torch.Tensor:
        r = self.trajectory(t)
        self.reference[k] = r.position
        if self.forecast is not None:
            seen = self.forecast(seen)
        jerk = None if r.jerk is None else self._vector(r.jerk)
        reference = Reference(
            self._vector(r.position), self._vector(r.velocity), self._vector(r.acceleration), r.yaw, jerk
        )
        if len(self.controllers) == 1:
            command = self.controllers[0][1](t, seen, reference)
        else:
            parts = [
                controller(t, rows_of(seen, rows), _reference_of(reference, rows))
                for rows, controller in self.controllers
            ]
            command = torch.cat([part.mT for part in parts], dim=-1).mT
        if self.touchdown is not None:
            asked = self._c_T * (command * command).sum(dim=-1)
            share = self.touchdown(
                t, seen.contact, asked.double(), seen.velocity[:, 2].double(), seen.rows[2][2].double()
            )
            command = command * share.to(command.dtype).sqrt()[:, None]
            for rows, controller in self.controllers:
                controller.flown_thrust = self._c_T * command[rows] ** 2
            landed: Any = self.touchdown.landed
            self.cut = torch.where(landed & (self.cut == self.steps), k, self.cut)
            self.world.over = landed
        if self.forecast is not None:
            moments = [controller.attitude.tau_hat.mT for _, controller in self.controllers]
            self.forecast.commanded(command, torch.cat(moments, dim=-1).mT)
        return command

    def _vector(self, x: np.ndarray) -> torch.Tensor:
        return torch.as_tensor(x, dtype=self.like.dtype, device=self.like.device)

    def _record(self, k: int) -> None:
        state = self.world.state
        values = (*split(state.position), *split(state.velocity), state.height, state.rows[2][2])
        for name, value in zip(RECORDED, values, strict=True):
            self.seen[name][k] = value
        self.contact[k] = state.contact

    def figures(self) -> list[list[dict[str, float]]]:
        """Scores, in the order of the tasks and their seeds."""
        columns = {name: np.ascontiguousarray(c.cpu().numpy().T) for name, c in self.seen.items()}
        contact, cut = np.ascontiguousarray(self.contact.cpu().numpy().T), self.cut.cpu().numpy()
        since = np.full(self.world.size, math.nan)
        if self.touchdown is not None:
            memory: Any = self.touchdown
            since = np.where(memory.landed.cpu(), memory.since.cpu(), math.nan)
        rows = []
        for i, seed in enumerate(self.seeds):
            one = {name: c[i, : cut[i]].astype(np.float64) for name, c in columns.items()}
            if not all(np.all(np.isfinite(c)) for c in one.values()):
                warnings.warn(f"flight {seed} failed: its state is not finite", NeuralLanderWarning, stacklevel=2)
                rows.append({"failed": 1.0})
                continue
            truth = self._truth(i, one, contact[i, : cut[i]], float(since[i]))
            rows.append(self.scenario.score(truth, self.trajectory))
        ends = np.cumsum([len(task.seeds) for task in self.tasks]).tolist()
        return [rows[end - len(task.seeds) : end] for task, end in zip(self.tasks, ends, strict=True)]

    def _truth(self, i: int, one: dict[str, np.ndarray], contact: np.ndarray, landed_at: float) -> Truth:
        n, reference = len(contact), self.reference if self.reference.ndim == 2 else self.reference[:, i]
        unknown = np.broadcast_to(np.float64(math.nan), (n, 3))
        return Truth(
            t=self.t[:n],
            position=np.stack([one[c] for c in RECORDED[:3]], axis=-1),
            velocity=np.stack([one[c] for c in RECORDED[3:6]], axis=-1),
            height=one["height"],
            tilt=np.arccos(np.clip(one["upright"], -1.0, 1.0)),
            contact=contact,
            reference=reference[:n],
            f_a=unknown,
            f_a_hat=unknown,
            d_hat=unknown,
            landed_at=landed_at,
        )


RECORDED = ("x", "y", "z", "v_x", "v_y", "v_z", "height", "upright")
"""Columns of the truth that scores need: m, m/s, m and the cosine of the tilt."""


def _reference_of(r: Reference, rows: slice) -> Reference:
    """That of some of the vehicles; what is one vector for all stays one."""

    def own(x: Any) -> Any:
        return x if x is None or x.ndim == 1 else x[rows]

    return Reference(own(r.position), own(r.velocity), own(r.acceleration), r.yaw, own(r.jerk))
