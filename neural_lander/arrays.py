"""One law, two array libraries: which namespace an array belongs to.

Everything on the flight path is written over the Python array API standard, so that NumPy flies one
vehicle and torch a batch of thousands. See https://data-apis.org/array-api/.
"""

from __future__ import annotations

from typing import Any

import array_api_compat
import numpy as np

Array = Any
"""A NumPy array, or any array of a library that ``array_api_compat`` knows (torch)."""


def namespace(*arrays: Array) -> Any:
    """Array API namespace of the arguments; NumPy's own, without the look-up, for NumPy arrays."""
    if type(arrays[0]) is np.ndarray:
        return np
    return array_api_compat.array_namespace(*arrays)


def constant(values: np.ndarray, like: Array) -> Array:
    """``values`` as an array of the library, dtype and device of ``like``."""
    if type(like) is np.ndarray:
        return values
    xp = array_api_compat.array_namespace(like)
    return xp.asarray(values, dtype=like.dtype, device=array_api_compat.device(like))


def clip(x: Array, low: float, high: float) -> Array:
    """Elementwise clip to constants; NumPy's own ``clip`` costs four times as much on a single vehicle."""
    if type(x) is np.ndarray:
        return np.minimum(np.maximum(x, low), high)
    return array_api_compat.array_namespace(x).clip(x, low, high)


def relu(x: Array) -> Array:
    """max(x, 0) elementwise."""
    if type(x) is np.ndarray:
        return np.maximum(x, 0.0)
    return array_api_compat.array_namespace(x).clip(x, 0.0, None)


def rows_times(x: Array, W: Array) -> Array:
    """x W, ``(..., n), (n, m) -> (..., m)``; for one vehicle NumPy's ``dot`` takes half the time of its ``@``."""
    return x.dot(W) if type(x) is np.ndarray else x @ W


def inner(a: Array, b: Array) -> Array:
    """a . b along the last axis, ``(..., n), (..., n) -> (...)``; for one vehicle ``dot`` is twice as fast."""
    return a.dot(b) if type(a) is np.ndarray and a.ndim == 1 else namespace(a).vecdot(a, b)


def along(x: Array, v: Array) -> Array:
    """x v, ``(...), (n,) -> (..., n)``; for one vehicle a NumPy scalar needs no new axis."""
    return x * v if type(x) is np.float64 else x[..., None] * v
