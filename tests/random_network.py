"""Random networks of the default size with a known contraction factor, in place of trained ones."""

from itertools import pairwise

import numpy as np

from neural_lander.residual.features import ROTORS, features_named
from neural_lander.residual.model import ReluNetwork
from neural_lander.vehicle import Vehicle

HIDDEN = (25, 30, 15)


def random_network(vehicle: Vehicle, seed: int, factor: float = 0.45, features: str = "paper") -> ReluNetwork:
    """Contraction factor of the thrust iteration at most ``factor`` by the product of layer norms.

    The factor is |B0^-1 e_1| c_T (N of rotor thrusts per N of collective thrust) times the norm of the
    thrust columns times those of the later layers.
    """
    rng = np.random.default_rng(seed)
    n = features_named(features).size
    sizes = (n + ROTORS, *HIDDEN, 3)
    weights = [rng.normal(size=(b, a)) for a, b in pairwise(sizes)]
    weights = [W / np.linalg.norm(W, 2) for W in weights]
    per_newton = vehicle.thrust_coefficient * float(np.linalg.norm(vehicle.B0_inverse[:, 0]))
    columns = weights[0][:, n:]
    columns *= factor / (per_newton * np.linalg.norm(columns, 2))
    weights[0][:, :n] *= 10 * vehicle.weight / np.linalg.norm(weights[0][:, :n], 2)
    biases = [0.1 * vehicle.weight * rng.normal(size=b) for b in sizes[1:]]
    return ReluNetwork(tuple(weights), tuple(biases), features, np.full(n, -3.0), np.full(n, 3.0))
