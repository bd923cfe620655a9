"""The report: what it says, what it leaves out, and how it looks to a real browser."""

import copy
import json
import re
import subprocess
import sys
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from browser import CHROMIUM, seen_by_browser
from report_results import results
from rich.console import Console

from neural_lander.errors import UserError
from neural_lander.pages.html_page import number
from sim.report.details import robustness_table
from sim.report.figures import MAX_POINTS, colours, coverage, landings, thin
from sim.report.page import write_report
from sim.report.replay_view import replay
from sim.report.tables import headline, losses, terminal_tables, warnings


def page(tmp_path: Path, given: dict[str, Any]) -> str:
    write_report(given, tmp_path / "report.html")
    return (tmp_path / "report.html").read_text("utf-8")


def without_plotly(html: str) -> str:
    """The page apart from the inlined library."""
    scripts = re.findall(r"<script>.*?</script>", html, re.S)
    return html.replace(max(scripts, key=len), "")


OPTIONAL = {
    "tuned": "Tuned",
    "robustness": "Robustness",
    "hang": "Why PD hangs",
    "requirements": "Requirements",
    "plants": "Other plants",
    "learned_curve": "What was learned",
    "thrust_slope": "Learned slope in thrust",
    "coverage": "Where the data is",
    "gain_sweep": "How much the gains matter",
    "certificate": "Certificate: the network",
    "settings": "Settings",
}


def test_every_part_has_its_section(tmp_path: Path) -> None:
    headings = re.findall(r"<h2>(.*?)</h2>", page(tmp_path, results()))
    assert headings == ["Landing, vertical", "Landing from the side", *OPTIONAL.values()]


@pytest.mark.parametrize("part", OPTIONAL)
def test_a_part_that_is_missing_is_left_out(part: str, tmp_path: Path) -> None:
    given = results()
    del given[part]
    headings = re.findall(r"<h2>(.*?)</h2>", page(tmp_path, given))
    assert headings == ["Landing, vertical", "Landing from the side", *(h for p, h in OPTIONAL.items() if p != part)]


def test_the_page_asks_nothing_of_the_network(tmp_path: Path) -> None:
    html = page(tmp_path, results())
    assert html.count("plotly.js v") == 1
    assert not re.findall(r"(?:src|href|url)\s*[=(]\s*[\"']?(?!data:)[a-z/]", without_plotly(html))


def test_text_from_outside_cannot_become_markup(tmp_path: Path) -> None:
    given = results()
    given["vehicle"] = "<script>alert(1)</script>"
    given["scenarios"]["land-1d"]["controllers"]["pd"]["label"] = "</script><b>PD"
    html = without_plotly(page(tmp_path, given))
    assert "<script>alert" not in html
    assert "</script><b>" not in html
    assert "&lt;script&gt;alert(1)" in html


def test_results_of_another_schema_are_refused_and_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="schema 2; this program reads 1"):
        write_report({**results(), "schema": 2}, tmp_path / "report.html")
    assert list(tmp_path.iterdir()) == []


def test_the_headline_says_what_was_gained_and_what_was_lost() -> None:
    sentences = " ".join(headline(results()))
    assert "Neural-Lander against PD: final error 0.400 instead of 54.3 mm, touchdowns 20/20 instead" in sentences
    assert "lateness 0.020 instead of 1.93 s" in sentences
    assert "drift of Neural-Lander with trim, landing from the side (34.0 against 20.0 mm of PD, and 2" in sentences
    assert sentences.endswith("Requirements met: 1 of 2; missed: Drift at most 34 % of PD's.")


def test_intervals_that_overlap_are_no_loss() -> None:
    """Neural-Lander's drift median of 2.1 mm is above PD's 2.0, but 1.89 to 2.31 overlaps 1.80 to 2.20."""
    assert not [loss for loss in losses(results()) if "of Neural-Lander," in loss]
    given = copy.deepcopy(results())
    given["scenarios"]["land-1d"]["controllers"]["neural-lander"]["metrics"]["drift_m"]["ci95"] = [0.00221, 0.0023]
    assert [loss for loss in losses(given) if loss.startswith("drift of Neural-Lander, landing, vertical")]


def test_the_terminal_shows_medians_intervals_and_touchdowns() -> None:
    out = StringIO()
    Console(file=out, width=140).print(*terminal_tables(results()))
    text = out.getvalue()
    assert re.search(r"PD with trim .* 5\.10 .* 1\.93 .* 20/20", text)
    assert "[51.6, 57.0]" in text
    assert re.search(r"│ PD  .* – .* 0/20", text)


@pytest.mark.parametrize(
    "value, text",
    [(54.321, "54.3"), (0.0004, "0"), (0.0213, "0.021"), (0.2134, "0.213"), (1234.5, "1234"), (0, "0"), (-2.5, "-2.50"),
     (None, "–"), (float("nan"), "–")],
)  # fmt: skip
def test_numbers_have_three_digits_and_no_exponent(value: float | None, text: str) -> None:
    assert number(value) == text


def test_a_small_quantity_of_the_certificate_is_not_shown_as_zero(tmp_path: Path) -> None:
    given = results()
    given["certificate"]["entries"][0]["value"] = 0.00034567
    assert "0.0003457 N/N" in page(tmp_path, given)


def test_lengths_that_were_asked_for_are_in_millimetres_on_one_line(tmp_path: Path) -> None:
    given = results()
    given["requirements"] = [{"name": "drift", "value": 0.0001815, "bound": 0.003, "unit": "m", "met": True}]
    html = page(tmp_path, given)
    assert "0.1815&nbsp;mm" in html and "3&nbsp;mm" in html


def test_traces_are_thinned_to_what_a_screen_shows_ends_included() -> None:
    few = thin([float(k) for k in range(10_001)])
    assert len(few) == MAX_POINTS
    assert (few[0], few[-1]) == (0.0, 10_000.0)
    assert thin([1.0, None, 1 / 3]) == [1.0, None, 0.33333]


def test_height_error_is_height_minus_reference_in_millimetres() -> None:
    trace = {"seed": 0, "t": [0, 1], "height_m": [1.05, 0.5], "height_ref_m": [1.0, 0.52]}
    scenario = {"controllers": {"pd": {"label": "PD", "metrics": {}, "traces": [trace]}}}
    figure = landings(scenario, {"pd": "#000"})
    assert figure is not None
    error = next(line for line in figure["data"] if line.get("yaxis") == "y2")
    assert error["y"] == pytest.approx([50, -20])


def test_controllers_keep_their_colour_trim_is_dashed_and_the_oracle_is_drawn_as_text() -> None:
    given = results()
    colour = colours(given)
    assert colour["oracle"] == "--ink"
    assert colour["pd"] == colour["pd-trim"]
    assert len({colour[key] for key in ("pd", "pd-cb", "neural-lander", "oracle")}) == 4
    figure = landings(given["scenarios"]["land-1d"], colour)
    assert figure is not None
    dashes = {line["name"]: line["line"]["dash"] for line in figure["data"]}
    assert dashes["PD"] == "solid"
    assert dashes["PD with trim"] == "dash"


def test_lateness_without_a_touchdown_is_shown_as_a_lower_bound() -> None:
    given = results()
    given["scenarios"]["land-1d"]["controllers"]["pd"]["metrics"]["lateness_s"] = {"median": 5.0, "ci95": [5.0, 5.0]}
    out = StringIO()
    Console(file=out, width=140).print(*terminal_tables(given))
    assert re.search(r"│ PD  .* > 5\.00 .* 0/20", out.getvalue())


@pytest.mark.slow
def test_a_flight_that_tipped_over_is_not_kept_quiet(tmp_path: Path) -> None:
    given = results()
    given["scenarios"]["land-3d"]["controllers"]["neural-lander"]["tipped_over_count"] = 1
    assert "1 tipped over" in page(tmp_path, given)


def test_the_time_asked_for_is_drawn_where_it_is() -> None:
    figure = coverage({"height_edges_m": [0, 0.05, 0.1], "seconds": [22, 31], "required_seconds": 20})
    assert figure["data"][0]["x"] == ["0.00–0.05", "0.05–0.10"]
    assert figure["layout"]["shapes"][0]["y0"] == 20


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
@pytest.mark.parametrize("width", [*(pytest.param(w, marks=pytest.mark.slow) for w in (1200, 1000, 800)), 360])
def test_a_browser_draws_every_figure_without_error_or_overflow(width: int, tmp_path: Path) -> None:
    html = page(tmp_path, results())
    seen = seen_by_browser(html, width, tmp_path)
    assert seen["faults"] == []
    assert seen["fetched"] == []
    assert seen["width"] <= seen["room"] and seen["wider"] == 0
    figures = len(re.findall(r'<div class="figure', html))
    assert figures == 7
    assert seen["painted"] == 4  # two replays of two panes
    assert seen["plots"] >= figures
    assert seen["lines"] > 30


TRIED = """(() => {
  const place = document.querySelector(".replay"), [left, right] = place.querySelectorAll(".pane p");
  const scrub = place.querySelector("input[type=range]"), play = place.querySelector("button");
  const words = () => [left.textContent, right.textContent];
  scrub.value = 1; scrub.oninput();
  const early = words();
  scrub.value = 8; scrub.oninput();
  const late = words();
  play.onclick();
  return { early, late, playing: play.textContent, clock: place.querySelector("output").textContent };
})()"""


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_a_replay_shows_both_flights_at_the_same_time(tmp_path: Path) -> None:
    """PD hangs 54 mm up where Neural-Lander is down; both follow the same clock."""
    tried = seen_by_browser(page(tmp_path, results()), 1200, tmp_path, TRIED)["tried"]
    assert tried["clock"] == "8.00 s" and tried["playing"] == "Pause"
    for text in tried["early"]:
        assert "reference 700 mm" in text
    pd, ours = (int(re.search(r"gear (-?\d+) mm", text)[1]) for text in tried["late"])
    assert pd == pytest.approx(54, abs=3) and ours <= 3


def test_a_replay_needs_two_flights() -> None:
    given = results()["scenarios"]["land-1d"]
    colour = dict.fromkeys(given["controllers"], "#000")
    found = replay(given, results()["geometry"], colour)
    assert found is not None and (found["left"], found["right"]) == ("pd", "neural-lander")
    assert found["begin"] == pytest.approx(1 / 0.3 + 1.0, abs=0.05)
    given["controllers"] = {"pd": given["controllers"]["pd"]}
    assert replay(given, results()["geometry"], colour) is None


def test_the_best_of_a_column_is_marked_and_so_is_who_cannot_be_told_from_it(tmp_path: Path) -> None:
    given = results()
    best = given["scenarios"]["land-3d"]["best"]
    assert best["drift_m"] == {"best": "pd-trim", "ties": ["neural-lander"]}  # plain PD hangs and takes no part
    assert best["arrival_error_m"]["best"] == "neural-lander-trim"
    html = page(tmp_path, given)
    assert '<td class="best" data-label="Drift (mm)">' in html and '<td class="tie" data-label="Drift (mm)">' in html


def test_flights_without_a_result_are_told_first(tmp_path: Path) -> None:
    given = results()
    failure = {"seed": 77, "index": 3, "reason": "effect 'Mine' returned nan"}
    given["scenarios"]["land-1d"]["controllers"]["pd"]["failures"] = [failure]
    said = " ".join(headline(given))
    assert "1 flights have no result: they are in no figure and count as no success; the first: PD, seed 77" in said
    assert "1 without a result" in page(tmp_path, given)


def test_the_picture_of_the_readme_is_drawn_from_results(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text(json.dumps(results()), "utf-8")
    script = Path(__file__).parent.parent / "docs" / "landing.py"
    drawn = [sys.executable, script, tmp_path / "results.json", tmp_path / "landing.svg"]
    subprocess.run(drawn, check=True, timeout=60)
    assert "<svg" in (tmp_path / "landing.svg").read_text("utf-8")


def test_flights_without_a_result_are_said_first_with_the_reason_of_one() -> None:
    failure = {"seed": 7, "index": 0, "reason": "it failed in update: division by zero"}
    lost = {"label": "Law", "n": 2, "failures": [failure, {**failure, "seed": 9}]}
    results = {"scenarios": {"land-1d": {"controllers": {"pd": {"label": "PD", "n": 4, "failures": []}, "mine": lost}}}}
    assert warnings(results) == [
        "Law, land-1d: 2 of 4 flights without a result. Seed 7: it failed in update: division by zero"
    ]


def test_a_users_law_with_oracle_in_its_name_counts_among_the_robust() -> None:
    def flown(label: str, count: int) -> dict[str, Any]:
        rate = count / 20
        return {"label": label, "success": {"count": count, "n": 20, "rate": rate, "ci95": [rate, rate]}}

    controllers = {"pd": flown("PD", 3), "my_oracles:Law": flown("Mine", 20), "oracle-trim": flown("Oracle", 20)}
    table = robustness_table({"plants": [{"name": "thrust -15 %", "controllers": controllers}]})
    assert table.count("<b>20/20</b>") == 1 and "<b>3/20</b>" not in table
