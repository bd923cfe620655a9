"""``neural-lander tune``: the same budget for every controller, frozen to a file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from neural_lander.bundle import load_bundle
from neural_lander.cli.output import emit
from neural_lander.cli.plant_options import MAX_SEED, Effects, FirstAirframe, ProfileOfBundle
from neural_lander.cli.results import check_folder, stages
from neural_lander.errors import UserError
from neural_lander.vehicle import load_vehicle
from sim.comparison.pool import LocalPool
from sim.comparison.study import copies_of_bundles
from sim.comparison.tuning import Tuning, write_tuned
from sim.comparison.tuning import tune as run
from sim.controllers import CONTROLLERS, controllers_in
from sim.plant import Copy, Plant, load_effects


def tune(
    out: Annotated[Path, typer.Option(help="File for the gains (JSON); written after every round.")],
    bundle: Annotated[
        list[Path] | None,
        typer.Option(help="Bundle of the controllers that have learned, repeatable: the k-th on the k-th airframe."),
    ] = None,
    vehicle: ProfileOfBundle = None,
    effect: Effects = None,
    controllers: Annotated[
        str, typer.Option(help="Comma-separated names, or module:Class of a force estimate of your own.")
    ] = ",".join(CONTROLLERS),
    budget: Annotated[int, typer.Option(min=1, help="Candidates of each controller, the default gains first.")] = 32,
    flights: Annotated[
        int, typer.Option("-n", "--flights", min=1, help="Seeds per candidate: a landing and a low hover each.")
    ] = 4,
    airframe: FirstAirframe = 0,
    airframes: Annotated[
        int | None, typer.Option(min=1, help="How many copies; default: one per bundle, else 1.")
    ] = None,
    seed: Annotated[
        int,
        typer.Option(min=0, max=MAX_SEED, help="Seed of search and flights; these are never those that compare flies."),
    ] = 0,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 2,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Choose every controller's free gains on still-air height error, by the same number of candidates and flights.

    What Ctrl-C leaves in the file is usable: the best gains so far of the controllers that were begun.
    """
    names = controllers_in(controllers)
    if out.is_dir():
        raise UserError(f"--out {out} is a folder: name a file, for example {out / 'tuned.json'}")
    copies = _copies(bundle or [], vehicle, load_effects(effect or []), airframe, airframes)
    check_folder(out.parent)
    with stages() as stage:
        document = run(
            Tuning(copies, names, budget, flights, seed),
            LocalPool(workers),
            lambda found: write_tuned(found, out),
            stage,
        )
    emit({"path": out, **_without_candidates(document)}, as_json, lambda: _table(document))


def _copies(paths: list[Path], vehicle: str | None, effects: Any, first: int, count: int | None) -> list[Copy]:
    if not paths:
        plant = Plant(load_vehicle(vehicle or "intel-aero"), effects)
        return [Copy(plant.with_airframe(k), None) for k in range(first, first + (count or 1))]
    if count not in (None, len(paths)):
        raise UserError(f"--airframes {count} does not match {len(paths)} bundles: give one --bundle per airframe")
    bundles = [load_bundle(path) for path in paths]
    profile = load_vehicle(vehicle) if vehicle else bundles[0].vehicle
    for b in bundles:
        if b.vehicle.sha256 != profile.sha256:
            raise UserError(
                f"bundle {b.path} was learned for another vehicle ('{b.vehicle.name}') than '{profile.name}'"
            )
    return copies_of_bundles(Plant(profile, effects), bundles, range(first, first + len(bundles)))


def _without_candidates(document: Mapping[str, Any]) -> dict[str, Any]:
    rows = {
        name: {key: value for key, value in row.items() if key != "candidates"}
        for name, row in document["controllers"].items()
    }
    return {**document, "controllers": rows}


def _table(document: Mapping[str, Any]) -> Table:
    table = Table("controller", "cost", "at the defaults", "gains", title="Tuned on still-air height error")
    for name, row in document["controllers"].items():
        gains = ", ".join(f"{key} {value:.3g}" for key, value in row["parameters"].items())
        table.add_row(name, f"{row['cost']:.2f}", f"{row['default_cost']:.2f}", gains)
    return table
