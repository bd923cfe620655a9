"""What stands behind a certificate: for each slope a bound with multipliers that prove it, and the steepest found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from neural_lander.certificate.check import ROUND_UP, SLOPES, input_maps, product_bound
from neural_lander.certificate.contraction import thrust_direction
from neural_lander.certificate.lipsdp import lipschitz_bound
from neural_lander.certificate.steepest import Domain, steepest
from neural_lander.residual.features import ROTORS
from neural_lander.residual.model import ReluNetwork
from neural_lander.vehicle import Vehicle


@dataclass(frozen=True)
class Slope:
    """One slope of f_a_hat, Euclidean norms."""

    bound: float
    """Proved: by ``multipliers``, else by the product of layer norms."""
    multipliers: np.ndarray | None = None  # (h,)
    """Of every hidden neuron, first layer first."""
    reached: float | None = None
    """Measured, at the input ``at``."""
    at: np.ndarray | None = None  # (n + 4,)
    """State in the units of the features, rotor thrusts in N."""


def product_slopes(network: ReluNetwork, vehicle: Vehicle) -> dict[str, Slope]:
    """Product bounds alone: milliseconds."""
    first, *rest = _float64(network.weights)
    maps = input_maps(first.shape[1], thrust_direction(vehicle))
    return {name: Slope(product_bound(first @ E, rest) * ROUND_UP) for name, E in maps.items()}


def proved_slopes(
    network: ReluNetwork,
    vehicle: Vehicle,
    seed: int = 0,
    progress: Callable[[float], None] = lambda fraction: None,
) -> dict[str, Slope]:
    """LipSDP bounds and what a search reaches: some 5 s at the default size.

    A pattern of saturated rotors that is proved to lie below what another reaches is not searched.

    Parameters
    ----------
    seed
        Of the search.
    progress
        Called with the fraction done in 0..1.
    """
    W, b = _float64(network.weights), _float64(network.biases)
    full = vehicle.thrust_coefficient * vehicle.u_max
    low = np.concatenate([_float64([network.state_low])[0], np.zeros(ROTORS)])
    high = np.concatenate([_float64([network.state_high])[0], np.full(ROTORS, full)])
    found: dict[str, Slope] = {}
    worst = 0.0
    for name, E in input_maps(W[0].shape[1], thrust_direction(vehicle)).items():
        bound, multipliers = lipschitz_bound(W[0] @ E, W[1:])
        held = [i for i in range(len(low) - ROTORS, len(low)) if "collective" in name and not E[i].any()]
        if "collective" in name and bound <= worst:
            found[name] = Slope(bound, multipliers)
        else:
            reached, at = steepest(W, b, E, Domain(low, high, tuple(held)), seed)
            found[name] = Slope(bound, multipliers, reached, at)
            worst = max(worst, reached) if "collective" in name else worst
        progress(len(found) / len(SLOPES))
    return found


def _float64(arrays: tuple[np.ndarray, ...] | list[np.ndarray]) -> list[np.ndarray]:
    return [np.asarray(values, dtype=np.float64) for values in arrays]
