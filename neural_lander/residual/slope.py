"""Whether flights identify df_a,z/dT, and what they say it is.

In slow flight m v' ~ 0, so that f_a,z = m g - T holds as an identity, and whatever sees T learns the slope -1. Only
thrust that moves by itself tells aerodynamics from that balance: here between 0.5 and 4 Hz, by least squares of
f_a,z on T, v_z and height, all band-passed alike. Where the vehicle is held in place against gusts the estimate tends
to -1 by itself, so that it says of its own data how far to trust it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from neural_lander.flightlog.excitation import BAND, in_band
from neural_lander.flightlog.fitness import LEAST_EXCITATION
from neural_lander.residual.resample import SAMPLE_PERIOD
from neural_lander.residual.samples import ResidualSamples
from neural_lander.residual.trim import trim_height
from neural_lander.vehicle import Vehicle

LEAST_RUN = 2.0  # s without a break: one period of the band's lower end
TRANSIENT = 0.5  # s at either end of a run, where the filter has not settled
BLOCK = 5.0  # s, the unit in which errors count as independent, and in which a lone flight is held out
LEAST_TIME = 20.0  # s; guess
LARGEST_ERROR = 0.1  # N/N: as large as the aerodynamic slope itself, 0 to +0.2
LEAST_SLOPE = -0.5  # N/N: half way between aerodynamics and the identity


@dataclass(frozen=True)
class SlopeEvidence:
    """df_a,z/dT in the excited band."""

    slope: float | None  # N/N
    standard_error: float | None  # N/N
    """From blocks of 5 s."""
    excitation: float
    """Rms of T within the band over the weight."""
    seconds: float
    """Of flight that the estimate rests on."""
    where: str
    identified: bool
    reason: str

    def to_json(self) -> dict[str, Any]:
        """All fields as JSON values; N/N in the keys."""
        values = asdict(self)
        return {**values, "slope": self.slope, "unit": "N/N", "band_Hz": list(BAND)}


def identify_thrust_slope(
    flights: Sequence[ResidualSamples], vehicle: Vehicle, masks: Sequence[np.ndarray] | None = None
) -> SlopeEvidence:
    """The slope from the part of the flights that is far from the ground, or from all of it where that is too short.

    Parameters
    ----------
    masks
        ``(N,)`` bool per flight: samples that count; default the usable ones.
    """
    masks = [f.usable for f in flights] if masks is None else list(masks)
    above = trim_height(vehicle)
    high = [m & (f.centre_height > above) for f, m in zip(flights, masks, strict=True)]
    where, chosen = "above the trim height", high
    if sum(int(m.sum()) for m in high) * SAMPLE_PERIOD < LEAST_TIME:
        where, chosen = "at all heights", masks
    blocks = [b for f, m in zip(flights, chosen, strict=True) for b in _blocks(f, m)]
    seconds = sum(len(y) for _, y in blocks) * SAMPLE_PERIOD
    if seconds < LEAST_TIME:
        return SlopeEvidence(
            None, None, 0.0, seconds, where, False, f"{seconds:.3g} s of unbroken flight, {LEAST_TIME:g} s are needed"
        )
    slope, error = _least_squares(blocks)
    thrust = np.concatenate([X[:, 0] for X, _ in blocks])
    excitation = float(np.sqrt(np.mean(thrust**2)) / vehicle.weight)
    if excitation < LEAST_EXCITATION:
        reason = (
            f"thrust moves by {100 * excitation:.2g} % rms between {BAND[0]:g} and {BAND[1]:g} Hz, at least "
            f"{100 * LEAST_EXCITATION:g} % are needed ({slope:+.2f} +- {error:.2g} N/N was found)"
        )
    elif error > LARGEST_ERROR:
        reason = f"its standard error is {error:.2g} N/N, more than {LARGEST_ERROR:g}: fly with thrust dither"
    elif slope < LEAST_SLOPE:
        reason = f"{slope:.2f} N/N is nearer to the balance of thrust and weight (-1) than to aerodynamics (0 to 0.2)"
    else:
        reason = f"{slope:+.3f} +- {error:.2g} N/N between {BAND[0]:g} and {BAND[1]:g} Hz, {where}"
    identified = excitation >= LEAST_EXCITATION and error <= LARGEST_ERROR and slope >= LEAST_SLOPE
    return SlopeEvidence(slope, error, excitation, seconds, where, identified, reason)


def _blocks(samples: ResidualSamples, mask: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(T, v_z, h) ``(n, 3)`` and f_a,z ``(n,)``, band-passed, in blocks of at most 5 s of unbroken flight."""
    signals = np.column_stack(
        [samples.rotor_thrust.sum(-1), samples.velocity[:, 2], samples.height, samples.label[:, 2]]
    )
    edge, block = round(TRANSIENT / SAMPLE_PERIOD), round(BLOCK / SAMPLE_PERIOD)
    steps = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(np.int8)))
    for begin, end in zip(steps[::2], steps[1::2], strict=True):
        if end - begin < round(LEAST_RUN / SAMPLE_PERIOD):
            continue
        filtered = in_band(signals[begin:end], SAMPLE_PERIOD)[edge:-edge]
        for k in range(0, len(filtered), block):
            part = filtered[k : k + block]
            yield part[:, :3], part[:, 3]


def _least_squares(blocks: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[float, float]:
    """Slope in the first column and its standard error, robust against correlation within a block (Liang, Zeger)."""
    X, y = np.concatenate([a for a, _ in blocks]), np.concatenate([b for _, b in blocks])
    scale = np.maximum(np.sqrt(np.mean(X**2, axis=0)), 1e-12)
    normal = np.linalg.pinv((X / scale).T @ (X / scale))
    beta = normal @ ((X / scale).T @ y)
    scores = np.stack([(a / scale).T @ (b - (a / scale) @ beta) for a, b in blocks])
    covariance = normal @ (scores.T @ scores) @ normal
    return float(beta[0] / scale[0]), float(np.sqrt(covariance[0, 0]) / scale[0])
