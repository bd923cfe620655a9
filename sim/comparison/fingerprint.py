"""What decides a campaign's numbers, as hashes: two runs may be joined only where all of it is the same."""

from __future__ import annotations

import copyreg
import hashlib
import inspect
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np

import neural_lander
import sim
from sim.comparison.sources import ours, source_of, sources, users

LENGTH = 16  # hexadecimal digits that are kept: 64 bits
BY_TYPE = ("numpy.random", "random", "tempfile", "threading", "_thread", "socket", "subprocess", "uuid", "torch._C")
"""Modules whose objects are others in every process, or draw: of these the type counts."""
UNCOUNTED = ("__dict__", "__weakref__", "__module__", "__doc__", "__slotnames__")  # of what is in a class

_kept: dict[int, tuple[object, bytes]] = {}
"""id of a function or class -> itself, and its hash as it was before anything flew."""


def fingerprint(value: Any) -> str:
    """Hash of a value's content, the same in every process: what pickle would carry of it, and the code behind it.

    Numbers, arrays, tensors, text, containers and dataclasses count by content; of any other object its class and all
    its state, private attributes and slots included; of a function its defaults, its closure and what is set on it.
    With a user's code goes the file that defines it, and every other file of the user's that this one imports,
    directly or not; without a file its bytecode and the globals that it names. What is installed, and Python itself,
    is not followed.

    By its type alone counts what is another in every process, or cannot be pickled: generators of random numbers,
    locks, open files, threads, UUIDs. A number that is another in every process, a time or an ``id``, makes another
    value; a class keeps it out by a ``__getstate__`` without it. What a ``cached_property`` has kept does not count.
    """
    return _Digest().of(value).hex()[:LENGTH]


@contextmanager
def before_flight(*values: Any) -> Iterator[None]:
    """Until the end of it, functions and classes in these count as they are now.

    Every flight has copies of its effects, yet functions and classes are not copied: what they keep while flying must
    not make a later campaign of the same command another one.
    """
    before = dict(_kept)
    digest = _Digest()
    digest.of(values)
    _kept.update({k: known for k, known in digest.known.items() if k not in before and _is_code(known[0])})
    try:
        yield
    finally:
        _kept.clear()
        _kept.update(before)


@cache
def code_fingerprint() -> str:
    """Hash of the sources of this project's packages that a simulated flight runs through."""
    digest = hashlib.sha256()
    for package in (neural_lander, sim):
        folder = Path(package.__path__[0])
        for path in sorted(folder.rglob("*.py")):
            digest.update(str(path.relative_to(folder)).encode() + path.read_bytes())
    return digest.hexdigest()[:LENGTH]


class _Digest:
    """Hashes of values by those of their parts; each object once, and one within itself by how far up it is."""

    def __init__(self) -> None:
        self.known: dict[int, tuple[object, bytes]] = {}
        """id -> the object, which lives as long as this does, and its hash."""
        self._open: dict[int, int] = {}
        self._sources: dict[str, bytes] = {}

    def of(self, value: Any) -> bytes:
        """Hash of a value."""
        if value is None or type(value) in (bool, int, float, str, bytes):
            return _hashed(type(value).__name__.encode(), repr(value).encode())
        key = id(value)
        found = _kept.get(key) or self.known.get(key)
        if found is not None:
            return found[1]
        if key in self._open:
            return _hashed(b"within", str(len(self._open) - self._open[key]).encode())
        self._open[key] = len(self._open)
        digest = _hashed(*self._parts(value))
        del self._open[key]
        self.known[key] = value, digest
        return digest

    def _parts(self, value: Any) -> Iterator[bytes]:
        kind = type(value)
        if isinstance(value, (np.ndarray, np.generic)) and not value.dtype.hasobject:
            yield f"array:{value.dtype.str}:{value.shape}".encode()
            yield np.ascontiguousarray(value).tobytes()
        elif isinstance(value, np.ndarray):
            yield f"array of objects:{value.shape}".encode()
            yield self.of(value.tolist())
        elif kind in (dict, types.MappingProxyType):
            yield f"mapping:{len(value)}".encode()
            for key, entry in sorted((self.of(key), self.of(entry)) for key, entry in value.items()):
                yield key + entry
        elif kind in (set, frozenset):
            yield f"set:{len(value)}".encode()
            yield from sorted(self.of(entry) for entry in value)
        elif kind in (list, tuple):
            yield f"sequence:{len(value)}".encode()
            yield from (self.of(entry) for entry in value)
        elif isinstance(value, types.ModuleType):
            yield f"module:{value.__name__}".encode()
            yield self._imports(value.__name__)
        elif isinstance(value, type):
            yield from self._class(value)
        elif isinstance(value, types.FunctionType):
            yield from self._function(value)
        elif isinstance(value, types.CodeType):
            yield value.co_code
            yield self.of([value.co_names, value.co_varnames, value.co_consts])
        elif _is_tensor(value):
            yield b"tensor:" + str(value.dtype).encode()
            yield self.of(value.detach().cpu().double().numpy() if value.is_floating_point() else value.tolist())
        else:
            yield self.of(kind)
            yield from self._state(value)

    def _class(self, kind: type) -> Iterator[bytes]:
        """Of a user's class also what is in it: one made by a function has values that its file does not tell."""
        yield from self._code(kind)
        if users(kind.__module__):
            yield self.of(list(kind.__bases__))
            yield self.of({k: v for k, v in vars(kind).items() if k not in UNCOUNTED})

    def _function(self, function: types.FunctionType) -> Iterator[bytes]:
        yield from self._code(function)
        yield self.of([function.__defaults__, function.__kwdefaults__, vars(function)])
        for cell in function.__closure__ or ():
            try:
                yield self.of(cell.cell_contents)
            except ValueError:  # empty yet
                yield b"empty"
        if users(function.__module__ or "") and not source_of(function):
            yield self.of(function.__code__)
            named = [name for name in sorted(_names(function.__code__)) if name in function.__globals__]
            yield self.of({name: function.__globals__[name] for name in named})

    def _code(self, code: Any) -> Iterator[bytes]:
        yield f"code:{code.__module__}:{code.__qualname__}".encode()
        yield source_of(code)
        yield self._imports(code.__module__ or "")

    def _imports(self, module: str) -> bytes:
        if module not in self._sources:
            self._sources[module] = _hashed(*sources(module))
        return self._sources[module]

    def _state(self, value: Any) -> Iterator[bytes]:
        kind = type(value)
        if any(kind.__module__ == name or kind.__module__.startswith(f"{name}.") for name in BY_TYPE):
            return
        if isinstance(value, (staticmethod, classmethod)):
            yield self.of(value.__func__)
        elif isinstance(value, property):
            yield self.of([value.fget, value.fset, value.fdel])
        elif isinstance(value, cached_property):
            yield self.of(value.func)
        elif is_dataclass(value) and ours(kind.__module__):  # whose other attributes are kept for speed
            yield self.of({f.name: getattr(value, f.name) for f in fields(value)})
        else:
            reduced = _reduced(value)
            if isinstance(reduced, tuple):
                made, arguments, *rest = reduced
                state, entries, items = (*rest[:3], None, None, None)[:3]
                yield self.of([made, arguments, _without_kept(kind, state)])
                yield self.of([list(entries or ()), list(items or ())])
            elif hasattr(value, "__wrapped__"):  # a function with a cache
                yield self.of(value.__wrapped__)
            elif isinstance(reduced, str):
                yield reduced.encode()
            else:
                yield self.of(_without_kept(kind, getattr(value, "__dict__", None)))


def _reduced(value: Any) -> Any:
    """What pickle would make of it; None where it is nothing to pickle."""
    try:
        reducer = copyreg.dispatch_table.get(type(value))
        return value.__reduce_ex__(2) if reducer is None else reducer(value)
    except Exception:  # noqa: BLE001 (a stranger's class may refuse by raising anything)
        return None


def _without_kept(kind: type, state: Any) -> Any:
    """State without what a ``cached_property`` has kept."""
    if isinstance(state, tuple):  # of attributes and slots
        return [_without_kept(kind, part) for part in state]
    if not isinstance(state, dict):
        return state
    kept = {k for k in state if isinstance(inspect.getattr_static(kind, str(k), None), cached_property)}
    return {k: v for k, v in state.items() if k not in kept}


def _is_code(value: object) -> bool:
    return isinstance(value, type | types.FunctionType) or hasattr(value, "__wrapped__")


def _is_tensor(value: Any) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def _names(code: types.CodeType) -> set[str]:
    """Global names in a function and in those within it."""
    inner = [_names(constant) for constant in code.co_consts if isinstance(constant, types.CodeType)]
    return set(code.co_names).union(*inner)


def _hashed(*parts: bytes) -> bytes:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.digest()
