"""Collective thrust in newtons to the autopilot's fraction and back.

What lies between: the autopilot turns a fraction f into a motor signal s by the curve it believes in,
(1 - k) s + k s^2 = f (ArduPilot's MOT_THST_EXPO, PX4's THR_MDL_FAC), and the motors turn the signal into thrust,
T = T_1 ((1 - a) s + a s^2) (V/V_0)^p with the curve a that they have. Where k = a, thrust is proportional to f. T_1 is
known from hover: the fraction that carried the weight, at the voltage of that time.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from neural_lander.errors import UserError
from neural_lander.vehicle import GRAVITY, Vehicle

VOLTAGE_EXPONENT = 2.0
"""Rotor speed goes with voltage and thrust with its square: the ideal, of a motor without resistance."""
HOVER_SECONDS = 3.0  # s of hover that a calibration needs; a guess
HOVER_HEIGHT = 1.0  # m above which the ground no longer helps (design: trim is identified there)
HOVER_SPEED = 0.3  # m/s, mean; a guess
HOVER_ACCELERATION = 0.02  # of g, mean along body z: the calibration's own error
HOVER_SHAKE = 0.15  # of g, standard deviation; a guess
HOVER_TILT = 0.1  # of g along body x and y, mean; 6 degrees
HOVER_FRACTION_SPREAD = 0.1  # of the mean fraction, standard deviation; a guess


class Thrusts(Protocol):
    """From newtons to the autopilot's fraction; :class:`ThrustMap` is one."""

    def fraction(self, thrust: float, voltage: float | None = None) -> float:
        """Throttle fraction for a thrust in N at a battery voltage in V."""
        ...


@dataclass(frozen=True)
class ThrustMap:
    """See the module. Fractions are 0..1 of what the autopilot calls full thrust."""

    hover_fraction: float
    hover_thrust: float  # N
    """Thrust at ``hover_fraction`` and ``hover_voltage``."""
    hover_voltage: float | None = None  # V
    """None: the voltage of that time is not known, and none is corrected for."""
    autopilot_curve: float = 0.0
    """k, 0..1; 0 where the autopilot passes the fraction on as it is."""
    motor_curve: float = 0.0
    """a, 0..1. Equal to k it says that the autopilot's belief is right."""
    voltage_exponent: float = VOLTAGE_EXPONENT
    """p; 0 where the autopilot itself corrects for the battery."""

    def __post_init__(self) -> None:
        """Refuse what no vehicle has."""
        for name, low, high in (
            ("hover_fraction", 0.0, 1.0),
            ("hover_thrust", 0.0, 1e5),
            ("autopilot_curve", -1e-9, 1.0),
            ("motor_curve", -1e-9, 1.0),
            ("voltage_exponent", -1e-9, 4.0),
        ):
            value = getattr(self, name)
            if not (math.isfinite(value) and low < value <= high):
                raise UserError(f"thrust map: {name} = {value!r} must be in ({max(low, 0.0):g}, {high:g}]")
        if self.hover_voltage is not None and not 0 < self.hover_voltage < 1000:
            raise UserError(f"thrust map: hover_voltage = {self.hover_voltage!r} V must be positive")

    def fraction(self, thrust: float, voltage: float | None = None) -> float:
        """Fraction for a thrust in N >= 0 at a battery voltage in V; above 1 where the motors cannot give it."""
        share = thrust / (self._full_thrust * self._voltage_gain(voltage))
        return share_of(signal_of(share, self.motor_curve), self.autopilot_curve)

    def thrust(self, fraction: float, voltage: float | None = None) -> float:
        """Thrust in N of a fraction >= 0 at a battery voltage in V; the inverse of :meth:`fraction`."""
        share = share_of(signal_of(fraction, self.autopilot_curve), self.motor_curve)
        return share * self._full_thrust * self._voltage_gain(voltage)

    def to_json(self) -> str:
        """To be kept between flights; :func:`thrust_map_from_json` reads it."""
        return json.dumps({key: getattr(self, name) for key, name in KEYS.items()}, indent=2) + "\n"

    @property
    def _full_thrust(self) -> float:
        """T_1 in N, at ``hover_voltage``."""
        return self.hover_thrust / share_of(signal_of(self.hover_fraction, self.autopilot_curve), self.motor_curve)

    def _voltage_gain(self, voltage: float | None) -> float:
        if voltage is None or self.hover_voltage is None or not voltage > 0:
            return 1.0
        return float((voltage / self.hover_voltage) ** self.voltage_exponent)


KEYS = {
    "hover_fraction": "hover_fraction",
    "hover_thrust_N": "hover_thrust",
    "hover_voltage_V": "hover_voltage",
    "autopilot_curve": "autopilot_curve",
    "motor_curve": "motor_curve",
    "voltage_exponent": "voltage_exponent",
}
"""Of the JSON, with the unit -> field."""


def thrust_map_from_json(text: str, source: str) -> ThrustMap:
    """The map that :meth:`ThrustMap.to_json` wrote; ``source`` is named in errors.

    Raises
    ------
    UserError
        Where it is not JSON, lacks or adds a key, or holds what no vehicle has.
    """
    try:
        read = json.loads(text)
    except ValueError as error:
        raise UserError(f"thrust calibration {source} is not valid JSON: {error}") from error
    if not isinstance(read, dict) or set(read) != set(KEYS):
        raise UserError(f"thrust calibration {source} must have exactly the keys {', '.join(KEYS)}; calibrate anew")
    for key, value in read.items():
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number and not (value is None and key == "hover_voltage_V"):
            raise UserError(f"thrust calibration {source}: {key} = {value!r} must be a number; calibrate anew")
    return ThrustMap(**{KEYS[key]: value for key, value in read.items()})


def share_of(signal: float, curve: float) -> float:
    """(1 - e) s + e s^2, the share of full thrust for a signal s to the motors; ``curve`` is e."""
    return (1 - curve) * signal + curve * signal * signal


def signal_of(share: float, curve: float) -> float:
    """Inverse of :func:`share_of` for share >= 0."""
    if curve < 1e-9 or share == 0:
        return share
    b = 1 - curve
    return 2 * share / (b + math.sqrt(b * b + 4 * curve * share))


@dataclass(frozen=True, eq=False)
class HoverSamples:
    """What a calibration is made from; N samples of one hover."""

    t: np.ndarray  # (N,) s
    fraction: np.ndarray  # (N,) as sent to the autopilot or read back from it
    specific_force: np.ndarray  # (N, 3) m/s^2, body
    velocity: np.ndarray  # (N, 3) m/s, world
    height: np.ndarray  # (N,) m above the ground
    voltage: np.ndarray | None = None  # (N,) V


def calibrate(samples: HoverSamples, vehicle: Vehicle, believed: ThrustMap) -> ThrustMap:
    """The map whose hover is the one that was flown; its curves and its exponent are those of ``believed``.

    Mean thrust is m times mean specific force along body z, whatever small vertical acceleration was left. Without a
    voltage in the samples, none is corrected for.

    Raises
    ------
    UserError
        Where the samples are not hover: too short, too low, moving, tilted, shaken or with the thrust swinging.
    """
    fraction, force = np.asarray(samples.fraction, dtype=float), np.asarray(samples.specific_force, dtype=float)
    columns = [samples.t, fraction, force, samples.velocity, samples.height]
    columns += [] if samples.voltage is None else [samples.voltage]
    if not all(np.all(np.isfinite(column)) for column in columns):
        raise UserError("hover samples hold values that are not finite; leave those samples out")
    seconds = float(np.ptp(samples.t)) if len(fraction) else 0.0
    if seconds < HOVER_SECONDS:
        raise UserError(f"hover samples span {seconds:.1f} s; hover for at least {HOVER_SECONDS:g} s")
    along_z = force[:, 2] / GRAVITY
    speed = float(np.linalg.norm(samples.velocity, axis=-1).mean())
    for finding, measured, limit, unit in (
        ("the mean vertical acceleration is", abs(float(along_z.mean()) - 1), HOVER_ACCELERATION, "g"),
        ("the vertical acceleration swings by", float(along_z.std()), HOVER_SHAKE, "g"),
        ("the tilt pulls by", float(np.linalg.norm(force[:, :2].mean(axis=0))) / GRAVITY, HOVER_TILT, "g"),
        ("the mean speed is", speed, HOVER_SPEED, "m/s"),
        ("the fraction swings by", float(fraction.std() / max(fraction.mean(), 1e-9)), HOVER_FRACTION_SPREAD, "of it"),
    ):
        if measured > limit:
            raise UserError(
                f"this is no hover: {finding} {measured:.3g} {unit}, at most {limit:g} is taken; hover still"
            )
    low = float(np.min(samples.height))
    if low < HOVER_HEIGHT:
        raise UserError(
            f"hover samples begin at a height of {low:.2f} m; hover above {HOVER_HEIGHT:g} m, off the ground"
        )
    return replace(
        believed,
        hover_fraction=float(fraction.mean()),
        hover_thrust=vehicle.mass * float(force[:, 2].mean()),
        hover_voltage=None if samples.voltage is None else float(np.mean(samples.voltage)),
    )
