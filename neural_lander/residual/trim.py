"""Trim: the offset between label and prediction that battery, mass and thrust scale cause, estimated off the ground.

It drifts from flight to flight, is as large as the ground effect, and no network can know it. Training removes it per
flight. Every predictor that is compared gets the same trim, from its own errors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from neural_lander.residual.samples import ResidualSamples
from neural_lander.residual.scoring import scoring_rule
from neural_lander.vehicle import Vehicle

LEAST_SAMPLES = 100  # of the 100 Hz grid that a flight's own bias is the mean of; guess
LOW_NOISE = 2.0  # standard deviation of a sample near the ground over that of a high one; guess
WALK = 0.002  # step of the offset in 10 ms over the deviation of a high sample: 2 % in a second; chosen on the walks


class TrimRule(Protocol):
    """Offsets to add to a prediction."""

    def __call__(self, missing: np.ndarray, high: np.ndarray, low: np.ndarray) -> np.ndarray:
        """Offset at each sample in N, ``(N, 3)``.

        Parameters
        ----------
        missing
            Label minus prediction in N, ``(N, 3)``.
        high, low
            Samples of the same flight that the trim may be estimated from, ``(N,)`` bool: far from the ground, where
            little but the trim is missing, and near it.
        """
        ...


def no_trim(missing: np.ndarray, high: np.ndarray, low: np.ndarray) -> np.ndarray:
    """Nothing is added: raw errors."""
    del high, low
    return np.zeros_like(missing)


def flight_trim(missing: np.ndarray, high: np.ndarray, low: np.ndarray) -> np.ndarray:
    """The mean over the high samples of the whole flight; nothing where it has none."""
    del low
    if not high.any():
        return np.zeros_like(missing)
    return np.broadcast_to(missing[high].mean(axis=0), missing.shape)


def online_trim(missing: np.ndarray, high: np.ndarray, low: np.ndarray) -> np.ndarray:
    """What a filter knows of the offset before each sample, from earlier ones alone; nothing before the first.

    The offset is a random walk that each sample measures (a scalar Kalman filter per axis, without a prior). Samples
    near the ground count for less, since there the model errs too.
    """
    noise2 = np.where(high, 1.0, LOW_NOISE**2).tolist()
    known = (high | low).tolist()
    offsets, offset, variance = np.zeros_like(missing), np.zeros(missing.shape[1]), np.inf
    for k, measured in enumerate(missing):
        offsets[k] = offset
        variance += WALK**2
        if known[k]:
            gain = 1.0 if variance == np.inf else variance / (variance + noise2[k])
            offset = offset + gain * (measured - offset)
            variance = noise2[k] if variance == np.inf else (1.0 - gain) * variance
    return offsets


REACHED = (0.0, 0.05, 0.1, 0.2, 0.4)  # m above the trim height, over which what is left of a ground effect ends; guess
TOP = 0.1  # of the samples by height, whose level stands in for one far from the ground that was never seen; guess
LEAST_BEYOND = 500  # samples of all flights beyond a height, for it to be where the effect has ended: 5 s, guess

TRIMS: Mapping[str, TrimRule] = {"none": no_trim, "flight": flight_trim, "online": online_trim}


def trim_height(vehicle: Vehicle) -> float:
    """Height of the centre of mass in m above which samples serve to estimate the trim."""
    return scoring_rule(vehicle).trim_above


def trim_reference(samples: ResidualSamples, above: float) -> np.ndarray:
    """Scored samples above a height of the centre of mass in m, ``(N,)`` bool."""
    return samples.scored & (samples.centre_height > above)


def flight_biases(flights: Sequence[ResidualSamples], masks: Sequence[np.ndarray], above: float) -> np.ndarray:
    """Each flight's own bias far from the ground in N, world, ``(K, 3)``: its label at rest.

    Least squares of the label on velocity and height, one law for all flights and one offset for each: a flight that
    drifted one way on the whole met drag on the whole, and one that was low for long met what reaches up there; neither
    is a bias. Where the effect is taken to have ended is the last height of ``REACHED`` that was flown beyond for long
    enough: an offset is a level that was seen, and no extrapolation. Training takes the offsets' differences off its
    labels and leaves their mean. A flight with less than a second up there counts as average; where all have, the level
    of the highest tenth of all samples is everybody's.

    Parameters
    ----------
    masks
        ``(N,)`` bool per flight: the samples that are trained on.
    above
        Height of the centre of mass in m.
    """
    high = [m & (f.centre_height > above) for f, m in zip(flights, masks, strict=True)]
    known = bias_known(flights, masks, above)
    if not any(known):
        return np.tile(_level_at_the_top(flights, masks), (len(flights), 1))
    label = [f.label[m] for f, m, k in zip(flights, high, known, strict=True) if k]
    over = [f.centre_height[m] - above for f, m, k in zip(flights, high, known, strict=True) if k]
    knots = _ended(np.concatenate(over))
    velocity = [f.velocity[m] for f, m, k in zip(flights, high, known, strict=True) if k]
    common = [_common(v, h, knots) for v, h in zip(velocity, over, strict=True)]
    moved, felt = (np.concatenate([x - x.mean(axis=0) for x in part]) for part in (common, label))
    law = np.linalg.lstsq(moved, felt, rcond=None)[0]
    offsets = np.array([y.mean(axis=0) - x.mean(axis=0) @ law for y, x in zip(label, common, strict=True)])
    biases = np.tile(offsets.mean(axis=0), (len(flights), 1))
    biases[known] = offsets
    return biases


def bias_known(flights: Sequence[ResidualSamples], masks: Sequence[np.ndarray], above: float) -> list[bool]:
    """Of each flight, whether it was long enough far from the ground to have a bias of its own."""
    return [int((m & (f.centre_height > above)).sum()) >= LEAST_SAMPLES for f, m in zip(flights, masks, strict=True)]


def _level_at_the_top(flights: Sequence[ResidualSamples], masks: Sequence[np.ndarray]) -> np.ndarray:
    """Mean label (3,) N of the highest tenth of all samples; 0 without any."""
    height = np.concatenate([f.centre_height[m] for f, m in zip(flights, masks, strict=True)])
    if not len(height):
        return np.zeros(3)
    label = np.concatenate([f.label[m] for f, m in zip(flights, masks, strict=True)])
    return np.asarray(label[height >= np.quantile(height, 1 - TOP)].mean(axis=0))


def _ended(over: np.ndarray) -> tuple[float, ...]:
    """Knots of ``REACHED`` up to the last one beyond which enough of the heights (n,) m lie; the first at least."""
    enough = sum(int((over > knot).sum()) >= LEAST_BEYOND for knot in REACHED)
    return REACHED[: max(enough, 1)]


def _common(velocity: np.ndarray, over: np.ndarray, knots: tuple[float, ...]) -> np.ndarray:
    """Velocity (n, 3), and hats over the height (n,) that leave 0 at the last knot and further up, (n, 3 + K)."""
    hats = [np.interp(over, knots, row) for row in np.eye(len(knots))[:-1]]
    return np.column_stack([velocity, *hats])
