"""What results.json says in words and tables, for the page and for the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

from rich.table import Table

from neural_lander.pages.html_page import MISSING, number, plain_table


@dataclass(frozen=True)
class Metric:
    """How one figure of a landing is shown."""

    label: str
    unit: str
    scale: float = 1.0
    """Shown value over the stored SI value."""
    smaller_is_better: bool = True
    until_touchdown: bool = False
    """Without any touchdown the value is the time that was watched: a lower bound."""

    @property
    def heading(self) -> str:
        """Label with its unit."""
        return f"{self.label} ({self.unit})" if self.unit else self.label


METRICS: Mapping[str, Metric] = {
    "final_error_m": Metric("Final error", "mm", 1e3),
    "hang_height_m": Metric("Hang", "mm", 1e3),
    "arrival_error_m": Metric("Arrival error", "mm", 1e3),
    "lateness_s": Metric("Lateness", "s", until_touchdown=True),
    "low_hover_error_m": Metric("Low-hover error", "mm", 1e3),
    "touchdown_speed_m_s": Metric("Touchdown speed", "m/s", smaller_is_better=False),  # nearest the reference is best
    "drift_m": Metric("Drift", "mm", 1e3),
}
SCENARIOS = {"land-1d": "Landing, vertical", "land-3d": "Landing from the side", "hover-low": "Low hover"}


def metric_named(key: str) -> Metric:
    """How to show a metric; one that is not known here keeps its key as label."""
    return METRICS.get(key, Metric(key, ""))


def scenario_label(key: str) -> str:
    """Heading of a scenario."""
    return SCENARIOS.get(key, key)


def metric_keys(controllers: Mapping[str, Any]) -> list[str]:
    """Metrics of any controller: the known ones in our order, then others in theirs."""
    present = dict.fromkeys(key for c in controllers.values() for key in c["metrics"])
    return [key for key in METRICS if key in present] + [key for key in present if key not in METRICS]


def cell(key: str, controller: Mapping[str, Any]) -> tuple[str, str]:
    """Median and 95 % interval of one of a controller's metrics as text."""
    metric, entry = metric_named(key), controller["metrics"].get(key)
    if not entry or entry.get("median") is None:
        return MISSING, ""
    median = number(entry["median"] * metric.scale)
    if metric.until_touchdown and controller.get("touchdown_count") == 0:
        return f"> {median}", ""
    low, high = entry.get("ci95") or (None, None)
    return (
        median,
        "" if low is None or high is None else f"[{number(low * metric.scale)}, {number(high * metric.scale)}]",
    )


def touchdowns(controller: Mapping[str, Any]) -> str:
    """Touchdowns of landings, ``20/20``, and how many tipped over if any did."""
    if "touchdown_count" not in controller:
        return MISSING
    tipped = controller.get("tipped_over_count", 0)
    return f"{controller['touchdown_count']}/{controller['n']}" + (f", {tipped} tipped over" if tipped else "")


def terminal_table(results: Mapping[str, Any]) -> Table:
    """Medians and 95 % intervals of every controller in every scenario, for the terminal."""
    keys = metric_keys({f"{s}/{k}": c for s, k, c in _controllers(results)})
    table = Table(title="Medians and 95 % intervals", title_justify="left")
    table.add_column("Controller")
    for key in keys:
        metric = metric_named(key)
        table.add_column(f"{metric.label}\n{metric.unit}", justify="right")
    table.add_column("Touched\ndown", justify="right")
    for name, scenario in results.get("scenarios", {}).items():
        table.add_section()
        table.add_row(f"[bold]{scenario_label(name)}[/]")
        for controller in scenario["controllers"].values():
            cells = [cell(key, controller) for key in keys]
            texts = [f"{median}\n[dim]\\{interval}[/]" if interval else median for median, interval in cells]
            table.add_row(controller["label"], *texts, touchdowns(controller))
    return table


def html_table(scenario: Mapping[str, Any]) -> str:
    """The same for one scenario as HTML; on a phone each row becomes a block with the column's name in it."""
    controllers = scenario["controllers"]
    keys = metric_keys(controllers)
    heads = [metric_named(key).heading for key in keys]
    rows = []
    for controller in controllers.values():
        cells = []
        for key, head in zip(keys, heads, strict=True):
            entry = controller["metrics"].get(key)
            median, interval = cell(key, controller)
            fewer = entry and entry.get("n") is not None and 0 < entry["n"] < controller.get("n", 0)
            notes = [interval, f"{entry['n']} of {controller['n']} flights" if entry and fewer else ""]
            small = "".join(f"<small>{escape(note)}</small>" for note in notes if note)
            cells.append(f'<td data-label="{escape(head)}"><span>{escape(median)}{small}</span></td>')
        cells.append(f'<td data-label="Touched down">{touchdowns(controller)}</td>')
        rows.append(f"<tr><th scope=row>{escape(controller['label'])}</th>{''.join(cells)}</tr>")
    return plain_table(["Controller", *heads, "Touched down"], rows)


def headline(results: Mapping[str, Any]) -> list[str]:
    """The result in sentences, losses included."""
    scenarios = results.get("scenarios", {})
    sentences = [s for name, scenario in scenarios.items() for s in _gains(name, scenario)]
    worse = losses(results)
    if worse:
        sentences.append(f"It loses to a baseline, beyond both 95 % intervals, in: {'; '.join(worse)}.")
    elif sentences:
        sentences.append("No baseline is better than it in any figure below beyond the 95 % intervals.")
    requirements = results.get("requirements", [])
    if requirements:
        missed = [r["name"] for r in requirements if not r["met"]]
        names = f"; missed: {'; '.join(missed)}" if missed else ""
        sentences.append(f"Requirements met: {len(requirements) - len(missed)} of {len(requirements)}{names}.")
    return [*warnings(results), *sentences]


def warnings(results: Mapping[str, Any]) -> list[str]:
    """What must be read before anything else: networks that flew without a certificate."""
    return [f"FLOWN WITHOUT A CERTIFICATE, for research: {why}." for why in results.get("uncertified", [])]


def losses(results: Mapping[str, Any]) -> list[str]:
    """Every figure in which a baseline with the same trim beats the method beyond both intervals."""
    found: list[str] = []
    for name, scenario in results.get("scenarios", {}).items():
        controllers = scenario["controllers"]
        for ours in (key for key in controllers if _is_method(key)):
            for theirs in (key for key in controllers if _is_baseline(key) and _trimmed(key) == _trimmed(ours)):
                found += _losses(name, controllers[ours], controllers[theirs])
    return found


def _losses(scenario: str, ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> Iterator[str]:
    for key in metric_keys({"ours": ours, "theirs": theirs}):
        metric, a, b = metric_named(key), ours["metrics"].get(key), theirs["metrics"].get(key)
        if not metric.smaller_is_better or not a or not b or a.get("median") is None or b.get("median") is None:
            continue
        if (a.get("ci95") or [a["median"]])[0] > (b.get("ci95") or [b["median"]])[-1]:
            values = f"{cell(key, ours)[0]} against {cell(key, theirs)[0]} {metric.unit}".strip()
            where = scenario_label(scenario).lower()
            yield f"{metric.label.lower()} of {ours['label']}, {where} ({values} of {theirs['label']})"


def _gains(name: str, scenario: Mapping[str, Any]) -> Iterator[str]:
    controllers = scenario["controllers"]
    for ours in (key for key in controllers if _is_method(key)):
        plain = [key for key in controllers if _is_baseline(key) and _trimmed(key) == _trimmed(ours)]
        if not plain:
            continue
        a, b = controllers[ours], controllers[plain[0]]
        keys = ("arrival_error_m", "lateness_s") if _trimmed(ours) else ("final_error_m", "low_hover_error_m")
        parts = []
        for key in keys:
            if key in a["metrics"] and key in b["metrics"]:
                metric, values = metric_named(key), " instead of ".join(cell(key, c)[0] for c in (a, b))
                parts.append(f"{metric.label.lower()} {values} {metric.unit}")
        if "touchdown_count" in a:
            parts.append(f"touchdowns {touchdowns(a)} instead of {touchdowns(b)}")
        if parts:
            yield f"{scenario_label(name)}, {a['label']} against {b['label']}: {', '.join(parts)}."


def _controllers(results: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for name, scenario in results.get("scenarios", {}).items():
        for key, controller in scenario["controllers"].items():
            yield name, key, controller


def _is_method(key: str) -> bool:
    return "neural" in key


def _is_baseline(key: str) -> bool:
    return not _is_method(key) and "oracle" not in key


def _trimmed(key: str) -> bool:
    return "trim" in key
