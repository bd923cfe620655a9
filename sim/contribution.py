"""How much of the win comes from the network: nothing, a fitted law, the network, each with and without trim."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sim.campaign import Outcome
from sim.metrics import metric_named
from sim.statistics import separate
from sim.summary import paired

FEED_FORWARD: Mapping[str, str] = {"nothing": "pd", "Cheeseman-Bennett": "pd-cb", "network": "neural-lander"}
TRIM = "-trim"


def contribution(outcomes: Mapping[str, Outcome], controllers: Mapping[str, Any], seed: int = 0) -> dict[str, Any]:
    """Rows of the ablation, from the flights and their summary; empty where not all three were flown.

    ``removed_share`` is the part of the error of nothing, with the same trim, that is gone; ``network_minus_law`` the
    difference of the network to the fitted law seed by seed, and whether their 95 % intervals are apart.
    """
    found = {}
    for suffix, trim in (("", "without trim"), (TRIM, "with trim")):
        names = {what: name + suffix for what, name in FEED_FORWARD.items()}
        if all(outcomes.get(name) and outcomes[name].rows for name in names.values()):
            found[trim] = _rows(names, outcomes, controllers, seed)
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
