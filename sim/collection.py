"""Flights to learn from: sweeps through all heights with lateral motion, thrust dither, touch and go.

Flown by PD with trim, never by anything that knows the plant. PD alone hangs and leaves no data from the last
centimetres, where the network must act; slow flight alone would teach df_a/dT = -1 (design, section 6).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.interpolate import CubicHermiteSpline

from neural_lander.control.controller import Controller
from neural_lander.flightlog.log import FlightLog
from neural_lander.state import Reference
from neural_lander.vehicle import Vehicle
from sim.flight import fly
from sim.plant import Plant
from sim.sensors import Sensors

FLIGHTS = 5
FLIGHT_TIME = 50.0  # s
SETTLE = 2.0  # s of hover before the first manoeuvre
DITHER_FREQUENCIES = np.array([0.5, 0.9, 1.4, 2.1, 2.9, 3.7])  # Hz
DITHER_AMPLITUDES = np.array([0.01, 0.02, 0.03, 0.04, 0.05, 0.06])  # of the weight: at most 1 cm of motion each
LATERAL_REACH = 0.6  # m
HEIGHT_BANDS = ((0.0, 0.05, 0.30), (0.05, 0.10, 0.22), (0.10, 0.20, 0.16), (0.20, 0.60, 0.16), (0.60, 1.50, 0.16))
"""(from m, to m, share of the way points): near the ground in the main, where the effect is."""


@dataclass(frozen=True)
class Tour:
    """Smooth way through random way points; piecewise cubic with rest at each."""

    spline: CubicHermiteSpline

    def __call__(self, t: float) -> Reference:
        """Reference at time t in s."""
        p, v, a = (np.asarray(self.spline(t, nu)) for nu in (0, 1, 2))
        return Reference(p, v, a)


def random_tour(pad: np.ndarray, duration: float, rng: np.random.Generator) -> Tour:
    """A tour of ``duration`` s above ``pad``, mostly low, with descents from height to the floor in between."""
    times, points = [0.0, SETTLE], [pad + [0, 0, 1.0]] * 2
    bands = np.array(HEIGHT_BANDS)
    while times[-1] < duration:
        low, high, _ = bands[rng.choice(len(bands), p=bands[:, 2])]
        target = pad + [*rng.uniform(-LATERAL_REACH, LATERAL_REACH, 2), rng.uniform(low, high)]
        for height in rng.uniform(low, high, rng.integers(1, 4)):
            target = target + [*rng.uniform(-0.15, 0.15, 2), pad[2] + height - target[2]]
            target[:2] = np.clip(target[:2], pad[:2] - LATERAL_REACH, pad[:2] + LATERAL_REACH)
            way = float(np.linalg.norm(target - points[-1]))
            times.append(times[-1] + max(way / rng.uniform(0.15, 0.6), rng.uniform(0.5, 1.5)))
            points.append(target)
        if low == 0.0:  # touch and go
            touch = np.array([target[0], target[1], pad[2]])
            times += [times[-1] + rng.uniform(0.3, 0.8), times[-1] + rng.uniform(1.2, 2.0)]
            points += [touch, touch + [0, 0, rng.uniform(0.02, 0.15)]]
    return Tour(CubicHermiteSpline(np.array(times), np.array(points), np.zeros((len(times), 3)), axis=0))


def thrust_dither(vehicle: Vehicle, rng: np.random.Generator) -> Callable[[float], float]:
    """Sum of sines in N over time in s: some 10 % of the weight between 0.5 and 4 Hz, against the identity f_a = m g - T."""
    phases = rng.uniform(0, 2 * np.pi, len(DITHER_FREQUENCIES))
    omega, amplitudes = 2 * np.pi * DITHER_FREQUENCIES, DITHER_AMPLITUDES * vehicle.weight
    return lambda t: float(amplitudes @ np.sin(omega * t + phases))


def collect_flight(plant: Plant, seed: int, duration: float = FLIGHT_TIME) -> FlightLog:
    """One flight's log, as an autopilot would have written it."""
    rng = np.random.default_rng([seed, 0xC011])
    tour = random_tour(plant.pad, duration, rng)
    controller = Controller(plant.vehicle)
    with plant.build() as world:
        world.reset(tour(0.0).position, seed=seed)
        log, _ = fly(
            world,
            controller,
            tour,
            Sensors(plant.noise, seed),
            start=0.0,
            end=duration,
            spool_down=False,
            excitation=thrust_dither(plant.vehicle, rng),
            before_step=lambda t, _: controller.attitude.learn_trim(world.dt) if t < SETTLE else None,
            metadata={"vehicle": plant.vehicle.name, "mass_kg": plant.vehicle.mass, "seed": seed, "format": "simulated"},
        )
    return log
