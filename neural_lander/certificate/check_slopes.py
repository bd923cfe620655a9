"""The mathematics of a certificate: what multipliers prove about a ReLU network's slope. NumPy alone.

With F the first layer folded with the inputs a bound is about, and t >= 0,

    rho |x_0|^2 + sum_k 2 t_k . x_k (x_k - W_k x_(k-1)) - |W_L x_(L-1)|^2 >= 0 for all x,   W_1 = F

proves |df_a| <= sqrt(rho) |dx_0|, since a ReLU's slopes lie in [0, 1] (LipSDP-Neuron, Fazlyab et al. 2019), whatever
the biases. The form is shown positive definite by a Cholesky factorisation that leaves room for rounding (Rump 2006).
What flies clips its inputs to the network's state range and to the certificate's range of rotor thrusts; neurons that
no input within activates, by interval arithmetic, are left out.
"""

import math
from collections.abc import Sequence
from itertools import accumulate, combinations
from operator import mul
from typing import Any

import numpy as np

ROTORS = 4
ROUNDING = 1e-13  # relative, of products of a few float64 numbers and of singular values of matrices this small
KINK = 5e-10  # of the layer's largest input: nearer to it, rounding decides which side of a ReLU an input is on
ROUND_UP = 1 + 1e-12  # what the writer of a certificate adds to products of norms and columns
PATTERNS = [p for size in range(ROTORS, 0, -1) for p in combinations(range(ROTORS), size)]
"""Rotors that follow the collective thrust while the others are saturated."""


def pattern_name(pattern: tuple[int, ...]) -> str:
    """Entry of the bound along collective thrust where these rotors follow it."""
    rotors = "".join(str(i + 1) for i in pattern)
    return "lipschitz_collective" if len(pattern) == ROTORS else f"lipschitz_collective_rotors_{rotors}"


def thrust_direction(positions: Any, turns: Any) -> tuple[np.ndarray, float]:
    """Rotor thrusts (4,) per collective thrust, c_T B0^-1 e_1, and how far off they may be, both in N/N.

    Moments are 0 in any unit, so that neither c_T nor the torque ratio matters.
    """
    x, y, _ = np.asarray(positions, dtype=np.float64).T
    rows = np.stack([np.ones(ROTORS), y, x, np.asarray(turns, dtype=np.float64)])
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    direction = np.linalg.solve(rows, [0.5, 0.0, 0.0, 0.0])
    return direction, 1e-14 * float(np.linalg.cond(rows) * np.linalg.norm(direction))


def input_maps(inputs: int, direction: np.ndarray) -> dict[str, np.ndarray]:
    """The inputs each slope is about as columns (inputs, m); ``direction`` (4,) is c_T B0^-1 e_1."""
    eye = np.eye(inputs)
    maps = {"lipschitz_total": eye, "lipschitz_state": eye[:, :-ROTORS], "lipschitz_height": eye[:, :1]}
    maps["lipschitz_rotor_thrust"] = eye[:, -ROTORS:]
    for pattern in PATTERNS:
        maps[pattern_name(pattern)] = np.zeros((inputs, 1))
        for i in pattern:
            maps[pattern_name(pattern)][inputs - ROTORS + i] = direction[i]
    return maps


def norm_of(W: np.ndarray) -> float:
    """Largest singular value; 0 of a layer without neurons."""
    return float(np.linalg.norm(W, 2)) if W.size else 0.0


def product(norms: Sequence[float]) -> float:
    """Rounded up. Raises OverflowError where it leaves, on the way, the numbers that float64 keeps all digits of."""
    if 0.0 in norms:
        return 0.0
    if not all(1e-250 < partial < 1e250 for partial in accumulate(norms, mul)):
        raise OverflowError("the layers' norms multiply to numbers too large or too small to compute with")
    return math.prod(norms) * (1 + ROUNDING * len(norms))


def product_bound(F: np.ndarray, rest: list[np.ndarray]) -> float:
    """Product of spectral norms."""
    return product([norm_of(W) for W in (F, *rest)])


def rounded(W: np.ndarray, E: np.ndarray, rest: list[np.ndarray]) -> float:
    """By how much the rounding of the first layer over the inputs of E, W @ E, may change a slope."""
    return product([2e-15 * norm_of(np.abs(W) @ np.abs(E)), *map(norm_of, rest)])


def without_silent(
    W: list[np.ndarray], b: list[np.ndarray], low: np.ndarray, high: np.ndarray
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Weights and biases without the neurons that no input within low..high activates, by interval arithmetic.

    Rounding is in the intervals' ends: relative, and 1e-250 for products that underflow.

    Raises OverflowError where numbers on the way are too large for it to say anything.
    """
    W, b = list(W), list(b)
    for k in range(len(W) - 1):
        with np.errstate(over="ignore", invalid="ignore"):
            size = np.abs(W[k]) @ np.maximum(np.abs(low), np.abs(high)) + np.abs(b[k])
            middle, half = W[k] @ (low + high) / 2 + b[k], np.abs(W[k]) @ (high - low) / 2 + 1e-12 * size + 1e-250
        if not np.all(size < 1e300) or not np.all(half < 1e300):
            raise OverflowError(f"what goes into the neurons of layer {k} may be too large to compute with")
        kept = middle + half > 0
        W[k], b[k], W[k + 1] = W[k][kept], b[k][kept], W[k + 1][:, kept]
        low, high = np.maximum(middle - half, 0.0)[kept], np.maximum(middle + half, 0.0)[kept]
    return W, b


def stacked(layers: list[np.ndarray]) -> np.ndarray:
    """What goes into each neuron and what comes out in the end, as rows over (x_0, all neurons)."""
    rows = np.zeros((sum(len(W) for W in layers), sum(W.shape[1] for W in layers)))
    row = column = 0
    for W in layers:
        rows[row : row + len(W), column : column + W.shape[1]] = W
        row, column = row + len(W), column + W.shape[1]
    return rows


def proves(t: Any, bound: float, F: np.ndarray, rest: list[np.ndarray]) -> bool:
    """Whether the multipliers t (h,) of all hidden neurons prove that the network's slope is at most ``bound``."""
    if not rest:
        return False  # no hidden neuron, nothing to multiply
    norms = [norm_of(W) or 1.0 for W in (F, *rest)]  # any positive numbers would do: ReLU is homogeneous
    rows = stacked([W / norm for W, norm in zip((F, *rest), norms, strict=True)])
    t, n, outputs = np.asarray(t, dtype=np.float64), F.shape[1], len(rest[-1])
    if t.shape != (len(rows) - outputs,):
        return False
    diagonal = np.concatenate([np.full(n, (bound / product(norms)) ** 2), 2 * t])
    if not np.all((diagonal > 1e-100) & (diagonal < 1e100)):  # NaN is neither; beyond, products lose their digits
        return False
    M = np.diag(diagonal)
    M[n:] -= t[:, None] * rows[:-outputs]
    M[:, n:] -= (t[:, None] * rows[:-outputs]).T
    M -= rows[-outputs:].T @ rows[-outputs:]
    root = np.sqrt(diagonal)  # before anything cancels, so that each entry of the scaled M errs by a few u at most
    M = M / root[:, None] / root - 1e-15 * len(M) ** 2 * np.eye(len(M))
    try:
        factor = np.linalg.cholesky(M)  # only where the exact M is positive definite: size^2 u covers its rounding
    except np.linalg.LinAlgError:
        return False
    return bool(np.all(np.isfinite(factor)))  # LAPACK completes on NaN


def slope_at(x: np.ndarray, E: np.ndarray, W: list[np.ndarray], b: list[np.ndarray]) -> float:
    """|df_a/dx E| at one input x; 0 on a kink, where the derivative may be that of no input at all."""
    J = W[0] @ E
    for k in range(1, len(W)):
        z = W[k - 1] @ x + b[k - 1]
        if z.size and not np.abs(z).min() > KINK * np.abs(z).max():
            return 0.0
        x, J = np.maximum(z, 0), W[k] @ ((z > 0)[:, None] * J)
    return float(np.linalg.norm(J, 2))
