"""Least squares for the Cheeseman-Bennett law; apart from the law itself, which flies without SciPy."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize_scalar

from neural_lander.errors import UserError
from neural_lander.residual.analytic import CheesemanBennett
from neural_lander.vehicle import Vehicle

MU_BOUNDS = (0.0, 60.0)  # the law of 1955 has mu = 1; flights of small quadrotors show up to 13


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

    best = minimize_scalar(
        lambda mu: np.var(remainder(mu)), bounds=MU_BOUNDS, method="bounded", options={"xatol": 1e-4}
    )
    mu = float(best.x)
    return CheesemanBennett(mu, float(np.mean(remainder(mu))), vehicle.rotor_radius, vehicle.gear_clearance)
