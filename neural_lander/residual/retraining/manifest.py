"""Which flights a bundle rests on: its ``datasets``, every log ever given, none forgotten and none twice.

An entry holds the flight's name, path as given, hashes and samples, its role, and ``added``: the number in the bundle's
history under which it came. ``train``: the network was fitted on it. ``validation``: it judges models and fits none.
``withdrawn``: it was taken out again.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from neural_lander.errors import NeuralLanderWarning, UserError
from neural_lander.flightlog import ColumnMap, FlightLog, read_log
from neural_lander.flightlog.column_map import COLUMN_MAP
from neural_lander.flightlog.flights import flights_of
from neural_lander.residual.digest import file_sha256, recorded

TRAIN, VALIDATION, WITHDRAWN = "train", "validation", "withdrawn"
Entry = Mapping[str, Any]
Read = Callable[[Path, Entry], Sequence[FlightLog]]


def role(entry: Entry) -> str:
    """Of an entry; bundles of old knew training alone."""
    return str(entry.get("role", TRAIN))


def active(entries: Iterable[Entry]) -> list[Entry]:
    """Entries that were not withdrawn."""
    return [entry for entry in entries if role(entry) != WITHDRAWN]


def withdraw(entries: Sequence[Entry], names: Sequence[str]) -> list[Entry]:
    """The entries with those that are named, by name, path or hash, withdrawn.

    Raises
    ------
    UserError
        Where a name is none of a log that is in use, or of several.
    """
    withdrawn = list(entries)
    for name in names:
        matching = [k for k, e in enumerate(withdrawn) if role(e) != WITHDRAWN and _is_named(e, name)]
        if not matching:
            known = ", ".join(_name(e) for e in active(withdrawn))
            raise UserError(f"--without {name}: the bundle uses no such log; it uses: {known or 'none'}")
        if len(matching) > 1:
            hashes = ", ".join(str(withdrawn[k]["sha256"])[:12] for k in matching)
            raise UserError(f"--without {name}: {len(matching)} logs have that name; give one's hash instead: {hashes}")
        withdrawn[matching[0]] = {**withdrawn[matching[0]], "role": WITHDRAWN}
    return withdrawn


def read_again(path: Path, entry: Entry, column_map: ColumnMap | None = None) -> list[FlightLog]:
    """What a file holds, as one and by its flights, read by the column map that the entry's was read with.

    ``column_map`` is for bundles of old, which did not keep it.
    """
    if COLUMN_MAP in entry:
        kept = entry[COLUMN_MAP]
        column_map = None if kept is None else ColumnMap.from_json(kept)
    log = read_log(path, column_map=column_map)
    return [log, *(part for part in flights_of(log) if part is not log)]


def find_logs(
    entries: Sequence[Entry], bundle: Path, folders: Sequence[Path], read: Read = read_again
) -> list[FlightLog]:
    """The flights of entries, in their order: from where they were, else by hash from anywhere in the folders.

    ``read`` gives the flight of a file as that of an entry was read.

    Raises
    ------
    UserError
        Naming the flights that are not found, and what to do.
    """
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"--data {folder} is no folder: name one that holds the old logs")
    found: dict[int, FlightLog] = {}
    with warnings.catch_warnings():  # the same log as ever: what was lost in it was said when it was given
        warnings.simplefilter("ignore", NeuralLanderWarning)
        for k, entry in enumerate(entries):
            for path in _hints(entry, bundle):
                if k not in found and (log := _matching(path, entry, read)) is not None:
                    found[k] = log
        missing = [k for k in range(len(entries)) if k not in found]
        if missing and folders:
            found |= _search({k: entries[k] for k in missing}, folders, read)
    missing = [k for k in missing if k not in found]
    if missing:
        names = ", ".join(_said(entries[k], bundle) for k in missing)
        raise UserError(
            f"{bundle} learned from {len(entries)} logs, of which {len(missing)} are not found: {names}; name the "
            "folder that holds them with --data DIR, or take each out with --without NAME"
        )
    return [found[k] for k in range(len(entries))]


def _is_named(entry: Entry, name: str) -> bool:
    sha256 = str(entry.get("sha256"))
    return name in (entry.get("log"), entry.get("path")) or (len(name) >= 8 and sha256.startswith(name))


def _hints(entry: Entry, bundle: Path) -> Iterator[Path]:
    """The path as given, from here and from where the bundle is."""
    if entry.get("path"):
        path = Path(str(entry["path"]))
        yield path
        if not path.is_absolute():
            yield bundle.parent / path


def _matching(path: Path, entry: Entry, read: Read) -> FlightLog | None:
    """The log at a path where it is the flight of the entry."""
    if not path.is_file():
        return None
    if file_sha256(path) in (entry.get("file_sha256"), entry["sha256"]):
        return read(path, entry)[0]
    return _of_entry(_readable(path, entry, read), entry)


def _of_entry(logs: Sequence[FlightLog], entry: Entry) -> FlightLog | None:
    return next((log for log in logs if recorded(log, [entry])), None)


def _search(entries: Mapping[int, Entry], folders: Sequence[Path], read: Read) -> dict[int, FlightLog]:
    """Flights by the hash of their file, which is quick; those left by the hash of what was flown."""
    found: dict[int, FlightLog] = {}
    files = sorted(path for folder in folders for path in folder.rglob("*") if path.is_file())
    others = []
    for path in files:
        digest = file_sha256(path)
        hits = [k for k, e in entries.items() if k not in found and digest in (e.get("file_sha256"), e["sha256"])]
        if hits:
            found[hits[0]] = read(path, entries[hits[0]])[0]
        else:
            others.append(path)
    for path in others:
        tried: dict[str, Sequence[FlightLog]] = {}  # by column map: few logs were read with different ones
        for k, entry in entries.items():
            if k in found:
                continue
            how = json.dumps(entry.get(COLUMN_MAP, "that of today"), sort_keys=True)
            if how not in tried:
                tried[how] = _readable(path, entry, read)
            if (log := _of_entry(tried[how], entry)) is not None:
                found[k] = log
    return found


def _readable(path: Path, entry: Entry, read: Read) -> Sequence[FlightLog]:
    try:
        return read(path, entry)
    except UserError:
        return []


def _said(entry: Entry, bundle: Path) -> str:
    where = [path for path in _hints(entry, bundle) if path.is_file()]
    changed = f" ({where[0]} is another flight, or was changed)" if where else ""
    return f"{_name(entry)}{changed}"


def _name(entry: Entry) -> str:
    """Of its file; of a flight that came from none the beginning of its hash, which is taken for a name too."""
    return str(entry["log"] or entry["sha256"][:12])
