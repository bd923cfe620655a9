"""Which column of a foreign table is which component of a flight log, in which unit and frame.

A map is a TOML or JSON file::

    world = "NED"            # or "ENU", the default; see below
    quaternion = "xyzw"      # order of a list of attitude columns; default "wxyz"
    decimal = ","            # default "."

    [columns]
    t = { column = "time", unit = "ms" }
    position = { columns = ["x", "y", "z"], unit = "mm" }
    velocity = ["vx", "vy", "vz"]                            # SI where no unit is given; differentiated where missing
    attitude = ["qx", "qy", "qz", "qw"]
    rotor_command = { columns = ["m1", "m2", "m3", "m4"], unit = "pwm", scale = 1.52587890625e-5 }
    # pulses of 1000 to 2000 us: rotor_command = { columns = [...], unit = "pwm", offset = -1000, scale = 1e-3 }
    height = { column = "sonar_down", unit = "cm", scale = -1 }
    # instead of attitude: euler = { columns = ["roll", "pitch", "yaw"], unit = "deg" }
    accelerometer = { columns = ["ax", "ay", "az"], unit = "g" }   # in body axes, turned into specific_force
    battery_voltage = "volts"
    # components one by one work as well: position_x = "north"

Rotors are to stand in the order of the vehicle's profile.

``offset`` is added to the column's number, ``scale`` multiplies the sum, then its unit applies.

``euler``: turned by yaw about z, then by pitch about the new y, then by roll about the new x, in the frames of
``world``. So pitch counts nose up under ``NED`` and nose down under ``ENU``; a log that has it the other way round
needs ``euler_pitch = { column = "pitch", unit = "deg", scale = -1 }`` and the others one by one, too.

A cell may be empty where a source is slower than the table: see :func:`~neural_lander.flightlog.csv_columns.read_csv`.

``ENU``: world z up, body x forward, y left, z up. ``NED``: world x north, y east, z down and body x forward, y right, z
down, both converted.
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from neural_lander.errors import UserError
from neural_lander.flightlog.log import COLUMNS
from neural_lander.flightlog.units import UNITS, si_unit

WORLDS = ("ENU", "NED")
QUATERNION_ORDERS = ("wxyz", "xyzw")
DECIMALS = (".", ",")
KEYS = ("world", "quaternion", "decimal", "columns")
COLUMN_MAP = "column_map"
"""Metadata: the map that a table was read with, as :meth:`ColumnMap.to_json` gives it."""
ENTRY_KEYS = ("column", "columns", "unit", "offset", "scale")


EULER, ACCELEROMETER = "euler", "accelerometer"
FIELDS: Mapping[str, tuple[tuple[str, ...], str, str]] = {
    **COLUMNS,
    EULER: (("roll", "pitch", "yaw"), UNITS[EULER], "body to world"),
    ACCELEROMETER: (("x", "y", "z"), UNITS[ACCELEROMETER], "body"),
}
"""What a map may name: the fields of a log, and what attitude and specific force are made of."""
UNIT_NEEDED: Mapping[str, tuple[str, str]] = {"rotor_command": ("rad/s", "pwm"), EULER: ("rad", "deg")}
"""Fields whose unit no table lets one guess, and examples of it."""


def component_names(field: str) -> tuple[str, ...]:
    """Column names of a field as :meth:`FlightLog.to_dataframe` has them."""
    components = FIELDS[field][0]
    return tuple(f"{field}_{c}" for c in components) if components else (field,)


FIELD_OF: Mapping[str, str] = {name: field for field in FIELDS for name in component_names(field)}
"""Component name -> field."""


@dataclass(frozen=True)
class Column:
    """Where one component is found."""

    name: str
    """Of the column, as the header has it."""
    factor: float
    """From the stored number to ``unit``."""
    unit: str
    """SI, or ``pwm``."""
    offset: float = 0.0
    """Added to the stored number, before the factor."""


@dataclass(frozen=True)
class ColumnMap:
    """Columns of a table by component name (``position_x``), and the frames that they are in."""

    columns: Mapping[str, Column]
    world: str = "ENU"
    decimal: str = "."

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> ColumnMap:
        """Map from a TOML or JSON file.

        Raises
        ------
        UserError
            Where the file cannot be read or is no valid map.
        """
        try:
            text = Path(path).read_text("utf-8-sig")
            table = json.loads(text) if text.lstrip().startswith("{") else tomllib.loads(text)
        except OSError as error:
            raise UserError(f"column map {path} cannot be read: {error.strerror}") from error
        except ValueError as error:
            raise UserError(f"column map {path} is neither valid TOML nor JSON: {error}") from error
        return cls.from_table(table, f"column map {path}")

    @classmethod
    def from_table(cls, table: Mapping[str, Any], where: str = "column map") -> ColumnMap:
        """Map from the nested form that the module describes; ``where`` begins every error message."""
        unknown = sorted(set(table) - set(KEYS))
        if unknown:
            raise UserError(f"{where}: unknown key '{unknown[0]}'; known keys: {', '.join(KEYS)}")
        world = _choice(table, "world", WORLDS, where)
        order = _choice(table, "quaternion", QUATERNION_ORDERS, where)
        entries = table.get("columns")
        if not isinstance(entries, Mapping):
            raise UserError(f"{where}: the table 'columns' is missing: it names a column for each component")
        columns: dict[str, Column] = {}
        for key, entry in entries.items():
            columns.update(_entry(key, entry, order, where))
        return cls(columns, world, _choice(table, "decimal", DECIMALS, where))

    def to_json(self) -> dict[str, Any]:
        """What a log's metadata keeps under ``COLUMN_MAP``, so that its file can be read again."""
        return asdict(self)

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> ColumnMap:
        """Inverse of :meth:`to_json`. Raises UserError where it is none."""
        try:
            columns = {str(name): Column(**column) for name, column in kept["columns"].items()}
            return cls(columns, str(kept["world"]), str(kept["decimal"]))
        except (LookupError, TypeError, AttributeError) as error:
            raise UserError(f"{COLUMN_MAP} = {kept!r} of a log is no column map") from error


def _choice(table: Mapping[str, Any], key: str, allowed: tuple[str, ...], where: str) -> str:
    value = table.get(key, allowed[0])
    if value not in allowed:
        raise UserError(f"{where}: {key} = {value!r} is not one of: {', '.join(allowed)}")
    return str(value)


def _entry(key: str, entry: Any, order: str, where: str) -> dict[str, Column]:
    """Columns that one line of the map names: of a component, or of all components of a field."""
    field = FIELD_OF.get(key, key)
    if field not in FIELDS:
        raise UserError(f"{where}: unknown component '{key}'{_hint(key)}; known: {', '.join(FIELD_OF)}")
    table = entry if isinstance(entry, Mapping) else {"column" if isinstance(entry, str) else "columns": entry}
    unknown = sorted(set(table) - set(ENTRY_KEYS))
    if unknown:
        raise UserError(f"{where}: {key} has the unknown key '{unknown[0]}'; known keys: {', '.join(ENTRY_KEYS)}")
    targets = [key] if key in FIELD_OF else list(component_names(key))
    if key == "attitude":
        targets = [f"attitude_{c}" for c in order]
    names = [table["column"]] if "column" in table else table.get("columns")
    if not isinstance(names, list) or len(names) != len(targets) or not all(isinstance(n, str) for n in names):
        raise UserError(f"{where}: {key} needs the names of {len(targets)} columns, found {names!r}")
    scale = table.get("scale", 1.0)
    if isinstance(scale, bool) or not isinstance(scale, (int, float)) or not 0 < abs(scale) < float("inf"):
        raise UserError(f"{where}: {key} has scale = {scale!r}, expected a number that is not zero")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UserError(f"{where}: {key} names the column '{twice[0]}' twice: each component has one of its own")
    offset = table.get("offset", 0.0)
    if isinstance(offset, bool) or not isinstance(offset, (int, float)) or not abs(offset) < float("inf"):
        raise UserError(f"{where}: {key} has offset = {offset!r}, expected a number")
    default = "" if field in UNIT_NEEDED else FIELDS[field][1]
    unit, factor = si_unit(field, str(table.get("unit", default)), f"{where}, {key}")
    columns = zip(targets, names, strict=True)
    return {target: Column(name, factor * float(scale), unit, float(offset)) for target, name in columns}


def _hint(key: str) -> str:
    """What is often meant by a name that is none."""
    if key in KEYS:
        return f": '{key}' belongs above [columns]"
    if key in ("roll", "pitch", "yaw", "rpy"):
        return ': angles are named together, euler = { columns = ["roll", "pitch", "yaw"], unit = "deg" }'
    return ""
