"""Which log was learned from: hashes by which it is known again, also as a copy in another format or name."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from neural_lander.errors import NeuralLanderWarning
from neural_lander.flightlog.column_map import COLUMN_MAP
from neural_lander.flightlog.log import DERIVED_FROM, FlightLog

RESOLUTION = 1e-6  # m and m/s, to which values are hashed; every format of ours holds them exactly


def log_sha256(log: FlightLog) -> str:
    """Hash of what was flown: position and velocity of every record.

    It is the same for a copy in any format that keeps every record. Time and attitude are left out, since formats round
    them; two flights that agree in all the rest do not differ in these.
    """
    digest = hashlib.sha256(b"neural-lander flight")
    for values in (log.position, log.velocity):
        rounded = np.rint(np.asarray(values, dtype=np.float64) / RESOLUTION)
        digest.update(np.ascontiguousarray(rounded, dtype="<i8").tobytes())
    return digest.hexdigest()


def file_sha256(path: str | Path) -> str | None:
    """Hash of a file's bytes; None where there is no such file."""
    path = Path(path)
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None


def identity(log: FlightLog) -> dict[str, Any]:
    """What a bundle keeps to know a log again, and to read it again as it was read.

    Its path as given (a hint), the flight's hash and the file's, and the column map, if it was read with one. The file
    has no hash where it holds another flight, of which this one is a part or which was joined with something.
    """
    whole = log.source == log.path and log.source and log.metadata.get(DERIVED_FROM) != log.source
    found = file_sha256(log.source) if whole else None
    kept = log.metadata.get(COLUMN_MAP)
    return {"path": log.path or None, "sha256": log_sha256(log), "file_sha256": found, COLUMN_MAP: kept}


def unique_logs(logs: Iterable[FlightLog]) -> list[FlightLog]:
    """The logs without those that hold a flight again, under another name or in another format; each with a warning."""
    kept: dict[str, FlightLog] = {}
    for log in logs:
        digest = log_sha256(log)
        if digest in kept:
            first = kept[digest].source or "another"
            message = f"{log.source or 'a log'} holds the flight of {first} again: it is left out"
            warnings.warn(message, NeuralLanderWarning, stacklevel=2)
        kept.setdefault(digest, log)
    return list(kept.values())


def recorded(log: FlightLog, datasets: Iterable[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The entry of a bundle's ``datasets`` that is this flight, if any; bundles of old hold the file's hash alone."""
    own = identity(log)
    hashes = {own["sha256"], own["file_sha256"]} - {None}
    return next((e for e in datasets if {e.get("sha256"), e.get("file_sha256")} & hashes), None)
