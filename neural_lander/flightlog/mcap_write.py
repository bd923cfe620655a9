"""Our own log on disk: appended record by record, readable up to the last half second at any moment."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from mcap.writer import Writer

from neural_lander.errors import UserError
from neural_lander.flightlog.files import PART, Progress, Unbuffered, replacing, unseen
from neural_lander.flightlog.log import COLUMNS, REQUIRED, ROTOR_COMMAND_UNITS, FlightLog
from neural_lander.flightlog.mcap_format import (
    FLUSH_PERIOD,
    METADATA_NAME,
    PROFILE,
    SCHEMA_NAME,
    TOPIC,
    UNIT_KEY,
    schema,
    template,
)

NANOSECONDS = 1e9  # per s


class McapLogWriter:
    """Append records of a flight to a new file; a context manager.

    A record is handed to the operating system at the latest when the log is 0.5 s further, so that a process that
    dies loses no more than that. Leaving the context, by Ctrl-C as well, writes what is pending.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        metadata: Mapping[str, Any] | None = None,
        rotor_command_unit: str = "rad/s",
        start_time_ns: int = 0,
    ) -> None:
        """Create the file; one that exists is never touched.

        Parameters
        ----------
        path
            A file that does not exist yet.
        metadata
            ``vehicle``, ``mass_kg``, ``seed`` ...; JSON values.
        rotor_command_unit
            Of the field ``rotor_command``: ``rad/s`` or ``pwm``.
        start_time_ns
            Time of t = 0 on the clock that the file shows, e.g. ns since 1970.

        Raises
        ------
        UserError
            Where the file exists or cannot be created, or an argument is not as above.
        """
        self.path = Path(path)
        if rotor_command_unit not in ROTOR_COMMAND_UNITS:
            raise UserError(f"rotor_command_unit '{rotor_command_unit}' is not one of {ROTOR_COMMAND_UNITS}")
        self._unit, self._start_time_ns = rotor_command_unit, start_time_ns
        self._metadata = _json_values(metadata or {})
        self._fields: tuple[str, ...] = ()
        self._template, self._channel = "", 0
        self._last_t, self._flush_at, self._busy = -math.inf, 0.0, False
        try:
            self._stream: Unbuffered | None = Unbuffered(self.path)
        except FileExistsError as error:
            raise UserError(f"{self.path} exists: a recording never overwrites a file; choose another name") from error
        except OSError as error:
            raise UserError(f"{self.path} cannot be written: {error.strerror}") from error
        self._writer = Writer(self._stream, enable_data_crcs=True)  # type: ignore[arg-type]
        with _Guard(self):
            self._writer.start(profile=PROFILE, library="neural-lander")
            self._writer.add_metadata(METADATA_NAME, self._metadata)

    def append(self, t: float, **fields: Any) -> None:
        """Add one record: ``t`` in s and fields of ``FlightLog`` in its units and frames, e.g. ``position=(x, y, z)``.

        The first record decides which fields the log has.

        Raises
        ------
        UserError
            On a value that is not finite, a wrong shape, other fields than in the first record, time that does not
            increase, or a full disk; what was written before stays readable.
        """
        given = {"t": t, **fields}
        names = tuple(name for name in COLUMNS if given.get(name) is not None)
        self._check_fields(names, given)
        row = np.concatenate([np.asarray(given[name], dtype=np.float64).reshape(-1) for name in names]).tolist()
        self._write([row])

    def extend(self, log: FlightLog, progress: Progress = unseen) -> None:
        """Add all records of a log; its metadata is the caller's to pass on."""
        names = tuple(name for name in COLUMNS if getattr(log, name) is not None)
        if "rotor_command" in names and log.rotor_command_unit != self._unit:
            raise UserError(
                f"{self.path}: rotor_command is in {log.rotor_command_unit}, and the file's is in {self._unit}"
            )
        self._check_fields(names, {name: getattr(log, name)[0] for name in names})
        rows = np.concatenate([getattr(log, name).reshape(len(log.t), -1) for name in names], axis=1)
        for first in range(0, len(rows), PART):
            self._write(rows[first : first + PART].tolist())
            progress(min(first + PART, len(rows)) / len(rows))

    def add_channel(self, topic: str, schema_name: str, schema: Mapping[str, Any]) -> int:
        """A channel of JSON messages beside the records, which ``read_log`` passes over; its number for :meth:`add`."""
        with _Guard(self):
            identity = self._writer.register_schema(schema_name, "jsonschema", json.dumps(schema).encode())
            return self._writer.register_channel(topic, "json", identity)

    def add(self, channel: int, t: float, message: bytes) -> None:
        """Add a JSON message at time ``t`` in s to a channel of :meth:`add_channel`.

        Raises
        ------
        UserError
            Where the file cannot be written; what was written before stays readable.
        """
        with _Guard(self):
            stamp = self._start_time_ns + round(t * NANOSECONDS)
            self._writer.add_message(channel, stamp, message, stamp)

    def add_metadata(self, metadata: Mapping[str, Any]) -> None:
        """Metadata that is known only now; a key that was there before is replaced when the log is read."""
        values = _json_values(metadata)
        with _Guard(self):
            self._writer.flush()
            self._writer.add_metadata(METADATA_NAME, values)

    def sync(self) -> None:
        """Bring all that was added onto the disk: from then on a power cut cannot take it. Waits for the disk.

        Raises
        ------
        UserError
            Where the file cannot be written; what was written before stays readable.
        """
        with _Guard(self):
            self._writer.flush()
            self._flush_at = self._last_t + FLUSH_PERIOD
            assert self._stream is not None
            self._stream.sync()

    def close(self) -> None:
        """Write what is pending and the index. Harmless to repeat."""
        if self._stream is None:
            return
        if not self._busy:  # a write that was interrupted leaves a file that is cut short, and is left at that
            with _Guard(self):
                self._writer.finish()
        self.abandon()

    @property
    def closed(self) -> bool:
        """Whether nothing more can be added: closed, or the file could not be written."""
        return self._stream is None

    def abandon(self) -> None:
        """Close the file as it is, without an index."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def __enter__(self) -> McapLogWriter:
        """Itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file, whatever ended the context."""
        self.close()

    def _check_fields(self, names: tuple[str, ...], given: Mapping[str, Any]) -> None:
        unknown = sorted(set(given) - set(COLUMNS))
        if unknown:
            raise UserError(f"{self.path}: unknown field '{unknown[0]}'; known fields: {', '.join(COLUMNS)}")
        missing = [name for name in (self._fields or REQUIRED) if name not in names]
        if missing:
            raise UserError(f"{self.path}: a record lacks the field '{missing[0]}'")
        for name in names:
            size = len(COLUMNS[name][0]) or 1
            if np.size(given[name]) != size:
                raise UserError(
                    f"{self.path}: field '{name}' of a record has {np.size(given[name])} values, expected {size}"
                )
        if self._fields and names != self._fields:
            extra = next(name for name in names if name not in self._fields)
            raise UserError(f"{self.path}: field '{extra}' is new; a log has the fields of its first record")
        if not self._fields:
            with _Guard(self):
                identity = self._writer.register_schema(SCHEMA_NAME, "jsonschema", schema(names, self._unit))
                self._channel = self._writer.register_channel(TOPIC, "json", identity, {UNIT_KEY: self._unit})
            self._fields, self._template = names, template(names)

    def _write(self, rows: Sequence[Sequence[float]]) -> None:
        with _Guard(self):
            for row in rows:
                t = row[0]
                if not math.isfinite(sum(row)) and not all(map(math.isfinite, row)):
                    raise UserError(f"{self.path}: the record at t = {t} s holds a value that is not finite")
                if not t > self._last_t or t < 0:
                    raise UserError(
                        f"{self.path}: time {t} s follows {self._last_t} s; it must increase, from 0 or later"
                    )
                if t >= self._flush_at:
                    self._writer.flush()
                    self._flush_at = t + FLUSH_PERIOD
                stamp = self._start_time_ns + round(t * NANOSECONDS)
                self._writer.add_message(self._channel, stamp, (self._template % tuple(row)).encode(), stamp)
                self._last_t = t


def write_mcap(log: FlightLog, path: str | os.PathLike[str], progress: Progress = unseen) -> None:
    """Write a whole log with its metadata and warnings; a file of that name is replaced once all is written.

    ``progress`` is told the share that is written.

    Raises
    ------
    UserError
        Where the file cannot be written; nothing is left half-written then.
    """
    metadata = {**log.metadata, "warnings": list(log.warnings)}
    try:
        with (
            replacing(path) as part,
            McapLogWriter(part, metadata=metadata, rotor_command_unit=log.rotor_command_unit) as writer,
        ):
            writer.extend(log, progress)
    except UserError as error:
        if isinstance(error.__cause__, OSError):  # the writer speaks of a recording, whose beginning stays
            raise UserError(
                f"{path} cannot be written: {error.__cause__.strerror}; nothing half-written is left"
            ) from error
        raise


class _Guard:
    """While the file is being written to: an interruption is remembered, a failure ends the file in words."""

    def __init__(self, writer: McapLogWriter) -> None:
        self._writer = writer

    def __enter__(self) -> None:
        if self._writer._stream is None:
            raise UserError(f"{self._writer.path} is closed: nothing more can be recorded in it")
        self._writer._busy = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None or isinstance(error, UserError):
            self._writer._busy = False
        elif isinstance(error, OSError):
            self._writer.abandon()
            path, t = self._writer.path, self._writer._last_t
            reached = f" beyond t = {t:g} s" if math.isfinite(t) else ""
            raise UserError(
                f"{path} cannot be written{reached}: {error.strerror}; what was written before stays readable"
            ) from error


def _json_values(metadata: Mapping[str, Any]) -> dict[str, str]:
    values = {}
    for key, value in metadata.items():
        try:
            values[str(key)] = json.dumps(value, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise UserError(f"metadata '{key}' = {value!r} is no JSON value: {error}") from error
    return values
