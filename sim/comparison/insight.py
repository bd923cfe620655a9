"""What was learned, held against the plant: curves and slopes for tables and pictures. Never seen by a learner."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from neural_lander.flightlog import FlightLog
from neural_lander.residual.model import ResidualModel
from neural_lander.residual.resample import SAMPLE_PERIOD
from neural_lander.residual.samples import residual_samples
from neural_lander.state import State
from sim.oracle import level_state
from sim.plant import Copy

CURVE_HEIGHTS = np.concatenate([np.linspace(0.0, 0.2, 21), np.linspace(0.25, 1.2, 20)])  # m
BANDS = (0.0, 0.05, 0.10, 0.20, 0.40, 0.80, 1.60)  # m, of the coverage
REQUIRED_SECONDS = 20.0  # in each of the three lowest bands
SLOPE_STEP = 0.02  # of the weight: half the width of the central difference
SLOPE_SAMPLES = 4000


def learned_curve(copy: Copy, logs: Sequence[FlightLog]) -> dict[str, list[float]]:
    """f_a,z over height at hover thrust: truth, network, fitted law, and the labels that were learned from."""
    assert copy.learned is not None
    plant, hover = copy.plant, np.full(4, copy.plant.vehicle.weight / 4)
    curves: dict[str, list[float]] = {"height_m": CURVE_HEIGHTS.tolist()}
    for key, model in (
        ("truth_N", plant.oracle()),
        ("network_N", copy.learned.network),
        ("cheeseman_bennett_N", copy.learned.cheeseman_bennett),
    ):
        curves[key] = [float(model.at(level_state(plant.vehicle, h))(hover)[2]) for h in CURVE_HEIGHTS]
    samples = [residual_samples(log, plant.vehicle) for log in logs]
    height = np.concatenate([s.height[s.usable] for s in samples])
    label = np.concatenate([s.label[s.usable, 2] for s in samples])
    edges = np.concatenate([np.linspace(0.0, 0.2, 11), np.linspace(0.3, 1.2, 10)])
    bins = [(height >= low) & (height < high) for low, high in pairwise(edges)]
    kept = [(0.5 * (a + b), m) for a, b, m in zip(edges[:-1], edges[1:], bins, strict=True) if m.sum() >= 10]
    curves["label_height_m"] = [float(h) for h, _ in kept]
    curves["label_mean_N"] = [float(label[m].mean()) for _, m in kept]
    curves["label_sd_N"] = [float(label[m].std()) for _, m in kept]
    return curves


def thrust_slope(copy: Copy, logs: Sequence[FlightLog]) -> dict[str, Any]:
    """d f_a,z / d T of the network and of the plant at states and thrusts that were flown.

    Where a rotor nearly stands, less thrust does not exist and there is no central difference.
    """
    assert copy.learned is not None
    vehicle = copy.plant.vehicle
    samples = [residual_samples(log, vehicle) for log in logs]
    step = SLOPE_STEP * vehicle.weight / 4
    usable = np.concatenate([s.usable & (s.rotor_thrust.min(axis=-1) >= step) for s in samples])
    pick = np.flatnonzero(usable)
    pick = pick[:: max(len(pick) // SLOPE_SAMPLES, 1)]
    height, velocity, attitude, thrust = (
        np.concatenate([getattr(s, name) for s in samples])[pick]
        for name in ("height", "velocity", "attitude", "rotor_thrust")
    )
    position = np.stack([0 * height, 0 * height, height + vehicle.gear_clearance], axis=-1)
    state = State(position, velocity, attitude, 0 * velocity, height)
    true, learned = (_slope(m, state, thrust, step) for m in (copy.plant.oracle(), copy.learned.network))
    edges = np.concatenate([np.linspace(0.0, 0.2, 9), np.linspace(0.3, 1.2, 7)])
    bins = [(height >= a) & (height < b) for a, b in pairwise(edges)]
    kept = [(0.5 * (a + b), m) for a, b, m in zip(edges[:-1], edges[1:], bins, strict=True) if m.any()]
    return {
        "height_m": [float(h) for h, _ in kept],
        "truth": [float(true[m].mean()) for _, m in kept],
        "network": [float(learned[m].mean()) for _, m in kept],
        "max_abs_error": float(np.max(np.abs(learned - true))),
    }


def _slope(model: ResidualModel, state: State, thrust: np.ndarray, step: float) -> np.ndarray:
    force = model.at(state)
    return (force(thrust + step)[..., 2] - force(thrust - step)[..., 2]) / (8 * step)


def coverage(copy: Copy, logs: Sequence[FlightLog]) -> dict[str, Any]:
    """Usable seconds in bands of height."""
    samples = [residual_samples(log, copy.plant.vehicle) for log in logs]
    height = np.concatenate([s.height[s.usable] for s in samples])
    seconds, _ = np.histogram(height, BANDS)
    return {
        "height_edges_m": list(BANDS),
        "seconds": (seconds * SAMPLE_PERIOD).round(2).tolist(),
        "required_seconds": REQUIRED_SECONDS,
    }
