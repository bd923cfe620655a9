"""Flights as a model sees them: labels and predictions on one footing, and what becomes of them outside the domain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from neural_lander.residual.domain import Domain, faded
from neural_lander.residual.evaluation import Predictors, errors_in_f_az, predict, thrust_slope, trimmed
from neural_lander.residual.samples import ResidualSamples
from neural_lander.residual.scoring import GRAM
from neural_lander.residual.trim import TrimRule, flight_trim, no_trim, trim_reference

CAUSES = ("height", "vertical speed", "lateral speed", "tilt")
WIDE = 1e9  # a range that nothing leaves


@dataclass(frozen=True, eq=False)
class JudgedFlight:
    """One flight with what was predicted for it; f_a,z in grams of force (9.81 mN)."""

    name: str
    samples: ResidualSamples
    trained_on: bool
    label: np.ndarray  # (N,) g
    """Without the flight's own bias, where there is a trim: then nothing far from the ground is zero."""
    predictions: Mapping[str, np.ndarray]  # (N,) g
    """``network``, ``zero`` and ``cheeseman_bennett`` with their trims, the same bias taken off: errors are kept."""
    score: np.ndarray  # (N,)
    """How far outside the domain, 1 at its edge."""
    share: np.ndarray  # (N,)
    """Of the network that is left in flight."""
    slope: np.ndarray  # (N,) N/N
    """d f_a,z / d T of the network."""
    cause: np.ndarray  # (N,)
    """Index into ``CAUSES``: in which respect it is furthest out."""

    def error(self, name: str) -> np.ndarray:
        """Prediction minus label in g, ``(N,)``."""
        return np.asarray(self.predictions[name] - self.label)


def judge(
    predictors: Predictors,
    domain: Domain,
    flights: Sequence[tuple[str, ResidualSamples, bool]],
    trim: TrimRule,
    trim_above: float,
) -> list[JudgedFlight]:
    """Labels, predictions, domain score and slope of flights.

    Parameters
    ----------
    flights
        Name, samples, and whether the model was trained on it.
    trim, trim_above
        As in :func:`neural_lander.residual.evaluation.evaluate`.
    """
    judged = []
    for name, samples, trained_on in flights:
        bias = 0.0
        if trim is not no_trim:
            nothing = np.zeros_like(samples.scored)
            bias = flight_trim(samples.label, trim_reference(samples, trim_above), nothing)[0, 2]
        predictions = trimmed(predictors, samples, trim, trim_above)
        score = np.asarray(domain.score(samples))
        judged.append(
            JudgedFlight(
                name=name,
                samples=samples,
                trained_on=trained_on,
                label=(samples.label[:, 2] - bias) / GRAM,
                predictions={k: (p[:, 2] - bias) / GRAM for k, p in predictions.items() if k != "mean"},
                score=score,
                share=np.asarray(domain.share(score)),
                slope=thrust_slope(predictors.network, samples),
                cause=_cause(domain, samples),
            )
        )
    return judged


def outside_domain(
    predictors: Predictors, domain: Domain, flights: Sequence[ResidualSamples], trim: TrimRule, trim_above: float
) -> dict[str, Any]:
    """Share of the scored samples outside the domain, and errors there of no, the whole and the faded network.

    Each gets the trim from its own errors. The faded one is what flies; its errors over all scored samples are under
    ``as_flown``. Without a trim the bias of the flights is in all three, which no fade-out can know; it is given beside
    them.
    """
    as_flown: list[np.ndarray] = []
    errors: dict[str, list[np.ndarray]] = {"none": [], "whole": [], "faded": []}
    scored, causes, largest = 0, np.zeros(len(CAUSES), dtype=int), 0.0
    beyond = []
    for samples in flights:
        score = np.asarray(domain.score(samples))
        outside = samples.scored & (score > 1.0)
        high = trim_reference(samples, trim_above)
        low = samples.scored & ~high
        whole = predict(predictors.network, samples)
        flown = faded(whole, np.asarray(domain.share(score)), domain.rest)
        for name, p in (("none", np.zeros_like(whole)), ("whole", whole), ("faded", flown)):
            with_trim = p + trim(samples.label - p, high, low)
            errors[name].append((with_trim - samples.label)[outside, 2])
            if name == "faded":
                as_flown.append(with_trim)
        scored += int(samples.scored.sum())
        beyond.append(domain.thrust_beyond(samples.rotor_thrust.sum(axis=1))[samples.scored])
        causes += np.bincount(_cause(domain, samples)[outside], minlength=len(CAUSES))
        largest = max(largest, float(score[samples.scored].max(initial=0.0)))
    count = sum(len(e) for e in errors["none"])
    thrust = np.concatenate(beyond)
    result: dict[str, Any] = {
        "samples_outside": count,
        "share_outside": count / scored if scored else None,
        "outside_by": {name.replace(" ", "_"): int(n) for name, n in zip(CAUSES, causes, strict=True)},
        "score_max": largest if scored else None,
        "gone_at_score": domain.gone,
        "samples_beyond_thrust": int((thrust > 0).sum()),
        "furthest_beyond_thrust_N": float(thrust.max(initial=0.0)),
    }
    result["as_flown"] = errors_in_f_az(as_flown, flights, [f.scored for f in flights])
    for name, parts in errors.items():
        error = np.concatenate(parts)
        rmse = float(np.sqrt(np.mean(error**2))) if count else None
        result |= {
            f"rmse_{name}_N": rmse,
            f"rmse_{name}_g": None if rmse is None else rmse / GRAM,
            f"bias_{name}_N": float(error.mean()) if count else None,
        }
    return result


def _cause(domain: Domain, samples: ResidualSamples) -> np.ndarray:
    """In which respect each sample is furthest out: the score of a domain that is narrow in nothing else."""
    wide: dict[str, Any] = {
        "v_z": np.column_stack([np.full(len(domain.height), -WIDE), np.full(len(domain.height), WIDE)]),
        "lateral_speed": np.full(len(domain.height), WIDE),
        "tilt": np.full(len(domain.height), WIDE),
    }
    kept: tuple[str | None, ...] = (None, *wide)
    scores = [
        np.asarray(replace(domain, **{k: v for k, v in wide.items() if k != name}).score(samples)) for name in kept
    ]
    return np.argmax(scores, axis=0)
