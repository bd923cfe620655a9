"""What the reports of a link come to: the newest of each kind, and the state over the ground at a tick."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from firmware_bridge.estimation.estimator import Estimate, Estimator
from firmware_bridge.estimation.height import HeightSource
from firmware_bridge.link import (
    BatteryReport,
    RangeReport,
    Report,
    RestartReport,
    RotorReport,
    StatusReport,
    TextReport,
)
from neural_lander.state import State
from neural_lander.vehicle import Vehicle


@dataclass(frozen=True)
class View:
    """The vehicle at a tick."""

    now: float  # s
    estimate: Estimate | None
    state: State | None
    """Position over the ground; None where the ground is not known."""
    ground: float | None  # m
    """Height of the ground in the frame of the reported position."""
    height_age: float  # s
    restarted: bool
    """The autopilot booted anew since the last tick."""


class Heard:
    """Takes in reports, and answers what is known."""

    def __init__(self, vehicle: Vehicle, height: HeightSource | None) -> None:
        self.vehicle, self.height_source = vehicle, height
        self.estimator = Estimator()
        self.status: StatusReport | None = None
        self.battery: BatteryReport | None = None
        self.rotors: RotorReport | None = None
        self.messages: list[str] = []
        """Of the autopilot, since the last tick."""
        self._ranges: list[RangeReport] = []
        self._restarted = False

    @property
    def landed(self) -> bool | None:
        """The autopilot's own opinion."""
        return None if self.status is None else self.status.landed

    def take(self, reports: Sequence[Report], now: float) -> list[str]:
        """Sort what came by time ``now`` in s; what is wrong, in words."""
        problems: list[str] = []
        self._restarted, self._ranges, self.messages = False, [], []
        for report in reports:
            if isinstance(report, StatusReport):
                self.status = report
            elif isinstance(report, BatteryReport):
                self.battery = report
            elif isinstance(report, RotorReport):
                self.rotors = report if np.all(np.isfinite(report.rotor_speed)) else None
            elif isinstance(report, RangeReport):
                self._ranges.append(report)
            elif isinstance(report, TextReport):
                self.messages.append(report.text)
            elif isinstance(report, RestartReport):
                self._restarted, self.battery = True, None
                problems.append(report.reason)
                self.estimator.reset()
                if self.height_source is not None:
                    self.height_source.reset()
            else:
                refused = self.estimator.take(report, now)
                problems += [refused] if refused else []
        return problems

    def view(self, now: float) -> View:
        """What is known at time ``now`` in s."""
        estimate, source = self.estimator.at(now), self.height_source
        found = None
        if estimate is not None and source is not None:
            if estimate.moved:
                source.reset()
            for report in self._ranges:
                source.take(report, now, estimate)
            found = source.ground(now, estimate)
        if estimate is None or found is None:
            return View(now, estimate, None, None, math.inf, self._restarted)
        ground, age = found
        position = estimate.position - [0.0, 0.0, ground]
        state = State(position, estimate.velocity, estimate.attitude, estimate.body_rates, np.float64(math.nan))
        height = self.vehicle.lowest_point(position, state.R)
        felt = estimate.specific_force
        state = State(position, state.velocity, state.attitude, state.body_rates, height, specific_force=felt)
        return View(now, estimate, state, ground, age, self._restarted)
