"""``neural-lander compare``: every controller on the same plant, with statistics."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer

from neural_lander.bundle import Bundle, load_bundle, load_for_research
from neural_lander.cli.output import emit
from neural_lander.cli.results import check_folder, render, stages, without_series, write_results
from neural_lander.control.touchdown import RESTING_SHARE
from neural_lander.control.tracking import DEFAULT_NATURAL_FREQUENCY
from neural_lander.errors import UserError
from neural_lander.flightlog import FlightLog
from neural_lander.vehicle import load_vehicle
from sim.campaign import Copy
from sim.comparison import Comparison, PlantChange, Stage, add_learning
from sim.comparison import compare as run
from sim.landing import CONTROLLERS, controller_named
from sim.plant import Plant, load_effects
from sim.scenarios import SCENARIOS, scenario_named
from sim.study import copies_of_bundles, study_airframes

STANDARD_CHANGES = ("mass=1.1", "mass=0.9", "thrust=0.9")
MAX_SEED = 2**31 - 1  # of what training takes
STANDARD_SWEEP = (1.5, 2.0, 3.0, 4.0, 5.0, 6.0)  # rad/s


def compare(
    bundle: Annotated[
        list[Path] | None,
        typer.Option(
            help="Bundle to fly, repeatable: the k-th on the k-th airframe. Without one, each is learned anew."
        ),
    ] = None,
    vehicle: Annotated[str | None, typer.Option(help="Profile; default: the bundle's, else intel-aero.")] = None,
    effect: Annotated[
        list[str] | None,
        typer.Option(help="Aerodynamic effect module:Class, repeatable; replaces the default ones."),
    ] = None,
    scenario: Annotated[list[str] | None, typer.Option(help=f"Repeatable: {', '.join(SCENARIOS)}.")] = None,
    controllers: Annotated[str, typer.Option(help="Comma-separated names.")] = ",".join(CONTROLLERS),
    flights: Annotated[int, typer.Option("-n", "--flights", min=1, help="Flights per controller.")] = 20,
    airframe: Annotated[int, typer.Option(min=0, help="The first copy of the vehicle; as in collect.")] = 0,
    airframes: Annotated[
        int | None, typer.Option(min=1, help="How many copies; default: one per bundle, else 5.")
    ] = None,
    omega_n: Annotated[
        float, typer.Option(help="Natural frequency of the position loop, rad/s.")
    ] = DEFAULT_NATURAL_FREQUENCY,
    plant: Annotated[list[str] | None, typer.Option(help="Another plant like mass=1.1,thrust=0.9, repeatable.")] = None,
    sweep: Annotated[str, typer.Option(help="Other omega_n, comma-separated, rad/s.")] = "",
    full: Annotated[
        bool, typer.Option(help="Mass +-10 %, thrust -10 % and omega_n from 1.5 to 6 rad/s as well.")
    ] = False,
    resting_share: Annotated[
        float,
        typer.Option(min=0.0, max=1.0, help="Share of the thrust kept while contact is felt; 1 switches the cut off."),
    ] = RESTING_SHARE,
    seed: Annotated[
        int, typer.Option(min=0, max=MAX_SEED, help="Of the test flights, and of learning where no bundle is given.")
    ] = 0,
    out: Annotated[Path | None, typer.Option(help="Folder for results.json and report.html.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 2,
    uncertified: Annotated[
        bool, typer.Option("--uncertified", help="Research: fly bundles that no certificate lets fly; results say so.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Fly every controller with the same gains, starts and noise; print medians and 95 % intervals."""
    names = [controller_named(name.strip()).name for name in controllers.split(",") if name.strip()]
    scenarios = [scenario_named(name).name for name in scenario or ["land-1d", "land-3d"]]
    changes = [PlantChange.parse(text) for text in plant or (STANDARD_CHANGES if full else [])]
    frequencies = _frequencies(sweep) or (STANDARD_SWEEP if full else ())
    effects = load_effects(effect or [])
    if not names:
        raise UserError(f"--controllers '{controllers}' names none; use any of: {', '.join(CONTROLLERS)}")
    for frequency in (omega_n, *frequencies):
        if not 0.1 <= frequency <= 30:
            raise UserError(f"natural frequency {frequency!r} rad/s must lie in [0.1, 30]")
    if out is not None:
        check_folder(out)
    with stages() as stage:
        copies, bundles, logs = _copies(
            bundle or [], load_for_research if uncertified else load_bundle, vehicle, effects, airframe, airframes,
            seed, out, workers, stage,
        )  # fmt: skip
        comparison = Comparison(copies, names, scenarios, flights, seed, omega_n, changes, resting_share, frequencies)
        results = run(comparison, workers, stage)
    if bundles:
        add_learning(results, copies, bundles[0], logs)
    if out is not None:
        write_results(results, out)
    emit(without_series(results), as_json, lambda: render(results, out))


def _frequencies(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(",") if part.strip())
    except ValueError as error:
        raise UserError(f"--sweep '{text}' must be frequencies in rad/s like 1.5,3,6") from error


def _copies(
    paths: list[Path],
    load: Callable[[Path], Bundle],
    vehicle: str | None,
    effects: tuple[Any, ...],
    first: int,
    count: int | None,
    seed: int,
    out: Path | None,
    workers: int,
    stage: Stage,
) -> tuple[list[Copy], list[Bundle], list[list[FlightLog]]]:
    """Airframes with what was learned on them, from bundles or anew."""
    if paths:
        if count not in (None, len(paths)):
            raise UserError(f"--airframes {count} does not match {len(paths)} bundles: give one --bundle per airframe")
        bundles = [load(path) for path in paths]
        profile = load_vehicle(vehicle) if vehicle else bundles[0].vehicle
        for b in bundles:
            if b.vehicle.sha256 != profile.sha256:
                raise UserError(
                    f"bundle {b.path} was learned for another vehicle ('{b.vehicle.name}') than '{profile.name}'"
                )
        copies = copies_of_bundles(Plant(profile, effects), bundles, range(first, first + len(paths)))
        return copies, bundles, []
    plant = Plant(load_vehicle(vehicle or "intel-aero"), effects)
    airframes = range(first, first + (count or 5))
    stage("collect and learn", 0, len(airframes))
    with TemporaryDirectory() as scratch:
        folder = out / "learned" if out is not None else Path(scratch)
        studies = study_airframes(
            plant, airframes, seed, folder, workers, lambda done, of: stage("collect and learn", done, of)
        )
        return [s.copy for s in studies], [s.bundle for s in studies], [s.logs for s in studies]
