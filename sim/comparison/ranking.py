"""Which controller is best in which figure, by a rule and not by hand: ours where it is, a baseline where that is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from neural_lander.control.kinds import GUARD, ControllerKind
from sim.comparison.metrics import metric_keys, metric_named
from sim.comparison.statistics import Interval
from sim.controllers import CONTROLLERS

EARLY = 0.1  # s (3 cm of way): a controller whose median is down earlier has no arrival error to rank; guess
RELIABLE = 0.9  # of the flights, guess: a controller that succeeds in fewer is not the best at anything


def ranking(controllers: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Metric -> ``best`` and ``ties``, from the ``controllers`` of a scenario in results.json.

    Best is the median nearest to the metric's target. A tie cannot be told from it: the 95 % intervals of the distance
    to the target overlap. Not ranked are: an oracle, which knows the plant; a controller without a value in some of its
    flights; every controller where none touched down and the figure is only a lower bound; a controller that succeeds
    in fewer than ``RELIABLE`` of its flights, since what falls has arrived without an error; in arrival error, one that
    is down by more than ``EARLY`` before the reference arrives.
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
    return not is_oracle(kind_of(name, controller)) and known(key, controller) and rate is not None and rate >= RELIABLE


def told(kind: ControllerKind) -> dict[str, Any]:
    """What results.json holds of a controller's kind, for :func:`kind_of`."""
    return {"residual": kind.residual, "estimate": kind.estimate, "guarded": kind.guarded}


def kind_of(name: str, controller: Mapping[str, Any] | None = None) -> ControllerKind:
    """What a controller of results.json is: as it is told there, and else as its whole name says.

    A user's code is not loaded for it; whatever its name holds, it is a user's.
    """
    label = str((controller or {}).get("label", name))
    if controller and "kind" in controller:
        return ControllerKind(name, label, **controller["kind"])
    bare, guarded = name.removesuffix(GUARD), name.endswith(GUARD)
    known = CONTROLLERS.get(bare)
    residual, estimate = ("none", "user") if known is None else (known.residual, known.estimate)
    return ControllerKind(name, label, residual, estimate, guarded)


def is_oracle(kind: ControllerKind) -> bool:
    """Whether a controller is told the plant's own force."""
    return kind.residual == "oracle"


def is_ours(kind: ControllerKind) -> bool:
    """Whether a controller flies with the network."""
    return kind.residual == "network"


def estimates(kind: ControllerKind) -> bool:
    """Whether a controller finds out in flight what its model misses: trim, INDI, L1, adaptation, or a user's law.

    Of one that does not, what is off stays off, whatever the cause.
    """
    return kind.estimate != "none"


def worse(key: str, ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> bool:
    """Whether the first is further off the target than the second, beyond both 95 % intervals."""
    if not metric_named(key).judged or not (known(key, ours) and known(key, theirs)):
        return False
    return distance(key, ours)[1][0] > distance(key, theirs)[1][1]


def known(key: str, controller: Mapping[str, Any]) -> bool:
    """Whether all of a controller's flights have a value, and not only a lower bound, or one that was fallen into."""
    entry = controller["metrics"].get(key)
    if not entry or entry.get("median") is None or entry["ci95"][0] is None:
        return False
    if key == "arrival_error_m" and (controller["metrics"].get("lateness_s", {}).get("median") or 0.0) < -EARLY:
        return False
    never = metric_named(key).until_touchdown and controller.get("touchdown_count") == 0
    return bool(entry.get("n") == controller.get("n")) and not never


def distance(key: str, controller: Mapping[str, Any]) -> tuple[float, Interval]:
    """Distance to the target of a median, and the interval of it."""
    entry, target = controller["metrics"][key], metric_named(key).target
    low, high = (end - target for end in entry["ci95"])
    nearest = 0.0 if low <= 0 <= high else min(abs(low), abs(high))
    return abs(entry["median"] - target), (nearest, max(abs(low), abs(high)))
