"""The state at a tick's time: the newest reports, moved on over their age by what the inertial sensors felt.

    p(t) = p + v dt + a dt^2 / 2    v(t) = v + a dt    a = R f + g    q(t) = q * exp(omega dt)

Here v is the reported velocity without the offset that the reported positions show
(:mod:`firmware_bridge.estimation.speed_offset`). The specific force f and the rates omega are taken as constant over
the age, some 10 to 50 ms. A report that is not finite, not unit, older than the one before, the one before once more,
or from the future is refused and counted.

Where the values of the state freeze while their stamps run on, they count as new until what is felt has changed
``STILL + 1`` times since position or attitude last did. So they are then older than they seem by as many intervals of
the inertial data, and one of the state, at most.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from firmware_bridge.estimation.pose_filter import JUMP, JUMP_ACCELERATION
from firmware_bridge.estimation.speed_offset import SpeedOffset
from firmware_bridge.link import AttitudeReport, ImuReport, PositionReport, Report
from neural_lander.components import quaternion_rows, rotate, turned
from neural_lander.vehicle import GRAVITY

NORM_ERROR = 0.01  # a quaternion further off unit norm is no rounding, guess
FUTURE = 0.02  # s: reports that claim to be younger than this lie beyond any error of the clocks' offset, guess
IMU_AGE = 0.05  # s: an older specific force says nothing of the present, guess
PROPAGATED = 0.1  # s: the state is not moved on further than this, however old; nothing older may be flown from
STILL = 3  # changes of what is felt over which no state stays the same to the last bit; it may be told four times as
# often as it is estimated; a guess
JUMP_SHARE = 0.3  # of the distance flown between them may be off, guess
JUMP_ANGLE = 0.3  # rad beyond what the rates explain: a reset of the heading, guess
WITHOUT_REPORT = 1.0  # s: after such a gap a jump is no surprise, and is not called one

_Stateful = PositionReport | AttitudeReport | ImuReport


@dataclass(frozen=True, eq=False)
class Estimate:
    """What is known at a tick."""

    position: np.ndarray  # (3,) m, world, the autopilot's origin
    velocity: np.ndarray  # (3,) m/s, world
    attitude: np.ndarray  # (4,) unit quaternion (w, x, y, z), body to world
    body_rates: np.ndarray  # (3,) rad/s, body
    specific_force: np.ndarray | None  # (3,) m/s^2, world; None where no young one is there
    position_age: float  # s, at the tick, as well as is known
    attitude_age: float  # s
    jumped: bool
    """A report since the last tick lies where the one before does not lead."""
    moved: bool
    """It was the position: whatever was measured in its frame is void."""
    position_error: float = 0.0  # s by which it may be older than ``position_age``
    attitude_error: float = 0.0  # s
    conflict: float = 0.0  # rad between two sources of the attitude

    @property
    def position_age_at_most(self) -> float:
        """s, at the tick, whatever is not known of the clocks."""
        return self.position_age + self.position_error

    @property
    def attitude_age_at_most(self) -> float:
        """s."""
        return self.attitude_age + self.attitude_error


@dataclass
class Estimator:
    """Keeps the newest reports of position, attitude and inertial sensors."""

    refused: dict[str, int] = field(default_factory=dict)
    """Why reports were refused, and how many."""
    _position: PositionReport | None = None
    _attitude: AttitudeReport | None = None
    _imu: ImuReport | None = None
    _offset: SpeedOffset = field(default_factory=SpeedOffset)
    _moved: bool = False
    _turned: bool = False
    _felt: int = 0
    """How often what is felt has changed since position or attitude did."""

    @property
    def has_position(self) -> bool:
        """Whether a position has ever come."""
        return self._position is not None

    def reset(self) -> None:
        """Forget all reports: after a restart of the autopilot its time and its origin are others."""
        self._position = self._attitude = self._imu = None
        self._offset = SpeedOffset()
        self._moved = self._turned = False

    def take(self, report: Report, now: float) -> str:
        """Take in a report that came by time ``now`` in s; what is wrong with it, or nothing.

        One that is not newer is refused without a word: links repeat, and a state that stands still shows by its age.
        So is a state none of which has changed while what is felt has: a sender that stamps at sending hides a freeze.
        """
        if not isinstance(report, _Stateful):
            return ""
        fault = _fault(report, now)
        last = self._last(report)
        same = last is not None and _values(last) == _values(report)
        refused = fault or self._not_newer(report, last, same)
        if refused:
            self.refused[refused] = self.refused.get(refused, 0) + 1
            return fault
        if not same:
            self._felt = self._felt + 1 if isinstance(report, ImuReport) else 0
        if isinstance(report, PositionReport):
            moved = self._position is not None and _position_jumps(self._position, report)
            self._offset.update(report.t, report.position.tolist(), report.velocity.tolist(), moved)
            self._moved |= moved
            self._position = report
        elif isinstance(report, AttitudeReport):
            self._turned |= self._attitude is not None and _attitude_jumps(self._attitude, report)
            self._attitude = report
        else:
            self._imu = report
        return ""

    def at(self, now: float) -> Estimate | None:
        """State at time ``now`` in s; None until both position and attitude have come.

        A jump is told once: in a tick the loop asks first, and a later caller must not reset the height once more.
        """
        p, q = self._position, self._attitude
        if p is None or q is None:
            return None
        moved, jumped = self._moved, self._moved or self._turned
        self._moved = self._turned = False
        imu = self._imu if self._imu is not None and now - self._imu.t <= IMU_AGE else None
        rates = (q if imu is None or imu.t < q.t else imu).body_rates
        attitude = turned(q.attitude.tolist(), rates.tolist(), _bounded(now - q.t))
        specific_force, acceleration = None, (0.0, 0.0, 0.0)
        if imu is not None:
            felt = rotate(quaternion_rows(attitude), imu.specific_force.tolist())
            specific_force = np.array(felt)
            acceleration = (felt[0], felt[1], felt[2] - GRAVITY)
        dt = _bounded(now - p.t)
        then = [v - o for v, o in zip(p.velocity.tolist(), self._offset.value, strict=True)]
        v = [v + a * dt for v, a in zip(then, acceleration, strict=True)]
        path = zip(p.position.tolist(), then, v, strict=True)
        return Estimate(
            np.array([x + 0.5 * (before + after) * dt for x, before, after in path]),
            np.array(v),
            np.array(attitude),
            rates,
            specific_force,
            max(now - p.t, 0.0),
            max(now - q.t, 0.0),
            jumped,
            moved,
            p.error,
            q.error,
            q.conflict,
        )

    def _last(self, report: _Stateful) -> _Stateful | None:
        """Of its kind."""
        known: dict[type, _Stateful | None] = {PositionReport: self._position, AttitudeReport: self._attitude}
        return known.get(type(report), self._imu)

    def _not_newer(self, report: _Stateful, last: _Stateful | None, same: bool) -> str:
        """Why it says nothing that ``last`` did not, or nothing; ``same``: its values are those to the last bit."""
        if last is not None and report.t <= last.t:
            return f"{_NAMES[type(report)]} is not newer than the one before"
        if same and self._felt > STILL and not isinstance(report, ImuReport):
            return f"{_NAMES[type(report)]} is the one before under a newer stamp"
        return ""


_NAMES = {PositionReport: "position", AttitudeReport: "attitude", ImuReport: "inertial data"}


def _values(report: _Stateful) -> list[float]:
    if isinstance(report, PositionReport):
        return [*report.position.tolist(), *report.velocity.tolist()]
    if isinstance(report, AttitudeReport):
        return [*report.attitude.tolist(), *report.body_rates.tolist()]
    return [*report.specific_force.tolist(), *report.body_rates.tolist()]


def _fault(report: _Stateful, now: float) -> str:
    """Why a report is not fit for use, or nothing."""
    name = _NAMES[type(report)]
    values = _values(report)
    if not math.isfinite(report.t + sum(values)):
        return f"{name} is not finite"
    if report.t > now + FUTURE:
        return f"{name} is from the future"
    if isinstance(report, AttitudeReport) and abs(math.hypot(*values[:4]) - 1.0) > NORM_ERROR:
        return "attitude is no unit quaternion"
    return ""


def _bounded(dt: float) -> float:
    return min(max(dt, 0.0), PROPAGATED)


def _position_jumps(a: PositionReport, b: PositionReport) -> bool:
    dt = b.t - a.t
    if dt > WITHOUT_REPORT:
        return False
    mean = [0.5 * (v + w) for v, w in zip(a.velocity.tolist(), b.velocity.tolist(), strict=True)]
    moved = zip(a.position.tolist(), b.position.tolist(), mean, strict=True)
    off = math.hypot(*(y - x - v * dt for x, y, v in moved))
    return off > JUMP + JUMP_SHARE * math.hypot(*mean) * dt + 0.5 * JUMP_ACCELERATION * dt * dt


def _attitude_jumps(a: AttitudeReport, b: AttitudeReport) -> bool:
    dt = b.t - a.t
    if dt > WITHOUT_REPORT:
        return False
    expected = turned(a.attitude.tolist(), (0.5 * (a.body_rates + b.body_rates)).tolist(), dt)
    cosine = abs(sum(x * y for x, y in zip(expected, b.attitude.tolist(), strict=True)))
    rate = math.hypot(*a.body_rates.tolist()) + math.hypot(*b.body_rates.tolist())
    return 2.0 * math.acos(min(cosine, 1.0)) > JUMP_ANGLE + 0.5 * rate * dt
