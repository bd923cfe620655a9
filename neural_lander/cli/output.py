"""What the verbs print: one JSON object or a rendering on stdout, everything else on stderr."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

PIPE_WIDTH = 120  # columns where stdout is no terminal, so that tables in a file are not cut at rich's 80

console = Console(stderr=True)
"""For messages; stdout is for results."""

_results: ContextVar[TextIO | None] = ContextVar("results", default=None)
"""Where the one JSON object goes while stdout is kept for it."""


@contextmanager
def stdout_for_results() -> Iterator[None]:
    """Until the end of it only :func:`emit` writes to stdout; what others print there goes to stderr.

    Others are a user's effect or controller, a C library, and the worker processes that are started meanwhile: the
    file descriptor is redirected as well, and they inherit it.
    """
    with _descriptor_of_stderr(sys.stdout) as results, redirect_stdout(sys.stderr):
        token = _results.set(results)
        try:
            yield
        finally:
            _results.reset(token)


@contextmanager
def _descriptor_of_stderr(real: TextIO) -> Iterator[TextIO]:
    """Descriptor 1 is that of stderr; yields what writes to where it was, or ``real`` where that wrote elsewhere."""
    try:
        real.flush()
        saved = os.dup(1)
        os.dup2(2, 1)
    except (OSError, ValueError):  # closed, as a service may have it
        yield real
        return
    try:
        if _descriptor(real) != 1:
            yield real
            return
        with suppress(BrokenPipeError), open(saved, "w", encoding=real.encoding, closefd=False) as results:
            yield results
    finally:
        os.dup2(saved, 1)
        os.close(saved)


def _descriptor(stream: TextIO) -> int | None:
    try:
        return stream.fileno()
    except (OSError, ValueError, AttributeError):  # one in memory
        return None


def emit(result: Mapping[str, Any], as_json: bool, render: Callable[[], RenderableType]) -> None:
    """Print a verb's result on stdout: exactly one JSON object, or the rendering for people.

    Parameters
    ----------
    result
        JSON-like values; NumPy scalars and arrays, paths and dataclass-free nesting are converted. SI, unit in the key.
    as_json
        The verb's ``--json``.
    render
        Makes what people see; not called under ``--json``.
    """
    if as_json:
        stream = _results.get() or sys.stdout
        stream.write(json.dumps(to_json(result), allow_nan=False) + "\n")
        stream.flush()
    else:
        width = None if sys.stdout.isatty() else PIPE_WIDTH
        Console(width=width, markup=False, emoji=False).print(render())  # units and file names have brackets


def to_json(value: Any) -> Any:
    """``value`` with only what JSON knows; numbers that are not finite become null.

    Raises
    ------
    TypeError
        On an object that is none of mapping, sequence, array, number, string, path, bool or None.
    """
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, (np.generic, np.ndarray)):
        return to_json(value.tolist())
    if isinstance(value, Mapping):
        return {str(key): to_json(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_json(entry) for entry in value]
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


@contextmanager
def progress() -> Iterator[Progress]:
    """Progress bars on stderr, gone when done; silent where stderr is no terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        yield bars
