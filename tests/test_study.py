"""What is flown and learned before a comparison, where some of its flights fail."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import sim.comparison.study as study
from neural_lander.errors import NeuralLanderWarning, UserError
from neural_lander.flightlog import FlightLog
from neural_lander.residual.options import TrainingOptions
from neural_lander.vehicle import load_vehicle, parse_vehicle
from sim.collection import collect_flight
from sim.plant import Plant

PLANT = Plant(load_vehicle("intel-aero")).with_airframe(0)


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """Collection flights that fail; the others are short, and those beyond 100 tip over after half of their time."""
    fails: set[int] = set()
    seeds = {study.collection_seed(0, 0, k): k for k in range(study.MOST_FLIGHTS)}

    def collect(plant: Plant, seed: int) -> FlightLog:
        if seeds[seed] in fails:
            raise UserError("effect 'Mine' failed with ValueError: no")
        return collect_flight(plant, seed, 6.0 if 100 + seeds[seed] in fails else 12.0)

    def options(**given: Any) -> TrainingOptions:
        return TrainingOptions(**given, hidden=(6, 8, 5), epochs=2)

    monkeypatch.setattr(study, "collect_flight", collect)
    monkeypatch.setattr(study, "FLIGHT_TIME", 12.0)
    monkeypatch.setattr(study, "TrainingOptions", options)
    return fails


@pytest.mark.slow
def test_it_learns_from_the_flights_that_there_are_and_says_which_failed(failing: set[int], tmp_path: Path) -> None:
    failing.add(1)
    with pytest.warns(
        NeuralLanderWarning, match=f"learned from {study.FLIGHTS - 1} of {study.FLIGHTS} flights; .*'Mine'"
    ):
        first = study.study_airframe(PLANT, 0, 0, tmp_path)
    assert len(first.logs) == study.FLIGHTS - 1
    again = study.study_airframe(PLANT, 0, 0, tmp_path)
    assert [log.t.tolist() for log in again.logs] == [log.t.tolist() for log in first.logs]
    next((tmp_path / "logs").iterdir()).unlink()  # what the report shows of them would lack one
    failing.clear()
    assert len(study.study_airframe(PLANT, 0, 0, tmp_path).logs) == study.FLIGHTS


def test_where_every_flight_fails_the_reason_is_given(failing: set[int], tmp_path: Path) -> None:
    failing.update(range(study.FLIGHTS))
    with pytest.raises(UserError, match="none of .* collection flights has a log; collection flight 0 .*'Mine'"):
        study.study_airframe(PLANT, 0, 0, tmp_path)


@pytest.mark.slow
def test_a_vehicle_that_tips_over_again_and_again_is_not_learned_from_in_silence(
    failing: set[int], tmp_path: Path
) -> None:
    failing.update(range(100, 100 + study.MOST_FLIGHTS))
    lag = "motor_time_constant = { value = "
    vehicle = parse_vehicle(PLANT.vehicle.text.replace(f"{lag}0.03", f"{lag}0.15"), "slow.toml")
    slow = replace(PLANT, vehicle=vehicle)
    with pytest.warns(
        NeuralLanderWarning, match=r"tipped over in \d+ of \d+ .* 0\.15 s .* damping ratio of 0\.0\d: it swings"
    ):
        study.study_airframe(slow, 0, 0, tmp_path)


@pytest.mark.slow
def test_the_time_that_a_vehicle_lay_on_its_side_is_flown_again(failing: set[int], tmp_path: Path) -> None:
    """Two flights of half the time are one more; a study that is taken up again in the folder leaves none behind."""
    failing.update({100, 102})
    assert len(study.study_airframe(PLANT, 0, 0, tmp_path).logs) == study.FLIGHTS + 1
    failing.clear()
    (tmp_path / study.STUDY).unlink()
    again = study.study_airframe(PLANT, 0, 0, tmp_path)
    assert len(list((tmp_path / "logs").iterdir())) == len(again.logs) == study.FLIGHTS
