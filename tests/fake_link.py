"""A link to a vehicle that is a point with perfect attitude tracking, in simulated time: no port, no protocol."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from firmware_bridge.link import (
    AttitudeReport,
    AttitudeSetpoint,
    BatteryReport,
    Capabilities,
    CheckResult,
    ImuReport,
    LinkLost,
    PositionReport,
    RangeReport,
    Report,
    RestartReport,
    RotorReport,
    Setpoint,
    StatusReport,
)
from neural_lander.rotation import quaternion_to_matrix
from neural_lander.vehicle import G_VECTOR, Vehicle

UPRIGHT = np.array([1.0, 0.0, 0.0, 0.0])
STEP = 0.0025  # s
CAPABILITIES = Capabilities("fake", True, False, True, keeps_mode=True)


@dataclass
class FakeLink:
    """What a pilot does is set on it directly: ``armed``, ``accepts``. Faults likewise."""

    vehicle: Vehicle
    floor: float = 0.0  # m, in the frame of the reported position
    position: np.ndarray | None = None  # (3,) m; standing by default
    thrust_scale: float = 1.0
    ground_effect: Callable[[float], float] = lambda height: 0.0  # share of the thrust, of the height
    delay: float = 0.004  # s from truth to report
    range_period: float | None = 0.02  # s
    rotors: bool = False
    grants_mode: bool = True
    grants_arming: bool = True
    landing_mode: bool = True
    checks: Sequence[CheckResult] = ()

    armed: bool = False
    accepts: bool = False
    lost: bool = False
    full: bool = False  # the line has no room for a setpoint
    silent: bool = False  # no reports
    frozen: bool = False  # reports keep coming with the time and values of when it began
    halted: bool = False  # the same, but stamps run on, and the accelerometer is alive
    restarted: bool = False
    poison: bool = False  # NaN in the position
    failsafe: bool | None = False

    sent: list[tuple[float, Setpoint]] = field(default_factory=list)
    requests: list[tuple[float, str]] = field(default_factory=list)
    closed: bool = False
    capabilities: Capabilities = CAPABILITIES

    def __post_init__(self) -> None:
        standing = np.array([0.0, 0.0, self.floor + self.vehicle.gear_clearance])
        self.p = standing if self.position is None else np.array(self.position, dtype=float)
        self.v, self.a = np.zeros(3), np.zeros(3)
        self.q, self.thrust = UPRIGHT, 0.0
        self._t: float | None = None
        self._status_due = self._range_due = self._battery_due = -1.0
        self._stuck: tuple[float, np.ndarray] | None = None
        self._halted: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None

    @property
    def height(self) -> float:
        return float(self.p[2] - self.floor - self.vehicle.gear_clearance)

    def poll(self, now: float) -> Sequence[Report]:
        if self.lost:
            raise LinkLost("fake port: unplugged")
        self._move(now)
        if self.silent:
            return []
        reports: list[Report] = []
        if self.restarted:
            self.restarted = False
            reports.append(RestartReport(now, "time_boot began anew"))
        self._stuck = (self._stuck or (now, self.p.copy())) if self.frozen else None
        t, p = self._stuck or (now, self.p.copy())
        t -= self.delay
        p = p - self.v * self.delay
        felt = quaternion_to_matrix(self.q).T @ (self.a - G_VECTOR)
        v, q = self.v - self.a * self.delay, self.q
        if self.halted:
            p, v, q = self._halted = self._halted or (p, v, q)
            felt = felt + [0.0, 0.0, 1e-3 * np.sin(1e3 * now)]
        reports += [
            PositionReport(t, now, p * (np.nan if self.poison else 1.0), v),
            AttitudeReport(t, now, q, np.zeros(3)),
            ImuReport(t, now, felt, np.zeros(3)),
        ]
        if self.range_period is not None and now >= self._range_due:
            self._range_due = now + self.range_period
            reports.append(RangeReport(now - self.delay, now, max(float(p[2]) - self.floor, 0.01), True))
        if self.rotors:
            speed = np.full(4, np.sqrt(self.thrust / (4 * self.vehicle.thrust_coefficient)))
            reports.append(RotorReport(t, now, speed))
        if now >= self._battery_due:
            self._battery_due = now + 1.0
            reports.append(BatteryReport(now, 15.8, 0.9))
        if now >= self._status_due:
            self._status_due = now + 0.2
            mode = "OFFBOARD" if self.accepts else "POSCTL"
            landed = self.height < 0.005 and not self.thrust
            reports.append(StatusReport(now, self.armed, mode, self.accepts, landed, failsafe=self.failsafe))
        return reports

    def _move(self, now: float) -> None:
        """Point mass to time ``now``; disarmed it falls, and stands on the floor."""
        last = now if self._t is None else self._t
        self._t = now
        if not self.armed:
            self.thrust = 0.0
        k = quaternion_to_matrix(self.q)[:, 2]
        while last < now - 1e-9:
            dt = min(STEP, now - last)
            last += dt
            lift = self.thrust * self.thrust_scale * (1 + self.ground_effect(max(self.height, 0.0)))
            self.a = lift * k / self.vehicle.mass + G_VECTOR
            self.v = self.v + self.a * dt
            self.p = self.p + self.v * dt
            if self.height <= 0.0:
                self.p[2] -= self.height
                self.v, self.a = np.zeros(3), np.zeros(3)

    def send(self, setpoint: Setpoint, now: float) -> bool:
        if self.lost:
            raise LinkLost("fake port: unplugged")
        if self.full:
            return False
        self.sent.append((now, setpoint))
        if self.armed and self.accepts:
            assert isinstance(setpoint, AttitudeSetpoint)
            self.q, self.thrust = setpoint.attitude, setpoint.thrust
        return True

    def arm(self, now: float) -> None:
        self.requests.append((now, "arm"))
        self.armed |= self.grants_arming

    def take_control(self, now: float) -> None:
        self.requests.append((now, "take control"))
        self.accepts |= self.grants_mode

    def hand_back(self, now: float) -> None:
        self.requests.append((now, "hand back"))
        self.accepts &= not self.landing_mode

    def disarm(self, now: float) -> None:
        self.requests.append((now, "disarm"))
        self.armed = False

    def preflight(self) -> Sequence[CheckResult]:
        return self.checks

    def quality(self) -> tuple[str, str]:
        return "200 messages/s", "no [round] trip"

    def close(self) -> None:
        self.closed = True


class SimulatedClock:
    """Time passes only where somebody waits."""

    def __init__(self, start: float = 100.0) -> None:
        self.t = start

    def now(self) -> float:
        return self.t

    def sleep_until(self, t: float) -> None:
        self.t = max(self.t, t)
