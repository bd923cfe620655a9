"""LipSDP-Neuron as Fazlyab et al. 2019 write it, with selector matrices A and B: the reference for ours."""

from typing import Any

import numpy as np


def unit_layers(layers: list[np.ndarray]) -> tuple[list[np.ndarray], float]:
    """Layers of norm 1, and the product of the norms."""
    norms = [float(np.linalg.norm(W, 2)) for W in layers]
    return [W / norm for W, norm in zip(layers, norms, strict=True)], float(np.prod(norms))


def constraint(layers: list[np.ndarray], rho: Any, T: Any) -> Any:
    """The matrix that must be positive semidefinite; rho and the diagonal T are numbers or cvxpy expressions."""
    sizes = [layers[0].shape[1], *(len(W) for W in layers[:-1])]
    hidden, size = sum(sizes[1:]), sum(sizes)
    A, B = np.zeros((hidden, size)), np.eye(hidden, size, k=sizes[0])
    row = column = 0
    for W in layers[:-1]:
        A[row : row + len(W), column : column + W.shape[1]] = W
        row, column = row + len(W), column + W.shape[1]
    incremental = A.T @ T @ B + B.T @ T @ A - 2 * B.T @ T @ B
    first, last = np.eye(sizes[0], size), np.eye(sizes[-1], size, k=size - sizes[-1])
    M = rho * first.T @ first - incremental - last.T @ layers[-1].T @ layers[-1] @ last
    return (M + M.T) / 2
