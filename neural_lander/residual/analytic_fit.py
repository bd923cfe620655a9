"""Least squares for the Cheeseman-Bennett law; apart from the law itself, which flies without SciPy."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize_scalar

from neural_lander.errors import UserError
from neural_lander.residual.analytic import CheesemanBennett
from neural_lander.vehicle import Vehicle

MU_BOUNDS = (0.0, 60.0)  # the law of 1955 has mu = 1; flights of small quadrotors show up to 13
MU_STEP = 1.0  # of a first search over all: where the law is held, at large mu, lies another minimum


def fit_cheeseman_bennett(
    vehicle: Vehicle, centre_height: np.ndarray, thrust: np.ndarray, f_az: np.ndarray
) -> CheesemanBennett:
    """Least squares in mu and c over samples ``(N,)`` in m, N and N.

    For a given mu the best c is the mean of what is left, so that only mu is searched.

    Raises
    ------
    UserError
        Without samples.
    """
    if not len(f_az):
        raise UserError("no samples to fit the Cheeseman-Bennett law to")

    def remainder(mu: float) -> np.ndarray:
        law = CheesemanBennett(mu, 0.0, vehicle.rotor_radius, vehicle.gear_clearance)
        return f_az - np.asarray(law.f_az(centre_height, thrust))

    def variance(mu: float) -> float:
        return float(np.var(remainder(mu)))

    low, high = MU_BOUNDS
    start = min(np.arange(low, high + MU_STEP, MU_STEP).tolist(), key=variance)
    around = max(low, start - MU_STEP), min(high, start + MU_STEP)
    mu = float(minimize_scalar(variance, bounds=around, method="bounded", options={"xatol": 1e-4}).x)
    return CheesemanBennett(mu, float(np.mean(remainder(mu))), vehicle.rotor_radius, vehicle.gear_clearance)
