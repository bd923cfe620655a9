"""The thrust iteration T <- (f_bar_d - f_a_hat(zeta, u(T))) . k and its contraction factor.

With R_d and tau_d held, u(T) = clip(B0^-1 (T, tau_d), 0, u_max). Clipping is 1-Lipschitz and k a unit vector, so the
map contracts by |B0^-1 e_1| L_u, whichever rotors saturate (Banach, where that is below 1).
"""

from __future__ import annotations

import math

import numpy as np

from neural_lander.certificate.norms import NetworkBounds
from neural_lander.errors import UserError
from neural_lander.vehicle import Vehicle


def thrust_direction(vehicle: Vehicle) -> np.ndarray:
    """(4,) rotor thrusts per collective thrust, c_T B0^-1 e_1, in N/N: a quarter each on a quadrotor."""
    return np.asarray(vehicle.thrust_coefficient * vehicle.B0_inverse[:, 0])


def contraction_factor(bounds: NetworkBounds, vehicle: Vehicle) -> float:
    """|c_T B0^-1 e_1| L_u, with L_u in N/N: valid for every pattern of saturated rotors."""
    return float(np.linalg.norm(thrust_direction(vehicle))) * bounds.rotor_thrust


def iterations_for(tolerance: float, factor: float, thrust_range: float) -> int:
    """Iterations that bring the thrust within ``tolerance`` N of the fixed point, from ``thrust_range`` N away.

    |T_k - T*| <= factor^k |T_0 - T*|.

    Raises
    ------
    UserError
        Where the factor does not contract, or a size is not positive.
    """
    if not 0 <= factor < 1:
        raise UserError(f"contraction factor = {factor:.3g} must be below 1: train with a smaller --thrust-slope")
    if not tolerance > 0 or not thrust_range > 0:
        raise UserError(f"tolerance = {tolerance!r} N and thrust range = {thrust_range!r} N must be positive")
    if tolerance >= thrust_range or factor == 0.0:
        return 1
    return max(1, math.ceil(math.log(tolerance / thrust_range) / math.log(factor)))
