"""From logs to a fit report: flights are held out whole, and the report is about them alone."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from learning_flights import flight

from neural_lander.bundle import load_bundle
from neural_lander.certificate import steepest
from neural_lander.cli.main import main
from neural_lander.errors import NeuralLanderWarning, UserError
from neural_lander.flightlog import read_logs, write_mcap
from neural_lander.residual.options import TrainingOptions
from neural_lander.residual.training import _warn_of_outliers, train_residual
from neural_lander.vehicle import load_vehicle

DATA = Path(__file__).parents[2] / "shared/data/crazyflie_near_ground"
VEHICLE = load_vehicle("intel-aero")
QUICK = TrainingOptions(epochs=3)
FLIGHTS = ("random_walk", "takeoff_landing")


@pytest.mark.slow
def test_the_report_is_made_on_whole_flights_that_did_not_train() -> None:
    logs = [flight(VEHICLE, 15.0, seed=k) for k in range(5)]
    result = train_residual(logs, VEHICLE, QUICK)
    assert result.split["kind"] == "by flight"
    assert len(result.split["held_out"]) == 1
    assert result.fit_report is not None
    assert [f["log"] for f in result.fit_report["flights"]] == result.split["held_out"]
    assert result.training_samples == sum(entry["usable"] for entry in result.datasets)


def test_it_is_said_where_much_of_the_force_is_taken_for_no_aerodynamics() -> None:
    """A profile copied from a 67 g vehicle has a rule of scoring in grams: on 5 kg it left out all of the effect."""
    flights: Any = [SimpleNamespace(exclusions={"outlier": 30}), SimpleNamespace(exclusions={"outlier": 70})]
    small = load_vehicle("crazyflie-parrot")
    with pytest.warns(
        NeuralLanderWarning, match=r"100 of 1000 samples .* beyond 0\.49 N, .* the profile's \[scoring\]"
    ):
        _warn_of_outliers(flights, small, 900)
    with pytest.warns(NeuralLanderWarning, match=r"100 of 1000 .* look at the mass and the thrust curve"):
        _warn_of_outliers(flights, VEHICLE, 900)
    _warn_of_outliers(flights, small, 9000)  # warnings are errors: nothing is said of 1 %


@pytest.mark.slow
def test_a_held_out_flight_does_not_move_the_network_that_is_reported_on_it() -> None:
    logs = [flight(VEHICLE, 15.0, seed=k) for k in range(4)]
    before = train_residual(logs, VEHICLE, QUICK)
    held = int(before.split["held_out"][0].removeprefix("synthetic-"))
    # the same flight with a force that is 1 N higher: the network of the report must miss all of it
    changed = flight(VEHICLE, 15.0, seed=held)
    force = np.array(changed.specific_force) + np.array([0.0, 0.0, 1.0 / VEHICLE.mass])
    logs[held] = flight(VEHICLE, 15.0, seed=held, specific_force=force)
    after = train_residual(logs, VEHICLE, QUICK)
    assert before.fit_report is not None
    assert after.fit_report is not None
    assert after.split == before.split
    assert after.fit_report["bias_fa_z_N"] == pytest.approx(before.fit_report["bias_fa_z_N"] - 1.0, abs=1e-3)


def test_the_network_beats_zero_and_mean_on_a_flight_it_has_not_seen() -> None:
    result = train_residual([flight(VEHICLE, 60.0, seed=k) for k in range(3)], VEHICLE)
    assert result.fit_report is not None
    own, baselines = result.fit_report["rmse_fa_z_low_N"], result.fit_report["baselines"]
    assert own < 0.2  # N, of which 0.1 is noise of the label
    assert own < 0.3 * baselines["zero"]["rmse_fa_z_low_N"]
    assert own < 0.3 * baselines["mean"]["rmse_fa_z_low_N"]


def test_of_a_lone_flight_blocks_are_held_out_and_that_is_said() -> None:
    with pytest.warns(NeuralLanderWarning, match="one flight only"):
        result = train_residual([flight(VEHICLE, 60.0)], VEHICLE, QUICK)
    assert "blocks of 5 s" in result.split["kind"]
    assert result.fit_report is not None
    assert 400 < result.fit_report["samples_scored"] < 1300  # a fifth of 6000, less gaps and contact


def test_nothing_held_out_gives_no_report() -> None:
    result = train_residual([flight(VEHICLE, 15.0)], VEHICLE, TrainingOptions(epochs=1, held_out=0.0))
    assert result.fit_report is None
    assert result.split["held_out"] == []


def test_one_seed_gives_one_result() -> None:
    logs = [flight(VEHICLE, 10.0, seed=k) for k in range(3)]
    a, b = (train_residual(logs, VEHICLE, TrainingOptions(epochs=1, seed=2)) for _ in range(2))
    assert a.split == b.split
    assert a.fit_report == b.fit_report
    for x, y in zip(a.predictors.network.weights, b.predictors.network.weights, strict=True):
        assert x.tobytes() == y.tobytes()


def test_progress_reaches_the_end_of_every_stage() -> None:
    done: dict[str, float] = {}
    train_residual([flight(VEHICLE, 10.0, seed=k) for k in range(2)], VEHICLE, QUICK, done.__setitem__)
    assert done == {"samples": 1.0, "held-out fit": 1.0, "final fit": 1.0, "domain": 1.0}


def test_too_little_flight_is_refused_and_says_what_was_left_out() -> None:
    with pytest.raises(UserError, match=r"usable samples in 1 flights, 500 are needed; left out: start_or_end 100"):
        train_residual([flight(VEHICLE, 4.0)], VEHICLE, QUICK)
    with pytest.raises(UserError, match="remain for training beside the held-out"):
        train_residual([flight(VEHICLE, 5.5, seed=k) for k in range(2)], VEHICLE, QUICK)


@pytest.mark.slow
@pytest.mark.parametrize("folder, name", [("large_67g", "crazyflie-parrot"), ("small_32g", "crazyflie-21")])
@pytest.mark.skipif(not DATA.is_dir(), reason="needs the real flights in ../shared/data/crazyflie_near_ground")
def test_on_real_flights_it_beats_the_fitted_law_over_several_splits(folder: str, name: str) -> None:
    logs, vehicle = read_logs([DATA / folder / "random_walk"]), load_vehicle(name)
    squares = np.zeros((2, 2))
    for seed in range(4):
        report = train_residual(logs, vehicle, TrainingOptions(seed=seed, epochs=10)).fit_report
        assert report is not None
        for row, errors in enumerate((report, report["baselines"]["cheeseman_bennett"])):
            squares[row] += np.square([errors["rmse_fa_z_N"], errors["rmse_fa_z_low_N"]])
    assert np.all(squares[0] < squares[1])


@pytest.mark.slow
@pytest.mark.parametrize("folder, name", [("large_67g", "crazyflie-parrot"), ("small_32g", "crazyflie-21")])
@pytest.mark.skipif(not DATA.is_dir(), reason="needs the real flights in ../shared/data/crazyflie_near_ground")
def test_on_real_landings_what_is_faded_out_is_no_worse_than_nothing(
    folder: str, name: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    walks, landing, bundle = (str(p) for p in (*(DATA / folder / d for d in FLIGHTS), tmp_path / "B"))
    assert main(["train", walks, "--vehicle", name, "--out", bundle, "--epochs", "10", "--held-out", "0"]) == 0
    capsys.readouterr()
    for trim in ("flight", "online"):
        assert main(["evaluate", bundle, landing, "--trim", trim, "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        domain, law = found["domain"], found["baselines"]["cheeseman_bennett"]
        assert domain["samples_outside"] > 100 and domain["rmse_faded_N"] < domain["rmse_none_N"]
        assert domain["as_flown"]["rmse_fa_z_N"] < law["rmse_fa_z_N"]
        assert domain["as_flown"]["rmse_fa_z_low_N"] < law["rmse_fa_z_low_N"]


def test_a_flight_given_twice_is_trained_on_once_and_said() -> None:
    one, two = flight(VEHICLE, 10.0, seed=0), flight(VEHICLE, 10.0, seed=1)
    with pytest.warns(NeuralLanderWarning, match="again: it is left out"):
        result = train_residual([one, two, one], VEHICLE, QUICK)
    assert len(result.datasets) == 2


@pytest.mark.slow
def test_a_flight_that_never_turns_trains_a_bundle_that_may_fly(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A user's simulator that climbs and sinks alone: level to the last digit, all rotors alike."""
    monkeypatch.setattr(steepest, "ROUNDS", 1)
    vehicle = load_vehicle("intel-aero")
    log = flight(vehicle, 30.0, tilt=0.0)
    assert log.rotor_speed is not None
    mean = np.tile(np.sqrt((log.rotor_speed**2).mean(axis=1))[:, None], 4)
    level = np.tile([1.0, 0.0, 0.0, 0.0], (len(log.t), 1))
    write_mcap(replace(log, attitude=level, rotor_speed=mean, body_rates=None), tmp_path / "climbs.mcap")
    out = tmp_path / "B"
    options = ["--vehicle", "intel-aero", "--epochs", "2", "--hidden", "4", "--held-out", "0", "--json"]
    assert main(["train", str(tmp_path / "climbs.mcap"), "--out", str(out), *options]) == 0
    network = load_bundle(out).model
    assert np.all(network.state_low < network.state_high)
