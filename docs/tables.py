"""Print the tables of docs/results.md: python docs/tables.py many/results.json, of a comparison.

That of the faults is of what ``python -m benchmarks faults --json`` prints.
"""

import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

LANDING = {
    "arrival error, mm": "arrival_error_m",
    "height error below 0.2 m, mm": "low_descent_error_m",
    "late, s": "lateness_s",
    "touchdown, m/s": "touchdown_speed_m_s",
    "drift, mm": "drift_m",
}
TASKS = {
    "straight landing, arrival": ("land-1d", "arrival_error_m"),
    "moving deck, arrival": ("deck", "arrival_error_m"),
    "low hover, error": ("hover-low", "low_hover_error_m"),
    "past a table, rms": ("cross-table", "tracking_rms_error_m"),
    "past a table, vertical rms": ("cross-table", "vertical_rms_error_m"),
    "low figure of eight, rms": ("figure-8-low", "tracking_rms_error_m"),
    "low figure of eight, vertical rms": ("figure-8-low", "vertical_rms_error_m"),
}
DESCENT_SPEED = 0.3  # m/s, of the landing reference: the best touchdown is the one at its speed


def main(source: Path) -> None:
    """What the file holds."""
    results = json.loads(source.read_text("utf-8"))
    if "scenarios" in results:
        compared(results["scenarios"])
    else:
        faults(results["faults"]["rows"], results["faults"]["kinds"])


def faults(rows: list[dict[str, Any]], kinds: dict[str, str]) -> None:
    """One line for each fault, one group of columns for each protocol."""
    cells: dict[str, dict[str, list[str]]] = {}
    for row in rows:
        times = "–" if row["median ms"] == "-" else f"{row['median ms']} / {row['worst ms']}"
        ages = f"{math.ceil(row['oldest ms'] - 1e-6)} / {row['allowed ms']:.0f}"
        cells.setdefault(row["fault"], {})[row["protocol"]] = [f"{row['reacted']}/{row['n']}", times, ages]
    protocols = list(dict.fromkeys(row["protocol"] for row in rows))
    titles = [f"{p}: {title}" for p in protocols for title in ("reacted", "after, ms", "oldest state, ms")]
    lines = [f"| fault | what happens | {' | '.join(titles)} |", "|---" * (len(titles) + 2) + "|"]
    for fault, found in cells.items():
        row_cells = [cell for p in protocols for cell in found.get(p, ["–"] * 3)]
        lines.append(f"| {fault} | {kinds[fault]} | {' | '.join(row_cells)} |")
    sys.stdout.write("\n".join(lines) + "\n\n")


def compared(scenarios: dict[str, Any]) -> None:
    """The slanted landing in full, and one column for each other task; the best of each column in bold."""
    landing = scenarios["land-3d" if "land-3d" in scenarios else next(iter(scenarios))]["controllers"]
    names = list(landing)
    columns = {title: [_median(landing[name], metric) for name in names] for title, metric in LANDING.items()}
    rows = _marked(names, columns)
    for name, row in zip(names, rows, strict=True):
        success = landing[name]["success"]
        low, high = (1e3 * bound for bound in landing[name]["metrics"]["arrival_error_m"]["ci95"])
        row[0] += f" [{low:.1f}, {high:.1f}]"
        row[2] = row[2] if success["count"] else "never"
        row.append(f"{success['count']}/{success['n']}")
    _write([*columns, "success"], landing, rows)
    tasks = {title: (task, metric) for title, (task, metric) in TASKS.items() if task in scenarios}
    columns = {
        title: [_median(scenarios[task]["controllers"][name], metric) for name in names]
        for title, (task, metric) in tasks.items()
    }
    _write([*columns], landing, _marked(names, columns))


def _median(controller: dict[str, Any], metric: str) -> float | None:
    """In the table's unit: mm, s or m/s."""
    median = (controller["metrics"].get(metric) or {}).get("median")
    return None if median is None else median * (1e3 if metric.endswith("_m") else 1.0)


def _marked(names: list[str], columns: dict[str, list[float | None]]) -> list[list[str]]:
    """Cells by row, as they are printed."""
    rows: list[list[str]] = [[] for _ in names]
    for title, values in columns.items():
        digits = 2 if title.endswith(("m/s", ", s")) else 1
        rank: Callable[[float], float] = (lambda v: abs(v - DESCENT_SPEED)) if title.startswith("touchdown") else abs
        shown = [None if v is None else round(v, digits) for v in values]
        ranks = [rank(v) for name, v in zip(names, shown, strict=True) if v is not None and "oracle" not in name]
        for name, v, row in zip(names, shown, rows, strict=True):
            cell = "–" if v is None else f"{v:.{digits}f}"
            wins = v is not None and "oracle" not in name and rank(v) <= min(ranks) + 1e-9
            row.append(f"**{cell}**" if wins else cell)
    return rows


def _write(titles: list[str], controllers: dict[str, Any], rows: list[list[str]]) -> None:
    labels = [f"*{c['label']}*" if "oracle" in name else c["label"] for name, c in controllers.items()]
    lines = [f"| controller | {' | '.join(titles)} |", "|---" * (len(titles) + 1) + "|"]
    lines += [f"| {label} | {' | '.join(row)} |" for label, row in zip(labels, rows, strict=True)]
    sys.stdout.write("\n".join(lines) + "\n\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
