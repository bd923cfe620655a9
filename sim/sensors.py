"""What the vehicle's sensors make of the truth: noise and delay."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np

from neural_lander.arrays import Array
from neural_lander.components import join, quaternion_product, split
from neural_lander.state import State
from sim.draws import BLOCK, Draws
from sim.outages import Drift, Outages
from sim.rigid_body import TIME_STEP

STATE_STREAM, LOG_STREAM, IMU_STREAM = 0x5E5, 0x106, 0x1AC


UNIT_KEYS = {
    "position": "position_m", "velocity": "velocity_m_s", "attitude": "attitude_rad", "body_rates": "body_rates_rad_s",
    "specific_force": "specific_force_m_s2", "rotor_speed": "rotor_speed_relative", "delay": "delay_steps",
    "drift": "drift_m", "drift_time": "drift_time_s", "dropout": "dropout_share", "dropout_time": "dropout_time_s",
}  # fmt: skip


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
    drift: float = 0.0  # m, standard deviation of a bias of the position that wanders
    drift_time: float = 5.0  # s, its correlation time: of an estimator's bias, guess
    dropout: float = 0.0  # share of the time in which no state arrives; the controller then sees the last one
    dropout_time: float = 0.05  # s, mean length of such an outage: some frames of a radio link, guess
    forecast: bool = True  # whether an estimator moves an old state on to the present: see :mod:`sim.forecast`

    @classmethod
    def none(cls) -> SensorNoise:
        """Perfect sensors."""
        return cls(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0)

    def to_json(self) -> dict[str, float | bool]:
        """All fields as JSON values, the unit in each key."""
        return {UNIT_KEYS.get(name, name): value for name, value in vars(self).items()}


def pose_scale(noise: SensorNoise) -> np.ndarray:
    """(12,) standard deviations of position, velocity, half the attitude's rotation vector, and body rates."""
    return np.repeat([noise.position, noise.velocity, noise.attitude / 2, noise.body_rates], 3)


def disturbed(truth: State, errors: Sequence[Array], e_felt: Array | None = None, age: float = 0.0) -> State:
    """The state as measured with errors of position, velocity, attitude (half of it) and body rates, ``(..., 3)`` each.

    Height is that of the pose, over a known terrain. ``age`` in s is how old it is when it is seen. With ``e_felt``
    ``(..., 3)`` in m/s^2 it holds the specific force too. The accelerometer is turned into the world by the true
    attitude: what the noise of the attitude would add is a tenth of its own.
    """
    e_p, e_v, e_q, e_w = errors
    felt = truth.specific_force
    return State(
        truth.position + e_p,
        truth.velocity + e_v,
        join(quaternion_product(split(truth.attitude), (1.0, *split(e_q)))),
        truth.body_rates + e_w,
        truth.height + split(e_p)[2],
        truth.contact,
        specific_force=None if felt is None or e_felt is None else felt + e_felt,
        age=age,
    )


def drift_of(noise: SensorNoise, seeds: int | Array, dt: float) -> Drift | None:
    """The wandering bias of one flight or a batch, where there is one."""
    return Drift(noise.drift, noise.drift_time, seeds, dt) if noise.drift > 0 else None


def outages_of(noise: SensorNoise, seeds: int | Array, dt: float) -> Outages | None:
    """The outages of one flight or a batch, where there are any."""
    return Outages(noise.dropout, noise.dropout_time, seeds, dt) if noise.dropout > 0 else None


def _noise(seed: int, stream: int, scale: np.ndarray, *ends: int) -> Iterator[tuple[np.ndarray, ...]]:
    """White noise of one flight, step by step: drawn in blocks, with these standard deviations, parted at ``ends``."""
    draws = Draws(seed, stream)
    for step in count(0, BLOCK):
        block = draws.block(step, BLOCK, len(scale)) * scale
        yield from zip(*np.split(block, ends, axis=1), strict=True)


class Sensors:
    """Draws measurements from the truth; the same seed gives the same noise to every controller."""

    def __init__(self, noise: SensorNoise, seed: int, dt: float = TIME_STEP) -> None:
        self.noise = noise
        self._drift, self._outages = drift_of(noise, seed, dt), outages_of(noise, seed, dt)
        self._pose_noise = _noise(seed, STATE_STREAM, pose_scale(noise), 3, 6, 9)
        self._imu_noise = _noise(seed, IMU_STREAM, np.repeat(noise.specific_force, 3))
        log_scale = np.repeat([noise.specific_force, noise.rotor_speed], [3, 4])
        self._log_noise = _noise(seed, LOG_STREAM, log_scale, 3)
        self._age = noise.delay * dt
        self._pipe: deque[State] = deque(maxlen=noise.delay + 1)

    def measure(self, truth: State) -> State:
        """The state as measured at this instant."""
        (e_felt,) = next(self._imu_noise)
        seen = disturbed(truth, next(self._pose_noise), e_felt, self._age)
        return seen if self._drift is None else self._drift(seen)

    def delayed(self, state: State) -> State:
        """What the controller sees now: the measurement of ``delay`` steps ago, or the last one that arrived."""
        self._pipe.append(state)
        return self._pipe[0] if self._outages is None else self._outages(self._pipe[0])

    def actuation(self, specific_force: np.ndarray, rotor_speeds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Accelerometer (3,) m/s^2 in the world frame and ESC telemetry (4,) rad/s, as logged."""
        e_felt, e_speed = next(self._log_noise)
        return specific_force + e_felt, rotor_speeds + rotor_speeds * e_speed
