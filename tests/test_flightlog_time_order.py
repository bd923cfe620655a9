"""A log that runs backwards, shown by motors that would answer before they are told to."""

import warnings
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from neural_lander.cli.main import main
from neural_lander.errors import NeuralLanderWarning
from neural_lander.flightlog import FlightLog, read_log, write_mcap
from neural_lander.flightlog.fitness import fit_for_learning, why_useless
from neural_lander.flightlog.time_order import thrust_answer
from neural_lander.vehicle import load_vehicle
from sim.collection import collect_flight
from sim.plant import Plant

VEHICLE = load_vehicle("crazyflie-21")
DATA = Path(__file__).parents[2] / "shared/data/crazyflie_near_ground"
ODD = ("velocity", "body_rates")  # what changes its sign with time


@pytest.fixture(scope="module")
def told() -> FlightLog:
    """A flight whose log holds what the rotors were told: their speed is a first-order answer to it."""
    log = collect_flight(Plant(VEHICLE).with_airframe(0), seed=3, duration=20.0)
    assert log.rotor_speed is not None
    command = log.rotor_speed + 0.06 * np.gradient(log.rotor_speed, log.t, axis=0)
    return replace(log, rotor_speed=None, rotor_command=np.maximum(command, 0.0))


def backwards(log: FlightLog) -> FlightLog:
    """As a film: every column by itself still agrees with every other."""
    turned = {
        f.name: (-1 if f.name in ODD else 1) * value[::-1]
        for f in fields(log)
        if f.name != "t" and isinstance(value := getattr(log, f.name), np.ndarray)
    }
    return replace(log, t=log.t[-1] - log.t[::-1], **turned)


def test_a_log_that_runs_backwards_is_refused(told: FlightLog) -> None:
    assert why_useless(told, VEHICLE) == ""
    reason = why_useless(backwards(told), VEHICLE)
    assert "before its rotors are told to" in reason and "reverse order of time" in reason


@pytest.mark.slow
def test_a_film_of_fast_motors_is_told_by_their_own_lag() -> None:
    """At 30 ms the force of a film leads by no more than clocks may differ by; it should follow by as much."""
    fast = replace(VEHICLE, motor_time_constant=0.03)
    log = collect_flight(Plant(fast).with_airframe(0), seed=3, duration=20.0)
    assert log.rotor_speed is not None
    command = log.rotor_speed + 0.03 * np.gradient(log.rotor_speed, log.t, axis=0)
    told = replace(log, rotor_speed=None, rotor_command=np.maximum(command, 0.0))
    assert why_useless(told, fast) == ""
    assert "reverse order of time" in why_useless(backwards(told), fast)


def test_the_lag_is_that_of_the_motors(told: FlightLog) -> None:
    assert fit_for_learning(told, VEHICLE).figures["force_follows_thrust_s"] == pytest.approx(0.06, abs=0.025)
    assert fit_for_learning(backwards(told), VEHICLE).figures["force_follows_thrust_s"] == pytest.approx(
        -0.06, abs=0.025
    )


def test_thrust_by_another_clock_is_refused(told: FlightLog) -> None:
    late = replace(told, rotor_command=np.roll(told.rotor_command, 20, axis=0))  # 0.2 s
    assert "the clocks of thrust and motion differ" in why_useless(late, VEHICLE)


@pytest.mark.slow
@pytest.mark.parametrize("shift", [12, -12])
def test_measured_speeds_by_another_clock_are_refused_without_a_word_on_the_rotors_order(shift: int) -> None:
    log = collect_flight(Plant(VEHICLE).with_airframe(0), seed=3, duration=20.0)
    assert log.rotor_speed is not None
    reason = why_useless(replace(log, rotor_speed=np.roll(log.rotor_speed, shift, axis=0)), VEHICLE)
    assert "100 ms " in reason and "clocks of thrust and motion differ" in reason and "order says" not in reason


def test_what_cannot_be_told_is_not_judged(told: FlightLog) -> None:
    everywhere = np.ones(len(told.t), dtype=bool)
    assert thrust_answer(told, VEHICLE, ~everywhere) is None
    assert thrust_answer(replace(told, rotor_command=None), VEHICLE, everywhere) is None
    measured = replace(told, rotor_speed=told.rotor_command, rotor_command=None)
    assert thrust_answer(measured, VEHICLE, everywhere) is not None


def test_training_leaves_such_a_log_out(told: FlightLog, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_mcap(backwards(told), tmp_path / "film.mcap")
    assert main(["train", str(tmp_path / "film.mcap"), "--vehicle", "crazyflie-21", "--out", str(tmp_path / "b")]) == 2
    assert "before its rotors are told to" in " ".join(capsys.readouterr().err.split())


@pytest.mark.slow
@pytest.mark.skipif(not DATA.is_dir(), reason="needs the real flights in ../shared/data")
@pytest.mark.parametrize(("folder", "name"), [("large_67g", "crazyflie-parrot"), ("small_32g", "crazyflie-21")])
def test_real_flights_are_told_from_their_films(folder: str, name: str) -> None:
    vehicle = load_vehicle(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NeuralLanderWarning)
        logs = [read_log(path) for path in sorted((DATA / folder).rglob("*.usd"))]
    assert logs
    for log in logs:
        assert fit_for_learning(log, vehicle).figures["force_follows_thrust_s"] > 0.0
        assert "its rotors" not in why_useless(log, vehicle)
        assert "before its rotors" in why_useless(backwards(log), vehicle)
