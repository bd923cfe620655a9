"""Tables of text: our own CSV, whose header names component and unit (``position_x [m]``), and any other by a map.

CSV holds the numbers of a log and no metadata; MCAP holds both.
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from neural_lander.errors import UserError
from neural_lander.flightlog.column_map import FIELD_OF, Column, ColumnMap, component_names
from neural_lander.flightlog.files import replacing
from neural_lander.flightlog.gaps import gap_words
from neural_lander.flightlog.log import COLUMNS, REQUIRED, FlightLog
from neural_lander.flightlog.units import si_unit
from neural_lander.frames import swap_attitude, swap_body, swap_world

DELIMITERS = ",;\t"
HOLE_PERIODS, SHORTEST_HOLE = 10.0, 0.1  # times the median period, and s: shorter ones are a logger's jitter
_HEADING = re.compile(r"\s*(\w+)\s*(?:\[([^\]]*)\])?\s*")


class Csv:
    """Log format: a table with our own header. Others are read with a :class:`ColumnMap`."""

    name = "csv"
    description = "CSV with columns such as 't [s]' and 'position_x [m]', or any other with a column map"

    def recognises(self, head: bytes) -> bool:
        """A first line of text with at least one delimiter, and nothing that is no text."""
        try:
            text = head.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            if error.start < len(head) - 3:  # only a character that the head cuts is allowed
                return False
            text = head[: error.start].decode("utf-8-sig")
        first = text.partition("\n")[0]
        return any(d in first for d in DELIMITERS) and all(c.isprintable() or c in "\t\r\n" for c in text)

    def read(self, path: Path) -> FlightLog:
        """See :func:`read_csv`."""
        return read_csv(path)


def read_csv(path: str | os.PathLike[str], column_map: ColumnMap | None = None) -> FlightLog:
    """A flight from a table with one header line, delimited by comma, semicolon or tab.

    A last line without its end of line is warned of, and left out where it does not parse; so are records that a
    regular clock shows to be missing, and with any other clock a hole, as a damaged digit makes it. Text has no
    checksum and no end mark: other damaged digits, a cut between two lines, and lines that are lost from a table with
    an irregular clock go unseen.

    Raises
    ------
    UserError
        On a missing column, or a cell that is no finite number: with column and line.
    """
    table = read_table(path, column_map)
    return FlightLog.from_arrays(
        **table.fields,
        rotor_command_unit=table.rotor_command_unit,
        metadata={"format": Csv.name, "source": str(path)},
        warnings=table.warnings,
    )


@dataclass(frozen=True)
class CsvTable:
    """Fields of a flight log that a table holds, in SI and our frames."""

    fields: Mapping[str, np.ndarray]
    rotor_command_unit: str
    warnings: tuple[str, ...]


def read_table(
    path: str | os.PathLike[str], column_map: ColumnMap | None = None, required: Sequence[str] = REQUIRED
) -> CsvTable:
    """As :func:`read_csv`, of tables that need hold only the ``required`` fields, time among them."""
    source = str(path)
    try:
        text = Path(path).read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{source} is no text in UTF-8: byte {error.start} is {error.object[error.start]:#04x}"
        ) from error
    lines = text.split("\n")
    delimiter = max(DELIMITERS, key=lines[0].count)
    header = [heading.strip() for heading in next(csv.reader(lines[:1], delimiter=delimiter), [])]
    columns = _own_columns(header, source) if column_map is None else column_map.columns
    _require_whole_fields(columns, column_map is None, source, required)
    wanted = list(columns)
    indices = [_index(columns[name].name, header, source) for name in wanted]
    numbers, said = _numbers(lines, delimiter, indices, [columns[name].name for name in wanted], source)
    said += _ragged(lines, delimiter, source)
    said += _hole(numbers[:, wanted.index("t")] * columns["t"].factor, source)
    components = {name: numbers[:, k] * columns[name].factor for k, name in enumerate(wanted)}
    fields = {
        field: np.stack([components[c] for c in component_names(field)], axis=-1)
        if COLUMNS[field][0]
        else components[field]
        for field in COLUMNS
        if component_names(field)[0] in components
    }
    if column_map is not None and column_map.world == "NED":
        fields = {field: _from_ned(field, values) for field, values in fields.items()}
    return CsvTable(fields, _rotor_command_unit(columns, source), said)


def write_csv(log: FlightLog, path: str | os.PathLike[str]) -> None:
    """Write the numbers of a log so that :func:`read_csv` returns the same float64; metadata is not kept.

    Raises
    ------
    UserError
        Where the file cannot be written; nothing is left half-written then.
    """
    names, arrays = [], []
    for field, (_, unit, _) in COLUMNS.items():
        values = getattr(log, field)
        if values is not None:
            unit = log.rotor_command_unit if field == "rotor_command" else unit
            names += [f"{name} [{unit}]" for name in component_names(field)]
            arrays.append(values.reshape(len(log.t), -1))
    rows = np.concatenate(arrays, axis=1).tolist()
    with replacing(path) as part, part.open("w", encoding="utf-8", newline="") as file:
        file.write(",".join(names) + "\n")
        file.writelines(",".join(map(repr, row)) + "\n" for row in rows)


def _own_columns(header: Sequence[str], source: str) -> dict[str, Column]:
    """Columns that our own header names; others are passed over."""
    columns = {}
    for heading in header:
        match = _HEADING.fullmatch(heading)
        field = FIELD_OF.get(match[1]) if match else None
        if match is None or field is None:
            continue
        unit = match[2]
        if unit is None:
            if field == "rotor_command":
                raise UserError(
                    f"{source}: column '{heading}' has no unit: write '{heading} [rad/s]' or '{heading} [pwm]'"
                )
            unit = COLUMNS[field][1]
        si, factor = si_unit(field, unit.strip(), f"{source}, column '{heading}'")
        columns[match[1]] = Column(heading, factor, si)
    return columns


def _require_whole_fields(columns: Mapping[str, Column], own: bool, source: str, required: Sequence[str]) -> None:
    remedy = "add it, or give a column map that names the columns" if own else "add it to the column map"
    for field in COLUMNS:
        names = component_names(field)
        missing = [name for name in names if name not in columns]
        if missing and (field in required or len(missing) < len(names)):
            raise UserError(f"{source}: the log lacks the needed field '{missing[0]}' ({COLUMNS[field][1]}): {remedy}")


def _index(name: str, header: Sequence[str], source: str) -> int:
    count = header.count(name)
    if count != 1:
        found = "is missing" if not count else f"is there {count} times"
        raise UserError(f"{source}: column '{name}' {found}; the header has: {', '.join(header)}")
    return header.index(name)


def _numbers(
    lines: list[str], delimiter: str, indices: list[int], names: list[str], source: str
) -> tuple[np.ndarray, tuple[str, ...]]:
    """The wanted columns, ``(N, len(indices))``; a last line without its end that does not parse is left out."""
    body = lines[1:]
    if not any(line.strip() for line in body):
        raise UserError(f"{source} holds a header and no records")
    try:
        unended = f"{source}: the last line has no end: the file may be cut, within the last number or before more"
        return _parse(body, delimiter, indices), (unended,) if body[-1].strip() else ()
    except ValueError as error:
        if body[-1].strip() and len(body) > 1:
            try:
                kept = _parse(body[:-1], delimiter, indices)
            except ValueError:
                pass
            else:
                return kept, (
                    f"{source}: cut short: the last line, {len(body[-1])} characters of a record, is lost, "
                    "and whatever came later",
                )
        raise UserError(f"{source}: {_fault(body, delimiter, indices, names) or error}") from error


def _ragged(lines: list[str], delimiter: str, source: str) -> tuple[str, ...]:
    """What is said of lines with more or fewer cells than most: where bytes are lost, two lines run together."""
    counts = np.array([line.count(delimiter) for line in lines[1:-1] if line.strip()])
    usual = int(np.median(counts)) if len(counts) else 0
    others = np.flatnonzero(counts != usual)
    if not len(others) or any('"' in line for line in lines):  # a cell in quotes may hold delimiters
        return ()
    return (
        f"{source}: {len(others)} lines have another number of cells than the rest ({usual + 1}), the first is record "
        f"{int(others[0]) + 1}: damaged, or two lines run together and a record is lost",
    )


def _hole(t: np.ndarray, source: str) -> tuple[str, ...]:
    """What is said of missing records: each where the clock is regular, else the longest step beyond jitter."""
    steps = np.diff(t)
    if (steps > 0).all() and (missing := gap_words(t - t[:1])):
        return (f"{source}: {missing[0]}",)
    if len(steps) < 2 or steps.max() <= max(SHORTEST_HOLE, HOLE_PERIODS * float(np.median(steps))):
        return ()
    return (f"{source}: a hole of {steps.max():.3g} s after record {int(np.argmax(steps))}",)


def _parse(body: list[str], delimiter: str, indices: list[int]) -> np.ndarray:
    numbers = np.loadtxt(body, delimiter=delimiter, usecols=indices, ndmin=2, comments=None, quotechar='"')
    if not np.isfinite(numbers).all():
        raise ValueError("a value is not finite")
    return numbers


def _fault(body: list[str], delimiter: str, indices: list[int], names: list[str]) -> str | None:
    """The first cell that is no finite number, in words."""
    for number, line in enumerate(body, start=2):
        if not line.strip():
            continue
        cells = next(csv.reader([line], delimiter=delimiter))
        for index, name in zip(indices, names, strict=True):
            if index >= len(cells):
                return f"line {number} has {len(cells)} cells, and column '{name}' is cell {index + 1}"
            try:
                finite = np.isfinite(float(cells[index]))
            except ValueError:
                return f"column '{name}', line {number}: '{cells[index]}' is not a number"
            if not finite:
                return f"column '{name}', line {number}: '{cells[index]}' is not finite; remove that record"
    return None


def _from_ned(field: str, values: np.ndarray) -> np.ndarray:
    frame = COLUMNS[field][2]
    if field == "attitude":
        return np.asarray(swap_attitude(values))
    if frame == "world":
        return np.asarray(swap_world(values))
    return np.asarray(swap_body(values)) if frame == "body" else values


def _rotor_command_unit(columns: Mapping[str, Column], source: str) -> str:
    units = {columns[c].unit for c in component_names("rotor_command") if c in columns}
    if len(units) > 1:
        raise UserError(f"{source}: rotor_command is given in {' and in '.join(sorted(units))}; use one for all rotors")
    return units.pop() if units else "rad/s"
