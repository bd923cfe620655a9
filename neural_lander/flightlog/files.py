"""Writing files so that a failure leaves nothing half-written."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from neural_lander.errors import UserError

PART = 20_000  # records between two tellings of how far the writing is
Progress = Callable[[float], None]
"""Told the share that is done."""


def unseen(share: float) -> None:
    """Progress that nobody looks at."""


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A path beside ``path`` to write to, which takes its place at the end; an exception leaves ``path`` as it was.

    Raises
    ------
    UserError
        Where the file cannot be written.
    """
    path = Path(path)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield part
        part.replace(path)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}") from error
    finally:
        with suppress(OSError):  # a folder that cannot be written to holds no part either
            part.unlink(missing_ok=True)


class Unbuffered:
    """A new file for writing: what is written has left the process, and nothing is written behind our back."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
        self._size = 0

    def write(self, data: bytes) -> int:
        """All of it, or OSError."""
        left = memoryview(data)
        while left:
            written = os.write(self._file, left)
            self._size += written
            left = left[written:]
        return len(data)

    def tell(self) -> int:
        """Bytes written so far."""
        return self._size

    def flush(self) -> None:
        """Nothing: nothing is held back."""

    def sync(self) -> None:
        """Wait until the disk has it."""
        os.fsync(self._file)

    def close(self) -> None:
        """No more is written."""
        os.close(self._file)
