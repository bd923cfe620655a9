"""``neural-lander logs quality``: can I learn from these flights, and what is missing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from neural_lander.cli.log_options import Columns, read_given
from neural_lander.cli.output import emit, progress, to_json
from neural_lander.flightlog.resampling import PERIOD
from neural_lander.vehicle import load_vehicle


def quality(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Flight logs, or folders of them.")],
    vehicle: Annotated[str, typer.Option(help="Vehicle that flew: a built-in profile or a file.")],
    out: Annotated[Path | None, typer.Option(help="Write a page (HTML) with figures, for desk or phone.")] = None,
    snippet: Annotated[bool, typer.Option("--snippet", help="Print profile lines with the identified values.")] = False,
    columns: Columns = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Judge flights as a data set: coverage, thrust excitation, lag, bias, outliers, and what to fly next."""
    from neural_lander.residual.quality.log_set import quality_report  # SciPy: `logs info` does without

    profile = load_vehicle(vehicle)
    logs = read_given(paths, columns)
    with progress() as bars:
        task = bars.add_task("flights", total=1.0)
        report = to_json(quality_report(logs, profile, lambda share: bars.update(task, completed=share)))
    if out is not None:
        from neural_lander.pages.quality_page import write_quality_page

        write_quality_page(report, out)
    emit({**report, "page": out}, as_json, lambda: _render(report, out))
    if snippet and not as_json and report.get("profile_snippet"):
        typer.echo(f"\n# identified, not applied\n{report['profile_snippet']}")  # rich would break a string's line


def _render(report: dict[str, Any], out: Path | None) -> Group:
    parts: list[Any] = [_flights(report)]
    if "height_bands" in report:
        parts.append(_bands(report))
    parts += [Text(f"- {sentence}") for sentence in report["summary"]]
    for flight in report["flights"]:
        reasons = flight["fit_for_learning"]["reasons"]
        if reasons:
            parts.append(Text(f"- {flight['log']} is not fit for learning: {'; '.join(reasons)}"))
    if out is not None:
        parts.append(Text(str(out)))
    return Group(*parts)


def _flights(report: dict[str, Any]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("flight", overflow="fold")
    headings = ("learn", "usable\ns", "bias\n% mg", "noise\n% mg", "lag\nms", "hover\nratio", "tilt\nerror °")
    for heading in (*headings, "out-\nliers", "contact\ns"):
        table.add_column(heading, justify="right", no_wrap=True)
    weight = report["weight_N"]
    for f in report["flights"]:
        verdict = "yes" if f["fit_for_learning"]["fit"] else "no"
        if f["refused"]:
            table.add_row(f["log"], verdict, *["-"] * 8)
            continue
        scale, lag = f["thrust_scale"], f["lag"]
        table.add_row(
            f["log"],
            verdict,
            f"{f['usable'] * PERIOD:.0f}",
            _scaled(f["bias_fa_z_N"], 100 / weight, 1),
            _scaled(f["label_noise_N"], 100 / weight, 1),
            _scaled(lag["total_lag_s"], 1e3, 0) if lag["identified"] else "-",
            _scaled(None if scale is None else scale["hover_ratio"], 1, 3),
            _scaled(f["accelerometer"].get("error_as_tilt_deg"), 1, 1),
            str(f["outliers"]["samples"]),
            f"{f['contact']['samples'] * PERIOD:.1f}",
        )
    return table


def _bands(report: dict[str, Any]) -> Table:
    from neural_lander.residual.quality.summary import band

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for heading in (
        "gear height",
        "s",
        "climb m/s\n5, 95 %",
        "lateral m/s\n95 %",
        "tilt °\n95 %",
        "thrust / mg\n5, 95 %",
    ):
        table.add_column(heading, justify="left" if heading == "gear height" else "right", no_wrap=True)
    table.add_column("thrust 0.5-4 Hz\n% mg rms", justify="right", no_wrap=True)
    for row in report["height_bands"]:
        climb, lateral, tilt, thrust = (
            row[f"{key}_5_50_95_%"] or [None] * 3
            for key in ("climb_m_s", "lateral_speed_m_s", "tilt_deg", "thrust_to_weight")
        )
        table.add_row(
            band(row),
            f"{row['seconds']:.1f}",
            f"{_scaled(climb[0], 1, 2)}, {_scaled(climb[2], 1, 2)}",
            _scaled(lateral[2], 1, 2),
            _scaled(tilt[2], 1, 1),
            f"{_scaled(thrust[0], 1, 2)}, {_scaled(thrust[2], 1, 2)}",
            _scaled(row["thrust_excitation"], 100, 1),
        )
    return table


def _scaled(value: float | None, factor: float, digits: int) -> str:
    return "-" if value is None else f"{factor * value:.{digits}f}"
