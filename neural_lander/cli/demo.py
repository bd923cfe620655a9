"""``neural-lander demo``: the whole loop in one command."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from neural_lander.cli.output import emit
from neural_lander.cli.plant_options import MAX_SEED
from neural_lander.cli.results import check_folder, render, stages, without_series, write_results
from neural_lander.flightlog import write_mcap
from neural_lander.vehicle import load_vehicle
from sim.comparison.campaign import flight_seed
from sim.comparison.compare import Comparison, add_learning, compare
from sim.comparison.pool import LocalPool
from sim.comparison.study import Study, study_airframes
from sim.controllers import CONTROLLERS, build_controller
from sim.landing import fly_once, identify_moment_trim
from sim.plant import Plant
from sim.scenarios import SCENARIOS, scenario_named

LEFT_OUT = ("neural-lander-l1", "neural-lander-adaptive")  # combinations, for ``compare``: the demo is to take 90 s


def demo(
    out: Annotated[Path, typer.Option(help="Folder for bundle, logs, results.json and report.html.")] = Path(
        "demo-out"
    ),
    vehicle: Annotated[str, typer.Option(help="Profile: a built-in name or a file.")] = "intel-aero",
    scenario: Annotated[str, typer.Option(help=f"One of: {', '.join(SCENARIOS)}.")] = "land-3d",
    airframes: Annotated[int, typer.Option(min=1, max=50, help="Copies of the vehicle, each flown and learned.")] = 4,
    flights: Annotated[int, typer.Option("-n", "--flights", min=1, help="Flights per controller.")] = 20,
    seed: Annotated[
        int, typer.Option(min=0, max=MAX_SEED, help="Seed of collection, training and test; theirs never meet.")
    ] = 0,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 2,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Collect flights in PyBullet, learn, bound, land every controller, and write a report."""
    started = time.perf_counter()
    scenario = scenario_named(scenario).name
    check_folder(out)
    plant, pool = Plant(load_vehicle(vehicle)), LocalPool(workers)
    with stages() as stage:
        stage("collect and learn", 0, airframes)
        studies = study_airframes(
            plant, range(airframes), seed, out, pool, lambda done, of: stage("collect and learn", done, of)
        )
        controllers = [name for name in CONTROLLERS if name not in LEFT_OUT]
        comparison = Comparison([s.copy for s in studies], controllers, [scenario], flights, seed)
        results = compare(comparison, pool, stage=stage)
        add_learning(results, [s.copy for s in studies], studies[0].bundle, [s.logs for s in studies])
        _write_landing_logs(studies[0], scenario, seed, out)
    results["settings"]["took_s"] = round(time.perf_counter() - started, 1)
    write_results(results, out)
    summary: dict[str, Any] = {"out": out, "report": out / "report.html", **without_series(results)}
    emit(summary, as_json, lambda: render(results, out))


def _write_landing_logs(study: Study, scenario: str, seed: int, out: Path) -> None:
    """One flight of PD and one of Neural-Lander, both with trim, as logs to look at and to learn from."""
    plant, task = study.copy.plant, SCENARIOS[scenario]
    with plant.build() as world:
        moment_trim = identify_moment_trim(plant, world)
        for name in ("pd-trim", "neural-lander-trim"):
            controller = build_controller(CONTROLLERS[name], plant, study.copy.learned)
            about = {"vehicle": plant.vehicle.name, "mass_kg": plant.vehicle.mass, "controller": name}
            log, *_ = fly_once(world, plant, controller, task, flight_seed(seed, 0), moment_trim, about)
            write_mcap(log, out / "logs" / f"{scenario}_{name}.mcap")
