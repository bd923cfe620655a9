"""A deck that heaves and rolls, as on a boat in a swell."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from neural_lander.components import Scalar, Vector, cos, sin
from neural_lander.state import Reference
from sim.terrain.still import Flat

THICKNESS = 0.2  # m, of the box: thicker than what a landing could tunnel through in a step


@dataclass(frozen=True)
class Deck:
    """A square deck above the floor z = 0: its middle heaves, and it rolls about the x axis through its middle.

    Amplitudes and periods are those of a small boat in a slight sea, guess. Fields may be arrays of a batch's shape.
    """

    top: float = 0.5  # m, mean height
    size: float = 1.5  # m
    heave: float = 0.05  # m, amplitude
    heave_period: float = 4.0  # s
    roll: float = math.radians(3.0)  # rad, amplitude
    roll_period: float = 5.0  # s
    heave_phase: Scalar = 0.0  # rad
    roll_phase: Scalar = 0.0  # rad

    def drawn(self, seed: int | Sequence[int]) -> Deck:
        """The same deck at another moment of its swell, which a flight's seed draws; N seeds give phases ``(N,)``."""
        if isinstance(seed, Sequence):
            heave, roll = np.array([_phases(one) for one in seed]).T
        else:
            heave, roll = _phases(seed).tolist()
        return replace(self, heave_phase=heave, roll_phase=roll)

    def at(self, t: Scalar) -> DeckSurface:
        """See :class:`~sim.terrain.surface.Terrain`."""
        heave, climb, _ = _sinusoid(self.heave, self.heave_period, self.heave_phase, t)
        roll, rate, _ = _sinusoid(self.roll, self.roll_period, self.roll_phase, t)
        return DeckSurface(self.size, self.top + heave, climb, roll, rate)

    def mean(self) -> DeckSurface:
        """See :class:`~sim.terrain.surface.Terrain`."""
        return DeckSurface(self.size, self.top, 0.0, 0.0, 0.0)

    def ride(self, t: float) -> Reference:
        """How far the middle is above its mean at time t in s, with velocity and acceleration; world."""
        up = _sinusoid(self.heave, self.heave_period, self.heave_phase, t)
        z, v, a = (np.stack([0.0 * x, 0.0 * x, x], axis=-1) for x in up)
        return Reference(z, v, a)

    def build(self, bullet: Any) -> list[int]:
        """See :class:`~sim.terrain.surface.Terrain`."""
        half = [self.size / 2, self.size / 2, THICKNESS / 2]
        box = bullet.createCollisionShape(bullet.GEOM_BOX, halfExtents=half)
        bodies = [*Flat().build(bullet), bullet.createMultiBody(0, box)]
        self.move(bullet, bodies, 0.0)
        return bodies

    def move(self, bullet: Any, bodies: Sequence[int], t: float) -> None:
        """See :class:`~sim.terrain.surface.Terrain`: a body without mass, whose velocity the contacts feel."""
        s = self.at(t)
        y, z = math.sin(s.roll) * THICKNESS / 2, -math.cos(s.roll) * THICKNESS / 2  # from the top's middle to the box's
        turned = [math.sin(s.roll / 2), 0.0, 0.0, math.cos(s.roll / 2)]
        bullet.resetBasePositionAndOrientation(bodies[-1], [0.0, y, s.z + z], turned)
        bullet.resetBaseVelocity(bodies[-1], [0.0, -s.rate * z, s.climb + s.rate * y], [s.rate, 0.0, 0.0])


@dataclass(frozen=True)
class DeckSurface:
    """The deck at one instant, the floor z = 0 around it."""

    size: float  # m
    z: Scalar  # m, of the middle
    climb: Scalar  # m/s, of the middle
    roll: Scalar  # rad
    rate: Scalar  # rad/s, of the roll

    def some(self, rows: Any) -> DeckSurface:
        """Of a batch, where each vehicle may have its own: that of some."""
        z, climb, roll, rate = (
            x if isinstance(x, float) else x[rows] for x in (self.z, self.climb, self.roll, self.rate)
        )
        return DeckSurface(self.size, z, climb, roll, rate)

    def _on(self, x: Scalar, y: Scalar) -> Any:
        return (abs(x) <= self.size / 2) & (abs(y) <= self.size / 2 * cos(self.roll))

    def height(self, x: Scalar, y: Scalar) -> Scalar:
        """See :class:`~sim.terrain.surface.Surface`."""
        return (self.z + y * sin(self.roll) / cos(self.roll)) * self._on(x, y)

    def normal(self, x: Scalar, y: Scalar) -> Vector:
        """See :class:`~sim.terrain.surface.Surface`."""
        on = self._on(x, y)
        return 0.0 * x, -sin(self.roll) * on + 0.0 * x, 1.0 + (cos(self.roll) - 1.0) * on + 0.0 * x

    def velocity(self, x: Scalar, y: Scalar) -> Vector:
        """See :class:`~sim.terrain.surface.Surface`."""
        on = self._on(x, y)
        side = -y * self.rate * sin(self.roll) / cos(self.roll)
        return 0.0 * x, side * on, (self.climb + y * self.rate) * on


def _phases(seed: int) -> np.ndarray:
    """(2,) rad, of heave and roll."""
    return np.random.default_rng([seed, 0xDEC4]).uniform(0.0, 2 * math.pi, 2)


def _sinusoid(amplitude: float, period: float, phase: Scalar, t: Scalar) -> Vector:
    """Value and first two derivatives at time t in s."""
    omega = 2 * math.pi / period
    angle = omega * t + phase
    return amplitude * sin(angle), amplitude * omega * cos(angle), -amplitude * omega * omega * sin(angle)
