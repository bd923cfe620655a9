"""A folder of files that is there as a whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path

from neural_lander.errors import UserError


def check_destination(path: Path, ours: Collection[str]) -> None:
    """Refuse what :func:`replace_folder` would have to destroy: a file, or a folder with anything not ``ours``.

    Raises
    ------
    UserError
        Naming what is in the way.
    """
    if not path.exists() and not path.is_symlink():
        return
    if path.is_symlink() or not path.is_dir():
        raise UserError(f"{path} exists and is no folder: choose another name for the bundle")
    present = {entry.name for entry in path.iterdir()}
    foreign = sorted(present - set(ours))
    if foreign or (present and present != set(ours)):
        found = foreign[0] if foreign else sorted(present)[0]
        raise UserError(
            f"{path} exists and is not a bundle (it holds '{found}'): choose another name, or empty it yourself"
        )


def replace_folder(path: Path, contents: Mapping[str, bytes], ours: Collection[str]) -> None:
    """Write files into a folder beside ``path`` and rename it into place, replacing a folder of the same files.

    At no moment is there a mixture of old and new under ``path``; if the machine stops between the two renames, the
    old folder is beside it under a name that begins with a dot.

    Raises
    ------
    UserError
        Where something else is at ``path``, or the place cannot be written.
    """
    check_destination(path, ours)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}") from error
    try:
        new = staging / "new"
        new.mkdir()
        for name, data in contents.items():
            _write(new / name, data)
        if path.is_dir():
            path.rename(staging / "old")
        try:
            new.rename(path)
        except OSError:
            if (staging / "old").is_dir():
                (staging / "old").rename(path)
            raise
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
