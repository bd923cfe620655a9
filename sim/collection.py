"""Flights to learn from: sweeps through all heights with lateral motion, thrust dither, touch and go.

Flown by PD with trim, never by anything that knows the plant. PD alone hangs and leaves no data from the last
centimetres, where the network must act; slow flight alone would teach df_a/dT = -1 (design, section 6).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.interpolate import CubicHermiteSpline

from neural_lander.control.controller import Controller
from neural_lander.control.estimate import DISTURBANCE_LIMIT
from neural_lander.control.touchdown import TIPPED
from neural_lander.flightlog.log import FlightLog
from neural_lander.state import Reference, State
from neural_lander.vehicle import Vehicle
from sim.flight import fly
from sim.plant import Plant
from sim.rigid_body import TIME_STEP
from sim.sensors import Sensors

FLIGHTS = 5
FLIGHT_TIME = 50.0  # s
SETTLE = 2.0  # s of hover before the first manoeuvre
DITHER_FREQUENCIES = np.array([0.5, 0.9, 1.4, 2.1, 2.9, 3.7])  # Hz
DITHER_AMPLITUDES = np.array([0.01, 0.02, 0.03, 0.04, 0.05, 0.06])  # of the weight: at most 1 cm of motion each
LATERAL_REACH = 0.6  # m from the pad, of way points
LEAST_REACH = 0.1  # m, over however small a platform
EDGE = 0.05  # m that the ground falls or rises by at once: higher than a doorstep is an edge; guess
SPEEDS = (0.15, 0.6)  # m/s, mean over a leg
LOW = 0.25  # m: legs below it stay nearly level, as a landing does; tilted, hubs are higher than the gear says
LOW_SPEEDS = (0.05, 0.2)  # m/s
LOW_STEP = 0.05  # m, sideways
TOUCH_SPEEDS = (0.15, 0.4)  # m/s, down to the floor
SLANT = 0.3  # m/s, sideways on the way down
PASS_SPEEDS = (0.2, 0.7)  # m/s, of a level pass near the ground: air that is left behind pushes less
PASS_LENGTH = 0.8  # m
PASS_RAMP = 0.9  # s from rest to that speed: 5 degrees of tilt at the most, which lowers the gear by 2 cm
PASSES = 0.5  # of the way points between PASS_HEIGHT and LOW are followed by one
PASS_HEIGHT = 0.05  # m: from here on
EASE = 0.3  # s, from rest to the velocity of a descent
PRESS = 0.4  # m, largest depth below the floor that a descent aims at, since ground effect keeps the vehicle off
PUSH = 1.5  # 1/s, at which the pilot lowers the aim where the trim gives no more: half of the 3 rad/s of the law; guess
PUSH_DEPTH = 1.0  # m, at most: at 3 rad/s some 0.9 of the weight; guess
SKIM = 0.02  # m: below it ground effect is steepest, and trim needs
SKIM_TIME = 2.5  # s to bring the vehicle to where the reference is
HEIGHT_BANDS = (
    (0.0, SKIM, 0.15), (SKIM, 0.05, 0.15), (0.05, 0.10, 0.18),
    (0.10, 0.20, 0.14), (0.20, 0.60, 0.17), (0.60, 1.50, 0.21),
)  # fmt: skip
"""(from m, to m, share of the time between way points): near the ground in the main, where the effect is."""


@dataclass(frozen=True, eq=False)
class Tour:
    """Smooth way through random way points: a piecewise cubic, sampled at the controller's steps."""

    position: np.ndarray  # (N, 3) m
    velocity: np.ndarray  # (N, 3) m/s
    acceleration: np.ndarray  # (N, 3) m/s^2

    def __call__(self, t: float) -> Reference:
        """Reference at time t in s, to the nearest step."""
        k = min(max(round(t / TIME_STEP), 0), len(self.position) - 1)
        return Reference(self.position[k], self.velocity[k], self.acceleration[k])


class _Pilot:
    """Flies the tour: goes lower where the air holds the vehicle up, and presses no harder once the floor is felt.

    Ground effect beyond what the trim may take up leaves the vehicle above its aim, where nothing is learned of the
    last centimetres; a pilot who sees that aims lower. With part of its weight on a narrow gear, a vehicle that is
    pressed on and moved sideways trips and tips over.
    """

    def __init__(self, tour: Tour) -> None:
        self.tour = tour
        self.least = -math.inf  # m, z of the aim
        self.depth = 0.0  # m below the tour

    def watch(self, t: float, state: State, dt: float, spent: bool) -> None:
        """What is seen at time t in s, dt after the last; ``spent``: the trim has come to its end downward."""
        if state.contact:
            self.least = max(self.least, float(self(t).position[2]))
        above = float(state.position[2] - self.tour(t).position[2])
        if spent or above < 0:
            self.depth = min(max(self.depth + PUSH * dt * above, 0.0), PUSH_DEPTH)

    def __call__(self, t: float) -> Reference:
        """Reference at time t in s."""
        aim = self.tour(t)
        lowered = aim.position - np.array([0.0, 0.0, self.depth])
        if lowered[2] >= self.least:
            self.least = -math.inf
            return Reference(lowered, aim.velocity, aim.acceleration)
        level = np.array([1.0, 1.0, 0.0])
        position = np.array([*aim.position[:2], self.least])
        return Reference(position, aim.velocity * level, aim.acceleration * level)


class _Way:
    """Way points (time s, position m, velocity m/s) in the making."""

    def __init__(self, start: np.ndarray, rng: np.random.Generator, reach: float) -> None:
        self.rng, self.reach = rng, reach
        self.leaves = reach >= LATERAL_REACH
        """Whether passes and slants may leave the reach: there is no edge beyond."""
        self.times: list[float] = [0.0]
        self.points: list[np.ndarray] = [start]
        self.velocities: list[np.ndarray] = [np.zeros(3)]
        self.go(start, SETTLE)

    def go(self, point: np.ndarray, duration: float, velocity: np.ndarray | None = None) -> None:
        """To a point in ``duration`` s, there at this velocity, by default at rest."""
        self.times.append(self.times[-1] + duration)
        self.points.append(point)
        self.velocities.append(np.zeros(3) if velocity is None else velocity)

    def wander(self, pad: np.ndarray, height: float) -> None:
        """To a random place at a height in m above the pad."""
        here, rng = self.points[-1], self.rng
        near = max(height, here[2] - pad[2]) < LOW
        step = LOW_STEP if near else 3 * self.reach
        side = np.clip(here[:2] + rng.uniform(-step, step, 2), pad[:2] - self.reach, pad[:2] + self.reach)
        target = np.array([*side, pad[2] + height])
        pace = rng.uniform(*(LOW_SPEEDS if near else SPEEDS))
        least = SKIM_TIME if height < SKIM else rng.uniform(0.5, 1.5)
        self.go(target, max(float(np.linalg.norm(target - here)) / pace, least))

    def low_pass(self, pad: np.ndarray) -> None:
        """Level and straight, at the speed of a flight that is going somewhere, from rest to rest."""
        here, rng = self.points[-1], self.rng
        speed, toward = rng.uniform(*PASS_SPEEDS), rng.uniform(0.0, 2 * np.pi)
        side = np.array([np.cos(toward), np.sin(toward), 0.0])
        if (here[:2] - pad[:2]) @ side[:2] > 0.0:  # back over the pad, not away from it
            side = -side
        velocity, cruise = speed * side, max(PASS_LENGTH / speed - PASS_RAMP, 0.2)
        self.go(here + velocity * PASS_RAMP / 2, PASS_RAMP, velocity)
        self.go(self.points[-1] + velocity * cruise, cruise, velocity)
        self.go(self.points[-1] + velocity * PASS_RAMP / 2, PASS_RAMP)

    def touch_and_go(self, pad: np.ndarray) -> None:
        """Down to the floor at constant velocity, as in a landing, every other time on a slant, and up again.

        As a pilot does, it presses on until the floor is felt: the aim is up to ``PRESS`` below it.
        """
        here, rng = self.points[-1], self.rng
        slant = rng.uniform(-SLANT, SLANT, 2) * rng.integers(0, 2)
        velocity = np.array([*slant, -rng.uniform(*TOUCH_SPEEDS)])
        down = (here[2] - pad[2] + rng.uniform(0.0, PRESS)) / -velocity[2] - EASE / 2
        if not self.leaves and down > 0:
            way = EASE / 2 + down  # s at that velocity
            end = np.clip(here[:2] + way * slant, pad[:2] - self.reach, pad[:2] + self.reach)
            velocity[:2] = (end - here[:2]) / way
        if down > 0:
            self.go(here + velocity * EASE / 2, EASE, velocity)
            self.go(self.points[-1] + velocity * down, down, velocity)
        end = self.points[-1]
        self.go(end, 0.2)
        self.go(np.array([*end[:2], pad[2] + rng.uniform(0.02, 0.3)]), rng.uniform(0.8, 1.5))


def level_reach(plant: Plant) -> float:
    """How far in m from the pad a tour may go with every rotor over the ground that the pad is on.

    At least ``LEAST_REACH``: of a platform smaller than that a vehicle sees the edge whatever it does.
    """
    surface, arm = plant.terrain.mean(), float(np.linalg.norm(plant.vehicle.rotor_positions[:, :2], axis=1).max())
    line = np.linspace(-LATERAL_REACH - arm, LATERAL_REACH + arm, 161)
    x, y = np.meshgrid(line, line)
    height, off = surface.height(plant.pad[0] + x, plant.pad[1] + y), np.maximum(np.abs(x), np.abs(y))
    edges = [off[1:][np.abs(np.diff(height, axis=0)) > EDGE], off[:, 1:][np.abs(np.diff(height, axis=1)) > EDGE]]
    nearest = min((float(found.min()) for found in edges if len(found)), default=math.inf)
    return min(LATERAL_REACH, max(nearest - arm, LEAST_REACH))


def random_tour(pad: np.ndarray, duration: float, rng: np.random.Generator, reach: float = LATERAL_REACH) -> Tour:
    """A tour of ``duration`` s above ``pad``, mostly low, with descents to the floor in between.

    ``reach`` in m is how far its way points are from the pad; see :func:`level_reach`.
    """
    way = _Way(pad + [0, 0, 1.0], rng, reach)
    shares = np.array([share for *_, share in HEIGHT_BANDS])
    spent = np.zeros(len(HEIGHT_BANDS))
    while way.times[-1] < duration:
        band = int(np.argmax(shares * (spent.sum() + 1.0) - spent))  # the one that is furthest behind
        low, high, _ = HEIGHT_BANDS[band]
        for height in rng.uniform(low, high, rng.integers(2, 5)):
            before = way.times[-1]
            way.wander(pad, float(height))
            if PASS_HEIGHT <= height < LOW and rng.random() < PASSES and way.leaves:
                way.low_pass(pad)
            spent[band] += way.times[-1] - before
        if low == 0.0 or low >= 0.1:
            way.touch_and_go(pad)
    spline = CubicHermiteSpline(np.array(way.times), np.array(way.points), np.array(way.velocities), axis=0)
    t = TIME_STEP * np.arange(math.ceil(duration / TIME_STEP) + 1)
    return Tour(spline(t), spline(t, 1), spline(t, 2))


def thrust_dither(vehicle: Vehicle, rng: np.random.Generator) -> Callable[[float], float]:
    """Sum of sines in N over time in s, against the identity f_a = m g - T: 6.7 % of the weight rms, 0.5 to 4 Hz."""
    phases = rng.uniform(0, 2 * np.pi, len(DITHER_FREQUENCIES))
    omega, amplitudes = 2 * np.pi * DITHER_FREQUENCIES, DITHER_AMPLITUDES * vehicle.weight
    return lambda t: float(amplitudes @ np.sin(omega * t + phases))


def collect_flight(plant: Plant, seed: int, duration: float = FLIGHT_TIME) -> FlightLog:
    """One flight's log, as an autopilot would have written it; it ends early where the vehicle tips over."""
    rng = np.random.default_rng([seed, 0xC011])
    tour = random_tour(plant.pad, duration, rng, level_reach(plant))
    controller, pilot = Controller(plant.vehicle), _Pilot(tour)
    most = 0.99 * DISTURBANCE_LIMIT * plant.vehicle.weight  # N, of the trim

    def before_step(t: float, state: State) -> None:
        pilot.watch(t, state, world.dt, controller.tracking.d_hat[2] > most)
        if t < SETTLE:
            controller.attitude.learn_trim(world.dt)

    with plant.build() as world:
        world.reset(tour(0.0).position, seed=seed)
        log, _ = fly(
            world,
            controller,
            pilot,
            Sensors(plant.noise, seed),
            start=0.0,
            end=duration,
            excitation=thrust_dither(plant.vehicle, rng),
            before_step=before_step,
            lost=lambda state: state.rows[2][2] < TIPPED,
            metadata={
                "vehicle": plant.vehicle.name,
                "mass_kg": plant.vehicle.mass,
                "seed": seed,
                "format": "simulated",
            },
        )
    return log
