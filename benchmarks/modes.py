"""How bounds are held in training: accuracy, slope against the plant's own, landings, and what is certified.

Collection flights of simulated airframes are learned with each mode and seed, judged on flights that were not learned
from, held against the plant (which no learner sees), certified, and landed by the hundred in the batched world. The
table says which mode is both: certifiable and accurate. Each figure is the mean of all networks of a mode; with the
landings goes the spread of the networks' medians.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from neural_lander.bundle import replace_certificate, save_bundle
from neural_lander.certificate.check_slopes import PATTERNS, input_maps, pattern_name, without_silent
from neural_lander.certificate.document import certify
from neural_lander.certificate.evidence import Slope, full_range, network_layers, product_slopes
from neural_lander.certificate.lipsdp import lipschitz_bound
from neural_lander.flightlog.log import FlightLog
from neural_lander.residual.evaluation import evaluate
from neural_lander.residual.model import ReluNetwork
from neural_lander.residual.options import TrainingOptions
from neural_lander.residual.samples import ResidualSamples, residual_samples
from neural_lander.residual.training import train_residual
from neural_lander.residual.trim import flight_trim, trim_height
from neural_lander.vehicle import Vehicle, load_vehicle
from sim.collection import FLIGHTS, collect_flight
from sim.comparison.campaign import Campaign, run_campaign
from sim.comparison.insight import thrust_slope
from sim.comparison.study import collection_seed
from sim.comparison.summary import summarise
from sim.plant import Copy, Plant

AIRFRAMES = (0, 1)
SEEDS = (0,)  # of training, for each airframe
UNSEEN = 2  # flights beside those that are learned from
LANDINGS = 50  # of each network
CONTROLLER = "neural-lander"  # without trim, which would hide what the network does not know
MODES = {
    "all, AOL (default)": TrainingOptions(),
    "all, AOL, path penalty alone": TrainingOptions(unreached_weight=0.0),
    "all, AOL, no penalty": TrainingOptions(path_weight=0.0, unreached_weight=0.0),
    "all, projection": TrainingOptions(layers="projection"),
    "thrust columns, AOL": TrainingOptions(bounded="thrust"),
    "thrust columns, projection": TrainingOptions(bounded="thrust", layers="projection"),
}
"""Name -> what is bounded, everything or the columns of the rotor thrusts alone; and how."""


def proved(network: ReluNetwork, vehicle: Vehicle) -> dict[str, Slope]:
    """LipSDP bounds of what the contraction factor and the table need; the others by products."""
    W, b, low, high = network_layers(network, full_range(vehicle))
    maps, slopes = input_maps(W[0].shape[1], vehicle.thrust_direction), product_slopes(network, vehicle)
    W, _ = without_silent(W, b, low, high)
    for name in ("lipschitz_total", "lipschitz_height", "lipschitz_rotor_thrust", *map(pattern_name, PATTERNS)):
        slopes[name] = Slope(*lipschitz_bound(W[0] @ maps[name], W[1:]))
    return slopes


def judged(
    options: TrainingOptions, plant: Plant, logs: list[FlightLog], unseen: list[ResidualSamples]
) -> dict[str, float]:
    """Figures of one network."""
    vehicle = plant.vehicle
    result = train_residual(logs, vehicle, replace(options, held_out=0.0))
    with TemporaryDirectory() as folder:
        path = Path(folder) / "bundle"
        bundle = save_bundle(path, result)
        bundle = replace_certificate(path, certify(bundle.model, vehicle, proved(bundle.model, vehicle)))
    copy = Copy(plant, bundle.learned)
    report = evaluate(result.predictors, unseen, trim=flight_trim, trim_above=trim_height(vehicle))
    campaign = Campaign([copy], [CONTROLLER], "land-1d", LANDINGS, world="batched")
    landed = summarise(run_campaign(campaign))[CONTROLLER]
    value = {key: entry["value"] for key, entry in bundle.certificate["entries"].items()}
    return {
        "f_a,z RMSE, N": report["rmse_fa_z_N"],
        "near ground, N": report["rmse_fa_z_low_N"],
        "slope error, N/N": thrust_slope(copy, logs)["max_abs_error"],
        "certified": value["contraction_factor"],
        "passes": value["iterations_to_tolerance"],
        "L_u, N/N": value["lipschitz_rotor_thrust"],
        "L_height, N/m": value["lipschitz_height"],
        "L, N/SI": value["lipschitz_total"],
        "arrival error, mm": 1e3 * landed["metrics"]["arrival_error_m"]["median"],
        "landed, %": 100 * landed["touchdown_count"] / LANDINGS,
    }


def run() -> dict[str, Any]:
    """A row for each mode."""
    vehicle = load_vehicle("intel-aero")
    flown = []
    for airframe in AIRFRAMES:
        plant = Plant(vehicle).with_airframe(airframe)
        logs = [collect_flight(plant, collection_seed(0, airframe, k)) for k in range(FLIGHTS + UNSEEN)]
        flown.append((plant, logs[:FLIGHTS], [residual_samples(log, vehicle) for log in logs[FLIGHTS:]]))
    rows = []
    for name, options in MODES.items():
        each = [judged(replace(options, seed=seed), *plant) for plant, seed in product(flown, SEEDS)]
        row: dict[str, Any] = {"mode": name, "factor asked": options.thrust_slope}
        row |= {key: float(np.mean([figures[key] for figures in each])) for key in each[0]}
        errors = [figures["arrival error, mm"] for figures in each]
        rows.append({**row, "arrival, least and most, mm": f"{min(errors):.2g} to {max(errors):.2g}"})
    networks = len(AIRFRAMES) * len(SEEDS)
    return {
        "what": f"training modes: {networks} networks each, {len(AIRFRAMES)} simulated airframes, unseen flights, "
        f"per-flight trim, {networks * LANDINGS} landings",
        "rows": rows,
    }
