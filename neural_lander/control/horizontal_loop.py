"""Attitude gains for motors of a given lag: the position loop stands on the attitude loop, and that on the motors.

Linear, along one horizontal axis, with x in units in which gravity times the tilt theta is its acceleration:

    x'' = theta      tau theta''' + theta'' + 2 zeta omega theta' + omega^2 theta = omega^2 theta_d
    theta_d = -(omega_n^2 x + 2 omega_n x') - d      d' = Gamma omega_n (x' + omega_n x)

with omega and zeta those of the attitude law without lag, tau the motors' time constant, and the trim d or none.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from neural_lander.control.tracking import DEFAULT_NATURAL_FREQUENCY, DEFAULT_TRIM_RATE

FASTEST = 20.0  # rad/s: faster, noise of the body rates reaches the rotors; guess
OF_BANDWIDTH = 0.5  # natural frequency of the attitude law over the motors' bandwidth 1/tau, where that damps enough
DAMPED = 0.4  # damping ratio of the slowest-decaying oscillation that counts as enough; guess
FREQUENCIES = np.linspace(4.0, FASTEST, 81)  # rad/s, tried where it does not
RATIOS = (0.6, 0.7, 0.8, 0.9, 1.0, 1.2)
SLOWER = (1.0, 1.2)  # times the lag that is told: what damps best must not be best at that one alone; guess


def damping(omega: np.ndarray, zeta: np.ndarray, tau: float, omega_n: float, Gamma: float) -> np.ndarray:
    """Least damping ratio -Re(r)/|r| of the loop's roots r, ``(N,), (N,) -> (N,)``; negative where it is unstable.

    Parameters
    ----------
    omega, zeta : (N,)
        Natural frequency in rad/s and damping ratio of the attitude law without lag.
    tau : float
        Time constant of the motors, s.
    omega_n : float
        Natural frequency of the position loop, rad/s; it is critically damped.
    Gamma : float
        Rate of the trim, 1/s; 0 without one.
    """
    square, ones = omega**2, np.ones_like(omega)
    rows = [tau * ones, ones, 2 * zeta * omega, square, 2 * square * omega_n, square * omega_n * (omega_n + Gamma)]
    if Gamma > 0.0:
        rows.append(square * Gamma * omega_n**2)
    monic = np.stack(rows[1:], axis=-1) / tau
    n = monic.shape[-1]
    companion = np.zeros((len(omega), n, n))
    companion[:, 0], companion[:, 1:, :-1] = -monic, np.eye(n - 1)
    roots = np.linalg.eigvals(companion)
    return np.asarray((-roots.real / np.abs(roots)).min(axis=-1))


@lru_cache(maxsize=64)
def attitude_response(tau: float) -> tuple[float, float, float]:
    """Natural frequency in rad/s and damping ratio for the attitude law over motors of that lag in s, and the loop's.

    Critically damped at half the motors' bandwidth where that leaves the horizontal loop at its default gains damped
    by ``DAMPED``, with trim and without; else what damps it best, also where the motors are slower than told.
    """
    usual = min(FASTEST, OF_BANDWIDTH / tau)
    omega, zeta = (part.ravel() for part in np.meshgrid(FREQUENCIES, RATIOS, indexing="ij"))
    omega, zeta = np.append(usual, omega), np.append(1.0, zeta)
    found = [
        [damping(omega, zeta, factor * tau, DEFAULT_NATURAL_FREQUENCY, Gamma) for Gamma in (0.0, DEFAULT_TRIM_RATE)]
        for factor in SLOWER
    ]
    as_told, worst = np.min(found[0], axis=0), np.min(found, axis=(0, 1))
    best = 0 if as_told[0] >= DAMPED else int(worst.argmax())
    return float(omega[best]), float(zeta[best]), float(as_told[best])
