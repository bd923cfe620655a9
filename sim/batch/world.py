"""The batched world: N vehicles of one kind at once, by the scheme of the PyBullet world.

Velocities first, then position and attitude with the new ones (semi-implicit Euler, the exponential map for the
attitude), the rotation by its mid-point step. In free flight the two worlds differ by rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from neural_lander.components import (
    Vector,
    cross,
    join,
    minus,
    plus,
    quaternion_rows,
    rotate,
    rotate_back,
    split,
    turned,
)
from neural_lander.errors import UserError
from neural_lander.lag import share_after
from neural_lander.state import State
from neural_lander.vehicle import GRAVITY, Vehicle
from sim.aerodynamics import AerodynamicEffect, name_of, ours, reset_random
from sim.airframe import Airframe
from sim.batch.contact import Contact
from sim.batch.effects import for_batch, writes
from sim.rigid_body import TIME_STEP, angular_acceleration
from sim.terrain import DeckSurface, Flat, Terrain, clearance

NEAR = 0.05  # m: nothing falls further in a step than a fraction of this
UPRIGHT = 0.7  # cosine of the tilt, up to which the gear is lower than the hubs


class BatchWorld:
    """N quadrotors over a terrain, stepped together at ``dt``. They do not feel each other.

    ``p`` and ``v`` are of the centre of mass, ``state`` of the frame's origin, as in the PyBullet world.

    Parameters
    ----------
    vehicle : Vehicle
        The true one, of all.
    effects : sequence of AerodynamicEffect
        Copied, since random ones keep a state. Those written for one vehicle are called for each.
    airframes : sequence of N Airframe
    terrain : Terrain, optional
        The floor z = 0 by default.
    dt : float
        s.
    like : torch.Tensor, optional
        Decides precision and device; float64 on the CPU by default.
    """

    def __init__(
        self,
        vehicle: Vehicle,
        effects: Sequence[AerodynamicEffect],
        airframes: Sequence[Airframe],
        terrain: Terrain | None = None,
        dt: float = TIME_STEP,
        like: torch.Tensor | None = None,
    ) -> None:
        self.vehicle, self.dt, self.terrain = vehicle, dt, terrain or Flat()
        self._strangers = not all(ours(effect) for effect in effects)
        self.effects = tuple(for_batch(effect, vehicle, self.terrain.mean(), dt) for effect in effects)
        self.like = torch.zeros((), dtype=torch.float64) if like is None else like
        self._maps = self._wrench_maps(airframes)
        self._J: list[float] = vehicle.inertia.tolist()
        self._gear: list[list[float]] = vehicle.gear_points.tolist()
        self._follow = self._motors(airframes)
        self._offset = self._offsets(airframes)
        self._contact = Contact(vehicle, dt, self.like)
        self.size = len(airframes)

    def _wrench_maps(self, airframes: Sequence[Airframe]) -> list[list[Any]]:
        """Six rows of four: force in N and moment in N m, body, per u of each rotor; floats where all have the same."""
        maps = self.vehicle.thrust_coefficient * _of_each(airframes, lambda a: a.wrench_map(self.vehicle))
        if len(maps) == 1:
            return maps[0].T.tolist()
        return [[self._array(maps[:, i, j]) for i in range(4)] for j in range(6)]

    def _motors(self, airframes: Sequence[Airframe]) -> list[Any]:
        """Share of a step that each rotor's u makes in dt; floats where all airframes have the same."""
        shares = _of_each(
            airframes, lambda a: np.broadcast_to(share_after(self.dt, a.motor_time_constants(self.vehicle)), 4)
        )
        return shares[0].tolist() if len(shares) == 1 else [self._array(column) for column in shares.T]

    def _offsets(self, airframes: Sequence[Airframe]) -> Vector | None:
        """Of the centre of mass in m, body; floats where all have the same, None where none has any."""
        centres = _of_each(airframes, lambda a: np.asarray(a.centre_of_mass))
        if not np.any(centres):
            return None
        return airframes[0].offset if len(centres) == 1 else [self._array(c) for c in centres.T]

    def _array(self, values: Any) -> torch.Tensor:
        return torch.as_tensor(np.ascontiguousarray(values), dtype=self.like.dtype, device=self.like.device)

    def reset(
        self,
        position: np.ndarray,
        velocity: np.ndarray | None = None,
        seeds: Sequence[int] | None = None,
        t: float = 0.0,
    ) -> None:
        """Place all frames level in hover trim: ``(N, 3)`` m, ``(N, 3)`` m/s; time t in s.

        The seeds drive random effects.
        """
        zero = torch.zeros(self.size, dtype=self.like.dtype, device=self.like.device)
        self.t = t
        self.p: Vector = [self._array(c) for c in np.asarray(position).T]
        if self._offset is not None:
            self.p = plus(self.p, self._offset)
        self.v: Vector = [zero] * 3 if velocity is None else [self._array(c) for c in np.asarray(velocity).T]
        self.q: Vector = [zero + 1, zero, zero, zero]
        self.w: Vector = [zero] * 3
        self.u: Vector = [zero + self.vehicle.hover_speed**2] * 4
        numbers = torch.tensor(range(self.size) if seeds is None else seeds, device=self.like.device)
        reset_random(self.effects, numbers, self.dt)
        self.contact = zero > 1
        self.over: torch.Tensor | None = None
        """(N,) whose flight has ended: they stay where they are, without the cost of contact, which is the largest."""
        self._read([zero, zero, zero + GRAVITY])

    def _read(self, felt: Vector) -> None:
        """Make a state of the components; ``felt`` is the acceleration over the last step minus gravity, m/s^2."""
        rows = quaternion_rows(self.q)
        self.surface = self.terrain.at(self.t)
        p, v = self.p, self.v
        if self._offset is not None:
            p = minus(p, rotate(rows, self._offset))
            v = minus(v, rotate(rows, cross(self.w, self._offset)))
        self.state = State(
            join(p),
            join(v),
            join(self.q),
            join(self.w),
            clearance(rows, p, self._gear, self.surface),
            self.contact,
            specific_force=join(felt),
            rows=rows,
        )

    def step(self, rotor_speeds: torch.Tensor) -> None:
        """Advance by dt with these commanded rotor speeds in rad/s, ``(N, 4)``."""
        dt, m, state = self.dt, self.vehicle.mass, self.state
        self.u = [
            u + share * ((n * n).clip(None, self.vehicle.u_max) - u)
            for share, u, n in zip(self._follow, self.u, split(rotor_speeds), strict=True)
        ]
        self.rotor_speeds = join([u.sqrt() for u in self.u])
        wrench = [sum(b * u for b, u in zip(row, self.u, strict=True)) for row in self._maps]
        force, moment = rotate(state.rows, wrench[:3]), wrench[3:]
        lift = force
        for effect in self.effects:
            extra_force, extra_moment = self._effect(effect)
            force = [a + b for a, b in zip(force, split(extra_force), strict=True)]
            moment = [a + b for a, b in zip(moment, split(extra_moment), strict=True)]
        if self._offset is not None:  # effects give their moments about the frame's origin
            moment = list(minus(moment, cross(self._offset, rotate_back(state.rows, minus(force, lift)))))
        self.applied_force = force
        turn = angular_acceleration(self._J, self.w, moment, dt)
        before = self.v
        v = [a + dt / m * f for a, f in zip(self.v, force, strict=True)]
        v[2] = v[2] - dt * GRAVITY
        w = [a + dt * b for a, b in zip(self.w, turn, strict=True)]
        self.v, self.w = self._touch(state, v, w)
        if self.over is not None:
            moving = (~self.over).to(self.like.dtype)
            self.v, self.w = [moving * a for a in self.v], [moving * a for a in self.w]
        self.p = [p + dt * v for p, v in zip(self.p, self.v, strict=True)]
        self.q = turned(self.q, self.w, dt)
        self.t += dt
        felt = [(a - b) / dt for a, b in zip(self.v, before, strict=True)]
        self._read([felt[0], felt[1], felt[2] + GRAVITY])

    def _effect(self, effect: AerodynamicEffect) -> tuple[Any, Any]:
        """Force and moment of one; a stranger's that writes into the truth is refused, by name."""
        state, speeds = self.state, self.rotor_speeds
        if not self._strangers:
            return effect(state, speeds, self.vehicle, self.surface)
        before = writes(state, speeds)
        found = effect(state, speeds, self.vehicle, self.surface)
        if writes(state, speeds) != before:
            name = name_of(effect)
            raise UserError(
                f"effect '{name}' writes into the state or the rotor speeds that it is given: they are read-only"
            )
        return found

    def _near(self, state: State) -> torch.Tensor:
        """Which vehicles may touch within this step; once tipped over, the hubs may be lower than the gear."""
        tipped = (state.rows[2][2] < UPRIGHT).to(state.height.dtype)
        return state.height < NEAR + 2 * self._contact.reach * tipped

    def _touch(self, state: State, v: Vector, w: Vector) -> tuple[Vector, Vector]:
        """Velocities after contact; it is computed for those near the ground alone."""
        near = self._near(state)
        if self.over is None:
            self.contact = torch.zeros_like(near)
        else:
            near, self.contact = near & ~self.over, self.contact & self.over  # what rests is felt to touch as before
        if not near.any():
            return v, w
        pick = near.nonzero()[:, 0]
        x, y, z = ([row[pick] for row in three] for three in state.rows)
        surface = self.surface.some(pick) if isinstance(self.surface, DeckSurface) else self.surface
        offset = self._offset
        if offset is not None and isinstance(offset[0], torch.Tensor):
            offset = [c[pick] for c in offset]
        some = self._contact(
            [p[pick] for p in self.p], (x, y, z), [a[pick] for a in v], [a[pick] for a in w], surface, offset
        )  # fmt: skip
        self.contact = self.contact.index_put((pick,), some.touching)
        v = [a.index_put((pick,), a[pick] + b) for a, b in zip(v, some.velocity, strict=True)]
        w = [a.index_put((pick,), a[pick] + b) for a, b in zip(w, some.rates, strict=True)]
        return v, w


def _of_each(airframes: Sequence[Airframe], of: Callable[[Airframe], np.ndarray]) -> np.ndarray:
    """Something of every airframe, stacked; computed once for each that differs, and one row where all are the same."""
    distinct = {id(a): a for a in airframes}
    rows = np.stack([of(a) for a in distinct.values()])
    which = {key: k for k, key in enumerate(distinct)}
    return rows if len(rows) == 1 else rows[[which[id(a)] for a in airframes]]
