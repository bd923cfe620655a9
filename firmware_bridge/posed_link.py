"""A link whose position comes from motion capture, and whose heading is turned into motion capture's frame.

The autopilot's attitude is fast and its tilt is good, but its heading is its own: a compass's, or whatever it was when
it was switched on. The turn about the vertical from its world to that of the poses is measured by comparing both
attitudes, smoothed, applied to the attitude that comes in and taken back from the setpoints that go out. Everybody else
sees one world, that of the poses.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from firmware_bridge.estimation.pose import Pose, PoseReceiver
from firmware_bridge.estimation.pose_filter import PoseFilter
from firmware_bridge.link import (
    AttitudeReport,
    AttitudeSetpoint,
    Capabilities,
    CheckResult,
    ImuReport,
    Link,
    PositionReport,
    Report,
    RestartReport,
    Setpoint,
)
from neural_lander.components import euler_quaternion, quaternion_product, quaternion_rows, rotate
from neural_lander.errors import UserError
from neural_lander.rotation import quaternion_exp, quaternion_multiply
from neural_lander.vehicle import GRAVITY

CONFLICT_TIME = 0.1  # s over which the difference between both attitudes is smoothed; a guess
CONFLICT_MOST = math.radians(40.0)  # of it that one pose counts for: one that is wrong stays below 10 degrees; a guess
HEADING_TIME = 0.5  # s over which the turn between the worlds is smoothed; a guess: a gyroscope drifts by minutes
MATCHED = 0.05  # s between a pose and an attitude that are compared; a guess
KEPT = 64  # attitudes, 0.3 s at 200 Hz
LEAST_RATE = 45.0  # 1/s; a guess: with one pose lost the state must not be older than 50 ms
WHOLE = 1.0  # s of poses that their rate is counted in
CLOCK_ERROR = 0.05  # of the sender's clock against ours: crystals are right to 1e-4, delays jitter by 20 ms; a guess
MOST_TILT = math.radians(10.0)  # between both attitudes apart from heading; a guess: a wrong axis is 90 or 180
TOLD_APART = math.radians(20.0)  # of tilt, by which the other order must be off; a guess: twice what either may be
FORWARD_PERIOD = 0.02  # s: PX4 asks for 30 to 50 Hz of vision estimates, and the line has other things to carry

Forward = Callable[[Pose, int], None]
"""Takes a pose and the number of times that poses began anew, to tell the autopilot."""


class PosedLink:
    """See the module, and :class:`firmware_bridge.link.Link` for its methods.

    Parameters
    ----------
    link : Link
        Its own position reports are left out.
    poses : PoseReceiver
        Stays open when this is closed.
    forward : callable, optional
        Tells the autopilot.
    """

    def __init__(self, link: Link, poses: PoseReceiver, forward: Forward | None = None) -> None:
        self._told = link.capabilities
        self.capabilities: Capabilities = replace(link.capabilities, position=True)
        self._link, self._poses, self._forward = link, poses, forward
        self._filter = PoseFilter()
        self._attitudes: deque[AttitudeReport] = deque(maxlen=KEPT)
        self._turn: float | None = None  # rad, from the autopilot's world to the poses'
        self._tilt = self._conflict = 0.0  # rad, between both attitudes: apart from heading; beyond the turn
        self._other_tilt = 0.0  # rad, of the same numbers read as x, y, z, w
        self._told_apart = False
        """Whether the two orders have ever differed enough to know that it is w, x, y, z."""
        self._compared = -math.inf
        self._accelerations: list[np.ndarray] = []
        self._restarts = poses.clock.restarts
        self._arrivals: deque[float] = deque(maxlen=1024)
        self._since = math.inf  # s, when poses began to come without a pause
        self._forward_due = -math.inf
        self._now = 0.0

    def poll(self, now: float) -> Sequence[Report]:
        """See :class:`firmware_bridge.link.Link`. Attitude comes once its heading is known in the poses' frame."""
        self._now = now
        reports: list[Report] = []
        for report in self._link.poll(now):
            if isinstance(report, AttitudeReport):
                if np.all(np.isfinite(report.attitude)):
                    self._attitudes.append(report)
                if self._turn is not None:
                    turned = _turned(report.attitude, self._turn)
                    reports.append(replace(report, attitude=turned, conflict=self._conflict))
            elif not isinstance(report, PositionReport):
                if isinstance(report, RestartReport):
                    self._forget()
                if isinstance(report, ImuReport):
                    self._feel(report)
                reports.append(report)
        for pose in self._poses.take(now):
            reports += self._locate(pose)
        if self._link.capabilities is not self._told:  # it has recognised its autopilot, or heard its rotors
            self._told = self._link.capabilities
            self.capabilities = replace(self._told, position=True)
        return reports

    def _forget(self) -> None:
        """Another boot of the autopilot: another heading."""
        self._turn, self._conflict = None, 0.0
        self._attitudes.clear()
        self._accelerations.clear()

    def _feel(self, report: ImuReport) -> None:
        """Acceleration in the poses' world, for the filter."""
        if self._turn is None or not self._attitudes or not np.all(np.isfinite(report.specific_force)):
            return
        rows = quaternion_rows(_turned(self._attitudes[-1].attitude, self._turn).tolist())
        x, y, z = rotate(rows, report.specific_force.tolist())
        self._accelerations = [*self._accelerations[-100:], np.array([x, y, z - GRAVITY])]

    def _locate(self, pose: Pose) -> list[Report]:
        if not self._arrivals or pose.received - self._arrivals[-1] > WHOLE:
            self._since = pose.received
        self._arrivals.append(pose.received)
        if self._poses.clock.restarts != self._restarts:
            self._restarts = self._poses.clock.restarts
            self._filter.reset()
            self._told_apart = False
        self._align(pose)
        felt = np.mean(self._accelerations, axis=0) if self._accelerations else np.zeros(3)
        self._accelerations = []
        self._filter.update(pose.t, pose.position, felt)
        if self._forward is not None and pose.t >= self._forward_due:
            self._forward_due = max(self._forward_due + FORWARD_PERIOD, pose.t)
            self._forward(pose, self._filter.resets)
        state = self._filter.state
        return [] if state is None else [PositionReport(pose.t, pose.received, *state, pose.error)]

    def _align(self, pose: Pose) -> None:
        """Heading and tilt between both attitudes, at the pose's time: the twist of their difference, and the rest."""
        if not self._attitudes:
            return
        report = min(self._attitudes, key=lambda attitude: abs(attitude.t - pose.t))
        if abs(report.t - pose.t) > MATCHED:
            return
        then = quaternion_multiply(report.attitude, quaternion_exp(report.body_rates * (pose.t - report.t)))
        turn, tilt = _turn_and_tilt(pose.attitude, then)
        _, other_tilt = _turn_and_tilt(np.roll(pose.attitude, 1), then)
        if self._turn is None:
            self._turn, self._tilt, self._other_tilt = turn, tilt, other_tilt
        else:
            dt, off = max(pose.t - self._compared, 0.0), math.remainder(turn - self._turn, 2 * math.pi)
            conflict = 2 * math.acos(min(abs(math.cos(tilt / 2) * math.cos(off / 2)), 1.0))
            self._conflict += (1 - math.exp(-dt / CONFLICT_TIME)) * (min(conflict, CONFLICT_MOST) - self._conflict)
            gain = 1 - math.exp(-dt / HEADING_TIME)
            self._turn += gain * off
            self._tilt += gain * (tilt - self._tilt)
            self._other_tilt += gain * (other_tilt - self._other_tilt)
        self._told_apart |= self._tilt <= MOST_TILT and self._other_tilt > TOLD_APART
        self._compared = pose.t

    def send(self, setpoint: Setpoint, now: float) -> bool:
        """See :class:`firmware_bridge.link.Link`."""
        if isinstance(setpoint, AttitudeSetpoint):
            if self._turn is None:
                raise UserError("setpoint: no pose has told the heading yet, so a tilt has no direction; wait for one")
            setpoint = replace(setpoint, attitude=_turned(setpoint.attitude, -self._turn))
        return self._link.send(setpoint, now)

    def arm(self, now: float) -> None:
        """See :class:`firmware_bridge.link.Link`."""
        self._link.arm(now)

    def take_control(self, now: float) -> None:
        """See :class:`firmware_bridge.link.Link`."""
        self._link.take_control(now)

    def hand_back(self, now: float) -> None:
        """See :class:`firmware_bridge.link.Link`."""
        self._link.hand_back(now)

    def disarm(self, now: float) -> None:
        """See :class:`firmware_bridge.link.Link`."""
        self._link.disarm(now)

    def preflight(self) -> Sequence[CheckResult]:
        """See :class:`firmware_bridge.link.Link`."""
        return [*self._link.preflight(), *self._checks()]

    def quality(self) -> tuple[str, str]:
        """See :class:`firmware_bridge.link.Link`."""
        much, well = self._link.quality()
        return f"{much}, {self._rate()} poses/s", well

    def _rate(self) -> int:
        """Poses of the last second."""
        return sum(self._now - received <= WHOLE for received in self._arrivals)

    def _checks(self) -> list[CheckResult]:
        dropped = ", ".join(f"{count} {why}" for why, count in sorted(self._poses.dropped.items()))
        words = f"; dropped: {dropped}" if dropped else ""
        rate = self._rate()
        if not rate:
            remedy = "look at the sender's address and port, and at its format"
            return [CheckResult("pose", False, f"no pose comes to {self._poses.address}{words}; {remedy}")]
        whole = self._now - self._since >= WHOLE
        good = whole and rate >= LEAST_RATE
        remedy = "" if good else f"; at least {LEAST_RATE:g} Hz are needed"
        remedy = remedy if whole else "; they have only begun to come"
        results = [CheckResult("pose", good, f"{rate} Hz at {self._poses.address}{words}{remedy}")]
        results += self._clock_check()
        if self._turn is None:
            return [*results, CheckResult("pose attitude", False, "the autopilot tells no attitude to compare it with")]
        words = (
            f"tilted by {math.degrees(self._tilt):.1f} degrees against the autopilot's, turned by "
            f"{math.degrees(math.remainder(self._turn, 2 * math.pi)):.0f}"
        )
        remedy = ""
        if not self._tilt <= MOST_TILT:
            remedy = "; look at the rigid body's axes (x forward, y left, z up) and the quaternion's order"
        elif not self._told_apart:
            remedy = (
                "; is the order w, x, y, z? As x, y, z, w it would fit as well: if the order is right, turn the "
                "vehicle by 45 degrees or tilt it by 30 by hand (--tilt-check has it done), then put it back"
            )
        return [*results, CheckResult("pose attitude", not remedy, words + remedy)]

    def _clock_check(self) -> list[CheckResult]:
        """Whether the sender's seconds are ours; nothing before two of them have come."""
        rate = self._poses.clock.rate
        if rate is None:
            return []
        good = abs(rate - 1.0) <= CLOCK_ERROR
        remedy = "" if good else ": is t in seconds?"
        return [CheckResult("pose clock", good, f"the sender's runs {rate:.4g} times as fast as ours{remedy}")]

    def close(self) -> None:
        """See :class:`firmware_bridge.link.Link`."""
        self._link.close()


def _turn_and_tilt(pose: np.ndarray, attitude: np.ndarray) -> tuple[float, float]:
    """From an attitude (4,) to a pose's (4,): the turn about the vertical and what is left, rad."""
    w, x, y, z = quaternion_multiply(pose, attitude * [1.0, -1.0, -1.0, -1.0]).tolist()
    return 2 * math.atan2(z, w), 2 * math.atan2(math.hypot(x, y), math.hypot(w, z))


def _turned(attitude: np.ndarray, turn: float) -> np.ndarray:
    """An attitude (4,) in a world that lies turned by ``-turn`` rad about the vertical."""
    return np.array(quaternion_product(euler_quaternion(0.0, 0.0, turn), attitude.tolist()))
