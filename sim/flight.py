"""Closes the loop: world, sensors, controller, touchdown; returns what a log would hold, and the truth apart."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from neural_lander.control.controller import Controller
from neural_lander.control.touchdown import TouchdownDetector
from neural_lander.flightlog.log import FlightLog
from neural_lander.state import State
from neural_lander.trajectory import Trajectory
from sim.sensors import Sensors
from sim.world import PyBulletWorld

LOG_EVERY = 2  # steps: 120 Hz

Excitation = Callable[[float], float]
"""t in s -> collective thrust in N added to what the controller asks for."""


@dataclass(frozen=True)
class Truth:
    """What only the simulator knows, one row per step; never shown to a learner."""

    t: np.ndarray  # (N,) s
    position: np.ndarray  # (N, 3) m
    velocity: np.ndarray  # (N, 3) m/s
    height: np.ndarray  # (N,) m
    tilt: np.ndarray  # (N,) rad
    contact: np.ndarray  # (N,) bool
    reference: np.ndarray  # (N, 3) m
    f_a: np.ndarray  # (N, 3) N, world
    f_a_hat: np.ndarray  # (N, 3) N, world
    d_hat: np.ndarray  # (N, 3) N, world
    landed_at: float
    """Start in s of the contact that ended the flight; NaN if it never touched down."""


_COLUMNS = (
    ("t", 1), ("position", 3), ("velocity", 3), ("height", 1), ("tilt", 1), ("contact", 1),
    ("reference", 3), ("f_a", 3), ("f_a_hat", 3), ("d_hat", 3),
)  # fmt: skip
_LOG_COLUMNS = (
    ("t", 1), ("position", 3), ("velocity", 3), ("attitude", 4), ("body_rates", 3), ("specific_force", 3),
    ("rotor_speed", 4), ("height", 1), ("f_a_applied", 3), ("position_reference", 3),
)  # fmt: skip


def fly(
    world: PyBulletWorld,
    controller: Controller,
    trajectory: Trajectory,
    sensors: Sensors,
    *,
    start: float,
    end: float,
    spool_down: bool = True,
    excitation: Excitation | None = None,
    before_step: Callable[[float, State], None] | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> tuple[FlightLog, Truth]:
    """Fly from time ``start`` to ``end`` in s, or until touchdown has been detected.

    Every controller has the same detector and spool-down, which act on felt contact alone; the last rows of the
    truth are those at the cut. ``spool_down = False`` is for flights that touch and go.
    """
    dt, touchdown = world.dt, TouchdownDetector()
    steps = round((end - start) / dt)
    truth = np.empty((steps, sum(n for _, n in _COLUMNS)))
    logged = np.empty((steps // LOG_EVERY + 1, sum(n for _, n in _LOG_COLUMNS)))
    rows = 0
    c_T, u_max = controller.vehicle.thrust_coefficient, controller.vehicle.u_max
    measured = sensors.measure(world.state)
    for k in range(steps):
        t = start + k * dt
        reference = trajectory(t)
        seen = sensors.delayed(measured)
        command = controller(t, seen, reference)
        if before_step is not None:
            before_step(t, seen)
        if excitation is not None:
            u = command * command + excitation(t) / (4 * c_T)
            command = np.sqrt(np.minimum(np.maximum(u, 0.0), u_max))
        if spool_down:
            share = touchdown(t, bool(seen.contact))
            command = command * math.sqrt(share)
            if touchdown.landed:
                break
        before = world.state
        world.step(command)
        wanted = controller.wanted
        assert wanted is not None
        nominal = (c_T * (world.rotor_speeds @ world.rotor_speeds)) * before.R[:, 2]
        row = truth[rows]
        row[0] = t
        row[1:4], row[4:7], row[7], row[8] = before.position, before.velocity, before.height, before.R[2, 2]
        row[9], row[10:13] = before.contact, reference.position
        row[13:16] = world.applied_force - nominal
        row[16:19], row[19:22] = wanted.f_a_hat, controller.tracking.d_hat
        if k % LOG_EVERY == 0:
            m = measured
            noisy = sensors.actuation(world.specific_force, world.rotor_speeds)
            out = logged[rows // LOG_EVERY]
            out[0], out[1:4], out[4:7], out[7:11], out[11:14] = t, m.position, m.velocity, m.attitude, m.body_rates
            out[14:17], out[17:21], out[21] = noisy[0], noisy[1], m.height
            out[22:25], out[25:28] = wanted.f_a_hat, reference.position
        rows += 1
        measured = sensors.measure(world.state)
    landed_at = touchdown.since if touchdown.landed and touchdown.since is not None else math.nan
    return _log(logged[: (rows + LOG_EVERY - 1) // LOG_EVERY], metadata or {}), _truth(truth[:rows], landed_at)


def _split(rows: np.ndarray, columns: tuple[tuple[str, int], ...]) -> dict[str, np.ndarray]:
    fields, at = {}, 0
    for name, width in columns:
        fields[name] = rows[:, at] if width == 1 else rows[:, at : at + width]
        at += width
    return fields


def _log(rows: np.ndarray, metadata: Mapping[str, Any]) -> FlightLog:
    return FlightLog.from_arrays(**_split(rows, _LOG_COLUMNS), metadata=metadata)


def _truth(rows: np.ndarray, landed_at: float) -> Truth:
    fields = _split(rows, _COLUMNS)
    fields["tilt"] = np.arccos(np.clip(fields["tilt"], -1.0, 1.0))
    fields["contact"] = fields["contact"] > 0
    return Truth(**fields, landed_at=landed_at)
