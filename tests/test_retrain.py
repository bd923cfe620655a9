"""The verb retrain: learn on, judge on unseen flights, certify, then replace; or leave the bundle byte for byte."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from learning_flights import flight, true_residual
from test_certificate_check import closed_loop
from test_retrain_poison import frozen, reversed_in_time, scaled_thrust

from neural_lander import bundle_folder
from neural_lander.bundle import load_bundle, replace_certificate
from neural_lander.certificate import check, document, steepest
from neural_lander.certificate.check_tracking import asked_sha256
from neural_lander.certificate.document import certify
from neural_lander.certificate.evidence import ThrustRange, product_slopes
from neural_lander.cli import retrain as verb
from neural_lander.cli.main import main
from neural_lander.flightlog import FlightLog, read_log, write_csv, write_mcap
from neural_lander.residual.evaluation import Predictors, evaluate
from neural_lander.residual.options import TrainingOptions
from neural_lander.residual.retraining import gates
from neural_lander.residual.retraining import retrain as learning
from neural_lander.residual.retraining.new_flight import missed_by_flown_model
from neural_lander.residual.samples import residual_samples
from neural_lander.residual.training import fit_predictors
from neural_lander.residual.trim import TRIMS, trim_height
from neural_lander.state import State
from neural_lander.vehicle import load_vehicle

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared/data/crazyflie_near_ground"
VEHICLE = load_vehicle("intel-aero")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a bundle ``B`` of three flights in ``old``, and two more flights in ``new``."""
    folder = tmp_path_factory.mktemp("made")
    for name, seeds in (("old", (0, 1, 2)), ("new", (10, 11))):
        (folder / name).mkdir()
        for seed in seeds:
            write_mcap(flight(VEHICLE, 24.0, seed=seed), folder / name / f"f{seed}.mcap")
    before = Path.cwd()
    os.chdir(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(steepest, "ROUNDS", 2)
        assert main(["train", "old", "--vehicle", "intel-aero", "--out", "B", "--epochs", "4", "--hidden", "8,8"]) == 0
    os.chdir(before)
    return folder


@pytest.fixture
def place(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it to work in."""
    shutil.copytree(made, tmp_path / "w")
    monkeypatch.chdir(tmp_path / "w")
    monkeypatch.setattr(steepest, "ROUNDS", 2)
    monkeypatch.setattr(steepest, "SAMPLES", 200)
    monkeypatch.setattr(gates, "MOST_WORSE", 0.5)  # flights so short teach little; the gate has its own tests
    monkeypatch.setattr(learning, "ENOUGH_BLOCKS", 4)
    return tmp_path / "w"


def run(capsys: pytest.CaptureFixture, *arguments: object) -> tuple[int, str, str]:
    capsys.readouterr()
    code = main(["retrain", *(str(a) for a in arguments)])
    out, err = capsys.readouterr()
    return code, out, err


def held(bundle: Path) -> dict[str, bytes]:
    return {entry.name: entry.read_bytes() for entry in bundle.iterdir()}


def litter(folder: Path) -> list[str]:
    return [entry.name for entry in folder.iterdir() if entry.name.startswith(".")]


def roles(bundle: Path) -> dict[str, str]:
    return {entry["log"]: entry["role"] for entry in load_bundle(bundle).info["datasets"]}


def gate(report: dict[str, Any], name: str) -> dict[str, Any]:
    return next(g for g in report["gates"] if g["gate"] == name)


def test_it_learns_on_and_can_be_rolled_back(place: Path, capsys: pytest.CaptureFixture) -> None:
    first = held(place / "B")
    code, out, err = run(capsys, "B", "new", "--json")
    assert code == 0, err
    report = json.loads(out)
    assert report["replaced"] and report["version"] == 2
    assert [g["passed"] for g in report["gates"]] == [True, True, True]

    # the manifest: all five flights, one of the new ones apart for judging, the hashes of what was flown
    given = roles(place / "B")
    assert {given[f"f{k}.mcap"] for k in (0, 1, 2)} == {"train"}
    assert sorted(given[f"f{k}.mcap"] for k in (10, 11)) == ["train", "validation"]
    entries = {e["log"]: e for e in load_bundle("B").info["datasets"]}
    assert (entries["f0.mcap"]["added"], entries["f10.mcap"]["added"]) == (1, 2)
    assert all(len(e["sha256"]) == 64 and e["path"] for e in entries.values())

    # what is delivered is what was judged, on a flight that neither model saw
    new, judge = load_bundle("B"), next(name for name, role in given.items() if role == "validation")
    samples = [residual_samples(read_log(f"new/{judge}"), VEHICLE)]
    predictors = Predictors(new.model, new.cheeseman_bennett, new.mean)
    again = evaluate(predictors, samples, trim=TRIMS["flight"], trim_above=trim_height(VEHICLE))
    assert gate(report, "near ground")["rmse_new_fa_z_low_N"] == pytest.approx(again["rmse_fa_z_low_N"], rel=1e-6)
    assert new.info["split"]["held_out"] == [judge]

    code, out, _ = run(capsys, "B", "--history", "--json")
    versions = json.loads(out)["versions"]
    assert [v["event"] for v in versions] == ["trained", "retrained"]
    assert versions[1]["added"] == ["f10.mcap", "f11.mcap"]
    assert gate(versions[1], "near ground")["difference_low_95"][1] <= 0.5
    code, out, _ = run(capsys, "B", "--rollback", 1)
    assert code == 0 and "version 1 is restored, as version 3" in out
    assert {name: data for name, data in held(place / "B").items() if name != "history.zip"} == first
    assert litter(place) == []
    code, out, _ = run(capsys, "B", "--history")
    assert "rolled back to 1 (present)" in out


@pytest.mark.slow
def test_a_second_time_nothing_is_new_and_the_judges_stay_judges(place: Path, capsys: pytest.CaptureFixture) -> None:
    assert run(capsys, "B", "new")[0] == 0
    before, judges = held(place / "B"), [n for n, role in roles(place / "B").items() if role == "validation"]
    code, out, err = run(capsys, "B", "new", "--json")
    assert (code, out) == (2, "")
    assert "the same flight is already in the bundle as f10.mcap" in err
    assert "nothing new to learn from" in err
    assert held(place / "B") == before
    write_mcap(flight(VEHICLE, 24.0, seed=20), place / "f20.mcap")
    code, out, _ = run(capsys, "B", "f20.mcap", "new/f10.mcap", "--json")
    report = json.loads(out)
    assert [row["log"] for row in report["new_flights"]] == ["f20.mcap"]
    assert report["judged_on"].startswith("1 earlier validation flight: ")
    assert report["split"]["held_out"] == judges
    assert report["datasets"][-1]["role"] == "train"


@pytest.mark.slow
def test_with_a_lone_landing_all_flights_judge_in_turn_and_that_is_said(
    place: Path, capsys: pytest.CaptureFixture
) -> None:
    write_mcap(flight(VEHICLE, 18.0, seed=21), place / "f21.mcap")
    code, out, err = run(capsys, "B", "f21.mcap", "--json")
    assert code == 0, err
    assert "hold 0 blocks of 5 s near the ground, and 4 are needed to judge by these flights alone" in err
    assert "Judged instead on every flight, by 3 pairs of models" in err
    report = json.loads(out)
    assert report["judged_on"].startswith("every flight, by 3 pairs of models")
    figures = gate(report, "near ground")
    assert figures["flights"] == 4 and figures["blocks"] >= 3 * 5 + 2
    assert roles(place / "B") == {f"f{k}.mcap": "train" for k in (0, 1, 2, 21)}
    assert load_bundle("B").info["split"]["final_fit"] == "all flights"


@pytest.mark.slow
def test_no_seed_picks_its_judges_and_the_one_that_was_used_is_noted(
    place: Path, capsys: pytest.CaptureFixture
) -> None:
    judges = []
    for k, seed in enumerate((1, 2)):
        shutil.copytree("B", f"B{k}")
        code, out, err = run(capsys, f"B{k}", "new", "--seed", seed, "--json")
        assert code == 0, err
        report = json.loads(out)
        judges.append(report["judged_on"])
        assert report["seed"] == seed
        assert json.loads(run(capsys, f"B{k}", "--history", "--json")[1])["versions"][-1]["seed"] == seed
    assert len(set(judges)) == 1


def poisoned(name: str) -> FlightLog:
    good = flight(VEHICLE, 24.0, seed=30)
    made: dict[str, Callable[[], FlightLog]] = {
        "thrust": lambda: scaled_thrust(good, VEHICLE, 1.2),
        "weak": lambda: scaled_thrust(good, VEHICLE, 0.8),
        "mm": lambda: replace(good, position=1e3 * good.position),
        "all in mm": lambda: replace(good, position=1e3 * good.position, velocity=1e3 * good.velocity),
        "reversed": lambda: reversed_in_time(good),
        "mass": lambda: replace(good, metadata={"mass_kg": 1.7}),
        "vehicle": lambda: replace(good, metadata={"vehicle": "crazyflie-21"}),
        "repeated": lambda: frozen(good, 0.5, 4),
    }
    return made[name]()


@pytest.mark.parametrize("name, cause", [
    ("thrust", "thrust in hover reads 1.2"), ("weak", "thrust in hover reads 0.[78]"),
    ("mm", "position z reaches .* is it in mm|check the units m and m/s"), ("all in mm", "is it in mm"),
    ("reversed", "reverse order of time"), ("repeated", "frames are duplicated"),
])  # fmt: skip
def test_a_poisoned_log_is_refused_and_the_bundle_is_byte_for_byte_what_it_was(
    place: Path, capsys: pytest.CaptureFixture, name: str, cause: str
) -> None:
    before = held(place / "B")
    write_mcap(poisoned(name), place / "poison.mcap")
    code, out, err = run(capsys, "B", "new", "poison.mcap", "--json")
    assert code == 1
    report = json.loads(out)
    assert not report["replaced"]
    assert [g["gate"] for g in report["gates"] if not g["passed"]] == ["data"]
    line = err.splitlines()[-1]
    assert line.startswith("error: B is left as it was; gate failed: data: log poison.mcap")
    assert re.search(cause, line), line
    assert held(place / "B") == before
    assert litter(place) == []


@pytest.mark.parametrize("name, cause", [("mass", "its mass is 1.7 kg"), ("vehicle", "is of vehicle 'crazyflie-21'")])
def test_a_log_that_says_it_is_of_another_vehicle_is_a_mistake_in_the_input(
    place: Path, capsys: pytest.CaptureFixture, name: str, cause: str
) -> None:
    before = held(place / "B")
    write_mcap(poisoned(name), place / "other.mcap")
    code, out, err = run(capsys, "B", "new", "other.mcap", "--json")
    assert (code, out) == (2, "")
    assert re.fullmatch(f"error: log other.mcap.*{cause}.*", err.splitlines()[-1])
    assert held(place / "B") == before


def test_what_cannot_be_read_and_what_is_not_finite_is_a_mistake_in_the_input(
    place: Path, capsys: pytest.CaptureFixture
) -> None:
    before = held(place / "B")
    write_csv(flight(VEHICLE, 24.0, seed=31), place / "holes.csv")
    lines = (place / "holes.csv").read_text().splitlines()
    for n in range(1, len(lines), 3):  # more than are left out
        lines[n] = ",".join(["nan" if k == 2 else cell for k, cell in enumerate(lines[n].split(","))])
    (place / "holes.csv").write_text("\n".join(lines) + "\n")
    (place / "junk.bin").write_bytes(b"\x00\x01junk" * 99)
    for name, cause in (("holes.csv", "not a finite number|nan"), ("junk.bin", "no known log format")):
        code, out, err = run(capsys, "B", "new", name, "--json")
        assert (code, out) == (2, "")
        assert re.match(f"error: {name}.*({cause})", err.splitlines()[-1])
    assert held(place / "B") == before


def test_a_flight_of_the_bundle_in_another_rate_is_refused(place: Path, capsys: pytest.CaptureFixture) -> None:
    old = read_log("old/f1.mcap")
    rows = slice(None, None, 2)
    columns = ("t", "position", "velocity", "attitude", "specific_force", "rotor_speed", "height")
    write_mcap(replace(old, **{c: getattr(old, c)[rows] for c in columns}), place / "half.mcap")
    code, _, err = run(capsys, "B", "half.mcap")
    assert code == 1
    assert "log half.mcap is the flight f1.mcap once more, or a part of it" in err


@pytest.mark.slow
def test_it_certifies_over_what_contracts_and_says_that_a_measured_envelope_is_gone(
    place: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, steep = load_bundle("B"), product_slopes(load_bundle("B").model, VEHICLE)
    asked = asked_sha256(certify(bundle.model, VEHICLE, steep), bundle.info["domain"])
    replace_certificate("B", certify(bundle.model, VEHICLE, steep, [closed_loop(1.5, asked)]))
    narrow, proved = ThrustRange(1.0, 5.0), document.proved_slopes

    def over_all_too_steep(network: Any, vehicle: Any, *given: Any) -> Any:
        slopes = proved(network, vehicle, *given)
        return slopes if narrow in given else {n: replace(s, bound=9.0) for n, s in slopes.items()}

    monkeypatch.setattr(document, "proved_slopes", over_all_too_steep)
    monkeypatch.setattr(document, "contracting_range", lambda *given: narrow)
    code, _, err = run(capsys, "B", "new")
    assert code == 0 and "is about the old network, and is gone from the certificate" in err
    after = load_bundle("B").certificate
    ends = [after["entries"][f"rotor_thrust_{end}"]["value"] for end in ("low", "high")]
    assert ends == [1.0, 5.0] and after["tracking"] == []


@pytest.mark.slow
@pytest.mark.parametrize("which", ["near ground", "certified"])
def test_a_model_that_is_worse_or_not_certified_is_not_delivered(
    place: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch, which: str
) -> None:
    if which == "near ground":
        monkeypatch.setattr(gates, "MOST_WORSE", -0.99)
    else:
        monkeypatch.setattr(check, "problems", lambda contents: iter(["lipschitz_total is a lie"]))
        monkeypatch.setattr(verb, "load_bundle", lambda path, load=load_bundle: honest(path, load, monkeypatch))
    before = held(place / "B")
    code, out, err = run(capsys, "B", "new")
    assert code == 1
    assert f"gate failed: {which}: " in err and err.count("gate failed") == 1
    assert "B is left as it was" in out and "FAILED" in out
    assert ("is a lie" in err) == (which == "certified")
    assert held(place / "B") == before
    assert litter(place) == []


def honest(path: Path, load: Callable[[Path], Any], monkeypatch: pytest.MonkeyPatch) -> Any:
    """Load with the real checks, which the test has replaced for the new model alone."""
    with monkeypatch.context() as real:
        real.undo()
        real.setattr(check, "problems", lambda contents: iter(()))
        return load(path)


@pytest.mark.slow
def test_a_flight_is_taken_out_again_and_stays_in_the_manifest(
    place: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as strict:
        strict.setattr(gates, "MOST_WORSE", -9.0)  # nothing passes, whatever one flight less does
        code, _, err = run(capsys, "B", "--without", "f2.mcap")
    assert code == 1 and "to take it out all the same, train a bundle without it" in err
    monkeypatch.setattr(gates, "MOST_WORSE", 9.0)
    code, out, err = run(capsys, "B", "--without", "f2.mcap", "--json")
    assert code == 0, err
    report = json.loads(out)
    assert report["judged_on"] == "every flight, by 2 pairs of models fitted like the old and the new one without it"
    assert roles(place / "B") == {"f0.mcap": "train", "f1.mcap": "train", "f2.mcap": "withdrawn"}
    (place / "old/f2.mcap").unlink()  # not needed any more
    code, out, err = run(capsys, "B", "new", "--json")
    assert code == 0, err
    assert roles(place / "B")["f2.mcap"] == "withdrawn"
    code, _, err = run(capsys, "B", "--without", "f2.mcap")
    assert code == 2 and "the bundle uses no such log" in err
    write_mcap(flight(VEHICLE, 24.0, seed=2), place / "again.mcap")
    assert run(capsys, "B", "again.mcap")[0] == 0
    back = [e for e in load_bundle("B").info["datasets"] if e["log"] in ("f2.mcap", "again.mcap")]
    assert [(e["log"], e["role"]) for e in back] == [("again.mcap", "train")]


@pytest.mark.slow
def test_a_flight_that_is_lost_is_taken_out_against_the_old_model_itself(
    place: Path, capsys: pytest.CaptureFixture
) -> None:
    (place / "old/f2.mcap").unlink()
    code, out, err = run(capsys, "B", "--without", "f2.mcap", "--json")
    assert code in (0, 1), err  # the old model saw the flights that judge
    assert "the old model is compared as it is, which saw the flights that judge" in err
    report, entries = json.loads(out), load_bundle("B").info["datasets"]
    figures = gate(report, "near ground")
    assert figures["flights"] == 2 and figures["difference_low"] != 0.0
    assert entries[2]["role"] == ("withdrawn" if code == 0 else "train")


@pytest.mark.slow
def test_old_logs_that_were_moved_are_asked_for_and_found(place: Path, capsys: pytest.CaptureFixture) -> None:
    before = held(place / "B")
    (place / "old").rename(place / "archive")
    code, out, err = run(capsys, "B", "new", "--json")
    assert (code, out) == (2, "")
    assert "learned from 3 logs, of which 3 are not found: f0.mcap, f1.mcap, f2.mcap; name the folder" in err
    assert held(place / "B") == before
    assert run(capsys, "B", "new", "--data", "archive")[0] == 0
    assert {e["path"] for e in load_bundle("B").info["datasets"]} >= {"archive/f0.mcap"}


@pytest.mark.parametrize("arguments, message", [
    ((), "nothing to do"), (("--history", "--rollback", 1), "stand alone"), (("new", "--history"), "stand alone"),
    (("new", "missing.csv"), "missing.csv cannot be read: No such file or directory"),
    (("empty",), "empty holds no flight log"),
    (("--rollback", 7), "there is none; can be restored: 1"), (("--without", "zeppelin"), "uses no such log"),
])  # fmt: skip
def test_wrong_usage_is_one_line(
    place: Path, capsys: pytest.CaptureFixture, arguments: tuple[object, ...], message: str
) -> None:
    before = held(place / "B")
    (place / "empty").mkdir()
    code, out, err = run(capsys, "B", *arguments, "--json")
    assert (code, out) == (2, "")
    assert message in err and len(err.splitlines()) == 1
    assert held(place / "B") == before


def test_what_is_no_bundle_has_no_present_version(place: Path, capsys: pytest.CaptureFixture) -> None:
    (place / "B/bundle.json").write_text("{")
    code, out, err = run(capsys, "B", "--history")
    assert (code, out) == (2, "") and "bundle.json is no JSON" in err


def test_ctrl_c_a_full_disk_and_another_writer_leave_the_bundle(
    place: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, write = held(place / "B"), bundle_folder._write

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(learning, "fit_predictors", interrupted)
        assert run(capsys, "B", "new")[0] == 130
    assert held(place / "B") == before

    with monkeypatch.context() as patch:
        patch.setattr(bundle_folder, "_write", lambda path, data: write(Path("/dev/full"), data))
        code, out, err = run(capsys, "B", "new", "--json")
    assert (code, out) == (2, "")
    assert "B cannot be written: No space left on device" in err
    assert held(place / "B") == before and litter(place) == []

    with monkeypatch.context() as patch:
        refit = learning.refit

        def meanwhile(*arguments: Any) -> Any:
            (place / "B/history.zip").write_bytes(b"somebody else's")
            return refit(*arguments)

        patch.setattr(learning, "refit", meanwhile)
        code, _, err = run(capsys, "B", "new")
    assert code == 2 and "was changed while this ran" in err
    assert held(place / "B") == {**before, "history.zip": b"somebody else's"}


def test_flights_flown_with_a_model_teach_the_whole_residual_not_the_remainder() -> None:
    plain = flight(VEHICLE, 30.0, seed=40)
    thrust = (VEHICLE.thrust_coefficient * plain.rotor_speed**2).sum(-1)
    truth = true_residual(plain.height, plain.velocity, thrust)
    flown = 0.7 * truth  # the model on board knew 70 % of it, and the thrust in the log is what flew
    log = replace(plain, f_a_applied=flown)
    with_model, without = residual_samples(log, VEHICLE), residual_samples(plain, VEHICLE)
    assert with_model.label.tobytes() == without.label.tobytes()
    low = with_model.scored & with_model.low
    assert np.mean(with_model.label[low, 2]) == pytest.approx(np.mean(truth[low, 2]), rel=0.03)
    missed = missed_by_flown_model(log, with_model, np.inf)
    assert missed is not None
    remainder = np.sqrt(np.mean((0.3 * truth[low, 2]) ** 2) + 0.1**2)  # N, and the label's noise
    assert missed["rms_missed_fa_z_low_N"] == pytest.approx(remainder, rel=0.03)
    assert missed["rms_total_fa_z_low_N"] == pytest.approx(np.sqrt(np.mean(truth[low, 2] ** 2) + 0.1**2), rel=0.03)
    assert missed_by_flown_model(plain, without, np.inf) is None


@pytest.mark.slow
def test_flights_with_and_without_a_model_on_board_teach_the_same_model() -> None:
    heights = np.array([0.08, 0.12, 0.18, 0.25])  # without a model the flights hang at 5 cm and more
    still, hover = np.zeros((len(heights), 3)), np.full((len(heights), 4), VEHICLE.weight / 4)
    attitude = np.tile([1.0, 0.0, 0.0, 0.0], (len(heights), 1))
    state = State(still, still, attitude, still, heights)
    learned = []
    for known in (0.0, 1.0):
        samples = []
        for seed in range(2):
            log = flight(VEHICLE, 30.0, seed=seed, known=known)
            thrust = (VEHICLE.thrust_coefficient * log.rotor_speed**2).sum(-1)
            on_board = known * true_residual(log.height, 0 * log.velocity, thrust)
            samples.append(residual_samples(replace(log, f_a_applied=on_board), VEHICLE))
        everything = [np.ones(len(f), dtype=bool) for f in samples]
        _, predictors, _ = fit_predictors(samples, everything, VEHICLE, TrainingOptions(epochs=8))
        learned.append(predictors.network.at(state)(hover)[:, 2])
    truth = true_residual(heights, still, np.full(len(heights), VEHICLE.weight))[:, 2]
    without, with_model = learned
    # 1.4 N at 8 cm: the model on board is neither taken off nor counted twice
    np.testing.assert_allclose(with_model, without, atol=0.12)
    np.testing.assert_allclose(with_model, truth, atol=0.15)


KILLED_RUN = """
import os, signal, sys
from neural_lander.certificate.check_tracking import asked_sha256
from neural_lander.certificate import steepest
steepest.ROUNDS, steepest.SAMPLES = 2, 200
from neural_lander.residual.options import TrainingOptions
from neural_lander.residual.retraining import gates
gates.MOST_WORSE = 9.0
from neural_lander.cli.main import main
sys.exit(main(["retrain", "B", "new"]))
"""


@pytest.mark.slow
def test_killed_at_random_moments_it_leaves_the_old_or_the_new_bundle(made: Path, tmp_path: Path) -> None:
    place = tmp_path / "w"
    shutil.copytree(made, place)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    started = time.perf_counter()
    command = [sys.executable, "-c", KILLED_RUN]
    subprocess.run(command, cwd=place, env=environment, capture_output=True, check=True)
    whole = time.perf_counter() - started
    old, rng, outcomes = held(made / "B"), np.random.default_rng(9), []
    for share in [*rng.uniform(0.05, 0.8, 8), *rng.uniform(0.8, 1.1, 8)]:
        shutil.rmtree(place)
        shutil.copytree(made, place)
        process = subprocess.Popen(
            command, cwd=place, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(share * whole)
        process.kill()
        assert process.wait(timeout=60) in (0, -signal.SIGKILL)
        versions = load_bundle(place / "B").info["datasets"]
        if len(versions) == 3:
            assert held(place / "B") == old
        outcomes.append(len(versions))
    assert set(outcomes) <= {3, 5} and 3 in outcomes


@pytest.mark.slow
@pytest.mark.skipif(not DATA.is_dir(), reason="needs the real flights in ../shared/data/crazyflie_near_ground")
@pytest.mark.filterwarnings("ignore::neural_lander.errors.NeuralLanderWarning")
@pytest.mark.parametrize("folder, name", [("large_67g", "crazyflie-parrot"), ("small_32g", "crazyflie-21")])
def test_on_real_flights_a_good_bundle_learns_on_and_refuses_the_other_vehicle(
    tmp_path: Path, capsys: pytest.CaptureFixture, folder: str, name: str
) -> None:
    walks = sorted((DATA / folder / "random_walk").iterdir())
    bundle = tmp_path / "B"
    assert main(["train", *map(str, walks[:8]), "--vehicle", name, "--out", str(bundle)]) == 0
    code, out, err = run(capsys, bundle, *walks[8:13], "--json")
    assert code in (0, 1), err  # which of the two is for the flights to say
    report = json.loads(out)
    assert gate(report, "data")["passed"] and gate(report, "certified")["passed"]
    figures = gate(report, "near ground")
    assert figures["flights"] == 2 and abs(figures["difference_low"]) < 0.1
    assert code == (0 if figures["difference_low_95"][1] <= 0.03 else 1)
    before = held(bundle)
    other = next((DATA / {"large_67g": "small_32g", "small_32g": "large_67g"}[folder]).glob("random_walk/*.usd"))
    code, _, err = run(capsys, bundle, other)
    assert code == 1 and "does not fit vehicle" in err
    assert held(bundle) == before
