"""The same tuning budget for every controller: free gains, chosen on still-air height error, frozen with their seeds.

A candidate flies a landing and a low hover per seed, on every airframe in turn, in the plant as it is: no wind, no
change of mass. Its cost is the mean over the seeds of

    height error below 0.2 m / 10 mm + |lateness| / 0.1 s + low-hover error / 10 mm

and ``FAILURE`` where a flight tips over or cannot be computed; a landing that never touches down is late by all of the
time it was watched for. Height errors are means over time: gains that swing through the reference as it stops have no
error at that instant, and are no good gains. A centimetre is worth a tenth of a second, in which the reference descends
3 cm.

The first candidate is the default gains, then come points of a Sobol sequence over the logarithms of the gains, then
rounds around the best so far, ever closer. Number of candidates, seeds and rounds are the same for every controller,
whatever the number of its gains; nothing depends on how the work is shared.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import qmc

from neural_lander import __version__
from neural_lander.control.controller import Controller
from neural_lander.control.kinds import Parameter, default_parameters, free_parameters
from neural_lander.control.tuned import FORMAT, FORMAT_VERSION
from neural_lander.errors import UserError
from neural_lander.flightlog.files import replacing
from sim.aerodynamics import name_of
from sim.comparison.campaign import moment_trims
from sim.comparison.pool import LocalPool, Pool
from sim.controllers import build_controller, controller_named
from sim.draws import seed_from
from sim.landing import fly_once
from sim.plant import Copy
from sim.scenarios import scenario_named

TUNING_STREAM = 0x7C4E  # keeps the seeds apart from those of collection and test
LANDING, LOW_HOVER = "land-3d", "hover-low"
DESCENT_UNIT, LATENESS_UNIT, HOVER_UNIT = 0.010, 0.1, 0.010  # m, s, m
FAILURE = 200.0  # more than hanging for all of the time costs
SOBOL_SHARE = 0.5  # of the candidates; the others refine
ROUND = 4  # candidates that are drawn around the best at once
FIRST_SPREAD, LAST_SPREAD = 0.15, 0.03  # of the range of the logarithm, standard deviation in a round


@dataclass(frozen=True)
class Tuning:
    """What to tune."""

    copies: Sequence[Copy]
    controllers: Sequence[str]
    budget: int = 32
    """Candidates of each controller, the defaults among them."""
    flights: int = 4
    """Seeds that every candidate flies, a landing and a low hover each."""
    seed: int = 0

    @property
    def seeds(self) -> list[int]:
        """Of the flights, the same for every candidate and controller."""
        return [tuning_seed(self.seed, k) for k in range(self.flights)]


def tuning_seed(seed: int, index: int) -> int:
    """Seed of a tuning flight."""
    return seed_from(seed, index, TUNING_STREAM)


def tune(
    tuning: Tuning,
    pool: Pool | None = None,
    save: Callable[[dict[str, Any]], None] = lambda document: None,
    progress: Callable[[str, int, int], None] = lambda what, done, of: None,
) -> dict[str, Any]:
    """Tune every controller; the content of the file.

    Parameters
    ----------
    pool
        Who flies; by default this process.
    save
        Called with the document after every round, so that an interruption leaves what was found.
    progress
        (controller, candidates done, of).

    Raises
    ------
    UserError
        If a name is unknown, a controller lacks its model, has no gains or is guarded, or a user's part fails at the
        defaults.
    """
    pool = pool or LocalPool()
    if tuning.budget < 1 or tuning.flights < 1 or not tuning.copies:
        raise UserError(f"budget = {tuning.budget} and flights = {tuning.flights} must be at least 1, on an airframe")
    for name in tuning.controllers:
        kind = controller_named(name)
        if kind.guarded:
            bare = kind.bare.name
            raise UserError(
                f"controller '{name}': the guard has no gains, and '{bare}' flies with its own in it: tune it"
            )
        built = build_controller(kind, tuning.copies[0].plant, tuning.copies[0].learned)
        if type(built) is not Controller:
            raise UserError(f"controller '{name}' brings its own gains: leave it out, compare flies it as it is")
    trims: list[np.ndarray] = []
    for trim in moment_trims(tuning.copies, pool):
        if isinstance(trim, str):
            raise UserError(trim)
        trims.append(trim)
    document = _document(tuning)
    for name in tuning.controllers:
        _tune_one(tuning, name, trims, pool, document, save, progress)
    document["complete"] = True
    save(document)
    return document


def _tune_one(
    tuning: Tuning,
    name: str,
    trims: Sequence[np.ndarray],
    pool: Pool,
    document: dict[str, Any],
    save: Callable[[dict[str, Any]], None],
    progress: Callable[[str, int, int], None],
) -> None:
    search = Search(free_parameters(controller_named(name)), default_parameters(controller_named(name)), tuning)
    while batch := search.ask():
        tasks = [_Candidate(k, name, values, tuning, trims) for k, values in enumerate(batch)]
        costs: dict[int, float] = {}
        for k, cost in pool.run(_cost, tasks):
            costs[k] = cost
            progress(name, len(search.tried) + len(costs), tuning.budget)
        search.tell(batch, [costs[k] for k in range(len(batch))])
        best, cost = search.best
        document["controllers"][name] = {
            "parameters": best,
            "cost": cost,
            "default_cost": search.tried[0][1],
            "candidates": [{"parameters": values, "cost": c} for values, c in search.tried],
        }
        save(document)


class Search:
    """Which gains to try next. A pure function of the costs told so far, and of the tuning's seed."""

    def __init__(self, parameters: Sequence[Parameter], defaults: Mapping[str, float], tuning: Tuning) -> None:
        self._parameters, self._budget, self._seed = parameters, tuning.budget, tuning.seed
        self._defaults = dict(defaults)
        self._sobol = 1 + round(SOBOL_SHARE * (tuning.budget - 1))  # candidates until refinement begins
        self.tried: list[tuple[dict[str, float], float]] = []

    @property
    def best(self) -> tuple[dict[str, float], float]:
        """Gains of least cost; of equals the first."""
        return min(self.tried, key=lambda row: row[1])

    def ask(self) -> list[dict[str, float]]:
        """The next candidates, which may be tried at once; none when the budget is spent."""
        done = len(self.tried)
        if done == 0:
            sobol = qmc.Sobol(len(self._parameters), seed=self._seed)
            first = sobol.random_base2(math.ceil(math.log2(self._budget + 1)))
            return [self._defaults, *(self._values(x) for x in first[: self._sobol - 1])]
        count = min(ROUND, self._budget - done)
        if count <= 0:
            return []
        share = (done - self._sobol) / max(self._budget - self._sobol, 1)
        spread = FIRST_SPREAD * (LAST_SPREAD / FIRST_SPREAD) ** share
        centre = self._place(self.best[0])
        rng = np.random.default_rng([self._seed, done])
        steps = spread * rng.standard_normal((count, len(centre)))
        return [self._values(np.clip(centre + step, 0.0, 1.0)) for step in steps]

    def tell(self, batch: Sequence[Mapping[str, float]], costs: Sequence[float]) -> None:
        """What the candidates cost."""
        self.tried += [(dict(values), cost) for values, cost in zip(batch, costs, strict=True)]

    def _values(self, place: np.ndarray) -> dict[str, float]:
        """Gains at a place in the unit cube."""
        pairs = zip(self._parameters, place.tolist(), strict=True)
        return {p.key: float(f"{p.low * (p.high / p.low) ** x:.4g}") for p, x in pairs}

    def _place(self, values: Mapping[str, float]) -> np.ndarray:
        return np.array([math.log(values[p.key] / p.low) / math.log(p.high / p.low) for p in self._parameters])


@dataclass(frozen=True)
class _Candidate:
    index: int
    controller: str
    values: Mapping[str, float]
    tuning: Tuning
    moment_trims: Sequence[np.ndarray]


def _cost(candidate: _Candidate) -> tuple[int, float]:
    tuning, costs = candidate.tuning, []
    for k, seed in enumerate(tuning.seeds):
        copy, trim = tuning.copies[k % len(tuning.copies)], candidate.moment_trims[k % len(tuning.copies)]
        rows = {}
        for name in (LANDING, LOW_HOVER):
            scenario = scenario_named(name)
            plant = scenario.over(copy.plant)
            kind = controller_named(candidate.controller)
            controller = build_controller(kind, plant, copy.learned, tuned=candidate.values)
            try:
                with plant.build() as world:
                    *_, rows[name] = fly_once(world, plant, controller, scenario, seed, trim)
            except (ArithmeticError, UserError) as error:  # the gains are unstable: that is an answer
                if isinstance(error, UserError) and dict(candidate.values) == default_parameters(kind):
                    raise  # a user's part that fails at the defaults as well
                return candidate.index, FAILURE
        costs.append(flight_cost(rows[LANDING], rows[LOW_HOVER]))
    return candidate.index, float(np.mean(costs))


def flight_cost(landing: Mapping[str, float], hover: Mapping[str, float]) -> float:
    """Cost of one seed from the figures of its landing and its low hover."""
    if landing["tipped_over"] or hover["tipped_over"]:
        return FAILURE
    parts = (
        landing["low_descent_error_m"] / DESCENT_UNIT,
        abs(landing["lateness_s"]) / LATENESS_UNIT,
        hover["low_hover_error_m"] / HOVER_UNIT,
    )
    return min(sum(parts), FAILURE) if math.isfinite(sum(parts)) else FAILURE


def _document(tuning: Tuning) -> dict[str, Any]:
    plant = tuning.copies[0].plant
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "program": f"neural-lander {__version__}",
        "complete": False,
        "vehicle": plant.vehicle.name,
        "vehicle_sha256": plant.vehicle.sha256,
        "effects": [name_of(effect) for effect in plant.effects],
        "airframes": len(tuning.copies),
        "seed": tuning.seed,
        "flight_seeds": tuning.seeds,
        "candidates_per_controller": tuning.budget,
        "objective": {
            "what": f"mean over the seeds: height error below 0.2 m, |lateness| of {LANDING}; error of {LOW_HOVER}",
            "low_descent_unit_m": DESCENT_UNIT,
            "lateness_unit_s": LATENESS_UNIT,
            "low_hover_unit_m": HOVER_UNIT,
            "failure": FAILURE,
        },
        "controllers": {},
    }


def write_tuned(document: Mapping[str, Any], path: Path) -> None:
    """The file, complete or not at all.

    Raises
    ------
    UserError
        If it cannot be written.
    """
    with replacing(path) as part:
        part.write_text(json.dumps(document, allow_nan=False, indent=1), "utf-8")
