"""What the vehicle's sensors make of the truth: noise and delay."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from neural_lander.components import join, quaternion_product, split
from neural_lander.state import State

BLOCK = 512  # steps of noise drawn at once: drawing one by one costs more than the control law


@dataclass(frozen=True)
class SensorNoise:
    """Standard deviations of white noise per axis, and the age of a state when the controller sees it."""

    position: float = 0.001  # m, motion capture: a millimetre
    velocity: float = 0.01  # m/s, of a filter on motion capture and IMU, guess
    attitude: float = 0.003  # rad, of the same filter, guess
    body_rates: float = 0.02  # rad/s, MEMS gyroscope at 240 Hz
    specific_force: float = 0.2  # m/s^2, MEMS accelerometer under vibration, guess
    rotor_speed: float = 0.003  # relative, ESC telemetry, guess
    delay: int = 1  # steps of 1/240 s: motion capture and link, guess

    @classmethod
    def none(cls) -> SensorNoise:
        """Perfect sensors."""
        return cls(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0)


class _Noise:
    """White noise with the given standard deviations, drawn in blocks."""

    def __init__(self, rng: np.random.Generator, scale: list[float]) -> None:
        self._rng, self._scale = rng, np.array(scale)
        self._block, self._next = np.empty((0, len(scale))), 0

    def __call__(self) -> np.ndarray:
        if self._next == len(self._block):
            self._block, self._next = self._rng.standard_normal((BLOCK, len(self._scale))) * self._scale, 0
        self._next += 1
        return self._block[self._next - 1]


class Sensors:
    """Draws measurements from the truth; the same seed gives the same noise to every controller."""

    def __init__(self, noise: SensorNoise, seed: int) -> None:
        self.noise, n = noise, noise
        pose = [n.position] * 3 + [n.velocity] * 3 + [n.attitude / 2] * 3 + [n.body_rates] * 3
        self._state_noise = _Noise(np.random.default_rng([seed, 0x5E5]), pose)
        self._log_noise = _Noise(np.random.default_rng([seed, 0x106]), [n.specific_force] * 3 + [n.rotor_speed] * 4)
        self._pipe: deque[State] = deque(maxlen=n.delay + 1)

    def measure(self, truth: State) -> State:
        """The state as measured at this instant. Height is that of the pose, over a known terrain."""
        e = self._state_noise()
        turn = (1.0, *e[6:9].tolist())
        return State(
            truth.position + e[:3],
            truth.velocity + e[3:6],
            join(quaternion_product(split(truth.attitude), turn)),
            truth.body_rates + e[9:12],
            truth.height + e[2],
            truth.contact,
        )

    def delayed(self, state: State) -> State:
        """What the controller sees now: the measurement of ``delay`` steps ago."""
        self._pipe.append(state)
        return self._pipe[0]

    def actuation(self, specific_force: np.ndarray, rotor_speeds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Accelerometer (3,) m/s^2 in the world frame and ESC telemetry (4,) rad/s, as logged."""
        e = self._log_noise()
        return specific_force + e[:3], rotor_speeds * (1.0 + e[3:])

