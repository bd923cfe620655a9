"""How well a model predicts the residual of flights: errors in f_a,z against baselines, and the slope in thrust."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from neural_lander.residual.analytic import CheesemanBennett
from neural_lander.residual.features import ROTORS
from neural_lander.residual.model import ReluNetwork
from neural_lander.residual.samples import ResidualSamples
from neural_lander.residual.scoring import GRAM
from neural_lander.residual.trim import TrimRule, no_trim, trim_reference
from neural_lander.residual.unexplained import unexplained

SLOPE_STEP = 1e-4  # N of collective thrust per N of range; the network is piecewise linear
SLOPE_HEIGHTS = (0.0, 0.05, 0.1, 0.2, 0.5, np.inf)  # m, edges of the table

NAMES = ("network", "zero", "mean", "cheeseman_bennett")


@dataclass(frozen=True, eq=False)
class Predictors:
    """The network and what it is compared with, all fitted on the same flights."""

    network: ReluNetwork
    cheeseman_bennett: CheesemanBennett
    mean: np.ndarray  # (3,) N, world
    """Mean label of the training samples."""

    def predict(self, samples: ResidualSamples) -> dict[str, np.ndarray]:
        """f_a in N, world, ``(N, 3)``, by each of them."""
        law = np.zeros_like(samples.label)
        law[:, 2] = self.cheeseman_bennett.f_az(samples.centre_height, samples.rotor_thrust.sum(-1))
        return {
            "network": predict(self.network, samples),
            "zero": np.zeros_like(samples.label),
            "mean": np.broadcast_to(self.mean, samples.label.shape),
            "cheeseman_bennett": law,
        }


def predict(network: ReluNetwork, samples: ResidualSamples) -> np.ndarray:
    """f_a_hat in N, world, ``(N, 3)``."""
    return np.asarray(network.at(samples)(samples.rotor_thrust))


def thrust_slope(network: ReluNetwork, samples: ResidualSamples) -> np.ndarray:
    """d f_a,z / d T in N/N at each sample, ``(N,)``; T spread evenly over the rotors."""
    force, step = network.at(samples), SLOPE_STEP * max(float(np.ptp(samples.rotor_thrust.sum(-1))), 1e-3)
    up, down = (force(samples.rotor_thrust + sign * step / ROTORS)[:, 2] for sign in (0.5, -0.5))
    return np.asarray((up - down) / step)


def trimmed(
    predictors: Predictors, samples: ResidualSamples, trim: TrimRule, trim_above: float
) -> dict[str, np.ndarray]:
    """Predictions of one flight with their trim added, in N, world, ``(N, 3)``, by predictor."""
    high = trim_reference(samples, trim_above)
    low = samples.scored & ~high
    return {name: p + trim(samples.label - p, high, low) for name, p in predictors.predict(samples).items()}


def evaluate(
    predictors: Predictors,
    flights: Sequence[ResidualSamples],
    masks: Sequence[np.ndarray] | None = None,
    *,
    trim: TrimRule = no_trim,
    trim_above: float = np.inf,
) -> dict[str, Any]:
    """Errors over scored samples, per flight and pooled, as JSON values in SI (and grams for reading).

    Parameters
    ----------
    flights
        One entry per log.
    masks
        ``(N,)`` bool per flight: the scored samples that count, where not all do.
    trim
        Added to every predictor alike, each from its own errors.
    trim_above
        Height of the centre of mass in m above which it is estimated.
    """
    masks = masks or [np.ones(len(f), dtype=bool) for f in flights]
    chosen = [f.scored & m for f, m in zip(flights, masks, strict=True)]
    found = [trimmed(predictors, f, trim, trim_above) for f in flights]
    errors = [(p["network"] - f.label)[:, 2] for p, f in zip(found, flights, strict=True)]
    slopes = np.concatenate([thrust_slope(predictors.network, f)[m] for f, m in zip(flights, chosen, strict=True)])
    heights = np.concatenate([f.height[m] for f, m in zip(flights, chosen, strict=True)])
    return {
        **_compared(found, flights, chosen),
        "unexplained": unexplained(errors, flights, chosen),
        "thrust_slope": slope_table(heights, slopes),
        "flights": [
            {**_flight(f, p, m), "samples_for_trim": int(trim_reference(f, trim_above).sum())}
            for f, p, m in zip(flights, found, chosen, strict=True)
        ],
    }


def share_left(report: Mapping[str, Any]) -> float | None:
    """What the network leaves of the force near the ground, beyond the noise: 0 nothing, 1 as much as there was.

    None where there is hardly more than noise. ``report`` is that of :func:`evaluate`.
    """
    ours, nothing = report["rmse_fa_z_low_N"], report["baselines"]["zero"]["rmse_fa_z_low_N"]
    noise = report["unexplained"]["error_above_5_Hz_N"]
    if ours is None or noise is None or nothing**2 < 2 * noise**2:
        return None
    return math.sqrt(max(ours**2 - noise**2, 0.0) / (nothing**2 - noise**2))


def _compared(
    predictions: Sequence[Mapping[str, np.ndarray]], flights: Sequence[ResidualSamples], chosen: Sequence[np.ndarray]
) -> dict[str, Any]:
    """Errors of the network, and under ``baselines`` those of what it is compared with."""
    errors = {name: errors_in_f_az([p[name] for p in predictions], flights, chosen) for name in NAMES}
    return {**errors.pop("network"), "baselines": errors}


def _flight(samples: ResidualSamples, predictions: Mapping[str, np.ndarray], chosen: np.ndarray) -> dict[str, Any]:
    return {
        "log": Path(samples.source).name,
        "lands": samples.lands,
        **_compared([predictions], [samples], [chosen]),
        "samples": len(samples),
        "exclusions": dict(samples.exclusions),
        "acceleration": samples.acceleration,
        "thrust": samples.thrust,
    }


def errors_in_f_az(
    predictions: Sequence[np.ndarray], flights: Sequence[ResidualSamples], chosen: Sequence[np.ndarray]
) -> dict[str, Any]:
    """RMSE and bias of f_a,z over the chosen samples of all flights together."""
    error = np.concatenate([(p - f.label)[m, 2] for p, f, m in zip(predictions, flights, chosen, strict=True)])
    low = np.concatenate([f.low[m] for f, m in zip(flights, chosen, strict=True)])
    all_, near = _rms(error), _rms(error[low])
    return {
        "rmse_fa_z_N": all_,
        "rmse_fa_z_low_N": near,
        "bias_fa_z_N": float(error.mean()) if len(error) else None,
        "rmse_fa_z_g": None if all_ is None else all_ / GRAM,
        "rmse_fa_z_low_g": None if near is None else near / GRAM,
        "samples_scored": len(error),
        "samples_scored_low": int(low.sum()),
    }


def _rms(error: np.ndarray) -> float | None:
    """Root mean square, None of nothing."""
    return float(np.sqrt(np.mean(error**2))) if len(error) else None


def slope_table(heights: np.ndarray, slopes: np.ndarray) -> dict[str, Any]:
    """Least, mean and largest d f_a,z / d T in N/N, over all samples ``(N,)`` and by height in m."""
    rows = []
    for low, high in pairwise(SLOPE_HEIGHTS):
        inside = (heights >= low) & (heights < high)
        if inside.any():
            rows.append(
                {"height_from_m": low, "height_to_m": high if np.isfinite(high) else None, **_range(slopes[inside])}
            )
    return {**_range(slopes), "by_height": rows}


def _range(slopes: np.ndarray) -> dict[str, Any]:
    if not len(slopes):
        return {"min": None, "mean": None, "max": None, "samples": 0}
    return {
        "min": float(slopes.min()),
        "mean": float(slopes.mean()),
        "max": float(slopes.max()),
        "samples": len(slopes),
    }
