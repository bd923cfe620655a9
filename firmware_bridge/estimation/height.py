"""Height of the gear above the ground: from a rangefinder, or over a floor that the user has declared.

What is kept is the ground's height in the frame of the reported position. With it the height follows the
vehicle between two measurements, and the controller can be given positions over the ground. A barometer and GPS
know neither to centimetres, and rotor wash spoils the barometer: without one of the two sources there is no height.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from statistics import median
from typing import Protocol

import numpy as np

from firmware_bridge.estimation.estimator import FUTURE, Estimate
from firmware_bridge.link import RangeReport, Report
from neural_lander.components import quaternion_rows, rotate, split
from neural_lander.errors import UserError

MAX_BEAM_TILT = math.radians(30.0)  # of the beam beyond its mounting: then the beam's foot wanders off, guess
STEEPEST_BEAM = math.radians(60.0)  # to the vertical: there a degree of attitude is 3 % of the height, guess
MAX_MOUNTING = math.radians(45.0)  # of the beam to body-down; leaves 15 degrees to tilt by at the ground, guess
MEDIAN_OF = 5  # measurements: two outliers in a row do no harm, guess; the ground stands still, so that nothing lags


class HeightSource(Protocol):
    """Where the ground is."""

    @property
    def name(self) -> str:
        """For the log and the screen."""
        ...

    def take(self, report: Report, now: float, estimate: Estimate) -> None:
        """Take in a report that came by time ``now`` in s, with the state at that time."""
        ...

    def reset(self) -> None:
        """Forget the ground: the position's origin has moved."""
        ...

    def ground(self, now: float, estimate: Estimate) -> tuple[float, float] | None:
        """Height of the ground in m in the frame of the reported position, and its age in s; None if never known."""
        ...


@dataclass(frozen=True, eq=False)
class Mounting:
    """Where a rangefinder sits and looks."""

    position: np.ndarray = field(default_factory=lambda: np.zeros(3))  # (3,) m, body, from the centre of mass
    direction: np.ndarray = field(default_factory=lambda: np.array([0.0, 0.0, -1.0]))  # (3,) unit, body

    def __post_init__(self) -> None:
        norm = float(np.linalg.norm(self.direction))
        if np.shape(self.position) != (3,) or np.shape(self.direction) != (3,) or not abs(norm - 1.0) < 1e-6:
            raise UserError(
                f"rangefinder at {self.position} looking along {self.direction}: needs three metres and a unit vector"
            )


class Rangefinder:
    """Ground under a downward rangefinder, corrected for tilt and mounting."""

    name = "rangefinder"

    def __init__(self, mounting: Mounting | None = None) -> None:
        mounting = mounting or Mounting()
        self._position, self._direction = split(mounting.position), split(mounting.direction)
        mounted = math.acos(min(max(-self._direction[2], -1.0), 1.0))
        self._least = math.cos(min(mounted + MAX_BEAM_TILT, STEEPEST_BEAM))
        self._ground: deque[float] = deque(maxlen=MEDIAN_OF)
        self._t = -math.inf

    def take(self, report: Report, now: float, estimate: Estimate) -> None:
        """See :class:`HeightSource`."""
        if not isinstance(report, RangeReport) or not report.valid:
            return
        if not 0.0 < report.distance < math.inf or not self._t < report.t <= now + FUTURE:
            return
        rows = quaternion_rows(split(estimate.attitude))
        beam = rotate(rows, self._direction)[2]
        if not -beam >= self._least:
            return
        then = estimate.position[2] - estimate.velocity[2] * (now - report.t)  # 0.3 m/s over 30 ms are 9 mm
        sensor = float(then) + rotate(rows, self._position)[2]
        self._ground.append(sensor + report.distance * beam)
        self._t = report.t

    def reset(self) -> None:
        """See :class:`HeightSource`."""
        self._ground.clear()

    def ground(self, now: float, estimate: Estimate) -> tuple[float, float] | None:
        """See :class:`HeightSource`."""
        return (median(self._ground), max(now - self._t, 0.0)) if self._ground else None


@dataclass(frozen=True)
class DeclaredFloor:
    """A flat floor whose height in the frame of the reported position the user has declared: motion capture."""

    z: float  # m
    name: str = "declared floor"

    def take(self, report: Report, now: float, estimate: Estimate) -> None:
        """See :class:`HeightSource`: nothing is measured."""

    def reset(self) -> None:
        """See :class:`HeightSource`: what was declared stays."""

    def ground(self, now: float, estimate: Estimate) -> tuple[float, float] | None:
        """See :class:`HeightSource`: as old as the position."""
        return self.z, estimate.position_age
