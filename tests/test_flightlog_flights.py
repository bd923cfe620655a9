"""Several flights in one file: each is one of its own, from reading to learning on and back."""

import json
import warnings
from dataclasses import replace
from pathlib import Path

import dataflash_file
import numpy as np
import pytest
from learning_flights import flight
from numpy.testing import assert_allclose, assert_array_equal

from neural_lander.cli.main import main
from neural_lander.errors import NeuralLanderWarning
from neural_lander.flightlog import FlightLog, read_logs, write_mcap
from neural_lander.flightlog.flights import flights_of
from neural_lander.flightlog.log import COLUMNS
from neural_lander.flightlog.streams import SPLIT
from neural_lander.residual.digest import identity, log_sha256
from neural_lander.residual.retraining.manifest import find_logs
from neural_lander.vehicle import load_vehicle

VEHICLE = load_vehicle("intel-aero")


def joined(*logs: FlightLog, hole: float = 60.0) -> FlightLog:
    """One after the other on one clock, as an autopilot that logs while it is armed has them."""
    columns = {
        name: np.concatenate([getattr(log, name) for log in logs])
        for name in COLUMNS
        if name != "t" and getattr(logs[0], name) is not None
    }
    begins = np.cumsum([0.0, *(log.duration + hole for log in logs[:-1])])
    t = np.concatenate([begin + log.t for begin, log in zip(begins, logs, strict=True)])
    return replace(logs[0], t=t, **columns)


@pytest.fixture
def two() -> list[FlightLog]:
    return [flight(VEHICLE, 12.0, seed=seed) for seed in (0, 1)]


def test_a_file_with_a_hole_gives_two_flights_that_know_their_file(two: list[FlightLog], tmp_path: Path) -> None:
    path = tmp_path / "day.mcap"
    write_mcap(joined(*two), path)
    with pytest.warns(NeuralLanderWarning, match=r"day\.mcap holds 2 flights, with more than 10 s without a record"):
        parts = read_logs([path])
    assert [Path(part.source).name for part in parts] == ["day (flight 1 of 2).mcap", "day (flight 2 of 2).mcap"]
    assert [part.path for part in parts] == [str(path)] * 2
    for part, alone in zip(parts, two, strict=True):
        assert part.t[0] == 0.0
        assert part.duration == pytest.approx(alone.duration, abs=1e-6)
        assert_array_equal(part.position, alone.position)
        assert log_sha256(part) == log_sha256(alone)
        assert identity(part)["path"] == str(path) and identity(part)["file_sha256"] is None


def test_an_autopilot_that_was_armed_twice_in_one_log_gives_both_flights(tmp_path: Path) -> None:
    rows = dataflash_file.flight()
    later = [(name, (v[0] + 90_000_000, *v[1:])) for name, v in rows if name not in ("MSG", "PARM")]
    (tmp_path / "00000017.BIN").write_bytes(dataflash_file.file([*rows, *later]))
    with pytest.warns(NeuralLanderWarning) as said:
        first, second = read_logs([tmp_path])
    assert "no source has a record at one place, for up to 84.02 s: between two flights" in str(said[0].message)
    assert "00000017.BIN holds 2 flights" in str(said[1].message)
    assert [first.duration, second.duration] == pytest.approx([5.98, 5.98])
    assert_allclose(second.position, first.position, atol=1e-9)
    assert_allclose(second.specific_force, first.specific_force, atol=1e-9)


def test_a_shorter_hole_parts_nothing(two: list[FlightLog]) -> None:
    log = joined(*two, hole=0.9 * SPLIT)
    (whole,) = flights_of(log)
    assert whole is log


def test_what_is_too_short_for_a_flight_is_left_out_and_said(two: list[FlightLog], tmp_path: Path) -> None:
    stray = two[1].where(two[1].t < 0.5)
    write_mcap(joined(stray, two[0]), tmp_path / "a.mcap")
    with pytest.warns(NeuralLanderWarning, match=r"holds 1 flight, .* records between them last less than 2 s"):
        (left,) = read_logs([tmp_path])
    assert log_sha256(left) == log_sha256(two[0])
    assert len(flights_of(joined(stray, stray))) == 1  # nothing would be left


def test_a_part_that_is_written_to_a_file_of_its_own_is_that_files(two: list[FlightLog], tmp_path: Path) -> None:
    write_mcap(flights_of(replace(joined(*two), metadata={"source": "day.BIN"}))[1], tmp_path / "second.mcap")
    (log,) = read_logs([tmp_path / "second.mcap"])
    assert log.path == log.source == str(tmp_path / "second.mcap")


def test_both_are_trained_on_found_again_and_not_taken_twice(
    tmp_path: Path, capsys: pytest.CaptureFixture, two: list[FlightLog]
) -> None:
    folder, bundle = tmp_path / "logs", tmp_path / "B"
    folder.mkdir()
    write_mcap(joined(*two), folder / "day.mcap")
    write_mcap(flight(VEHICLE, 12.0, seed=2), folder / "other.mcap")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NeuralLanderWarning)
        assert main(["train", str(folder), "--vehicle", "intel-aero", "--out", str(bundle), "--epochs", "1"]) == 0
    entries = json.loads((bundle / "bundle.json").read_text())["datasets"]
    assert [e["log"] for e in entries] == ["day (flight 1 of 2).mcap", "day (flight 2 of 2).mcap", "other.mcap"]
    hashes = [e["sha256"] for e in entries]
    assert [log_sha256(log) for log in find_logs(entries, bundle, [])] == hashes
    folder.rename(tmp_path / "archive")
    assert [log_sha256(log) for log in find_logs(entries, bundle, [tmp_path / "archive"])] == hashes
