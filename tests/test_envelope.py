"""The envelope of a bundle's closed loop: measured by ``certify --landings``, held against others, shown."""

import re
import shutil
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neural_lander.bundle import load_bundle
from neural_lander.certificate import check
from neural_lander.certificate.check_tracking import LABELS as TRACKING
from neural_lander.certificate.meaning import SAYS, explained
from neural_lander.certificate.tracking import values_of
from neural_lander.certificate.tracking_sources import SOURCES
from neural_lander.cli.main import main
from neural_lander.residual.retraining.manifest import find_logs
from neural_lander.vehicle import load_vehicle
from sim.collection import FLIGHTS
from sim.comparison.study import study_airframe
from sim.descents import CALIBRATION_STREAM, VERIFICATION_STREAM, fly_descents
from sim.plant import Copy, Plant
from sim.rigid_body import TIME_STEP

LANDINGS = 60  # the whole run of a thousand is `certify B --landings 200 --verify 1000`


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The default bundle of the first simulated airframe."""
    folder = tmp_path_factory.mktemp("study")
    plant = Plant(load_vehicle("intel-aero")).with_airframe(0)
    return study_airframe(plant, 0, 0, folder).bundle.path


@pytest.mark.slow
def test_a_studied_bundle_finds_its_logs_wherever_it_is_moved(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = Path(shutil.copytree(bundle.parent, tmp_path / "moved"))
    monkeypatch.chdir("/")
    entries = load_bundle(moved / "bundle").info["datasets"]
    assert [entry["log"] for entry in entries] == [f"collection_{k}.mcap" for k in range(FLIGHTS)]
    assert len(find_logs(entries, moved / "bundle", [])) == FLIGHTS


@pytest.fixture(scope="module")
def certified(bundle: Path) -> Path:
    """It again, with the closed loop measured on 30 landings and held against others."""
    page = bundle.parent / "page.html"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("neural_lander.certificate.steepest.ROUNDS", 10)
        options = ["--landings", "30", "--verify", str(LANDINGS), "--out", str(page), "--json"]
        assert main(["certify", str(bundle), *options]) == 0
    return page


@pytest.mark.slow
def test_landings_stay_under_an_envelope_that_others_were_measured_for(certified: Path, bundle: Path) -> None:
    tracking = load_bundle(bundle).certificate["tracking"]
    assert [values_of(t)["Gamma"] for t in tracking] == [1.5, 0.0]
    for value in map(values_of, tracking):
        assert value["verified_flights"] == LANDINGS
        assert value["verified_violations"] == value["verified_height_violations"] == 0
        assert 1 < value["verified_envelope_over_worst_s"] < 5
        assert value["verified_time_above_disturbance"] < 0.001
        assert value["verified_time_above_quantile"] < 0.03
        assert value["height_settled"] < 0.1 and value["vertical_speed_settled"] < 0.2
    assert not list(check.problems({name: (bundle / name).read_bytes() for name in check.FILES}))


@pytest.mark.slow
def test_nothing_of_a_descent_is_left_out(bundle: Path) -> None:
    """It begins with the reference's step, which s holds, and ends within a step of contact or of the reference."""
    loaded = load_bundle(bundle)
    plant = Plant(loaded.vehicle).with_airframe(0)
    copy = Copy(plant, loaded.learned)
    flights, others = (
        fly_descents(copy, loaded.domain, "neural-lander-trim", ["land-1d"], flights=2, seed=0, stream=stream)
        for stream in (CALIBRATION_STREAM, VERIFICATION_STREAM)
    )
    assert not {f.seed for f in flights} & {f.seed for f in others}
    for f in flights:
        assert f.s[0, 2] == pytest.approx(0.3, abs=0.05)  # at rest under a reference that sinks at 0.3 m/s
        assert len(f.s) == len(f.input_gap)
        assert 3.2 < len(f.s) * TIME_STEP < 3.34
        assert np.all(np.isfinite(f.s)) and f.domain_score > 0
        Lambda = 3.0  # 1/s; what the bound says of positions: they move by dt times the new velocity
        np.testing.assert_allclose(
            f.p_error[1:], (f.p_error[:-1] + TIME_STEP * f.s[1:]) / (1 + TIME_STEP * Lambda), atol=1e-6
        )


@pytest.mark.slow
def test_descents_are_the_same_in_the_batched_world(bundle: Path) -> None:
    """In the air, where the bound is about, to rounding; in the order of the seeds."""
    loaded = load_bundle(bundle)
    copy = Copy(Plant(loaded.vehicle).with_airframe(0), loaded.learned)
    alone, batch = (
        fly_descents(
            copy,
            loaded.domain,
            "neural-lander",
            ["land-1d", "land-3d"],
            flights=3,
            seed=0,
            stream=VERIFICATION_STREAM,
            world_name=world,
        )
        for world in ("pybullet", "batched")
    )
    for one, other in zip(alone, batch, strict=True):
        n = min(len(one.s), len(other.s))
        assert one.seed == other.seed and abs(len(one.s) - len(other.s)) <= 2
        np.testing.assert_allclose(one.s[:n], other.s[:n], rtol=0, atol=1e-9)
        np.testing.assert_allclose(one.p_error[:n], other.p_error[:n], rtol=0, atol=1e-9)
        np.testing.assert_allclose(one.input_gap[:n], other.input_gap[:n], rtol=0, atol=1e-9)
        assert one.domain_score == pytest.approx(other.domain_score, rel=0.01)


@pytest.mark.slow
def test_the_page_explains_every_number_and_plots_flights_under_the_envelope(certified: Path, bundle: Path) -> None:
    html = certified.read_text()
    headings = re.findall(r"<h2>(.*?)</h2>", html)
    assert headings[:2] == ["With trim: envelope and flights", "Without trim: envelope and flights"]
    certificate = load_bundle(bundle).certificate
    for entry in explained(certificate):
        assert entry["name"].replace("_", " ") in html
    figures = html.split("<script")
    assert any('"envelope"' in part and '"worst flight"' in part for part in figures)
    for tracking in certificate["tracking"]:
        for text in tracking["assumed"]:
            assert escape(text) in html


@pytest.mark.slow
@pytest.mark.parametrize("options", [[], ["--landings", "2", "--effect", "no_such:Thing"]], ids=["network", "typo"])
def test_what_was_measured_stays_until_other_landings_are(
    certified: Path, bundle: Path, options: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("neural_lander.certificate.steepest.ROUNDS", 10)
    before = load_bundle(bundle).certificate["tracking"]
    assert main(["certify", str(bundle), *options]) == (2 if options else 0)
    assert len(before) == 2 and load_bundle(bundle).certificate["tracking"] == before


@pytest.mark.slow
def test_what_was_measured_stays_where_landings_are_stopped(
    certified: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("neural_lander.certificate.steepest.ROUNDS", 10)
    monkeypatch.setattr("sim.envelope.fly_descents", stopped)
    before = load_bundle(bundle).certificate["tracking"]
    assert main(["certify", str(bundle), "--landings", "2"]) == 130
    assert load_bundle(bundle).certificate["tracking"] == before


def test_each_number_of_a_certificate_has_a_sentence() -> None:
    bare = {name for name in check.LABELS if not name.endswith("_reached") and "_rotors_" not in name}
    assert bare | set(TRACKING) == set(SAYS)
    assert set(SOURCES) == set(TRACKING)
    assert all(says.endswith(".") for _, says in SAYS.values())


@pytest.mark.parametrize(
    "options, message",
    [
        (["--verify", "5"], "--landings"),
        (["--effect", "sim.aerodynamics:GroundEffect"], "--effect is about the landings"),
        (["--landings", "2", "--effect", "no_such:Thing"], "module 'no_such' cannot be imported"),
        (["--world", "foo"], "world 'foo' is not known"),
        (["--out", "."], "--out . is a folder: name a file"),
    ],
)
def test_options_of_certify_that_make_no_sense_are_refused(
    options: list[str], message: str, tmp_path: Path, capsys: Any
) -> None:
    assert main(["certify", str(tmp_path), *options]) == 2
    assert message in capsys.readouterr().err
