"""The files behind a user's code: the one that defines it, and the user's other files that it imports."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import site
import sys
import sysconfig
from collections.abc import Iterator
from functools import cache
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Any

PACKAGES = ("site-packages", "dist-packages")
OURS = ("neural_lander", "sim")  # counted as a whole by :func:`~sim.comparison.fingerprint.code_fingerprint`


def ours(module: str) -> bool:
    """Whether a module is of this project."""
    return module.partition(".")[0] in OURS


def users(module: str) -> bool:
    """Whether a module is a user's own: not ours, not Python's, not installed. One without a file may be typed in."""
    top = module.partition(".")[0]
    if not module or ours(module) or top in sys.stdlib_module_names or top in sys.builtin_module_names:
        return False
    if top != module and not users(top):
        return False
    path = _path(module)
    return path is None or not _installed(path)


def source_of(code: Any) -> bytes:
    """The file that defines a function or class; nothing for what has none, and for what is ours or Python's."""
    module = code.__module__ or ""
    if ours(module) or module.partition(".")[0] in sys.stdlib_module_names:
        return b""
    try:
        return Path(inspect.getfile(code)).read_bytes()
    except (TypeError, OSError):
        return b""


def sources(module: str) -> Iterator[bytes]:
    """Name and content of a user's module and of the user's others that it imports, directly or not.

    Nothing is imported for it.
    """
    waiting, seen = [module], {""}
    while waiting:
        name = waiting.pop(0)
        if name in seen or not users(name):
            continue
        seen.add(name)
        path = _path(name)
        try:
            content = b"" if path is None else path.read_bytes()
        except OSError:
            continue
        if content:
            yield name.encode() + b":" + content
        waiting += [*_imported(name, path, content), name.rpartition(".")[0]]


def _imported(module: str, path: Path | None, content: bytes) -> list[str]:
    """Modules that a source names: all it says, ``if`` and ``try`` included."""
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError):  # no Python: compiled
        return []
    package = module if path is not None and path.stem == "__init__" else module.rpartition(".")[0]
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*parents, *([node.module] if node.module else [])])
            found += [base, *(f"{base}.{alias.name}" for alias in node.names)]
    return found


def _path(module: str) -> Path | None:
    """File of a module, imported or not; None where there is none."""
    if module in sys.modules:
        file = getattr(sys.modules[module], "__file__", None)
        return None if file is None else Path(file)
    spec = _spec(module)
    return Path(spec.origin) if spec is not None and spec.has_location and spec.origin else None


def _spec(module: str) -> ModuleSpec | None:
    parent = module.rpartition(".")[0]
    if parent:
        package = _spec(parent)
        folders = None if package is None else package.submodule_search_locations
        return PathFinder.find_spec(module, folders) if folders else None
    try:
        return importlib.util.find_spec(module)
    except ValueError:  # one that was made, and not loaded
        return None


@cache
def _installed(path: Path) -> bool:
    paths = sysconfig.get_paths()
    folders = [paths[key] for key in ("stdlib", "platstdlib", "purelib", "platlib")]
    folders += [*site.getsitepackages(), site.getusersitepackages()]
    return any(path.is_relative_to(folder) for folder in folders) or not {*path.parts}.isdisjoint(PACKAGES)
