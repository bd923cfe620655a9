"""One folder under a name that others may give to another one meanwhile."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

ATTEMPTS = 10  # at a folder that others replace at the same time; each fails only by a replacement in microseconds


@contextlib.contextmanager
def held(path: Path) -> Iterator[tuple[int, int] | None]:
    """Identity of a folder, which no other can have while it is held: a number that is free is given away again."""
    try:
        folder = None if sys.platform == "win32" else os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        folder = None
    try:
        found = None if folder is None else os.fstat(folder)
        yield identity(path) if found is None else (found.st_dev, found.st_ino)
    finally:
        if folder is not None:
            os.close(folder)


def identity(path: Path) -> tuple[int, int] | None:
    """Of what is at a path now; None where nothing is."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def names_in(place: Path) -> set[str]:
    """What one folder holds: while it is listed another may take its place, and it be emptied."""
    for _ in range(ATTEMPTS):
        with held(place) as before:
            names = {entry.name for entry in place.iterdir()}
            if identity(place) == before:
                break
    return names
