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
