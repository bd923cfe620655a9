"""Writing beside a file and taking its place: what is left, and what is said, where that fails."""

import errno
import os
from pathlib import Path

import pytest

from neural_lander.errors import UserError
from neural_lander.flightlog.files import replacing


def read_only(*_: object, **__: object) -> None:
    raise OSError(errno.EROFS, os.strerror(errno.EROFS))


def test_a_read_only_folder_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A read-only mount refuses the removal too, of a file that was never there."""
    monkeypatch.setattr(Path, "unlink", read_only)
    with (
        pytest.raises(UserError, match=r"c\.html cannot be written: Read-only file system"),
        replacing(tmp_path / "c.html"),
    ):
        read_only()
