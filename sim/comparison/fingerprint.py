"""What decides a campaign's numbers, as hashes: two runs may be joined only where all of it is the same."""

from __future__ import annotations

import hashlib
import inspect
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

import neural_lander
import sim

LENGTH = 16  # hexadecimal digits that are kept: 64 bits


def fingerprint(value: Any) -> str:
    """Hash of a value's content: numbers, arrays, text, dataclasses, containers; of an effect also its source.

    Of any other object the class and its public attributes count; what it keeps to itself while flying does not.
    """
    digest = hashlib.sha256()
    for part in _parts(value):
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()[:LENGTH]


@cache
def code_fingerprint() -> str:
    """Hash of the sources of this project's packages that a simulated flight runs through."""
    digest = hashlib.sha256()
    for package in (neural_lander, sim):
        folder = Path(package.__path__[0])
        for path in sorted(folder.rglob("*.py")):
            digest.update(str(path.relative_to(folder)).encode() + path.read_bytes())
    return digest.hexdigest()[:LENGTH]


def _parts(value: Any) -> Iterator[bytes]:
    if value is None or isinstance(value, (bool, int, float, str, bytes)):
        yield f"{type(value).__name__}:{value!r}".encode()
    elif isinstance(value, (np.ndarray, np.generic)):
        array = np.ascontiguousarray(value)
        yield f"array:{array.dtype.str}:{array.shape}".encode()
        yield array.tobytes()
    elif isinstance(value, Mapping):
        yield f"mapping:{len(value)}".encode()
        for key in sorted(value, key=repr):
            yield from _parts(key)
            yield from _parts(value[key])
    elif isinstance(value, (Sequence, set, frozenset)):
        entries = sorted(value, key=repr) if isinstance(value, (set, frozenset)) else value
        yield f"sequence:{len(value)}".encode()
        for entry in entries:
            yield from _parts(entry)
    elif isinstance(value, (type, types.FunctionType, types.BuiltinFunctionType, types.MethodType)):
        yield f"code:{value.__module__}:{value.__qualname__}".encode()
        yield _source(value)
    else:
        yield from _parts(type(value))
        if is_dataclass(value):
            yield from _parts({f.name: getattr(value, f.name) for f in fields(value)})
        else:
            yield from _parts({k: v for k, v in getattr(value, "__dict__", {}).items() if not k.startswith("_")})


def _source(code: Any) -> bytes:
    """File that defines it; nothing for what has none. Ours is counted by :func:`code_fingerprint` already."""
    if code.__module__.partition(".")[0] in ("neural_lander", "sim"):
        return b""
    try:
        return Path(inspect.getfile(code)).read_bytes()
    except (TypeError, OSError):
        return b""
