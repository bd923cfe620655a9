"""The page on how a model does on flights: one HTML file with the pictures that say whether to trust it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from neural_lander import __version__
from neural_lander.bundle import Bundle
from neural_lander.pages import fit_figures as figures
from neural_lander.pages.fit_summary import LEAST_IN_BAND, band_name, curve, error_bands, verdict
from neural_lander.pages.fit_time_figures import over_time
from neural_lander.pages.html_page import MISSING, Page, number, plain_table, row, section
from neural_lander.residual.evaluation import Predictors
from neural_lander.residual.judged import JudgedFlight, judge
from neural_lander.residual.samples import ResidualSamples
from neural_lander.residual.scoring import GRAM, scoring_rule
from neural_lander.residual.trim import TRIMS, trim_height

MOST_LANDINGS = 4  # drawn over time
SHOWN_TO = 1.5  # times the height from which the trim is estimated: what lies above is flat


def write_fit_page(bundle: Bundle, flights: Sequence[ResidualSamples], result: Mapping[str, Any], path: Path) -> None:
    """Write the page on a bundle and flights.

    Parameters
    ----------
    flights
        In the order of ``result["flights"]``.
    result
        What ``evaluate --json`` prints of them.

    Raises
    ------
    UserError
        Where the file cannot be written.
    """
    predictors = Predictors(bundle.model, bundle.cheeseman_bennett, bundle.mean)
    entries = zip(flights, result["flights"], strict=True)
    given = [(entry["log"], samples, bool(entry["trained_on"])) for samples, entry in entries]
    judged = judge(predictors, bundle.domain, given, TRIMS[result["trim"]], trim_height(bundle.vehicle))
    bands = error_bands(judged)
    page = Page()
    trained = len([d for d in bundle.info["datasets"] if d.get("role", "train") == "train"])
    subtitle = f"neural-lander {__version__}; learned from {_count(trained, 'flight')}, judged on {_judged_on(result)}"
    title = f"Learned model: {bundle.vehicle.name}"
    sections = _sections(bundle, judged, result, bands, page)
    page.write(path, title, subtitle, verdict(judged, result, bands), sections)


def _sections(
    bundle: Bundle,
    judged: Sequence[JudgedFlight],
    result: Mapping[str, Any],
    bands: Sequence[Mapping[str, Any]],
    page: Page,
) -> Iterator[str]:
    scored = [f for f in judged if f.samples.scored.any()]
    if scored:
        yield _by_height(bundle, scored, result, page)
        yield from _over_time(bundle, scored, page)
    if bands:
        yield _errors(bands, page)
    if scored:
        yield _domain(bundle, scored, result, page)
    if bands:
        yield _slope(bundle, bands, result, page)
    yield _flights(result)


def _by_height(bundle: Bundle, judged: Sequence[JudgedFlight], result: Mapping[str, Any], page: Page) -> str:
    vehicle, bins = bundle.vehicle, curve(judged)
    highest = max((b["height_m"] for b in bins), default=1.0)
    top = min(1.02 * highest, SHOWN_TO * (trim_height(vehicle) - vehicle.gear_clearance))
    zero = {
        "none": "Zero is what the vehicle's profile predicts: each flight's own bias is still in it.",
        "flight": "Zero is each flight's own bias, which its trim takes off.",
        "online": "Zero is each flight's own bias; the predictions carry the online trim.",
    }[result["trim"]]
    return section(
        "The force near the ground",
        f"Vertical residual force in grams; the vehicle weighs {number(vehicle.weight / GRAM)} g. {zero} The spread is "
        "that of single samples, noise included; the standard error counts 5 s of flight as one. The bars below are "
        "the samples of each bin, on a logarithmic scale.",
        page.place(
            figures.force_by_height(bins, judged, scoring_rule(vehicle), vehicle.gear_clearance, top), "tall"
        ),
    )  # fmt: skip


def _over_time(bundle: Bundle, judged: Sequence[JudgedFlight], page: Page) -> Iterator[str]:
    rule = scoring_rule(bundle.vehicle)
    landings = [f for f in judged if f.samples.lands]
    if landings:
        drawn, title = landings[:MOST_LANDINGS], "Take-off and landing" if len(landings) == 1 else "Landings"
        what = f"The first {MOST_LANDINGS} of {len(landings)} flights that begin or end on the ground. "
        what = what if len(landings) > MOST_LANDINGS else ""
    else:
        drawn = [min(judged, key=lambda f: float(f.samples.height[f.samples.scored].min()))]
        title, what = "The lowest descent", "No flight here begins or ends on the ground; this one went lowest. "
    body = "".join(
        f"<h3>{_name(f.name)}</h3>{page.place(over_time(f, rule), 'tall')}" for f in drawn
    )  # fmt: skip
    yield section(
        title,
        f"{what}Label and predictions over time, with the height of the gear behind. Shaded: samples that are not "
        "scored. Below: how far the state is from what the training flights hold, and the share of the network that "
        "a controller would use there.",
        body,
    )


def _errors(bands: Sequence[Mapping[str, Any]], page: Page) -> str:
    heads = ("Height of the gear", "Samples", "Nothing (g)", "Cheeseman–Bennett (g)", "Network (g)")
    rows = []
    for b in bands:
        values = [round(b[f"{name}_g"], 2) for name in ("zero", "cheeseman_bennett", "network")]
        kind = "yes" if values[2] <= min(values) else "no"
        network = f'<span class="{kind}">{number(b["network_g"])}</span>'
        cells = [number(b["zero_g"]), number(b["cheeseman_bennett_g"]), network]
        rows.append(row(heads, band_name(b), str(b["samples"]), *cells))
    return section(
        "Error by height",
        "Root mean square error of the vertical force, each predictor with the same kind of trim. The noise of the "
        f"labels is in all of them. Bands with less than {LEAST_IN_BAND / 100:g} s are left out.",
        page.place(figures.error_by_height(bands))
        + f"<details><summary>As numbers</summary>{plain_table(heads, rows, 'numbers tight')}</details>",
    )


def _domain(bundle: Bundle, judged: Sequence[JudgedFlight], result: Mapping[str, Any], page: Page) -> str:
    domain, calibration = result["domain"], bundle.info["domain"].get("calibration", {})
    how = "calibrated on the training flights" if calibration.get("calibrated") else "a cautious guess"
    share = domain["share_outside"]
    text = (
        "Where these flights were, darker for longer, and the range of vertical speed that the training flights hold "
        f"at each height. Beyond it the network is faded out, to nothing at {bundle.domain.gone:g} times the range "
        f"({how}). {100 * share:.1f} % of the scored samples are outside, by speed, tilt or height."
    )
    heads = ("Outside the domain", "RMSE (g)")
    names = {"none": "Nothing", "whole": "Whole network", "faded": "Network as it is faded in flight"}
    rows = [row(heads, label, number(domain[f"rmse_{name}_g"])) for name, label in names.items()]
    table = plain_table(heads, rows, "numbers tight") if domain["samples_outside"] else ""
    figure = page.place(figures.flown_and_domain(judged, bundle.domain), "tall")
    return section("Where these flights leave the training", text, figure + table)


def _slope(bundle: Bundle, bands: Sequence[Mapping[str, Any]], result: Mapping[str, Any], page: Page) -> str:
    evidence = result["thrust_slope_evidence"]
    if evidence is None:
        said = "The bundle does not say what its training flights tell of it."
    elif evidence["identified"]:
        said = f"The training flights identify it: {evidence['reason']}."
    else:
        said = "The training flights do not identify it, so that its bound and not the data holds it: "
        said += f"{evidence['reason']}."
    return section(
        "Slope in thrust",
        "How the learned force changes with thrust. It closes a loop: what is near -1 is the balance of thrust and "
        f"weight and no aerodynamics, and would spoil the control law. {said}",
        page.place(figures.slope_by_height(bands, evidence, bundle.contraction_factor)),
    )


def _flights(result: Mapping[str, Any]) -> str:
    heads = (
        "Flight", "In training", "Scored", "Network (g)", "near ground", "Nothing (g)", "near ground",
        "Law (g)", "near ground",
    )  # fmt: skip
    rows = []
    for f in result["flights"]:
        errors = (f, f["baselines"]["zero"], f["baselines"]["cheeseman_bennett"])
        cells = [number(e[f"rmse_fa_z{suffix}_g"]) for e in errors for suffix in ("", "_low")]
        seen = "<span class=no>yes</span>" if f["trained_on"] else "no"
        rows.append(row(heads, _name(f["log"]), seen, str(f["samples_scored"]), *cells))
    heads_left = ("Flight", "Samples", "Left out of training, by the first reason that applies")
    left = [
        row(
            heads_left, _name(f["log"]), str(f["samples"]),
            ", ".join(f"{escape(k.replace('_', ' '))} {n}" for k, n in f["exclusions"].items() if n) or "nothing",
        )
        for f in result["flights"]
    ]  # fmt: skip
    sources = sorted({f"{f['thrust']}; acceleration {f['acceleration']}" for f in result["flights"]})
    return section(
        "Flight by flight",
        f"RMSE at all heights and near the ground; the law is Cheeseman–Bennett's. Thrust: {' / '.join(sources)}.",
        plain_table(heads, rows, "numbers tight")
        + f"<details><summary>What is left out</summary>{plain_table(heads_left, left, 'text tight')}</details>",
    )


def _judged_on(result: Mapping[str, Any]) -> str:
    seconds = np.sum([f["samples_scored"] for f in result["flights"]]) / 100
    return f"{seconds:.0f} s of {_count(len(result['flights']), 'flight')}" if seconds else MISSING


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def _name(log: str) -> str:
    """Name of a log that may break after its underscores."""
    return escape(log).replace("_", "_<wbr>")
