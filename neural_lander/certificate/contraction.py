"""The thrust iteration T <- (f_bar_d - f_a_hat(zeta, u(T))) . k and its contraction factor.

With R_d and tau_d held, u(T) = clip(B0^-1 (T, tau_d), 0, u_max). Clipping is 1-Lipschitz and k a unit vector, so the
map contracts by |B0^-1 e_1| L_u, whichever rotors saturate (Banach, where that is below 1). Tighter: between two
thrusts u(T) is a polyline, each piece along the columns of the rotors that do not saturate on it, so that the largest
slope of f_a_hat along any such direction will do.
"""

from __future__ import annotations

import math

import numpy as np

from neural_lander.certificate.check import MOST_ITERATIONS
from neural_lander.errors import UserError
from neural_lander.residual.norms import NetworkBounds
from neural_lander.vehicle import Vehicle


def contraction_factor(bounds: NetworkBounds, vehicle: Vehicle) -> float:
    """|c_T B0^-1 e_1| L_u, with L_u in N/N: valid for every pattern of saturated rotors."""
    return float(np.linalg.norm(vehicle.thrust_direction)) * bounds.rotor_thrust


def farthest_start(rotor_thrust_slope: float, spread: float) -> float:
    """Largest distance in N of T_0 = (f_bar_d - f_a_hat(zeta, u_0)) . k from the fixed point, for any u_0.

    |T_0 - T*| = |(f_a_hat(u_0) - f_a_hat(u*)) . k| <= L_u |u_0 - u*|, both in the same box of four rotors, ``spread`` N
    from its lower to its upper end.
    """
    return 2 * spread * rotor_thrust_slope


def iterations_for(tolerance: float, factor: float, start: float) -> int:
    """Iterations that bring the thrust within ``tolerance`` N of the fixed point, from ``start`` N away.

    |T_k - T*| <= factor^k |T_0 - T*|.

    Raises
    ------
    UserError
        Where the factor does not contract, or so little that no control step has time for it, or a size is not
        positive.
    """
    if not 0 <= factor < 1:
        raise UserError(f"contraction factor = {factor:.3g} must be below 1: train with a smaller --thrust-slope")
    if not tolerance > 0 or not start >= 0:
        raise UserError(f"tolerance = {tolerance!r} N must be positive, and start = {start!r} N not negative")
    if tolerance >= start or factor == 0.0:
        return 1
    count = max(1, math.ceil(math.log(tolerance / start) / math.log(factor)))
    if count >= MOST_ITERATIONS:
        raise UserError(
            f"contraction factor = {factor:.6g} asks for {count} iterations in every step, at most {MOST_ITERATIONS} "
            "are promised: train with a smaller --thrust-slope"
        )
    return count if factor**count * start <= tolerance else count + 1  # the logarithms round
