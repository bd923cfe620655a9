"""How much thrust moves in a flight, where that tells its own effect from its balance with gravity."""

from __future__ import annotations

import numpy as np

BAND = (0.5, 4.0)  # Hz: where thrust must move for its own effect to be told from its balance with gravity; above the
# position loop, below the motors' and the attitude loop's lag
LEAST_FLIGHT = 10.0  # s
GAP = 0.05  # s between two records: what the residual's samples call a hole
GRID = 0.02  # s, of the spectrum


def band_rms(t: np.ndarray, thrust: np.ndarray, airborne: np.ndarray) -> float | None:
    """Rms of thrust between 0.5 and 4 Hz over its mean, in the longest flight without gaps; None below 5 s."""
    limit = max(GAP, 4 * float(np.median(np.diff(t))))
    breaks = np.flatnonzero((np.diff(airborne.astype(int)) != 0) | (np.diff(t) > limit)) + 1
    stretches = [s for s in np.split(np.arange(len(t)), breaks) if len(s) > 1 and airborne[s[0]]]
    longest = max(stretches, key=lambda s: float(t[s[-1]] - t[s[0]]), default=None)
    if longest is None or t[longest[-1]] - t[longest[0]] < LEAST_FLIGHT / 2:
        return None
    grid = np.arange(t[longest[0]], t[longest[-1]], GRID)
    values = np.interp(grid, t[longest], thrust[longest])
    mean = float(values.mean())
    window = np.hanning(len(values))
    spectrum = np.abs(np.fft.rfft((values - mean) * window)) ** 2
    frequency = np.fft.rfftfreq(len(values), GRID)
    inside = (frequency >= BAND[0]) & (frequency <= BAND[1])
    power = 2 * float(spectrum[inside].sum()) / (len(values) * float(np.sum(window**2)))
    return float(np.sqrt(power)) / mean if mean > 0 else None
