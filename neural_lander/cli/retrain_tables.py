"""What people see of a retraining and of a bundle's history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text


def retraining(report: Mapping[str, Any]) -> Group:
    """The new flights, old against new model, the gates and what came of it."""
    name = report["bundle"]
    parts: list[Table | Text] = []
    if report["new_flights"]:
        parts.append(_flight_table(report))
    if report["judged_on"]:
        parts += [Text(f"judged on {report['judged_on']}; each flight's trim taken off"), _error_table(report)]
    parts.append(_gate_table(report["gates"]))
    if report["replaced"]:
        used = [e for e in report["datasets"] if e["role"] == "train"]
        parts.append(
            Text(f"{name} is replaced: version {report['version']}, fitted on {len(used)} flights, "
                 f"{report['training_samples']} samples; back with --rollback {report['version'] - 1}")
        )  # fmt: skip
    else:
        parts.append(Text(f"{name} is left as it was"))
    return Group(*parts)


def _flight_table(report: Mapping[str, Any]) -> Table:
    roles = {entry["log"]: entry["role"] for entry in report["datasets"] or ()}
    table = _table(
        "new flight", "duration, s", "samples", "near ground", "hover bias, %", "present model misses there, g",
        "flown model missed, g",
    )  # fmt: skip
    for row in report["new_flights"]:
        flown, now = row["flown_model"], row["present_model"]
        missed = "-" if flown is None else _of(flown["rms_missed_fa_z_low_g"], flown["rms_total_fa_z_low_g"])
        table.add_row(
            f"{row['log']} ({roles[row['log']]})" if row["log"] in roles else row["log"],
            f"{row['duration_s']:.1f}", str(row["usable"]), str(row["samples_low"]),
            f"{100 * row['hover_bias_of_weight']:+.1f}",
            _of(now["rmse_old_fa_z_low_g"], now["rmse_zero_fa_z_low_g"]), missed,
        )  # fmt: skip
    return table


def _of(part: float | None, whole: float | None) -> str:
    return "-" if part is None or whole is None else f"{part:.2f} of {whole:.2f}"


def _error_table(report: Mapping[str, Any]) -> Table:
    figures = next(g for g in report["gates"] if g["gate"] == "near ground")
    table = _table("f_a,z RMSE", "old, g", "new, g", "difference, %", "95 % interval", "samples")
    for label, key in (("near ground", "_low"), ("all heights", "")):
        old, new = figures[f"rmse_old_fa_z{key}_g"], figures[f"rmse_new_fa_z{key}_g"]
        if old is None:
            table.add_row(label, "-", "-", "-", "-", "0")
            continue
        low, high = figures[f"difference{key}_95"]
        table.add_row(
            label, f"{old:.3f}", f"{new:.3f}", f"{100 * figures[f'difference{key}']:+.1f}",
            f"{100 * low:+.1f} to {100 * high:+.1f}", str(figures[f"samples{key}"]),
        )  # fmt: skip
    return table


def _gate_table(gates: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("gate", "", "found"):
        table.add_column(heading, overflow="fold")
    for gate in gates:
        table.add_row(gate["gate"], "passed" if gate["passed"] else "FAILED", gate["reason"])
    return table


def history_table(versions: Sequence[Mapping[str, Any]]) -> Table:
    """One row per version; near ground: RMSE of f_a,z of the old and the new model and its 95 % interval."""
    table = _table("version", "when, UTC", "what", "logs", "near ground, g", "95 % of the difference, %")
    for entry in versions:
        gate = next((g for g in entry.get("gates", ()) if g["gate"] == "near ground"), None)
        rmse, interval = "-", "-"
        if gate is not None:
            low, high = (100 * end for end in gate["difference_low_95"])
            rmse = f"{gate['rmse_old_fa_z_low_g']:.3f} to {gate['rmse_new_fa_z_low_g']:.3f}"
            interval = f"{low:+.1f} to {high:+.1f}"
        what = entry["event"] + (" (present)" if entry is versions[-1] else "")
        what += "" if entry["restorable"] else ", files no longer kept"
        signs = {"added": "+", "withdrawn": "-"}
        changes = [f"{sign}{len(entry[key])}" for key, sign in signs.items() if entry.get(key)]
        when = str(entry["when"] or "-")[:16].replace("T", " ")
        table.add_row(str(entry["number"]), when, what, " ".join(changes) or "-", rmse, interval)
    return table


def _table(first: str, *headings: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(first, overflow="fold")
    for heading in headings:
        table.add_column(heading, justify="right")
    return table
