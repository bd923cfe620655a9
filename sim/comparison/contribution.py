"""How much of the win comes from the network: nothing, a fitted law, the network, each with and without trim."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import Any

from sim.comparison.campaign import Outcome
from sim.comparison.metrics import metric_named
from sim.comparison.ranking import kind_of
from sim.comparison.statistics import separate
from sim.comparison.summary import paired

FEED_FORWARD: Mapping[str, str] = {"nothing": "none", "Cheeseman-Bennett": "cheeseman-bennett", "network": "network"}
"""Heading -> residual model."""
TRIMS: Mapping[str, str] = {"none": "without trim", "trim": "with trim"}
"""Estimate -> heading."""


def contribution(outcomes: Mapping[str, Outcome], controllers: Mapping[str, Any], seed: int = 0) -> dict[str, Any]:
    """Rows of the ablation, from the flights and their summary; empty where not all three were flown.

    ``removed_share`` is the part of the error of nothing, with the same trim, that is gone; ``network_minus_law`` the
    difference of the network to the fitted law seed by seed, and whether their 95 % intervals are apart.
    """
    kinds = {name: kind_of(name, controllers.get(name)) for name, outcome in outcomes.items() if outcome.rows}
    by_parts = {(kind.residual, kind.estimate, kind.guarded): name for name, kind in kinds.items()}
    found = {}
    for guarded, (estimate, trim) in product((False, True), TRIMS.items()):
        names = {what: by_parts.get((residual, estimate, guarded)) for what, residual in FEED_FORWARD.items()}
        flown = {what: name for what, name in names.items() if name is not None}
        if len(flown) == len(names):
            found[f"{trim}, guarded" if guarded else trim] = _rows(flown, outcomes, controllers, seed)
    return found


def _rows(
    names: Mapping[str, str], outcomes: Mapping[str, Outcome], controllers: Mapping[str, Any], seed: int
) -> dict[str, Any]:
    nothing, law, network = (controllers[name] for name in names.values())
    differences = paired(outcomes[names["network"]], outcomes[names["Cheeseman-Bennett"]], seed)
    rows = {}
    for key, entry in nothing["metrics"].items():
        others = [c["metrics"].get(key) for c in (law, network)]
        metric = metric_named(key)
        if not metric.judged or metric.target or any(e is None or e["median"] is None for e in (entry, *others)):
            continue
        rows[key] = {
            what: {
                "median": e["median"],
                "ci95": e["ci95"],
                "removed_share": 1 - abs(e["median"] / entry["median"]) if entry["median"] else None,
            }
            for what, e in zip(names, (entry, *others), strict=True)
        }
        rows[key]["network_minus_law"] = {
            **differences.get(key, {}),
            "intervals_apart": separate(others[0]["ci95"], others[1]["ci95"]),
        }
    return rows
