"""The flight recorder: our MCAP, written by a thread of its own that the loop never waits for.

On ``/flight`` are the records that ``neural-lander train`` learns from, and only whole ones: while a field is missing
(height lost, thrust unknown because the pilot flies without ESC telemetry) there is a gap, which training passes over.
On ``/bridge`` is every tick with all that the loop knew and did. Both are on the disk within half a second.
"""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import threading
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from firmware_bridge.recording.format import BRIDGE_SCHEMA, BRIDGE_SCHEMA_NAME, BRIDGE_TOPIC, bridge_message
from firmware_bridge.recording.tick_record import COMMANDED, MEASURED, STOPPED, TickRecord
from firmware_bridge.supervisor.limits import Limits
from neural_lander.errors import UserError
from neural_lander.flightlog import McapLogWriter

LEAST_SPACE = 64 * 2**20  # bytes: ten minutes and more at 200 Hz, by the size of recorded flights
SYNC_PERIOD = 0.2  # s: with the time that the disk takes it stays below the half second that may be lost
IDLE = 0.02  # s between looks at the queue: waking at every tick would take the interpreter from the loop
QUEUE_LIMIT = 10_000  # ticks, 20 s at 500 Hz: a disk that stalls for longer costs records, not memory
SETTLING = 2.0  # s after the first state, in which sources may still turn up that the log is to hold
FIRST_TURN = 0.3  # s after the rotors may turn in which ESCs, at ten reports a second or more, have told of it
RATES_AFTER = 5.0  # s of flight records until the rates of their sources are written


class Recorder:
    """Takes :class:`TickRecord` by :meth:`put`. To be made before the loop's thread is pinned: its own would follow."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        metadata: Mapping[str, Any],
        *,
        commands: bool,
        height_age: float = Limits.height_age,
    ) -> None:
        """Create the file, and start writing.

        Parameters
        ----------
        path
            A file that does not exist yet.
        metadata
            Of the log; JSON values.
        commands
            Whether we fly: where no rotor speed is measured, u then comes from the thrust that was commanded.
        height_age
            s; oldest height that a record is made of: the supervisor's limit.

        Raises
        ------
        UserError
            Where the file exists, cannot be created, or there is no space for a flight.
        """
        self.path = Path(path)
        self._check_space()
        self._writer = McapLogWriter(self.path, metadata=metadata, start_time_ns=time.time_ns())
        self._channel = self._writer.add_channel(BRIDGE_TOPIC, BRIDGE_SCHEMA_NAME, BRIDGE_SCHEMA)
        self._writer.sync()
        self._commands, self._height_age = commands, height_age
        self._queue: deque[TickRecord] = deque()
        self._noted: dict[str, Any] = {}
        self.dropped = 0
        """Ticks that did not fit into the queue."""
        self.problem = ""
        """Why nothing is written any more; empty while all is well."""
        self.flight_records = 0
        self.refused = 0
        """Records that were not fit for ``/flight``: a value that is not finite, or time that stood still; and notes
        that are no JSON."""
        self._ticks = 0
        self._begin: float | None = None
        self._first_state: float | None = None
        self._seen: set[str] = set()
        self._measured = False
        self._first_turning: float | None = None  # s
        self._fields: tuple[str, ...] | None = None
        self._sources = {name: _Source() for name in ("position", "attitude", "rotor_speed")}
        self._rates_written = False
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name="recorder", daemon=True)
        self._thread.start()

    def put(self, record: TickRecord) -> None:
        """Hand over one tick; never blocks. With a full queue the tick is dropped and counted."""
        if len(self._queue) >= QUEUE_LIMIT or self.problem:
            self.dropped += 1
        else:
            self._queue.append(record)

    def note(self, metadata: Mapping[str, Any]) -> None:
        """Hand over what is known of the whole flight only now; never blocks. The newest of a key counts."""
        self._noted = {**self._noted, **metadata}

    def close(self) -> None:
        """Write what is pending, and the index. Harmless to repeat."""
        self._closing.set()
        self._thread.join()

    def _check_space(self) -> None:
        folder = self.path.parent
        try:
            free = shutil.disk_usage(folder).free
        except OSError as error:
            raise UserError(f"{self.path} cannot be written: {error.strerror}") from error
        if free < LEAST_SPACE:
            raise UserError(
                f"{self.path}: {free / 2**20:.0f} MiB are free in {folder}, {LEAST_SPACE / 2**20:.0f} are needed: make "
                "room, or record elsewhere"
            )

    def _work(self) -> None:
        try:
            synced = time.monotonic()
            while not (self._closing.is_set() and not self._queue):
                if self._queue:
                    self._write(self._queue.popleft())
                self._write_noted()
                if time.monotonic() - synced >= SYNC_PERIOD:  # also where there is always more to write
                    self._writer.sync()
                    synced = time.monotonic()
                if self._queue:
                    time.sleep(0)  # the loop's turn
                else:
                    self._closing.wait(IDLE)
            self._write_noted()
            counts = {"ticks": self._ticks, "dropped_ticks": self.dropped, "refused_records": self.refused}
            self._writer.add_metadata({**counts, **self._rates()})
            self._writer.close()
        except UserError as error:
            self._give_up(str(error))
            self._writer.abandon()
        except Exception as error:  # noqa: BLE001 - whatever it is, the user must see that nothing is written
            self._give_up(f"{self.path} is written no more: {type(error).__name__}: {error}")
            with contextlib.suppress(Exception):
                self._writer.close()  # with an index: the file itself may be sound
            self._writer.abandon()

    def _write_noted(self) -> None:
        noted, self._noted = self._noted, {}
        if not noted:
            return
        try:
            self._writer.add_metadata(noted)
        except UserError:
            if self._writer.closed:
                raise
            self.refused += 1

    def _give_up(self, problem: str) -> None:
        self.problem = problem  # before the queue is emptied, so that it stays empty
        self.dropped += len(self._queue)
        self._queue.clear()

    def _write(self, record: TickRecord) -> None:
        if self._begin is None:
            self._begin = record.t
        t = record.t - self._begin
        self._ticks += 1
        self._writer.add(self._channel, t, bridge_message(t, record))
        fields = self._flight_fields(record)
        if fields is None or record.estimate is None:
            return
        try:
            self._writer.append(t, **fields)
        except UserError:
            if self._writer.closed:
                raise
            self.refused += 1  # a number or a time that no log may hold; the tick itself is on the other topic
            return
        self.flight_records += 1
        self._sources["position"].take(record.t - record.estimate.position_age)
        self._sources["attitude"].take(record.t - record.estimate.attitude_age)
        if record.rotor_speed_source == MEASURED:
            self._sources["rotor_speed"].take(record.t - record.rotor_speed_age)
        if not self._rates_written and self._sources["attitude"].duration > RATES_AFTER:
            self._rates_written = True
            self._writer.add_metadata(self._rates())

    def _flight_fields(self, record: TickRecord) -> dict[str, Any] | None:
        """Fields of a record on ``/flight``; None where one of those that the log has is missing."""
        estimate = record.estimate
        if estimate is None or (record.in_control == "companion" and record.setpoint is None):
            return None  # what the autopilot still follows is in an earlier tick
        measured = record.rotor_speed_source in (MEASURED, STOPPED)
        commanded = record.rotor_speed_source in (COMMANDED, STOPPED)
        fields: dict[str, Any] = {
            "position": estimate.position,
            "velocity": estimate.velocity,
            "attitude": estimate.attitude,
            "body_rates": estimate.body_rates,
            "specific_force": estimate.specific_force,
            "rotor_speed": record.rotor_speed if measured else None,
            "rotor_command": record.rotor_speed if commanded else None,
            "battery_voltage": record.battery_voltage,
            "height": record.height if record.height_age <= self._height_age else None,
            "f_a_applied": record.f_a_applied,
            "guard_force": record.guard_force,
        }
        if self._fields is None:
            self._first_state = record.t if self._first_state is None else self._first_state
            self._seen |= {name for name, value in fields.items() if value is not None}
            self._measured |= record.rotor_speed_source == MEASURED
            if self._first_turning is None and record.rotor_speed_source != STOPPED:
                self._first_turning = record.t
            turning = -math.inf if self._first_turning is None else record.t - self._first_turning
            # an ESC at rest may tell nothing: which source the rotors have is seen once they turn
            if record.t - self._first_state < SETTLING or not (self._measured or turning >= FIRST_TURN):
                return None
            self._fields = self._choose()
        chosen = {name: fields[name] for name in self._fields}
        return None if any(value is None for value in chosen.values()) else chosen

    def _choose(self) -> tuple[str, ...]:
        """Which fields the log has: what was seen while settling; of the two for the rotors the better one."""
        commanded = {"rotor_command"} if self._commands else set()
        rotors = {"rotor_speed"} if self._measured else commanded
        return (*sorted(self._seen - {"rotor_speed", "rotor_command"}), *rotors)

    def _rates(self) -> dict[str, Any]:
        """Rates of the reports behind the records, which are made at the loop's rate."""
        return {"source_rates_Hz": {name: source.rate for name, source in self._sources.items() if source.count > 1}}


class _Source:
    """Counts the reports that records were made from."""

    def __init__(self) -> None:
        self.count, self._first, self._last = 0, 0.0, 0.0

    def take(self, t: float) -> None:
        """Time of a report in s; the same one comes again until there is a newer."""
        if self.count == 0:
            self._first = t
        if self.count == 0 or t > self._last + 1e-6:
            self.count += 1
            self._last = t

    @property
    def duration(self) -> float:
        """Seconds from the first report to the last."""
        return self._last - self._first

    @property
    def rate(self) -> float:
        """Hz."""
        return (self.count - 1) / self.duration if self.duration > 0 else 0.0
