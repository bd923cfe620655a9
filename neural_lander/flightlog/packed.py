"""Packed records scattered over a file."""

from __future__ import annotations

import numpy as np


def gather(data: bytes, places: list[int], dtype: np.dtype) -> np.ndarray:
    """Records of one packed type that begin at the given offsets, ``(N,)`` structured; each must lie in ``data``."""
    rows = np.frombuffer(data, np.uint8)[np.asarray(places, dtype=np.intp)[:, None] + np.arange(dtype.itemsize)]
    return np.ascontiguousarray(rows).view(dtype)[:, 0]


def as_float(values: np.ndarray) -> np.ndarray:
    """As float64; damaged bytes may be signalling NaNs, which NumPy would complain of."""
    with np.errstate(invalid="ignore"):
        return values.astype(np.float64)
