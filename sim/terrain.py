"""What lies under the vehicle. A floor at z = 0 is an assumption that platforms break: height is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from neural_lander.components import Scalar


class Terrain(Protocol):
    """Surface z(x, y) in the world frame."""

    def height(self, x: Scalar, y: Scalar) -> Scalar:
        """World z of the surface in m at x, y in m, any shape."""
        ...

    def build(self, bullet: Any) -> list[int]:
        """Create the collision bodies in a PyBullet client and return their ids."""
        ...


@dataclass(frozen=True)
class Flat:
    """The floor z = 0."""

    def height(self, x: Scalar, y: Scalar) -> Scalar:
        """See :class:`Terrain`."""
        del y
        return 0.0 * x

    def build(self, bullet: Any) -> list[int]:
        """See :class:`Terrain`."""
        return [bullet.createMultiBody(0, bullet.createCollisionShape(bullet.GEOM_PLANE))]


@dataclass(frozen=True)
class Platform:
    """A level box of ``top`` m above the floor z = 0, ``size`` m square, centred at the origin."""

    top: float = 0.5  # m
    size: float = 1.0  # m

    def height(self, x: Scalar, y: Scalar) -> Scalar:
        """See :class:`Terrain`."""
        inside = (abs(x) <= self.size / 2) & (abs(y) <= self.size / 2)
        return (self.top + 0.0 * x) * inside  # in the precision of x: torch makes a bare float times bool single

    def build(self, bullet: Any) -> list[int]:
        """See :class:`Terrain`."""
        half = [self.size / 2, self.size / 2, self.top / 2]
        box = bullet.createCollisionShape(bullet.GEOM_BOX, halfExtents=half)
        return [*Flat().build(bullet), bullet.createMultiBody(0, box, basePosition=[0, 0, self.top / 2])]
