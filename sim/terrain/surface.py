"""The extension point of the ground: a terrain, and the surface that it is at one instant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from neural_lander.arrays import namespace
from neural_lander.components import Rows, Scalar, Vector, rotate
from neural_lander.vehicle import Vehicle

LEVEL: Rows = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))


class Surface(Protocol):
    """The ground z(x, y) at one instant, world frame. Floats for one place, arrays for a batch."""

    def height(self, x: Scalar, y: Scalar) -> Scalar:
        """World z of the surface in m at x, y in m, any shape."""
        ...

    def normal(self, x: Scalar, y: Scalar) -> Vector:
        """Unit normal, upwards, at x, y in m."""
        ...

    def velocity(self, x: Scalar, y: Scalar) -> Vector:
        """Of the ground's material at x, y, in m/s."""
        ...


class Terrain(Protocol):
    """Ground over time. What stands still is its own surface at any instant."""

    def at(self, t: Scalar) -> Surface:
        """The surface at time t in s."""
        ...

    def mean(self) -> Surface:
        """The surface that it moves about."""
        ...

    def build(self, bullet: Any) -> list[int]:
        """Create the collision bodies in a PyBullet client, as they are at time 0, and return their ids."""
        ...

    def move(self, bullet: Any, bodies: Sequence[int], t: float) -> None:
        """Place what moves, with its velocity, as it is at time t in s."""
        ...


@dataclass(frozen=True)
class Lifted:
    """A surface, higher by ``by`` m."""

    surface: Surface
    by: Scalar

    def height(self, x: Scalar, y: Scalar) -> Scalar:
        """See :class:`Surface`."""
        return self.surface.height(x, y) + self.by

    def normal(self, x: Scalar, y: Scalar) -> Vector:
        """See :class:`Surface`."""
        return self.surface.normal(x, y)

    def velocity(self, x: Scalar, y: Scalar) -> Vector:
        """See :class:`Surface`."""
        return self.surface.velocity(x, y)


def clearance(rows: Rows, position: Vector, points: Sequence[Vector], surface: Surface) -> Scalar:
    """Height h in m: the lowest of the points (m, body) above the surface under it, at a position (m, world)."""
    x, y, z = position
    gaps = []
    for point in points:
        a, b, c = rotate(rows, point)
        gaps.append(z + c - surface.height(x + a, y + b))
    return _smallest(gaps)


def within(x: Scalar, y: Scalar, size: float) -> Any:
    """Whether x, y in m lie in a square of ``size`` m around the origin."""
    return (abs(x) <= size / 2) & (abs(y) <= size / 2)


def level_pad(vehicle: Vehicle, surface: Surface) -> np.ndarray:
    """(3,) m, world: centre of mass of the level vehicle that just touches the surface around the origin."""
    points = vehicle.gear_points.tolist()
    return np.array([0.0, 0.0, -float(clearance(LEVEL, (0.0, 0.0, 0.0), points, surface))])


def _smallest(gaps: Sequence[Scalar]) -> Scalar:
    if isinstance(gaps[0], float):
        return min(gaps)
    xp, least = namespace(gaps[0]), gaps[0]
    for gap in gaps[1:]:
        least = xp.minimum(least, gap)
    return least
