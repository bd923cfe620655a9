"""Time axis of residual samples: uniform grid, interpolation, motor lag, and acceleration by differentiation."""

from __future__ import annotations

import numpy as np
from scipy.signal import butter, sosfiltfilt

from neural_lander.errors import UserError
from neural_lander.flightlog import resampling
from neural_lander.flightlog.log import FlightLog
from neural_lander.flightlog.resampling import FILTER_ORDER, linear
from neural_lander.vehicle import G_VECTOR

SAMPLE_PERIOD = resampling.PERIOD  # s, the 100 Hz grid that predictions and labels live on
MAX_GAP = 0.05  # s between records: five samples of the grid; longer, and the interpolation is invented
MIN_DURATION = 1.0  # s
MAX_DURATION = 4 * 3600.0  # s; no battery lasts that long, so the clock jumped; a guess
FAST = 1.5  # times the grid's rate: records that come faster are filtered before every so many of them are taken
ANTI_ALIAS = 40.0  # Hz: passes what the grid can hold, with room to fall off before its 50 Hz
MOST_FINE = 20  # times the grid's rate: 2 kHz, more than any flight log; it bounds the memory of a damaged one
ANTI_ALIAS_ORDER = 4  # Butterworth, run forwards and backwards


def uniform_grid(log: FlightLog) -> np.ndarray:
    """100 Hz from the first record to the last, in s.

    Raises
    ------
    UserError
        Where the log is shorter than a second, or so long that its clock must have jumped.
    """
    if log.duration < MIN_DURATION:
        raise UserError(
            f"log {log.source or '(unnamed)'} lasts {log.duration:.3g} s; at least {MIN_DURATION:g} s are needed"
        )
    if log.duration > MAX_DURATION:
        raise UserError(
            f"log {log.source or '(unnamed)'} spans {log.duration:.4g} s in {len(log.t)} records, the longest gap is "
            f"{np.diff(log.t).max():.4g} s: its clock jumps; cut it there (at most {MAX_DURATION:g} s are read)"
        )
    n = int(np.floor((log.t[-1] - log.t[0]) / SAMPLE_PERIOD + 1e-9)) + 1
    return log.t[0] + SAMPLE_PERIOD * np.arange(n)


def interpolate(t: np.ndarray, t_log: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Values of ``(M,)`` or ``(M, k)`` records at the times t of the uniform grid.

    Linear interpolation; records that come faster than 150 Hz pass a zero-phase low-pass filter of 40 Hz before, so
    that vibration above 50 Hz is not folded into the grid's band.
    """
    fine, factor = finer(t, t_log)
    return thinned(linear(fine, t_log, values), factor)


def finer(t: np.ndarray, t_log: np.ndarray) -> tuple[np.ndarray, int]:
    """Times at least as close as the records of a log that is faster than the uniform grid t, and how many per sample.

    Where a log is not, the grid itself, and 1.
    """
    per_sample = SAMPLE_PERIOD / float(np.median(np.diff(t_log)))
    if per_sample <= FAST or len(t) < 2:
        return t, 1
    factor = min(int(np.ceil(per_sample)), MOST_FINE)
    return t[0] + SAMPLE_PERIOD / factor * np.arange(factor * (len(t) - 1) + 1), factor


def thinned(values: np.ndarray, factor: int) -> np.ndarray:
    """Every ``factor``-th value of the finer times, filtered there."""
    if factor == 1:
        return values
    sections = butter(ANTI_ALIAS_ORDER, ANTI_ALIAS, fs=factor / SAMPLE_PERIOD, output="sos")
    return np.asarray(sosfiltfilt(sections, values, axis=0)[::factor])


def gaps(t: np.ndarray, t_log: np.ndarray, longest: float = MAX_GAP) -> np.ndarray:
    """True for grid times that lie inside a hole of more than ``longest`` s between two records."""
    after = np.clip(np.searchsorted(t_log, t, side="right"), 1, len(t_log) - 1)
    return (t_log[after] - t_log[after - 1] > longest) & (t > t_log[after - 1]) & (t < t_log[after])


def zero_phase(values: np.ndarray, cut_off: float) -> np.ndarray:
    """Low-pass filter along the first axis without phase shift; ``cut_off`` in Hz.

    Raises
    ------
    UserError
        Where the cut-off does not lie between 0 and 50 Hz.
    """
    if not 0 < cut_off < 0.5 / SAMPLE_PERIOD:
        raise UserError(
            f"cut-off = {cut_off:g} Hz must lie between 0 and {0.5 / SAMPLE_PERIOD:g} Hz, half the sample rate"
        )
    return resampling.zero_phase(values, cut_off)


def specific_force_from_velocity(velocity: np.ndarray, cut_off: float) -> tuple[np.ndarray, str]:
    """Filtered v' - g in m/s^2, world, from velocity ``(N, 3)``, and a sentence that says how."""
    acceleration = np.gradient(velocity, SAMPLE_PERIOD, axis=0)
    how = f"differentiated velocity, zero-phase Butterworth of order {2 * FILTER_ORDER}, {cut_off:g} Hz, on all inputs"
    return zero_phase(acceleration, cut_off) - G_VECTOR, how
