"""Outcomes as the content of results.json: per controller medians, intervals, tails, rates and paired differences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from sim.comparison.campaign import Outcome
from sim.comparison.ranking import told
from sim.comparison.statistics import TAIL, median_interval, paired_difference, wilson_interval, worst_mean
from sim.controllers import controller_named

SIGNED = ("lateness_s",)
BASELINES = ("pd-trim", "pd")
"""What differences are taken to: the first of them that was flown, since trim is what anyone can switch on."""
FIGURES = ("_m", "_s")  # endings of scores that are quantities


def summarise(outcomes: Mapping[str, Outcome], seed: int = 0) -> dict[str, Any]:
    """Medians with 95 % intervals, tails, and counts; the shape of ``results.json``.

    Errors are summarised by magnitude, lateness with its sign: a landing before its time is not a late one. ``n`` of a
    controller is its flights with a result, ``n`` of its success all that were flown.
    """
    baseline = baseline_of(outcomes)
    return {
        name: {
            "label": controller_named(name).label,
            "kind": told(controller_named(name)),
            "n": len(outcome.rows),
            "seeds": [int(row["seed"]) for row in outcome.rows],
            "touchdown_count": int(sum(row.get("touchdown", 0.0) for row in outcome.rows)),
            "tipped_over_count": int(sum(row["tipped_over"] for row in outcome.rows)),
            "success": _success(outcome),
            "failures": [vars(failure) for failure in outcome.failures],
            "metrics": {
                key: _statistics(figures(outcome, key), outcome.copies, seed)
                for key in (outcome.rows[0] if outcome.rows else ())
                if key.endswith(FIGURES)
            },
            "paired_to": baseline,
            "paired": {} if baseline in (None, name) else paired(outcome, outcomes[str(baseline)], seed),
        }
        for name, outcome in outcomes.items()
    }


def baseline_of(outcomes: Mapping[str, Any]) -> str | None:
    """Which controller the others' paired differences are taken to."""
    return next((name for name in BASELINES if name in outcomes), None)


def figures(outcome: Outcome, key: str) -> np.ndarray:
    """(n,) one score of every flight, as it is summarised."""
    values = np.array([row[key] for row in outcome.rows])
    return values if key in SIGNED else np.abs(values)


def _success(outcome: Outcome) -> dict[str, Any]:
    """Of all flights: one without a result is no success."""
    count, n = int(sum(row["success"] for row in outcome.rows)), len(outcome.rows) + len(outcome.failures)
    return {"count": count, "n": n, "rate": count / n if n else None, "ci95": list(wilson_interval(count, n))}


def _statistics(values: np.ndarray, copies: np.ndarray, seed: int) -> dict[str, Any]:
    finite = np.isfinite(values)
    if not np.any(finite):
        return {"median": None, "ci95": [None, None], "q99": None, "worst_1_percent": None, "worst": None, "n": 0}
    there = values[finite]
    return {
        "median": float(np.median(there)),
        "ci95": list(median_interval(there, copies[finite], seed)),
        "q99": float(np.quantile(there, 1 - TAIL)),
        "worst_1_percent": worst_mean(there),
        "worst": float(there[np.argmax(np.abs(there))]),
        "n": len(there),
    }


def paired(outcome: Outcome, baseline: Outcome, seed: int) -> dict[str, Any]:
    """Metric -> how the first differs from the second seed by seed, with its 95 % interval."""
    theirs = {row["seed"]: k for k, row in enumerate(baseline.rows)}
    both = [(k, theirs[row["seed"]]) for k, row in enumerate(outcome.rows) if row["seed"] in theirs]
    if not both:
        return {}
    mine, other = (np.array(indices) for indices in zip(*both, strict=True))
    found = {}
    for key in (key for key in outcome.rows[0] if key.endswith(FIGURES) and key in baseline.rows[0]):
        pair = paired_difference(figures(outcome, key)[mine], figures(baseline, key)[other], outcome.copies[mine], seed)
        if pair is not None:
            found[key] = {
                "median": pair.median, "ci95": list(pair.ci95), "smaller_share": pair.smaller, "n": pair.n
            }  # fmt: skip
    return found
