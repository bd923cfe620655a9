"""Many flights: controllers x airframes x seeds, in parallel, with the same numbers however the work is shared."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from neural_lander.control.kinds import EXAMPLE
from neural_lander.control.touchdown import RESTING_SHARE
from neural_lander.control.tracking import DEFAULT_NATURAL_FREQUENCY
from neural_lander.errors import NeuralLanderWarning, UserError
from neural_lander.extension import load_named
from sim.aerodynamics import name_of, ours
from sim.comparison.fingerprint import code_fingerprint, fingerprint
from sim.comparison.pool import LocalPool, Pool, Progress
from sim.comparison.shards import ShardStore
from sim.comparison.worlds import FlightWorld, Part, world_named
from sim.controllers import build_controller, controller_named
from sim.draws import seed_from
from sim.landing import identify_moment_trim
from sim.plant import Copy, Plant
from sim.scenarios import scenario_named
from sim.terrain import Terrain

TEST_STREAM = 0x7E57  # keeps the test seeds apart from those of collection


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
    world: str = "pybullet"
    tuned: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Controller -> gains of its own instead of those at ``omega_n``; others keep these."""

    @property
    def question(self) -> dict[str, Any]:
        """All that decides the numbers, as JSON; the sharding is not part of it."""
        scenario = scenario_named(self.scenario)
        plants = [scenario.over(copy.plant).at_start() for copy in self.copies]
        return {
            "code": code_fingerprint(),
            "world": self.world,
            "scenario": {"name": scenario.name, "definition": scenario.definition},
            "controllers": {name: _identity(name) for name in self.controllers},
            **({"tuned": {name: dict(gains) for name, gains in self.tuned.items()}} if self.tuned else {}),
            "flights": self.flights,
            "seed": self.seed,
            "omega_n_rad_s": self.omega_n,
            "resting_share": self.resting_share,
            "vehicle": _alike(_named(plant.vehicle.name, plant.vehicle) for plant in plants),
            "effects": _alike([_named(name_of(effect), effect) for effect in plant.effects] for plant in plants),
            "terrain": _alike(_named(_terrain(plant.terrain), plant.terrain) for plant in plants),
            "airframes": [
                {"plant": fingerprint(_rest(plant)), "learned": fingerprint(copy.learned)}
                for copy, plant in zip(self.copies, plants, strict=True)
            ],
        }


def _named(name: str, value: Any) -> str:
    """By its name, for whoever reads that it has changed, and by its content."""
    return f"{name} ({fingerprint(value)})"


def _terrain(terrain: Terrain) -> str:
    """With its figures, where it is one of ours."""
    return repr(terrain) if ours(terrain) else type(terrain).__name__


def _alike(values: Iterable[Any]) -> Any:
    """The one that all airframes share, else that of each."""
    each = list(values)
    return each[0] if all(value == each[0] for value in each) else each


def _rest(plant: Plant) -> dict[str, Any]:
    """What differs from airframe to airframe."""
    return {k: v for k, v in vars(plant).items() if k not in ("vehicle", "effects", "terrain")}


def own_controller(name: str) -> Any:
    """What a user's name of a controller stands for; None for ours."""
    return load_named(controller_named(name).bare.name, "controller", EXAMPLE) if ":" in name else None


def _identity(name: str) -> str:
    """Of a controller; a user's own counts with its source."""
    return fingerprint([controller_named(name), own_controller(name)])


@dataclass(frozen=True)
class Failure:
    """A flight without a result."""

    seed: int
    index: int
    reason: str


@dataclass
class Outcome:
    """Flights of one controller in the order of their seeds."""

    rows: list[dict[str, float]] = field(default_factory=list)
    """Scores, with ``seed``, ``index`` and ``copy``."""
    failures: list[Failure] = field(default_factory=list)

    @property
    def copies(self) -> np.ndarray:
        """(n,) which airframe flew each row."""
        return np.array([row["copy"] for row in self.rows])


@dataclass(frozen=True)
class _Shard:
    """A block of flights: some seeds of some controllers on some airframes."""

    world: FlightWorld
    scenario: str
    omega_n: float
    resting_share: float
    parts: tuple[Part, ...]

    @property
    def name(self) -> str:
        """Of its first flight, which no other shard has."""
        return f"{self.parts[0].controller.replace(':', '_')}-{self.parts[0].indices[0]}"


def run_campaign(
    campaign: Campaign,
    pool: Pool | None = None,
    folder: Path | None = None,
    progress: Progress | None = None,
    shard_size: int | None = None,
) -> dict[str, Outcome]:
    """Fly everything. Results are in the order of the seeds, however the work was shared.

    Parameters
    ----------
    pool
        Who does the work; by default this process.
    folder
        Where finished shards are kept, and from where an interrupted campaign goes on.
    shard_size
        Flights per task; by default what suits the world. It changes no number where the world is exact.

    Raises
    ------
    UserError
        If a name is unknown, a controller lacks its model, ``folder`` holds another campaign or cannot be written, or
        not a single flight had a result. A flight that fails otherwise is among the failures, with its seed.
    """
    if campaign.flights < 1 or not campaign.copies:
        raise UserError(f"flights = {campaign.flights} must be at least 1, on at least one airframe")
    scenario, world, pool = scenario_named(campaign.scenario), world_named(campaign.world), pool or LocalPool()
    question = campaign.question if folder is not None else {}  # before anything flies
    copies = [replace(copy, plant=scenario.over(copy.plant)) for copy in campaign.copies]
    for name in campaign.controllers:
        kind, tuned = controller_named(name), campaign.tuned.get(name)
        build_controller(kind, copies[0].plant, copies[0].learned, campaign.omega_n, tuned)
        world.check(name, scenario, copies[0])
    size = shard_size or world.shard
    part_of = {} if world.exact else {"flights_per_shard": size}
    store = None if folder is None else ShardStore(folder, question | part_of)
    rows = [] if store is None else store.open()
    blocks = list(_blocks(campaign, rows, size))
    needed = sorted({index % len(copies) for block in blocks for _, index in block})
    trims = dict(zip(needed, moment_trims([copies[k] for k in needed], pool), strict=True))
    parts = [_parts(campaign, copies, trims, block) for block in blocks]
    shards = [_Shard(world, campaign.scenario, campaign.omega_n, campaign.resting_share, some) for some in parts]
    done, of = 0, len(shards)
    try:
        for shard_name, found in pool.run(_fly, shards):
            if store is not None:
                store.save(shard_name, found)
            rows += found
            done += 1
            if progress is not None:
                progress(done, of)
    except KeyboardInterrupt:
        if store is not None:
            kept = f"{len(rows)} of {campaign.flights * len(campaign.controllers)} flights are kept in {folder}"
            warnings.warn(f"{kept}; the same command goes on from there", NeuralLanderWarning, stacklevel=2)
        raise
    return _outcomes(campaign, rows)


def _blocks(campaign: Campaign, rows: Sequence[Mapping[str, Any]], size: int) -> Iterator[list[tuple[str, int]]]:
    """Controller and index of the flights that no row answers yet, in blocks with neighbours on the same airframe.

    The blocks are cut from all flights, so that one that was not flown is the same whatever else is finished.
    """
    there = {(row["controller"], int(row["index"])) for row in rows}
    flights = [
        (name, index)
        for name in campaign.controllers
        for k in range(len(campaign.copies))
        for index in range(k, campaign.flights, len(campaign.copies))
    ]
    for first in range(0, len(flights), size):
        missing = [flight for flight in flights[first : first + size] if flight not in there]
        if missing:
            yield missing


def _parts(
    campaign: Campaign,
    copies: Sequence[Copy],
    trims: Mapping[int, np.ndarray | str],
    flights: Sequence[tuple[str, int]],
) -> tuple[Part, ...]:
    """The flights by controller and airframe."""
    parts = []
    for (name, k), some in groupby(flights, key=lambda flight: (flight[0], flight[1] % len(copies))):
        indices = tuple(index for _, index in some)
        seeds = tuple(flight_seed(campaign.seed, index) for index in indices)
        parts.append(Part(copies[k], k, name, indices, seeds, trims[k], campaign.tuned.get(name)))
    return tuple(parts)


def moment_trims(copies: Sequence[Copy], pool: Pool) -> list[np.ndarray | str]:
    """(3,) N m of each airframe, or why there is none."""
    found: dict[int, np.ndarray | str] = dict(
        pool.run(_moment_trim, [(k, copy.plant) for k, copy in enumerate(copies)])
    )
    return [found[k] for k in range(len(copies))]


def _moment_trim(task: tuple[int, Plant]) -> tuple[int, np.ndarray | str]:
    k, plant = task
    try:
        with plant.build() as world:
            return k, identify_moment_trim(plant, world)
    except (UserError, ArithmeticError) as error:
        return k, f"before the flight, where the moment trim is identified: {error}"


def _fly(shard: _Shard) -> tuple[str, list[dict[str, Any]]]:
    """Rows of a shard: every flight has one, with its scores or with why it has none."""
    ready = [part for part in shard.parts if not isinstance(part.moment_trim, str)]
    flown = shard.world.fly(ready, scenario_named(shard.scenario), shard.omega_n, shard.resting_share) if ready else []
    found = dict(zip(map(id, ready), flown, strict=True))
    rows = []
    for part in shard.parts:
        reasons = [str(part.moment_trim)] * len(part.seeds)
        for index, seed, score in zip(part.indices, part.seeds, found.get(id(part), reasons), strict=True):
            failed = score if isinstance(score, str) else ""
            about = {"controller": part.controller, "copy": part.k, "index": index, "seed": seed, "failed": failed}
            rows.append(about | ({} if isinstance(score, str) else score))
    return shard.name, rows


def _outcomes(campaign: Campaign, rows: Sequence[Mapping[str, Any]]) -> dict[str, Outcome]:
    outcomes = {name: Outcome() for name in campaign.controllers}
    order = {name: k for k, name in enumerate(campaign.controllers)}
    wanted = [row for row in rows if row["controller"] in order]
    wanted.sort(key=lambda row: (order[row["controller"]], row["index"]))
    for name, flown in groupby(wanted, key=lambda row: row["controller"]):
        for row in flown:
            if row["failed"]:
                outcomes[name].failures.append(Failure(int(row["seed"]), int(row["index"]), row["failed"]))
            else:
                outcomes[name].rows.append({k: float(v) for k, v in row.items() if k not in ("controller", "failed")})
    failures = [f for outcome in outcomes.values() for f in outcome.failures]
    if not any(outcome.rows for outcome in outcomes.values()):
        raise UserError(f"none of {len(failures)} flights has a result; seed {failures[0].seed}: {failures[0].reason}")
    return outcomes


def flight_seed(seed: int, index: int) -> int:
    """Seed of a test flight, the same for every controller."""
    return seed_from(seed, index, TEST_STREAM)
