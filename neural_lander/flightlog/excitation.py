"""How much thrust moves in a flight, where that tells its own effect from its balance with gravity."""

from __future__ import annotations

import numpy as np

BAND = (0.5, 4.0)  # Hz: where thrust must move for its own effect to be told from its balance with gravity; above the
# position loop, below the motors' and the attitude loop's lag
LEAST_FLIGHT = 10.0  # s
GAP = 0.05  # s between two records: what the residual's samples call a hole
GRID = 0.01  # s, at which it is measured
ORDER = (
    2  # of the Butterworth filter, which is run forwards and backwards: half the amplitude is left at the band's ends
)


def in_band(values: np.ndarray, period: float) -> np.ndarray:
    """What lies within the band, without phase shift, along the first axis; ``period`` in s between values."""
    from scipy.signal import butter, sosfiltfilt

    return np.asarray(sosfiltfilt(butter(ORDER, BAND, "bandpass", fs=1 / period, output="sos"), values, axis=0))


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
    mean, weight = float(values.mean()), np.hanning(len(values)) ** 2  # take-off and landing are not flown to excite
    power = float(weight @ in_band(values, GRID) ** 2 / weight.sum())
    return float(np.sqrt(power)) / mean if mean > 0 else None
