"""Tables of the report beside the main ones: what the network adds, pairs and tails, robustness, tuned gains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from neural_lander.pages.html_page import MISSING, number, plain_table, row
from sim.comparison.metrics import metric_keys, metric_named
from sim.comparison.ranking import is_oracle, kind_of
from sim.report.tables import succeeded

WORDS = {"nothing": "nothing", "Cheeseman-Bennett": "fitted Cheeseman–Bennett", "network": "network"}


def contribution_table(contribution: Mapping[str, Any]) -> str:
    """The ablation: error and removed share for nothing, law and network; each with and without trim."""
    keys = list(dict.fromkeys(key for rows in contribution.values() for key in rows))
    heads = ("Feed-forward", *(metric_named(key).heading for key in keys))
    rows = []
    for trim, metrics in contribution.items():
        for what, words in WORDS.items():
            cells = [_removed(key, metrics[key][what], what) if key in metrics else MISSING for key in keys]
            rows.append(row(heads, f"{escape(words)}, {trim}", *cells))
        cells = [_difference(key, metrics[key]["network_minus_law"]) if key in metrics else MISSING for key in keys]
        rows.append(row(heads, f"network − law, {trim}", *cells))
    return plain_table(heads, rows)


def _removed(key: str, entry: Mapping[str, Any], what: str) -> str:
    share = entry["removed_share"]
    gone = "" if what == "nothing" or share is None else _small(f"{100 * share:.0f} % removed")
    return f"<span>{number(entry['median'] * metric_named(key).scale)}{gone}</span>"


def _difference(key: str, entry: Mapping[str, Any]) -> str:
    if "median" not in entry:
        return MISSING
    scale = metric_named(key).scale
    apart = _small("intervals apart" if entry["intervals_apart"] else "intervals overlap")
    return f"<span>{signed(entry['median'] * scale)}{_small(_interval(entry['ci95'], scale, signed))}{apart}</span>"


def paired_table(controllers: Mapping[str, Any]) -> str:
    """Differences to the baseline seed by seed; empty without any."""
    chosen = {name: {"metrics": c["paired"]} for name, c in controllers.items() if c.get("paired")}
    keys = [key for key in metric_keys(chosen) if metric_named(key).judged]
    heads = ("Controller", *(metric_named(key).heading for key in keys))
    rows = []
    for name, c in chosen.items():
        cells = []
        for key in keys:
            entry, scale = c["metrics"].get(key), metric_named(key).scale
            if entry is None:
                cells.append(MISSING)
                continue
            share = f"smaller on {100 * entry['smaller_share']:.0f} %"
            notes = _small(_interval(entry["ci95"], scale, signed)) + _small(share)
            cells.append(f"<span>{signed(entry['median'] * scale)}{notes}</span>")
        rows.append(row(heads, escape(controllers[name]["label"]), *cells))
    return plain_table(heads, rows) if rows else ""


def tail_table(controllers: Mapping[str, Any]) -> str:
    """The worst hundredth of the flights."""
    keys = [key for key in metric_keys(controllers) if metric_named(key).judged]
    heads = ("Controller", *(metric_named(key).heading for key in keys))
    rows = []
    for c in controllers.values():
        cells = []
        for key in keys:
            entry = c["metrics"].get(key) or {}
            scale, mean = metric_named(key).scale, entry.get("worst_1_percent")
            if mean is None:
                cells.append(MISSING)
                continue
            quantile = _small(f"99 %: {number(entry['q99'] * scale)}")
            cells.append(f"<span>{number(mean * scale)}{quantile}</span>")
        rows.append(row(heads, escape(c["label"]), *cells))
    return plain_table(heads, rows)


def robustness_table(robustness: Mapping[str, Any]) -> str:
    """Success of every controller (columns) in every plant (rows)."""
    plants: Sequence[Mapping[str, Any]] = robustness["plants"]
    names = list(dict.fromkeys(name for plant in plants for name in plant["controllers"]))
    labels = {n: c["label"] for plant in plants for n, c in plant["controllers"].items()}
    heads = ("Plant", *(labels[name] for name in names))
    rows = []
    for plant in plants:
        rates = {n: c["success"]["rate"] for n, c in plant["controllers"].items() if not is_oracle(kind_of(n, c))}
        best = max((rate for rate in rates.values() if rate is not None), default=None)
        cells = []
        for name in names:
            text, notes = succeeded(plant["controllers"][name])
            strong = rates.get(name) is not None and rates[name] == best
            shown = f"<b>{text}</b>" if strong else text
            cells.append(f"<span>{shown}{''.join(_small(note) for note in notes)}</span>")
        rows.append(row(heads, escape(plant["name"]), *cells))
    return plain_table(heads, rows)


def signed(value: float) -> str:
    """A number with its sign."""
    text = number(value)
    return text if value < 0 or text == "0" else f"+{text}"


def _interval(ends: Sequence[float], scale: float, shown: Any) -> str:
    return "[{}, {}]".format(*(shown(end * scale) for end in ends))


def _small(text: str) -> str:
    return f"<small>{escape(text)}</small>"
