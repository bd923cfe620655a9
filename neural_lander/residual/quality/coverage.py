"""What flights cover: height, motion, tilt, thrust and its excitation, and where a landing would leave them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from neural_lander.flightlog.excitation import in_band
from neural_lander.residual.resample import SAMPLE_PERIOD
from neural_lander.residual.samples import ResidualSamples
from neural_lander.residual.scoring import scoring_rule
from neural_lander.rotation import quaternion_to_matrix
from neural_lander.vehicle import Vehicle

HEIGHT_EDGES = (0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0)  # m of gear height; the last band is open upwards
SPEED_EDGES = (-1.0, -0.5, -0.35, -0.25, -0.15, -0.05, 0.05, 0.15, 0.3, 0.5, 1.0)  # m/s, vertical
LANDING_TOP = 1.0  # m, where the landing reference begins
LANDING_SPEEDS = (-0.5, 0.05)  # m/s: the reference's -0.3 with overshoot, to the hold at the end
LEAST_CELL = 0.5  # s in a cell of height and vertical speed: 50 samples; a guess
LEAST_PASSES = 5.0  # through a cell so thin that 0.5 s would need more; a guess
SETTLE = 2.0  # s: a stretch of flight shorter than this has no spectrum worth the name


@dataclass(frozen=True, eq=False)
class Covered:
    """The usable samples of all flights; N of them."""

    height: np.ndarray  # (N,) m
    """Of the lowest gear point."""
    climb: np.ndarray  # (N,) m/s
    lateral: np.ndarray  # (N,) m/s
    tilt: np.ndarray  # (N,) rad
    thrust: np.ndarray  # (N,)
    """Over the weight."""
    excitation: np.ndarray  # (N,)
    """Part of the thrust between 0.5 and 4 Hz, over the weight; NaN in stretches too short for it."""
    floor: float  # m
    """Gear height at or below which samples of every flight count as contact, so that none can be had there."""


def covered(flights: Sequence[ResidualSamples], vehicle: Vehicle) -> Covered:
    """The usable samples of the flights."""

    def gather(values: Sequence[np.ndarray]) -> np.ndarray:
        chosen = [v[f.usable] for v, f in zip(values, flights, strict=True)]
        return np.concatenate(chosen) if chosen else np.empty(0)

    upright = [np.clip(quaternion_to_matrix(f.attitude)[:, 2, 2], -1, 1) for f in flights]
    return Covered(
        height=gather([f.height for f in flights]),
        climb=gather([f.velocity[:, 2] for f in flights]),
        lateral=gather([np.hypot(f.velocity[:, 0], f.velocity[:, 1]) for f in flights]),
        tilt=gather([np.arccos(u) for u in upright]),
        thrust=gather([f.rotor_thrust.sum(axis=1) / vehicle.weight for f in flights]),
        excitation=gather([excitation(f) / vehicle.weight for f in flights]),
        floor=min((f.floor for f in flights), default=scoring_rule(vehicle).floor(vehicle.gear_clearance, lands=False)),
    )


def excitation(flight: ResidualSamples) -> np.ndarray:
    """Collective thrust between 0.5 and 4 Hz in N, ``(N,)``; NaN outside stretches of at least 2 s of flight."""
    total = flight.rotor_thrust.sum(axis=1)
    flies = total > 0.5 * np.quantile(total, 0.9)
    result = np.full(len(total), np.nan)
    for stretch in np.split(np.arange(len(total)), np.flatnonzero(np.diff(flies.astype(np.int8))) + 1):
        if flies[stretch[0]] and len(stretch) * SAMPLE_PERIOD >= SETTLE:
            result[stretch] = in_band(total[stretch], SAMPLE_PERIOD)
    return result


def height_bands(data: Covered) -> list[dict[str, Any]]:
    """Time, motion, thrust and excitation per band of gear height."""
    rows = []
    for low, high in pairwise((*HEIGHT_EDGES, np.inf)):
        inside = (data.height >= low) & (data.height < high)
        row: dict[str, Any] = {
            "height_from_m": low,
            "height_to_m": high if np.isfinite(high) else None,
            "seconds": float(inside.sum() * SAMPLE_PERIOD),
            "thrust_excitation": rms(data.excitation[inside]),
        }
        for name, values, unit in (
            ("climb", data.climb, "m_s"),
            ("lateral_speed", data.lateral, "m_s"),
            ("tilt", np.degrees(data.tilt), "deg"),
            ("thrust_to_weight", data.thrust, ""),
        ):
            key = f"{name}_{unit}".rstrip("_")
            quantiles = np.quantile(values[inside], [0.05, 0.5, 0.95]) if inside.any() else None
            row[f"{key}_5_50_95_%"] = None if quantiles is None else [float(q) for q in quantiles]
        rows.append(row)
    return rows


def grid(data: Covered) -> dict[str, Any]:
    """Seconds in each cell of gear height and vertical speed; the outer bands are open."""
    h = np.array([*HEIGHT_EDGES, np.inf])
    v = np.array([-np.inf, *SPEED_EDGES[1:-1], np.inf])
    counts, _, _ = np.histogram2d(data.height, data.climb, (h, v))
    return {
        "height_edges_m": [*HEIGHT_EDGES, None],
        "climb_edges_m_s": [None, *SPEED_EDGES[1:-1], None],
        "seconds": (counts * SAMPLE_PERIOD).round(2).tolist(),
    }


def landing_cells(data: Covered) -> list[dict[str, Any]]:
    """Cells of height and vertical speed that a landing from 1 m passes through, with their seconds; lowest first.

    A cell whose speed is beyond what the reference asks for, but within reach of an overshoot, counts as well. Bands
    that contact rules leave nothing of are not listed.
    """
    cells = []
    for low, high in pairwise(e for e in HEIGHT_EDGES if e <= LANDING_TOP):
        if high <= data.floor:
            continue
        for slow, fast in pairwise(SPEED_EDGES):
            if slow < LANDING_SPEEDS[0] or fast > LANDING_SPEEDS[1]:
                continue
            inside = (data.height >= low) & (data.height < high) & (data.climb >= slow) & (data.climb < fast)
            seconds = float(inside.sum() * SAMPLE_PERIOD)
            speed = max(0.5 * abs(slow + fast), 1e-9)
            wanted = min(LEAST_CELL, LEAST_PASSES * (high - max(low, data.floor)) / speed)
            cells.append(
                {
                    "height_from_m": low,
                    "height_to_m": high,
                    "climb_from_m_s": slow,
                    "climb_to_m_s": fast,
                    "seconds": seconds,
                    "wanted_s": wanted,
                    "extrapolates": seconds < wanted,
                    "lateral_speed_max_m_s": _high(data.lateral[inside]),
                    "tilt_max_deg": _high(np.degrees(data.tilt[inside])),
                    "thrust_excitation": rms(data.excitation[inside]),
                }
            )
    return cells


def rms(values: np.ndarray) -> float | None:
    """Root mean square of the finite values, None of nothing."""
    known = values[np.isfinite(values)]
    return float(np.sqrt(np.mean(known**2))) if len(known) else None


def _high(values: np.ndarray) -> float | None:
    return float(np.quantile(values, 0.95)) if len(values) else None
