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


@dataclass(frozen=True, eq=False)
class Hover:
    """Stand still at one point."""

    position: np.ndarray  # (3,) m, world
    yaw: float = 0.0  # rad

    def __call__(self, t: float) -> Reference:
        """Reference at any time."""
        return Reference(self.position, _ZERO, _ZERO, self.yaw)


@dataclass(frozen=True, eq=False)
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

    def __call__(self, t: float) -> tuple[float, float, float, float]:
        """Distance from the start, and its first to third derivatives, at time t in s."""
        if t > self.duration / 2:  # the end is the start, turned round
            way, speed, acceleration, jerk = self(self.duration - t)
            return self.distance - way, speed, -acceleration, jerk
        if t <= 0:
            return 0.0, 0.0, 0.0, 0.0
        if t >= self.ramp:
            return self.speed * (t - self.ramp / 2), self.speed, 0.0, 0.0
        x, rate = t / self.ramp, self.speed / self.ramp  # speed rises as 3 x^2 - 2 x^3
        way = self.speed * self.ramp * (x**3 - x**4 / 2)
        return way, self.speed * x * x * (3 - 2 * x), rate * 6 * x * (1 - x), rate / self.ramp * 6 * (1 - 2 * x)


@dataclass(frozen=True, eq=False)
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
        way, speed, acceleration, jerk = self.run(t)
        return Reference(self.start + way * along, speed * along, acceleration * along, jerk=jerk * along)


@dataclass(frozen=True, eq=False)
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
        phi, rate, acceleration, jerk = self.run(t)
        order, size = np.array([1.0, 2.0, 0.0]), np.array([self.length / 2, self.width / 2, 0.0])
        sine, cosine = size * np.sin(order * phi), size * order * np.cos(order * phi)
        return Reference(
            self.centre + sine,
            cosine * rate,
            cosine * acceleration - order**2 * sine * rate**2,
            jerk=cosine * (jerk - order**2 * rate**3) - 3 * order**2 * sine * rate * acceleration,
        )


@dataclass(frozen=True)
class Riding:
    """A reference above ground that moves: that over ground that stands still, carried along."""

    still: Trajectory
    ground: Trajectory
    """How far the ground is from where it would be, with velocity and acceleration; up and down alone.

    Its jerk is left out: a vertical one turns no attitude.
    """

    def __call__(self, t: float) -> Reference:
        """Reference at time t in s."""
        r, g = self.still(t), self.ground(t)
        position, velocity = r.position + g.position, r.velocity + g.velocity
        return Reference(position, velocity, r.acceleration + g.acceleration, r.yaw, r.jerk)


GO_AROUND_ACCELERATION = 3.0  # m/s^2, upwards: a third of g, which a thrust-to-weight ratio of 1.5 still has; guess
GO_AROUND_SPEED = 1.0  # m/s, of the climb, guess
GO_AROUND_ROOM = 0.5  # of the height that is left may be used up before the sink is arrested, guess


@dataclass(frozen=True, eq=False)
class GoAround:
    """From any state to hover at a height: the sink arrested, a climb, horizontal motion braked to rest.

    Position and velocity begin where the vehicle is, so that nothing jumps but the acceleration. Acceleration is
    constant in each of the phases: up to the climb, steady, and down to rest. Where the usual one would not stop the
    sink within half the height that is left, it is as large as that takes, up to ``most``.
    """

    t0: float  # s, when it begins
    position: np.ndarray  # (3,) m, world
    velocity: np.ndarray  # (3,) m/s, world
    height: float  # m, above the ground, at t0
    target: float  # m, world z to hover at
    most: float = 2 * GO_AROUND_ACCELERATION  # m/s^2, what the rotors can give upwards
    yaw: float = 0.0  # rad

    @cached_property
    def acceleration(self) -> float:
        """m/s^2, upwards at first."""
        room = GO_AROUND_ROOM * max(self.height, 1e-3)
        needed = float(self.velocity[2]) ** 2 / (2 * room) if self.velocity[2] < 0 else 0.0
        return min(max(GO_AROUND_ACCELERATION, needed), self.most)

    @cached_property
    def _climb(self) -> tuple[list[float], list[float], list[float], list[float]]:
        """Starts in s after t0, heights in m, speeds in m/s and accelerations in m/s^2 of the phases."""
        z, v, a = float(self.position[2]), float(self.velocity[2]), self.acceleration
        down = GO_AROUND_ACCELERATION
        # the largest speed from which the target is reached at rest: rise over both ramps is what is left
        peak2 = (2 * (self.target - z) + v * v / a) / (1 / a + 1 / down)
        peak = max(min(GO_AROUND_SPEED, max(peak2, 0.0) ** 0.5), 0.0)
        up = a if peak >= v else -down
        ramp = (peak - v) / up
        rise = (peak * peak - v * v) / (2 * up)
        left = max(self.target - z - rise - peak * peak / (2 * down), 0.0)
        cruise = left / peak if peak > 0 else 0.0
        starts = [0.0, ramp, ramp + cruise, ramp + cruise + peak / down]
        heights = [z, z + rise, z + rise + peak * cruise]
        heights.append(heights[-1] + peak * peak / (2 * down))
        return starts, heights, [v, peak, peak, 0.0], [up, 0.0, -down, 0.0]

    @cached_property
    def duration(self) -> float:
        """s from t0 until it hovers."""
        return max(self._climb[0][-1], self._braking)

    @cached_property
    def _braking(self) -> float:
        """s until the horizontal motion has stopped."""
        return float(np.linalg.norm(self.velocity[:2])) / GO_AROUND_ACCELERATION

    def __call__(self, t: float) -> Reference:
        """Reference at time t in s."""
        since = max(t - self.t0, 0.0)
        starts, heights, speeds, accelerations = self._climb
        k = max(i for i, start in enumerate(starts) if since >= start)
        s, a_z = since - starts[k], accelerations[k]
        z, v_z = heights[k] + speeds[k] * s + a_z * s * s / 2, speeds[k] + a_z * s
        brake = min(since, self._braking)
        slow = 1.0 - brake / self._braking if self._braking > 0 else 0.0
        side = self.velocity[:2]
        ground = self.position[:2] + side * (
            brake - (brake * brake / (2 * self._braking) if self._braking > 0 else 0.0)
        )
        a = -side / self._braking if slow > 0 else 0.0 * side
        return Reference(np.array([*ground, z]), np.array([*(slow * side), v_z]), np.array([*a, a_z]), self.yaw)


_ZERO = np.zeros(3)
