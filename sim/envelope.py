"""The envelope of a bundle's closed loop: measured on landings, held against others, plotted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from neural_lander.bundle import load_bundle
from neural_lander.certificate.tracking import LoopFlight, envelope, measure_tracking, verify_tracking
from neural_lander.control.tracking import DEFAULT_NATURAL_FREQUENCY, DEFAULT_TRIM_RATE, TrackingGains
from neural_lander.pages.html_page import Page, number, plain_table, row, section
from neural_lander.vehicle import Vehicle
from sim.campaign import Copy
from sim.comparison import Stage
from sim.descents import CALIBRATION_STREAM, VERIFICATION_STREAM, fly_descents
from sim.plant import Plant, load_effects
from sim.study import learned_from
from sim.world import TIME_STEP

CASES = (("neural-lander-trim", DEFAULT_TRIM_RATE, "with trim"), ("neural-lander", 0.0, "without trim"))
SCENARIOS = ("land-1d", "land-3d")
DRAWN = 60  # flights in the plot, the worst among them


@dataclass(frozen=True)
class Envelope:
    """One choice of gains: what the certificate says, and the flights it was held against."""

    label: str
    tracking: dict[str, Any]
    flights: list[LoopFlight]


def measure_envelope(
    bundle: Path,
    effects: Sequence[str],
    airframe: int,
    landings: int,
    verify: int,
    seed: int,
    workers: int,
    stage: Stage,
) -> list[Envelope]:
    """Calibrate on ``landings`` flights and hold ``verify`` others against the result, with trim and without.

    Calibration, verification and tests of ``compare`` draw from streams of seeds of their own.
    """
    loaded = load_bundle(bundle)
    copy = Copy(Plant(loaded.vehicle, load_effects(effects)).with_airframe(airframe), learned_from(loaded))
    L_u = loaded.certificate["entries"]["lipschitz_rotor_thrust"]["value"]
    where = f"simulated landings, {' and '.join(SCENARIOS)}, airframe {airframe}, seed {seed}"
    found = []
    for name, Gamma, label in CASES:
        gains = TrackingGains.critically_damped(loaded.vehicle, DEFAULT_NATURAL_FREQUENCY, Gamma)

        def fly(count: int, stream: int, what: str, name: str = name) -> list[LoopFlight]:
            return fly_descents(
                copy, name, SCENARIOS, count, seed, stream, workers, lambda done, of: stage(what, done, of)
            )

        calibration = fly(landings, CALIBRATION_STREAM, f"closed loop {label}")
        tracking = measure_tracking(calibration, gains, loaded.vehicle, L_u, TIME_STEP, where)
        others = fly(verify, VERIFICATION_STREAM, f"other landings {label}") if verify else []
        if others:
            tracking["verified"] = verify_tracking(others, tracking, loaded.vehicle.mass, TIME_STEP)
        found.append(Envelope(label, tracking, others or calibration))
    return found


def write_envelope_page(envelopes: Sequence[Envelope], vehicle: Vehicle, path: Path) -> None:
    """Envelope and |s| of the flights, and each number with its meaning, on one page."""
    page = Page()
    first = envelopes[0].tracking
    headline = [
        f"{e.label.capitalize()}: at most {1e3 * e.tracking['numbers']['height_ball_m']:.0f} mm of height error in a "
        f"descent and {e.tracking['numbers']['vertical_speed_ball_m_s']:.2f} m/s off in vertical speed, while no "
        "disturbance is larger than those measured."
        for e in envelopes
    ]
    sections = (_section(e, vehicle, page) for e in envelopes)
    page.write(path, f"Closed loop: {vehicle.name}", str(first["measured_on"]["what"]), headline, sections)


def _section(e: Envelope, vehicle: Vehicle, page: Page) -> str:
    body = page.place(envelope_figure(e, vehicle), "tall") + _numbers(e.tracking)
    explanation = (
        "The composite error |s| of flights that the envelope was not measured on, from the moment at which the start "
        "of the descent has settled. The envelope begins at the largest start and decays to the ball."
    )
    return section(f"{e.label.capitalize()}: envelope and flights", explanation, body)


def envelope_figure(e: Envelope, vehicle: Vehicle) -> dict[str, Any]:
    """|s| over time of the flights, the worst of them strong, under the envelope."""
    sizes = [np.linalg.norm(f.s, axis=1) for f in e.flights]
    order = np.argsort([-size.max() for size in sizes])
    shown = [*order[: DRAWN // 4], *order[DRAWN // 4 :: max(1, len(order) // DRAWN)]]
    steps, settled = max(len(size) for size in sizes), e.tracking["measured_on"]["settled_s"]
    start = max(float(size[0]) for size in sizes)
    t = settled + TIME_STEP * np.arange(0, steps, 4)

    def line(values: np.ndarray, name: str, **style: Any) -> dict[str, Any]:
        y = values[::4]
        return {"x": t[: len(y)].round(3).tolist(), "y": y.round(4).tolist(), "name": name, "mode": "lines", **style}

    faint = {"color": "--muted", "width": 0.6}
    lines = [line(sizes[k], "flights", line=faint, opacity=0.5, showlegend=bool(k == shown[-1])) for k in shown]
    lines.append(line(sizes[order[0]], "worst flight", line={"color": "--bad", "width": 2}))
    bound = envelope(e.tracking, vehicle.mass, start, steps)
    lines.append(line(bound, "envelope", line={"color": "--ink", "width": 2.5}))
    layout = {
        "xaxis": {"title": {"text": "time since the reference began to move, s"}},
        "yaxis": {"title": {"text": "|s|, m/s"}, "rangemode": "tozero"},
    }
    return {"data": lines, "layout": layout}


def _numbers(tracking: dict[str, Any]) -> str:
    measured, numbers, on = tracking["measured"], tracking["numbers"], tracking["measured_on"]
    heads = ("number", "value", "unit", "status", "what it says")
    entries = [
        ("largest disturbance", measured["disturbance_N"], "N", "measured", f"in {on['flights']} flights; no bound"),
        ("its 99 % quantile", measured["disturbance_quantile_N"], "N", "measured", "exceeded for 1 % of that time"),
        ("input gap", measured["input_gap_N"], "N", "measured", "rotor thrusts asked for against those commanded"),
        ("decay rate", numbers["decay_rate_1_s"], "1/s", "proved", "of a wrong start, from the gains"),
        ("ball of |s|", numbers["s_ball_m_s"], "m/s", "follows", "where |s| ends while the disturbance is no larger"),
        ("height error", numbers["height_ball_m"], "m", "follows", "at most, in a descent"),
        ("vertical speed error", numbers["vertical_speed_ball_m_s"], "m/s", "follows", "at most, so at touchdown too"),
    ]
    if verified := tracking.get("verified"):
        share = 100 * verified["share_of_time_disturbance_exceeded"]
        entries += [
            ("flights outside", verified["violations"], "1", "measured", f"of {verified['flights']} others"),
            ("envelope over worst |s|", verified["envelope_over_worst_s"], "1", "measured", "room that is left"),
            ("larger disturbance", share, "% of time", "measured", "than the largest above, in the others"),
        ]
    rows = [row(heads, name, number(float(value)), unit, status, text) for name, value, unit, status, text in entries]
    assumed = "".join(f"<li>{text}</li>" for text in tracking["assumed"])
    return plain_table(heads, rows, "text") + f"<p>Assumed:</p><ul>{assumed}</ul>"
