"""Noise and delay for a batch: the errors of each flight are those it has alone."""

from __future__ import annotations

from collections import deque

import torch

from neural_lander.components import join
from neural_lander.state import State
from sim.draws import WhiteNoise
from sim.rigid_body import TIME_STEP
from sim.sensors import IMU_STREAM, STATE_STREAM, SensorNoise, disturbed, drift_of, outages_of, pose_scale


class BatchSensors:
    """What N vehicles measure; see :class:`~sim.sensors.Sensors`.

    Parameters
    ----------
    noise : SensorNoise
    seeds : torch.Tensor
        (N,) integers, one per flight; their device is that of the noise.
    """

    def __init__(self, noise: SensorNoise, seeds: torch.Tensor, dt: float = TIME_STEP) -> None:
        self.noise = noise
        self._drift, self._outages = drift_of(noise, seeds, dt), outages_of(noise, seeds, dt)
        self._scale = pose_scale(noise).tolist()
        self._pose_noise = WhiteNoise(seeds, STATE_STREAM, len(self._scale))
        self._imu_noise = WhiteNoise(seeds, IMU_STREAM, 3)
        self._age = noise.delay * dt
        self._pipe: deque[State] = deque(maxlen=noise.delay + 1)

    def measure(self, truth: State) -> State:
        """The states as measured at this instant."""
        like = truth.height
        pose = [s * e for s, e in zip(self._scale, self._pose_noise(like), strict=True)]
        felt = [self.noise.specific_force * e for e in self._imu_noise(like)]
        seen = disturbed(truth, [join(pose[k : k + 3]) for k in (0, 3, 6, 9)], join(felt), self._age)
        return seen if self._drift is None else self._drift(seen)

    def delayed(self, state: State) -> State:
        """What the controllers see now: the measurement of ``delay`` steps ago, or the last one that arrived."""
        self._pipe.append(state)
        return self._pipe[0] if self._outages is None else self._outages(self._pipe[0])
