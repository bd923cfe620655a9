"""The report of a comparison: results.json as one HTML page that needs nothing else, not even a network."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path
from typing import Any

from neural_lander.errors import UserError
from neural_lander.pages.certificate_page import certificate_sections, quantity
from neural_lander.pages.html_page import MISSING, Page, number, plain_table, row, section
from sim.comparison.compare import SCHEMA
from sim.report import figures
from sim.report.details import contribution_table, paired_table, robustness_table, tail_table
from sim.report.replay_view import replay
from sim.report.tables import headline, html_table, scenario_label


def write_report(results: Mapping[str, Any], path: Path) -> None:
    """Write the page; a part that the results do not hold is left out.

    Parameters
    ----------
    results
        Content of results.json: ``schema``, ``program``, ``vehicle``, ``created``, ``scenarios`` with medians and
        intervals per controller, and optionally ``plants``, ``hang``, ``learned_curve``, ``thrust_slope``,
        ``coverage``, ``gain_sweep``, ``certificate``, ``requirements``, ``settings``. JSON values only; null where
        there is no value.
    path
        The file, replaced as a whole.

    Raises
    ------
    UserError
        If the results are of another schema.
    """
    if results.get("schema") != SCHEMA:
        raise UserError(f"results have schema {results.get('schema')!r}; this program reads {SCHEMA}: write them anew")
    page = Page()
    title, subtitle = f"Landing report: {results['vehicle']}", f"{results['program']}, {results['created']}"
    page.write(path, title, subtitle, headline(results), _sections(results, page))


def _sections(results: Mapping[str, Any], page: Page) -> Iterator[str]:
    colour = figures.colours(results)
    scenarios = results.get("scenarios", {})
    if scenarios:
        yield f"<p class=explanation>{escape(READING)}</p>"
    for name, scenario in scenarios.items():
        yield _scenario(name, scenario, results, colour, page)
    if "tuned" in results:
        yield _tuned(results["tuned"])
    if "robustness" in results:
        yield _robustness(results["robustness"])
    if "hang" in results:
        yield _hang(results["hang"])
    if "requirements" in results:
        yield _requirements(results["requirements"])
    if results.get("plants"):
        yield _plants(results["plants"])
    yield from _learning(results, page)
    if "gain_sweep" in results:
        labels = {key: c["label"] for s in scenarios.values() for key, c in s["controllers"].items()}
        sweeps = "".join(page.place(f) for f in figures.gain_sweeps(results["gain_sweep"], colour, labels))
        yield section("How much the gains matter", "The same comparison at other gains, weak to strong.", sweeps)
    if "certificate" in results:
        yield from certificate_sections(results["certificate"]["entries"])
    if results.get("settings"):
        yield _settings(results["settings"])


def _scenario(
    name: str, scenario: Mapping[str, Any], results: Mapping[str, Any], colour: Mapping[str, str], page: Page
) -> str:
    controllers, body = scenario["controllers"], html_table(scenario)
    if scenario.get("contribution"):
        body += "<h3>What the network adds</h3>" + contribution_table(scenario["contribution"])
    pairs, tails = paired_table(controllers), tail_table(controllers)
    if pairs:
        baseline = next(c["paired_to"] for c in controllers.values() if c.get("paired"))
        title = f"Seed by seed against {controllers[baseline]['label']}: median differences"
        body += f"<details><summary>{escape(title)}</summary>{pairs}</details>"
    body += f"<details><summary>The worst 1 % of the flights: means</summary>{tails}</details>"
    figure = figures.landings(scenario, colour)
    if figure:
        body += page.place(figure, "tall")
    flights = replay(scenario, results["geometry"], colour) if "geometry" in results else None
    if flights is not None:
        body += "<h3>Side by side</h3>" + page.widget("replay", flights) + f"<p><small>{REPLAY}</small></p>"
    return section(scenario_label(name), scenario.get("definition", ""), body)


READING = (
    "Tables show medians over the seeds with their 95 % intervals. A star marks the best of a column, ≈ what cannot be "
    "told from it, because the intervals overlap; an oracle knows the plant and takes no part. In the plots the first "
    "seed is strong, the others are faint; those of landings open on the last part of the descent, and a double click "
    "shows all of it."
)
REPLAY = (
    "The first seed, flown in PyBullet. Dotted: the reference; the cross is where it is now. Grey arrow: thrust; red "
    "arrow: the residual force, four times as long. Drag to turn."
)


def _tuned(tuned: Mapping[str, Any]) -> str:
    body = "".join(f"<h3>{escape(scenario_label(n))}</h3>{html_table(s)}" for n, s in tuned["scenarios"].items())
    gains = dict.fromkeys(key for own in tuned["gains"].values() for key in own)
    heads = ("Controller", *gains)
    rows = [
        row(heads, escape(name), *(f"{own[key]:.4g}" if key in own else MISSING for key in gains))
        for name, own in tuned["gains"].items()
    ]
    body += f"<details><summary>Gains</summary>{plain_table(heads, rows)}</details>"
    return section(
        "Tuned",
        "Each controller with gains of its own, PD included: the same budget, on training seeds, frozen before these "
        "flights. Above, all fly with the same gains.",
        body,
    )


def _robustness(robustness: Mapping[str, Any]) -> str:
    return section(
        "Robustness",
        f"{scenario_label(robustness['scenario'])} in plants that are not what was learned: successes, that is "
        "touchdowns that last, slower than 1 m/s and without tipping over, with Wilson intervals of 95 %. Bold: the "
        "highest rate of a row.",
        robustness_table(robustness),
    )


def _learning(results: Mapping[str, Any], page: Page) -> Iterator[str]:
    if "learned_curve" in results:
        yield section(
            "What was learned",
            "Vertical residual force at hover thrust. The network saw only the labels computed from its flight logs, "
            "never the truth.",
            page.place(figures.learned_curve(results["learned_curve"])),
        )
    if "thrust_slope" in results:
        worst = results["thrust_slope"].get("max_abs_error")
        found = "" if worst is None else f" Largest error: {number(worst)}."
        yield section(
            "Learned slope in thrust",
            f"How the residual changes with thrust; a wrong slope changes the gain of the closed loop.{found}",
            page.place(figures.thrust_slope(results["thrust_slope"])),
        )
    if "coverage" in results:
        yield section(
            "Where the data is", "Time the collected flights spent in each band of height.",
            page.place(figures.coverage(results["coverage"])),
        )  # fmt: skip


def _hang(hang: Mapping[str, Any]) -> str:
    measured, closed_form = (_millimetres(hang.get(key)) for key in ("pd_measured_m", "pd_closed_form_m"))
    return section(
        "Why PD hangs",
        "The ground effect carries a part of the weight; PD stands still where k_p h = f_a,z(h).",
        f"<p>PD hangs at <b>{measured}</b>; the closed form gives <b>{closed_form}</b>.</p>",
    )


def _requirements(requirements: list[Mapping[str, Any]]) -> str:
    heads = ("Requirement", "Value", "Bound", "Met")
    rows = []
    for entry in sorted(requirements, key=lambda r: bool(r["met"])):
        badge = "<span class=yes>yes</span>" if entry["met"] else "<span class=no>no</span>"
        rows.append(
            row(
                heads,
                escape(entry["name"]),
                *(_asked(entry.get(key), entry.get("unit")) for key in ("value", "bound")),
                badge,
            )
        )
    table = plain_table(heads, rows, "text tight")
    return section("Requirements", "What was asked for beforehand; missed ones first.", table)


def _asked(value: float | None, unit: str | None) -> str:
    """A number and its unit on one line; lengths in mm, as in every table of the page."""
    if unit == "m" and value is not None:
        value, unit = 1e3 * value, "mm"
    return quantity(value, unit).replace(" ", "&nbsp;")


def _plants(plants: list[Mapping[str, Any]]) -> str:
    body = ""
    for plant in plants:
        scenarios = plant["scenarios"].items()
        tables = "".join(f"<h3>{escape(scenario_label(name))}</h3>{html_table(s)}" for name, s in scenarios)
        body += f"<details><summary>{escape(plant['name'])}</summary>{tables}</details>"
    return section("Other plants", "The same controllers where mass or thrust is not what the profile says.", body)


def _settings(settings: Mapping[str, Any]) -> str:
    heads = ("Setting", "Value")
    table = plain_table(heads, [row(heads, escape(key), escape(text)) for key, text in _flat(settings)], "text")
    body = f"<details><summary>Show</summary>{table}</details>"
    return section("Settings", "Everything needed to repeat this run.", body)


def _millimetres(value: float | None) -> str:
    return number(None) if value is None else f"{number(1e3 * value)} mm"


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value if isinstance(value, str) else json.dumps(value)
