"""Lipschitz bounds of a ReLU network as products of exact layer norms, in physical units.

ReLU is 1-Lipschitz, so |W_L| ... |W_2| |W_1| bounds the network in the Euclidean norm, and a block of columns of W_1
bounds it in those inputs alone. Norms are largest singular values by float64 SVD of the exported weights: the power
iteration of training approaches them from below and proves nothing.
"""

from __future__ import annotations

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
    state: float
    """In zeta at fixed thrusts, N per mixed SI unit."""
    height: float
    """In the height alone, N/m."""
    rotor_thrust: float
    """In the four rotor thrusts at fixed zeta, N/N: L_u with u in thrust units."""
    collective: float
    """In the collective thrust alone, spread evenly over unsaturated rotors, N/N."""
    layers: tuple[float, ...]
    """Largest singular value of each layer."""


def spectral_norm(W: np.ndarray) -> float:
    """Largest singular value, by float64 SVD, rounded up."""
    return float(np.linalg.svd(np.asarray(W, dtype=np.float64), compute_uv=False)[0]) * (1 + ROUNDING)


def network_bounds(network: ReluNetwork) -> NetworkBounds:
    """Product bounds of the weights as they are stored (float32 weights are cast up, exactly)."""
    first, *rest = (np.asarray(W, dtype=np.float64) for W in network.weights)
    n = first.shape[1] - ROTORS
    gain = float(np.prod([spectral_norm(W) for W in rest])) if rest else 1.0
    even = first[:, n:] @ np.full((ROTORS, 1), 1.0 / ROTORS)
    return NetworkBounds(
        total=gain * spectral_norm(first),
        state=gain * spectral_norm(first[:, :n]),
        height=gain * spectral_norm(first[:, :1]),
        rotor_thrust=gain * spectral_norm(first[:, n:]),
        collective=gain * spectral_norm(even),
        layers=tuple(spectral_norm(W) for W in (first, *rest)),
    )
