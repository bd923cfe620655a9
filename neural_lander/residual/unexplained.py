"""What of an error no model of state and thrust can take away: fast noise of the label, and motors that are cut.

Above 5 Hz the label is accelerometer and rounding; a vehicle's aerodynamics is slower. Where thrust falls or rises
within hundredths of a second, the label holds what the assumed motor lag is off by; landings end with such samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.signal import butter, sosfiltfilt

from neural_lander.residual.resample import SAMPLE_PERIOD
from neural_lander.residual.samples import ResidualSamples
from neural_lander.residual.scoring import GRAM

ABOVE = 5.0  # Hz
SETTLED = 25  # samples to the next one that is not scored, where the filter has forgotten contact
FAST = 2.0  # of the median thrust per s; random walks of two Crazyflies stay below 1.05 in 999 of 1000 samples


def unexplained(
    errors: Sequence[np.ndarray], flights: Sequence[ResidualSamples], chosen: Sequence[np.ndarray]
) -> dict[str, Any]:
    """Fast noise in the errors of f_a,z, and the share of their square from fast thrust; JSON values.

    Parameters
    ----------
    errors
        ``(N,)`` N per flight.
    chosen
        ``(N,)`` bool per flight: samples that count.
    """
    noise = np.concatenate([_fast_part(e)[_inner(m)] for e, m in zip(errors, chosen, strict=True)])
    rms = float(np.sqrt(np.mean(noise**2))) if len(noise) else None
    parts = list(zip(errors, flights, chosen, strict=True))
    fast = np.concatenate([_fast_thrust(f, m)[m] for _, f, m in parts])
    square = np.concatenate([e[m] ** 2 for e, _, m in parts])
    low = np.concatenate([f.low[m] for _, f, m in parts])
    return {
        f"error_above_{ABOVE:g}_Hz_N": rms,
        f"error_above_{ABOVE:g}_Hz_g": None if rms is None else rms / GRAM,
        "samples_in_fast_thrust": int(fast.sum()),
        "share_of_square_in_fast_thrust": _share(square, fast),
        "share_of_square_in_fast_thrust_low": _share(square[low], fast[low]),
    }


def _fast_part(error: np.ndarray) -> np.ndarray:
    sections = butter(2, ABOVE, "highpass", fs=1 / SAMPLE_PERIOD, output="sos")
    return np.asarray(sosfiltfilt(sections, error))


def _inner(chosen: np.ndarray) -> np.ndarray:
    """Chosen samples with none but chosen ones around them."""
    return np.convolve(~chosen, np.ones(2 * SETTLED + 1), "same") < 0.5


def _fast_thrust(flight: ResidualSamples, chosen: np.ndarray) -> np.ndarray:
    total = flight.rotor_thrust.sum(axis=1)
    usual = float(np.median(total[chosen])) if chosen.any() else np.inf
    return np.abs(flight.thrust_rate) > FAST * usual


def _share(square: np.ndarray, part: np.ndarray) -> float | None:
    return float(square[part].sum() / square.sum()) if square.sum() > 0 else None
