"""Keys that are pressed, one by one and without waiting."""

from __future__ import annotations

import contextlib
import os
import select
import sys
from collections.abc import Callable, Iterator
from typing import Any


class Keys:
    """Single keys from stdin."""

    def __init__(self) -> None:
        self._ended = False

    def pressed(self) -> str:
        """What has been typed since the last call; never blocks."""
        if self._ended or not select.select([sys.stdin], [], [], 0.0)[0]:
            return ""
        data = os.read(sys.stdin.fileno(), 64)
        self._ended = not data
        return data.decode("ascii", "ignore")


@contextlib.contextmanager
def keys(even_piped: bool) -> Iterator[Callable[[], str]]:
    """Function that returns the keys pressed since its last call.

    From a terminal they come without Enter. A pipe is read only where ``even_piped``.
    """
    terminal = _terminal()
    if terminal is None:
        yield Keys().pressed if even_piped and _has_file() else lambda: ""
        return
    import termios
    import tty

    file, before = terminal
    try:
        tty.setcbreak(file)
        yield Keys().pressed
    finally:
        termios.tcsetattr(file, termios.TCSADRAIN, before)


def _terminal() -> tuple[int, list[Any]] | None:
    """Descriptor and settings of the terminal that stdin is; None where it is none."""
    try:
        import termios
    except ImportError:  # Windows
        return None
    try:
        file = sys.stdin.fileno()
        return file, termios.tcgetattr(file)
    except (AttributeError, OSError, ValueError, termios.error):
        return None


def _has_file() -> bool:
    try:
        return sys.stdin.fileno() >= 0
    except (AttributeError, OSError, ValueError):  # replaced by an object of another kind, or closed
        return False
