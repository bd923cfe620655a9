"""Records at other times than they were logged at, and what a first-order lag makes of them."""

from __future__ import annotations

import numpy as np

PERIOD = 0.01  # s, of the uniform grid on which a log's signals are compared and learned from
FILTER_ORDER = 2  # Butterworth, run forwards and backwards: fourth order without phase


def linear(t: np.ndarray, t_log: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Records ``(M,)`` or ``(M, k)`` at the times t by linear interpolation."""
    if values.ndim == 1:
        return np.interp(t, t_log, values)
    return np.stack([np.interp(t, t_log, column) for column in values.T], axis=-1)


def first_order_lag(command: np.ndarray, period: float, time_constant: float) -> np.ndarray:
    """Response ``(N, k)`` of a first-order lag to commands that are held until the next one; at rest at the first.

    Exact for such commands; without a time constant only held. What is produced at a sample answers to the commands
    before it: the one that is logged with the sample was computed from it. With a time constant of 57.35 ms it moves by
    0.16 per 10 ms, the value identified for the Crazyflies.
    """
    from scipy.signal import lfilter  # what flies reads logs too, and does without

    keep = float(np.exp(-period / time_constant)) if time_constant > 0 else 0.0
    response, _ = lfilter([0.0, 1 - keep], [1.0, -keep], command, axis=0, zi=command[:1])
    return np.asarray(response)


def zero_phase(values: np.ndarray, cut_off: float | tuple[float, float]) -> np.ndarray:
    """What is below ``cut_off`` in Hz, or within a band, along the first axis of values on the grid; no phase shift."""
    from scipy.signal import butter, sosfiltfilt  # as above

    kind = "bandpass" if isinstance(cut_off, tuple) else "lowpass"
    return np.asarray(sosfiltfilt(butter(FILTER_ORDER, cut_off, kind, fs=1 / PERIOD, output="sos"), values, axis=0))
