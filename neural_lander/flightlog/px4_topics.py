"""Topics of a PX4 ULog, by pyulog, and what was lost of them."""

from __future__ import annotations

import contextlib
import io
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from neural_lander.errors import UserError
from neural_lander.flightlog.packed import as_float
from neural_lander.flightlog.ulog_framing import sound_messages

PARSER_ERRORS = (
    struct.error, ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError, RecursionError,
    MemoryError,
)  # fmt: skip
"""What pyulog raises for damaged files besides its own exception."""
MANY_INSTANCES = "actuator_outputs"  # one instance per output driver: motors and servos apart
BATTERY, LEAST_VOLTAGE = "battery_status", 2.0  # V: less is none; the emptiest single cell has more
RANGEFINDER, DOWNWARD = "distance_sensor", 25  # and its orientation ROTATION_DOWNWARD_FACING


@dataclass(frozen=True, eq=False)
class Topic:
    """Records of one uORB topic."""

    name: str
    data: Mapping[str, np.ndarray]  # each (N,), as stored
    source: str

    def __contains__(self, field: str) -> bool:
        return field in self.data

    def __getitem__(self, field: str) -> np.ndarray:
        """One field, ``(N,)`` float64."""
        if field not in self.data:
            raise UserError(f"{self.source}: the topic '{self.name}' lacks the field '{field}'")
        return as_float(self.data[field])

    @property
    def t(self) -> np.ndarray:
        """Time since boot in s, ``(N,)``: of the sample where it is logged, else of publication."""
        sampled = self.data.get("timestamp_sample")
        if sampled is None or not sampled.any():
            return self["timestamp"] / 1e6
        return self["timestamp_sample"] / 1e6

    def columns(self, fields: Iterable[str]) -> np.ndarray:
        """Several fields, ``(N, k)``."""
        return np.stack([self[field] for field in fields], axis=-1)

    def array(self, field: str, n: int) -> np.ndarray:
        """An array field of n elements, ``(N, n)``."""
        return self.columns(f"{field}[{k}]" for k in range(n))

    def changes(self, counter: str) -> np.ndarray:
        """Indices of the records in which a counter differs from the record before."""
        return np.flatnonzero(np.diff(self[counter])) + 1 if counter in self else np.empty(0, dtype=int)


@dataclass(frozen=True)
class Topics:
    """What a file holds of the topics that were asked for."""

    by_name: Mapping[str, Topic]
    parameters: Mapping[str, Any]
    """At the start of the log."""
    warnings: tuple[str, ...]


def load(path: Path, names: tuple[str, ...]) -> Topics:
    """One instance of each topic.

    Raises
    ------
    UserError
        Where pyulog cannot read the file.
    """
    from pyulog import ULog  # type: ignore[import-untyped]
    from pyulog.exceptions import ULogException  # type: ignore[import-untyped]

    source = str(path)
    data, said = sound_messages(path.read_bytes())
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # pyulog prints what it finds wrong
            log = ULog(io.BytesIO(data), list(names))
    except ULogException as error:
        raise UserError(f"{source} is no readable ULog: {error}") from error
    except PARSER_ERRORS as error:
        raise UserError(f"{source} is a ULog damaged beyond reading ({type(error).__name__}: {error})") from error
    if log.file_corruption and not said:
        said.append("damaged: pyulog met corrupt messages and passed over them")
    if log.dropouts:
        lost = sum(dropout.duration for dropout in log.dropouts) / 1e3
        said.append(f"the logger fell behind {len(log.dropouts)} times and lost {lost:.3g} s in all")
    topics: dict[str, Topic] = {}
    for name in names:
        instances = [d for d in log.data_list if d.name == name and len(d.data.get("timestamp", ()))]
        if not instances:
            continue
        chosen = max(instances, key=_preference)
        topics[name] = Topic(name, chosen.data, source)
        if len(instances) > 1:
            said.append(f"{name}: instance {chosen.multi_id} is read, one of {len(instances)}")
    return Topics(topics, log.initial_parameters, tuple(said))


def _preference(instance: Any) -> tuple[float, ...]:
    """Whose outputs move, as motors' do; that looks down; that has a voltage; else of most records; else the first."""
    data = instance.data
    if instance.name == RANGEFINDER and "orientation" in data:
        return (float(np.mean(data["orientation"] == DOWNWARD)), len(data["timestamp"]), -instance.multi_id)
    if instance.name == BATTERY and "voltage_v" in data:  # one that is not connected reads 0
        return (float(np.median(data["voltage_v"]) > LEAST_VOLTAGE), len(data["timestamp"]), -instance.multi_id)
    moves = float(np.ptp(data["output[0]"])) if instance.name == MANY_INSTANCES and "output[0]" in data else 0.0
    count = 0 if instance.name == MANY_INSTANCES else len(data["timestamp"])
    return (moves, count, -instance.multi_id)
