"""Tables of text: our own CSV, whose header names component and unit (``position_x [m]``), and any other by a map.

CSV holds the numbers of a log and no metadata; MCAP holds both.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from neural_lander.errors import UserError
from neural_lander.flightlog.column_map import (
    ACCELEROMETER,
    COLUMN_MAP,
    EULER,
    FIELD_OF,
    FIELDS,
    ColumnMap,
    component_names,
)
from neural_lander.flightlog.csv_cells import (
    DELIMITERS,
    MOST_LEFT_OUT,
    encoding_of,
    find_header,
    in_order,
    lines_of,
    read_numbers,
    with_decimal_points,
    with_seconds,
)
from neural_lander.flightlog.csv_header import (
    column_index,
    own_columns,
    passes_over,
    require_whole_fields,
    rotor_command_unit,
)
from neural_lander.flightlog.differentiate import VELOCITY_FROM, WORDS, differentiated
from neural_lander.flightlog.files import PART, Progress, replacing, unseen
from neural_lander.flightlog.gaps import gap_words
from neural_lander.flightlog.log import COLUMNS, FlightLog
from neural_lander.flightlog.rates import LEAST_RATE
from neural_lander.flightlog.streams import Stream, join, to_world, with_velocity
from neural_lander.frames import swap_attitude, swap_body, swap_world
from neural_lander.rotation import quaternion_from_euler

LEAST_NORM = 0.5  # of a quaternion
HOLE_PERIODS, SHORTEST_HOLE = 10.0, 0.1  # times the median period, and s: shorter ones are a logger's jitter


class Csv:
    """Log format: a table with our own header. Others are read with a :class:`ColumnMap`."""

    name = "csv"
    description = "CSV with columns such as 't [s]' and 'position_x [m]', or any other with a column map"

    def recognises(self, head: bytes) -> bool:
        """A first line of text, but for comments, with at least one delimiter, and nothing that is no text."""
        encoding = encoding_of(head)
        try:
            text = head.decode(encoding)
        except UnicodeDecodeError as error:
            if error.start < len(head) - 3:  # only a character that the head cuts is allowed
                return False
            text = head[: error.start].decode(encoding)
        first, _ = find_header(text.split("\n"))
        return any(d in first for d in DELIMITERS) and all(c.isprintable() or c in "\t\r\n" for c in text)

    def read(self, path: Path) -> FlightLog:
        """See :func:`read_csv`."""
        return read_csv(path)


def read_csv(path: str | os.PathLike[str], column_map: ColumnMap | None = None) -> FlightLog:
    """A flight from a table with one header line, delimited by comma, semicolon or tab.

    Comments (``#``) before the header are passed over. Records that lack a number or a rotation, and such whose time is
    no later than that of one before, are left out, each kind with one warning that counts them, up to a fifth of all.
    Where a field's cells are empty in more records than that, it is a source that is slower than the table: each is
    taken at its own records, and all are joined at those of the fastest (``streams.join``).
    Where velocity is missing it is differentiated from position, and the metadata says so (``velocity_from``).

    A last line without its end of line is warned of, and left out where it does not parse; so are records that a
    regular clock shows to be missing, and with any other clock a hole, as a damaged digit makes it. Text has no
    checksum and no end mark: other damaged digits, a cut between two lines, and lines that are lost from a table with
    an irregular clock go unseen.

    Raises
    ------
    UserError
        On a missing column, or where too many records are bad: with column and line of the first; and where positions
        are too rare to be differentiated.
    """
    table = read_table(path, column_map)
    rate = 1 / float(np.median(np.diff(table.fields["t"]))) if len(table.fields["t"]) > 1 else 0.0
    rate = table.metadata.get("source_rates_Hz", {}).get("position", rate)
    if VELOCITY_FROM in table.metadata and 0 < rate < LEAST_RATE:
        raise UserError(
            f"{path}: the log lacks the field 'velocity' (m/s), and position comes at {rate:.3g} Hz: at least "
            f"{LEAST_RATE:g} Hz are needed to differentiate it"
        )
    return FlightLog.from_arrays(
        **table.fields,
        rotor_command_unit=table.rotor_command_unit,
        metadata={"format": Csv.name, "source": str(path), **table.metadata},
        warnings=table.warnings,
    )


@dataclass(frozen=True, eq=False)
class CsvTable:
    """Fields of a flight log that a table holds, in SI and our frames."""

    fields: Mapping[str, np.ndarray]
    rotor_command_unit: str
    warnings: tuple[str, ...]
    metadata: Mapping[str, Any]
    """``velocity_from``, where it is not in the table; ``column_map``, where it was read with one."""


def read_table(path: str | os.PathLike[str], column_map: ColumnMap | None = None) -> CsvTable:
    """As :func:`read_csv`, without the limits of a flight log."""
    source = str(path)
    lines = lines_of(Path(path).read_bytes(), source)
    heading, start = find_header(lines)
    delimiter = max(DELIMITERS, key=heading.count)
    header = [name.strip() for name in next(csv.reader([heading], delimiter=delimiter), [])]
    body = lines[start:]
    column_map = None if column_map is None or passes_over(column_map, header) else column_map
    if column_map is not None and column_map.decimal == ",":
        body = with_decimal_points(body, delimiter, source)
    columns = own_columns(header, source) if column_map is None else column_map.columns
    require_whole_fields(columns, column_map is None, source)
    wanted = list(columns)
    indices = [column_index(columns[name].name, header, source) for name in wanted]
    fields = [FIELD_OF[name] for name in wanted]
    names = [columns[name].name for name in wanted]
    body, by_calendar = with_seconds(body, delimiter, indices[wanted.index("t")])
    if by_calendar and (columns["t"].factor, columns["t"].offset) != (1.0, 0.0):
        raise UserError(f"{source}: times by the calendar: leave unit, scale and offset out of t in the column map")
    numbers, said = read_numbers(body, start + 1, delimiter, indices, names, fields, source)
    said += _ragged(body, delimiter, source)
    numbers = (numbers + [columns[name].offset for name in wanted]) * [columns[name].factor for name in wanted]
    components = dict(zip(wanted, numbers.T, strict=True))
    found = {
        field: np.stack([components[c] for c in component_names(field)], axis=-1)
        if FIELDS[field][0]
        else components[field]
        for field in FIELDS
        if field in fields
    }
    if EULER in found:
        found["attitude"] = np.asarray(quaternion_from_euler(*found.pop(EULER).T))
    if in_body := ACCELEROMETER in found:
        found["specific_force"] = found.pop(ACCELEROMETER)
    if np.isnan(numbers).any():
        found, metadata, more = _at_their_own_rates(found, source)
    else:
        found, metadata, more = _at_one_rate(found, source)
    if in_body:
        found = to_world(found)
    if column_map is not None and column_map.world == "NED":
        found = {field: _from_ned(field, values) for field, values in found.items()}
    if column_map is not None:
        metadata[COLUMN_MAP] = column_map.to_json()
    return CsvTable(found, rotor_command_unit(columns, source), (*said, *more), metadata)


Found = tuple[dict[str, np.ndarray], dict[str, Any], tuple[str, ...]]
"""Fields, metadata, and what is said of them."""


def _at_one_rate(fields: Mapping[str, np.ndarray], source: str) -> Found:
    """Records in order and with a rotation."""
    turning, no_rotation = _rotations(fields["attitude"], source)
    fields = {field: values[turning] for field, values in fields.items()}
    kept, out_of_order = in_order(fields["t"], source)
    fields = {field: values[kept] for field, values in fields.items()}
    metadata = {}
    if "velocity" not in fields and len(fields["t"]) > 1:
        fields["velocity"], metadata[VELOCITY_FROM] = differentiated(fields["t"], fields["position"]), WORDS
    return fields, metadata, (*no_rotation, *out_of_order, *_hole(fields["t"], source))


def _at_their_own_rates(fields: Mapping[str, np.ndarray], source: str) -> Found:
    """Fields whose cells are empty where they have no record, joined at the times of the fastest."""
    t = fields["t"]
    streams, said = {}, list[str]()
    for field, values in fields.items():
        there = np.isfinite(values.reshape(len(t), -1)).all(axis=1)
        if field != "t":
            kept, words = in_order(t[there], f"{source}, {field}")
            streams[field], said = Stream(t[there][kept], values[there][kept]), [*said, *words]
    streams, metadata = with_velocity(streams)
    joined = join(streams, source)
    return {"t": joined.t, **joined.fields}, {**metadata, **joined.metadata}, (*said, *joined.warnings)


def write_csv(log: FlightLog, path: str | os.PathLike[str], progress: Progress = unseen) -> None:
    """Write the numbers of a log so that :func:`read_csv` returns the same float64; metadata is not kept.

    ``progress`` is told the share that is written.

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
    rows = np.concatenate(arrays, axis=1)
    with replacing(path) as part, part.open("w", encoding="utf-8", newline="") as file:
        file.write(",".join(names) + "\n")
        for first in range(0, len(rows), PART):
            file.writelines(",".join(map(repr, row)) + "\n" for row in rows[first : first + PART].tolist())
            progress(min(first + PART, len(rows)) / len(rows))


def _rotations(attitude: np.ndarray, source: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Which quaternions are no zero, as cameras write where they see nothing, and what is said of the others."""
    sound = np.linalg.norm(attitude, axis=1) > LEAST_NORM
    bad = int((~sound).sum())
    if not bad or bad > MOST_LEFT_OUT * len(sound):  # of which the log will say what it is
        return np.ones(len(sound), dtype=bool), ()
    return sound, (f"{source}: {bad} of {len(sound)} records hold no rotation, but zeros: left out",)


def _ragged(body: list[str], delimiter: str, source: str) -> tuple[str, ...]:
    """What is said of lines with more or fewer cells than most: where bytes are lost, two lines run together."""
    counts = np.array([line.count(delimiter) for line in body[:-1] if line.strip()])
    usual = int(np.median(counts)) if len(counts) else 0
    others = np.flatnonzero(counts != usual)
    if not len(others) or any('"' in line for line in body):  # a cell in quotes may hold delimiters
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


def _from_ned(field: str, values: np.ndarray) -> np.ndarray:
    frame = COLUMNS[field][2]
    if field == "attitude":
        return np.asarray(swap_attitude(values))
    if frame == "world":
        return np.asarray(swap_world(values))
    return np.asarray(swap_body(values)) if frame == "body" else values
