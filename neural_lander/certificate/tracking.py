"""How far the closed loop may stray: decay and error ball of s and p~ from what was measured in flight.

With K_v = m lambda I the law makes

    m s' = -K_v s - D + w      D = Gamma K_v int_0^t s dt

where w is everything else: the error of f_a_hat at whatever rotor thrusts it was asked for, lag of motors and attitude,
wind, and what noise, clamps and a wrong start do to the trim. (Gamma = 0 is the paper's theorem; with trim D is its
bias state.) This is linear in w, so that

    |s(t)| <= |phi(t)| |s(0)| + max_start |phi| I / m + G_size sup|w_fast| / m + G_rate sup|w_slow'| / m

for any split w = w_start + w_fast + w_slow, with phi the response to s(0) and G the integrals of the absolute impulse
responses (peak-to-peak gains). Nothing of a descent is left out:

- The reference begins with a step in velocity, which s(0) contains.
- Motors and attitude answer it late, for some tenths of a second and by more than any later disturbance. What exceeds
  the later level within ``START_TIME`` is w_start, and counts by its impulse I = int |w_start| dt.
- With trim the rate of a slow disturbance stands where without it stood its size. A low-pass filter splits w_slow from
  w_fast; the filter is chosen that gives the smallest ball.

Height and vertical speed have gains of their own, through p~' = s - Lambda p~, on the vertical part of w. Everything is
computed for the loop as it is sampled, by its recursion at the controller's step; a position moves by dt times the new
velocity, as in both worlds, along a reference of constant velocity. Measured once, on flights that fitted
nothing, sup is a maximum over those flights and no bound: with it goes how often it was exceeded.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neural_lander.certificate.check_tracking import (
    FILTERS,
    ROUNDING,
    envelopes,
    gains_sha256,
    tracking_numbers,
)
from neural_lander.certificate.tracking_sources import ASSUMED, tracking_entries
from neural_lander.control.tracking import TrackingGains
from neural_lander.errors import UserError
from neural_lander.vehicle import Vehicle

QUANTILE = 0.99
START_TIME = 1.0  # s after the reference began to move within which a disturbance may count by its impulse
SETTLED_TIME = 2.0  # s after which the numbers for a pilot are given as well: a second and more before any touchdown


@dataclass(frozen=True)
class LoopFlight:
    """One descent in free flight, sampled at the controller's step: from its first step to contact or to its end."""

    seed: int
    s: NDArray[np.float64]  # (N, 3) m/s
    """True composite error v - (p_d' - Lambda p~)."""
    p_error: NDArray[np.float64]  # (N, 3) m
    """True p - p_d."""
    input_gap: NDArray[np.float64]  # (N,) N
    """Between the rotor thrusts at which f_a_hat was asked for and those that were commanded."""
    domain_score: float = 0.0
    """Largest of the flight; above 1 it left the network's domain."""

    @property
    def start(self) -> dict[str, float]:
        """What an envelope begins with."""
        return {
            "start_s": float(np.linalg.norm(self.s[0])),
            "start_s_vertical": abs(float(self.s[0, 2])),
            "start_height_error": abs(float(self.p_error[0, 2])),
        }


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


def without_start(w: np.ndarray, level: float, steps: int) -> tuple[np.ndarray, float]:
    """w (N, n) with what exceeds ``level`` in its first steps taken off, and the sum of what was taken off."""
    size = np.linalg.norm(w[:steps], axis=1)
    excess = np.maximum(size - level, 0.0)
    rest = w.copy()
    rest[:steps] *= (1 - excess / np.maximum(size, 1e-300))[:, None]
    return rest, float(excess.sum())


def measure_tracking(
    flights: Sequence[LoopFlight], gains: TrackingGains, vehicle: Vehicle, dt: float, where: str, asked: str
) -> dict[str, Any]:
    """The certificate's ``tracking``: sizes of the disturbance, and what follows from them.

    Parameters
    ----------
    flights
        Calibration flights; they fitted nothing.
    dt
        Controller's step in s.
    where
        What was flown, for the reader.
    asked
        ``check_tracking.asked_sha256`` of the network that flew, its range of thrusts and its domain.

    Raises
    ------
    UserError
        Without flights, with one that ends within ``SETTLED_TIME``, or for gains that differ between axes.
    """
    if not flights:
        raise UserError("no descent in free flight to measure the tracking error on")
    window, settled = round(START_TIME / dt), round(SETTLED_TIME / dt)
    if min(len(f.s) for f in flights) <= settled:
        raise UserError(f"a descent is over within {SETTLED_TIME:g} s: too short to measure more than its start on")
    lam, Lam = isotropic(gains, vehicle)
    w = [disturbance(f.s, vehicle.mass, lam, gains.Gamma, dt) for f in flights]
    level = max(float(np.linalg.norm(x[window:], axis=1).max()) for x in w)
    level_z = max(float(np.abs(x[window:, 2]).max()) for x in w)
    rest, impulses = zip(*(without_start(x, level, window) for x in w), strict=True)
    impulses_z = [without_start(x[:, 2:], level_z, window)[1] for x in w]
    value: dict[str, float] = {
        "Lambda": Lam,
        "K_v": vehicle.mass * lam,
        "Gamma": gains.Gamma,
        "controller_step": dt,
        "start_time": START_TIME,
        "settled_time": SETTLED_TIME,
        "quantile": QUANTILE,
        "input_gap_per_s": 0.0,
        **{name: max(f.start[name] for f in flights) for name in flights[0].start},
        "start_level": level,
        "start_impulse": dt * max(impulses),
        "start_impulse_vertical": dt * max(impulses_z),
        "disturbance_vertical": level_z,
        "input_gap": float(max(f.input_gap.max() for f in flights)),
    }
    best: dict[str, float] | None = None
    for time_constant in (None, *FILTERS) if gains.Gamma > 0 else (None,):
        slow = [np.zeros_like(x) if time_constant is None else low_pass(x, time_constant, dt) for x in rest]
        fast = [np.linalg.norm(x - y, axis=1) for x, y in zip(rest, slow, strict=True)]
        rate = np.concatenate([np.linalg.norm(np.diff(y, axis=0, prepend=0), axis=1) / dt for y in slow])
        split = {} if time_constant is None else {"split_time_constant": time_constant}
        sizes = {
            "disturbance": float(max(x.max() for x in fast)),
            "disturbance_quantile": float(np.quantile(np.concatenate([x[window:] for x in fast]), QUANTILE)),
            "disturbance_rate": float(rate.max()),
        }
        candidate = {**value, **split, **sizes}
        candidate |= _outward(tracking_numbers(candidate, vehicle.mass))
        if best is None or candidate["s_ball"] < best["s_ball"]:
            best = candidate
    assert best is not None
    return {
        "gains_sha256": gains_sha256(Lam, vehicle.mass * lam, gains.Gamma),
        "measured_on": {
            "what": where,
            "flights": len(flights),
            "seconds": sum(len(f.s) for f in flights) * dt,
            "asked_sha256": asked,
            "seeds_sha256": hashlib.sha256(repr(sorted(f.seed for f in flights)).encode()).hexdigest(),
        },
        "entries": tracking_entries(best),
        "assumed": list(ASSUMED),
    }


def _outward(value: Mapping[str, float]) -> dict[str, float]:
    """A little weaker, so that they still follow where another library computes them."""
    return {name: x * (1 - ROUNDING if name == "decay_rate" else 1 + ROUNDING) for name, x in value.items()}


def values_of(tracking: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a tracking bound by name."""
    return {name: entry["value"] for name, entry in tracking["entries"].items()}


def verify_tracking(flights: Sequence[LoopFlight], tracking: Mapping[str, Any], vehicle: Vehicle) -> dict[str, Any]:
    """The tracking bound with how other flights kept to it: violations, and how much room it leaves.

    Raises
    ------
    UserError
        Without flights.
    """
    if not flights:
        raise UserError("no descent in free flight to hold against the envelope")
    value, mass = values_of(tracking), vehicle.mass
    dt = value["controller_step"]
    window, settled = round(value["start_time"] / dt), round(value["settled_time"] / dt)
    level, quantile = value["disturbance"], value["disturbance_quantile"]
    broken, height_broken, above, above_quantile, steps = 0, 0, 0, 0, 0
    for f in flights:
        bound = envelopes(value, mass, len(f.s), f.start)
        errors = {
            "s": np.linalg.norm(f.s, axis=1),
            "height": np.abs(f.p_error[:, 2]),
            "vertical_speed": np.abs(f.s[:, 2] - value["Lambda"] * f.p_error[:, 2]),
        }
        left = {name: bool(np.any(e > bound[name][: len(e)] * (1 + 1e-12))) for name, e in errors.items()}
        broken, height_broken = broken + left["s"], height_broken + (left["height"] or left["vertical_speed"])
        w = disturbance(f.s, mass, value["K_v"] / mass, value["Gamma"], dt)
        rest, _ = without_start(w, value["start_level"], window)
        tau = value.get("split_time_constant")
        fast = np.linalg.norm(rest if tau is None else rest - low_pass(rest, tau, dt), axis=1)[window:]
        above, above_quantile = above + int(np.sum(fast > level)), above_quantile + int(np.sum(fast > quantile))
        steps += len(fast)
    longest = max(len(f.s) for f in flights)
    sizes = np.zeros((len(flights), longest))
    for row, f in zip(sizes, flights, strict=True):
        row[: len(f.s)] = np.linalg.norm(f.s, axis=1)
    largest = {name: max(f.start[name] for f in flights) for name in flights[0].start}
    bound_s = envelopes(value, mass, longest, largest)["s"][:longest]
    found = {
        "verified_flights": len(flights),
        "verified_violations": broken,
        "verified_height_violations": height_broken,
        "verified_outside_domain": sum(f.domain_score > 1 for f in flights),
        "verified_worst_s": float(sizes.max()),
        "verified_envelope_over_worst_s": float(bound_s.max() / sizes.max()),
        "verified_envelope_over_worst_s_settled": float(bound_s[settled:].max() / sizes[:, settled:].max()),
        "verified_time_above_disturbance": above / steps,
        "verified_time_above_quantile": above_quantile / steps,
    }
    return {**tracking, "entries": {**tracking["entries"], **tracking_entries(found)}}
