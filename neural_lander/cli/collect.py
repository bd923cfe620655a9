"""``neural-lander collect``: flights in simulation to learn from."""

from __future__ import annotations

import warnings
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from joblib import Parallel, delayed
from rich.table import Table

from neural_lander.cli.output import emit, progress
from neural_lander.cli.plant_options import Effects, Ground
from neural_lander.cli.results import check_folder
from neural_lander.errors import NeuralLanderWarning, UserError
from neural_lander.flightlog import FlightLog, read_log, write_mcap
from neural_lander.vehicle import load_vehicle
from sim.collection import FLIGHT_TIME, FLIGHTS, collect_flight
from sim.comparison.fingerprint import code_fingerprint, fingerprint
from sim.comparison.insight import BANDS
from sim.comparison.study import collection_seed
from sim.plant import Plant, load_effects
from sim.terrain import terrain_named

COLLECTION = "collection"  # in a log's metadata: what decides its numbers, so that a stopped collection goes on


def collect(
    out: Annotated[Path, typer.Option(help="Folder for the logs (MCAP); made if it is not there.")],
    vehicle: Annotated[str, typer.Option(help="Profile: a built-in name or a file.")] = "intel-aero",
    effect: Effects = None,
    terrain: Ground = "flat",
    airframe: Annotated[int, typer.Option(min=0, help="Which copy of the vehicle: draws its asymmetries.")] = 0,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the flights: way, noise, turbulence.")] = 0,
    flights: Annotated[int, typer.Option(min=1, max=100)] = FLIGHTS,
    duration: Annotated[float, typer.Option(min=5.0, max=600.0, help="Length of each flight, in s.")] = FLIGHT_TIME,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 2,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Fly PD with trim through all heights with thrust dither, and write what an autopilot would have logged.

    Given again after Ctrl-C, it goes on where it was stopped.
    """
    plant = Plant(load_vehicle(vehicle), load_effects(effect or []), terrain=terrain_named(terrain)).with_airframe(
        airframe
    )
    check_folder(out)
    paths = [out / f"{plant.vehicle.name}_airframe{airframe}_seed{seed}_{k:02d}.mcap" for k in range(flights)]
    mark = fingerprint([plant.at_start(), airframe, seed, duration, code_fingerprint()])
    flown = {path: _flown_before(path, mark) for path in paths if path.exists()}
    left = [(path, collection_seed(seed, airframe, k)) for k, path in enumerate(paths) if path not in flown]
    jobs = (delayed(_fly)(plant, flight, duration, mark) for _, flight in left)
    with progress() as bars:
        task = bars.add_task("flights", total=flights, completed=len(flown))
        for (path, _), log in zip(left, Parallel(n_jobs=workers, return_as="generator")(jobs), strict=True):
            write_mcap(log, path)
            flown[path] = log
            bars.advance(task)
    logs = [flown[path] for path in paths]
    tipped = [path.name for path, log in zip(paths, logs, strict=True) if log.duration < duration - 1.0]
    if tipped:
        what = f"tipped over on its gear; the log ends there: {', '.join(tipped)}"
        warnings.warn(what, NeuralLanderWarning, stacklevel=2)
    emit(_summary(plant, logs, paths, airframe, seed), as_json, lambda: _render(logs, paths))


def _fly(plant: Plant, seed: int, duration: float, mark: str) -> FlightLog:
    log = collect_flight(plant, seed, duration)
    return replace(log, metadata={**log.metadata, COLLECTION: mark})


def _flown_before(path: Path, mark: str) -> FlightLog:
    """A flight of this very collection, which was stopped before its end; another one is not written over."""
    log = read_log(path)
    if log.metadata.get(COLLECTION) != mark or log.warnings:
        raise UserError(
            f"--out {path.parent} holds {path.name} of another collection (its plant, duration or code differ), or a "
            "damaged one: name another folder or --seed, or remove it"
        )
    return log


def _seconds(log: FlightLog) -> list[float]:
    assert log.height is not None
    counts, _ = np.histogram(log.height, BANDS)
    return [float(c) for c in (counts * log.duration / len(log.t)).round(2)]


def _summary(plant: Plant, logs: list[FlightLog], paths: list[Path], airframe: int, seed: int) -> dict[str, Any]:
    return {
        "vehicle": plant.vehicle.name,
        "airframe": airframe,
        "seed": seed,
        "flights": [
            {"path": path, "duration_s": log.duration, "records": len(log.t), "seconds_per_band": _seconds(log)}
            for path, log in zip(paths, logs, strict=True)
        ],
        "height_edges_m": BANDS,
        "seconds_per_band": np.sum([_seconds(log) for log in logs], axis=0).round(2),
    }


def _render(logs: list[FlightLog], paths: list[Path]) -> Table:
    table = Table()
    table.add_column("log", overflow="fold")
    for heading in ("s", *(f"h {a:g}-{b:g} m" for a, b in pairwise(BANDS))):
        table.add_column(heading, justify="right")
    for log, path in zip(logs, paths, strict=True):
        table.add_row(path.name, f"{log.duration:.0f}", *(f"{s:.1f}" for s in _seconds(log)))
    return table
