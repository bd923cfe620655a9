"""A thrust calibration while somebody else hovers: reports in, a map out. Nothing is asked of the vehicle."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from firmware_bridge.estimation.height import HeightSource
from firmware_bridge.heard import Heard
from firmware_bridge.link import AltitudeReport, BatteryReport, ImuReport, PositionReport, Report, ThrottleReport
from firmware_bridge.thrust import HOVER_HEIGHT, HoverSamples, ThrustMap, calibrate
from neural_lander.errors import UserError
from neural_lander.vehicle import Vehicle

MOST_ROWS = 10_000  # 100 s at 100 Hz: a bound, whatever is asked for
PARTS = 4  # of the hover, whose results are compared
GAP = 0.5  # s without a throttle, after which the hover begins anew; a guess
OLD = 1.0  # s after which position or altitude say nothing of the present; a guess


@dataclass(frozen=True)
class Calibration:
    """What a hover came to."""

    map: ThrustMap
    seconds: float  # s
    fraction_deviation: float
    """Standard deviation of the fraction over the hover."""
    spread: float
    """Largest less smallest fraction for the weight that the parts of the hover give, over their mean."""
    speed: float  # m/s, mean; NaN where only the climb is known
    height: float  # m, mean
    height_source: str


@dataclass(frozen=True, eq=False)
class Row:
    """One sample of a hover."""

    t: float  # s
    fraction: float
    force: np.ndarray  # (3,) m/s^2, body
    velocity: np.ndarray  # (3,) m/s, world
    height: float  # m
    voltage: float | None  # V


class HoverCollector:
    """The last seconds of a hover.

    Parameters
    ----------
    vehicle : Vehicle
        For its mass.
    height : HeightSource
        Where it knows no ground, height is counted from where the vehicle stood, and without a position it is the
        barometer's: a metre or two above the ground is all that a calibration asks for.
    seconds : float
        Of hover to calibrate from.
    """

    def __init__(self, vehicle: Vehicle, height: HeightSource, seconds: float) -> None:
        self.heard = Heard(vehicle, height)
        self.state = "nothing has been heard yet; look at the port and its speed"
        """What is waited for, in words."""
        self._vehicle, self._seconds = vehicle, seconds
        self._rows: deque[Row] = deque(maxlen=MOST_ROWS)
        self._forces: list[np.ndarray] = []
        self._stood = math.nan  # m, z where it stood
        self._altitude: AltitudeReport | None = None
        self._positioned = -math.inf
        self._voltage: float | None = None
        self._source = ""
        self._throttle_at = -math.inf

    def take(self, reports: Sequence[Report], now: float) -> None:
        """Take in what came by time ``now`` in s."""
        self.heard.take(reports, now)
        for report in reports:
            if isinstance(report, ImuReport) and np.all(np.isfinite(report.specific_force)):
                self._forces = [*self._forces[-200:], report.specific_force]
            elif isinstance(report, BatteryReport) and report.voltage > 0:
                self._voltage = report.voltage
            elif isinstance(report, AltitudeReport):
                self._altitude = report
            elif isinstance(report, PositionReport):
                self._positioned = now
            elif isinstance(report, ThrottleReport):
                self._row(report, now)
        if self._rows and now - self._rows[-1].t > GAP:
            self._rows.clear()
        self.state = self._waits_for(now)

    @property
    def held(self) -> float:
        """s of uninterrupted hover so far."""
        return self._rows[-1].t - self._rows[0].t if self._rows else 0.0

    def result(self, believed: ThrustMap) -> Calibration:
        """The map from the last seconds; curves and exponent are those of ``believed``.

        Raises
        ------
        UserError
            Where it was no hover.
        """
        if self.held < self._seconds:
            raise UserError(f"{self.held:.0f} s of {self._seconds:g} s of hover so far: {self.state}")
        rows = [row for row in self._rows if row.t >= self._rows[-1].t - self._seconds]
        return calibration_of(rows, self._vehicle, believed, self._source)

    def _row(self, report: ThrottleReport, now: float) -> None:
        self._throttle_at = now
        height, velocity = self._where(now)
        armed = self.heard.status is not None and self.heard.status.armed
        if not armed or not height >= HOVER_HEIGHT or not self._forces:
            self._rows.clear()
            return
        force, self._forces = np.mean(self._forces, axis=0), []
        self._rows.append(Row(report.received, report.fraction, force, velocity, height, self._voltage))

    def _where(self, now: float) -> tuple[float, np.ndarray]:
        """Height in m, NaN where it is not known, and velocity in m/s; the best that there is."""
        view = self.heard.view(now)
        if view.estimate is not None and now - self._positioned < OLD:
            z = float(view.estimate.position[2])
            if self.heard.status is not None and not self.heard.status.armed:
                self._stood = z
            if view.state is not None and view.height_age < OLD and self.heard.height_source is not None:
                self._source = self.heard.height_source.name
                return float(view.state.height), view.estimate.velocity
            self._source = "the position, over where it stood"
            return z - (0.0 if math.isnan(self._stood) else self._stood), view.estimate.velocity
        if self._altitude is not None and now - self._altitude.received < OLD:
            self._source = "the barometer"
            return self._altitude.altitude, np.array([0.0, 0.0, self._altitude.climb])
        return math.nan, np.full(3, math.nan)

    def _waits_for(self, now: float) -> str:
        status = self.heard.status
        if status is None:
            return "nothing has been heard yet; look at the port and its speed"
        if now - self._throttle_at > OLD:
            return (
                "the autopilot does not tell the throttle that it flies by: MAVLink's ATTITUDE_TARGET, or over MSP a "
                "throttle stick in a mode that does not hold altitude"
            )
        if not status.armed:
            return "it is not armed: hover by hand, well above 1 m"
        if not self._forces and not self._rows:
            return "no accelerometer comes in; look at the streams"
        height, _ = self._where(now)
        if not height >= HOVER_HEIGHT:
            return f"at {height:.1f} m: hover above {HOVER_HEIGHT:g} m" if height == height else "no height is known"
        return f"hovering for {self.held:.0f} s"


def calibration_of(rows: Sequence[Row], vehicle: Vehicle, believed: ThrustMap, height_source: str) -> Calibration:
    """The map of a hover, and how steady it was. Raises UserError where it was none."""
    found = calibrate(_samples(rows), vehicle, believed)
    parts = [rows[k * len(rows) // PARTS : (k + 1) * len(rows) // PARTS] for k in range(PARTS)]
    needed = np.array([_of(part, vehicle, found).fraction(vehicle.weight) for part in parts])
    return Calibration(
        map=found,
        seconds=rows[-1].t - rows[0].t,
        fraction_deviation=float(np.std([row.fraction for row in rows])),
        spread=float(np.ptp(needed) / needed.mean()),
        speed=float(np.mean([np.linalg.norm(row.velocity) for row in rows])),
        height=float(np.mean([row.height for row in rows])),
        height_source=height_source,
    )


def _samples(rows: Sequence[Row]) -> HoverSamples:
    volts = [row.voltage for row in rows]
    return HoverSamples(
        t=np.array([row.t for row in rows]),
        fraction=np.array([row.fraction for row in rows]),
        specific_force=np.array([row.force for row in rows]),
        velocity=np.array([row.velocity for row in rows]),
        height=np.array([row.height for row in rows]),
        voltage=None if None in volts else np.array(volts, dtype=float),
    )


def _of(rows: Sequence[Row], vehicle: Vehicle, whole: ThrustMap) -> ThrustMap:
    """The map of a part of the hover, at the voltage of the whole: what battery explains is no spread."""
    samples = _samples(rows)
    thrust = vehicle.mass * float(samples.specific_force[:, 2].mean())
    volts = None if samples.voltage is None else float(samples.voltage.mean())
    at_its_voltage = replace(
        whole, hover_fraction=float(samples.fraction.mean()), hover_thrust=thrust, hover_voltage=volts
    )
    if volts is None or whole.hover_voltage is None:
        return at_its_voltage
    return replace(
        at_its_voltage,
        hover_voltage=whole.hover_voltage,
        hover_thrust=at_its_voltage.thrust(at_its_voltage.hover_fraction, whole.hover_voltage),
    )
