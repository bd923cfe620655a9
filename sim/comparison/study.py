"""From a plant to what was learned on it: collection flights, training, bundle. The learner sees the logs alone."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from neural_lander.bundle import Bundle, load_bundle, save_bundle
from neural_lander.control.horizontal_loop import attitude_response
from neural_lander.errors import NeuralLanderWarning, UserError
from neural_lander.flightlog import FlightLog, read_log, write_mcap
from neural_lander.flightlog.files import replacing
from neural_lander.residual.options import TrainingOptions
from neural_lander.vehicle import Vehicle
from sim.collection import FLIGHT_TIME, FLIGHTS, collect_flight
from sim.comparison.fingerprint import code_fingerprint, fingerprint
from sim.comparison.pool import Pool, Progress
from sim.draws import seed_from
from sim.plant import Copy, Plant

MOST_FLIGHTS = 4 * FLIGHTS  # in which an airframe that tips over again and again may make up for lost time, guess
LEAST_DAMPING = 0.2  # of the horizontal loop: with less it swings at every gust; guess
STUDY = "study.json"  # beside bundle and logs: what they were flown and learned from


@dataclass(frozen=True)
class Study:
    """One airframe's way from collection to bundle."""

    copy: Copy
    bundle: Bundle
    logs: list[FlightLog]


def collection_seed(seed: int, airframe: int, flight: int) -> int:
    """Seed of a collection flight: hashed from all three, so that no two flights share one."""
    return seed_from(seed, airframe, flight, 0xC0)


def study_airframe(plant: Plant, airframe: int, seed: int, folder: Path, mark: str | None = None) -> Study:
    """Fly, learn and save under ``folder``; the plant is that of the airframe already.

    What the same plant, seed and code left there is taken as it is. ``mark`` is the hash of the first two where it was
    taken before anything flew; by default it is taken now.
    """
    mark = mark or _mark(plant, airframe, seed)
    marker, question = folder / STUDY, {"study": mark, "code": code_fingerprint()}
    if marker.exists() and marker.read_text("utf-8") == json.dumps(question):
        logs = [read_log(path) for path in sorted((folder / "logs").glob("collection_*.mcap"))]
        bundle = load_bundle(folder / "bundle")
        if len(logs) == len(bundle.info["datasets"]):  # not where somebody took logs away
            return Study(Copy(plant, bundle.learned), bundle, logs)
    from neural_lander.residual.training import train_residual  # torch: only where something is learned

    (folder / "logs").mkdir(parents=True, exist_ok=True)
    for old in (folder / "logs").glob("collection_*.mcap"):
        old.unlink()
    logs, failed = [], []
    for k in range(MOST_FLIGHTS):
        if k >= FLIGHTS + round(sum(FLIGHT_TIME - log.duration for log in logs) / FLIGHT_TIME):
            break  # in the air for as long as planned: a flight is shorter only where the vehicle tipped over
        name = f"logs/collection_{k}.mcap"  # as seen from where the bundle lies: both may be moved together
        flight = collection_seed(seed, airframe, k)
        try:
            flown = collect_flight(plant, flight)
        except (UserError, ArithmeticError) as error:
            failed.append(f"collection flight {k} of airframe {airframe}, seed {flight}: {error}")
            continue
        write_mcap(flown, folder / name)
        logs.append(replace(flown, metadata={**flown.metadata, "source": name}))
    if not logs:
        raise UserError(f"none of {FLIGHTS} collection flights has a log; {failed[0]}")
    if failed:
        what = f"learned from {len(logs)} of {FLIGHTS} flights; {'; '.join(failed)}"
        warnings.warn(what, NeuralLanderWarning, stacklevel=2)
    tipped = sum(log.duration < FLIGHT_TIME - 1.0 for log in logs)
    if tipped > len(logs) / 2:
        what = f"airframe {airframe}: the vehicle tipped over in {tipped} of {len(logs)} collection flights"
        warnings.warn(f"{what}. {_why_it_tips(plant.vehicle)}", NeuralLanderWarning, stacklevel=2)
    marker.unlink(missing_ok=True)
    bundle = save_bundle(folder / "bundle", train_residual(logs, plant.vehicle, TrainingOptions(seed=seed)))
    with replacing(marker) as part:
        part.write_text(json.dumps(question), "utf-8")
    return Study(Copy(plant, bundle.learned), bundle, logs)


def _why_it_tips(vehicle: Vehicle) -> str:
    tau = vehicle.motor_time_constant
    damping = attitude_response(tau)[2]
    if damping >= LEAST_DAMPING:
        return "Look at the profile's gear and inertia, and at the effects: 'collect' writes the logs to look at"
    swings = "swings long after every gust" if damping > 0 else "is unstable"
    return f"With motors of {tau:g} s the horizontal loop has a damping ratio of {damping:.2f}: it {swings}"


def study_airframes(
    plant: Plant, airframes: Sequence[int], seed: int, out: Path, pool: Pool, progress: Progress | None = None
) -> list[Study]:
    """Every airframe on its own; the first one's bundle and logs lie in ``out``, the others under ``out/airframes``.

    The pool's workers write there: those of a cluster have no part in it.
    """
    folders = [out if k == 0 else out / "airframes" / str(a) for k, a in enumerate(airframes)]
    plants = [plant.with_airframe(a) for a in airframes]
    tasks = [
        (k, own, a, seed, folder, _mark(own, a, seed))
        for k, (own, a, folder) in enumerate(zip(plants, airframes, folders, strict=True))
    ]
    studies: dict[int, Study] = {}
    for k, study in pool.run(_study, tasks):
        studies[k] = replace(study, copy=replace(study.copy, plant=plants[k]))  # not one that has been to a worker
        if progress is not None:
            progress(len(studies), len(folders))
    return [studies[k] for k in range(len(folders))]


def _mark(plant: Plant, airframe: int, seed: int) -> str:
    return fingerprint([plant.at_start(), airframe, seed])


def _study(task: tuple[int, Plant, int, int, Path, str]) -> tuple[int, Study]:
    return task[0], study_airframe(*task[1:])


def copies_of_bundles(plant: Plant, bundles: Sequence[Bundle], airframes: Sequence[int]) -> list[Copy]:
    """Bundles that exist already: bundle k flies on airframe k."""
    return [Copy(plant.with_airframe(a), b.learned) for a, b in zip(airframes, bundles, strict=True)]
