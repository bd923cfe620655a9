"""What an emulated autopilot believes of its vehicle: noise, a slow bias, a delay, and an origin of its own."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

import numpy as np

from firmware_bridge.emulator.vehicle import EmulatedVehicle
from neural_lander.components import dot, join, quaternion_product, split
from neural_lander.state import State

_BLOCK = 512  # ticks of noise drawn at once: drawing one by one costs more than the control law


@dataclass(frozen=True)
class EstimatorNoise:
    """Standard deviations per axis of white noise, unless said otherwise. All guesses for a vehicle indoors."""

    position: float = 0.002  # m
    position_bias: float = 0.01  # m, Gauss-Markov with ``bias_time``
    bias_time: float = 20.0  # s
    velocity: float = 0.01  # m/s
    attitude: float = 0.002  # rad
    body_rates: float = 0.01  # rad/s
    specific_force: float = 0.15  # m/s^2
    distance: float = 0.004  # m
    rotor_speed: float = 0.003  # relative
    delay: int = 1  # ticks: an estimator's output is predicted to the present, nearly

    @classmethod
    def none(cls) -> EstimatorNoise:
        """Perfect sensors."""
        return cls(0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0)


class EmulatedEstimator:
    """Position is relative to where the vehicle stood when it was switched on, as autopilots have it."""

    def __init__(self, vehicle: EmulatedVehicle, noise: EstimatorNoise, seed: int, dt: float) -> None:
        self._vehicle, self.noise = vehicle, noise
        self._rng = np.random.default_rng([seed, 0xE57])
        n = noise
        self._scale = np.array(
            [n.position] * 3 + [n.velocity] * 3 + [n.attitude / 2] * 3 + [n.body_rates] * 3
            + [n.specific_force] * 3 + [n.rotor_speed] * 4 + [n.distance] + [1.0] * 3
        )  # fmt: skip
        self._keep = math.exp(-dt / noise.bias_time)
        self._drive = noise.position_bias * math.sqrt(1 - self._keep**2)
        self._noise, self._next = np.empty((0, len(self._scale))), 0
        self.reset()

    def reset(self) -> None:
        """Start anew here: the present position becomes the origin."""
        self.origin = self._vehicle.state.position.copy()
        self._bias = np.zeros(3)
        self._pipe: deque[State] = deque(maxlen=self.noise.delay + 1)
        self.update()

    def update(self) -> None:
        """Measure once, one tick after the last time."""
        truth, e = self._vehicle.state, self._draw()
        self._bias = self._keep * self._bias + self._drive * e[20:23]
        position = truth.position - self.origin + self._bias + e[:3]
        attitude = quaternion_product(split(truth.attitude), (1.0, *e[6:9].tolist()))
        length = math.sqrt(sum(c * c for c in attitude))
        self._pipe.append(
            State(
                position,
                truth.velocity + e[3:6],
                join([c / length for c in attitude]),
                truth.body_rates + e[9:12],
                position[2],
                truth.contact,
            )
        )
        self.state: State = self._pipe[0]
        self.gyroscope: np.ndarray = truth.body_rates + e[9:12]  # (3,) rad/s, body
        self.accelerometer: np.ndarray = self._vehicle.specific_force + e[12:15]  # (3,) m/s^2, body
        self.rotor_speed: np.ndarray = self._vehicle.rotor_speed * (1.0 + e[15:19])  # (4,) rad/s
        self._distance_error = float(e[19])

    def distance(self, gear: list[list[float]]) -> float:
        """Along body -z to level ground in m, of a rangefinder at the origin of the body; ``gear`` in m, body."""
        truth = self._vehicle.state
        down = truth.rows[2]
        above = float(truth.height) - min(dot(down, point) for point in gear)
        return above / max(down[2], 0.1) + self._distance_error

    def _draw(self) -> np.ndarray:
        if self._next == len(self._noise):
            self._noise, self._next = self._rng.standard_normal((_BLOCK, len(self._scale))) * self._scale, 0
        self._next += 1
        return self._noise[self._next - 1]
