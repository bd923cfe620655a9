"""The PyBullet world: one rigid body with contact. The only module that knows PyBullet and its conventions."""

from __future__ import annotations

import contextlib
import math
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from neural_lander.components import Vector, cross, dot, minus, plus, quaternion_rows, rotate, rotate_back, scaled
from neural_lander.errors import FOREIGN, UserError
from neural_lander.state import State
from neural_lander.vehicle import GEAR_FRICTION, GRAVITY, Vehicle
from sim.aerodynamics import AerodynamicEffect, name_of, ours, reset_random
from sim.airframe import Airframe
from sim.gear import contact_spheres, foot_spring
from sim.motors import FirstOrderMotors
from sim.rigid_body import TIME_STEP, gyroscopic, net_moment
from sim.terrain import Flat, Terrain, clearance

_SILENCE = threading.Lock()
NO_LOAD = 1e-9  # of the weight: less than any foot carries, more than rounding


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """PyBullet prints its build time on the first import and a line per server, which would spoil ours."""
    with _SILENCE:  # two threads at once could put each other's silence back
        saved = os.dup(1), os.dup(2)
        null = os.open(os.devnull, os.O_WRONLY)
        sys.stdout.flush()
        try:
            os.dup2(null, 1)
            os.dup2(null, 2)
            yield
        finally:
            for number, copy in enumerate(saved, start=1):
                os.dup2(copy, number)
                os.close(copy)
            os.close(null)


class _Client:
    """PyBullet's functions bound to a physics server of their own; each is bound once, when first used.

    What every step calls goes to ``module`` with ``id`` as its last argument: PyBullet is slow to read keywords.
    """

    def __init__(self) -> None:
        try:
            with _quiet():
                import pybullet

                self.id = pybullet.connect(pybullet.DIRECT)
        except ImportError as error:
            raise UserError(f"the PyBullet world needs pybullet: {_how_to_get_it()}") from error
        self.module = pybullet

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.module, name)
        bound = partial(value, physicsClientId=self.id) if callable(value) else value
        self.__dict__[name] = bound
        return bound


def _how_to_get_it() -> str:
    running = sys.version_info[:2]
    if running >= (3, 12):
        return (
            f"it has wheels up to Python 3.11 only, and this is {running[0]}.{running[1]}; the batched world does "
            "without (compare --world batched --bundle B, of flights that were collected elsewhere)"
        )
    return "pip install 'neural-lander[sim]'"


class PyBulletWorld:
    """A quadrotor over a terrain, stepped at ``dt``. Truth lives here; controllers and logs see sensors.

    Place and velocity in ``state`` are those of the frame's origin, where the profile has the centre of mass and where
    markers and autopilot are calibrated to; gear, hubs and effects belong to it too. Where the airframe's centre of
    mass is elsewhere, Bullet moves that one, and it alone is what the specific force is of.

    Parameters
    ----------
    vehicle : Vehicle
        The true one. Mass or thrust coefficient may differ from what the controller believes.
    effects : sequence of AerodynamicEffect
        What acts besides rotors, gravity and contact.
    airframe : Airframe, optional
        Asymmetries of this copy; none by default.
    terrain : Terrain, optional
        The floor z = 0 by default.
    dt : float
        s.
    """

    def __init__(
        self,
        vehicle: Vehicle,
        effects: Sequence[AerodynamicEffect] = (),
        airframe: Airframe | None = None,
        terrain: Terrain | None = None,
        dt: float = TIME_STEP,
    ) -> None:
        self.vehicle, self.effects, self.dt = vehicle, tuple(effects), dt
        self._strangers = not all(ours(effect) for effect in self.effects)  # to forbid them to write costs 5 %
        self.terrain: Terrain = terrain or Flat()
        """Before a reset it may be replaced by one of the same shape that moves otherwise."""
        airframe = airframe or Airframe.nominal()
        self._offset = airframe.offset
        self.motors = FirstOrderMotors(airframe.motor_time_constants(vehicle), vehicle.u_max)
        self._wrench_map = vehicle.thrust_coefficient * airframe.wrench_map(vehicle)
        self._J: list[float] = vehicle.inertia.tolist()
        self._gear: list[list[float]] = vehicle.gear_points.tolist()
        self._bullet = _Client()
        try:
            self._body = self._build(airframe.centre_of_mass)
            self.reset(np.array([0.0, 0.0, 1.0]))
        except BaseException:  # as what a user's effect or terrain raises: nobody else could close it
            self.close()
            raise

    def _build(self, centre_of_mass: np.ndarray) -> int:
        b, vehicle = self._bullet, self.vehicle
        b.setTimeStep(self.dt)
        b.setGravity(0, 0, -GRAVITY)
        self._ground = self.terrain.build(b)
        for ground in self._ground:
            b.changeDynamics(ground, -1, lateralFriction=GEAR_FRICTION, restitution=0.0)
        points, radius = contact_spheres(vehicle)
        feet = b.createCollisionShapeArray(
            shapeTypes=[b.GEOM_SPHERE] * len(points),
            radii=[radius] * len(points),
            collisionFramePositions=(points - centre_of_mass).tolist(),
        )
        body = int(b.createMultiBody(vehicle.mass, feet))
        stiffness, damping = foot_spring(vehicle)
        # Bullet would damp the motion by 4 % per second, and derive an inertia from the feet
        b.changeDynamics(
            body, -1, localInertiaDiagonal=self._J, linearDamping=0, angularDamping=0, maxJointVelocity=1e4,
            lateralFriction=GEAR_FRICTION, restitution=0.0, contactStiffness=stiffness, contactDamping=damping,
        )  # fmt: skip
        return body

    def reset(
        self,
        position: np.ndarray,
        velocity: np.ndarray | None = None,
        attitude: np.ndarray | None = None,
        seed: int = 0,
        t: float = 0.0,
    ) -> None:
        """Place the frame in hover trim: (3,) m, (3,) m/s, quaternion (4,); the seed drives random effects.

        The terrain is as it is at time ``t`` in s.
        """
        self.t = t
        w, x, y, z = (1.0, 0.0, 0.0, 0.0) if attitude is None else attitude
        centre = list(position)
        if self._offset is not None:
            centre = list(plus(centre, rotate(quaternion_rows((w, x, y, z)), self._offset)))
        self._bullet.resetBasePositionAndOrientation(self._body, centre, [x, y, z, w])
        self._bullet.resetBaseVelocity(self._body, [0.0] * 3 if velocity is None else list(velocity), [0.0] * 3)
        self.motors.reset(np.full(4, self.vehicle.hover_speed))
        reset_random(self.effects, seed, self.dt)
        self._read()

    def _read(self, before: State | None = None) -> None:
        """Take the state from Bullet; the one before it gives the acceleration over the step."""
        bullet, client, dt = self._bullet.module, self._bullet.id, self.dt
        position, (qx, qy, qz, qw) = bullet.getBasePositionAndOrientation(self._body, client)
        velocity, turning = bullet.getBaseVelocity(self._body, client)
        (vx, vy, vz), (ux, uy, uz) = velocity, velocity if before is None else self._moving
        felt = (vx - ux) / dt, (vy - uy) / dt, (vz - uz) / dt + GRAVITY
        attitude = qw, qx, qy, qz
        rows = quaternion_rows(attitude)
        self._centre: Vector = position  # of the centre of mass
        self._moving: Vector = velocity
        if self._offset is not None:
            arm = rotate(rows, self._offset)
            position, velocity = minus(position, arm), minus(velocity, cross(turning, arm))
        self.surface = self.terrain.at(self.t)
        height = clearance(rows, position, self._gear, self.surface)
        self.contact = before is not None and self._touches(felt)  # at first Bullet lists those of another flight
        self.state = State(
            np.array(position),
            np.array(velocity),
            np.array(attitude),
            np.array(rotate_back(rows, turning)),
            np.float64(height),
            self.contact,
            specific_force=np.array(felt),
            rows=rows,
        )
        if self._strangers:
            for values in vars(self.state).values():
                if isinstance(values, np.ndarray):
                    values.flags.writeable = False  # an effect that writes into the truth is refused, by name

    def _touches(self, felt: Vector) -> bool:
        """Whether any foot carries load. Bullet also lists points up to 2 cm away.

        It is asked only where the specific force in m/s^2 is not that of what was applied: in the air an answer would
        cost as much as the control law.
        """
        beyond = minus(scaled(self.vehicle.mass, felt), self.applied_force)
        if dot(beyond, beyond) < (NO_LOAD * self.vehicle.weight) ** 2:
            return False
        return any(point[9] > 0 for point in self._bullet.getContactPoints(self._body))

    def step(self, rotor_speeds: np.ndarray) -> None:
        """Advance by dt with these commanded rotor speeds in rad/s, (4,)."""
        state, (bullet, client, body) = self.state, (self._bullet.module, self._bullet.id, self._body)
        u = self.motors.step(rotor_speeds, self.dt)
        self.rotor_speeds = np.sqrt(u)
        if self._strangers:
            self.rotor_speeds.flags.writeable = False
        found = []
        wrench = u.dot(self._wrench_map).tolist()
        force, moment = rotate(state.rows, wrench[:3]), wrench[3:]
        lift = force
        for effect in self.effects:
            try:
                extra_force, extra_moment = effect(state, self.rotor_speeds, self.vehicle, self.surface)
                found.append((extra_force, extra_moment))
                if extra_force.shape != (3,) or extra_moment.shape != (3,):
                    self._blame(state, found)
                force, moment = plus(force, extra_force.tolist()), plus(moment, extra_moment.tolist())
            except UserError:
                raise
            except FOREIGN as error:
                self._name_culprit(found)
                raise UserError(f"effect '{name_of(effect)}' failed with {type(error).__name__}: {error}") from error
        if not math.isfinite(sum(force) + sum(moment)):
            self._blame(state, found)
        if self._offset is not None:  # effects give their moments about the frame's origin
            moment = minus(moment, cross(self._offset, rotate_back(state.rows, minus(force, lift))))
        torque = self._torque(state.body_rates.tolist(), moment)
        bullet.applyExternalForce(body, -1, force, self._centre, bullet.WORLD_FRAME, client)
        bullet.applyExternalTorque(body, -1, torque, bullet.LINK_FRAME, client)
        self.terrain.move(self._bullet, self._ground, self.t)
        bullet.stepSimulation(client)
        self.t += self.dt
        self.applied_force: Vector = force  # N, world; Bullet's gravity is beside it
        self._read(state)

    @property
    def specific_force(self) -> np.ndarray:
        """(3,) m/s^2, world: acceleration of the centre of mass over the last step minus gravity."""
        return np.asarray(self.state.specific_force)

    def check_effects(self) -> None:
        """Name an effect that returns no finite numbers here and in hover: an oracle asks it before the world does."""
        self.rotor_speeds = np.full(4, self.vehicle.hover_speed)
        self._name_culprit([e(self.state, self.rotor_speeds, self.vehicle, self.surface) for e in self.effects])

    def _blame(self, state: State, found: Sequence[Any]) -> None:
        """Say whose numbers are not finite."""
        self._name_culprit(found)
        raise ArithmeticError(f"the simulation diverged: state {state}, rotor speeds {self.rotor_speeds}")

    def _name_culprit(self, found: Sequence[Any]) -> None:
        """Refuse the first effect that returned something other than finite numbers."""
        for effect, parts in zip(self.effects, found, strict=False):
            arrays = all(isinstance(part, np.ndarray) and part.shape == (3,) for part in parts)
            if not arrays or not np.all(np.isfinite(parts)):
                speeds = self.rotor_speeds.round(1).tolist()
                where = f"at height {float(self.state.height):.4g} m, rotor speeds {speeds} rad/s"
                wanted = "both must be arrays of three finite numbers"
                raise UserError(f"effect '{name_of(effect)}' returned force, moment = {parts} {where}: {wanted}")

    def _torque(self, w: Vector, tau: Vector) -> Vector:
        """Moment that makes Bullet's explicit Euler step of the rotation the mid-point step.

        Bullet adds dt J^-1 (tau - w x J w) to the rates and then turns the body about the new ones, which leaves their
        body components as they are.
        """
        return plus(net_moment(self._J, w, tau, self.dt), gyroscopic(self._J, w))

    def close(self) -> None:
        """Free the physics server."""
        self._bullet.disconnect()

    def __enter__(self) -> PyBulletWorld:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
