"""``neural-lander compare``: every controller on the same plant, with statistics."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from neural_lander.bundle import Bundle, load_bundle, load_for_research
from neural_lander.cli.output import emit
from neural_lander.cli.plant_options import MAX_SEED, Effects, FirstAirframe, Ground, ProfileOfBundle
from neural_lander.cli.results import check_folder, render, stages, without_series, write_results
from neural_lander.control.touchdown import RESTING_SHARE
from neural_lander.control.tracking import DEFAULT_NATURAL_FREQUENCY
from neural_lander.control.tuned import load_tuned
from neural_lander.errors import UserError
from neural_lander.flightlog import FlightLog
from neural_lander.vehicle import Vehicle, load_vehicle
from sim.comparison.campaign import own_controller
from sim.comparison.compare import Comparison, add_learning
from sim.comparison.compare import compare as run
from sim.comparison.fingerprint import before_flight
from sim.comparison.pool import DaskPool, LocalPool, Stage
from sim.comparison.study import copies_of_bundles, study_airframes
from sim.comparison.worlds import fitting_world, world_named
from sim.controllers import CONTROLLERS, controller_named, controllers_in
from sim.plant import Copy, Plant, load_effects
from sim.plant_change import CHANGES, STANDARD_ROBUSTNESS, parse_changes
from sim.scenarios import SCENARIOS, scenario_named
from sim.terrain import terrain_named

STANDARD_CHANGES = ("mass=1.1", "mass=0.9", "thrust=0.9")
FEW = 100  # flights per controller: some minutes in PyBullet
LEARNED = ("network", "cheeseman-bennett")  # residuals that come from logs
STANDARD_SWEEP = (1.5, 2.0, 3.0, 4.0, 5.0, 6.0)  # rad/s


def compare(
    bundle: Annotated[
        list[Path] | None,
        typer.Option(
            help="Bundle to fly, repeatable: the k-th on the k-th airframe. Without one, each is learned anew."
        ),
    ] = None,
    vehicle: ProfileOfBundle = None,
    effect: Effects = None,
    terrain: Ground = "flat",
    scenario: Annotated[list[str] | None, typer.Option(help=f"Repeatable: {', '.join(SCENARIOS)}.")] = None,
    controllers: Annotated[
        str, typer.Option(help="Comma-separated names; pd-trim+guard is pd-trim within the guard's limits, and so on.")
    ] = ",".join(CONTROLLERS),
    flights: Annotated[int, typer.Option("-n", "--flights", min=1, help="Flights per controller.")] = 20,
    airframe: FirstAirframe = 0,
    airframes: Annotated[
        int | None, typer.Option(min=1, help="How many copies; default: one per bundle, else 5.")
    ] = None,
    omega_n: Annotated[
        float, typer.Option(help="Natural frequency of the position loop, in rad/s.")
    ] = DEFAULT_NATURAL_FREQUENCY,
    plant: Annotated[
        list[str] | None,
        typer.Option(help=f"Another plant like mass=1.1,wind=2, repeatable; any of {', '.join(CHANGES)}."),
    ] = None,
    sweep: Annotated[str, typer.Option(help="Other omega_n, comma-separated, rad/s.")] = "",
    full: Annotated[
        bool, typer.Option(help="Mass +-10 %, thrust -10 % and omega_n from 1.5 to 6 rad/s as well.")
    ] = False,
    resting_share: Annotated[
        float,
        typer.Option(
            min=0.0,
            max=1.0,
            help="Share of the thrust kept while contact is felt, until the ground carries; 1 for no cut.",
        ),
    ] = RESTING_SHARE,
    seed: Annotated[
        int,
        typer.Option(min=0, max=MAX_SEED, help="Seed of the test flights, and of learning where no bundle is given."),
    ] = 0,
    robust: Annotated[
        bool, typer.Option(help="Success rates in plants that are wrong in one way each, and in all at once.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for report.html, results.json, flights.parquet (one row per flight), and shards/: what is "
            "finished. The same command goes on from there after Ctrl-C, a full disk or a crash; another is refused."
        ),
    ] = None,
    tuned: Annotated[
        Path | None,
        typer.Option(help="Gains from 'neural-lander tune': every scenario once more, each controller with its own."),
    ] = None,
    world: Annotated[
        str | None,
        typer.Option(
            help="pybullet: one vehicle at a time, with contact and shapes; batched: thousands at once in torch, "
            "batched:single in float32, batched:cuda and batched:single:cuda on a GPU. Default: pybullet up to "
            f"{FEW} flights, above it batched where controllers, effects and terrain can be."
        ),
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 2,
    scheduler: Annotated[
        str | None,
        typer.Option(help="Fly on a cluster: a Dask scheduler like tcp://10.0.0.1:8786. Learning stays here."),
    ] = None,
    uncertified: Annotated[
        bool, typer.Option("--uncertified", help="Research: fly bundles that no certificate lets fly; results say so.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Fly every controller with the same gains, starts and noise; print medians and 95 % intervals."""
    names = controllers_in(controllers)
    scenarios = [scenario_named(name).name for name in scenario or ["land-1d", "land-3d"]]
    changes = parse_changes(plant or (STANDARD_CHANGES if full else []))
    if world is not None:
        chosen = world_named(world)
        if scheduler is None:  # a cluster's workers may have what this machine lacks
            chosen.require()
    frequencies = _frequencies(sweep) or (STANDARD_SWEEP if full else ())
    effects, ground = load_effects(effect or []), terrain_named(terrain)
    for frequency in (omega_n, *frequencies):
        if not 0.1 <= frequency <= 30:
            raise UserError(f"natural frequency {frequency!r} rad/s must lie in [0.1, 30]")
    load = load_for_research if uncertified else load_bundle
    bundles = [load(path) for path in bundle or []]
    nominal = Plant(_profile(bundles, vehicle), effects, terrain=ground)
    gains = {} if tuned is None else load_tuned(tuned, nominal.vehicle, names)
    local = LocalPool(workers)
    pool = local if scheduler is None else DaskPool(scheduler)
    if out is not None:
        check_folder(out)
    flown = [effects, [own_controller(name) for name in names]]
    with stages() as stage, before_flight(flown):
        numbers = range(airframe, airframe + (airframes or len(bundles) or 5))
        logs: list[list[FlightLog]] = []
        if bundles:
            copies = _bundled(nominal, bundles, numbers)
        elif any(controller_named(name).residual in LEARNED for name in names):
            copies, bundles, logs = _learned(nominal, numbers, seed, out, local, stage)
        else:
            copies = [Copy(nominal.with_airframe(k), None) for k in numbers]
        comparison = Comparison(
            copies, names, scenarios, flights, seed, omega_n, changes,
            robustness=STANDARD_ROBUSTNESS if robust else (), resting_share=resting_share, sweep=frequencies,
            world=world or _fitting(names, scenarios, flights, copies[0]),
            tuned=gains,
        )  # fmt: skip
        results = run(comparison, pool, out, stage)
    if bundles:
        add_learning(results, copies, bundles[0], logs)
    if out is not None:
        write_results(results, out)
    emit(without_series(results), as_json, lambda: render(results, out))


def _fitting(controllers: list[str], scenarios: list[str], flights: int, copy: Copy) -> str:
    """PyBullet for what it can fly in minutes, else the batched world where that can fly all of it."""
    if flights <= FEW:
        return "pybullet"
    return fitting_world(controllers, [SCENARIOS[name] for name in scenarios], copy)


def _frequencies(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(",") if part.strip())
    except ValueError as error:
        raise UserError(f"--sweep '{text}' must be frequencies in rad/s like 1.5,3,6") from error


def _profile(bundles: list[Bundle], vehicle: str | None) -> Vehicle:
    """The vehicle that is named, else the first bundle's, else the paper's."""
    return bundles[0].vehicle if bundles and not vehicle else load_vehicle(vehicle or "intel-aero")


def _bundled(plant: Plant, bundles: list[Bundle], airframes: range) -> list[Copy]:
    """Airframes with the bundles that were learned on them."""
    if len(airframes) != len(bundles):
        raise UserError(
            f"--airframes {len(airframes)} does not match {len(bundles)} bundles: give one --bundle per airframe"
        )
    for b in bundles:
        if b.vehicle.sha256 != plant.vehicle.sha256:
            raise UserError(
                f"bundle {b.path} was learned for another vehicle ('{b.vehicle.name}') than '{plant.vehicle.name}'"
            )
    return copies_of_bundles(plant, bundles, airframes)


def _learned(
    plant: Plant, airframes: range, seed: int, out: Path | None, pool: LocalPool, stage: Stage
) -> tuple[list[Copy], list[Bundle], list[list[FlightLog]]]:
    """Airframes that are flown and learned now; with ``out`` what was learned there before is taken."""
    stage("collect and learn", 0, len(airframes))
    with TemporaryDirectory() as scratch:
        folder = out / "learned" if out is not None else Path(scratch)
        studies = study_airframes(
            plant, airframes, seed, folder, pool, lambda done, of: stage("collect and learn", done, of)
        )
        return [s.copy for s in studies], [s.bundle for s in studies], [s.logs for s in studies]
