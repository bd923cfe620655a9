"""A whole comparison as the content of results.json: scenarios, other plants, other gains, what was learned."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from neural_lander import __version__
from neural_lander.bundle import Bundle
from neural_lander.certificate.meaning import explained
from neural_lander.control.touchdown import CONTACT_TIME, RESTING_SHARE, SPOOL_TIME
from neural_lander.control.tracking import DEFAULT_NATURAL_FREQUENCY, TrackingGains
from neural_lander.errors import UserError
from neural_lander.flightlog import FlightLog
from sim.campaign import Campaign, Copy, run_campaign, summarise
from sim.insight import coverage, learned_curve, thrust_slope
from sim.landing import CONTROLLERS
from sim.oracle import closed_form_hang
from sim.report import SCHEMA
from sim.requirements import landing_requirements, learning_requirements
from sim.scenarios import SCENARIOS

SWEEP_METRICS = ("final_error_m", "arrival_error_m", "lateness_s")
Stage = Callable[[str, int, int], None]
"""(what, done, of)."""


@dataclass(frozen=True)
class PlantChange:
    """A plant that is not what the profile says; the bundle stays as it was learned."""

    mass_scale: float = 1.0
    thrust_scale: float = 1.0

    @property
    def name(self) -> str:
        """For tables."""
        parts = [
            f"{what} {100 * (scale - 1):+.0f} %"
            for what, scale in (("mass", self.mass_scale), ("thrust", self.thrust_scale))
            if scale != 1
        ]
        return ", ".join(parts) or "nominal"

    def of(self, copy: Copy) -> Copy:
        """The same airframe and bundle in the changed plant."""
        return replace(copy, plant=replace(copy.plant, mass_scale=self.mass_scale, thrust_scale=self.thrust_scale))

    @classmethod
    def parse(cls, text: str) -> PlantChange:
        """From ``mass=1.1,thrust=0.9``."""
        scales = {"mass": 1.0, "thrust": 1.0}
        for part in text.split(","):
            key, _, value = part.partition("=")
            try:
                scale = float(value)
            except ValueError:
                scale = 0.0
            if key.strip() not in scales or not 0.5 <= scale <= 2.0:
                raise UserError(f"plant '{text}' must be written like mass=1.1,thrust=0.9 with factors in 0.5..2")
            scales[key.strip()] = scale
        return cls(scales["mass"], scales["thrust"])


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
    resting_share: float = RESTING_SHARE
    sweep: Sequence[float] = ()
    """Other omega_n in rad/s."""


def compare(comparison: Comparison, workers: int, stage: Stage = lambda what, done, of: None) -> dict[str, Any]:
    """Fly it all; the content of ``results.json`` without what was learned."""
    c = comparison

    def fly(copies: Sequence[Copy], scenario: str, controllers: Sequence[str], omega_n: float, what: str) -> Any:
        traces = 2 if what == scenario else 0
        campaign = Campaign(copies, controllers, scenario, c.flights, c.seed, omega_n, c.resting_share, traces)
        outcomes = run_campaign(campaign, workers, lambda done, of: stage(what, done, of))
        return {"controllers": summarise(outcomes, c.seed)}

    results: dict[str, Any] = {
        "schema": SCHEMA,
        "program": f"neural-lander {__version__}",
        "vehicle": c.copies[0].plant.vehicle.name,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "settings": _settings(c),
        "scenarios": {s: fly(c.copies, s, c.controllers, c.omega_n, s) for s in c.scenarios},
    }
    uncertified = [copy.learned.uncertified for copy in c.copies if copy.learned and copy.learned.uncertified]
    if uncertified:
        results["uncertified"] = uncertified
    requirements = landing_requirements(results["scenarios"])
    if c.changes:
        results["plants"] = []
    for change in c.changes:
        changed = [change.of(copy) for copy in c.copies]
        scenarios = {s: fly(changed, s, c.controllers, c.omega_n, f"{s}, {change.name}") for s in c.scenarios}
        results["plants"].append({"name": change.name, "scenarios": scenarios})
        requirements += [row for row in landing_requirements(scenarios, f", {change.name}") if "trim" in row["name"]]
    if requirements:
        results["requirements"] = requirements
    results.update(_hang(c, results["scenarios"]))
    landings = [s for s in c.scenarios if SCENARIOS[s].lands]
    if c.sweep and landings:
        results["gain_sweep"] = _sweep(c, lambda omega, what: fly(c.copies, landings[0], c.controllers, omega, what))
    return results


def _settings(c: Comparison) -> dict[str, Any]:
    plant = c.copies[0].plant
    return {
        "flights_per_controller": c.flights,
        "airframes": len(c.copies),
        "seed": c.seed,
        "omega_n_rad_s": c.omega_n,
        "gains": "Lambda = omega_n I, K_v = m omega_n I, trim Gamma = 1.5 1/s, the same for every controller",
        "effects": [getattr(e, "__name__", type(e).__name__) for e in plant.effects],
        "sensor_noise": vars(plant.noise),
        "controller_step_s": 1 / 240,
        "touchdown": (
            f"contact for {CONTACT_TIME:g} s; while contact is felt thrust falls to {c.resting_share:.0%} within "
            f"{SPOOL_TIME:g} s, for every controller; without that cut all of them hop (--resting-share 1)"
        ),
        "intervals": "bootstrap of the median, airframes drawn first, flights on each second",
    }


def _hang(c: Comparison, scenarios: dict[str, Any]) -> dict[str, Any]:
    landings = [s for n, s in scenarios.items() if SCENARIOS[n].lands and "pd" in s["controllers"]]
    if not landings:
        return {}
    plant = c.copies[0].plant
    gains = TrackingGains.critically_damped(plant.vehicle, c.omega_n, 0.0)
    measured = landings[0]["controllers"]["pd"]["metrics"]["final_error_m"]["median"]
    return {
        "hang": {"pd_measured_m": measured, "pd_closed_form_m": closed_form_hang(plant.vehicle, plant.effects, gains)}
    }


def _sweep(c: Comparison, fly: Callable[[float, str], Any]) -> dict[str, Any]:
    found = {omega: fly(omega, f"omega_n {omega:g} rad/s")["controllers"] for omega in c.sweep}
    return {
        "omega_n_rad_s": list(c.sweep),
        "controllers": {
            name: {m: [found[omega][name]["metrics"][m]["median"] for omega in c.sweep] for m in SWEEP_METRICS}
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
