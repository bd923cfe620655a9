"""A first-order lag, as that of a motor, over one step of time."""

from __future__ import annotations

import math

import numpy as np


def share_after(dt: float, time_constant: float | np.ndarray) -> float | np.ndarray:
    """Share of a step in what is asked that has been followed after dt in s; all of it without a lag."""
    if isinstance(time_constant, float | int):
        return 1.0 - math.exp(-dt / time_constant) if time_constant > 0 else 1.0
    with np.errstate(divide="ignore"):
        return 1.0 - np.exp(-dt / np.asarray(time_constant, dtype=np.float64))
