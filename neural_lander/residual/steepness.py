"""How steeply f_a,z changes with height in the flights: what the bound on the network's slope has to leave room for."""

from __future__ import annotations

import numpy as np

WINDOW = 0.02  # m of height over which a slope is taken: the last centimetres are what matters; guess
STEP = 0.005  # m between windows
REACH = 0.5  # m: above it no ground effect is steep
LEAST_SAMPLES = 50  # per window; guess
ALIKE = 10  # samples, 0.1 s, over which the label's error hardly changes: they count as one; guess


def steepest_slope(height: np.ndarray, f_a_z: np.ndarray) -> float:
    """Largest |d f_a,z / d h| in N/m that the samples show beyond doubt.

    A least-squares line per window of height, less two standard errors, so that noise counts for nothing. Neighbours in
    time err alike: counted as independent, a few passes near the floor of a Crazyflie showed 3.5 weights/m, where all
    its flights show 2.4.

    Parameters
    ----------
    height
        (N,) m, of the gear above the terrain.
    f_a_z
        (N,) N, label.

    Returns
    -------
    float
        0 where no window holds enough samples.
    """
    order = np.argsort(height)
    h, f = height[order], f_a_z[order]
    steepest = 0.0
    for low in np.arange(h[0] if len(h) else 0.0, REACH, STEP):
        a, b = np.searchsorted(h, [low, low + WINDOW])
        if b - a < LEAST_SAMPLES or np.ptp(h[a:b]) < WINDOW / 2:
            continue
        x, y = h[a:b] - h[a:b].mean(), f[a:b] - f[a:b].mean()
        slope = float(x @ y / (x @ x))
        error = float(np.sqrt(np.sum((y - slope * x) ** 2) / (b - a - 2) / (x @ x) * ALIKE))
        steepest = max(steepest, abs(slope) - 2 * error)
    return steepest
