"""Bundles: whole or not at all, changed never, loaded without torch; and the verbs that write and read them."""

import hashlib
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from learning_flights import flight
from mcap.reader import make_reader

from firmware_bridge.guidance.flight_plan import FlightPlan
from firmware_bridge.guidance.guidance import Guidance
from neural_lander import bundle_folder
from neural_lander.bundle import load_bundle, save_bundle
from neural_lander.bundle_files import FILES, check_bundle_destination
from neural_lander.certificate import steepest
from neural_lander.certificate.tracking import LoopFlight, measure_tracking
from neural_lander.cli.fly_controller import check_certificate, choose_controller
from neural_lander.cli.main import main
from neural_lander.control.tracking import TrackingGains
from neural_lander.errors import UserError
from neural_lander.flightlog import write_csv, write_mcap
from neural_lander.residual.options import DEFAULT_THRUST_SLOPE, UNIDENTIFIED_THRUST_SLOPE, TrainingOptions
from neural_lander.residual.retraining.retrain import options_of
from neural_lander.residual.training import TrainingResult, train_residual
from neural_lander.vehicle import load_vehicle

ROOT = Path(__file__).parents[1]
VEHICLE = load_vehicle("intel-aero")


@pytest.fixture(scope="module")
def result() -> TrainingResult:
    return train_residual([flight(VEHICLE, 10.0, seed=k) for k in range(3)], VEHICLE, TrainingOptions(epochs=1))


@pytest.fixture(scope="module")
def other() -> TrainingResult:
    return train_residual([flight(VEHICLE, 10.0, seed=k) for k in range(2)], VEHICLE, TrainingOptions(epochs=1, seed=1))


def resealed(path: Path, **changes: object) -> None:
    """Rewrite ``bundle.json`` with changes and right hashes: what a careful forger would do."""
    info = json.loads((path / "bundle.json").read_text())
    for name in info["files"]:
        info["files"][name] = hashlib.sha256((path / name).read_bytes()).hexdigest()
    info.update(changes)
    info.pop("sha256")
    info["sha256"] = hashlib.sha256(json.dumps(info, sort_keys=True).encode()).hexdigest()
    (path / "bundle.json").write_text(json.dumps(info))


def test_what_was_saved_is_loaded_bit_for_bit(tmp_path: Path, result: TrainingResult) -> None:
    save_bundle(tmp_path / "B", result)
    loaded = load_bundle(tmp_path / "B")
    network = result.predictors.network
    for a, b in zip((*network.weights, *network.biases), (*loaded.model.weights, *loaded.model.biases), strict=True):
        assert a.tobytes() == b.tobytes()
    assert loaded.cheeseman_bennett == result.predictors.cheeseman_bennett
    assert loaded.vehicle.sha256 == VEHICLE.sha256
    assert 0 < loaded.contraction_factor <= 0.3
    assert loaded.info["split"] == result.split
    assert sorted(p.name for p in (tmp_path / "B").iterdir()) == sorted(FILES)
    assert [p.name for p in tmp_path.iterdir()] == ["B"]


def test_loading_needs_no_torch_and_no_scipy(tmp_path: Path, result: TrainingResult) -> None:
    save_bundle(tmp_path / "B", result)
    script = (
        "import sys; from neural_lander.bundle import load_bundle; load_bundle(sys.argv[1]);"
        "print([m for m in ('torch', 'scipy', 'cvxpy', 'pickle5') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "B")], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", FILES)
def test_a_changed_or_missing_file_is_refused(tmp_path: Path, result: TrainingResult, name: str) -> None:
    path = tmp_path / "B"
    save_bundle(path, result)
    data = bytearray((path / name).read_bytes())
    data[-20] ^= 1
    (path / name).write_bytes(bytes(data))
    with pytest.raises(UserError, match=name.replace(".", r"\.")):
        load_bundle(path)
    (path / name).unlink()
    with pytest.raises(UserError, match=f"{name} is missing"):
        load_bundle(path)


@pytest.mark.parametrize("name, data, says", [
    ("vehicle.toml", b"\xff", "is no text in UTF-8"), ("certificate.json", b"[" * 100_000, "is no JSON"),
    ("bundle.json", b"[" * 100_000, "is no JSON"),
])  # fmt: skip
def test_a_file_that_no_text_is_read_from_is_refused_in_words(
    tmp_path: Path, result: TrainingResult, name: str, data: bytes, says: str
) -> None:
    path = tmp_path / "B"
    save_bundle(path, result)
    (path / name).write_bytes(data if name != "vehicle.toml" else (path / name).read_bytes() + b"# " + data + b"\n")
    if name != "bundle.json":
        resealed(path)
    with pytest.raises(UserError, match=f"{name} {says}".replace(".", r"\.")):
        load_bundle(path)


def test_a_certificate_of_other_weights_is_refused_even_with_right_hashes(
    tmp_path: Path, result: TrainingResult, other: TrainingResult
) -> None:
    save_bundle(tmp_path / "A", result)
    save_bundle(tmp_path / "B", other)
    (tmp_path / "A" / "certificate.json").write_bytes((tmp_path / "B" / "certificate.json").read_bytes())
    resealed(tmp_path / "A")
    with pytest.raises(UserError, match="another network: network_sha256 differs"):
        load_bundle(tmp_path / "A")


def test_a_bundle_without_a_valid_certificate_is_not_flown_and_the_reason_is_shown_and_logged(
    tmp_path: Path,
    result: TrainingResult,
    other: TrainingResult,
    capsys: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("neural_lander.cli.fly_run.open_link", lambda *a, **k: pytest.fail("the link was opened"))
    save_bundle(tmp_path / "A", result)
    save_bundle(tmp_path / "B", other)
    (tmp_path / "A" / "certificate.json").write_bytes((tmp_path / "B" / "certificate.json").read_bytes())
    resealed(tmp_path / "A")
    log = tmp_path / "flight.mcap"
    assert main(["fly", "--link", "mavlink:loop://", "--bundle", str(tmp_path / "A"), "--log", str(log)]) == 2
    said = capsys.readouterr().err
    assert "another network: network_sha256 differs" in said and said.count("\n") == 1
    assert not log.exists()  # the next try may have the name
    (refused,) = tmp_path.glob("flight-refused-*.mcap")
    with refused.open("rb") as file:
        told = [record.metadata for record in make_reader(file).iter_metadata()]
    assert any("another network: network_sha256 differs" in str(metadata) for metadata in told)


def test_a_heavier_vehicle_is_refused_even_with_right_hashes(tmp_path: Path, result: TrainingResult) -> None:
    save_bundle(tmp_path / "B", result)
    profile = tmp_path / "B" / "vehicle.toml"
    profile.write_text(profile.read_text().replace("value = 1.47,", "value = 1.60,"))
    resealed(tmp_path / "B")
    with pytest.raises(UserError, match="another vehicle: vehicle_sha256 differs"):
        load_bundle(tmp_path / "B")


def test_another_version_says_so(tmp_path: Path, result: TrainingResult) -> None:
    save_bundle(tmp_path / "B", result)
    resealed(tmp_path / "B", format_version=1)
    with pytest.raises(UserError, match="bundle version 1, this program reads 2"):
        load_bundle(tmp_path / "B")
    (tmp_path / "B" / "bundle.json").write_text("[]")
    with pytest.raises(UserError, match="does not describe a bundle"):
        load_bundle(tmp_path / "B")


def test_a_bundle_tells_what_was_asked_for_and_what_was_used(tmp_path: Path) -> None:
    still = flight(VEHICLE, 12.0)  # too short to identify df_a/dT by
    result = train_residual([still], VEHICLE, TrainingOptions(hidden=(6, 5), epochs=1, held_out=0.0))
    assert (result.options.gamma, result.options.thrust_slope) == (None, DEFAULT_THRUST_SLOPE)
    assert result.used.thrust_slope == UNIDENTIFIED_THRUST_SLOPE and result.used.gamma is not None
    path = tmp_path / "B"
    training = save_bundle(path, result).info["training"]
    assert (training["gamma"], training["thrust_slope"]) == (None, DEFAULT_THRUST_SLOPE)
    assert (training["used"]["gamma"], training["used"]["thrust_slope"]) == (result.used.gamma, 0.1)
    assert options_of(load_bundle(path), None) == result.options  # what it learns on with
    description = json.loads((path / "bundle.json").read_text())
    del description["training"]["used"]  # as bundles of old are
    (path / "bundle.json").write_text(json.dumps(description))
    resealed(path)
    assert options_of(load_bundle(path), None) == result.options


def test_a_bundle_replaces_a_bundle(tmp_path: Path, result: TrainingResult, other: TrainingResult) -> None:
    save_bundle(tmp_path / "B", result)
    save_bundle(tmp_path / "B", other)
    assert load_bundle(tmp_path / "B").info["training"]["seed"] == 1
    assert [p.name for p in tmp_path.iterdir()] == ["B"]


@pytest.mark.parametrize("name, content", [("thesis.tex", "years"), ("bundle.json", "{}")])
def test_a_folder_that_is_no_bundle_is_left_alone(
    tmp_path: Path, result: TrainingResult, name: str, content: str
) -> None:
    (tmp_path / "B").mkdir()
    (tmp_path / "B" / name).write_text(content)
    for refuse in (check_bundle_destination, lambda path: save_bundle(path, result)):
        with pytest.raises(UserError, match="is not a bundle"):
            refuse(tmp_path / "B")
    assert (tmp_path / "B" / name).read_text() == content
    with pytest.raises(UserError, match="is no folder"):
        check_bundle_destination(tmp_path / "B" / name)


def test_a_failure_on_the_way_leaves_the_old_bundle_and_no_litter(
    tmp_path: Path, result: TrainingResult, other: TrainingResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_bundle(tmp_path / "B", result)
    before = {p.name: p.read_bytes() for p in (tmp_path / "B").iterdir()}
    written = []

    def full_disk(path: Path, data: bytes) -> None:
        if len(written) == 2:
            raise OSError(28, "No space left on device")
        written.append(path.write_bytes(data))

    monkeypatch.setattr(bundle_folder, "_write", full_disk)
    with pytest.raises(UserError, match="No space left"):
        save_bundle(tmp_path / "B", other)
    assert {p.name: p.read_bytes() for p in (tmp_path / "B").iterdir()} == before
    assert [p.name for p in tmp_path.iterdir()] == ["B"]


def test_a_vehicle_without_a_profile_is_not_written(tmp_path: Path, result: TrainingResult) -> None:
    with pytest.raises(UserError, match="was changed in a program"):
        save_bundle(tmp_path / "B", replace(result, vehicle=VEHICLE.with_(mass=1.5)))
    assert list(tmp_path.iterdir()) == []


def run(capsys: pytest.CaptureFixture, *arguments: object) -> tuple[int, str, str]:
    code = main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    return code, out, err


@pytest.mark.slow
@pytest.mark.parametrize("layers", ["aol", "projection"])
def test_training_meets_the_bounds_that_are_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch, layers: str
) -> None:
    monkeypatch.setattr(steepest, "ROUNDS", 2)
    write_mcap(flight(VEHICLE, 12.0, seed=1), tmp_path / "flight.mcap")
    options = ["--vehicle", "intel-aero", "--epochs", 1, "--hidden", "6,5", "--held-out", 0, "--layers", layers]
    options += ["--lipschitz", 20, "--rotor-lipschitz", 0.25, "--thrust-input", "on", "--json"]
    code, out, err = run(capsys, "train", tmp_path / "flight.mcap", "--out", tmp_path / "B", *options)
    assert code == 0, err
    proved = {name: entry["value"] for name, entry in json.loads(out)["certificate"]["entries"].items()}
    assert 0.02 < proved["lipschitz_rotor_thrust"] <= 0.25
    assert 1.0 < proved["lipschitz_total"] <= 20.0
    assert proved["contraction_factor"] <= 0.125 * (1 + 1e-9)


def test_train_evaluate_certify_from_files(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steepest, "ROUNDS", 2)
    monkeypatch.setattr(steepest, "SAMPLES", 200)
    folder = tmp_path / "logs"
    folder.mkdir()
    for k in range(2):
        write_mcap(flight(VEHICLE, 10.0, seed=k), folder / f"flight{k}.mcap")
    unseen = tmp_path / "unseen.csv"
    write_csv(flight(VEHICLE, 10.0, seed=7), unseen)
    B, p = tmp_path / "B", tmp_path / "p.csv"

    code, out, err = run(
        capsys, "train", folder, "--vehicle", "intel-aero", "--out", B, "--epochs", 2, "--hidden", "8,6", "--json"
    )
    assert code == 0, err
    trained = json.loads(out)
    assert trained["flights"] == 2
    assert trained["fit_report"]["rmse_fa_z_N"] > 0

    code, out, err = run(capsys, "evaluate", B, unseen, "--predictions", p, "--json")
    assert code == 0, err
    report = json.loads(out)
    rows = np.loadtxt(p, delimiter=",", skiprows=1)
    scored = rows[:, 7] == 1
    recomputed = np.sqrt(np.mean((rows[scored, 6] - rows[scored, 3]) ** 2))
    assert report["rmse_fa_z_N"] == pytest.approx(recomputed, rel=1e-6)
    assert report["flights"][0]["trained_on"] is False

    code, out, _ = run(capsys, "evaluate", B, folder, unseen, "--predictions", p, "--json")
    report = json.loads(out)
    assert [f["trained_on"] for f in report["flights"]] == [True, True, False]
    assert [Path(name).name for name in report["predictions"]] == ["p-flight0.csv", "p-flight1.csv", "p-unseen.csv"]
    assert all(Path(name).is_file() for name in report["predictions"])

    before = load_bundle(B).contraction_factor
    code, out, _ = run(capsys, "certify", B, "--json")
    assert code == 0
    factor = json.loads(out)["entries"]["contraction_factor"]["value"]
    assert load_bundle(B).contraction_factor == factor == before <= 0.3
    for verb in (("certify", B), ("evaluate", B, unseen), ("train", folder, "--vehicle", "intel-aero", "--out", B)):
        code, out, err = run(capsys, *verb, *(("--epochs", 1, "--hidden", "8,6") if verb[0] == "train" else ()))
        assert code == 0, err
        assert "{" not in out


@pytest.mark.parametrize("options, message", [
    (("--vehicle", "zeppelin"), "vehicle 'zeppelin' is neither"),
    (("--vehicle", "intel-aero", "--gamma", "-1"), "gamma = -1.0"),
    (("--vehicle", "intel-aero", "--hidden", "a,b"), "--hidden 'a,b'"),
    (("--vehicle", "intel-aero", "--lipschitz", "5", "--gamma", "3"), "--lipschitz stands instead of --gamma"),
    (("--vehicle", "intel-aero", "--rotor-lipschitz", "1", "--thrust-slope", "0.3"), "instead of --thrust-slope"),
    (("--vehicle", "crazyflie-21"), "error:"),
])  # fmt: skip
def test_bad_input_is_one_line_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture, options: tuple[str, ...], message: str
) -> None:
    log = tmp_path / "flight.mcap"
    write_mcap(flight(VEHICLE, 10.0), log)
    code, out, err = run(capsys, "train", log, *options, "--out", tmp_path / "B", "--json")
    assert (code, out) == (2, "")
    assert message in err
    assert [line for line in err.splitlines() if line.startswith("error:")] == err.splitlines()[-1:]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["flight.mcap"]


def test_a_bundle_that_is_not_there_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    for verb in (("certify", tmp_path / "B"), ("evaluate", tmp_path / "B", tmp_path / "x.csv")):
        code, out, err = run(capsys, *verb)
        assert (code, out) == (2, "")
        assert "is no bundle: there is no such folder" in err
        assert len(err.splitlines()) == 1


def test_the_check_before_a_flight_looks_at_what_will_fly_and_not_at_the_bundle_alone(
    tmp_path: Path, result: TrainingResult
) -> None:
    """The certificate must be about the network, the vehicle and the factor that the loop has."""
    save_bundle(tmp_path / "B", result)
    bundle = load_bundle(tmp_path / "B")
    chosen = choose_controller("neural-lander", bundle.vehicle, bundle, None, guard=True)
    guidance = Guidance(chosen.controller, FlightPlan(bundle.vehicle, 1.0))
    assert check_certificate(bundle, guidance, chosen.kind, 240.0).passed
    guidance.vehicle = VEHICLE.with_(mass=1.1 * VEHICLE.mass)
    found = check_certificate(bundle, guidance, chosen.kind, 240.0)
    assert not found.passed and "about another vehicle" in found.finding


def test_a_link_to_a_bundle_stays_one_and_what_it_leads_to_is_replaced(
    tmp_path: Path, result: TrainingResult, other: TrainingResult
) -> None:
    save_bundle(tmp_path / "v1", result)
    (tmp_path / "latest").symlink_to("v1")
    check_bundle_destination(tmp_path / "latest")
    save_bundle(tmp_path / "latest", other)
    assert (tmp_path / "latest").is_symlink()
    assert load_bundle(tmp_path / "v1").info["training"]["seed"] == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["latest", "v1"]


def test_a_bundle_that_cannot_be_exchanged_is_refused_before_the_work(
    tmp_path: Path, result: TrainingResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_bundle(tmp_path / "B", result)
    monkeypatch.chdir(tmp_path / "B")
    with pytest.raises(UserError, match="is the folder you are in"):
        check_bundle_destination(Path("."))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("os.path.ismount", lambda path: path == tmp_path / "B")
    with pytest.raises(UserError, match="is a mount point"):
        check_bundle_destination(tmp_path / "B")


def test_the_check_before_a_flight_says_for_which_gains_the_closed_loop_is_bounded(
    tmp_path: Path, result: TrainingResult
) -> None:
    bundle = save_bundle(tmp_path / "B", result)
    chosen = choose_controller("neural-lander-trim", VEHICLE, bundle, None, guard=True)
    guidance = Guidance(chosen.controller, FlightPlan(VEHICLE))
    s = 1e-3 * np.random.default_rng(0).normal(size=(601, 3))
    flights = [LoopFlight(0, s, s, np.zeros(601))]

    def said(rate: float = 240.0, *gains: TrackingGains) -> str:
        loops = [measure_tracking(flights, g, VEHICLE, 1 / 240, "made up", "0" * 64) for g in gains]
        certified = replace(bundle, certificate={**bundle.certificate, "tracking": loops})
        return check_certificate(certified, guidance, chosen.kind, rate).finding.rpartition("; ")[2]

    own, other = chosen.controller.tracking.gains, TrackingGains.critically_damped(VEHICLE, 2.0)
    assert said() == "no bound on the closed loop's errors"
    assert said(240.0, other) == "its bound on the closed loop's errors is for other gains"
    assert said(240.0, other, own) == "it bounds the closed loop's errors at these gains"
    assert said(100.0, own) == "it bounds the closed loop's errors at these gains, but at 240 Hz"
