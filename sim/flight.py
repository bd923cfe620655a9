"""Closes the loop: world, sensors, controller, touchdown; returns what a log would hold, and the truth apart."""

from __future__ import annotations

import contextlib
import gc
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from neural_lander.arrays import clip
from neural_lander.components import columns, join, quaternion_rows, split
from neural_lander.control.controller import Controller
from neural_lander.control.guard import Guarded
from neural_lander.control.touchdown import TouchdownDetector
from neural_lander.errors import UserError
from neural_lander.flightlog.log import FlightLog
from neural_lander.state import State
from neural_lander.trajectory import Trajectory
from neural_lander.vehicle import G_VECTOR
from sim.forecast import forecast_of
from sim.sensors import Sensors
from sim.world import PyBulletWorld

LOG_EVERY = 2  # steps: 120 Hz

Excitation = Callable[[float], float]
"""t in s -> collective thrust in N added to what the controller asks for."""


@dataclass(frozen=True, eq=False)
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
    """What acts beyond the nominal model that the controller flies by, contact apart."""
    f_a_hat: np.ndarray  # (N, 3) N, world
    d_hat: np.ndarray  # (N, 3) N, world
    landed_at: float
    """Start in s of the contact that ended the flight; NaN if it never touched down."""
    guard_force: np.ndarray | None = None  # (N, 3) N, world
    """What a guard added to the force that the controller asked for; None without one."""


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """No search for cyclic garbage meanwhile: a flight makes none, and all the states that it keeps are searched."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@_no_collection()
def fly(
    world: PyBulletWorld,
    controller: Controller | Guarded,
    trajectory: Trajectory,
    sensors: Sensors,
    *,
    start: float,
    end: float,
    touchdown: TouchdownDetector | None = None,
    excitation: Excitation | None = None,
    before_step: Callable[[float, State], None] | None = None,
    lost: Callable[[State], bool] = lambda state: False,
    metadata: Mapping[str, Any] | None = None,
) -> tuple[FlightLog, Truth]:
    """Fly from time ``start`` to ``end`` in s, or until touchdown has been detected or the vehicle is ``lost``.

    Every controller has the same detector and spool-down, which act on felt contact alone; the last rows of the
    truth are those at the cut. Without one the flight touches and goes. What flies without a certificate is named in
    the log's metadata.
    """
    dt = world.dt
    c_T, u_max = controller.vehicle.thrust_coefficient, controller.vehicle.u_max
    truth, logged = [], []  # what each step refers to; turned into columns after the flight, off the loop's time
    measured = sensors.measure(world.state)
    forecast = forecast_of(sensors.noise, controller.vehicle, dt)
    guard = controller if isinstance(controller, Guarded) else None
    for k in range(round((end - start) / dt)):
        t = start + k * dt
        reference = trajectory(t)
        seen = sensors.delayed(measured)
        if forecast is not None:
            seen = forecast(seen)
        command = controller(t, seen, reference)
        if not math.isfinite(command.dot(command)):  # an effect that is told of them would be blamed
            world.check_effects()
            name = getattr(controller, "name", type(controller).__name__)
            speeds = command.tolist()
            raise UserError(f"controller '{name}' asked for rotor speeds {speeds} rad/s at t = {t:.3f} s: not finite")
        if before_step is not None:
            before_step(t, seen)
        if excitation is not None:
            u = command * command + excitation(t) / (4 * c_T)
            command = np.sqrt(clip(u, 0.0, u_max))
        if touchdown is not None:
            command = touched(touchdown, t, seen, command, c_T)
            if touchdown.landed:
                break
        if excitation is not None or touchdown is not None:
            controller.flown_thrust = c_T * command * command
        if forecast is not None:
            forecast.commanded(command, controller.attitude.tau_hat)
        before = world.state
        world.step(command)
        wanted = controller.wanted
        assert wanted is not None
        guarded = None if guard is None else _force_of(guard)
        truth.append(
            (
                t,
                before,
                reference.position,
                world.applied_force,
                world.rotor_speeds,
                wanted.f_a_hat,
                controller.tracking.d_hat,
                guarded,
            )
        )
        if k % LOG_EVERY == 0:
            actuation = sensors.actuation(world.specific_force, world.rotor_speeds)
            logged.append((t, measured, *actuation, wanted.f_a_hat, reference.position, guarded))
        measured = sensors.measure(world.state)
        if lost(world.state):
            break
    landed_at = math.nan
    if touchdown is not None and touchdown.landed and touchdown.since is not None:
        landed_at = touchdown.since
    error = math.hypot(sensors.noise.position, sensors.noise.drift)
    about = {"height_source": "motion capture", "height_error_m": error, **(metadata or {})}
    if controller.uncertified:
        about["uncertified"] = controller.uncertified
    unknown_weight = (world.vehicle.mass - controller.vehicle.mass) * G_VECTOR
    return _log(logged, about), truth_of(truth, c_T, unknown_weight, landed_at)


def touched(touchdown: TouchdownDetector, t: float, seen: State, command: np.ndarray, c_T: float) -> np.ndarray:
    """What the detector leaves at time t in s of the rotor speeds ``(4,)`` in rad/s that were asked for.

    ``seen`` is what the controller sees, ``c_T`` the thrust coefficient it believes in. Every loop of one vehicle asks
    here, so that all have the same detector.
    """
    asked = c_T * float(command.dot(command))
    climb, upright = float(seen.velocity[2]), seen.rows[2][2]
    return command * math.sqrt(touchdown(t, bool(seen.contact), asked, climb, upright))


def _force_of(guard: Guarded) -> np.ndarray:
    """(3,) N, world: what the guard added at the last step."""
    assert guard.intervention is not None
    return np.asarray(guard.intervention.force)


def _log(rows: Sequence[tuple[Any, ...]], metadata: Mapping[str, Any]) -> FlightLog:
    t, states, specific_force, rotor_speed, f_a_hat, reference, guarded = zip(*rows, strict=True)
    return FlightLog.from_arrays(
        t,
        [s.position for s in states],
        [s.velocity for s in states],
        [s.attitude for s in states],
        body_rates=[s.body_rates for s in states],
        specific_force=specific_force,
        rotor_speed=rotor_speed,
        height=[s.height for s in states],
        f_a_applied=f_a_hat,
        position_reference=reference,
        guard_force=None if guarded[0] is None else guarded,
        metadata=metadata,
    )


def truth_of(rows: Sequence[tuple[Any, ...]], c_T: float, unknown_weight: np.ndarray, landed_at: float) -> Truth:
    """Columns of (t, state, reference position, force, rotor speeds, f_a_hat, d_hat, the guard's force or None).

    ``c_T`` is the thrust coefficient that is believed in, ``unknown_weight`` (3,) N what the true mass adds to the
    believed one's weight; what acts beyond them is f_a.
    """
    t, states, reference, force, rotor_speeds, f_a_hat, d_hat, guarded = zip(*rows, strict=True)
    axis = join(columns(quaternion_rows(split(np.array([s.attitude for s in states]))))[2])
    nominal = c_T * np.sum(np.square(rotor_speeds), axis=-1, keepdims=True) * axis
    return Truth(
        t=np.array(t),
        position=np.array([s.position for s in states]),
        velocity=np.array([s.velocity for s in states]),
        height=np.array([s.height for s in states]),
        tilt=np.arccos(np.clip(axis[:, 2], -1.0, 1.0)),
        contact=np.array([s.contact for s in states]),
        reference=np.array(reference),
        f_a=np.array(force) + unknown_weight - nominal,
        f_a_hat=np.array(f_a_hat),
        d_hat=np.array(d_hat),
        landed_at=landed_at,
        guard_force=None if guarded[0] is None else np.array(guarded),
    )
