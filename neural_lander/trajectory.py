"""Reference trajectories p_d(t): plain callables ``t [s] -> Reference``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from neural_lander.state import Reference

Trajectory = Callable[[float], Reference]

LANDING_START_HEIGHT = 1.0  # m, above the terrain; definition of every landing table
LANDING_SPEED = 0.3  # m/s, likewise
LANDING_HOLD = 5.0  # s at height 0 after the descent, likewise


@dataclass(frozen=True)
class Hover:
    """Stand still at one point."""

    position: np.ndarray  # (3,) m, world
    yaw: float = 0.0  # rad

    def __call__(self, t: float) -> Reference:
        """Reference at any time."""
        return Reference(self.position, _ZERO, _ZERO, self.yaw)


@dataclass(frozen=True)
class Landing:
    """Straight line at constant descent speed to the pad, never below it, then rest there.

    Time 0 is the start of the descent; before it the reference hovers at ``start``. Horizontal motion, if any,
    is spread evenly over the descent.
    """

    start: np.ndarray  # (3,) m, world
    """Centre of mass at t <= 0."""
    pad: np.ndarray  # (3,) m, world
    """Centre of mass of the level vehicle standing on the terrain."""
    speed: float = LANDING_SPEED  # m/s

    def __post_init__(self) -> None:
        if not self.start[2] > self.pad[2] or not self.speed > 0:
            raise ValueError(
                f"a landing descends: start z = {self.start[2]} m, pad z = {self.pad[2]} m, speed = {self.speed} m/s"
            )

    @cached_property
    def velocity(self) -> np.ndarray:
        """(3,) m/s during the descent."""
        return (self.pad - self.start) / self.arrival

    @cached_property
    def arrival(self) -> float:
        """Instant in s at which the reference stops descending."""
        return float((self.start[2] - self.pad[2]) / self.speed)

    def __call__(self, t: float) -> Reference:
        """Reference at time t in s."""
        if t <= 0:
            return Reference(self.start, _ZERO, _ZERO)
        if t >= self.arrival:
            return Reference(self.pad, _ZERO, _ZERO)
        return Reference(self.start + self.velocity * t, self.velocity, _ZERO)


_ZERO = np.zeros(3)
