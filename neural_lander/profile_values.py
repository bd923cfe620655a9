"""Values of a vehicle profile: each with its unit and its source, in its range and shape."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from neural_lander.errors import UserError


def quantity(profile: Mapping[str, Any], key: str, unit: str, source: str) -> Any:
    """What a profile gives, in the unit that is expected and with a source.

    Raises
    ------
    UserError
        Naming the key and what is missing or other than expected; so do the functions below.
    """
    entry = profile[key]
    if (
        not isinstance(entry, dict)
        or not {"value", "unit", "source"} >= set(entry)
        or "value" not in entry
        or "unit" not in entry
    ):
        raise UserError(
            f'vehicle file {source}: {key} must be {{ value = ..., unit = "{unit}", source = "where it is from" }}'
        )
    if not str(entry.get("source", "")).strip():
        raise UserError(
            f"vehicle file {source}: {key} names no source; write where the value is from, or that it is a guess"
        )
    if entry["unit"] != unit:
        raise UserError(f"vehicle file {source}: {key} is given in '{entry['unit']}', expected '{unit}'")
    return entry["value"]


def entries(table: Any, name: str, keys: Iterable[str], source: str) -> dict[str, Any]:
    """Entries of a table within a profile, by ``name.key``; it has these keys and no others.

    Raises
    ------
    UserError
        Where it has not.
    """
    keys = list(keys)
    if not isinstance(table, dict) or set(table) != set(keys):
        raise UserError(f"vehicle file {source}: {name} needs exactly the keys {', '.join(keys)}")
    return {f"{name}.{key}": entry for key, entry in table.items()}


def scalar(profile: Mapping[str, Any], key: str, unit: str, low: float, high: float, source: str) -> float:
    """A number of a profile in its range."""
    return number(key, quantity(profile, key, unit, source), unit, low, high, f"vehicle file {source}: ")


def number(key: str, value: Any, unit: str, low: float, high: float, where: str = "") -> float:
    """A value that is a number in (low, high].

    Raises
    ------
    UserError
        Where it is not; the message begins with ``where``.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)) or not low < value <= high:
        raise UserError(f"{where}{key} = {value!r} {unit} must be a number in ({max(low, 0.0):g}, {high:g}]")
    return float(value)


def array(
    profile: Mapping[str, Any], key: str, unit: str, shape: tuple[int | None, ...], bound: float, source: str
) -> np.ndarray:
    """Numbers of a profile in their shape, ``None`` for any size, and of a magnitude within ``bound``."""
    return numbers(key, quantity(profile, key, unit, source), unit, shape, bound, f"vehicle file {source}: ")


def numbers(
    key: str, value: Any, unit: str, shape: tuple[int | None, ...], bound: float, where: str = ""
) -> np.ndarray:
    """A value that is an array of that shape and magnitude; the message of an error begins with ``where``."""
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        array = np.empty(0)
    if (
        array.ndim != len(shape)
        or any(want not in (None, have) for want, have in zip(shape, array.shape, strict=True))
        or not array.size
    ):
        wanted = " x ".join("K" if n is None else str(n) for n in shape)
        raise UserError(f"{where}{key} = {value!r} must be an array of {wanted} numbers in {unit}")
    if not np.all(np.isfinite(array)) or np.any(np.abs(array) > bound):
        raise UserError(f"{where}{key} = {value!r} {unit} must be finite and at most {bound:g}")
    return array
