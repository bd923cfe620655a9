"""The order of a log's rotors, as the moments show it that turned the vehicle."""

import warnings
from dataclasses import replace
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest

from neural_lander.cli.main import main
from neural_lander.errors import NeuralLanderWarning
from neural_lander.flightlog import FlightLog, read_log, write_mcap
from neural_lander.flightlog.fitness import fit_for_learning, why_useless
from neural_lander.flightlog.moments import rotor_order_shown
from neural_lander.rotor_order import CRAZYFLIE, QUADRANTS_KEY, as_json, motors_by_quadrant
from neural_lander.vehicle import load_vehicle
from sim.collection import collect_flight
from sim.plant import Plant

VEHICLE = load_vehicle("intel-aero")
DATA = Path(__file__).parents[2] / "shared/data/crazyflie_near_ground"
RIGHT = (0, 1, 2, 3)


@pytest.fixture(scope="module")
def log() -> FlightLog:
    return collect_flight(Plant(VEHICLE).with_airframe(0), seed=3, duration=15.0)


def reordered(log: FlightLog, order: tuple[int, ...]) -> FlightLog:
    assert log.rotor_speed is not None
    return replace(log, rotor_speed=log.rotor_speed[:, list(order)])


@pytest.mark.parametrize("order", [o for o in permutations(RIGHT) if o != RIGHT])
def test_every_other_order_is_refused_and_the_right_one_named(log: FlightLog, order: tuple[int, ...]) -> None:
    wrong = reordered(log, order)
    back = ", ".join(str(order.index(k) + 1) for k in RIGHT)
    assert f"the log's rotors {back} as 1, 2, 3, 4 of profile 'intel-aero' would" in why_useless(wrong, VEHICLE)


def test_the_order_that_flew_passes_by_speed_and_by_command(log: FlightLog) -> None:
    assert why_useless(log, VEHICLE) == ""
    assert min(fit_for_learning(log, VEHICLE).figures["moment_correlation"][:2]) > 0.6
    commanded = replace(log, rotor_speed=None, rotor_command=log.rotor_speed)
    assert why_useless(commanded, VEHICLE) == ""


def test_rotors_named_by_quadrant_are_held_to_these(log: FlightLog) -> None:
    order = motors_by_quadrant(VEHICLE, CRAZYFLIE)
    assert order is not None and order != RIGHT
    inverse = tuple(int(k) for k in np.argsort(order))
    named = reordered(log, inverse)
    named = replace(named, metadata={**named.metadata, QUADRANTS_KEY: as_json(CRAZYFLIE)})
    assert why_useless(named, VEHICLE) == ""
    assert "the rotors do not turn" in why_useless(reordered(named, (0, 2, 1, 3)), VEHICLE)


def test_what_cannot_be_told_is_not_judged(log: FlightLog) -> None:
    assert rotor_order_shown(replace(log, body_rates=None), VEHICLE, np.ones(len(log.t), dtype=bool)) is None
    assert rotor_order_shown(log, VEHICLE, np.zeros(len(log.t), dtype=bool)) is None
    still = replace(reordered(log, (1, 0, 3, 2)), body_rates=np.zeros((len(log.t), 3)))
    assert rotor_order_shown(still, VEHICLE, np.ones(len(log.t), dtype=bool)) is None


def test_training_leaves_such_a_log_out(log: FlightLog, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_mcap(reordered(log, (1, 2, 3, 0)), tmp_path / "wrong.mcap")
    assert main(["train", str(tmp_path / "wrong.mcap"), "--vehicle", "intel-aero", "--out", str(tmp_path / "b")]) == 2
    assert "the rotors do not turn the vehicle as their order says" in " ".join(capsys.readouterr().err.split())


@pytest.mark.slow
@pytest.mark.skipif(not DATA.is_dir(), reason="needs the real flights in ../shared/data")
@pytest.mark.parametrize(("folder", "name"), [("large_67g", "crazyflie-parrot"), ("small_32g", "crazyflie-21")])
def test_real_flights_have_their_rotors_in_order(folder: str, name: str) -> None:
    vehicle, paths = load_vehicle(name), sorted((DATA / folder).glob("*/*.usd"))
    assert paths
    for path in paths:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NeuralLanderWarning)  # of records that are missing
            flown = read_log(path)
        correlation = fit_for_learning(flown, vehicle).figures["moment_correlation"]
        assert correlation is not None and min(correlation[:2]) > 0.25, path.name
        assert "do not turn" not in why_useless(flown, vehicle)
