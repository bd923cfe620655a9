"""Who is best in which figure, by a rule and not by hand: ours where it is, a baseline where that is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sim.metrics import metric_keys, metric_named
from sim.statistics import Interval

PLAIN = ("pd", "pd-cb", "neural-lander", "oracle")
"""Controllers that estimate nothing in flight: what is off stays off, whatever the cause."""


RELIABLE = 0.9  # of the flights, guess: who succeeds in fewer is not the best at anything


def ranking(controllers: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Metric -> ``best`` and ``ties``, from the ``controllers`` of a scenario in results.json.

    Best is the median nearest to the metric's target. A tie is who cannot be told from it: their 95 % intervals of the
    distance to the target overlap. An oracle knows the plant and takes no part; neither does who has no value in some
    of its flights, nor anybody where not a single one touched down and the figure is only a lower bound, nor who
    succeeds in fewer than ``RELIABLE`` of its flights: what falls has arrived without an error.
    """
    found = {}
    for key in metric_keys(controllers):
        off = {name: distance(key, c) for name, c in controllers.items() if takes_part(name, key, c)}
        if len(off) < 2 or not metric_named(key).judged:
            continue
        best = min(off, key=lambda name: off[name][0])
        ties = [name for name in off if name != best and off[name][1][0] <= off[best][1][1]]
        found[key] = {"best": best, "ties": ties}
    return found


def takes_part(name: str, key: str, controller: Mapping[str, Any]) -> bool:
    """Whether a controller may be the best in a figure."""
    rate = controller["success"]["rate"]
    return not is_oracle(name) and known(key, controller) and rate is not None and rate >= RELIABLE


def is_oracle(name: str) -> bool:
    """Whether a controller is told the plant's own force."""
    return "oracle" in name


def is_ours(name: str) -> bool:
    """Whether a controller flies with the network."""
    return "neural" in name


def estimates(name: str) -> bool:
    """Whether a controller finds out in flight what its model misses: trim, INDI, L1, adaptation."""
    return name not in PLAIN


def worse(key: str, ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> bool:
    """Whether the first is further off the target than the second, beyond both 95 % intervals."""
    if not metric_named(key).judged or not (known(key, ours) and known(key, theirs)):
        return False
    return distance(key, ours)[1][0] > distance(key, theirs)[1][1]


def known(key: str, controller: Mapping[str, Any]) -> bool:
    """Whether all of a controller's flights have a value, and not only a lower bound of it."""
    entry = controller["metrics"].get(key)
    if not entry or entry.get("median") is None or entry["ci95"][0] is None:
        return False
    never = metric_named(key).until_touchdown and controller.get("touchdown_count") == 0
    return bool(entry.get("n") == controller.get("n")) and not never


def distance(key: str, controller: Mapping[str, Any]) -> tuple[float, Interval]:
    """Distance to the target of a median, and the interval of it."""
    entry, target = controller["metrics"][key], metric_named(key).target
    low, high = (end - target for end in entry["ci95"])
    nearest = 0.0 if low <= 0 <= high else min(abs(low), abs(high))
    return abs(entry["median"] - target), (nearest, max(abs(low), abs(high)))
