"""LipSDP-Neuron (Fazlyab et al., NeurIPS 2019): the tightest bound that slopes of each neuron in [0, 1] allow.

    minimise rho over rho, t >= 0   subject to   M(rho, t) positive semidefinite  (the form of certificate.check_slopes)

Solved by a barrier method in NumPy. M = C + rho A_0 + sum_i t_i (e_i a_i' + a_i e_i') with a_i = e_i - (row i of the
weights), so that gradient and Hessian of log det M are elementwise products of a few blocks of M^-1. That takes some
70 Newton steps and 0.1 s at 12-25-30-15-3, a twentieth of SCS and a fiftieth of CLARABEL, to more digits; cvxpy is its
oracle in the tests, and a choice of its own (``lipsdp_cvxpy``, ``certify --solver``). This one is the default since it
is faster and closer to the optimum; what comes out is checked by ``certificate.check`` in any case, so that nothing
rests on this file.
"""

from __future__ import annotations

import numpy as np

from neural_lander.certificate.check_slopes import ROUND_UP, norm_of, product_bound, proves, stacked

GAP = 1e-6  # relative, of rho to its optimum
REDUCTION = 0.3  # of the barrier's weight once centred
DECREMENT = 0.5  # of Newton, below which a point counts as centred
TO_BOUNDARY = 0.7  # share of the way to the boundary that one step may go; closer and recovery is slow
LARGEST = 1e4  # of a multiplier with layers of norm 1: a neuron that passes nothing on would have an infinite one
MAX_STEPS = 400
DIGITS = 10  # of a multiplier in a certificate


def lipschitz_bound(F: np.ndarray, rest: list[np.ndarray]) -> tuple[float, np.ndarray | None]:
    """Least bound of a ReLU network's slope with multipliers that prove it.

    Parameters
    ----------
    F : (h_1, m)
        First layer, folded with the inputs that the bound is about.
    rest : list of (h_k, h_(k-1))
        Later layers.

    Returns
    -------
    bound : float
        In units of output per input, Euclidean norms.
    t : (h,) or None
        Multipliers of all hidden neurons; None where the product of norms is as good, or no proof was found.
    """
    product = product_bound(F, rest) * ROUND_UP
    if product == 0.0 or len(rest) == 0:
        return product, None
    rho, t = _minimise(_Form(F, rest))
    t = np.array([float(f"{value:.{DIGITS}g}") for value in t])
    for allowance in (1e-8, 1e-7, 1e-6, 1e-5, 1e-4):
        bound = product * np.sqrt(rho) * (1 + allowance)
        if bound < product and proves(t, bound, F, rest):
            return float(bound), t
    return product, None


class _Form:
    """M(rho, t) of a network whose layers are divided by their norms."""

    def __init__(self, F: np.ndarray, rest: list[np.ndarray]) -> None:
        rows = stacked([W / norm_of(W) for W in (F, *rest)])
        out = rows[-len(rest[-1]) :]
        self.n, self.size = F.shape[1], rows.shape[1]
        self.h = self.size - self.n
        self.a = np.eye(self.h, self.size, k=self.n) - rows[: self.h]
        self.C = -out.T @ out

    def linear(self, rho: float, t: np.ndarray) -> np.ndarray:
        """M(rho, t) - C."""
        M = np.zeros((self.size, self.size))
        M[self.n :] = t[:, None] * self.a
        M += M.T
        M[np.arange(self.n), np.arange(self.n)] += rho
        return M

    def derivatives(self, P: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Gradient and Hessian of -log det M in (rho, t), P = M^-1."""
        n, aP = self.n, self.a @ P
        ee, ae, aa = P[n:, n:], aP[:, n:], aP @ self.a.T
        gradient = -np.concatenate([[np.trace(P[:n, :n])], 2 * np.diag(ae)])
        hessian = np.empty((self.h + 1, self.h + 1))
        hessian[1:, 1:] = 2 * (ee * aa + ae * ae.T)
        hessian[0, 0] = (P[:n, :n] ** 2).sum()
        hessian[0, 1:] = hessian[1:, 0] = 2 * (P[n:, :n] * aP[:, :n]).sum(1)
        return gradient, hessian


def _minimise(form: _Form) -> tuple[float, np.ndarray]:
    """(rho, t) with M positive definite and rho within ``GAP`` of the optimum, by path following from rho = 2, t = 1.

    There M is positive definite, since with layers of norm 1 the product bound is rho = 1 at t = 1.
    """
    rho, t, weight = 2.0, np.ones(form.h), 1.0
    barriers = form.size + 2 * form.h
    for _ in range(MAX_STEPS):
        L_inverse = np.linalg.inv(np.linalg.cholesky(form.linear(rho, t) + form.C))
        gradient, hessian = form.derivatives(L_inverse.T @ L_inverse)
        gradient[0] += 1 / weight
        gradient[1:] += 1 / (LARGEST - t) - 1 / t
        hessian[np.diag_indices(form.h + 1)] += np.concatenate([[0.0], 1 / (LARGEST - t) ** 2 + 1 / t**2])
        step = -np.linalg.solve(hessian, gradient)
        change = np.linalg.eigvalsh(L_inverse @ form.linear(step[0], step[1:]) @ L_inverse.T)
        length = _line_search(step[0] / weight, np.concatenate([change, step[1:] / t, -step[1:] / (LARGEST - t)]))
        rho, t = rho + length * step[0], t + length * step[1:]
        if -gradient @ step < DECREMENT or length == 0.0:
            if weight * barriers < GAP * rho:
                break
            weight = max(REDUCTION * weight, 0.99 * GAP * rho / barriers)
    return float(rho), t


def _line_search(slope: float, ratios: np.ndarray) -> float:
    """Minimiser of slope s - sum log(1 + s ratio) over a step s that keeps well within the boundary."""
    low, high = 0.0, min(4.0, TO_BOUNDARY / max(-float(ratios.min()), 1e-3))
    for _ in range(40):
        middle = (low + high) / 2
        if slope < (ratios / (1 + middle * ratios)).sum():
            low = middle
        else:
            high = middle
    return low
