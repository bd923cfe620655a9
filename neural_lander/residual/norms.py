"""Lipschitz bounds of a ReLU network as products of exact layer norms, in physical units.

ReLU is 1-Lipschitz, so |W_L| ... |W_2| |W_1| bounds the network in the Euclidean norm, and a block of columns of W_1
bounds it in those inputs alone. Norms are largest singular values by float64 SVD of the exported weights: the power
iteration of training approaches them from below and proves nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from neural_lander.residual.features import ROTORS
from neural_lander.residual.model import ReluNetwork

ROUNDING = 1e-12  # relative; LAPACK's SVD of these sizes errs by some 1e-15, and inference in float64 by as little


@dataclass(frozen=True)
class NetworkBounds:
    """Product bounds of f_a_hat; Euclidean norms, N per SI unit of the input they name."""

    total: float
    """Over the whole input (zeta, T_1..T_4), N per mixed SI unit."""
    rotor_thrust: float
    """In the four rotor thrusts at fixed zeta, N/N: L_u with u in thrust units."""


def spectral_norm(W: np.ndarray) -> float:
    """Largest singular value, by float64 SVD, rounded up."""
    return float(np.linalg.svd(np.asarray(W, dtype=np.float64), compute_uv=False)[0]) * (1 + ROUNDING)


def network_bounds(network: ReluNetwork) -> NetworkBounds:
    """Product bounds of the weights as they are stored."""
    return product_bounds(network.weights)


def product_bounds(weights: Sequence[np.ndarray]) -> NetworkBounds:
    """Of layers, the first of which reads the rotor thrusts last; float32 weights are cast up, exactly."""
    first, *rest = weights
    gain = math.prod(spectral_norm(W) for W in rest)
    return NetworkBounds(gain * spectral_norm(first), gain * spectral_norm(first[:, -ROTORS:]))
