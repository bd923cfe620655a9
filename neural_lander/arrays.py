"""One law, two array libraries: which namespace an array belongs to.

Everything on the flight path is written over the Python array API standard, so that NumPy flies one
vehicle and torch a batch of thousands. See https://data-apis.org/array-api/.
"""

from __future__ import annotations

from typing import Any

import array_api_compat
import numpy as np
from numpy import ndarray

Array = Any
"""A NumPy array, or any array of a library that ``array_api_compat`` knows (torch)."""


def namespace(*arrays: Array) -> Any:
    """Array API namespace of the arguments; NumPy's own, without the look-up, for NumPy arrays."""
    if type(arrays[0]) is ndarray:
        return np
    known = _KNOWN.get(type(arrays[0]))
    if known is None:
        known = array_api_compat.array_namespace(*arrays)
        if array_api_compat.is_array_api_obj(arrays[0]):
            _KNOWN[type(arrays[0])] = known
    return known


_KNOWN: dict[type, Any] = {}  # looked up once per type: torch.compile cannot look into the search itself


def constant(values: np.ndarray, like: Array) -> Array:
    """``values`` as an array of the library, dtype and device of ``like``; as they are where they are that already."""
    if type(like) is ndarray or (type(values) is type(like) and values.dtype == like.dtype):
        return values
    xp = namespace(like)
    return xp.asarray(values, dtype=like.dtype, device=like.device)


def clip(x: Array, low: float | Array, high: float | Array) -> Array:
    """Elementwise clip to constants; NumPy's own ``clip`` costs four times as much on a single vehicle."""
    if type(x) is ndarray:
        return np.minimum(np.maximum(x, low), high)
    return x.clip(low, high)


def relu(x: Array) -> Array:
    """max(x, 0) elementwise."""
    if type(x) is ndarray:
        return np.maximum(x, _ZERO)
    return x.clip(0.0, None)


_ZERO = np.zeros(())  # a number in NumPy's own form: it converts a Python float anew at every call


def rows_times(x: Array, W: Array) -> Array:
    """x W, ``(..., n), (n, m) -> (..., m)``; for one vehicle NumPy's ``dot`` takes half the time of its ``@``.

    A batch has one array per component (see :func:`~neural_lander.components.join`): W^T x^T keeps it that way, and
    takes a third of the time.
    """
    if type(x) is ndarray:
        return x.dot(W)
    return x @ W if x.ndim == 1 else (W.mT @ x.mT).mT


def inner(a: Array, b: Array) -> Array:
    """a . b along the last axis, ``(..., n), (..., n) -> (...)``; for one vehicle ``dot`` is twice as fast."""
    return a.dot(b) if type(a) is ndarray and a.ndim == 1 else namespace(a).vecdot(a, b)


def along(x: Array, v: Array) -> Array:
    """x v, ``(...), (n,) -> (..., n)``; for one vehicle a float needs no new axis."""
    return x * v if isinstance(x, float) else x[..., None] * v
