"""The option that says how a foreign CSV is read, for all verbs that take flight logs."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from neural_lander.flightlog import ColumnMap, FlightLog, read_logs

Columns = Annotated[
    Path | None, typer.Option("--columns", help="Column map (TOML or JSON) of CSV files without our header.")
]


def load_map(columns: Path | None) -> ColumnMap | None:
    """The column map that ``--columns`` names."""
    return ColumnMap.load(columns) if columns is not None else None


def read_given(paths: Iterable[Path], columns: Path | None) -> list[FlightLog]:
    """Flights of the files and folders that a verb was given, see :func:`neural_lander.flightlog.read_logs`."""
    return read_logs(paths, column_map=load_map(columns))
