"""Training at the default size, beside what the matrix products alone cost."""

from __future__ import annotations

import statistics
import time
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from neural_lander.residual.features import ROTORS, features_named
from neural_lander.residual.network import TrainingData, train_network
from neural_lander.residual.options import DEFAULT_EPOCHS, TrainingOptions
from neural_lander.state import State
from neural_lander.vehicle import Vehicle, load_vehicle

SAMPLES = 30_000
REPEATS = 3
REQUIRED = 3.0  # s of optimisation


def synthetic(vehicle: Vehicle, n: int = SAMPLES, seed: int = 0) -> TrainingData:
    """Flights near the ground with an exponential ground effect, drag and noise."""
    rng = np.random.default_rng(seed)
    height, velocity = rng.uniform(0.0, 1.0, n), 0.3 * rng.normal(size=(n, 3))
    attitude = np.concatenate([np.ones((n, 1)), 0.03 * rng.normal(size=(n, 3))], axis=-1)
    attitude /= np.linalg.norm(attitude, axis=-1, keepdims=True)
    thrust = vehicle.weight / 4 * (1 + 0.1 * rng.normal(size=(n, ROTORS)))
    label = -0.1 * velocity + 0.1 * rng.normal(size=(n, 3))
    label[:, 2] += 0.2 * np.exp(-height / 0.1) * thrust.sum(axis=-1)
    zeta = features_named(TrainingOptions().features).of(State(velocity, velocity, attitude, velocity, height))
    return TrainingData(zeta, thrust, label)


def products_alone(options: TrainingOptions, inputs: int) -> float:
    """Seconds of forward and backward of an unbounded network with as many samples seen, no optimiser."""
    torch.set_num_threads(1)
    sizes = (inputs, *options.hidden, 3)
    weights = [torch.randn(b, a, requires_grad=True) for a, b in pairwise(sizes)]
    x, y = torch.randn(SAMPLES // options.batches, inputs), torch.randn(SAMPLES // options.batches, 3)
    started = time.perf_counter()
    for _ in range(DEFAULT_EPOCHS * options.batches):
        z = x
        for W in weights[:-1]:
            z = torch.relu(z @ W.T)
        torch.nn.functional.mse_loss(z @ weights[-1].T, y).backward()
    return time.perf_counter() - started


def run() -> dict[str, Any]:
    """Seconds, the median of a few repeats."""
    vehicle, options = load_vehicle("intel-aero"), TrainingOptions()
    features, data = features_named(options.features), synthetic(vehicle)
    optimisation, total = [], []
    for _ in range(REPEATS):
        started = time.perf_counter()
        fitted = train_network(data, features, vehicle, options)
        total.append(time.perf_counter() - started)
        optimisation.append(fitted.optimisation_s)
    rows = [
        {"part": "optimisation", "s": statistics.median(optimisation)},
        {"part": "with scaling, export and verification", "s": statistics.median(total)},
        {"part": "forward and backward of a free network alone", "s": products_alone(options, features.size + ROTORS)},
    ]
    return {
        "what": f"{SAMPLES} samples, {DEFAULT_EPOCHS} epochs; median of {REPEATS}; at most {REQUIRED:g} s required",
        "rows": rows,
        "required_s": REQUIRED,
        "met": statistics.median(optimisation) < REQUIRED,
    }
