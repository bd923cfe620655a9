"""Many flights: controllers x airframes x seeds, in parallel, with the same numbers whatever the sharding."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from joblib import Parallel, delayed

from neural_lander.control.touchdown import RESTING_SHARE
from neural_lander.control.tracking import DEFAULT_NATURAL_FREQUENCY
from neural_lander.errors import UserError
from sim.landing import Learned, build_controller, controller_named, fly_once, identify_moment_trim
from sim.plant import Plant
from sim.scenarios import scenario_named

TEST_STREAM = 0x7E57  # keeps the test seeds apart from those of collection
TRACE_EVERY = 8  # steps: 30 Hz is enough for a picture
BOOTSTRAP = 2000
SIGNED = ("lateness_s",)
Progress = Callable[[int, int], None]
"""(done, of) after every task."""


@dataclass(frozen=True)
class Copy:
    """One airframe and what was learned on it."""

    plant: Plant
    learned: Learned | None


@dataclass(frozen=True)
class Campaign:
    """What to compare. Seed k flies on airframe k modulo the number of airframes."""

    copies: Sequence[Copy]
    controllers: Sequence[str]
    scenario: str
    flights: int = 20
    seed: int = 0
    omega_n: float = DEFAULT_NATURAL_FREQUENCY  # rad/s
    resting_share: float = RESTING_SHARE
    """Of the touchdown detector, the same for every controller."""
    traces: int = 2
    """Flights per controller whose time series are kept."""


@dataclass
class Outcome:
    """Figures and traces of one controller."""

    rows: list[dict[str, float]] = field(default_factory=list)
    traces: list[dict[str, Any]] = field(default_factory=list)

    @property
    def copies(self) -> np.ndarray:
        """(n,) which airframe flew each row."""
        return np.array([row["copy"] for row in self.rows])


def run_campaign(campaign: Campaign, workers: int = 1, progress: Progress | None = None) -> dict[str, Outcome]:
    """Fly everything. Results are in the order of the seeds, however the work was shared.

    Raises
    ------
    UserError
        If a name is unknown, a controller lacks its model, or a user's effect fails.
    """
    if campaign.flights < 1 or not campaign.copies:
        raise UserError(f"flights = {campaign.flights} must be at least 1, on at least one airframe")
    scenario_named(campaign.scenario)
    for name in campaign.controllers:
        build_controller(controller_named(name), campaign.copies[0].plant, campaign.copies[0].learned)
    trims = Parallel(n_jobs=workers)(delayed(_moment_trim)(copy.plant) for copy in campaign.copies)
    tasks = [(name, k) for name in campaign.controllers for k in range(len(campaign.copies))]
    outcomes = {name: Outcome() for name in campaign.controllers}
    found: dict[str, dict[int, tuple[dict[str, float], dict[str, Any] | None]]] = {n: {} for n in campaign.controllers}
    run = Parallel(n_jobs=workers, return_as="generator_unordered")
    for done, (name, results) in enumerate(run(_jobs(campaign, tasks, trims)), start=1):
        found[name].update(results)
        if progress is not None:
            progress(done, len(tasks))
    for name, outcome in outcomes.items():
        for index in sorted(found[name]):
            row, trace = found[name][index]
            outcome.rows.append(row)
            if trace is not None:
                outcome.traces.append(trace)
    return outcomes


def _jobs(campaign: Campaign, tasks: Sequence[tuple[str, int]], trims: Sequence[np.ndarray]) -> Iterator[Any]:
    for name, k in tasks:
        indices = range(k, campaign.flights, len(campaign.copies))
        yield delayed(_fly_task)(campaign, name, campaign.copies[k], list(indices), trims[k])


def _moment_trim(plant: Plant) -> np.ndarray:
    with plant.build() as world:
        return identify_moment_trim(plant, world)


def _fly_task(
    campaign: Campaign, name: str, copy: Copy, indices: Sequence[int], moment_trim: np.ndarray
) -> tuple[str, dict[int, tuple[dict[str, float], dict[str, Any] | None]]]:
    scenario = scenario_named(campaign.scenario)
    controller = build_controller(controller_named(name), copy.plant, copy.learned, campaign.omega_n)
    results: dict[int, tuple[dict[str, float], dict[str, Any] | None]] = {}
    with copy.plant.build() as world:
        for index in indices:
            seed = flight_seed(campaign.seed, index)
            _, truth, _, row = fly_once(
                world, copy.plant, controller, scenario, seed, moment_trim, resting_share=campaign.resting_share
            )
            row["seed"], row["copy"] = float(seed), float(index % len(campaign.copies))
            trace = None
            if index < campaign.traces:
                pick = slice(None, None, TRACE_EVERY)
                clearance = copy.plant.pad[2]
                trace = {
                    "seed": seed,
                    "t": truth.t[pick].round(4).tolist(),
                    "height_m": truth.height[pick].round(5).tolist(),
                    "height_ref_m": (truth.reference[pick, 2] - clearance).round(5).tolist(),
                    "f_a_z_N": truth.f_a[pick, 2].round(4).tolist(),
                    "f_a_hat_z_N": (truth.f_a_hat[pick, 2]).round(4).tolist(),
                    "d_hat_z_N": truth.d_hat[pick, 2].round(4).tolist(),
                }
            results[index] = (row, trace)
    return name, results


def flight_seed(seed: int, index: int) -> int:
    """Seed of a test flight, the same for every controller."""
    return int(np.random.SeedSequence([seed, index, TEST_STREAM]).generate_state(1)[0])


def summarise(outcomes: Mapping[str, Outcome], seed: int = 0) -> dict[str, Any]:
    """Medians with 95 % bootstrap intervals, the worst, and counts; the shape of ``results.json``.

    The bootstrap draws airframes first and flights on each of them second: flights of one airframe are not independent.
    Errors are summarised by magnitude, lateness with its sign: a landing before its time is not a late one.
    """
    return {
        name: {
            "label": controller_named(name).label,
            "n": len(outcome.rows),
            "seeds": [int(row["seed"]) for row in outcome.rows],
            "touchdown_count": int(sum(row.get("touchdown", 0.0) for row in outcome.rows)),
            "tipped_over_count": int(sum(row["tipped_over"] for row in outcome.rows)),
            "metrics": {
                key: _statistics(np.array([row[key] for row in outcome.rows]), outcome.copies, key, seed)
                for key in outcome.rows[0]
                if key.endswith(("_m", "_s"))
            },
            "traces": outcome.traces,
        }
        for name, outcome in outcomes.items()
    }


def _statistics(values: np.ndarray, copies: np.ndarray, key: str, seed: int) -> dict[str, Any]:
    figures = values if key in SIGNED else np.abs(values)
    finite = figures[np.isfinite(figures)]
    if not len(finite):
        return {"median": None, "ci95": [None, None], "worst": None, "n": 0, "values": []}
    groups = [figures[copies == k] for k in np.unique(copies)]
    table = np.full((len(groups), max(len(g) for g in groups)), np.nan)
    for row, group in zip(table, groups, strict=True):
        row[:] = np.resize(group, len(row))  # repeats a flight where airframes have one more or less
    rng = np.random.default_rng(seed)
    who = rng.integers(0, len(groups), (BOOTSTRAP, len(groups)))
    flights = rng.integers(0, table.shape[1], (BOOTSTRAP, *table.shape))
    draws = table[who[..., None], flights].reshape(BOOTSTRAP, -1)
    medians = np.nanmedian(draws[np.any(np.isfinite(draws), axis=-1)], axis=-1)
    low, high = np.quantile(medians, [0.025, 0.975])
    return {
        "median": float(np.median(finite)),
        "ci95": [float(low), float(high)],
        "worst": float(finite[np.argmax(np.abs(finite))]),
        "n": len(finite),
        "values": values.tolist(),
    }
