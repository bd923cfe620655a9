"""What a model's judgement on flights comes to: curves and errors by height, and sentences that say losses first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from neural_lander.pages.html_page import number
from neural_lander.residual.judged import JudgedFlight
from neural_lander.residual.retraining.gates import BLOCK, difference_interval

PREDICTORS = {"zero": "predicting nothing", "cheeseman_bennett": "the fitted Cheeseman–Bennett law"}
CURVE_EDGES = (
    *np.arange(0.0, 0.12, 0.01), *np.arange(0.12, 0.2, 0.02), *np.arange(0.2, 0.5, 0.05), *np.arange(0.5, 1.0, 0.1),
    *np.arange(1.0, 5.1, 0.25),
)  # fmt: skip
"""m of gear height: narrow where the ground effect is steep."""
LEAST_IN_BIN = 30  # samples: bins with fewer join the next; a guess
ERROR_EDGES = (0.0, 0.02, 0.04, 0.06, 0.08, 0.1, 0.15, 0.2, 0.3, 0.5, np.inf)  # m of gear height
LEAST_IN_BAND = 50  # samples: half a second
TAILS = (0.1, 0.9)  # of the label's spread


def curve(flights: Sequence[JudgedFlight]) -> list[dict[str, Any]]:
    """Label and predictions by gear height over the scored samples; g of force, m.

    Each bin has its height, samples, the label's mean, 10 and 90 % and standard error, and the mean of every predictor.
    """
    chosen = [f.samples.scored for f in flights]
    height = _gather([f.samples.height for f in flights], chosen)
    label = _gather([f.label for f in flights], chosen)
    blocks = _gather([10**6 * k + np.arange(len(f.label)) // BLOCK for k, f in enumerate(flights)], chosen)
    predictions = {name: _gather([f.predictions[name] for f in flights], chosen) for name in ("network", *PREDICTORS)}
    bins = []
    for low, high, inside in _bins(height):
        values = label[inside]
        bins.append(
            {
                "height_from_m": low,
                "height_to_m": high,
                "height_m": float(height[inside].mean()),
                "samples": len(values),
                "label_g": float(values.mean()),
                "label_10_90_g": [float(q) for q in np.quantile(values, TAILS)],
                "label_se_g": standard_error(values, blocks[inside]),
                **{f"{name}_g": float(p[inside].mean()) for name, p in predictions.items()},
            }
        )
    return bins


def standard_error(values: np.ndarray, blocks: np.ndarray) -> float | None:
    """Standard error of the mean of ``(n,)`` values that are correlated within blocks; None within a single one.

    From the sums of deviations of each block (Liang and Zeger 1986), with the small-sample factor B / (B - 1).
    """
    _, number_of = np.unique(blocks, return_inverse=True)
    count = int(number_of.max()) + 1
    if count < 2:
        return None
    sums = np.bincount(number_of, values - values.mean())
    return float(np.sqrt(count / (count - 1) * np.sum(sums**2)) / len(values))


def flight_curve(flight: JudgedFlight) -> tuple[list[float], list[float]]:
    """Mean height in m and mean label in g per bin of one flight."""
    scored = flight.samples.scored
    height, label = flight.samples.height[scored], flight.label[scored]
    bins = [(float(height[m].mean()), float(label[m].mean())) for _, _, m in _bins(height)]
    return [h for h, _ in bins], [f for _, f in bins]


def error_bands(flights: Sequence[JudgedFlight]) -> list[dict[str, Any]]:
    """RMSE in g of the network and what it is compared with, per band of gear height; thin bands are left out."""
    chosen = [f.samples.scored for f in flights]
    height = _gather([f.samples.height for f in flights], chosen)
    errors = {name: _gather([f.error(name) for f in flights], chosen) for name in ("network", *PREDICTORS)}
    slope = _gather([f.slope for f in flights], chosen)
    bands = []
    for low, high in pairwise(ERROR_EDGES):
        inside = (height >= low) & (height < high)
        if inside.sum() >= LEAST_IN_BAND:
            bands.append(
                {
                    "height_from_m": low,
                    "height_to_m": high if np.isfinite(high) else None,
                    "height_m": float(height[inside].mean()),
                    "samples": int(inside.sum()),
                    **{f"{name}_g": _rms(e[inside]) for name, e in errors.items()},
                    "slope_5_50_95_%": [float(q) for q in np.quantile(slope[inside], (0.05, 0.5, 0.95))],
                    "slope_mean": float(slope[inside].mean()),
                }
            )
    return bands


def band_name(band: Mapping[str, Any]) -> str:
    """``2–4 cm`` of a band of height."""
    low, high = 100 * band["height_from_m"], band["height_to_m"]
    return f"over {low:g} cm" if high is None else f"{low:g}–{100 * high:g} cm"


def verdict(
    flights: Sequence[JudgedFlight], result: Mapping[str, Any], bands: Sequence[Mapping[str, Any]]
) -> list[str]:
    """The judgement in plain language, the most important sentence first: a loss, if there is one.

    Parameters
    ----------
    result
        What ``evaluate --json`` prints.
    """
    if not result["samples_scored"]:
        return ["No sample of these flights is scored: they judge nothing."]
    sentences = [f"The network loses {loss}" for loss in _losses(flights, result)]
    if all(f.trained_on for f in flights):
        sentences.insert(0, "Every one of these flights was in training: this page shows a fit and is no test.")
    lost = [b for b in bands if any(_shown(b["network_g"]) > _shown(b[f"{name}_g"]) for name in PREDICTORS)]
    if lost:
        named = "; ".join(_band_loss(b) for b in lost)
        sentences.append(f"By height of the gear it loses in {len(lost)} of {len(bands)} bands: {named}.")
    if result["samples_scored_low"]:
        sentences.append(_compared(result, "_low", "Near the ground"))
    else:
        sentences.append("No scored sample is near the ground: these flights say nothing about landing.")
    sentences += [_compared(result, "", "At all heights"), *_seen(flights), _trim(result), *_outside(result)]
    return sentences


def _losses(flights: Sequence[JudgedFlight], result: Mapping[str, Any]) -> Iterator[str]:
    for suffix, where in (("_low", "near the ground"), ("", "over all heights")):
        ours = result[f"rmse_fa_z{suffix}_g"]
        for name, words in PREDICTORS.items():
            theirs = result["baselines"][name][f"rmse_fa_z{suffix}_g"]
            if ours is None or _shown(ours) <= _shown(theirs):
                continue
            low, high = _interval(flights, name, near=bool(suffix))
            sure = "" if low > 0 else "; that may be chance"
            interval = f"{100 * (ours / theirs - 1):+.0f} %, 95 % interval {100 * low:+.0f} to {100 * high:+.0f} %"
            yield f"{where} to {words}: {number(ours)} g against {number(theirs)} g ({interval}{sure})."


def _interval(flights: Sequence[JudgedFlight], baseline: str, near: bool) -> tuple[float, float]:
    """95 % interval of the network's RMSE over a baseline's, minus 1."""
    blocks = []
    for f in flights:
        chosen = f.samples.scored & f.samples.low if near else f.samples.scored
        columns = [
            np.where(chosen, e, 0.0) for e in (f.error(baseline) ** 2, f.error("network") ** 2, np.ones(len(chosen)))
        ]
        sums = np.add.reduceat(np.stack(columns, axis=-1), np.arange(0, len(chosen), BLOCK), axis=0)
        blocks.append(sums[sums[:, 2] > 0])
    return difference_interval(blocks, seed=0)


def _band_loss(band: Mapping[str, Any]) -> str:
    best = min(PREDICTORS, key=lambda name: float(band[f"{name}_g"]))
    words = {"zero": "nothing", "cheeseman_bennett": "the law"}[best]
    return f"{band_name(band)} ({number(band['network_g'])} g, {words} {number(band[f'{best}_g'])} g)"


def _compared(result: Mapping[str, Any], suffix: str, where: str) -> str:
    key = f"rmse_fa_z{suffix}_g"
    ours, zero, law = result[key], result["baselines"]["zero"][key], result["baselines"]["cheeseman_bennett"][key]
    if suffix:
        where += f" (centre of mass below {result['low_below_m']:g} m)"
    domain = result["domain"]
    faded = f" ({number(domain['as_flown'][key])} g as it is faded in flight)" if domain["samples_outside"] else ""
    return (
        f"{where} the network's error is {number(ours)} g{faded} where predicting nothing errs {number(zero)} g and "
        f"the fitted Cheeseman–Bennett law {number(law)} g."
    )


def _seen(flights: Sequence[JudgedFlight]) -> Iterator[str]:
    seen = sum(f.trained_on for f in flights)
    if 0 < seen < len(flights):
        them = "was in training and is no test" if seen == 1 else "were in training and are no test"
        yield f"{seen} of {len(flights)} flights {them}; leave such flights out for a judgement."


def _trim(result: Mapping[str, Any]) -> str:
    above = f"with the centre of mass above {result['trim_above_m']:.2g} m"
    without = sum(not flight["samples_for_trim"] for flight in result["flights"])
    lacking = f" {without} of {len(result['flights'])} flights have no sample up there and none." if without else ""
    return {
        "none": "No trim: battery, mass and thrust scale of each flight count as errors of every predictor "
        "(--trim flight or online takes them off).",
        "flight": f"Trim by flight: every predictor is shifted by its own mean error {above}.{lacking}",
        "online": f"Online trim: every predictor is shifted by what a filter knows from earlier samples.{lacking}",
    }[result["trim"]]


def _outside(result: Mapping[str, Any]) -> Iterator[str]:
    domain = result["domain"]
    if not domain["samples_outside"]:
        yield "Every scored sample is inside the domain that the network was trained in."
        return
    none, whole, faded = (number(domain[f"rmse_{name}_g"]) for name in ("none", "whole", "faded"))
    verdict = " Fading costs accuracy there." if domain["rmse_faded_g"] > domain["rmse_whole_g"] else ""
    if domain["rmse_faded_g"] > domain["rmse_none_g"]:
        verdict = " Even faded it is worse than nothing there."
        if result["trim"] == "none" and abs(domain["bias_faded_N"]) > abs(domain["bias_none_N"]):
            verdict += " The bias of these flights is not that of the training flights: that is a trim's to find."
    yield (
        f"{100 * domain['share_outside']:.1f} % of the samples are outside the domain of the training flights: there "
        f"nothing errs {none} g, the whole network {whole} g, and the network as it is faded out in flight {faded} g."
        f"{verdict}"
    )


def _shown(value: float) -> float:
    return round(value, 2)


def _gather(values: Sequence[np.ndarray], chosen: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate([v[m] for v, m in zip(values, chosen, strict=True)])


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(values**2)))


def _bins(height: np.ndarray) -> Iterator[tuple[float, float, np.ndarray]]:
    """(from, to, which samples), from the ground up; a bin with too few samples goes on into the next."""
    low = CURVE_EDGES[0]
    for _, high in pairwise(CURVE_EDGES):
        inside = (height >= low) & (height < high)
        if inside.sum() >= LEAST_IN_BIN:
            yield float(max(low, height[inside].min())), float(high), inside
            low = high
