"""Lag from rotor signal to measured thrust, with its scale and damping, from the flight itself.

    m a . k = s (L_tau D_d T) - c v . k + b0 + b1 t

with T the static thrust of the rotor signal, L_tau a first-order lag, D_d a delay, k the rotors' axis, c the loss of
thrust with climbing speed (inflow), and b0 + b1 t battery and mass. It is fitted by two-stage least squares over a grid
of (tau, d), with what the pilot or the planner asked for as the instrument: the feedback makes thrust answer
disturbances, and a plain regression takes that answer, which comes late and with the wrong sign, for the motors' own
(Soderstrom and Stoica, *Instrumental Variable Methods for System Identification*, 1983; closed loop: Van den Hof 1998).

Lag and delay are counted as the label counts them: a command is held from its own record to the next, and what is
measured at a record answers to those before it. Measured rotor speed is there already, and has no such step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from neural_lander.flightlog.resampling import first_order_lag, zero_phase
from neural_lander.residual.identification.blocks import BlockMoments, block_numbers, interval, resamples
from neural_lander.residual.identification.signals import FlightSignals
from neural_lander.residual.resample import SAMPLE_PERIOD
from neural_lander.vehicle import Vehicle

STEP = 0.01  # s, of both grids
TIME_CONSTANTS = STEP * np.arange(21)  # s
DELAYS = STEP * np.arange(-4, 11)  # s; negative where the acceleration is stamped early
INSTRUMENT_LAGS = np.arange(-0.1, 1.2, 0.06)  # s of the reference: what a position loop answers within
LEAST_BLOCKS = 5  # of 2 s each
LEAST_BAND_SHARE = 0.005  # of the weight, rms: below it no fit is tried
BAND = (0.5, 10.0)  # Hz, of the excitation that is reported
WIDEST_LAG = 0.08  # s, width of the 95 % interval of the total lag, beyond which it is not identified; a guess
WIDEST_SPLIT = 0.06  # s, the same for time constant and delay each


@dataclass(frozen=True)
class LagFit:
    """One way of fitting one flight; intervals hold 95 %, by a bootstrap over blocks of 2 s."""

    instrument: str
    """``reference``, or ``thrust``: then it is a plain regression."""
    total: float  # s
    """Time constant that serves alone, without a delay: the sum of both where motion is slow."""
    total_interval: tuple[float, float]  # s
    time_constant: float  # s
    time_constant_interval: tuple[float, float]
    delay: float  # s
    delay_interval: tuple[float, float]
    scale: float  # 1
    """s at the best pair of time constant and delay."""
    scale_error: float
    """Standard error."""
    damping: float  # N s/m
    """c."""
    damping_error: float

    @property
    def total_error(self) -> float:
        """Standard error of ``total`` in s, at least what the grid's step leaves."""
        low, high = self.total_interval
        return max((high - low) / 3.92, STEP / np.sqrt(12))

    @property
    def identified(self) -> bool:
        """Whether the total lag is known to 80 ms."""
        low, high = self.total_interval
        return high - low <= WIDEST_LAG and high < TIME_CONSTANTS[-1]

    @property
    def split(self) -> bool:
        """Whether time constant and delay are known apart."""
        return all(b - a <= WIDEST_SPLIT for a, b in (self.time_constant_interval, self.delay_interval))


def identify_lag(signals: FlightSignals, vehicle: Vehicle) -> tuple[LagFit | None, dict[str, Any]]:
    """The fit to rely on, None where nothing can be identified, and what is said of it as JSON values.

    The plain regression stands in where the log holds no moving reference, or one that identifies nothing.
    """
    aloft = signals.aloft
    excitation = band_share(signals, vehicle)
    report: dict[str, Any] = {
        "rotor_signal": signals.rotor_signal,
        "profile_time_constant_s": vehicle.motor_time_constant,
        "excitation_0.5_to_10_Hz": excitation,
        "identified": False,
    }
    blocks = len(np.unique(block_numbers(signals.t[aloft])))
    if blocks < LEAST_BLOCKS:
        return None, {**report, "reason": f"{blocks} blocks of 2 s out of ground effect; {LEAST_BLOCKS} are needed"}
    if excitation is None or excitation < LEAST_BAND_SHARE:
        return None, {**report, "reason": "thrust hardly moves between 0.5 and 10 Hz: not identifiable"}
    chosen = None if signals.reference is None else fit_lag(signals, vehicle, "reference")
    if chosen is None or not chosen.identified:
        chosen = fit_lag(signals, vehicle, "thrust")
    report |= _described(chosen)
    if chosen.instrument == "thrust":
        report["remark"] = "no position reference that moves thrust enough: feedback from disturbances may bias this"
    if not chosen.identified:
        low, high = chosen.total_interval
        report["reason"] = f"not identifiable: the interval is {1e3 * low:.0f} to {1e3 * high:.0f} ms"
    return chosen, report


def fit_lag(signals: FlightSignals, vehicle: Vehicle, instrument: str) -> LagFit:
    """Two-stage least squares over the grid of time constants and delays, and the bootstrap of all its figures."""
    t, aloft, weight = signals.t, signals.aloft, vehicle.weight
    tau, delay = (x.ravel() for x in np.meshgrid(TIME_CONSTANTS, DELAYS, indexing="ij"))
    candidates = np.hstack([lagged(signals, constant, DELAYS)[aloft] for constant in TIME_CONSTANTS]) / weight
    time = t[aloft] - t[aloft].mean()
    common = np.column_stack([signals.speed[aloft], np.ones(len(time)), time])
    source = signals.thrust / weight if signals.reference is None or instrument == "thrust" else signals.reference
    shifted = np.stack([np.interp(t - lag, t, source)[aloft] for lag in INSTRUMENT_LAGS], axis=-1)
    moments = BlockMoments.of(
        np.column_stack([shifted, common[:, 1:]]),
        np.column_stack([signals.force[aloft] / weight, common, candidates]),
        block_numbers(t[aloft]),
    )
    line = np.flatnonzero(np.abs(delay) < 1e-9)
    rows = []
    for weights in resamples(len(moments)):
        P = moments.projected(weights)
        scale, damping, rss = _regressions(P[:, 0], P[:, 1:4], P[:, 4:])
        total = _vertex(TIME_CONSTANTS, rss[line])
        best = int(rss.argmin())
        rows.append((total, tau[best], delay[best], scale[best], damping[best]))
    draws = np.array(rows)
    first = draws[0]
    return LagFit(
        instrument=instrument,
        total=float(first[0]),
        total_interval=interval(draws[1:, 0]),
        time_constant=float(first[1]),
        time_constant_interval=interval(draws[1:, 1]),
        delay=float(first[2]),
        delay_interval=interval(draws[1:, 2]),
        scale=float(first[3]),
        scale_error=float(draws[1:, 3].std()),
        damping=float(first[4]) * weight,
        damping_error=float(draws[1:, 4].std()) * weight,
    )


def band_share(signals: FlightSignals, vehicle: Vehicle) -> float | None:
    """Rms of the thrust between 0.5 and 10 Hz over the weight, aloft."""
    if not signals.aloft.any():
        return None
    band = zero_phase(signals.thrust, BAND)
    return float(np.sqrt(np.mean(band[signals.aloft] ** 2)) / vehicle.weight)


def lagged(signals: FlightSignals, time_constant: float, delays: np.ndarray) -> np.ndarray:
    """Thrust in N after a lag and each of K delays in s, ``(N, K)``."""
    thrust = first_order_lag(signals.thrust, SAMPLE_PERIOD, time_constant)
    t = signals.t if signals.rotor_signal == "command" else signals.t + SAMPLE_PERIOD  # what is measured is not held
    return np.stack([np.interp(t - d, signals.t, thrust) for d in delays], axis=-1)


def _regressions(y: np.ndarray, common: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scale, damping and residual sum of squares of y on each column of x with the common ones, ``(m,)`` each."""
    q, r = np.linalg.qr(common)
    y_c, x_c = q.T @ y, q.T @ x
    y_r, x_r = y - q @ y_c, x - q @ x_c
    power = np.sum(x_r**2, axis=0)
    scale = x_r.T @ y_r / power
    beta = np.linalg.solve(r, y_c[:, None] - x_c * scale)
    return scale, -beta[0], np.sum(y_r**2) - scale**2 * power


def _vertex(grid: np.ndarray, values: np.ndarray) -> float:
    """Where the parabola through the least value and its neighbours is least; at an end of the grid, that end."""
    k = int(values.argmin())
    if k in (0, len(grid) - 1):
        return float(grid[k])
    below, at, above = values[k - 1 : k + 2]
    return float(grid[k] + 0.5 * STEP * (below - above) / (below - 2 * at + above))


def _described(fit: LagFit) -> dict[str, Any]:
    apart = fit.split
    return {
        "identified": fit.identified,
        "instrument": fit.instrument,
        "total_lag_s": fit.total,
        "total_lag_95_s": list(fit.total_interval),
        "time_constant_s": fit.time_constant if apart else None,
        "delay_s": fit.delay if apart else None,
        "time_constant_and_delay": "known apart" if apart else "only their sum is identified: motion is too slow",
        "thrust_scale": fit.scale,
        "thrust_scale_se": fit.scale_error,
        "damping_N_s_m": fit.damping,
        "damping_se_N_s_m": fit.damping_error,
    }
