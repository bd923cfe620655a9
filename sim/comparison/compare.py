"""A whole comparison as the content of results.json: scenarios, other plants, other gains, what was learned."""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from neural_lander import __version__
from neural_lander.bundle import Bundle
from neural_lander.certificate.meaning import explained
from neural_lander.control.touchdown import RESTING_SHARE
from neural_lander.control.tracking import DEFAULT_NATURAL_FREQUENCY, TrackingGains
from neural_lander.flightlog import FlightLog
from sim.aerodynamics import unknown_to_oracle
from sim.comparison.campaign import Campaign, Outcome, own_controller, run_campaign
from sim.comparison.contribution import contribution
from sim.comparison.fingerprint import before_flight
from sim.comparison.insight import coverage, learned_curve, thrust_slope
from sim.comparison.pool import LocalPool, Pool, Stage
from sim.comparison.ranking import is_oracle, kind_of, ranking
from sim.comparison.replay import fly_replays, geometry, ground_half
from sim.comparison.requirements import (
    apart_requirements,
    learning_requirements,
    robust_requirements,
    task_requirements,
)
from sim.comparison.settings import settings
from sim.comparison.shards import write_rows
from sim.comparison.summary import summarise
from sim.comparison.worlds import fitting_world, is_batched
from sim.controllers import CONTROLLERS
from sim.oracle import closed_form_hang
from sim.plant import Copy
from sim.plant_change import PlantChange, refuse_repeated
from sim.scenarios import SCENARIOS

SCHEMA = 1
"""Version of results.json."""
SWEEP_METRICS = ("final_error_m", "arrival_error_m", "lateness_s")
SHARDS, FLIGHTS = "shards", "flights.parquet"  # in the folder of a comparison


@dataclass(frozen=True)
class Comparison:
    """What to compare."""

    copies: Sequence[Copy]
    controllers: Sequence[str] = tuple(CONTROLLERS)
    scenarios: Sequence[str] = ("land-3d",)
    flights: int = 20
    seed: int = 0
    omega_n: float = DEFAULT_NATURAL_FREQUENCY  # rad/s
    changes: Sequence[PlantChange] = ()
    robustness: Sequence[PlantChange] = ()
    """Judged by the rate of successes alone, in the first landing."""
    resting_share: float = RESTING_SHARE
    sweep: Sequence[float] = ()
    """Other omega_n in rad/s."""
    world: str = "pybullet"
    tuned: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Controller -> gains of its own; with them the scenarios are flown a second time, for the tuned table."""

    def __post_init__(self) -> None:
        """Refuse before anything flies what would stop it in the middle."""
        for changes in (self.changes, self.robustness):
            refuse_repeated(changes)
            for change in changes:
                change.of_plant(self.copies[0].plant)

    def campaign(self, scenario: str) -> Campaign:
        """The campaign of one scenario on the nominal plant at the common gains."""
        return Campaign(
            self.copies, self.controllers, scenario, self.flights, self.seed, self.omega_n, self.resting_share,
            self.world,
        )  # fmt: skip


@dataclass
class _Flown:
    """Does the campaigns of a comparison, and keeps every flight for the table of all."""

    pool: Pool
    folder: Path | None
    stage: Stage
    flights: list[dict[str, Any]] = field(default_factory=list)

    def __call__(self, campaign: Campaign, what: str, **about: Any) -> dict[str, Outcome]:
        """Outcomes of a campaign; ``what`` names it, ``about`` goes into its rows."""
        folder = None if self.folder is None else self.folder / SHARDS / re.sub(r"[^\w.+-]+", "_", what)
        outcomes = run_campaign(campaign, self.pool, folder, lambda done, of: self.stage(what, done, of))
        common = {"scenario": campaign.scenario, "omega_n_rad_s": campaign.omega_n, "world": campaign.world}
        about = {**common, "tuned": False, **about}
        for name, outcome in outcomes.items():
            self.flights += [{**about, "controller": name, "failed": "", **_whole(row)} for row in outcome.rows]
            self.flights += [
                {**about, "controller": name, "failed": f.reason, "seed": f.seed, "index": f.index}
                for f in outcome.failures
            ]
        return outcomes


def _whole(row: Mapping[str, float]) -> dict[str, Any]:
    return {key: int(value) if key in ("seed", "index", "copy") else value for key, value in row.items()}


def compare(
    comparison: Comparison,
    pool: Pool | None = None,
    out: Path | None = None,
    stage: Stage = lambda what, done, of: None,
) -> dict[str, Any]:
    """Fly it all; the content of ``results.json`` without what was learned.

    With ``out``, finished work is kept in ``out/shards``, from where an interrupted comparison goes on, and every
    flight is a row of ``out/flights.parquet`` in the end.
    """
    own = [own_controller(name) for name in comparison.controllers]
    with before_flight([copy.plant.effects for copy in comparison.copies], own):
        return _compare(comparison, _Flown(pool or LocalPool(), out, stage), out)


def _compare(c: Comparison, fly: _Flown, out: Path | None) -> dict[str, Any]:
    results: dict[str, Any] = {
        "schema": SCHEMA,
        "program": f"neural-lander {__version__}",
        "vehicle": c.copies[0].plant.vehicle.name,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "settings": settings(c.campaign(c.scenarios[0])),
        "geometry": geometry(c.copies[0].plant.vehicle),
        "scenarios": {s: _scenario(c, s, fly) for s in c.scenarios},
    }
    uncertified = [copy.learned.uncertified for copy in c.copies if copy.learned and copy.learned.uncertified]
    if uncertified:
        results["uncertified"] = uncertified
    if unknown := unknown_to_oracle(c.copies[0].plant.effects):
        results["unknown_to_oracle"] = unknown
    judged = _without_oracles if unknown else dict
    requirements = task_requirements(judged(results["scenarios"])) + apart_requirements(judged(results["scenarios"]))
    if c.changes:
        results["plants"] = []
    for change in c.changes:
        scenarios = {}
        for s in c.scenarios:
            outcomes = fly(_changed(c, s, change), f"{s}, {change.name}", plant=change.name)
            scenarios[s] = {"controllers": summarise(outcomes, c.seed)}
        results["plants"].append({"name": change.name, "scenarios": scenarios})
        rows = task_requirements(judged(scenarios), f", {change.name}")
        requirements += [row for row in rows if "trim" in row["name"]]
    if c.tuned:
        results["tuned"] = _tuned(c, fly)
        requirements += apart_requirements(judged(results["tuned"]["scenarios"]), ", tuned")
    if c.robustness:
        results["robustness"] = _robustness(c, fly)
        requirements += robust_requirements(results["robustness"])
    if requirements:
        results["requirements"] = requirements
    results.update(_hang(c, results["scenarios"]))
    landings = [s for s in c.scenarios if SCENARIOS[s].lands]
    if c.sweep and landings:
        results["gain_sweep"] = _sweep(c, landings[0], fly)
    if unknown:
        _name_blind_oracles(results, f" without {', '.join(unknown)}")
    if out is not None:
        write_rows(out / FLIGHTS, fly.flights)
    return results


def _name_blind_oracles(part: Any, without: str) -> None:
    """Say in the label of every oracle in the results what of the plant it does not know."""
    if isinstance(part, dict):
        if part.get("kind", {}).get("residual") == "oracle":
            part["label"] += without
        part = list(part.values())
    if isinstance(part, list):
        for one in part:
            _name_blind_oracles(one, without)


def _scenario(c: Comparison, name: str, fly: _Flown) -> dict[str, Any]:
    campaign = c.campaign(name)
    outcomes = fly(campaign, name, plant="nominal")
    controllers = summarise(outcomes, c.seed)
    fly.stage(f"{name}, pictures", 0, 1)
    for controller, series in fly_replays(campaign, fly.pool).items():
        controllers[controller]["traces"] = series
    fly.stage(f"{name}, pictures", 1, 1)
    found = {
        "definition": SCENARIOS[name].definition,
        "ground_half_m": ground_half(SCENARIOS[name].over(c.copies[0].plant).terrain),
        "controllers": controllers,
        "best": ranking(controllers),
        "contribution": contribution(outcomes, controllers, c.seed),
    }
    return {key: value for key, value in found.items() if value}


def _changed(c: Comparison, scenario: str, change: PlantChange) -> Campaign:
    """The campaign in a changed plant, in PyBullet where the batched world lacks what has changed."""
    copies, world = [change.of(copy) for copy in c.copies], c.world
    if is_batched(world):
        world = fitting_world(c.controllers, [SCENARIOS[scenario]], copies[0], world)
    return replace(c.campaign(scenario), copies=copies, world=world)


def _tuned(c: Comparison, fly: _Flown) -> dict[str, Any]:
    """The same seeds once more, each controller with its own gains."""
    scenarios = {}
    for name in c.scenarios:
        campaign = replace(c.campaign(name), tuned=c.tuned)
        outcomes = fly(campaign, f"{name}, tuned", plant="nominal", tuned=True)
        controllers = summarise(outcomes, c.seed)
        scenarios[name] = {
            "controllers": controllers,
            "best": ranking(controllers),
            "contribution": contribution(outcomes, controllers, c.seed),
        }
    return {"gains": {name: dict(c.tuned[name]) for name in c.controllers if name in c.tuned}, "scenarios": scenarios}


def _robustness(c: Comparison, fly: _Flown) -> dict[str, Any]:
    """Rate of successes of every controller in every changed plant."""
    scenario = next((s for s in c.scenarios if SCENARIOS[s].lands), "land-3d")
    rows = []
    for change in c.robustness:
        outcomes = fly(_changed(c, scenario, change), f"robustness, {change.name}", plant=change.name)
        rows.append(
            {"name": change.name, "controllers": {n: _robust(s) for n, s in summarise(outcomes, c.seed).items()}}
        )
    return {"scenario": scenario, "plants": rows}


def _robust(summary: Mapping[str, Any]) -> dict[str, Any]:
    kept = ("label", "kind", "n", "success", "failures", "tipped_over_count", "touchdown_count")
    errors = ("arrival_error_m", "lateness_s", "touchdown_speed_m_s", "drift_m")
    metrics = {key: summary["metrics"][key] for key in errors if key in summary["metrics"]}
    return {**{key: summary[key] for key in kept}, "metrics": metrics}


def _without_oracles(scenarios: Mapping[str, Any]) -> dict[str, Any]:
    """What is held against nobody who does not know the plant."""
    return {
        s: {**found, "controllers": {n: o for n, o in found["controllers"].items() if not is_oracle(kind_of(n, o))}}
        for s, found in scenarios.items()
    }


def _hang(c: Comparison, scenarios: dict[str, Any]) -> dict[str, Any]:
    flown = [s["controllers"]["pd"] for n, s in scenarios.items() if SCENARIOS[n].lands and "pd" in s["controllers"]]
    if not flown or not flown[0]["n"]:
        return {}
    plant = c.copies[0].plant
    gains = TrackingGains.critically_damped(plant.vehicle, c.omega_n, 0.0)
    measured = flown[0]["metrics"]["final_error_m"]["median"]
    known = not unknown_to_oracle(plant.effects)
    closed_form = closed_form_hang(plant.vehicle, plant.effects, gains) if known else None
    return {"hang": {"pd_measured_m": measured, "pd_closed_form_m": closed_form}}


def _sweep(c: Comparison, scenario: str, fly: _Flown) -> dict[str, Any]:
    found = {}
    for omega in c.sweep:
        outcomes = fly(replace(c.campaign(scenario), omega_n=omega), f"omega_n {omega:.12g} rad_s", plant="nominal")
        found[omega] = summarise(outcomes, c.seed)
    return {
        "omega_n_rad_s": list(c.sweep),
        "controllers": {
            name: {
                m: [found[omega][name]["metrics"].get(m, {}).get("median") for omega in c.sweep] for m in SWEEP_METRICS
            }
            for name in c.controllers
        },
    }


def add_learning(
    results: dict[str, Any], copies: Sequence[Copy], bundle: Bundle, logs: Sequence[Sequence[FlightLog]]
) -> None:
    """Curves, coverage and certificate of the first airframe, and the worst slope of all, into the results.

    ``logs`` holds the collection flights of each airframe; without any, only the certificate is added.
    """
    results["certificate"] = {"entries": explained(bundle.certificate)}
    if logs:
        slopes = [thrust_slope(copy, flown) for copy, flown in zip(copies, logs, strict=True)]
        worst = max(slope["max_abs_error"] for slope in slopes)
        results["learned_curve"] = learned_curve(copies[0], logs[0])
        results["thrust_slope"] = {**slopes[0], "max_abs_error": worst}
        results["coverage"] = coverage(copies[0], logs[0])
        rows = learning_requirements(results["thrust_slope"], results["coverage"])
        results["requirements"] = [*results.get("requirements", []), *rows]
