"""What results.json says in words and tables, for the page and for the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from rich.table import Table
from rich.text import Text

from neural_lander.pages.html_page import MISSING, number, plain_table
from sim.comparison.metrics import metric_keys, metric_named
from sim.comparison.ranking import distance, estimates, is_oracle, is_ours, kind_of, worse

SCENARIOS = {
    "land-1d": "Landing, vertical",
    "land-3d": "Landing from the side",
    "hover-low": "Low hover",
    "cross-table": "Past a table",
    "figure-8-low": "Low figure of eight",
    "deck": "Landing on a moving deck",
}


def scenario_label(key: str) -> str:
    """Heading of a scenario."""
    return SCENARIOS.get(key, key)


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


def succeeded(controller: Mapping[str, Any]) -> tuple[str, list[str]]:
    """Successes of all flights, ``20/20``, with their Wilson interval and what went wrong beside it."""
    success, notes = controller.get("success"), list[str]()
    if success is None or not success["n"]:
        text = MISSING
    else:
        text = f"{success['count']}/{success['n']}"
        notes.append("[{}, {}] %".format(*(number(100 * end) for end in success["ci95"])))
    if controller.get("tipped_over_count"):
        notes.append(f"{controller['tipped_over_count']} tipped over")
    if controller.get("failures"):
        notes.append(f"{len(controller['failures'])} without a result")
    return text, notes


def terminal_tables(results: Mapping[str, Any]) -> list[Table]:
    """Medians and 95 % intervals of every controller, a table for each scenario, for the terminal."""
    tables = [_terminal_table(scenario_label(n), s) for n, s in results.get("scenarios", {}).items()]
    tuned = results.get("tuned", {}).get("scenarios", {})
    tables += [_terminal_table(f"{scenario_label(n)}, each controller tuned", s) for n, s in tuned.items()]
    return tables


def _terminal_table(title: str, scenario: Mapping[str, Any]) -> Table:
    controllers, best = scenario["controllers"], scenario.get("best", {})
    keys = [key for key in metric_keys(controllers) if metric_named(key).judged]
    table = Table(title=f"{title}: medians, 95 % intervals; * best, ~ as good", title_justify="left")
    table.add_column("Controller")
    for key in keys:
        metric = metric_named(key)
        table.add_column(f"{metric.label}\n{metric.unit}", justify="right")
    table.add_column("Success", justify="right")
    for name, controller in controllers.items():
        texts = []
        for key in keys:
            median, interval = cell(key, controller)
            mark = {"best": "*", "tie": "~"}.get(_rank(best, key, name), "")
            texts.append(_over(f"{mark}{median}", [interval] if interval else []))
        text, notes = succeeded(controller)
        table.add_row(Text(controller["label"]), *texts, _over(text, notes))
    return table


def _over(text: str, notes: Sequence[str]) -> Text:
    """A text and, dim on lines below it, its notes."""
    return Text(text).append("".join(f"\n{note}" for note in notes), "dim")


def _rank(best: Mapping[str, Any], key: str, name: str) -> str:
    entry = best.get(key, {"best": None, "ties": ()})
    return "best" if name == entry["best"] else "tie" if name in entry["ties"] else ""


def html_table(scenario: Mapping[str, Any]) -> str:
    """The same for one scenario as HTML; on a phone each row becomes a block with the column's name in it."""
    controllers, best = scenario["controllers"], scenario.get("best", {})
    keys = [key for key in metric_keys(controllers) if metric_named(key).judged]
    heads = [metric_named(key).heading for key in keys]
    rows = []
    for name, controller in controllers.items():
        cells = []
        for key, head in zip(keys, heads, strict=True):
            entry = controller["metrics"].get(key)
            median, interval = cell(key, controller)
            fewer = entry and entry.get("n") is not None and 0 < entry["n"] < controller.get("n", 0)
            notes = [interval, f"{entry['n']} of {controller['n']} flights" if entry and fewer else ""]
            cells.append(_cell(head, median, notes, _rank(best, key, name)))
        text, notes = succeeded(controller)
        cells.append(_cell("Success", text, notes))
        rows.append(f"<tr><th scope=row>{escape(controller['label'])}</th>{''.join(cells)}</tr>")
    return plain_table(["Controller", *heads, "Success"], rows)


def _cell(head: str, text: str, notes: Sequence[str], rank: str = "") -> str:
    small = "".join(f"<small>{escape(note)}</small>" for note in notes if note)
    kind = f' class="{rank}"' if rank else ""
    return f'<td{kind} data-label="{escape(head)}"><span>{escape(text)}{small}</span></td>'


def headline(results: Mapping[str, Any]) -> list[str]:
    """The result in sentences, losses included."""
    scenarios = results.get("scenarios", {})
    sentences = [s for name, scenario in scenarios.items() for s in _gains(name, scenario)]
    worse = losses(results)
    if worse:
        sentences.append(f"It loses to a baseline, beyond both 95 % intervals, in: {'; '.join(worse)}.")
    elif sentences:
        sentences.append("No baseline is better than it in any figure below beyond the 95 % intervals.")
    failures = [(c["label"], f) for _, _, c in _controllers(results) for f in c.get("failures", ())]
    if failures:
        label, first = failures[0]
        sentences.append(
            f"{len(failures)} flights have no result: they are in no figure and count as no success; the first: "
            f"{label}, seed {first['seed']}: {first['reason']}"
        )
    requirements = results.get("requirements", [])
    if requirements:
        missed = [r["name"] for r in requirements if not r["met"]]
        names = f"; missed: {'; '.join(missed)}" if missed else ""
        sentences.append(f"Requirements met: {len(requirements) - len(missed)} of {len(requirements)}{names}.")
    return [*warnings(results), *sentences]


def warnings(results: Mapping[str, Any]) -> list[str]:
    """What must be read before anything else: who flew uncertified, flights without a result, what no oracle knows."""
    found = [f"FLOWN WITHOUT A CERTIFICATE, for research: {why}." for why in results.get("uncertified", [])]
    if unknown := results.get("unknown_to_oracle"):
        found.append(
            f"No oracle knows {', '.join(unknown)}, which has a state of its own and no part 'known': there is no "
            "closed form of PD's hang, and what is called the oracle's or the plant's leaves it out."
        )
    for name, scenario in results.get("scenarios", {}).items():
        found += [_lost(name, c) for c in scenario["controllers"].values() if c.get("failures")]
    return found


def _lost(scenario: str, controller: Mapping[str, Any]) -> str:
    lost = controller["failures"]
    return (
        f"{controller['label']}, {scenario}: {len(lost)} of {controller['n'] + len(lost)} flights without a result. "
        f"Seed {lost[0]['seed']}: {lost[0]['reason']}"
    )


def losses(results: Mapping[str, Any]) -> list[str]:
    """Every figure in which a baseline beats the method beyond both intervals.

    With an estimate in flight the method is held against every baseline, without one against those without one.
    """
    found: list[str] = []
    for name, scenario in results.get("scenarios", {}).items():
        controllers = scenario["controllers"]
        kinds = {key: kind_of(key, controller) for key, controller in controllers.items()}
        for key in (key for key in controllers if is_ours(kinds[key])):
            rivals = [
                controllers[n] for n, kind in kinds.items()
                if not is_ours(kind) and not is_oracle(kind) and (estimates(kinds[key]) or not estimates(kind))
            ]  # fmt: skip
            found += _losses(name, controllers[key], rivals)
    return found


def _losses(scenario: str, ours: Mapping[str, Any], rivals: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The best of those that beat it in each figure, and how many others do."""
    for key in metric_keys({"ours": ours}):
        beating = sorted((c for c in rivals if worse(key, ours, c)), key=lambda c: distance(key, c)[0])
        if beating:
            metric, best = metric_named(key), beating[0]
            values = f"{cell(key, ours)[0]} against {cell(key, best)[0]} {metric.unit}".strip()
            more = f", and {len(beating) - 1} more" if len(beating) > 1 else ""
            where = scenario_label(scenario).lower()
            yield f"{metric.label.lower()} of {ours['label']}, {where} ({values} of {best['label']}{more})"


GAINS = ("final_error_m", "arrival_error_m", "lateness_s", "low_hover_error_m", "tracking_rms_error_m")
"""Figures that the headline tells, those of them that the scenario has."""


def _gains(name: str, scenario: Mapping[str, Any]) -> Iterator[str]:
    controllers = scenario["controllers"]
    for ours, theirs in (("neural-lander", "pd"), ("neural-lander-trim", "pd-trim")):
        if not {ours, theirs} <= set(controllers):
            continue
        a, b = controllers[ours], controllers[theirs]
        parts = []
        for key in GAINS[1:] if estimates(kind_of(ours, a)) else (GAINS[0], *GAINS[3:]):
            if key in a["metrics"] and key in b["metrics"]:
                metric, values = metric_named(key), " instead of ".join(cell(key, c)[0] for c in (a, b))
                parts.append(f"{metric.label.lower()} {values} {metric.unit}")
        if "touchdown_speed_m_s" in a["metrics"]:
            parts.append(f"touchdowns {succeeded(a)[0]} instead of {succeeded(b)[0]}")
        if parts:
            yield f"{scenario_label(name)}, {a['label']} against {b['label']}: {', '.join(parts)}."


def _controllers(results: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for name, scenario in results.get("scenarios", {}).items():
        for key, controller in scenario["controllers"].items():
            yield name, key, controller
