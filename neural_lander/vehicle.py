"""The vehicle: mass, inertia, rotors, landing gear and motor curve, read from a profile in TOML.

A profile names the unit and the source of every constant (``{ value = 1.47, unit = "kg", source = "..." }``).
A key that is not known, a unit that is not the expected one, or a value outside its range is refused.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from neural_lander.arrays import Array, constant, namespace
from neural_lander.errors import NeuralLanderWarning, UserError, why_unread
from neural_lander.motor_curve import PwmVoltageCurve
from neural_lander.profile_values import array, number, numbers, scalar
from neural_lander.scoring_table import ScoringTable

GRAVITY = 9.81  # m/s^2, the value that the label of the real logs is defined with
G_VECTOR = np.array([0.0, 0.0, -GRAVITY])  # m/s^2, world
GEAR_FRICTION = 0.8  # of rubber feet on a hard floor, in every simulated world; guess


@dataclass(frozen=True, eq=False)
class Vehicle:
    """A quadrotor. Body frame x forward, y left, z up, origin in the nominal centre of mass; SI."""

    name: str
    mass: float  # kg
    inertia: np.ndarray  # (3,) kg m^2
    """Principal moments about the body axes."""
    rotor_positions: np.ndarray  # (4, 3) m
    """Rotor hubs, body."""
    rotor_directions: np.ndarray  # (4,)
    """+1 where the rotor turns counter-clockwise seen from above; its reaction torque is then along -z."""
    rotor_radius: float  # m
    thrust_coefficient: float  # N/(rad/s)^2
    """c_T in T_i = c_T u_i, u_i = n_i^2."""
    torque_ratio: float  # m
    """Reaction torque of a rotor divided by its thrust."""
    rotor_speed_max: float  # rad/s
    motor_time_constant: float  # s
    """First-order lag from commanded to produced thrust."""
    gear_points: np.ndarray  # (K, 3) m
    """Lowest points of the landing gear, body."""
    motor_curve: PwmVoltageCurve | None = None
    """From PWM and battery voltage to thrust, where logs hold PWM and no rotor speed."""
    scoring: ScoringTable | None = None
    """By which rule a known data set of this vehicle is scored; without one the rule follows from the geometry."""
    contact_height: float = 0.0  # m
    """Logged height below which the vehicle may touch the floor, measured at the point the log follows."""
    text: str = field(default="", repr=False)
    """The profile it was read from, carried along into bundles."""

    @cached_property
    def B0(self) -> np.ndarray:
        """(4, 4) map from u = n^2 to (T, tau_x, tau_y, tau_z): collective thrust in N, moments in N m, body."""
        c_T, x, y = self.thrust_coefficient, self.rotor_positions[:, 0], self.rotor_positions[:, 1]
        return c_T * np.stack([np.ones(4), y, -x, -self.rotor_directions * self.torque_ratio])

    @cached_property
    def B0_inverse(self) -> np.ndarray:
        """(4, 4) map from (T, tau) to u."""
        return np.linalg.inv(self.B0)

    @cached_property
    def thrust_direction(self) -> np.ndarray:
        """(4,) rotor thrusts per collective thrust, c_T B0^-1 e_1, in N/N: a quarter each on a quadrotor."""
        return np.asarray(self.thrust_coefficient * self.B0_inverse[:, 0])

    @cached_property
    def u_max(self) -> float:
        """Largest u = n^2 of one rotor, (rad/s)^2."""
        return self.rotor_speed_max**2

    @cached_property
    def full_rotor_thrust(self) -> float:
        """Thrust in N of one rotor at its fastest."""
        return self.thrust_coefficient * self.u_max

    @cached_property
    def full_thrust(self) -> float:
        """Collective thrust in N of four rotors at their fastest."""
        return 4 * self.full_rotor_thrust

    @cached_property
    def weight(self) -> float:
        """m g in N."""
        return self.mass * GRAVITY

    @cached_property
    def hover_speed(self) -> float:
        """Rotor speed in rad/s at which four rotors carry the weight out of ground effect."""
        return float(np.sqrt(self.weight / (4 * self.thrust_coefficient)))

    @cached_property
    def gear_clearance(self) -> float:
        """Height of the centre of mass in m when the level vehicle stands on its gear."""
        return float(-self.gear_points[:, 2].min())

    @cached_property
    def hubs(self) -> list[list[float]]:
        """``rotor_positions`` as plain numbers in m, for arithmetic on one rotor after the other."""
        positions: list[list[float]] = self.rotor_positions.tolist()
        return positions

    @cached_property
    def hub_distances(self) -> tuple[float, float]:
        """Mean distance in m of adjacent and of opposite rotor hubs."""
        hubs = self.rotor_positions
        distances = np.sort(np.linalg.norm(hubs[:, None] - hubs[None], axis=-1), axis=-1)
        return float(distances[:, 1:3].mean()), float(distances[:, 3].mean())

    def lowest_point(self, position: Array, R: Array) -> Array:
        """World z of the lowest gear point, ``(..., 3), (..., 3, 3) -> (...)``, m."""
        drop = R[..., 2, :] @ constant(np.ascontiguousarray(self.gear_points.T), position)
        return position[..., 2] + namespace(position).min(drop, axis=-1)

    @cached_property
    def sha256(self) -> str:
        """Hash of every number that the control law or the certificate depends on."""
        numbers = [
            np.atleast_1d(np.asarray(getattr(self, name), dtype="<f8"))
            for name in (*_SCALARS, *_ARRAYS)
        ]  # fmt: skip
        return hashlib.sha256(b"".join(n.tobytes() for n in numbers)).hexdigest()

    def with_(self, **changes: Any) -> Vehicle:
        """A copy with other values, e.g. ``vehicle.with_(mass=1.6)``; the profile text no longer applies.

        Changes that are possible only together, as a heavier vehicle with stronger rotors, come in one call.

        Raises
        ------
        UserError
            Where a field is not known, or its value is none that a profile may have.
        """
        known = {f.name for f in fields(self)} - {"text"}
        for name, value in changes.items():
            if name not in known:
                raise UserError(f"a vehicle has no '{name}'; it has: {', '.join(sorted(known))}")
            if name in _SCALARS:
                number(name, value, *_SCALARS[name])
            elif name in _ARRAYS:
                changes[name] = numbers(name, value, *_ARRAYS[name])
        vehicle = replace(self, text="", **changes)
        _check(vehicle)
        return vehicle


# key in the profile -> (unit, lower bound exclusive, upper bound)
_SCALARS: Mapping[str, tuple[str, float, float]] = {
    "mass": ("kg", 0.0, 1000.0),
    "rotor_radius": ("m", 0.0, 10.0),
    "thrust_coefficient": ("N s^2/rad^2", 0.0, 1.0),
    "torque_ratio": ("m", 0.0, 1.0),
    "rotor_speed_max": ("rad/s", 0.0, 1e5),
    "motor_time_constant": ("s", 0.0, 1.0),
}
# key -> (unit, shape with None for any, bound on the magnitude)
_ARRAYS: Mapping[str, tuple[str, tuple[int | None, ...], float]] = {
    "inertia": ("kg m^2", (3,), 1e4),
    "rotor_positions": ("m", (4, 3), 10.0),
    "rotor_directions": ("1", (4,), 1.0),
    "gear_points": ("m", (None, 3), 10.0),
}
_CONTACT_HEIGHT = ("m", -1e-9, 10.0)
MOST_THRUST = 20.0  # times the weight; racing quadrotors reach 14; a guess
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")  # it becomes part of file names
_OPTIONAL = ("contact_height", "motor_curve", "scoring", "description")


def builtin_vehicles() -> list[str]:
    """Names of the profiles that come with the package."""
    folder = resources.files("neural_lander") / "vehicles"
    return sorted(p.name.removesuffix(".toml") for p in folder.iterdir() if p.name.endswith(".toml"))


def load_vehicle(name_or_path: str | Path) -> Vehicle:
    """Vehicle from the name of a built-in profile or from the path of a user's own.

    Raises
    ------
    UserError
        If there is no such profile, or something in it is missing, unknown, in another unit or out of range.

    Warns
    -----
    NeuralLanderWarning
        Where a number of a user's own profile is unlike any quadrotor's.
    """
    path = Path(name_or_path)
    if str(name_or_path) in builtin_vehicles():
        return parse_vehicle(
            (resources.files("neural_lander") / "vehicles" / f"{name_or_path}.toml").read_text("utf-8"),
            str(name_or_path),
        )
    if not path.is_file():
        raise UserError(f"vehicle '{name_or_path}' is neither a file nor one of: {', '.join(builtin_vehicles())}")
    try:
        text = path.read_text("utf-8-sig")  # without the mark that Windows puts first: bundles keep the text
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"vehicle file {path} cannot be read: {why_unread(error)}") from error
    vehicle = parse_vehicle(text, str(path))
    for doubt in _doubts(vehicle):
        warnings.warn(f"vehicle file {path}: {doubt}", NeuralLanderWarning, stacklevel=2)
    return vehicle


def _doubts(vehicle: Vehicle) -> Iterator[str]:
    """What no rule of physics forbids, and no quadrotor has: a number in another unit than it says."""
    ratio = vehicle.full_thrust / vehicle.weight
    if ratio > MOST_THRUST:
        yield (
            f"rotor_speed_max = {vehicle.rotor_speed_max:g} rad/s gives {ratio:.0f} times the weight in thrust: is it "
            "in rpm, or thrust_coefficient per rpm^2?"
        )
    apart = vehicle.hub_distances[0]
    if 2 * vehicle.rotor_radius > apart:
        yield (
            f"rotor_radius = {vehicle.rotor_radius:g} m makes the discs of adjacent rotors, whose hubs are {apart:.3g} "
            "m apart, overlap: is it the diameter?"
        )
    arm = float(np.linalg.norm(vehicle.rotor_positions[:, :2], axis=1).max())
    gyration = float(np.sqrt(vehicle.inertia.max() / vehicle.mass))
    if gyration > arm:
        yield (
            f"inertia = {vehicle.inertia.tolist()} kg m^2 is that of the whole mass {gyration:.3g} m off the axis, "
            f"further than the rotors ({arm:.3g} m): is it in g cm^2?"
        )


def parse_vehicle(text: str, source: str) -> Vehicle:
    """Vehicle from the text of a profile; ``source`` is named in errors."""
    try:
        profile = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"vehicle file {source} is not valid TOML: {error}") from error
    known = {"name", *_SCALARS, *_ARRAYS, *_OPTIONAL}
    unknown = sorted(set(profile) - known)
    if unknown:
        raise UserError(f"vehicle file {source}: unknown key '{unknown[0]}'; known keys: {', '.join(sorted(known))}")
    missing = [key for key in ("name", *_SCALARS, *_ARRAYS) if key not in profile]
    if missing:
        raise UserError(f"vehicle file {source}: missing key '{missing[0]}'")
    values: dict[str, Any] = {"name": str(profile["name"])}
    for key, (unit, low, high) in _SCALARS.items():
        values[key] = scalar(profile, key, unit, low, high, source)
    for key, (unit, shape, bound) in _ARRAYS.items():
        values[key] = array(profile, key, unit, shape, bound, source)
    if "contact_height" in profile:
        values["contact_height"] = scalar(profile, "contact_height", *_CONTACT_HEIGHT, source)
    if "motor_curve" in profile:
        values["motor_curve"] = PwmVoltageCurve.from_profile(profile["motor_curve"], source)
    if "scoring" in profile:
        values["scoring"] = ScoringTable.from_profile(profile["scoring"], source)
    vehicle = Vehicle(**values, text=text)
    _check(vehicle, f"vehicle file {source}: ")
    return vehicle


def _check(vehicle: Vehicle, where: str = "") -> None:
    """Refuse what is in range each and belongs to no quadrotor together; errors begin with ``where``."""
    if not isinstance(vehicle.name, str) or not _NAME.fullmatch(vehicle.name):
        raise UserError(f"{where}name = {vehicle.name!r} must be letters, digits, '.', '_' and '-'")
    number("contact_height", vehicle.contact_height, *_CONTACT_HEIGHT, where)
    for name, kind in (("motor_curve", PwmVoltageCurve), ("scoring", ScoringTable)):
        if not isinstance(getattr(vehicle, name), kind | None):
            raise UserError(f"{where}{name} must be a {kind.__name__} or None, not {getattr(vehicle, name)!r}")
    J = np.sort(vehicle.inertia)
    if J[0] <= 0:
        raise UserError(f"{where}inertia = {vehicle.inertia.tolist()} kg m^2 must be positive")
    if J[2] > J[0] + J[1]:
        raise UserError(
            f"{where}inertia = {J.tolist()} kg m^2 is of no rigid body: the largest exceeds the sum of the others"
        )
    if not np.all(np.abs(vehicle.rotor_directions) == 1):
        raise UserError(f"{where}rotor_directions = {vehicle.rotor_directions.tolist()} must be +1 or -1")
    heights = vehicle.gear_points[:, 2]
    if np.any(heights >= 0):
        raise UserError(f"{where}gear_points have z = {heights.tolist()} m; the gear must be below z = 0")
    if np.linalg.cond(vehicle.B0 / vehicle.thrust_coefficient) > 1e6:
        raise UserError(
            f"{where}rotor_positions and rotor_directions leave an axis without control: B0 is "
            "singular. Opposite rotors turn alike, and adjacent ones against each other: is a position at the wrong "
            "place in its list?"
        )
    if np.any(vehicle.thrust_direction <= 0):
        shares = vehicle.thrust_direction.round(3).tolist()
        raise UserError(f"{where}rotor_positions cannot hover level: the rotors' shares of thrust are {shares}")
    if vehicle.hover_speed >= vehicle.rotor_speed_max:
        raise UserError(
            f"{where}rotor_speed_max = {vehicle.rotor_speed_max:g} rad/s cannot carry "
            f"mass = {vehicle.mass:g} kg: hover needs {vehicle.hover_speed:.0f} rad/s"
        )
