"""What is flown: climb to a height above the ground, hover, land; and instead of it a hold or a go-around.

Positions are over the ground: z is the centre of mass above the terrain, so that the plan meets the floor wherever the
autopilot's own origin is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from neural_lander.errors import UserError
from neural_lander.state import Reference, State
from neural_lander.trajectory import (
    GO_AROUND_ACCELERATION,
    LANDING_SPEED,
    LANDING_START_HEIGHT,
    GoAround,
    Hover,
    Landing,
    Trajectory,
)
from neural_lander.vehicle import GRAVITY, Vehicle

SPOOL_TIME = 1.0  # s from no thrust to the weight's at the take-off, guess
SURPLUS_RATE = 0.05  # of the weight per s by which thrust grows on until it lifts, since a thrust map may be off; guess
MOST_SURPLUS = 0.3  # of the weight, the limit of the trim: beyond it something is broken
LIFTED = 0.05  # m above where it stood: a rangefinder is off by a centimetre or two, guess
LIFT_TIME = 10.0  # s without having lifted; ArduCopter alone gives no thrust for 2.5 s after arming; guess
CLIMB_SPEED = 0.5  # m/s, guess
SETTLE_TIME = 5.0  # s of hover before the landing: the trim settles at 1.5 per s
LOWEST_HOLD = 0.3  # m above the ground: a hold is flown without the network, so out of ground effect, guess
RESERVE = 0.1  # of the largest thrust, left to the moments when a sink is arrested: as the guard's
OVERDUE = 10.0  # s after the reference has come to rest, guess: with trim a landing is late by 3 s at worst


@dataclass(frozen=True, eq=False)
class Line:
    """Straight line at constant speed from rest to rest."""

    start: np.ndarray  # (3,) m, at t <= 0
    end: np.ndarray  # (3,) m
    speed: float  # m/s

    @property
    def arrival(self) -> float:
        """Instant in s at which the end is reached."""
        return float(np.linalg.norm(self.end - self.start)) / self.speed

    def __call__(self, t: float) -> Reference:
        """Reference at time t in s."""
        if t <= 0 or t >= self.arrival:
            return Reference(self.start if t <= 0 else self.end, _ZERO, _ZERO)
        velocity = (self.end - self.start) / self.arrival
        return Reference(self.start + velocity * t, velocity, _ZERO)


@dataclass(frozen=True)
class Stage:
    """One part of the flight, from ``begin`` to the begin of the next."""

    name: str
    begin: float  # s
    trajectory: Trajectory


class FlightPlan:
    """Begun where the vehicle is when control is given; each method takes the time in s."""

    def __init__(
        self,
        vehicle: Vehicle,
        height: float = LANDING_START_HEIGHT,
        settle_time: float = SETTLE_TIME,
        landing_speed: float = LANDING_SPEED,
    ) -> None:
        """Height of the gear above the ground in m from which to land, at ``landing_speed`` in m/s.

        Raises
        ------
        UserError
            On a height or a speed that is not positive, or a time that is negative.
        """
        if not (0 < height < math.inf and 0 <= settle_time < math.inf and 0 < landing_speed <= 1.0):
            raise UserError(
                f"flight plan: height = {height!r} m and landing speed = {landing_speed!r} m/s must be positive (speed "
                f"at most 1), hover = {settle_time!r} s not negative"
            )
        self._clearance = vehicle.gear_clearance
        full = vehicle.full_thrust / vehicle.mass  # m/s^2
        self._most = max((1.0 - RESERVE) * full - GRAVITY, GO_AROUND_ACCELERATION)
        self._height, self._settle_time, self._landing_speed = height, settle_time, landing_speed
        self._stages: list[Stage] = []
        self._yaw = 0.0
        self._stands_since = math.inf
        self._surplus, self._lifted_at = 0.0, -math.inf
        self._rests = math.inf

    def begin(self, now: float, position: np.ndarray, yaw: float, on_ground: bool) -> None:
        """Start at ``position`` (3,) in m over the ground, at heading ``yaw`` in rad, which is kept."""
        self._yaw = yaw
        if not on_ground:
            self.lift(now, position)
            return
        self._replace(Stage("take-off", now, Hover(np.array(position))))
        self._stands_since = now

    def lift(self, now: float, position: np.ndarray) -> None:
        """Begin the climb at ``position``: nobody knows when an autopilot that was armed lets the motors turn."""
        self._surplus, self._lifted_at = max(self.thrust_share(now) - 1.0, 0.0), now
        self._stands_since = math.inf
        top = np.array([position[0], position[1], self._clearance + self._height])
        climb = Line(np.array(position), top, CLIMB_SPEED)
        landing = Landing(top, top - [0.0, 0.0, self._height], self._landing_speed)
        hover = now + climb.arrival
        down = hover + self._settle_time
        self._stages = [Stage("climb", now, climb), Stage("hover", hover, Hover(top)), Stage("land", down, landing)]
        self._rests = down + landing.arrival

    def hold(self, now: float, state: State) -> None:
        """Come to rest from ``state`` over the ground, and stay at its height, but not in ground effect."""
        self._replace(Stage("hold", now, self._away(state, LOWEST_HOLD)))

    def go_around(self, now: float, state: State) -> None:
        """Arrest the sink from ``state`` over the ground, climb to where the landing began, and stay."""
        self._replace(Stage("go around", now, self._away(state, self._height)))

    def _away(self, state: State, height: float) -> GoAround:
        """To rest at ``height`` in m of the gear, or at the state's own where that is higher."""
        target = max(float(state.position[2]), self._clearance + height)
        return GoAround(0.0, state.position, state.velocity, float(state.height), target, most=self._most)

    def _replace(self, stage: Stage) -> None:
        self._stages, self._rests, self._stands_since = [stage], math.inf, math.inf

    def stage(self, now: float) -> str:
        """Name of the part that is flown; empty before the plan has begun."""
        stage = self._current(now)
        return stage.name if stage else ""

    def reference(self, now: float) -> Reference:
        """What the controller is to follow; the plan must have begun."""
        stage = self._current(now)
        assert stage is not None
        return replace(stage.trajectory(now - stage.begin), yaw=self._yaw)

    @property
    def standing(self) -> bool:
        """Whether it has not left the ground yet."""
        return self._stands_since < math.inf

    def thrust_share(self, now: float) -> float:
        """Of the thrust that the controller wants: up to all of it, and slowly beyond, until the vehicle lifts.

        What it took beyond is given back as slowly as the trim learns it.
        """
        if not self.standing:
            return 1.0 + self._surplus * max(1.0 - (now - self._lifted_at) / SPOOL_TIME, 0.0)
        since = now - self._stands_since
        return min(since / SPOOL_TIME, 1.0 + SURPLUS_RATE * max(since - SPOOL_TIME, 0.0), 1.0 + MOST_SURPLUS)

    def has_lifted(self, position: np.ndarray) -> bool:
        """Whether ``position`` (3,) in m is above the one where it stood."""
        return self.standing and bool(position[2] > self.reference(self._stands_since).position[2] + LIFTED)

    def stuck(self, now: float) -> bool:
        """Whether it should have left the ground long ago."""
        return self.standing and now - self._stands_since > LIFT_TIME

    def overdue(self, now: float) -> bool:
        """Whether the reference has been at rest on the ground for so long that something is wrong."""
        return now > self._rests + OVERDUE

    def _current(self, now: float) -> Stage | None:
        begun = [stage for stage in self._stages if stage.begin <= now]
        return begun[-1] if begun else next(iter(self._stages), None)


_ZERO = np.zeros(3)
