"""Feet on the ground for many vehicles at once: soft in compression, Coulomb friction along the ground.

What PyBullet solves with its iterations, in the same form: impulses at the end of the step, so that stiff gear needs no
small step. A foot pushes with k e - c e', compression e and its rate taken at the end of the step, and never pulls;
friction stops the foot's slip as far as mu times the normal impulse goes. The impulses of all feet are found by
Jacobi's iteration, normal and friction by turns: gear of this stiffness couples the feet weakly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from neural_lander.components import Rows, Vector, cross, dot, minus, rotate, rotate_back
from neural_lander.vehicle import GEAR_FRICTION, Vehicle
from sim.gear import contact_spheres, foot_spring

SWEEPS = 10
SMALL = 1e-12  # N s, below which a friction impulse has no direction


@dataclass(frozen=True, eq=False)
class Impulse:
    """What the ground gives to the bodies within one step."""

    velocity: Vector  # m/s, world: added to the velocity
    rates: Vector  # rad/s, body: added to the body rates
    touching: torch.Tensor  # (N,) bool: whether any foot carries load


class Contact:
    """Feet and hubs as small spheres, as in the PyBullet world.

    Parameters
    ----------
    vehicle : Vehicle
        The true one.
    dt : float
        s.
    like : torch.Tensor
        Decides precision and device.
    """

    def __init__(self, vehicle: Vehicle, dt: float, like: torch.Tensor) -> None:
        points, self.radius = contact_spheres(vehicle)
        self._points: Vector = [torch.as_tensor(c, dtype=like.dtype, device=like.device)[:, None] for c in points.T]
        self._stiffness, damping = foot_spring(vehicle)
        self._soft = dt * (damping + dt * self._stiffness)  # kg
        self._mass, self._J, self._dt = vehicle.mass, vehicle.inertia.tolist(), dt
        self._lever = float(np.linalg.norm(points, axis=-1).max()) ** 2 / float(vehicle.inertia.min())  # 1/kg
        self.reach = float(np.linalg.norm(points, axis=-1).max() + self.radius)  # m: no part is further from the origin

    def __call__(
        self,
        position: Vector,
        rows: Rows,
        velocity: Vector,
        rates: Vector,
        surface: Any,
        offset: Vector | None = None,
    ) -> Impulse:
        """Impulses from places (m), attitudes, and the velocities (m/s, world; rad/s, body) that would be without.

        They are of the centre of mass, ``offset`` m from the frame's origin, body. Components are ``(N,)``; inside,
        feet are the first axis.
        """
        points, lever = self._points, self._lever
        if offset is not None:
            points = minus(points, offset)
            lever = dot(points, points).amax(dim=0) / min(self._J)
        arm = rotate(rows, points)
        x, y, z = (p + a for p, a in zip(position, arm, strict=True))
        n = surface.normal(x, y)
        gap = (z - surface.height(x, y)) * n[2] - self.radius
        arm = tuple(a - self.radius * c for a, c in zip(arm, n, strict=True))  # to where the sphere touches
        ground = surface.velocity(x, y)
        turn = rotate_back(rows, cross(arm, n))
        inverse = 1.0 / self._mass + sum(t * t / J for t, J in zip(turn, self._J, strict=True))  # 1/kg, of one foot
        # above the ground a foot pushes only as far as it would get there
        push = torch.maximum(self._dt * self._stiffness * gap, self._soft / self._dt * gap)
        v, w, carried, rub = velocity, rates, torch.zeros_like(gap), [torch.zeros_like(gap)] * 3
        for _ in range(SWEEPS):
            turning = cross(rotate(rows, w), arm)
            slip = [a + b - g for a, b, g in zip(v, turning, ground, strict=True)]  # of the feet over the ground
            along = dot(slip, n)
            wanted = self._soft * (inverse * carried - along) - push  # without the impulse of its own
            carried = (wanted / (1.0 + self._soft * inverse)).clip(0.0, None)
            share = self._share(carried, lever)
            rub = [r - share * (s - along * c) for r, s, c in zip(rub, slip, n, strict=True)]
            limit = GEAR_FRICTION * carried / (dot(rub, rub) + SMALL**2).sqrt()
            rub = [r * limit.clip(None, 1.0) for r in rub]
            impulse = [carried * c + r for c, r in zip(n, rub, strict=True)]
            moment = rotate_back(rows, [m.sum(dim=0) for m in cross(arm, impulse)])
            v = [a + f.sum(dim=0) / self._mass for a, f in zip(velocity, impulse, strict=True)]
            w = [a + m / J for a, m, J in zip(rates, moment, self._J, strict=True)]
        change = tuple(a - b for a, b in zip(v, velocity, strict=True))
        return Impulse(change, tuple(a - b for a, b in zip(w, rates, strict=True)), (carried > 0).any(dim=0))

    def _share(self, carried: torch.Tensor, lever: Any) -> torch.Tensor:
        """Mass in kg that each foot may stop: no more together than what keeps the iteration from overshooting."""
        carrying = (carried > 0).to(carried.dtype)
        return carrying / ((1.0 / self._mass + lever) * carrying.sum(dim=0).clip(1.0, None))
