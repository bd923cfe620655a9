"""Flight logs from files: the format is recognised by content, never by the file's name."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from neural_lander.errors import NeuralLanderWarning, UserError
from neural_lander.flightlog.ardupilot_dataflash import ArduPilotDataflash
from neural_lander.flightlog.column_map import ColumnMap
from neural_lander.flightlog.crazyflie_usd import CrazyflieUsd
from neural_lander.flightlog.crazyflie_usd2 import CrazyflieUsd2
from neural_lander.flightlog.csv_columns import Csv, read_csv
from neural_lander.flightlog.flights import told_apart
from neural_lander.flightlog.log import FlightLog
from neural_lander.flightlog.mcap_read import Mcap
from neural_lander.flightlog.px4_ulog import Px4Ulog
from neural_lander.flightlog.ros_bag import RosBag

BAG_METADATA, BAG_STORAGE = "metadata.yaml", (".mcap", ".db3")  # of the folder that 'ros2 bag record' writes
HEAD_SIZE = 4096  # bytes of a file that a format is recognised by


class LogFormat(Protocol):
    """One kind of file that holds a flight. A new one is a class of its own and an entry in ``FORMATS``."""

    name: str
    """Goes into ``metadata["format"]``."""
    description: str
    """Shown where a file is not recognised."""

    def recognises(self, head: bytes) -> bool:
        """Whether a file that begins with ``head`` (up to ``HEAD_SIZE`` bytes) is of this format."""
        ...

    def read(self, path: Path) -> FlightLog:
        """The flight in SI and our frames; what was lost or repaired goes into its ``warnings``.

        Raises
        ------
        UserError
            Where no flight can be had from the file.
        """
        ...


FORMATS: list[LogFormat] = [Mcap(), Px4Ulog(), ArduPilotDataflash(), CrazyflieUsd2(), CrazyflieUsd(), RosBag(), Csv()]
"""Asked in this order; any text with columns is taken for CSV, so that comes last."""


WITHOUT_POSE = ((b"H Product:Blackbox", "a Betaflight Blackbox log: it holds neither position nor velocity"),)
"""Beginning of a file -> why no flight can be had from it."""


def read_log(path: str | os.PathLike[str], *, column_map: ColumnMap | None = None) -> FlightLog:
    """One flight from one file.

    Parameters
    ----------
    path
        A file of any format in ``FORMATS``, or the folder of a ROS 2 bag.
    column_map
        Names, units and frames of the columns of a CSV file that does not have our own header; a log of another format
        is read as what it is.

    Raises
    ------
    UserError
        Where the file is missing, empty, of no known format, or holds no flight.

    Warns
    -----
    NeuralLanderWarning
        For each entry of the log's ``warnings``: what was lost or repaired while reading.
    """
    path = _in_bag(Path(path))
    found = _format(path)
    try:
        if column_map is not None and (found is None or isinstance(found, Csv)):
            log = read_csv(path, column_map)
        elif found is not None:
            log = found.read(path)
        else:
            raise UserError(_unknown(path))
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    for text in log.warnings:
        warnings.warn(text, NeuralLanderWarning, stacklevel=2)
    return log


def read_logs(paths: Iterable[str | os.PathLike[str]], *, column_map: ColumnMap | None = None) -> list[FlightLog]:
    """Flights from files and folders; a folder stands for the logs and bags directly in it, sorted by name.

    A file that is named must be readable. One that is found in a folder and cannot be read is named in a warning
    and left out. A column map is for all CSV files among them. A file with several flights gives each of them, see
    :func:`neural_lander.flightlog.flights.flights_of`.

    Raises
    ------
    UserError
        As :func:`read_log`, and where a folder or the whole list holds no flight.
    """
    logs: list[FlightLog] = []
    for path in map(Path, paths):
        logs += (
            _read_folder(path, column_map)
            if path.is_dir() and not _is_bag(path)
            else told_apart(read_log(path, column_map=column_map))
        )
    if not logs:
        raise UserError("no flight logs given: name at least one file or folder")
    return logs


def _read_folder(folder: Path, column_map: ColumnMap | None) -> list[FlightLog]:
    logs, foreign = [], 0
    entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    for entry in entries:
        if not (entry.is_file() or _is_bag(entry)):
            continue
        try:
            if entry.is_file() and _format(entry) is None:
                foreign += 1
                raise UserError(_unknown(entry, foreign == 1))
            logs += told_apart(read_log(entry, column_map=column_map))
        except UserError as error:
            warnings.warn(f"left out: {error}", NeuralLanderWarning, stacklevel=3)
    if not logs:
        folders = [entry.name for entry in entries if entry.is_dir()]
        within = "" if foreign else f"; {_known()}"
        within = f"; name one of the folders in it: {', '.join(folders)}" if folders else within
        raise UserError(f"{folder} holds no flight log{within}")
    return logs


def _is_bag(folder: Path) -> bool:
    return (folder / BAG_METADATA).is_file()


def _in_bag(path: Path) -> Path:
    """The one storage file of a ROS 2 bag, whose folder names it; other paths as they are."""
    if not _is_bag(path):
        return path
    parts = sorted(entry for entry in path.iterdir() if entry.is_file() and entry.suffix in BAG_STORAGE)
    if len(parts) != 1:
        raise UserError(
            f"{path} is a ROS 2 bag in {len(parts)} files, and one flight is read from one: join them with 'ros2 bag "
            "convert', or name one"
        )
    return parts[0]


def _format(path: Path) -> LogFormat | None:
    """The first format that recognises the file."""
    if path.is_dir():
        raise UserError(f"{path} is a folder, expected one flight log")
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_SIZE)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    if not head:
        raise UserError(f"{path} is empty: it holds no flight log")
    return next((candidate for candidate in FORMATS if candidate.recognises(head)), None)


def _unknown(path: Path, listed: bool = True) -> str:
    """Why a file that no format recognises is refused; ``listed``: with the formats that are."""
    with path.open("rb") as file:
        head = file.read(HEAD_SIZE)
    for beginning, reason in WITHOUT_POSE:
        if head.startswith(beginning):
            return f"{path} is {reason}; record these beside it, for example by motion capture, as CSV"
    return f"{path} is of no known log format" + (f"; {_known()}" if listed else "")


def _known() -> str:
    return f"can be read: {', '.join(f.description for f in FORMATS)}"
