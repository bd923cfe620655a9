"""What to fly next: the holes in what flights cover, worst first, each with a sentence for the pilot."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np

from neural_lander.flightlog.excitation import BAND
from neural_lander.flightlog.fitness import LEAST_EXCITATION
from neural_lander.residual.quality.coverage import HEIGHT_EDGES, Covered, landing_cells, rms
from neural_lander.residual.resample import SAMPLE_PERIOD
from neural_lander.vehicle import GRAVITY, Vehicle

LEAST_BAND = 20.0  # s in a band of height that matters: what the simulated collection aims at
SHORTEST_FLIGHT = 5.0  # s that a pilot is asked to hover for
BANDS_UP_TO = 0.3  # m: above it bands of height are not asked for one by one
DITHER = 0.1  # of the thrust, between 0.5 and 4 Hz, amplitude: 7 % rms, as much as the simulated collection flies
LEAST_LATERAL = 0.15  # m/s that 5 % of a band should exceed: landings drift by as much; a guess
LATERAL_SHARE = 0.5  # of the weight of a hole in height: the residual changes less with lateral speed; a guess
FASTEST = 0.35  # m/s of sinking that a pilot is asked for: the landing reference has 0.3
TOUCH_BELOW = 0.05  # m: lower bands are passed through by touching down
TOUCH_FROM = 0.1  # m


def what_to_fly(data: Covered, vehicle: Vehicle) -> list[dict[str, Any]]:
    """Holes, worst first, with ``found`` and ``fly`` as sentences.

    A hole's weight is the share that is missing times the ground effect that is left at its height, taken as
    1 / (1 + (h / 2R)^2).
    """
    holes: list[dict[str, Any]] = []
    for low, high in pairwise(HEIGHT_EDGES):
        if high > data.floor and high <= BANDS_UP_TO:
            holes += _in_band(data, max(low, data.floor), high)
    holes += _in_descents(data)
    for hole in holes:
        h = 0.5 * (hole["height_from_m"] + hole["height_to_m"])
        hole["weight"] = hole.pop("missing") / (1 + (h / (2 * vehicle.rotor_radius)) ** 2)
    return sorted(holes, key=lambda hole: -float(hole["weight"]))


def dither_that_fits(room: float) -> str:
    """Dither in words that moves the vehicle by no more than ``room`` m, up and down together.

    A sine of amplitude A of the weight and frequency f moves a free mass by A g / (2 pi f)^2 either way; the position
    loop takes from that.
    """
    least = max(BAND[0], float(np.sqrt(DITHER * GRAVITY / (0.5 * room))) / (2 * np.pi))
    least = np.ceil(10 * least) / 10
    if least >= BAND[1]:
        return f"without dither, for which {1e3 * room:.0f} mm leave no room"
    return f"with thrust dither of {100 * DITHER:.0f} % between {least:g} and {BAND[1]:g} Hz"


def _in_band(data: Covered, low: float, high: float) -> Iterator[dict[str, Any]]:
    """Too little time in a band of height, time without excitation, or without lateral motion."""
    inside = (data.height >= low) & (data.height < high)
    seconds, moves = float(inside.sum() * SAMPLE_PERIOD), rms(data.excitation[inside])
    where = f"{low:.3g}-{high:.3g} m"
    dither = dither_that_fits(high - low)
    band = {"height_from_m": low, "height_to_m": high, "seconds": seconds, "thrust_excitation": moves}
    if seconds < LEAST_BAND:
        yield {
            **band,
            "kind": "time",
            "missing": 1 - seconds / LEAST_BAND,
            "found": f"{seconds:.1f} s at {where}; {LEAST_BAND:g} s are wanted",
            "fly": f"Hover at {where} for {np.ceil(max(LEAST_BAND - seconds, SHORTEST_FLIGHT)):.0f} s {dither}.",
        }
    if not inside.any():
        return
    if moves is None or moves < LEAST_EXCITATION:
        found = "cannot be judged" if moves is None else f"moves by {100 * moves:.2g} % rms"
        yield {
            **band,
            "kind": "excitation",
            "missing": 1 - (moves or 0.0) / LEAST_EXCITATION,
            "found": f"thrust {found} at {where} between {BAND[0]:g} and {BAND[1]:g} Hz; "
            f"{100 * LEAST_EXCITATION:g} % are needed",
            "fly": f"Hover at {where} for {LEAST_BAND:g} s {dither}.",
        }
    lateral = float(np.quantile(data.lateral[inside], 0.95))
    if lateral < LEAST_LATERAL:
        yield {
            **band,
            "kind": "lateral",
            "missing": LATERAL_SHARE * (1 - lateral / LEAST_LATERAL),
            "found": f"lateral speed at {where} stays below {lateral:.2g} m/s for 95 % of the time; "
            f"{LEAST_LATERAL:g} m/s are wanted",
            "fly": f"Fly to and fro at {where} with up to {2 * LEAST_LATERAL:g} m/s for {LEAST_BAND / 2:g} s.",
        }


def _in_descents(data: Covered) -> Iterator[dict[str, Any]]:
    """Speeds of sinking that no flight had at a height where a landing has them."""
    for cell in landing_cells(data):
        slow, fast = -cell["climb_to_m_s"], -cell["climb_from_m_s"]
        if not cell["extrapolates"] or slow < 0 or fast > FASTEST:
            continue
        low, high = max(cell["height_from_m"], data.floor), cell["height_to_m"]
        passes = int(np.ceil((cell["wanted_s"] - cell["seconds"]) * 0.5 * (slow + fast) / (high - low)))
        often = "once" if passes <= 1 else f"{passes} times"
        speed = f"{slow:g}-{fast:g} m/s"
        where = f"Touch down from {TOUCH_FROM:g} m" if high <= TOUCH_BELOW else f"Sink from {high:.3g} to {low:.3g} m"
        yield {
            "height_from_m": low,
            "height_to_m": high,
            "seconds": cell["seconds"],
            "thrust_excitation": cell["thrust_excitation"],
            "kind": "descent",
            "missing": 1 - cell["seconds"] / cell["wanted_s"],
            "found": f"{cell['seconds']:.2f} s at {low:.3g}-{high:.3g} m while sinking at {speed}; "
            f"{cell['wanted_s']:.2g} s are wanted",
            "fly": f"{where} at {speed}, {often}.",
        }
