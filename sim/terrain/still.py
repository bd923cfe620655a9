"""Ground that stands still: floor, platform, slope."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from neural_lander.components import Scalar, Vector
from sim.terrain.surface import Surface, within


class Still:
    """Ground that does not move: the same at any instant."""

    def at(self, t: Scalar) -> Surface:
        """See :class:`~sim.terrain.surface.Terrain`."""
        del t
        return self  # type: ignore[return-value]  # its height is the subclass's

    def mean(self) -> Surface:
        """See :class:`~sim.terrain.surface.Terrain`."""
        return self  # type: ignore[return-value]

    def normal(self, x: Scalar, y: Scalar) -> Vector:
        """See :class:`~sim.terrain.surface.Surface`: level, unless a subclass says otherwise."""
        del y
        return 0.0 * x, 0.0 * x, 1.0 + 0.0 * x

    def velocity(self, x: Scalar, y: Scalar) -> Vector:
        """See :class:`~sim.terrain.surface.Surface`."""
        del y
        return 0.0 * x, 0.0 * x, 0.0 * x

    def move(self, bullet: Any, bodies: Sequence[int], t: float) -> None:
        """See :class:`~sim.terrain.surface.Terrain`: nothing to move."""


@dataclass(frozen=True)
class Flat(Still):
    """The floor z = 0."""

    def height(self, x: Scalar, y: Scalar) -> Scalar:
        """See :class:`~sim.terrain.surface.Surface`."""
        del y
        return 0.0 * x

    def build(self, bullet: Any) -> list[int]:
        """See :class:`~sim.terrain.surface.Terrain`."""
        return [bullet.createMultiBody(0, bullet.createCollisionShape(bullet.GEOM_PLANE))]


@dataclass(frozen=True)
class Platform(Still):
    """A level box of ``top`` m above the floor z = 0, ``size`` m square, centred at the origin."""

    top: float = 0.5  # m
    size: float = 1.0  # m

    def height(self, x: Scalar, y: Scalar) -> Scalar:
        """See :class:`~sim.terrain.surface.Surface`."""
        top = self.top + 0.0 * x  # in the precision of x: torch makes a bare float times bool single
        return top * within(x, y, self.size)

    def build(self, bullet: Any) -> list[int]:
        """See :class:`~sim.terrain.surface.Terrain`."""
        half = [self.size / 2, self.size / 2, self.top / 2]
        box = bullet.createCollisionShape(bullet.GEOM_BOX, halfExtents=half)
        return [*Flat().build(bullet), bullet.createMultiBody(0, box, basePosition=[0, 0, self.top / 2])]


@dataclass(frozen=True)
class Slope(Still):
    """An inclined plane through the origin, rising along x."""

    angle: float = math.radians(5.0)  # rad

    def height(self, x: Scalar, y: Scalar) -> Scalar:
        """See :class:`~sim.terrain.surface.Surface`."""
        del y
        return math.tan(self.angle) * x

    def normal(self, x: Scalar, y: Scalar) -> Vector:
        """See :class:`~sim.terrain.surface.Surface`."""
        del y
        return -math.sin(self.angle) + 0.0 * x, 0.0 * x, math.cos(self.angle) + 0.0 * x

    def build(self, bullet: Any) -> list[int]:
        """See :class:`~sim.terrain.surface.Terrain`."""
        plane = bullet.createCollisionShape(bullet.GEOM_PLANE, planeNormal=list(self.normal(0.0, 0.0)))
        return [bullet.createMultiBody(0, plane)]
