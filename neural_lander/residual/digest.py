"""Which log was learned from: its hash."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from neural_lander.flightlog.log import COLUMNS, FlightLog


def log_sha256(log: FlightLog) -> str:
    """Hash of the log's file where it came from one, else of its columns."""
    path = Path(log.source) if log.source else None
    if path is not None and path.is_file():
        return hashlib.sha256(path.read_bytes()).hexdigest()
    digest = hashlib.sha256(log.rotor_command_unit.encode())
    for name in COLUMNS:
        values = getattr(log, name)
        if values is not None:
            digest.update(name.encode())
            digest.update(np.ascontiguousarray(values, dtype="<f8").tobytes())
    return digest.hexdigest()
