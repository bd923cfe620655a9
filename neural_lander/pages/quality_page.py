"""The data-quality page of a set of flights: one HTML file that answers what can be learned and what is missing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from neural_lander import __version__
from neural_lander.flightlog.resampling import PERIOD
from neural_lander.pages import quality_figures as figures
from neural_lander.pages.html_page import MISSING, Page, number, plain_table, row, section
from neural_lander.residual.quality.summary import band

MOST_HOLES = 12  # rows of the table; the rest is in the JSON


def write_quality_page(report: Mapping[str, Any], path: Path) -> None:
    """Write the page on what :func:`quality.quality_report` found.

    Raises
    ------
    UserError
        Where the file cannot be written.
    """
    page = Page()
    flights = report["flights"]
    subtitle = f"neural-lander {__version__}, {len(flights)} flight{'s' if len(flights) != 1 else ''}"
    title = f"Flight data: {report['vehicle']}"
    page.write(path, title, subtitle, report["summary"], _sections(report, page))


def _sections(report: Mapping[str, Any], page: Page) -> Iterator[str]:
    yield _verdicts(report)
    if "what_to_fly" not in report:
        return
    yield _holes(report)
    yield section(
        "Where a landing leaves the data",
        "Seconds in each cell of height and vertical speed that a landing from 1 m may pass through. ✕: too little, a "
        "model extrapolates there.",
        page.place(figures.landing_grid(report["landing_cells"]), "tall"),
    )
    yield _coverage(report, page)
    yield section(
        "What there is to learn",
        "Vertical residual force against height, without each flight's own bias. Where rising and sinking differ at "
        "one height, lag or inflow is at work as well.",
        page.place(figures.ground_effect(report["ground_effect"], report["weight_N"])),
    )
    yield _thrust(report, page)
    yield _flight_figures(report)
    yield _events(report)
    if report.get("profile_snippet"):
        yield section(
            "For the vehicle profile, if you trust it",
            "Nothing here has been applied. These lines would take the mean bias away; check mass first, since a wrong "
            "mass shows in the same way. Labels made with another profile are not comparable with those made before.",
            f"<pre>{escape(report['profile_snippet'])}</pre>",
        )


def _verdicts(report: Mapping[str, Any]) -> str:
    heads = ("Flight", "Fit", "Usable", "Why not")
    rows = []
    remarks = [set(flight["fit_for_learning"]["remarks"]) for flight in report["flights"]]
    common = set.intersection(*remarks)
    for flight in report["flights"]:
        verdict = flight["fit_for_learning"]
        badge = "<span class=yes>yes</span>" if verdict["fit"] else "<span class=no>no</span>"
        why = "; ".join(verdict["reasons"] or [r for r in verdict["remarks"] if r not in common]) or MISSING
        seconds = f"{flight['usable'] * PERIOD:.0f} s" if "usable" in flight else MISSING
        rows.append(row(heads, _name(flight["log"]), badge, seconds, escape(why)))
    said = "".join(f" Of all: {remark}." for remark in sorted(common))
    return section("Can I learn from these?", f"One verdict per flight.{said}", plain_table(heads, rows, "text tight"))


def _holes(report: Mapping[str, Any]) -> str:
    holes = report["what_to_fly"][:MOST_HOLES]
    heads = ("What to fly", "What there is so far", "Weight")
    rows = [row(heads, escape(h["fly"]), escape(h["found"]), number(h["weight"])) for h in holes]
    table = plain_table(heads, rows, "text tight") if rows else "<p>No hole was found.</p>"
    more = len(report["what_to_fly"]) - len(holes)
    tail = f"<p class=explanation>{more} smaller holes are in the JSON.</p>" if more > 0 else ""
    return section(
        "What to fly next", "Worst hole first: what is missing, weighted by the ground effect left there.", table + tail
    )


def _coverage(report: Mapping[str, Any], page: Page) -> str:
    bands = report["height_bands"]
    heads = ("Height", "Time (s)", "Climb (m/s)", "Lateral (m/s)", "Tilt (deg)", "Thrust / weight", "Excitation (%)")
    rows = []
    for b in bands:
        cells = [
            _spread(b[f"{key}_5_50_95_%"], digits)
            for key, digits in (("climb_m_s", 2), ("lateral_speed_m_s", 2), ("tilt_deg", 1), ("thrust_to_weight", 2))
        ]
        share = b["thrust_excitation"]
        excitation = MISSING if share is None else f"{100 * share:.1f}"
        rows.append(row(heads, band(b), number(b["seconds"]), *cells, excitation))
    return section(
        "What is covered",
        "Usable samples by height of the landing gear; in the table the 5, 50 and 95 % quantiles. Below "
        f"{report['lowest_learnable_height_m']:.3g} m samples count as contact and cannot be learned from.",
        page.place(figures.time_by_height(bands))
        + page.place(figures.excitation_by_height(bands))
        + plain_table(heads, rows, "numbers tight"),
    )


def _thrust(report: Mapping[str, Any], page: Page) -> str:
    lag, scale, weight = report["lag"], report["thrust_scale"], report["weight_N"]
    heads = ("Quantity", "Value", "Meaning")
    rows = []
    if lag["total_lag_s"] is not None:
        rows.append(
            row(
                heads,
                "Lag of the thrust",
                f"{1e3 * lag['total_lag_s']:.0f} ± {1e3 * lag['total_lag_se_s']:.0f} ms",
                f"From {escape(lag['rotor_signal'])} to thrust, {lag['flights']} flights, {lag['by_reference']} by "
                f"their reference; the profile has {1e3 * lag['profile_time_constant_s']:.0f} ms from the command.",
            )
        )
        damping, error = (100 * lag[k] / weight for k in ("damping_N_s_m", "damping_se_N_s_m"))
        meaning = "Thrust lost per metre per second of climb, in % of the weight"
        rows.append(row(heads, "Damping", f"{damping:.1f} ± {error:.1f} %", meaning))
    else:
        rows.append(row(heads, "Lag of the thrust", "not identifiable", "No flight moves its thrust enough."))
    if scale is not None:
        spread = scale["thrust_scale_between_flights_sd"]
        rows += [
            row(heads, "Thrust scale", f"{scale['thrust_scale']:.3f} ± {scale['thrust_scale_se']:.3f}",
                f"From motion; between flights it spreads by {spread:.3f}."),
            row(heads, "Hover ratio", f"{scale['hover_ratio']:.3f}", "Weight carried over nominal thrust"),
        ]  # fmt: skip
        between = scale.get("between_flights")
        if between:
            slope, error = (100 * between[k] / weight for k in ("battery_slope_N_V", "battery_slope_se_N_V"))
            meaning = "Change of the bias with battery voltage between flights, in % of the weight"
            rows.append(row(heads, "Battery slope", f"{slope:.1f} ± {error:.1f} %/V", meaning))
    drawn = [
        figures.lags(report["flights"], lag["profile_time_constant_s"]),
        figures.bias_by_battery(report["flights"], weight),
    ]
    body = plain_table(heads, rows, "text tight") + "".join(
        page.place(figure) for figure in drawn if figure is not None
    )
    return section(
        "Thrust: lag, scale, battery",
        "Identified from the flights themselves, out of ground effect; ± is one standard error, bars are 95 %. Grey: "
        "no reference moved thrust enough, and the controller's feedback may have biased that lag.",
        body,
    )


def _flight_figures(report: Mapping[str, Any]) -> str:
    weight = report["weight_N"]
    heads = (
        "Flight", "Battery (V)", "Bias (% of weight)", "Noise (% of weight)", "Lag (ms)", "Hover ratio",
        "Tilt error (deg)", "Hang (mm)",
    )  # fmt: skip
    rows = []
    for f in report["flights"]:
        if f["refused"]:
            continue
        battery = f["battery_V"]
        lag, scale, tilt = f["lag"], f["thrust_scale"], f["accelerometer"].get("error_as_tilt_deg")
        rows.append(
            row(
                heads,
                _name(f["log"]),
                MISSING if battery is None else f"{battery['min']:.2f}–{battery['max']:.2f}",
                _percent(f["bias_fa_z_N"], weight),
                _percent(f["label_noise_N"], weight),
                f"{1e3 * lag['total_lag_s']:.0f}" if lag["identified"] else "not identifiable",
                MISSING if scale is None else f"{scale['hover_ratio']:.3f}",
                number(tilt),
                MISSING if f["hang_above_reference_m"] is None else f"{1e3 * f['hang_above_reference_m']:.0f}",
            )
        )
    return section(
        "Flight by flight",
        "Bias: mean f_a,z out of ground effect. Noise: label above 5 Hz. Tilt error: accelerometer and attitude held "
        "against the change of velocity; it shows as a lateral force and is none. Hang: mean height above the "
        "reference.",
        plain_table(heads, rows, "numbers tight"),
    )


def _events(report: Mapping[str, Any]) -> str:
    heads = ("Flight", "Outliers", "Largest", "Contact", "Left out")
    rows = []
    for f in report["flights"]:
        if f["refused"]:
            continue
        out, touch = f["outliers"], f["contact"]
        worst = out["worst"][0] if out["worst"] else None
        largest = MISSING
        if worst is not None:
            size = 100 * worst["largest_deviation_N"] / report["weight_N"]
            largest = f"{size:+.0f} % of weight at {worst['from_s']:.2f} s, {worst['height_m']:.2f} m"
        contact = "none"
        if touch["samples"]:
            contact = f"{touch['samples']} samples in {touch['events']} events, down to "
            contact += f"{touch['lowest_centre_height_m']:.3f} m"
        left = ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in f["exclusions"].items() if count)
        rows.append(row(heads, _name(f["log"]), str(out["samples"]), largest, contact, escape(left) or "nothing"))
    return section(
        "Outliers and contact",
        "Samples whose label is no aerodynamics, those that may touch the ground with turning rotors (height of the "
        "centre of mass), and what is left out of training.",
        plain_table(heads, rows, "text tight"),
    )


def _name(log: str) -> str:
    """Name of a log that may break after its underscores."""
    return escape(log).replace("_", "_<wbr>")


def _spread(quantiles: list[float] | None, digits: int) -> str:
    return MISSING if quantiles is None else " · ".join(f"{np.round(q, digits) + 0.0:.{digits}f}" for q in quantiles)


def _percent(value: float | None, weight: float) -> str:
    return MISSING if value is None else f"{100 * value / weight:.1f}"
