"""The page on how a model does on flights: its numbers, its verdict, and what a browser makes of it."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import CHROMIUM, seen_by_browser
from learning_flights import flight
from rich.console import Console

from neural_lander.bundle import Bundle
from neural_lander.cli import main as cli
from neural_lander.cli.output import to_json
from neural_lander.cli.tables import error_table
from neural_lander.flightlog import write_mcap
from neural_lander.pages.fit_figures import flown_and_domain, force_by_height, slope_by_height
from neural_lander.pages.fit_page import write_fit_page
from neural_lander.pages.fit_summary import band_name, curve, error_bands, standard_error, verdict
from neural_lander.pages.fit_time_figures import MOST_POINTS, landing_window, over_time, reasons
from neural_lander.residual.analytic import CheesemanBennett
from neural_lander.residual.analytic_fit import fit_cheeseman_bennett
from neural_lander.residual.domain_fit import fit_domain
from neural_lander.residual.evaluation import Predictors, evaluate
from neural_lander.residual.judged import CAUSES, JudgedFlight, judge, outside_domain
from neural_lander.residual.model import ReluNetwork
from neural_lander.residual.samples import ResidualSamples, residual_samples
from neural_lander.residual.scoring import GRAM, scoring_rule
from neural_lander.residual.trim import TRIMS, trim_height
from neural_lander.vehicle import load_vehicle

VEHICLE = load_vehicle("intel-aero")
RULE, ABOVE = scoring_rule(VEHICLE), trim_height(VEHICLE)
EVIDENCE = {"slope": -0.4, "standard_error": 0.1, "identified": False, "reason": "a reason"}


def ground_effect(gain: float) -> ReluNetwork:
    """f_a,z that falls from ``gain`` N at the ground to nothing at 0.3 m, as a ReLU network over (zeta, T_1..T_4)."""
    first = np.zeros((1, 12), dtype=np.float32)
    first[0, 0] = -1.0
    last = np.array([[0.0], [0.0], [gain / 0.3]], dtype=np.float32)
    big = np.full(8, 1e3, dtype=np.float32)
    return ReluNetwork((first, last), (np.full(1, 0.3, np.float32), np.zeros(3, np.float32)), "paper", -big, big)


@pytest.fixture(scope="module")
def walks() -> list[ResidualSamples]:
    return [residual_samples(flight(VEHICLE, 40.0, seed=k, top=1.5), VEHICLE) for k in (0, 1)]


@pytest.fixture(scope="module")
def landing() -> ResidualSamples:
    """It flies between two seconds on the ground with the motors off."""
    log = flight(VEHICLE, 20.0, seed=2)
    on_ground = (log.t < 1.0) | (log.t > 19.0)
    assert log.rotor_speed is not None
    return residual_samples(replace(log, rotor_speed=log.rotor_speed * ~on_ground[:, None]), VEHICLE)


@pytest.fixture(scope="module")
def bundle(walks: list[ResidualSamples]) -> Bundle:
    height, thrust, label = (
        np.concatenate([f(w)[w.usable] for w in walks])
        for f in (lambda w: w.centre_height, lambda w: w.rotor_thrust.sum(-1), lambda w: w.label[:, 2])
    )
    return Bundle(
        model=ground_effect(2.7),
        cheeseman_bennett=fit_cheeseman_bennett(VEHICLE, height, thrust, label),
        mean=np.zeros(3),
        vehicle=VEHICLE,
        domain=fit_domain(walks, [w.usable & (np.abs(w.velocity[:, 2]) < 0.3) for w in walks]),
        certificate={"entries": {"contraction_factor": {"value": 0.1}}},
        info={"datasets": [{"log": "a"}], "training": {"thrust_slope_evidence": EVIDENCE}, "domain": {}},
        path=Path("B"),
    )


def without_law(bundle: Bundle) -> Bundle:
    """With a fitted law that says nothing."""
    law = CheesemanBennett(0.0, 0.0, VEHICLE.rotor_radius, VEHICLE.gear_clearance)
    return replace(bundle, cheeseman_bennett=law)


def judgement(
    bundle: Bundle, flights: list[ResidualSamples], trim: str = "flight", trained_on: bool = False
) -> tuple[list[JudgedFlight], dict[str, Any]]:
    """What the page is made of, and what ``evaluate --json`` prints."""
    predictors = Predictors(bundle.model, bundle.cheeseman_bennett, bundle.mean)
    report = evaluate(predictors, flights, trim=TRIMS[trim], trim_above=ABOVE)
    for entry in report["flights"]:
        entry["trained_on"] = trained_on
    given = [(f"{k}.mcap", f, trained_on) for k, f in enumerate(flights)]
    result = {
        **report,
        "low_below_m": RULE.low_below,
        "trim": trim,
        "trim_above_m": ABOVE,
        "domain": outside_domain(predictors, bundle.domain, flights, TRIMS[trim], ABOVE),
        "thrust_slope_evidence": bundle.info["training"]["thrust_slope_evidence"],
    }
    return judge(predictors, bundle.domain, given, TRIMS[trim], ABOVE), to_json(result)


@pytest.mark.parametrize("trim", TRIMS)
def test_the_page_has_the_errors_of_the_table(bundle: Bundle, walks: list[ResidualSamples], trim: str) -> None:
    judged, result = judgement(bundle, walks, trim)
    for name in ("network", "zero", "cheeseman_bennett"):
        errors = np.concatenate([f.error(name)[f.samples.scored] for f in judged])
        expected = (result if name == "network" else result["baselines"][name])["rmse_fa_z_g"]
        assert np.sqrt(np.mean(errors**2)) == pytest.approx(expected)
    bands = error_bands(judged)
    total = sum(b["samples"] * b["network_g"] ** 2 for b in bands) / sum(b["samples"] for b in bands)
    assert np.sqrt(total) == pytest.approx(result["rmse_fa_z_g"], rel=1e-2)  # thin bands are left out


def test_with_the_flights_trim_zero_is_what_the_zero_predictor_says(
    bundle: Bundle, walks: list[ResidualSamples]
) -> None:
    judged, _ = judgement(bundle, walks, "flight")
    np.testing.assert_allclose(judged[0].predictions["zero"], 0.0, atol=1e-9)
    high = walks[0].scored & (walks[0].centre_height > ABOVE)
    assert judged[0].label[high].mean() == pytest.approx(0.0, abs=1e-9)
    raw, _ = judgement(bundle, walks, "none")
    np.testing.assert_allclose(raw[0].label, walks[0].label[:, 2] / GRAM)


def test_outside_the_domain_the_faded_network_is_what_flies(bundle: Bundle, walks: list[ResidualSamples]) -> None:
    _, result = judgement(bundle, walks[:1], "none")
    samples, domain = walks[0], bundle.domain
    score = np.asarray(domain.score(samples))
    outside = samples.scored & (score > 1)
    share = np.clip((domain.gone - score) / (domain.gone - 1), 0, 1)
    network = 2.7 / 0.3 * np.maximum(0.3 - samples.height, 0)
    found = result["domain"]
    assert found["samples_outside"] == outside.sum() > 100
    assert found["share_outside"] == pytest.approx(outside.sum() / samples.scored.sum())
    for name, factor in (("none", 0.0), ("whole", 1.0), ("faded", share)):
        error = (factor * network - samples.label[:, 2])[outside]
        assert found[f"rmse_{name}_N"] == pytest.approx(np.sqrt(np.mean(error**2)), rel=1e-5)
        assert found[f"rmse_{name}_g"] == pytest.approx(found[f"rmse_{name}_N"] / GRAM)
    assert sum(found["outside_by"].values()) == found["samples_outside"]
    flown = (np.where(score > 1, share, 1.0) * network - samples.label[:, 2])[samples.scored]
    assert found["as_flown"]["rmse_fa_z_N"] == pytest.approx(np.sqrt(np.mean(flown**2)), rel=1e-5)
    assert found["as_flown"]["rmse_fa_z_N"] != pytest.approx(result["rmse_fa_z_N"], rel=1e-3)
    console = Console(width=200)
    with console.capture() as seen:
        console.print(error_table(result))
    assert "network, faded as in flight" in seen.get()


def test_the_cause_of_leaving_the_domain_is_named(bundle: Bundle, walks: list[ResidualSamples]) -> None:
    wide = replace(
        bundle.domain,
        lateral_speed=np.full_like(bundle.domain.lateral_speed, 50.0),
        tilt=np.full_like(bundle.domain.tilt, 2.0),
    )
    judged, _ = judgement(replace(bundle, domain=wide), walks)
    inside = judged[0].samples.height < wide.height[-1]
    outside = (judged[0].score > 1) & inside & (judged[0].samples.height > wide.height[0])
    assert outside.sum() > 100
    assert {CAUSES[k] for k in judged[0].cause[outside]} == {"vertical speed"}


def test_the_curve_holds_every_sample_once_in_bins_that_are_narrow_near_the_ground(
    bundle: Bundle, walks: list[ResidualSamples]
) -> None:
    judged, _ = judgement(bundle, walks)
    bins = curve(judged)
    count = sum(int(w.scored.sum()) for w in walks)
    assert count - sum(b["samples"] for b in bins) < 30
    label = np.concatenate([f.label[f.samples.scored] for f in judged])
    assert sum(b["samples"] * b["label_g"] for b in bins) / count == pytest.approx(label.mean(), abs=0.5)
    widths = [b["height_to_m"] - b["height_from_m"] for b in bins]
    assert max(widths[:5]) < 0.021 < 0.09 < widths[-1]
    lowest = bins[0]
    inside = np.concatenate([f.samples.height[f.samples.scored] < lowest["height_to_m"] for f in judged])
    assert lowest["label_10_90_g"] == pytest.approx(np.quantile(label[inside], [0.1, 0.9]).tolist())


def test_the_standard_error_counts_blocks_and_not_samples() -> None:
    means = np.random.default_rng(0).normal(size=12)
    values, blocks = np.repeat(means, 100), np.repeat(np.arange(12), 100)
    assert standard_error(values, blocks) == pytest.approx(means.std(ddof=1) / np.sqrt(12))
    assert standard_error(values[:100], blocks[:100]) is None


def test_a_win_is_told_for_where_it_matters_first(bundle: Bundle, walks: list[ResidualSamples]) -> None:
    judged, result = judgement(without_law(bundle), walks)
    nothing, law = (result["baselines"][name]["rmse_fa_z_low_g"] for name in ("zero", "cheeseman_bennett"))
    assert result["rmse_fa_z_low_g"] < min(nothing, law)
    first = verdict(judged, result, [])[0]
    assert re.match(r"Near the ground \(centre of mass below 0\.34 m\) the network's error is \d+\.?\d* g", first)
    assert f"predicting nothing errs {nothing:.0f} g" in first or f"predicting nothing errs {nothing:.1f} g" in first


def test_a_loss_is_told_first_with_its_interval(bundle: Bundle, walks: list[ResidualSamples]) -> None:
    judged, result = judgement(replace(bundle, model=ground_effect(-2.7)), walks)
    bands = error_bands(judged)
    sentences = verdict(judged, result, bands)
    loss = r"The network loses near the ground to predicting nothing: .* \(\+\d+ %, 95 % interval \+"
    assert re.match(loss, sentences[0])
    assert any(s.startswith("By height of the gear it loses in") and band_name(bands[0]) in s for s in sentences)


def test_flights_of_the_training_are_called_no_test(bundle: Bundle, walks: list[ResidualSamples]) -> None:
    judged, result = judgement(bundle, walks, trained_on=True)
    assert "no test" in verdict(judged, result, [])[0]
    mixed = [judged[0], replace(judged[1], trained_on=False)]
    assert any(s.startswith("1 of 2 flights was in training") for s in verdict(mixed, result, []))


def test_flights_that_stay_high_say_nothing_about_landing(bundle: Bundle, walks: list[ResidualSamples]) -> None:
    high = replace(walks[0], scored=walks[0].scored & ~walks[0].low)
    judged, result = judgement(bundle, [high])
    assert "No scored sample is near the ground: these flights say nothing about landing." in verdict(
        judged, result, []
    )


@pytest.mark.parametrize("which", ["walk", "landing"])
def test_every_sample_that_is_not_scored_has_one_reason(
    bundle: Bundle, walks: list[ResidualSamples], landing: ResidualSamples, which: str
) -> None:
    samples = {"walk": walks[0], "landing": landing}[which]
    judged, _ = judgement(bundle, [samples])
    found = reasons(judged[0], RULE)
    np.testing.assert_array_equal(np.sum(list(found.values()), axis=0), ~samples.scored)
    assert found["start or end" if which == "walk" else "motors idle"].sum() >= 100


def test_a_landing_is_shown_to_its_end_and_a_walk_where_it_is_lowest(
    bundle: Bundle, walks: list[ResidualSamples], landing: ResidualSamples
) -> None:
    landed, walked = judgement(bundle, [landing, walks[0]])[0]
    window = landing_window(landed)
    assert window.stop > np.flatnonzero(landing.scored)[-1]
    lowest = np.argmin(np.where(walks[0].scored, walks[0].height, np.inf))
    assert landing_window(walked).start <= lowest < landing_window(walked).stop
    figure = over_time(landed, RULE)
    lines = [line for line in figure["data"] if line["mode"] == "lines"]
    assert all(len(line["x"]) == len(line["y"]) <= MOST_POINTS for line in lines)
    network = next(line for line in lines if line.get("name") == "Network")
    step = -(-(window.stop - window.start) // MOST_POINTS)
    np.testing.assert_allclose(network["y"], landed.predictions["network"][window][::step], atol=0.006)
    shaded = [s for s in figure["layout"]["shapes"] if s["type"] == "rect"]
    assert any(s["x0"] <= 0.5 <= s["x1"] for s in shaded)  # the motors are off in the first second


def test_the_figures_draw_what_bundle_and_evidence_say(bundle: Bundle, walks: list[ResidualSamples]) -> None:
    judged, _ = judgement(bundle, walks)
    drawn = {line.get("name"): line for line in flown_and_domain(judged, bundle.domain)["data"]}
    edge = drawn["Edge of the training"]
    count = len(bundle.domain.height)
    np.testing.assert_allclose(edge["x"][:count], bundle.domain.v_z[:, 0], atol=1e-4)
    np.testing.assert_allclose(edge["y"][:count], bundle.domain.height, atol=1e-4)
    slopes = {line.get("name", ""): line for line in slope_by_height(error_bands(judged), EVIDENCE, 0.1)["data"]}
    point = next(line for name, line in slopes.items() if name.startswith("Training flights"))
    assert (point["y"], point["error_y"]["array"]) == ([-0.4], [0.196])
    assert slopes["Proved bound"]["y"] == [0.1, 0.1]
    assert not any(
        name.startswith("Training flights")
        for name in (line.get("name", "") for line in slope_by_height(error_bands(judged), None, 0.1)["data"])
    )
    figure = force_by_height(curve(judged), judged, RULE, VEHICLE.gear_clearance, 1.0)
    gear, centre = figure["layout"]["xaxis"]["range"], figure["layout"]["xaxis2"]["range"]
    assert np.subtract(centre, gear).tolist() == pytest.approx([0.11, 0.11])


def test_bands_are_named_in_centimetres() -> None:
    assert band_name({"height_from_m": 0.02, "height_to_m": 0.04}) == "2–4 cm"
    assert band_name({"height_from_m": 0.5, "height_to_m": None}) == "over 50 cm"


def write(bundle: Bundle, flights: list[ResidualSamples], folder: Path, trim: str = "flight") -> str:
    _, result = judgement(bundle, flights, trim)
    for k, entry in enumerate(result["flights"]):
        entry["log"] = f"<b>{k}</b>.mcap"
    write_fit_page(bundle, flights, result, folder / "fit.html")
    return (folder / "fit.html").read_text("utf-8")


def test_the_page_asks_nothing_of_the_network_and_takes_no_markup(
    bundle: Bundle, walks: list[ResidualSamples], landing: ResidualSamples, tmp_path: Path
) -> None:
    html = write(bundle, [*walks, landing], tmp_path)
    assert html.count("plotly.js v") == 1
    bare = html.replace(max(re.findall(r"<script>.*?</script>", html, re.S), key=len), "")
    assert not re.findall(r"(?:src|href|url)\s*[=(]\s*[\"']?(?!data:)[a-z/]", bare)
    assert "<b>0" not in re.sub(r"<script.*?</script>", "", bare, flags=re.S)
    assert re.findall(r"<h2>(.*?)</h2>", html) == [
        "The force near the ground", "Take-off and landing", "Error by height",
        "Where these flights leave the training", "Slope in thrust", "Flight by flight",
    ]  # fmt: skip


def test_flights_without_a_scored_sample_still_give_a_page(
    bundle: Bundle, walks: list[ResidualSamples], tmp_path: Path
) -> None:
    nothing = replace(walks[0], scored=np.zeros_like(walks[0].scored))
    html = write(bundle, [nothing], tmp_path)
    assert "No sample of these flights is scored" in html
    assert "fit.html" in [p.name for p in tmp_path.iterdir()]


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
@pytest.mark.parametrize("width", [pytest.param(1200, marks=pytest.mark.slow), 390])
def test_a_browser_draws_every_figure_without_error_or_overflow(
    width: int, bundle: Bundle, walks: list[ResidualSamples], landing: ResidualSamples, tmp_path: Path
) -> None:
    html = write(bundle, [*walks, landing], tmp_path, "online")
    seen = seen_by_browser(html, width, tmp_path)
    assert (seen["faults"], seen["fetched"]) == ([], [])
    assert seen["width"] <= seen["room"]
    assert seen["plots"] >= len(re.findall(r'<div class="figure', html)) == 5
    assert seen["lines"] > 15


@pytest.mark.slow
def test_evaluate_writes_the_page_and_its_json_has_domain_and_slope(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    for k in range(3):
        write_mcap(flight(VEHICLE, 15.0, seed=k), tmp_path / f"{k}.mcap")
    B, page = str(tmp_path / "B"), tmp_path / "page.html"
    logs = [str(tmp_path / f"{k}.mcap") for k in range(3)]
    train = ["train", *logs[:2], "--vehicle", "intel-aero", "--out", B, "--epochs", "1", "--held-out", "0", "--json"]
    assert cli.main(train) == 0
    trained = json.loads(capsys.readouterr().out)
    assert cli.main(["evaluate", B, logs[2], "--trim", "flight", "--report", str(page), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["thrust_slope_evidence"] == trained["thrust_slope_evidence"]
    assert {"share_outside", "rmse_none_N", "rmse_whole_N", "rmse_faded_N"} <= set(result["domain"])
    assert result["report"] == str(page)
    assert "Trim by flight" in page.read_text("utf-8")
    assert cli.main(["evaluate", B, logs[2]]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "outside the domain of the training flights:" in out
    assert "training: slope d f_a,z / d T in these flights:" in out
    assert cli.main(["evaluate", B, logs[2], "--report", str(tmp_path / "none" / "page.html")]) == 2
    assert "none" in capsys.readouterr().err
