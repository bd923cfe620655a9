"""Certifying: tightness of the bounds, and our LipSDP beside the same programme in cvxpy."""

from __future__ import annotations

import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from functools import partial
from itertools import product
from typing import Any

import numpy as np

from benchmarks.training import synthetic
from neural_lander.certificate.check import false_claims
from neural_lander.certificate.check_slopes import input_maps, product_bound
from neural_lander.certificate.document import certify
from neural_lander.certificate.evidence import Slope, proved_slopes
from neural_lander.certificate.lipsdp import lipschitz_bound
from neural_lander.certificate.lipsdp_cvxpy import cvxpy_bound
from neural_lander.residual.features import features_named
from neural_lander.residual.model import ReluNetwork
from neural_lander.residual.network import train_network
from neural_lander.residual.options import TrainingOptions
from neural_lander.vehicle import Vehicle, load_vehicle

SIZES = ((25, 30, 15), (50, 50, 50))
LAYERS = ("aol", "projection")
SHOWN = ("lipschitz_total", "lipschitz_state", "lipschitz_rotor_thrust", "lipschitz_collective")
REQUIRED = 20.0  # s of certify on two cores at the default size
STARTS = (1.0, 0.8, 0.8, 0.5, 0.5, 0.5)  # share of neurons active where a search for the worst pattern begins


def trained(hidden: tuple[int, ...], layers: str) -> ReluNetwork:
    """A network as train makes it, on synthetic flights; ``projection`` is spectral normalisation."""
    vehicle, options = load_vehicle("intel-aero"), TrainingOptions(hidden=hidden, layers=layers)
    return train_network(synthetic(vehicle), features_named(options.features), vehicle, options).network


def steepest_pattern(F: np.ndarray, rest: list[np.ndarray]) -> float:
    """Largest slope over activation patterns, whether or not an input has them: no bound without biases is below."""
    rng, sizes = np.random.default_rng(0), [len(F), *(len(W) for W in rest[:-1])]
    ends, best = np.cumsum(sizes), 0.0

    def norm(active: np.ndarray) -> np.ndarray:
        J = np.broadcast_to(F, (len(active), *F.shape))
        for W, end, size in zip(rest, ends, sizes, strict=True):
            J = W @ (active[:, end - size : end, None] * J)
        return np.asarray(np.linalg.norm(J, 2, axis=(1, 2)))

    every = np.arange(ends[-1])
    for share in STARTS:
        active, before = (rng.random((1, ends[-1])) < share).astype(float), -1.0
        while (value := float(norm(active)[0])) > before:
            before = value
            flipped = np.repeat(active, len(every), axis=0)
            flipped[every, every] = 1.0 - flipped[every, every]
            values = norm(flipped)
            active = flipped[[int(values.argmax())]] if values.max() > value else active
        best = max(best, before)
    return best


def timed(what: Callable[[], Any]) -> tuple[Any, float]:
    """Result and seconds."""
    started = time.perf_counter()
    result = what()
    return result, time.perf_counter() - started


def run() -> dict[str, Any]:
    """Bounds, seconds, and gaps in per cent."""
    vehicle, rows = load_vehicle("intel-aero"), []
    figures: dict[str, Any] = {}
    for hidden, layers in product(SIZES, LAYERS):
        network = trained(hidden, layers)
        slopes, took = timed(partial(proved_slopes, network, vehicle))
        size = "-".join(map(str, hidden))
        figures[f"certify_s_{size}_{layers}"] = took
        figures[f"check_s_{size}_{layers}"] = check_seconds(network, slopes, vehicle)
        first, *rest = (np.asarray(W, dtype=np.float64) for W in network.weights)
        for name in SHOWN:
            F = first @ input_maps(first.shape[1], vehicle.thrust_direction)[name]
            (bound, _), ours = timed(partial(lipschitz_bound, F, rest))
            scs: float | str = "-"
            took_scs: float | str = "-"  # minutes at the larger size
            if hidden == SIZES[0] and layers == LAYERS[0]:
                (scs, _), took_scs = timed(partial(cvxpy_bound("SCS"), F, rest))
            rows.append(
                {
                    "network": f"{first.shape[1]}-{size}-3",
                    "layers": layers,
                    "slope": name.removeprefix("lipschitz_"),
                    "product": product_bound(F, rest),
                    "LipSDP": bound,
                    "SCS": scs,
                    "above patterns, %": 100 * (bound / steepest_pattern(F, rest) - 1),
                    "above inputs, %": 100 * (bound / (slopes[name].reached or np.nan) - 1),
                    "ours, s": ours,
                    "SCS, s": took_scs,
                }
            )
    return {
        "what": f"certify in {figures['certify_s_25-30-15_aol']:.3g} s at the default size, {REQUIRED:g} s allowed",
        "rows": rows,
        **figures,
    }


def check_seconds(network: ReluNetwork, slopes: dict[str, Slope], vehicle: Vehicle) -> float:
    """Seconds of the checker's claims, fastest of five, and of starting its process and importing NumPy."""
    arrays = {"state_low": network.state_low, "state_high": network.state_high}
    for k, (W, b) in enumerate(zip(network.weights, network.biases, strict=True)):
        arrays[f"W{k}"], arrays[f"b{k}"] = W, b
    tensors = {name: np.asarray(values, dtype=np.float64) for name, values in arrays.items()}
    document, profile = certify(network, vehicle, slopes), tomllib.loads(vehicle.text)
    claims = min(timed(lambda: list(false_claims(document, tensors, profile)))[1] for _ in range(5))
    command = [sys.executable, "-c", "import neural_lander.certificate.check"]
    return claims + min(timed(lambda: subprocess.run(command, check=True))[1] for _ in range(5))
