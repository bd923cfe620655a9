"""Descents in free flight as the certificate's tracking bound wants them: true s, true p~, at the controller's step."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from joblib import Parallel, delayed

from neural_lander.certificate.tracking import LoopFlight
from neural_lander.residual.domain import Domain
from neural_lander.state import State
from neural_lander.trajectory import Landing
from sim.comparison.pool import Progress
from sim.controllers import build_controller, controller_named
from sim.draws import seed_from
from sim.flight import Truth
from sim.landing import fly_once, identify_moment_trim
from sim.plant import Copy
from sim.scenarios import scenario_named

CALIBRATION_STREAM, VERIFICATION_STREAM = 0xCA11, 0x0E4F  # keep their seeds apart from each other's and from the tests'
SHARD = 10  # landings per task
BATCH = 500  # landings at once in the batched world: some 100 MB


def descent_seed(seed: int, index: int, stream: int) -> int:
    """Seed of one landing of a stream."""
    return seed_from(seed, index, stream)


def fly_descents(
    copy: Copy,
    domain: Domain,
    controller: str,
    scenarios: Sequence[str],
    *,
    flights: int,
    seed: int,
    stream: int,
    workers: int = 1,
    progress: Progress = lambda done, of: None,
    world_name: str = "pybullet",
) -> list[LoopFlight]:
    """Landings, the scenarios in turn, from the reference's first step to contact or to where it stops descending.

    The result does not depend on the number of workers; the batched world needs one.
    """
    with copy.plant.build() as world:
        moment_trim = identify_moment_trim(copy.plant, world)
    if world_name == "batched":
        return _in_batch(copy, domain, controller, scenarios, flights, seed, stream, moment_trim, progress)
    shards = [range(k, min(k + SHARD, flights)) for k in range(0, flights, SHARD)]
    run = Parallel(n_jobs=workers, return_as="generator")
    jobs = (delayed(_fly)(copy, domain, controller, scenarios, shard, seed, stream, moment_trim) for shard in shards)
    found: list[LoopFlight] = []
    for part in run(jobs):
        found += part
        progress(len(found), flights)
    return found


def _fly(
    copy: Copy,
    domain: Domain,
    name: str,
    scenarios: Sequence[str],
    indices: Sequence[int],
    seed: int,
    stream: int,
    moment_trim: np.ndarray,
) -> list[LoopFlight]:
    controller = build_controller(controller_named(name), copy.plant, copy.learned)
    Lambda, found = controller.tracking.gains.Lambda, []
    with copy.plant.build() as world:
        for index in indices:
            gaps: list[float] = []
            scores: list[float] = []

            def note(t: float, state: State, gaps: list[float] = gaps, scores: list[float] = scores) -> None:
                wanted = controller.wanted
                assert wanted is not None
                gaps.append(float(np.linalg.norm(wanted.f_a_hat_at - controller.rotor_thrust)))
                scores.append(float(domain.score(state)))

            number = descent_seed(seed, index, stream)
            scenario = scenario_named(scenarios[index % len(scenarios)])
            _, truth, reference, _ = fly_once(
                world, copy.plant, controller, scenario, number, moment_trim, before_step=note
            )
            assert isinstance(reference, Landing)
            found.append(_descent(number, truth, reference, Lambda, np.array(gaps), np.array(scores)))
    return found


def _descent(
    number: int, truth: Truth, reference: Landing, Lambda: np.ndarray, gaps: np.ndarray, scores: np.ndarray
) -> LoopFlight:
    """The part of a flight that counts."""
    free = (truth.t > 0) & (truth.t < reference.arrival)
    first = int(np.argmax(free))
    touches = np.flatnonzero(truth.contact & free)
    last = int(touches[0]) if len(touches) else int(first + free.sum())
    part = slice(first, last)
    p_error = truth.position[part] - truth.reference[part]
    s = truth.velocity[part] - reference.velocity + Lambda * p_error
    return LoopFlight(number, s, p_error, gaps[part], float(scores[part].max()))


def _in_batch(
    copy: Copy,
    domain: Domain,
    name: str,
    scenarios: Sequence[str],
    flights: int,
    seed: int,
    stream: int,
    moment_trim: np.ndarray,
    progress: Progress,
) -> list[LoopFlight]:
    """The same flights in the batched world, many at once."""
    from sim.batch.descents import fly_descents_batch
    from sim.batch.flight import Task

    Lambda = build_controller(controller_named(name), copy.plant, copy.learned).tracking.gains.Lambda
    found: dict[int, LoopFlight] = {}
    for k, scenario in enumerate(scenarios):
        reference = scenario_named(scenario).trajectory(copy.plant.pad)
        assert isinstance(reference, Landing)
        mine = range(k, flights, len(scenarios))
        for shard in (mine[j : j + BATCH] for j in range(0, len(mine), BATCH)):
            numbers = [descent_seed(seed, index, stream) for index in shard]
            flown = fly_descents_batch(Task(copy, name, numbers, moment_trim), scenario, domain)
            for index, number, (truth, gaps, scores) in zip(shard, numbers, flown, strict=True):
                found[index] = _descent(number, truth, reference, Lambda, gaps, scores)
            progress(len(found), flights)
    return [found[index] for index in range(flights)]
