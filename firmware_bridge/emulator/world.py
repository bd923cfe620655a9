"""Worlds for the emulated autopilot: a light rigid body of its own, and an adapter for the simulator's.

Both begin at rest on the ground, as a vehicle does that has just been switched on.
"""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np

from neural_lander.components import Vector, cross, dot, quaternion_product, quaternion_rows, rotate, rotate_back
from neural_lander.lag import share_after
from neural_lander.state import State
from neural_lander.vehicle import GEAR_FRICTION, GRAVITY, Vehicle

GEAR_SAG = 0.003  # m, how far the gear gives way under the weight: soft enough for steps of 2.5 ms, guess
GEAR_DAMPING_RATIO = 0.7  # guess: rubber feet
SLIDING_SPEED = 0.02  # m/s, below which friction falls off linearly, so that a vehicle at rest does not chatter, guess
DRAG = 0.1  # 1/s, drag over mass and speed, guess: rotor drag of a small quadrotor


class RigidBodyWorld:
    """One quadrotor over the floor z = 0, in plain floats: some ten times as fast as a physics engine.

    Gravity, rotors with first-order lag, ground effect of each rotor after Cheeseman and Bennett (ARC R&M 3021, 1955),
    linear drag, and the feet of the landing gear as springs with dampers and friction.

    Parameters
    ----------
    vehicle : Vehicle
        The true one.
    height : float
        Lowest point of the gear above the floor at the start in m.
    """

    def __init__(self, vehicle: Vehicle, height: float = 0.0) -> None:
        self.vehicle = vehicle
        self._J: list[float] = vehicle.inertia.tolist()
        self._gear: list[list[float]] = vehicle.gear_points.tolist()
        self._hubs: list[list[float]] = vehicle.rotor_positions.tolist()
        self._spin: list[float] = (-vehicle.rotor_directions * vehicle.torque_ratio).tolist()
        self._stiffness = vehicle.weight / GEAR_SAG / len(self._gear)  # N/m per foot
        self._damping = 2 * GEAR_DAMPING_RATIO * math.sqrt(GRAVITY / GEAR_SAG) * vehicle.mass / len(self._gear)
        self._u = [0.0] * 4
        self._p: Vector = (0.0, 0.0, height + vehicle.gear_clearance)
        self._v: Vector = (0.0, 0.0, 0.0)
        self._q: Vector = (1.0, 0.0, 0.0, 0.0)
        self._w: Vector = (0.0, 0.0, 0.0)
        self._specific_force: Vector = (0.0, 0.0, GRAVITY)
        self._contact = height <= 0
        self.state = self._truth()

    def hover(self) -> None:
        """Let the motors turn as in hover, for a start in the air."""
        self._u = [self.vehicle.hover_speed**2] * 4

    def push(self, velocity: Vector) -> None:
        """Change the velocity by (3,) m/s, world, at once: a gust or a hand."""
        self._v = tuple(a + b for a, b in zip(self._v, velocity, strict=True))
        self.state = self._truth()

    @property
    def rotor_speed(self) -> np.ndarray:
        """(4,) rad/s."""
        return np.sqrt(self._u)

    @property
    def specific_force(self) -> np.ndarray:
        """(3,) m/s^2, body."""
        return np.array(self._specific_force)

    def step(self, rotor_speeds: np.ndarray, dt: float) -> None:
        """Move on by ``dt`` s: semi-implicit Euler, exact for the motors."""
        rows, mass = quaternion_rows(self._q), self.vehicle.mass
        thrust, moment = self._rotors(rotor_speeds.tolist(), rows, dt)
        force = rotate(rows, (0.0, 0.0, thrust))
        push, turn = self._feet(rows)
        a = [(f + c) / mass - DRAG * v for f, c, v in zip(force, push, self._v, strict=True)]
        self._specific_force = rotate_back(rows, a)
        self._v = (self._v[0] + dt * a[0], self._v[1] + dt * a[1], self._v[2] + dt * (a[2] - GRAVITY))
        self._p = tuple(p + dt * v for p, v in zip(self._p, self._v, strict=True))
        J, w = self._J, self._w
        gyroscopic = cross([j * x for j, x in zip(J, w, strict=True)], w)
        self._w = tuple(w[i] + dt * (moment[i] + turn[i] + gyroscopic[i]) / J[i] for i in range(3))
        q = quaternion_product(self._q, (1.0, *(dt / 2 * x for x in self._w)))
        length = math.sqrt(sum(c * c for c in q))
        self._q = tuple(c / length for c in q)
        self.state = self._truth()

    def _rotors(self, command: list[float], rows: tuple[Vector, Vector, Vector], dt: float) -> tuple[float, Vector]:
        """Collective thrust in N and moment in N m, body; each rotor thrusts more near the floor."""
        vehicle = self.vehicle
        share = float(share_after(dt, vehicle.motor_time_constant))
        thrust, moment = 0.0, [0.0, 0.0, 0.0]
        for i, (x, y, z) in enumerate(self._hubs):
            self._u[i] += share * (min(command[i] ** 2, vehicle.u_max) - self._u[i])
            clearance = max(self._p[2] + dot(rows[2], (x, y, z)), vehicle.rotor_radius / 2)
            T = vehicle.thrust_coefficient * self._u[i] / (1 - (vehicle.rotor_radius / (4 * clearance)) ** 2)
            thrust += T
            moment[0] += y * T
            moment[1] -= x * T
            moment[2] += self._spin[i] * T
        return thrust, moment

    def _feet(self, rows: tuple[Vector, Vector, Vector]) -> tuple[Vector, Vector]:
        """Force in N, world, and moment in N m, body, of the feet that touch."""
        force, moment, self._contact = [0.0] * 3, [0.0] * 3, False
        for foot in self._gear:
            depth = -(self._p[2] + dot(rows[2], foot))
            if depth <= 0:
                continue
            velocity = [v + r for v, r in zip(self._v, rotate(rows, cross(self._w, foot)), strict=True)]
            load = max(self._stiffness * depth - self._damping * velocity[2], 0.0)
            grip = -GEAR_FRICTION * load / max(math.hypot(velocity[0], velocity[1]), SLIDING_SPEED)
            push = (grip * velocity[0], grip * velocity[1], load)
            self._contact = self._contact or load > 0
            for i, (f, m) in enumerate(zip(push, cross(foot, rotate_back(rows, push)), strict=True)):
                force[i] += f
                moment[i] += m
        return force, moment

    def _truth(self) -> State:
        rows = quaternion_rows(self._q)
        height = self._p[2] + min(dot(rows[2], foot) for foot in self._gear)
        return State(
            np.array(self._p),
            np.array(self._v),
            np.array(self._q),
            np.array(self._w),
            np.float64(height),
            self._contact,
            rows=rows,
        )


class SteppedWorld(Protocol):
    """What the adapter needs of the simulator's world."""

    dt: float
    state: State
    rotor_speeds: np.ndarray

    def step(self, rotor_speeds: np.ndarray) -> None:
        """Advance by ``dt``."""

    @property
    def specific_force(self) -> np.ndarray:
        """(3,) m/s^2, world."""


class SimulatedVehicle:
    """The simulator's world, with its aerodynamics and its contact, as an emulated autopilot sees a vehicle.

    Parameters
    ----------
    world : SteppedWorld
        Its step must be that of the autopilot.
    """

    def __init__(self, world: SteppedWorld) -> None:
        self._world = world

    def step(self, rotor_speeds: np.ndarray, dt: float) -> None:
        """Move on by ``dt`` s."""
        if not math.isclose(dt, self._world.dt):
            raise ValueError(f"the world steps by {self._world.dt} s, not by {dt} s")
        self._world.step(rotor_speeds)

    @property
    def state(self) -> State:
        """The truth."""
        return self._world.state

    @property
    def rotor_speed(self) -> np.ndarray:
        """(4,) rad/s."""
        return self._world.rotor_speeds

    @property
    def specific_force(self) -> np.ndarray:
        """(3,) m/s^2, body."""
        rows = self._world.state.rows
        return np.array(rotate_back(rows, self._world.specific_force.tolist()))
