"""``neural-lander ablate``: model choices as a table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from neural_lander.cli.log_options import Columns, read_given
from neural_lander.cli.output import emit, progress
from neural_lander.residual.digest import unique_logs
from neural_lander.residual.samples import residual_samples
from neural_lander.residual.scoring import GRAM
from neural_lander.vehicle import load_vehicle

NAMES = {"zero": "nothing", "mean": "mean label", "cheeseman_bennett": "Cheeseman-Bennett, fitted"}

WORST = "_worst_seed"


def ablate(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Flight logs, or folders of them.")],
    vehicle: Annotated[str, typer.Option(help="Profile of the vehicle that flew: a built-in name or a file.")],
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of each variant, seeds 0, 1, ...")] = 5,
    folds: Annotated[int, typer.Option(min=2, help="Folds over the flights that stay in the air.")] = 4,
    only: Annotated[list[str] | None, typer.Option(help="A variant by name; may be given several times.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 2,
    columns: Columns = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Train every variant of the model and judge it on flights and on landings that it has not seen."""
    profile = load_vehicle(vehicle)
    logs = unique_logs(read_given(paths, columns))
    with progress() as bars:
        flights = [residual_samples(log, profile) for log in bars.track(logs, description="samples")]
        from neural_lander.residual.ablation import VARIANTS, ablation  # torch: after what can be refused

        task = bars.add_task("variants", total=1.0)
        table = ablation(
            flights,
            profile,
            variants=only or tuple(VARIANTS),
            seeds=seeds,
            folds=folds,
            workers=workers,
            progress=lambda fraction: bars.update(task, completed=fraction),
        )
    result = {"vehicle": profile.name, **table}
    emit(result, as_json, lambda: _render(result))


def _render(result: dict[str, Any]) -> Group:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(f"f_a,z RMSE in g, all / near ground ({result['vehicle']})")
    kinds = [kind for kind in ("by_flight", "by_task") if kind in result["variants"][0]]
    for kind in kinds:
        where = {"by_flight": "unseen flights", "by_task": "landings"}[kind]
        for heading in (where, "worst seed", "online trim"):
            table.add_column(heading, justify="right")
    for heading in ("slope", "contraction <=", "L, N/m <="):
        table.add_column(heading, justify="right")
    for row in result["variants"]:
        cells = [cell for kind in kinds for cell in _cells(row, kind)]
        certified = (f"{row['contraction_factor_product']:.2f}", f"{row['lipschitz_total_product']:.3g}")
        table.add_row(row["name"], *cells, f"{row['thrust_slope_mean']:+.3f}", *certified)
    table.add_section()
    for row in result["baselines"]:
        cells = [cell for kind in kinds for cell in _cells(row, kind)]
        table.add_row(NAMES[row["name"]], *cells, *[""] * 3)
    if "by_task" not in kinds:
        table.caption = "no flight begins or ends on the ground: nothing here is tested on landings"
    notes = (
        "with the trim of each flight, then with the causal trim; mean over "
        f"{result['seeds']} seeds; {result['folds']} folds; bounds by layer norms"
    )
    return Group(
        table, Text(f"{result['flights']['in_the_air']} flights, {result['flights']['landings']} landings; {notes}")
    )


def _cells(row: dict[str, Any], kind: str) -> tuple[str, ...]:
    worst = _pair(row[kind], WORST) if f"rmse_fa_z_N{WORST}" in row[kind] else ""
    return _pair(row[kind]), worst, _pair(row[f"{kind}_online_trim"])


def _pair(errors: dict[str, Any], suffix: str = "") -> str:
    values = (errors.get(f"rmse_fa_z_N{suffix}"), errors.get(f"rmse_fa_z_low_N{suffix}"))
    return " / ".join("-" if value is None else f"{value / GRAM:.3f}" for value in values)
