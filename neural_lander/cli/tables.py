"""Tables that several verbs print."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.table import Table

from neural_lander.residual.evaluation import share_left

NAMES = {
    "network": "network",
    "cheeseman_bennett": "Cheeseman-Bennett, fitted",
    "mean": "mean",
    "zero": "zero",
}
FADED = "network, faded as in flight"


def error_table(report: Mapping[str, Any]) -> Table:
    """RMSE of f_a,z over all flights of a report, of the network and what it is compared with.

    The network that flies stands first where the flights leave its domain.
    """
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("f_a,z RMSE")
    for heading in ("all, N", "near ground, N", "all, g", "near ground, g", "bias, N"):
        table.add_column(heading, justify="right")
    rows = {label: report if name == "network" else report["baselines"][name] for name, label in NAMES.items()}
    if report.get("domain", {}).get("samples_outside"):
        rows = {FADED: report["domain"]["as_flown"], **rows}
    for label, row in rows.items():
        keys = ("rmse_fa_z_N", "rmse_fa_z_low_N", "rmse_fa_z_g", "rmse_fa_z_low_g", "bias_fa_z_N")
        table.add_row(label, *(_number(row[key]) for key in keys))
    return table


def flight_table(report: Mapping[str, Any]) -> Table:
    """One row per flight: scored samples, RMSE of the network and of the fitted law."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("flight", overflow="fold")
    for heading in ("scored", "network, N", "near ground, N", "bias, N", "C-B, N", "near ground, N"):
        table.add_column(heading, justify="right")
    for flight in report["flights"]:
        law = flight["baselines"]["cheeseman_bennett"]
        figures = [flight[key] for key in ("rmse_fa_z_N", "rmse_fa_z_low_N", "bias_fa_z_N")]
        figures += [law["rmse_fa_z_N"], law["rmse_fa_z_low_N"]]
        table.add_row(flight["log"], str(flight["samples_scored"]), *(_number(value) for value in figures))
    return table


def certificate_table(certificate: Mapping[str, Any]) -> Table:
    """Every entry with its unit, status and source; beside a proved slope the steepest that was found, if any.

    The patterns of saturated rotors are left to the JSON: the contraction factor names the worst of them.
    """
    table, entries = Table(box=box.SIMPLE_HEAD, pad_edge=False), certificate["entries"]
    for heading in ("certificate", "value", "found", "unit", "status", "source"):
        table.add_column(heading, justify="right" if heading in ("value", "found") else "left", overflow="fold")
    for name, entry in entries.items():
        if not name.endswith("_reached") and not name.startswith("lipschitz_collective_rotors"):
            found = entries.get(f"{name}_reached", {"value": None})["value"]
            numbers = _number(entry["value"]), "" if found is None else _number(found)
            table.add_row(name.replace("_", " "), *numbers, entry["unit"], entry["status"], entry["source"])
    return table


MUCH_LEFT = 0.45
"""In simulated plants 1.02 was left where the force depended on the place, 0.50 where it changed sign with height and
little had been flown there, 0.03 to 0.18 in twelve others."""


def left_lines(report: Mapping[str, Any]) -> list[str]:
    """A line where the network leaves much of the force near the ground."""
    left = share_left(report)
    if left is None or left < MUCH_LEFT:
        return []
    return [
        f"the network leaves {100 * left:.0f} % of the force near the ground: it may depend on what the network is not "
        "told, such as the place, or little was flown there ('logs quality' shows it)"
    ]


def slope_line(slope: Mapping[str, Any]) -> str:
    """The learned slope in collective thrust in one line."""
    least, mean, largest = (_number(slope[key]) for key in ("min", "mean", "max"))
    return f"learned slope d f_a,z / d T: {least} to {largest} N/N, mean {mean}; aerodynamics has 0 to +0.2"


def evidence_line(evidence: Mapping[str, Any]) -> str:
    """Whether the flights identify that slope, in one line."""
    verdict = "identified" if evidence["identified"] else "not identified, so that its bound and not the data holds it"
    return f"slope d f_a,z / d T in these flights: {verdict}: {evidence['reason']}"


def _number(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, (bool, int)):
        return str(value)
    return f"{value:.4g}"
