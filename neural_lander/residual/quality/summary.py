"""What a pilot should take away from a quality report, in sentences, the answer first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

import numpy as np

from neural_lander.flightlog.fitness import LEAST_EXCITATION
from neural_lander.flightlog.resampling import PERIOD

SMALL_HOLE = 0.1  # weight of a hole: a tenth of what is wanted is missing, right above the ground
LEAST_DIFFERENCE = 0.01  # of the weight, between sinking and rising: less is not worth a sentence; a guess
EXPLAINED = 0.8  # share of the lateral bias from which it is put down to accelerometer and attitude


def summary(report: Mapping[str, Any]) -> list[str]:
    """Sentences on ``report``, which holds what :func:`quality.quality_report` returns but these."""
    return list(_sentences(report))


def _sentences(report: Mapping[str, Any]) -> Iterator[str]:
    fit, flights = report["flights_fit"], report["flights"]
    verdict = f"{fit} of {len(flights)} flights" if fit else f"No flight of {len(flights)}"
    usable = sum(f["usable"] for f in flights if f["log"] in report["coverage_counts"] and "usable" in f)
    yield f"{verdict} can be learned from" + (f": {usable * PERIOD:.0f} s of usable samples." if fit else ".")
    if "what_to_fly" not in report:
        return
    yield _hole(report["what_to_fly"])
    cells = report["landing_cells"]
    empty = sum(cell["extrapolates"] for cell in cells)
    if empty:
        yield (
            f"A landing from 1 m may pass through {len(cells)} cells of height and sinking speed; in {empty} of them "
            "a model would extrapolate."
        )
    weak = [b for b in report["height_bands"] if b["seconds"] and (b["thrust_excitation"] or 0) < LEAST_EXCITATION]
    if weak:
        where = ", ".join(band(b) for b in weak)
        yield f"Thrust moves too little to tell its own effect from its balance with gravity at {where}."
    yield from _identified(report)


def _hole(holes: list[Mapping[str, Any]]) -> str:
    if not holes:
        return "No hole in height, sinking speed, lateral speed or thrust excitation was found."
    size = "Fly next:" if holes[0]["weight"] > SMALL_HOLE else "Only small holes are left. Fly next:"
    return f"{size} {holes[0]['fly']} So far there are {holes[0]['found']}."


def _identified(report: Mapping[str, Any]) -> Iterator[str]:
    lag, scale, weight = report["lag"], report["thrust_scale"], report["weight_N"]
    if lag["total_lag_s"] is not None and lag["rotor_signal"] == "command":
        total, error, profile = (1e3 * lag[k] for k in ("total_lag_s", "total_lag_se_s", "profile_time_constant_s"))
        yield (
            f"Thrust lags its command by {total:.0f} ± {error:.0f} ms, lag and delay together; the profile has "
            f"{profile:.0f} ms."
        )
    sinking, rising = _sinking_and_rising(report["ground_effect"])
    if sinking is not None and rising is not None and abs(sinking - rising) > LEAST_DIFFERENCE * weight:
        yield (
            f"Below 0.1 m f_a,z averages {100 * sinking / weight:.1f} % of the weight while sinking and "
            f"{100 * rising / weight:.1f} % while rising, at the same heights: that difference comes with vertical "
            "motion (lag, inflow), not with height."
        )
    if scale is not None and scale["bias_sd_N"] is not None:
        with_battery = scale.get("between_flights", {}).get("share_of_bias_explained_with_battery")
        battery = "" if with_battery is None else f", with battery voltage {100 * with_battery:.0f} %"
        yield (
            f"Out of ground effect the residual along the rotors' axis is {100 * scale['bias_mean_N'] / weight:.1f} ± "
            f"{100 * scale['bias_sd_N'] / weight:.1f} % of the weight: one thrust scale or mass explains "
            f"{100 * scale['share_of_bias_explained_by_one_offset']:.0f} % of its square{battery}; the rest is each "
            "flight's own, and trim takes it."
        )
    shares = [f["accelerometer"].get("share_of_lateral_bias_explained") for f in report["flights"] if not f["refused"]]
    known = [share for share in shares if share is not None]
    if known and float(np.median(known)) > EXPLAINED:
        yield (
            f"The lateral mean of f_a is no force: errors of accelerometer or attitude explain "
            f"{100 * float(np.median(known)):.0f} % of it."
        )
    for odd in report["unlike_the_others"]:
        yield f"Unlike the others is {odd['log']}: {'; '.join(odd['differences'])}."


def _sinking_and_rising(curve: Mapping[str, Any]) -> tuple[float | None, float | None]:
    """Mean f_a,z in N below 0.1 m over the bands that hold both, each band counted once."""
    if "mean_sinking_N" not in curve:
        return None, None
    pairs = [
        (down, up)
        for (_, high), down, up in zip(
            pairwise(curve["height_edges_m"]), curve["mean_sinking_N"], curve["mean_rising_N"], strict=True
        )
        if high <= 0.1 and down is not None and up is not None
    ]
    if not pairs:
        return None, None
    down, up = np.mean(pairs, axis=0)
    return float(down), float(up)


def band(row: Mapping[str, Any]) -> str:
    """A band of height in words."""
    low, high = row["height_from_m"], row["height_to_m"]
    return f"{low:g}-{high:g} m" if high is not None else f"above {low:g} m"
