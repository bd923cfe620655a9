"""Uneven ground: smooth bumps, about as far apart as the feet of the gear."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from neural_lander.components import Scalar, Vector, cos, sin, unit
from sim.terrain.still import Flat, Still
from sim.terrain.surface import within

GRID = 0.02  # m, between the corners of the collision mesh: at a tenth of a wavelength 5 % of the bump's height too low


@dataclass(frozen=True)
class Bumps(Still):
    """z = a (1 + sin k x sin k y) within a square around the origin, the floor z = 0 outside."""

    amplitude: float = 0.01  # m, a: the ground lies between 0 and twice that
    wavelength: float = 0.3  # m
    size: float = 4.0  # m

    @property
    def k(self) -> float:
        """Wave number, rad/m."""
        return 2 * math.pi / self.wavelength

    def height(self, x: Scalar, y: Scalar) -> Scalar:
        """See :class:`~sim.terrain.surface.Surface`."""
        return self.amplitude * (1.0 + sin(self.k * x) * sin(self.k * y)) * within(x, y, self.size)

    def normal(self, x: Scalar, y: Scalar) -> Vector:
        """See :class:`~sim.terrain.surface.Surface`."""
        slope = self.amplitude * self.k * within(x, y, self.size)
        return unit(
            (-slope * cos(self.k * x) * sin(self.k * y), -slope * sin(self.k * x) * cos(self.k * y), 1.0 + 0.0 * x)
        )

    def build(self, bullet: Any) -> list[int]:
        """See :class:`~sim.terrain.surface.Terrain`."""
        n = round(self.size / GRID) + 1
        along = GRID * (np.arange(n) - (n - 1) / 2)
        z = self.amplitude * (1 + np.sin(self.k * along)[:, None] * np.sin(self.k * along))  # [y, x], as Bullet has it
        field = bullet.createCollisionShape(
            bullet.GEOM_HEIGHTFIELD,
            meshScale=[GRID, GRID, 1.0],
            heightfieldData=z.ravel().tolist(),
            numHeightfieldRows=n,
            numHeightfieldColumns=n,
        )
        middle = float(z.min() + z.max()) / 2  # which Bullet takes for the origin
        return [*Flat().build(bullet), bullet.createMultiBody(0, field, basePosition=[0.0, 0.0, middle])]
