"""The domain of training samples, and the calibration of the fade-out on samples that lie outside of it.

The calibration counts without each flight's bias, since it is made for a controller with a trim. Without one no fading
can keep the error at or below that of no model: the model rests on the mean bias of its flights, no model on zero, and
which of the two is nearer to the next flight's bias is not known before it flies. How many training flights had theirs
nearer to the mean of the others than to zero is kept with the calibration.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from neural_lander.residual.domain import Domain, lowest_height
from neural_lander.residual.samples import ResidualSamples

KNOTS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.8, 1.2, 2.0, 3.0, 5.0)  # m of gear height; ends are added
# The lowest 5 cm share one range: contact ends a descent's samples in the last centimetre, just where the next descent
# passes at its full speed.
INSIDE = 0.995  # quantile of each range: the last half per cent are gusts and estimator glitches
LEAST_SPEED = 0.1  # m/s, smallest half width of a range: slower differences do not matter to the air; guess
LEAST_TILT = 0.05  # sine: 3 deg
LEAST_SAMPLES = 100  # per knot: with fewer the window takes in the next knots' samples, nearest first
FEW_SAMPLES = 20  # 0.2 s, one pass at 0.3 m/s: enough where that would take further than ``NEXT_KNOTS``; guess
NEXT_KNOTS = 2  # by which a window grows for ``LEAST_SAMPLES``: at the floor to 15 cm, beyond it the air is another's
INNER = 0.6  # score up to which samples are kept for the inner model, whose outside is then known
BIN_EDGES = (1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0)  # of the score, for judging the faded model
BIN_SAMPLES = 200  # least number in a bin that may speak
CAREFUL = 1.5  # ``gone`` where too few samples lie outside to calibrate it: half the range beyond its end


@dataclass(frozen=True)
class FadeCalibration:
    """How ``gone`` was found."""

    gone: float
    rows: list[dict[str, Any]]
    """Per bin of the score: samples, and RMSE of f_a,z in N of no model, of the whole model, of the faded one."""
    calibrated: bool
    nearer_rest: int
    """Flights whose bias is nearer to the mean of the others' than to zero: without a trim the model helps these."""
    flights: int

    def to_json(self) -> dict[str, Any]:
        """All fields as JSON values."""
        return {
            "gone_at_score": self.gone,
            "calibrated": self.calibrated,
            "outside": self.rows,
            "flights_with_bias_nearer_to_the_others_mean_than_to_zero": self.nearer_rest,
            "flights": self.flights,
        }


def nearer_to_rest(biases: np.ndarray) -> int:
    """How many of ``(K,)`` biases are nearer to the mean of the others than to zero."""
    if len(biases) < 2:
        return 0
    others = (biases.sum() - biases) / (len(biases) - 1)
    return int(np.sum(np.abs(biases - others) < np.abs(biases)))


def fit_domain(
    flights: Sequence[ResidualSamples],
    masks: Sequence[np.ndarray],
    gone: float = CAREFUL,
    rest: np.ndarray | None = None,
) -> Domain:
    """Ranges of the chosen samples by height; masks ``(N,)`` bool per flight, ``rest`` (3,) N or nothing."""
    height, velocity, rotor_thrust = (
        np.concatenate([getattr(f, name)[m] for f, m in zip(flights, masks, strict=True)])
        for name in ("height", "velocity", "rotor_thrust")
    )
    lateral = np.linalg.norm(velocity[:, :2], axis=1)
    tilt = np.concatenate([np.hypot(f.rows[0][2], f.rows[1][2])[m] for f, m in zip(flights, masks, strict=True)])
    low, high = float(height.min()), float(max(height.max(), height.min() + 0.01))
    knots = np.array([lowest_height(low), *(k for k in KNOTS if low + 0.005 < k < high - 0.005), high])
    v_z, speeds, tilts = [], [], []
    for k, _ in enumerate(knots):
        near, own = _around(height, knots, k)
        ends = np.array([-_end(-velocity[:, 2], near, own), _end(velocity[:, 2], near, own)])
        middle, half = ends.mean(), max(float(np.ptp(ends)) / 2, LEAST_SPEED)
        v_z.append([middle - half, middle + half])
        speeds.append(max(_end(lateral, near, own), LEAST_SPEED))
        tilts.append(max(_end(tilt, near, own), LEAST_TILT))
    total = rotor_thrust.sum(axis=1)
    thrust = np.array([total.min(), total.max()])
    rest = np.zeros(3) if rest is None else rest
    return Domain(knots, np.array(v_z), np.array(speeds), np.array(tilts), gone, rest, thrust)


def _around(height: np.ndarray, knots: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Samples that knot k's ranges rest on, and those of them that none may cut off; ``(N,)`` bool of ``(N,)`` m.

    These are the samples between the knots on either side; where they are too few, all of them, and those between the
    next knots too. The air is much the same there; that of flight far above says nothing.
    """
    low, high = max(k - 1, 0), min(k + 1, len(knots) - 1)
    own = near = (height >= knots[low]) & (height <= knots[high])
    if own.sum() >= LEAST_SAMPLES:
        return own, np.zeros_like(own)
    grown = 0
    while near.sum() < (LEAST_SAMPLES if grown < NEXT_KNOTS else FEW_SAMPLES) and (low > 0 or high < len(knots) - 1):
        below = knots[k] - knots[low - 1] if low > 0 else np.inf
        above = knots[high + 1] - knots[k] if high < len(knots) - 1 else np.inf
        low, high, grown = (low - 1, high, grown + 1) if below <= above else (low, high + 1, grown + 1)
        near = (height >= knots[low]) & (height <= knots[high])
    return near, own


def _end(values: np.ndarray, near: np.ndarray, own: np.ndarray) -> float:
    """Upper end of the range of ``(N,)`` values near a knot, without the tails but of what a thin knot itself has."""
    return float(max(np.quantile(values[near], INSIDE), values[own].max(initial=-np.inf)))


def calibrate_fade(
    flights: Sequence[ResidualSamples],
    masks: Sequence[np.ndarray],
    biases: np.ndarray,
    fit: Callable[[Sequence[np.ndarray]], Callable[[ResidualSamples], np.ndarray]],
    known: Sequence[bool] | None = None,
) -> FadeCalibration:
    """Largest ``gone`` at which the faded model is nowhere worse than none, found one domain further in.

    A model is fitted to the inner samples alone; the outer ones are then outside of *its* domain, with labels.

    Parameters
    ----------
    biases
        (K,) N, of each flight's f_a,z far from the ground: a trim has it, with or without a model. Labels and
        predictions count without it.
    fit
        From masks of training samples to a predictor ``samples -> (N, 3) N``, whose own bias is the mean of these.
    known
        Which of the biases are the flight's own, and not the mean; default: all.
    """
    own = biases if known is None else biases[np.asarray(known)]
    told = (nearer_to_rest(own), len(own))
    whole = fit_domain(flights, masks)
    inner = [m & (whole.score(f) <= INNER) for f, m in zip(flights, masks, strict=True)]
    outer = [m & ~i for i, m in zip(inner, masks, strict=True)]
    if sum(int(m.sum()) for m in inner) < 10 * BIN_SAMPLES or sum(int(m.sum()) for m in outer) < BIN_SAMPLES:
        return FadeCalibration(CAREFUL, [], False, *told)
    domain, predict = fit_domain(flights, inner), fit(inner)

    def gather(of: Callable[[ResidualSamples, int], np.ndarray]) -> np.ndarray:
        return np.concatenate([of(f, k)[m] for k, (f, m) in enumerate(zip(flights, outer, strict=True))])

    score = gather(lambda f, k: np.asarray(domain.score(f)))
    label = gather(lambda f, k: f.label[:, 2] - biases[k])
    predicted = gather(lambda f, k: predict(f)[:, 2] - biases.mean())
    bins = [(a, b, m) for a, b in pairwise(BIN_EDGES) if (m := (score >= a) & (score < b)).sum() >= BIN_SAMPLES]
    if not bins:
        return FadeCalibration(CAREFUL, [], False, *told)

    def error(share: np.ndarray, m: np.ndarray) -> float:
        return float(np.sqrt(np.mean((share * predicted - label)[m] ** 2)))

    best = 1.0 + 1e-3
    for gone in BIN_EDGES[1:]:
        share = np.asarray(replace(domain, gone=gone).share(score))
        none = np.zeros_like(share)
        if gone > bins[-1][1] or any(error(share, m) > error(none, m) for _, _, m in bins):
            break
        best = gone
    share, one = np.asarray(replace(domain, gone=best).share(score)), np.ones_like(score)
    rows = [
        {
            "score_from": a,
            "score_to": b,
            "samples": int(m.sum()),
            "rmse_none_N": error(0 * one, m),
            "rmse_whole_N": error(one, m),
            "rmse_faded_N": error(share, m),
        }
        for a, b, m in bins
    ]
    return FadeCalibration(best, rows, True, *told)
