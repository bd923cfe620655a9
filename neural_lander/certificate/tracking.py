"""How far the closed loop may stray: decay and error ball of s and p~ from what was measured in flight.

With K_v = m lambda I the law makes

    m s' = -K_v s - D + w      D = Gamma K_v int_0^t s dt

where w is everything else: the error of f_a_hat, lag of motors and attitude, wind, and what noise, clamps and a wrong
start do to the trim. (Gamma = 0 is the paper's theorem; with trim D is its bias state.) This is linear in w, so that

    |s(t)| <= |phi(t)| |s(0)| + G_size sup|w_fast| + G_rate sup|w_slow'|

for any split w = w_fast + w_slow, with phi the response to s(0) and G the integrals of the absolute impulse responses
(peak-to-peak gains): with trim the rate of a slow disturbance stands where without it stood its size. A low-pass
filter splits; the filter is chosen that gives the smallest ball. Height and vertical speed have gains of their own,
through p~' = s - Lambda p~, on the vertical part of w.

Everything is computed for the loop as it is sampled, by its recursion at the controller's step. Measured once, on
flights that fitted nothing, sup is a maximum over those flights and no bound: with it goes how often it was exceeded.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neural_lander.certificate.check_tracking import FILTERS, gains_sha256, responses, tracking_numbers
from neural_lander.control.tracking import TrackingGains
from neural_lander.errors import UserError
from neural_lander.vehicle import Vehicle

QUANTILE = 0.99
SETTLED = 1.5  # s after the reference began to move: its step in velocity is no disturbance, and has left the loop

ASSUMED = (
    "the next flight's disturbance is no larger than those measured: same vehicle, surroundings and estimator",
    "the flight stays within the domain of the network, in the air, and no rotor is saturated for long",
    "the reference is a straight line at constant speed since 'settled_s', and the estimator's errors act through w",
)


@dataclass(frozen=True)
class LoopFlight:
    """One descent in free flight, sampled at the controller's step: from ``SETTLED`` to contact or to its end."""

    seed: int
    s: NDArray[np.float64]  # (N, 3) m/s
    """True composite error v - (p_d' - Lambda p~)."""
    p_error: NDArray[np.float64]  # (N, 3) m
    """True p - p_d."""
    input_gap: NDArray[np.float64]  # (N,) N
    """Between the rotor thrusts at which f_a_hat was asked for and those that were commanded."""


def isotropic(gains: TrackingGains, vehicle: Vehicle) -> tuple[float, float]:
    """(lambda, Lambda) in 1/s of gains that are the same along all axes.

    Raises
    ------
    UserError
        Where they are not: the norm of s then has no single rate.
    """
    lam, Lam = gains.K_v / vehicle.mass, gains.Lambda
    if np.ptp(lam) > 1e-9 * lam[0] or np.ptp(Lam) > 1e-9 * Lam[0]:
        raise UserError(
            f"gains K_v = {gains.K_v} and Lambda = {gains.Lambda} differ between axes: no bound on |s| is known"
        )
    return float(lam[0]), float(Lam[0])


def disturbance(s: np.ndarray, mass: float, lam: float, Gamma: float, dt: float) -> np.ndarray:
    """w (N-1, 3) in N that drives the recursion through s (N, 3): what the ideal loop does not explain."""
    D = Gamma * mass * lam * dt * np.concatenate([np.zeros((1, s.shape[1])), np.cumsum(s, axis=0)[:-1]])
    return np.asarray(mass * np.diff(s, axis=0) / dt + (mass * lam * s + D)[:-1])


def low_pass(w: np.ndarray, time_constant: float, dt: float) -> np.ndarray:
    """First-order filter along the first axis, started at 0: what was before the descent is the trim's."""
    share, state, out = dt / (time_constant + dt), np.zeros(w.shape[1]), np.empty_like(w)
    for k, value in enumerate(w):
        state = state + share * (value - state)
        out[k] = state
    return out


def measure_tracking(
    flights: Sequence[LoopFlight], gains: TrackingGains, vehicle: Vehicle, L_u: float, dt: float, where: str
) -> dict[str, Any]:
    """The certificate's ``tracking``: sizes of the disturbance, and what follows from them.

    Parameters
    ----------
    flights
        Calibration flights; they fitted nothing.
    L_u
        Proved bound on the slope of f_a_hat in the rotor thrusts, N/N.
    dt
        Controller's step in s.
    where
        What was flown, for the reader.

    Raises
    ------
    UserError
        Without flights, or for gains that differ between axes.
    """
    if not flights:
        raise UserError("no descent in free flight to measure the tracking error on")
    lam, Lam = isotropic(gains, vehicle)
    w = [disturbance(f.s, vehicle.mass, lam, gains.Gamma, dt) for f in flights]
    best: dict[str, Any] | None = None
    for time_constant in FILTERS if gains.Gamma > 0 else FILTERS[:1]:
        slow = [np.zeros_like(x) if np.isinf(time_constant) else low_pass(x, time_constant, dt) for x in w]
        fast = np.concatenate([np.linalg.norm(x - y, axis=1) for x, y in zip(w, slow, strict=True)])
        rate = np.concatenate([np.linalg.norm(np.diff(y, axis=0, prepend=0), axis=1) / dt for y in slow])
        measured = {
            "split_time_constant_s": None if np.isinf(time_constant) else time_constant,
            "disturbance_N": float(fast.max()),
            "disturbance_quantile_N": float(np.quantile(fast, QUANTILE)),
            "disturbance_rate_N_s": float(rate.max()),
            "disturbance_vertical_N": float(max(np.abs(x[:, 2]).max() for x in w)),
            "input_gap_N": float(max(f.input_gap.max() for f in flights)),
        }
        numbers = tracking_numbers(measured, vehicle.mass, lam, Lam, gains.Gamma, L_u, dt)
        if best is None or numbers["s_ball_m_s"] < best["numbers"]["s_ball_m_s"]:
            best = {"measured": measured, "numbers": numbers}
    assert best is not None
    return {
        "gains": {"Lambda_1_s": Lam, "K_v_kg_s": vehicle.mass * lam, "Gamma_1_s": gains.Gamma},
        "gains_sha256": gains_sha256(Lam, vehicle.mass * lam, gains.Gamma),
        "step_s": dt,
        "measured_on": {
            "what": where,
            "flights": len(flights),
            "seconds": sum(len(f.s) for f in flights) * dt,
            "seeds_sha256": hashlib.sha256(repr(sorted(f.seed for f in flights)).encode()).hexdigest(),
            "quantile": QUANTILE,
            "share_above_quantile": 1 - QUANTILE,
            "settled_s": SETTLED,
            "largest_start_s_m_s": float(max(np.linalg.norm(f.s[0]) for f in flights)),
        },
        **best,
        "assumed": list(ASSUMED),
    }


def envelope(tracking: Mapping[str, Any], mass: float, s_start: float, steps: int) -> np.ndarray:
    """Bound on |s| in m/s at each of ``steps`` steps after a start at |s| = ``s_start``."""
    gains = tracking["gains"]
    of = responses(gains["K_v_kg_s"] / mass, gains["Lambda_1_s"], gains["Gamma_1_s"], tracking["step_s"], steps)
    return np.asarray(np.abs(of["s"][:steps]) * s_start + tracking["numbers"]["s_ball_m_s"])


def verify_tracking(
    flights: Sequence[LoopFlight], tracking: Mapping[str, Any], mass: float, dt: float
) -> dict[str, Any]:
    """How other flights keep to the envelope: violations, and how much room it leaves."""
    gains, measured = tracking["gains"], tracking["measured"]
    above, steps, broken, worst, room = 0, 0, [], 0.0, []
    for f in flights:
        bound, size = envelope(tracking, mass, float(np.linalg.norm(f.s[0])), len(f.s)), np.linalg.norm(f.s, axis=1)
        if np.any(size > bound * (1 + 1e-12)):
            broken.append(f.seed)
        worst = max(worst, float(size.max()))
        room.append(float(bound.max() / size.max()))
        w = disturbance(f.s, mass, gains["K_v_kg_s"] / mass, gains["Gamma_1_s"], dt)
        tau = measured["split_time_constant_s"]
        fast = w if tau is None else w - low_pass(w, tau, dt)
        above += int(np.sum(np.linalg.norm(fast, axis=1) > measured["disturbance_N"]))
        steps += len(w)
    largest_start = max(float(np.linalg.norm(f.s[0])) for f in flights)
    return {
        "flights": len(flights),
        "violations": len(broken),
        "violating_seeds": broken[:20],
        "worst_s_m_s": worst,
        "envelope_over_worst_s": float(np.max(envelope(tracking, mass, largest_start, 2)) / worst),
        "envelope_over_s_per_flight_median": float(np.median(room)),
        "share_of_time_disturbance_exceeded": above / steps,
    }
