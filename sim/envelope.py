"""The envelope of a bundle's closed loop: measured on landings, held against others, plotted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from neural_lander.bundle import load_bundle
from neural_lander.certificate.check_tracking import asked_sha256, envelopes
from neural_lander.certificate.meaning import explained, tracking_lines
from neural_lander.certificate.tracking import LoopFlight, measure_tracking, values_of, verify_tracking
from neural_lander.control.tracking import DEFAULT_NATURAL_FREQUENCY, DEFAULT_TRIM_RATE, TrackingGains
from neural_lander.pages.certificate_page import certificate_sections
from neural_lander.pages.html_page import Page, section
from neural_lander.vehicle import Vehicle
from sim.aerodynamics import AerodynamicEffect
from sim.comparison.pool import Stage
from sim.descents import CALIBRATION_STREAM, VERIFICATION_STREAM, fly_descents
from sim.plant import Copy, Plant
from sim.rigid_body import TIME_STEP

CASES = (("neural-lander-trim", DEFAULT_TRIM_RATE, "with trim"), ("neural-lander", 0.0, "without trim"))
SCENARIOS = ("land-1d", "land-3d")
THINNED = 4  # steps to a point of the plot
DRAWN = 60  # flights in the plot, the worst among them


@dataclass(frozen=True)
class Envelope:
    """One choice of gains: what the certificate says, and the flights it was held against."""

    label: str
    tracking: dict[str, Any]
    flights: list[LoopFlight]


def measure_envelope(
    bundle: Path,
    effects: Sequence[AerodynamicEffect],
    *,
    airframe: int,
    landings: int,
    verify: int,
    seed: int,
    workers: int,
    stage: Stage,
    world: str = "pybullet",
) -> list[Envelope]:
    """Calibrate on ``landings`` flights and hold ``verify`` others against the result, with trim and without.

    Calibration, verification and tests of ``compare`` draw from streams of seeds of their own.
    """
    loaded = load_bundle(bundle)
    copy = Copy(Plant(loaded.vehicle, tuple(effects)).with_airframe(airframe), loaded.learned)
    where = f"simulated landings, {' and '.join(SCENARIOS)}, airframe {airframe}, seed {seed}, {world} world"
    asked, found = asked_sha256(loaded.certificate, loaded.info["domain"]), []
    for name, Gamma, label in CASES:
        gains = TrackingGains.critically_damped(loaded.vehicle, DEFAULT_NATURAL_FREQUENCY, Gamma)

        def fly(count: int, stream: int, what: str, name: str = name) -> list[LoopFlight]:
            return fly_descents(
                copy,
                loaded.domain,
                name,
                SCENARIOS,
                flights=count,
                seed=seed,
                stream=stream,
                workers=workers,
                progress=lambda done, of: stage(what, done, of),
                world_name=world,
            )

        calibration = fly(landings, CALIBRATION_STREAM, f"closed loop {label}")
        tracking = measure_tracking(calibration, gains, loaded.vehicle, TIME_STEP, where, asked)
        others = fly(verify, VERIFICATION_STREAM, f"other landings {label}") if verify else []
        if others:
            tracking = verify_tracking(others, tracking, loaded.vehicle)
        found.append(Envelope(label, tracking, others or calibration))
    return found


def write_envelope_page(
    envelopes: Sequence[Envelope], certificate: Mapping[str, Any], vehicle: Vehicle, path: Path
) -> None:
    """The certificate on a page, each number explained; with envelope and |s| of flights where they were flown."""
    page = Page()
    factor = certificate["entries"]["contraction_factor"]["value"]
    converges = "converges" if certificate["contracts"] else "is NOT shown to converge"
    headline = [
        *(line for tracking in certificate["tracking"] for line in tracking_lines(tracking)),
        f"The thrust iteration {converges}: each pass leaves at most {factor:.2f} of its error, proved from the "
        "weights.",
    ]
    sections = [_section(e, vehicle, page) for e in envelopes]
    page.write(
        path,
        f"Certificate: {vehicle.name}",
        "What is proved, what was measured, what is assumed",
        headline,
        [*sections, *certificate_sections(explained(certificate))],
    )


def _section(e: Envelope, vehicle: Vehicle, page: Page) -> str:
    explanation = (
        "The composite error |s| of flights that the envelope was not measured on, from the first step of the descent "
        "to contact. It begins with the reference's own jump to descent speed; the envelope is that of the largest "
        "start."
    )
    body = page.place(envelope_figure(e, vehicle), "tall")
    assumed = "".join(f"<li>{escape(text)}</li>" for text in e.tracking["assumed"])
    return section(
        f"{e.label.capitalize()}: envelope and flights", explanation, f"{body}<p>Assumed:</p><ul>{assumed}</ul>"
    )


def envelope_figure(e: Envelope, vehicle: Vehicle) -> dict[str, Any]:
    """|s| over time of the flights, the worst of them strong, under the envelope."""
    sizes = [np.linalg.norm(f.s, axis=1) for f in e.flights]
    order = np.argsort([-size.max() for size in sizes])
    shown = [*order[: DRAWN // 4], *order[DRAWN // 4 :: max(1, len(order) // DRAWN)]]
    steps = max(len(size) for size in sizes)
    t = TIME_STEP * np.arange(0, steps, THINNED)

    def line(values: np.ndarray, name: str, **style: Any) -> dict[str, Any]:
        y = values[::THINNED]
        return {"x": t[: len(y)].round(3).tolist(), "y": y.round(4).tolist(), "name": name, "mode": "lines", **style}

    faint = {"color": "--muted", "width": 0.6}
    lines = [line(sizes[k], "flights", line=faint, opacity=0.5, showlegend=bool(k == shown[-1])) for k in shown]
    lines.append(line(sizes[order[0]], "worst flight", line={"color": "--bad", "width": 2}))
    start = {name: max(f.start[name] for f in e.flights) for name in e.flights[0].start}
    bound = envelopes(values_of(e.tracking), vehicle.mass, steps, start)["s"][:steps]
    lines.append(line(bound, "envelope", line={"color": "--ink", "width": 2.5}))
    layout = {
        "xaxis": {"title": {"text": "time since the reference began to move, s"}},
        "yaxis": {"title": {"text": "|s|, m/s"}, "rangemode": "tozero"},
    }
    return {"data": lines, "layout": layout}
