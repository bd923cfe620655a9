"""A link's side of a flight of a real firmware in software, where the vehicle is ours and its truth is known."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
from scipy.spatial.transform import Rotation

from firmware_bridge.link import AttitudeReport, AttitudeSetpoint, Link, Report, StatusReport, TextReport
from neural_lander.rotation import quaternion_exp, quaternion_multiply
from neural_lander.vehicle import GRAVITY, Vehicle
from tests.shared_truth import Truth

PERIOD = 0.01  # s between setpoints
MOST = 1.6  # thrust over weight
AnyLink = TypeVar("AnyLink", bound=Link)


@dataclass(frozen=True)
class Hold:
    """How a height is held."""

    vehicle: Vehicle
    height: float  # m
    stiffness: float  # 1/s^2
    damping: float  # 1/s
    least: float = 0.0
    """Thrust over weight."""

    def push(self, truth: Truth) -> float:
        """N."""
        low, falling = self.height - float(truth.position[2]), -float(truth.velocity[2])
        push = self.vehicle.mass * (GRAVITY + self.stiffness * low + self.damping * falling)
        return min(max(push, self.least * self.vehicle.weight), MOST * self.vehicle.weight)


class LinkFlight(Generic[AnyLink]):
    """Hears the link's reports and gives it setpoints.

    Parameters
    ----------
    link : Link
        What is tested.
    truth : Truth
        Of the vehicle.
    hold : Hold
        How a height is held.
    clock : callable
        s, in the vehicle's time.
    """

    def __init__(self, link: AnyLink, truth: Truth, hold: Hold, clock: Callable[[], float] = time.monotonic) -> None:
        self.link, self.truth, self.hold, self.clock = link, truth, hold, clock
        self.last: dict[type, Any] = {}
        self.count: dict[str, int] = {}
        self.modes: list[str] = []
        self.refusals: set[str] = set()
        self.texts: list[str] = []
        self.age = 0.0
        """s, of the oldest attitude, as the link dates it."""

    def run(self, seconds: float, setpoint: Callable[[], AttitudeSetpoint] | None = None) -> None:
        end, due = self.clock() + seconds, 0.0
        while (now := self.clock()) < end:
            for report in self.link.poll(now):
                self._hear(report, now)
            if setpoint and now >= due:
                due = now + PERIOD
                self.link.send(setpoint(), now)
            time.sleep(0.001)

    def _hear(self, report: Report, now: float) -> None:
        self.last[type(report)] = report
        self.count[type(report).__name__] = self.count.get(type(report).__name__, 0) + 1
        if isinstance(report, StatusReport):
            self.refusals |= set(report.arming_refusals)
            if not self.modes or self.modes[-1] != report.mode:
                self.modes.append(report.mode)
        elif isinstance(report, TextReport):
            self.texts.append(report.text)
        elif isinstance(report, AttitudeReport):
            self.age = max(self.age, now - report.t)

    @property
    def status(self) -> StatusReport:
        return self.last[StatusReport]

    @property
    def attitude(self) -> np.ndarray:
        """As the link tells it."""
        return self.last[AttitudeReport].attitude

    def checks(self) -> dict[str, tuple[bool, str]]:
        return {check.name: (check.passed, check.finding) for check in self.link.preflight()}

    def rates(self, seconds: float) -> dict[str, float]:
        """Hz of each kind of report, over so long without setpoints."""
        self.count.clear()
        self.run(seconds)
        return {name: count / seconds for name, count in self.count.items()}

    def at_height(self, attitude: np.ndarray, yaw_rate: float = 0.0) -> Callable[[], AttitudeSetpoint]:
        return lambda: AttitudeSetpoint(attitude, self.hold.push(self.truth), yaw_rate)

    def tilts(self, level: np.ndarray, seconds: float) -> list[dict[str, Any]]:
        """Wanted and flown roll or pitch in degrees after so long at each, true and as the link tells."""
        flown = []
        for axis, degrees in ((0, 6.0), (0, -14.0), (1, 6.0), (1, -14.0)):
            turn = np.zeros(3)
            turn[axis] = np.radians(degrees)
            self.run(seconds, self.at_height(quaternion_multiply(level, quaternion_exp(turn))))
            true, told = (euler(attitude)[axis] for attitude in (self.truth.attitude, self.attitude))
            name = ("roll", "pitch")[axis]
            flown.append({"axis": name, "wanted_deg": degrees, "flown_deg": true, "told_deg": told})
        self.run(1.0, self.at_height(level))
        return flown


def euler(attitude: np.ndarray) -> list[float]:
    """Roll, pitch and yaw in degrees."""
    return Rotation.from_quat(np.roll(attitude, -1)).as_euler("ZYX", degrees=True)[::-1].tolist()
