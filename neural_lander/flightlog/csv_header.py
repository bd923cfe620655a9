"""The header of a table: which of its columns holds which component of a log, in which unit."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from neural_lander.errors import UserError
from neural_lander.flightlog.column_map import (
    ACCELEROMETER,
    EULER,
    FIELD_OF,
    FIELDS,
    UNIT_NEEDED,
    Column,
    ColumnMap,
    component_names,
)
from neural_lander.flightlog.units import si_unit

OURS = ("t [s]", "position_x [m]")  # as we write them, and hardly anybody else
NEEDED = ("t", "position", "attitude")
_HEADING = re.compile(r"\s*(\w+)\s*(?:\[([^\]]*)\])?\s*")


def passes_over(column_map: ColumnMap, header: Sequence[str]) -> bool:
    """Whether the table is one of ours among others, which the map is about and it is not."""
    return set(OURS) <= set(header) and any(column.name not in header for column in column_map.columns.values())


def own_columns(header: Sequence[str], source: str) -> dict[str, Column]:
    """Columns that our own header names; others are passed over."""
    matches = [_HEADING.fullmatch(heading) for heading in header]
    named = {match[1] for match in matches if match}
    angles_too = named.issuperset(component_names("attitude"))  # they say the same as the quaternion
    columns = {}
    for heading, match in zip(header, matches, strict=True):
        field = FIELD_OF.get(match[1]) if match else None
        if match is None or field is None or (field == EULER and angles_too):
            continue
        unit = match[2]
        if unit is None:
            if field in UNIT_NEEDED:
                written = " or ".join(f"'{heading} [{unit}]'" for unit in UNIT_NEEDED[field])
                raise UserError(f"{source}: column '{heading}' has no unit: write {written}")
            unit = FIELDS[field][1]
        si, factor = si_unit(field, unit.strip(), f"{source}, column '{heading}'")
        columns[match[1]] = Column(heading, factor, si)
    return columns


def require_whole_fields(columns: Mapping[str, Column], own: bool, source: str) -> None:
    """Raise UserError unless every needed field is there, and every field with all its components."""
    remedy = "add it to the column map"
    if own:
        remedy = "add it, or give a column map that names the columns (--columns); for --mocap it is --mocap-columns"
    angles = any(name in columns for name in component_names(EULER))
    if angles and any(name in columns for name in component_names("attitude")):
        raise UserError(f"{source}: attitude is given as quaternion and as Euler angles: leave one out")
    felt = (component_names(field)[0] in columns for field in ("specific_force", ACCELEROMETER))
    if all(felt):
        raise UserError(f"{source}: specific_force (world axes) and accelerometer (body axes) are given: leave one out")
    for field in FIELDS:
        names = component_names(field)
        missing = [name for name in names if name not in columns]
        needed = field in NEEDED and not (field == "attitude" and angles)
        if missing and (needed or len(missing) < len(names)):
            raise UserError(f"{source}: the log lacks the needed field '{missing[0]}' ({FIELDS[field][1]}): {remedy}")


def column_index(name: str, header: Sequence[str], source: str) -> int:
    """Where a column stands; UserError unless the header has it once."""
    count = header.count(name)
    if count != 1:
        found = "is missing" if not count else f"is there {count} times"
        raise UserError(f"{source}: column '{name}' {found}; the header has: {', '.join(header)}")
    return header.index(name)


def rotor_command_unit(columns: Mapping[str, Column], source: str) -> str:
    """Unit of the rotors' commands, the same for all; UserError if it is not."""
    units = {columns[c].unit for c in component_names("rotor_command") if c in columns}
    if len(units) > 1:
        raise UserError(f"{source}: rotor_command is given in {' and in '.join(sorted(units))}; use one for all rotors")
    return units.pop() if units else "rad/s"
