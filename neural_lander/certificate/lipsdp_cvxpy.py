"""LipSDP-Neuron as a semidefinite programme in cvxpy: slower than ``lipsdp``, and written by others.

    minimise rho over rho, t >= 0   subject to   M(rho, t) positive semidefinite  (the form of certificate.check_slopes)

Layers are divided by their norms, which leaves the optimum where it is (ReLU is homogeneous) and rho near 1. A solver
stops a little outside of the cone. Its point is mixed with rho = 2, t = 1, which is well inside (the product bound is
rho = 1, t = 1), by the least share that passes the check. SCS is the practical choice; CLARABEL is more exact and takes
minutes beyond some hundred neurons.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import cvxpy as cp
import numpy as np

from neural_lander.certificate.check_slopes import ROUND_UP, product_bound, proves

OPTIONS = {"SCS": {"eps": 1e-6, "max_iters": 50_000}, "CLARABEL": {}}
SHARES = (1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
DIGITS = 10  # of a multiplier in a certificate


def cvxpy_bound(solver: str) -> Callable[[np.ndarray, list[np.ndarray]], tuple[float, np.ndarray | None]]:
    """``lipsdp.lipschitz_bound`` by ``SCS`` or ``CLARABEL``."""

    def bound(F: np.ndarray, rest: list[np.ndarray]) -> tuple[float, np.ndarray | None]:
        product = product_bound(F, rest) * ROUND_UP
        if product == 0.0 or len(rest) == 0:
            return product, None
        try:
            rho, t = _solve([W / np.linalg.norm(W, 2) for W in (F, *rest)], solver)
        except cp.error.SolverError:
            return product, None
        for share in SHARES:
            mixed = np.array([float(f"{(1 - share) * max(value, 0.0) + share:.{DIGITS}g}") for value in t])
            found = product * float(np.sqrt((1 - share) * rho + 2 * share))
            if found < product and proves(mixed, found, F, rest):
                return found, mixed
        return product, None

    return bound


def _solve(layers: list[np.ndarray], solver: str) -> tuple[float, np.ndarray]:
    """(rho, t) of layers of norm 1."""
    n, hidden = layers[0].shape[1], sum(len(W) for W in layers[:-1])
    size = n + hidden
    inputs, neurons, mapped = np.eye(n, size), np.eye(hidden, size, k=n), np.zeros((hidden, size))
    row = column = 0
    for W in layers[:-1]:
        mapped[row : row + len(W), column : column + W.shape[1]] = W
        row, column = row + len(W), column + W.shape[1]
    out = np.hstack([np.zeros((len(layers[-1]), size - layers[-1].shape[1])), layers[-1]])
    rho, t = cp.Variable(), cp.Variable(hidden, nonneg=True)
    half = neurons.T @ cp.diag(t) @ (neurons - mapped)  # type: ignore[attr-defined]  # of cvxpy's types
    problem = cp.Problem(cp.Minimize(rho), [rho * inputs.T @ inputs + half + half.T - out.T @ out >> 0])
    with warnings.catch_warnings():  # of a solution that may be inaccurate: the check decides whether it is good enough
        warnings.simplefilter("ignore", UserWarning)
        problem.solve(solver=solver, **OPTIONS[solver])
    if rho.value is None or t.value is None:
        raise cp.error.SolverError(f"{solver} found no solution: {problem.status}")
    return max(float(rho.value), 0.0), np.asarray(t.value)
