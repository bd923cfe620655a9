"""From a plant to what was learned on it: collection flights, training, bundle. The learner sees the logs alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed

from neural_lander.bundle import Bundle, save_bundle
from neural_lander.flightlog import FlightLog, write_mcap
from neural_lander.residual.options import TrainingOptions
from sim.campaign import Copy, Progress
from sim.collection import FLIGHT_TIME, FLIGHTS, collect_flight
from sim.landing import Learned
from sim.plant import Plant


@dataclass(frozen=True)
class Study:
    """One airframe's way from collection to bundle."""

    copy: Copy
    bundle: Bundle
    logs: list[FlightLog]


def collection_seed(seed: int, airframe: int, flight: int) -> int:
    """Seed of a collection flight: hashed from all three, so that no two flights share one."""
    return int(np.random.SeedSequence([seed, airframe, flight, 0xC0]).generate_state(1)[0])


def learned_from(bundle: Bundle) -> Learned:
    """What the controllers of a comparison need of a bundle.

    Raises
    ------
    UserError
        Where its thrust iteration is not shown to contract, and it was not loaded for research.
    """
    return Learned(
        bundle.flying, bundle.cheeseman_bennett, bundle.flown_factor, bundle.iterations, bundle.uncertified
    )


def study_airframe(plant: Plant, airframe: int, seed: int, folder: Path, keep_logs: bool) -> Study:
    """Fly, learn and save under ``folder``; the plant is that of the airframe already."""
    from neural_lander.residual.training import train_residual  # torch: only where something is learned

    logs = [collect_flight(plant, collection_seed(seed, airframe, k)) for k in range(FLIGHTS)]
    if keep_logs:
        (folder / "logs").mkdir(parents=True, exist_ok=True)
        for k, log in enumerate(logs):
            write_mcap(log, folder / "logs" / f"collection_{k}.mcap")
    bundle = save_bundle(folder / "bundle", train_residual(logs, plant.vehicle, TrainingOptions(seed=seed)))
    return Study(Copy(plant, learned_from(bundle)), bundle, logs)


def study_airframes(
    plant: Plant, airframes: Sequence[int], seed: int, out: Path, workers: int, progress: Progress | None = None
) -> list[Study]:
    """Every airframe on its own; the first one's bundle and logs lie in ``out``, the others under ``out/airframes``."""
    folders = [out if k == 0 else out / "airframes" / str(a) for k, a in enumerate(airframes)]
    jobs = (
        delayed(study_airframe)(plant.with_airframe(a), a, seed, folder, k == 0)
        for k, (a, folder) in enumerate(zip(airframes, folders, strict=True))
    )
    studies = []
    for done, study in enumerate(Parallel(n_jobs=workers, return_as="generator")(jobs), start=1):
        studies.append(study)
        if progress is not None:
            progress(done, len(folders))
    return studies


def copies_of_bundles(plant: Plant, bundles: Sequence[Bundle], airframes: Sequence[int]) -> list[Copy]:
    """Bundles that exist already: bundle k flies on airframe k."""
    return [Copy(plant.with_airframe(a), learned_from(b)) for a, b in zip(airframes, bundles, strict=True)]


__all__ = ["FLIGHTS", "FLIGHT_TIME", "Study", "collection_seed", "copies_of_bundles", "learned_from", "study_airframes"]
