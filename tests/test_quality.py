"""The quality report: verdicts, odd flights, outliers, contact, the page and the verb."""

import json
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import CHROMIUM, seen_by_browser
from closed_loop_flight import closed_loop_flight
from learning_flights import flight

from neural_lander.cli.main import main
from neural_lander.cli.output import to_json
from neural_lander.errors import UserError
from neural_lander.flightlog import FlightLog, read_logs, write_mcap
from neural_lander.pages.quality_page import write_quality_page
from neural_lander.residual.quality.flight_quality import contact, outliers
from neural_lander.residual.quality.log_set import quality_report
from neural_lander.residual.samples import residual_samples
from neural_lander.vehicle import load_vehicle

VEHICLE = load_vehicle("intel-aero")
DATA = Path(__file__).parents[2] / "shared/data/crazyflie_near_ground"


SCALES = (1.0, 1.0, 1.0, 1.0, 1.08, 0.9)


def changed(log: FlightLog, **fields: object) -> FlightLog:
    columns = {name: getattr(log, name) for name in log.__dataclass_fields__ if name != "warnings"}
    return FlightLog.from_arrays(**(columns | fields))


@pytest.fixture(scope="module")
def logs() -> Sequence[FlightLog]:
    return [flight(VEHICLE, 30.0, seed=k, top=2.5, low_share=0.5) for k in range(6)]


@pytest.fixture(scope="module")
def report(logs: Sequence[FlightLog]) -> dict[str, Any]:
    wrong = changed(logs[0], velocity=1000 * logs[0].velocity, metadata={"source": "wrong-units"})
    strong = np.sqrt(1.06) * np.asarray(logs[1].rotor_speed)
    odd = changed(logs[1], rotor_speed=strong, metadata={"source": "odd"})
    made: dict[str, Any] = to_json(quality_report([*logs, odd, wrong], VEHICLE))
    return made


@pytest.mark.slow
def test_every_flight_has_a_verdict_and_a_refused_one_its_reason(report: dict[str, Any]) -> None:
    verdicts = {f["log"]: f["fit_for_learning"] for f in report["flights"]}
    assert [verdicts[f"synthetic-{k}"]["fit"] for k in range(6)] == [True] * 6
    assert not verdicts["wrong-units"]["fit"]
    assert any("mm/s" in reason for reason in verdicts["wrong-units"]["reasons"])
    assert report["flights_fit"] == 7
    assert report["summary"][0].startswith("7 of 8 flights can be learned from")
    assert "wrong-units" not in report["coverage_counts"]


def test_the_report_is_json_without_holes_for_not_a_number(report: dict[str, Any]) -> None:
    assert json.loads(json.dumps(report, allow_nan=False)) == report


def test_a_flight_unlike_the_others_is_named_with_what_is_different(report: dict[str, Any]) -> None:
    assert [odd["log"] for odd in report["unlike_the_others"]] == ["odd"]
    differences = " ".join(report["unlike_the_others"][0]["differences"])
    assert "weight over nominal thrust in hover" in differences
    assert "mean f_a,z out of ground effect" in differences


def test_three_flights_are_enough_to_tell_one_whose_thrust_is_wrong_by_a_fifth(logs: Sequence[FlightLog]) -> None:
    wrong = changed(logs[2], rotor_speed=np.sqrt(1.2) * np.asarray(logs[2].rotor_speed), metadata={"source": "strong"})
    odd = quality_report([logs[0], logs[1], wrong], VEHICLE)["unlike_the_others"]
    assert [entry["log"] for entry in odd] == ["strong"]
    assert "mean f_a,z out of ground effect" in odd[0]["differences"][0]


@pytest.mark.slow
def test_flights_that_are_all_alike_have_no_odd_one_and_unnamed_ones_stay_apart(logs: Sequence[FlightLog]) -> None:
    hardly = np.sqrt(1.002) * np.asarray(logs[0].rotor_speed)
    alike = [changed(logs[0], metadata={}) for _ in range(5)] + [changed(logs[0], rotor_speed=hardly, metadata={})]
    assert quality_report(alike, VEHICLE)["unlike_the_others"] == []
    strong = [
        changed(log, rotor_speed=np.sqrt(s) * np.asarray(log.rotor_speed)) for log, s in zip(alike, SCALES, strict=True)
    ]
    assert len(quality_report(strong, VEHICLE)["unlike_the_others"]) == 2


def test_the_curve_over_height_is_the_ground_effect_that_acted(report: dict[str, Any]) -> None:
    curve = report["ground_effect"]
    middle = np.convolve(curve["height_edges_m"], [0.5, 0.5], "valid")
    known = [(h, f) for h, f in zip(middle, curve["mean_N"], strict=True) if f is not None]
    truth = [0.19 * np.exp(-h / 0.115) * VEHICLE.weight / (1 + 0.19 * np.exp(-h / 0.115)) for h, _ in known]
    np.testing.assert_allclose([f for _, f in known], truth, atol=0.02 * VEHICLE.weight)


def test_no_readable_flight_still_gives_a_report_and_a_page(logs: Sequence[FlightLog], tmp_path: Path) -> None:
    wrong = changed(logs[0], velocity=1000 * logs[0].velocity)
    report = to_json(quality_report([wrong], VEHICLE))
    assert report["summary"] == ["No flight of 1 can be learned from."]
    write_quality_page(report, tmp_path / "page.html")
    assert "mm/s" in (tmp_path / "page.html").read_text("utf-8")


@pytest.mark.slow
def test_the_lag_of_a_set_is_reported_beside_the_profiles() -> None:
    report = quality_report([closed_loop_flight(VEHICLE, seconds=40.0, seed=k) for k in range(3)], VEHICLE)
    assert report["lag"]["total_lag_s"] == pytest.approx(0.09, abs=0.015)  # 60 + 20 ms, and 10 of the held command
    assert report["lag"]["by_reference"] == 3
    assert any("lags its command by" in s and "the profile has 30 ms" in s for s in report["summary"])
    assert "motor_time_constant = { value = 0.0" in report["profile_snippet"]


def test_outliers_are_found_with_their_times_and_sizes() -> None:
    log = flight(VEHICLE, 30.0, low_share=0.0)
    force = np.array(log.specific_force)
    force[1000:1003, 2] += 4.0  # m/s^2, less than any fixed bound
    force[2000:2004, 2] -= 20.0
    samples = residual_samples(changed(log, specific_force=force), VEHICLE)
    found = outliers(samples, VEHICLE)
    assert found["events"] == 2
    assert [round(e["from_s"], 2) for e in found["worst"]] == [20.0, 10.0]
    assert [e["largest_deviation_N"] for e in found["worst"]] == pytest.approx([-29.4, 5.9], abs=1.0)
    assert outliers(residual_samples(log, VEHICLE), VEHICLE)["samples"] == 0


def test_contact_is_counted_in_events_with_the_lowest_height() -> None:
    log = flight(VEHICLE, 20.0, low_share=0.0)
    height = np.maximum(np.asarray(log.height), 0.1)
    height[400:430], height[900:980] = 0.002, 0.001
    touched = contact(residual_samples(changed(log, height=height), VEHICLE), VEHICLE)
    assert (touched["samples"], touched["events"]) == (110, 2)
    assert touched["longest_s"] == pytest.approx(0.8)
    assert touched["first_s"] == pytest.approx(4.0)


def test_the_page_has_its_parts_and_asks_nothing_of_the_network(report: dict[str, Any], tmp_path: Path) -> None:
    write_quality_page(report, tmp_path / "page.html")
    html = (tmp_path / "page.html").read_text("utf-8")
    headings = re.findall(r"<h2>(.*?)</h2>", html)
    assert headings == [
        "Can I learn from these?",
        "What to fly next",
        "Where a landing leaves the data",
        "What is covered",
        "What there is to learn",
        "Thrust: lag, scale, battery",
        "Flight by flight",
        "Outliers and contact",
        "For the vehicle profile, if you trust it",
    ]
    bare = html.replace(max(re.findall(r"<script>.*?</script>", html, re.S), key=len), "")
    assert not re.findall(r"(?:src|href|url)\s*[=(]\s*[\"']?(?!data:)[a-z/]", bare)


def test_a_name_from_outside_cannot_become_markup(logs: Sequence[FlightLog], tmp_path: Path) -> None:
    nasty = changed(logs[0], metadata={"source": "<img src=x>&.csv"})
    write_quality_page(to_json(quality_report([nasty], VEHICLE)), tmp_path / "page.html")
    html = re.sub(r"<script.*?</script>", "", (tmp_path / "page.html").read_text("utf-8"), flags=re.S)
    assert "<img src" not in html
    assert "&lt;img src=x&gt;&amp;.csv" in html


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
@pytest.mark.parametrize("width", [pytest.param(1200, marks=pytest.mark.slow), 390])
def test_a_browser_draws_every_figure_without_error_or_overflow(
    width: int, report: dict[str, Any], tmp_path: Path
) -> None:
    write_quality_page(report, tmp_path / "quality.html")
    html = (tmp_path / "quality.html").read_text("utf-8")
    seen = seen_by_browser(html, width, tmp_path)
    assert seen["faults"] == []
    assert seen["fetched"] == []
    assert seen["width"] <= seen["room"]
    assert seen["plots"] >= len(re.findall(r'<div class="figure', html)) >= 4
    assert seen["bars"] >= 15
    assert seen["lines"] >= 8


def test_the_verb_prints_one_json_object_and_writes_the_page(
    logs: Sequence[FlightLog], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_mcap(logs[0], tmp_path / "a.mcap")
    page = tmp_path / "page.html"
    line = ["logs", "quality", str(tmp_path / "a.mcap"), "--vehicle", "intel-aero"]
    assert main([*line, "--out", str(page), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["page"] == str(page)
    assert result["flights"][0]["fit_for_learning"]["fit"]
    assert page.stat().st_size > 1e6
    assert main([*line, "--snippet"]) == 0
    shown = capsys.readouterr().out
    assert "1 of 1 flights can be learned from" in shown
    identified = tomllib.loads(shown.partition("# identified, not applied")[2])
    assert "a wrong mass would show here" in identified["thrust_coefficient"]["source"]


def test_the_verb_says_where_a_page_cannot_be_written(
    logs: Sequence[FlightLog], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_mcap(logs[0], tmp_path / "a.mcap")
    line = [
        "logs",
        "quality",
        str(tmp_path / "a.mcap"),
        "--vehicle",
        "intel-aero",
        "--out",
        str(tmp_path / "no/x.html"),
    ]
    assert main(line) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_no_log_is_named() -> None:
    with pytest.raises(UserError, match="no flight logs given"):
        read_logs([])


@pytest.mark.slow
@pytest.mark.skipif(not DATA.is_dir(), reason="needs the real flights in ../shared/data/crazyflie_near_ground")
def test_the_session_of_2019_is_found_to_be_different() -> None:
    folder = DATA / "large_67g"
    logs = read_logs([folder / "random_walk", folder / "takeoff_landing"])
    chosen = [log for k, log in enumerate(logs) if k % 3 == 0 or "2019" in log.source]
    report = quality_report(chosen, load_vehicle("crazyflie-parrot"))
    odd = {entry["log"]: " ".join(entry["differences"]) for entry in report["unlike_the_others"]}
    both = [text for name, text in odd.items() if name.startswith("2019-12-20")]
    assert len(both) == 2
    assert all("label noise above 5 Hz" in text for text in both)
    assert 0.06 < report["lag"]["total_lag_s"] < 0.11
    assert all(
        f["accelerometer"]["share_of_lateral_bias_explained"] > 0.9 for f in report["flights"] if "2020" in f["log"]
    )
