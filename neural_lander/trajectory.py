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


@dataclass(frozen=True)
class Run:
    """How far along at time t: from rest to rest at constant speed between two ramps, any unit of distance."""

    distance: float
    speed: float  # distance per s
    ramp: float  # s, from rest to the speed and from the speed to rest

    def __post_init__(self) -> None:
        if not (self.ramp > 0 and self.speed > 0 and self.distance >= self.speed * self.ramp):
            raise ValueError(
                f"a run has room for its ramps: distance {self.distance} >= speed {self.speed} x ramp {self.ramp} > 0"
            )

    @property
    def duration(self) -> float:
        """Time in s to the end."""
        return self.distance / self.speed + self.ramp

    def __call__(self, t: float) -> tuple[float, float, float]:
        """Distance from the start, and its first and second derivatives, at time t in s."""
        if t > self.duration / 2:  # the end is the start, turned round
            way, speed, acceleration = self(self.duration - t)
            return self.distance - way, speed, -acceleration
        if t >= self.ramp:
            return self.speed * (t - self.ramp / 2), self.speed, 0.0
        x = max(t, 0.0) / self.ramp  # speed rises as 3 x^2 - 2 x^3
        way = self.speed * self.ramp * (x**3 - x**4 / 2)
        return way, self.speed * x * x * (3 - 2 * x), self.speed / self.ramp * 6 * x * (1 - x)


@dataclass(frozen=True)
class Crossing:
    """Straight from one point to another, from rest to rest: past the edges of whatever lies below."""

    start: np.ndarray  # (3,) m, world
    end: np.ndarray  # (3,) m, world
    speed: float  # m/s
    ramp: float  # s

    @cached_property
    def run(self) -> Run:
        """Along the straight line, in m."""
        return Run(float(np.linalg.norm(self.end - self.start)), self.speed, self.ramp)

    def __call__(self, t: float) -> Reference:
        """Reference at time t in s."""
        along = (self.end - self.start) / self.run.distance
        way, speed, acceleration = self.run(t)
        return Reference(self.start + way * along, speed * along, acceleration * along)


@dataclass(frozen=True)
class FigureEight:
    """Level lemniscate of Gerono (x, y) = (length/2 sin phi, width/2 sin 2 phi), from rest to rest at its crossing."""

    centre: np.ndarray  # (3,) m, world
    length: float  # m, along x
    width: float  # m, along y
    period: float  # s, of a lap between the ramps
    laps: int
    ramp: float  # s

    @cached_property
    def run(self) -> Run:
        """Of the phase phi, in rad."""
        return Run(2 * np.pi * self.laps, 2 * np.pi / self.period, self.ramp)

    def __call__(self, t: float) -> Reference:
        """Reference at time t in s."""
        phi, rate, acceleration = self.run(t)
        order, size = np.array([1.0, 2.0, 0.0]), np.array([self.length / 2, self.width / 2, 0.0])
        sine, cosine = size * np.sin(order * phi), size * order * np.cos(order * phi)
        return Reference(self.centre + sine, cosine * rate, cosine * acceleration - order**2 * sine * rate**2)


@dataclass(frozen=True)
class Riding:
    """A reference above ground that moves: that over ground that stands still, carried along."""

    still: Trajectory
    ground: Trajectory
    """How far the ground is from where it would be, with velocity and acceleration."""

    def __call__(self, t: float) -> Reference:
        """Reference at time t in s."""
        r, g = self.still(t), self.ground(t)
        return Reference(r.position + g.position, r.velocity + g.velocity, r.acceleration + g.acceleration, r.yaw)


_ZERO = np.zeros(3)
