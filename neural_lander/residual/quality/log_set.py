"""Whether a set of flights is fit to learn from, what it covers, what is odd in it, and what to fly next."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from neural_lander.flightlog.log import FlightLog
from neural_lander.residual.identification.blocks import pooled
from neural_lander.residual.identification.thrust_scale import ENOUGH_BY_REFERENCE, over_flights, profile_snippet
from neural_lander.residual.quality.coverage import covered, grid, height_bands, landing_cells
from neural_lander.residual.quality.flight_quality import FlightQuality, flight_quality
from neural_lander.residual.quality.holes import what_to_fly
from neural_lander.residual.quality.summary import summary
from neural_lander.residual.retraining.poison import BIAS_TOLERANCE
from neural_lander.residual.trim import trim_height, trim_reference
from neural_lander.vehicle import Vehicle

SCHEMA = 1
"""Version of the report's layout."""
CURVE_EDGES = (0.0, 0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.1, 0.125, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5)  # m, gear
CLIMBING = 0.1  # m/s of vertical speed from which samples count as rising or sinking
LEAST_IN_BIN = 20  # samples: a mean over fewer is noise
ODD = 3.5  # robust standard deviations from the other flights' median (Iglewicz and Hoaglin 1993)
PER_WEIGHT = "% of the weight"
MOST_BIAS = BIAS_TOLERANCE[1]  # of the weight
LEAST_FLIGHTS = 5  # for a spread that says what is odd
FEWEST_FLIGHTS = 3  # among which one that is off by ``most`` is told from the others
Find = Callable[[dict[str, Any]], float | None]


@dataclass(frozen=True)
class Compared:
    """A figure that the flights of one vehicle share."""

    name: str
    unit: str
    """In which it is shown, and the limits are meant."""
    find: Find
    """In a flight's figures."""
    least: float
    """Standard deviation between flights that is nothing odd, however alike the others are; a guess."""
    most: float = np.inf
    """From the median, what is odd however unlike the others are."""


COMPARED = (
    Compared("mean f_a,z out of ground effect", PER_WEIGHT, lambda f: f["bias_fa_z_N"], 0.5, 100 * MOST_BIAS),
    Compared("label noise above 5 Hz", PER_WEIGHT, lambda f: f["label_noise_N"], 0.1),
    Compared("weight over nominal thrust in hover", "%", lambda f: _of(f["thrust_scale"], "hover_ratio"), 0.5),
    Compared("tilt or accelerometer error", "deg", lambda f: f["accelerometer"].get("error_as_tilt_deg"), 0.2),
    Compared("height above the reference", "mm", lambda f: f["hang_above_reference_m"], 2.0),
)


def quality_report(
    logs: Sequence[FlightLog], vehicle: Vehicle, progress: Callable[[float], None] = lambda share: None
) -> dict[str, Any]:
    """Everything that the page, the table and ``--json`` show; JSON values, SI with the unit in the key.

    Flights that are not fit are judged and listed. Coverage counts those that are fit, or all readable ones where none
    is.
    """
    flights = []
    for k, log in enumerate(logs):
        flights.append(flight_quality(log, vehicle))
        progress((k + 1) / len(logs))
    readable = [f for f in flights if f.samples is not None]
    counted = [f for f in readable if f.fit] or readable
    report: dict[str, Any] = {
        "schema": SCHEMA,
        "vehicle": vehicle.name,
        "weight_N": vehicle.weight,
        "flights": [f.figures for f in flights],
        "flights_fit": sum(f.fit for f in flights),
        "coverage_counts": [f.figures["log"] for f in counted],
    }
    if readable:
        data = covered([f.samples for f in counted if f.samples is not None], vehicle)
        report |= {
            "lag": _lag(readable, vehicle),
            "thrust_scale": over_flights([f.scale for f in readable if f.scale is not None]),
            "height_bands": height_bands(data),
            "lowest_learnable_height_m": data.floor,
            "grid": grid(data),
            "landing_cells": landing_cells(data),
            "what_to_fly": what_to_fly(data, vehicle),
            "ground_effect": _ground_effect(readable, vehicle),
            "unlike_the_others": _unlike(readable, vehicle.weight),
        }
        scale = report["thrust_scale"]
        if scale is not None:
            total = report["lag"]["total_lag_s"] if report["lag"]["rotor_signal"] == "command" else None
            report["profile_snippet"] = profile_snippet(vehicle, scale["hover_ratio"], total, scale["flights"])
    return {"summary": summary(report), **report}


def _lag(flights: Sequence[FlightQuality], vehicle: Vehicle) -> dict[str, Any]:
    known = [f.lag for f in flights if f.lag is not None and f.lag.identified]
    by_reference = [f for f in known if f.instrument == "reference"]
    if len(by_reference) >= ENOUGH_BY_REFERENCE:
        known = by_reference
    signals = {f.figures["lag"]["rotor_signal"] for f in flights}
    result: dict[str, Any] = {
        "flights": len(known),
        "rotor_signal": signals.pop() if len(signals) == 1 else "command in some, measured speed in others",
        "profile_time_constant_s": vehicle.motor_time_constant,
        "total_lag_s": None,
    }
    if known:
        mean, error, between = pooled(np.array([f.total for f in known]), np.array([f.total_error for f in known]))
        damping, damping_error, _ = pooled(
            np.array([f.damping for f in known]), np.array([max(f.damping_error, 1e-9) for f in known])
        )
        result |= {
            "total_lag_s": mean,
            "total_lag_se_s": error,
            "between_flights_sd_s": between,
            "by_reference": len(by_reference),
            "damping_N_s_m": damping,
            "damping_se_N_s_m": damping_error,
        }
    return result


def _ground_effect(flights: Sequence[FlightQuality], vehicle: Vehicle) -> dict[str, Any]:
    """f_a,z against gear height, each flight's own bias taken off: all samples, rising and sinking ones, by flight."""
    above = trim_height(vehicle)
    heights, labels, climbs, curves = [], [], [], []
    for flight in flights:
        samples = flight.samples
        assert samples is not None
        reference = trim_reference(samples, above)
        if not reference.any():
            continue
        chosen = samples.usable
        h, v = samples.height[chosen], samples.velocity[chosen, 2]
        f = samples.label[chosen, 2] - samples.label[reference, 2].mean()
        heights.append(h)
        labels.append(f)
        climbs.append(v)
        curves.append({"log": flight.figures["log"], "mean_N": [m for m, _ in _binned(h, f)]})
    edges = CURVE_EDGES
    if not heights:
        return {"height_edges_m": list(edges), "flights": []}
    h, f, v = np.concatenate(heights), np.concatenate(labels), np.concatenate(climbs)
    whole = _binned(h, f)
    return {
        "height_edges_m": list(edges),
        "mean_N": [m for m, _ in whole],
        "sd_N": [s for _, s in whole],
        "mean_rising_N": [m for m, _ in _binned(h[v > CLIMBING], f[v > CLIMBING])],
        "mean_sinking_N": [m for m, _ in _binned(h[v < -CLIMBING], f[v < -CLIMBING])],
        "flights": curves,
    }


def _binned(h: np.ndarray, f: np.ndarray) -> list[tuple[float | None, float | None]]:
    bins = [(h >= a) & (h < b) for a, b in pairwise(CURVE_EDGES)]
    return [
        (float(f[m].mean()), float(f[m].std())) if m.sum() >= LEAST_IN_BIN else (None, None) for m in bins
    ]  # fmt: skip


def _unlike(flights: Sequence[FlightQuality], weight: float) -> list[dict[str, Any]]:
    """Flights with a figure far from those of the others, with what is different in words."""
    found: dict[int, list[str]] = {}
    factors = {PER_WEIGHT: 100 / weight, "%": 100.0, "mm": 1e3, "deg": 1.0}
    for c in COMPARED:
        pairs = [(k, c.find(flight.figures)) for k, flight in enumerate(flights)]
        known = [(k, factors[c.unit] * value) for k, value in pairs if value is not None]
        if len(known) < FEWEST_FLIGHTS:
            continue
        values = np.array([value for _, value in known])
        middle = float(np.median(values))
        spread = 1.4826 * float(np.median(np.abs(values - middle)))
        usual = ODD * max(spread, c.least) if len(known) >= LEAST_FLIGHTS else np.inf
        for k, value in known:
            if abs(value - middle) > min(usual, c.most):
                text = f"{c.name} {value:.3g} {c.unit} where {middle:.3g} ± {spread:.2g} is typical"
                found.setdefault(k, []).append(text)
    return [{"log": flights[k].figures["log"], "differences": found[k]} for k in sorted(found)]


def _of(figures: dict[str, Any] | None, key: str) -> float | None:
    return None if figures is None else figures[key]
