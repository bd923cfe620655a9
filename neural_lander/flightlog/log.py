"""The one shape in which every flight log reaches the learner."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from neural_lander.errors import UserError

if TYPE_CHECKING:
    import pandas

COLUMNS: Mapping[str, tuple[tuple[str, ...], str, str]] = {
    "t": ((), "s", ""),
    "position": (("x", "y", "z"), "m", "world"),
    "velocity": (("x", "y", "z"), "m/s", "world"),
    "attitude": (("w", "x", "y", "z"), "1", "body to world"),
    "body_rates": (("x", "y", "z"), "rad/s", "body"),
    "specific_force": (("x", "y", "z"), "m/s^2", "world"),
    "rotor_speed": (("1", "2", "3", "4"), "rad/s", ""),
    "rotor_command": (("1", "2", "3", "4"), "see rotor_command_unit", ""),
    "battery_voltage": ((), "V", ""),
    "height": ((), "m", "above terrain"),
    "f_a_applied": (("x", "y", "z"), "N", "world"),
    "position_reference": (("x", "y", "z"), "m", "world"),
    "guard_force": (("x", "y", "z"), "N", "world"),
}
"""Field -> (component names, unit, frame)."""

DERIVED_FROM = "derived_from"  # key in a log's metadata: the source that holds another flight than this one
IN_FILE = "flight_in_file"  # key in a log's metadata: which of a file's flights it is
REQUIRED = ("t", "position", "velocity", "attitude")
ROTOR_COMMAND_UNITS = ("rad/s", "pwm", "thrust")


@dataclass(frozen=True, eq=False)
class FlightLog:
    """One flight: N records in SI, world frame right-handed with z up. ``None`` where not logged."""

    t: np.ndarray  # (N,) s
    """Time since the first record, strictly increasing."""
    position: np.ndarray  # (N, 3) m
    """Of the point the log's estimator follows (taken as the centre of mass), world."""
    velocity: np.ndarray  # (N, 3) m/s
    """World."""
    attitude: np.ndarray  # (N, 4)
    """Unit quaternion (w, x, y, z), body to world, sign-continuous."""
    body_rates: np.ndarray | None = None  # (N, 3) rad/s
    """Body."""
    specific_force: np.ndarray | None = None  # (N, 3) m/s^2
    """Acceleration minus gravity, rotated into the world: +9.81 along z in hover."""
    rotor_speed: np.ndarray | None = None  # (N, 4) rad/s
    """Measured, not commanded. Rotors are in the profile's order, unless ``rotor_quadrants`` says otherwise."""
    rotor_command: np.ndarray | None = None  # (N, 4)
    """Commanded, in the unit of ``rotor_command_unit``."""
    battery_voltage: np.ndarray | None = None  # (N,) V
    """At the terminals."""
    height: np.ndarray | None = None  # (N,) m
    """Lowest point of the landing gear above the terrain, where it was measured."""
    f_a_applied: np.ndarray | None = None  # (N, 3) N
    """The residual estimate that the controller subtracted in flight, world."""
    position_reference: np.ndarray | None = None  # (N, 3) m
    """What the controller was asked to follow, world."""
    guard_force: np.ndarray | None = None  # (N, 3) N
    """What a guard added to the force that the controller asked for, world; 0 where it let it pass."""
    rotor_command_unit: str = "rad/s"
    """``rad/s``; ``pwm``, the signal to the motor as a fraction of full scale in 0..1; or ``thrust``, asked of the
    motor as a fraction of its largest in 0..1, of which no motor curve knows the signal."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """``format``, ``source``, and where known ``vehicle``, ``mass_kg``, ``seed``, ``height_error_m`` (standard
    deviation of the height in m), ``rotor_quadrants`` (see ``rotor_order``) ...; JSON values only."""
    warnings: tuple[str, ...] = ()
    """One sentence for everything that was lost or repaired while reading."""

    def __post_init__(self) -> None:
        where = f" in {self.source}" if self.source else ""
        for name in REQUIRED:
            if getattr(self, name) is None:
                raise UserError(f"flight log{where} lacks the required field '{name}' [{COLUMNS[name][1]}]")
        if np.ndim(self.t) != 1:
            raise UserError(f"field 't'{where} has shape {np.shape(self.t)}, expected one number for each record")
        n = len(self.t)
        if n < 2:
            raise UserError(f"flight log{where} holds {n} records; at least 2 are needed")
        for name, (components, *_) in COLUMNS.items():
            values = getattr(self, name)
            if values is None:
                continue
            shape = (n, len(components)) if components else (n,)
            if np.shape(values) != shape:
                raise UserError(f"field '{name}'{where} has shape {np.shape(values)}, expected {shape}")
            bad = ~np.isfinite(values)
            if bad.any():
                row = int(np.argwhere(bad)[0][0])
                raise UserError(
                    f"field '{name}'{where} holds {int(bad.sum())} values that are not finite, the first in record "
                    f"{row} (t = {float(self.t[row]):g} s): remove those records before reading the log"
                )
        if not np.all(np.diff(self.t) > 0):
            row = int(np.argmin(np.diff(self.t) > 0))
            raise UserError(f"time{where} does not increase at record {row + 1} (t = {self.t[row]:g} s)")
        if self.rotor_command_unit not in ROTOR_COMMAND_UNITS:
            raise UserError(f"rotor_command_unit '{self.rotor_command_unit}' is not one of {ROTOR_COMMAND_UNITS}")
        error = self.metadata.get("height_error_m")
        if error is not None and (isinstance(error, bool) or not isinstance(error, int | float) or not 0 <= error < 1):
            raise UserError(f"metadata{where}: height_error_m = {error!r} must be a number of m in [0, 1)")

    @property
    def source(self) -> str:
        """Where the log came from, for messages."""
        return str(self.metadata.get("source", ""))

    @property
    def path(self) -> str:
        """The file that it was read from; a file may hold several flights, each with a source of its own."""
        found = self.metadata.get(IN_FILE)
        return str(found["path"]) if found and found["source"] == self.source else self.source

    def as_flight(self, number: int, of: int) -> FlightLog:
        """The same, named as one of several flights in its file: ``x.BIN`` becomes ``x (flight 2 of 3).BIN``."""
        if not self.source:
            return self
        whole = Path(self.source)
        source = str(whole.with_name(f"{whole.stem} (flight {number} of {of}){whole.suffix}"))
        known = {"path": self.source, "source": source, "number": number, "of": of}
        return replace(self, metadata={**self.metadata, "source": source, IN_FILE: known})

    @property
    def duration(self) -> float:
        """Seconds between the first and the last record."""
        return float(self.t[-1] - self.t[0])

    @classmethod
    def from_arrays(cls, t: Any, position: Any, velocity: Any, attitude: Any, **fields: Any) -> FlightLog:
        """Build a log from anything NumPy can read: units, frames and shapes as the fields say.

        Time is shifted to start at zero, dates become seconds; quaternions are normalised and made sign-continuous.

        Raises
        ------
        UserError
            On a wrong shape, an unknown field, what is no number, time that does not increase, or values that are not
            finite.
        """
        known = set(cls.__dataclass_fields__)
        unknown = sorted(set(fields) - known)
        if unknown:
            raise UserError(f"unknown flight log field '{unknown[0]}'; known fields: {', '.join(sorted(known))}")
        given = {**fields, "t": t, "position": position, "velocity": velocity, "attitude": attitude}
        arrays: dict[str, Any] = {
            name: _seconds(values) if name == "t" else _numbers(name, values)
            for name, values in given.items()
            if name in COLUMNS and values is not None
        }
        rest = {name: value for name, value in fields.items() if name not in COLUMNS}
        rest["metadata"] = rest.get("metadata") or {}
        t, attitude = (arrays.get(name, np.empty(0)) for name in ("t", "attitude"))
        if t.ndim == 1 and len(t):
            arrays["t"] = t - t[0]
        if attitude.ndim == 2 and attitude.shape[-1] == 4 and len(attitude):
            arrays["attitude"] = continuous_quaternions(attitude, str(rest["metadata"].get("source", "")))
        return cls(**{**dict.fromkeys(REQUIRED), **arrays}, **rest)

    def where(self, chosen: Any) -> FlightLog:
        """The chosen records, ``(N,)`` bool, as a log whose time begins at the first of them; holes are left between.

        Raises
        ------
        UserError
            Where there is not one truth value for each record, or fewer than 2 are chosen.
        """
        mask = np.asarray(chosen)
        if mask.dtype != bool or mask.shape != self.t.shape:
            raise UserError(f"where() takes {len(self.t)} truth values, not {mask.dtype} of shape {mask.shape}")
        columns = {name: getattr(self, name)[mask] for name in COLUMNS if getattr(self, name) is not None}
        metadata = {**self.metadata, DERIVED_FROM: self.source}
        return replace(self, **{**columns, "t": columns["t"] - columns["t"][:1], "metadata": metadata})

    def to_dataframe(self) -> pandas.DataFrame:
        """One row per record; columns ``name_component``, units and frames in ``COLUMNS``."""
        import pandas

        columns: dict[str, np.ndarray] = {}
        for name, (components, _, _) in COLUMNS.items():
            values = getattr(self, name)
            if values is None:
                continue
            if not components:
                columns[name] = values
            for k, component in enumerate(components):
                columns[f"{name}_{component}"] = values[:, k]
        return pandas.DataFrame(columns)


def _numbers(name: str, values: Any) -> np.ndarray:
    """Real numbers as float64.

    Raises
    ------
    UserError
        On text, dates, complex numbers, or rows of different lengths.
    """
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise UserError(f"field '{name}' is no array: {error}") from error
    numbers = array.dtype.kind in "fiub" or (
        array.dtype.kind == "O" and all(isinstance(value, (Real, np.number)) for value in array.flat)
    )
    if not numbers:
        first = array.flat[0] if array.size else None
        raise UserError(f"field '{name}' holds '{first}' ({array.dtype}), expected numbers in {COLUMNS[name][1]}")
    return array.astype(np.float64)


def _seconds(values: Any) -> np.ndarray:
    """Times in s; dates and time spans, of NumPy, pandas or datetime, from the first."""
    array = np.asarray(values)
    if array.dtype.kind == "O" and array.size and isinstance(array.flat[0], (datetime, timedelta)):
        spans = [value - array.flat[0] for value in array.flat]
        return np.array([span.total_seconds() for span in spans], dtype=np.float64)
    if array.dtype.kind in "mM" and array.size:
        return np.asarray((array - array.flat[0]) / np.timedelta64(1, "s"), dtype=np.float64)
    return _numbers("t", values)


def continuous_quaternions(q: np.ndarray, source: str = "") -> np.ndarray:
    """Unit quaternions ``(N, 4)`` whose sign never flips from one record to the next, the first with w >= 0."""
    norm = np.linalg.norm(q, axis=-1)
    if np.any(norm < 0.5):
        row = int(np.argmax(norm < 0.5))
        where = f" in {source}" if source else ""
        raise UserError(
            f"field 'attitude'{where} has norm {norm[row]:.3g} in record {row}; a unit quaternion is needed"
        )
    norm[np.abs(norm - 1) < 1e-12] = 1.0  # normalising again would change the last bit of what was written
    q = q / norm[:, None]
    flips = np.where(np.sum(q[1:] * q[:-1], axis=-1) < 0, -1.0, 1.0)
    sign = np.concatenate([[-1.0 if q[0, 0] < 0 else 1.0], flips])
    return q * np.cumprod(sign)[:, None]
