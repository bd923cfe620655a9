"""Flights are known again wherever they are and in whatever format, and none is lost or used twice."""

import json
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from flights import full_log
from learning_flights import flight
from numpy.testing import assert_allclose

from neural_lander.errors import UserError
from neural_lander.flightlog import ColumnMap, FlightLog, read_log, write_csv, write_mcap
from neural_lander.residual.digest import file_sha256, identity, log_sha256, recorded
from neural_lander.residual.retraining.manifest import active, find_logs, read_again, role, withdraw
from neural_lander.residual.retraining.retrain import unknown_logs
from neural_lander.vehicle import load_vehicle

DATA = Path(__file__).parents[2] / "shared/data/crazyflie_near_ground"
VEHICLE = load_vehicle("intel-aero")


def written(folder: Path, *seeds: int) -> list[FlightLog]:
    folder.mkdir(parents=True, exist_ok=True)
    for seed in seeds:
        write_mcap(flight(VEHICLE, 3.0, seed=seed), folder / f"f{seed}.mcap")
    return [read_log(folder / f"f{seed}.mcap") for seed in seeds]


def entry(log: FlightLog, **changes: object) -> dict[str, object]:
    return {"log": Path(log.source).name, **identity(log), "role": "train", **changes}


@pytest.mark.parametrize("log", [flight(VEHICLE, 3.0), full_log(400)], ids=["synthetic", "random"])
def test_a_copy_in_another_format_or_under_another_name_is_the_same_flight(tmp_path: Path, log: FlightLog) -> None:
    write_mcap(log, tmp_path / "a.mcap")
    write_csv(log, tmp_path / "b.csv")
    write_csv(read_log(tmp_path / "a.mcap"), tmp_path / "c.csv")
    write_mcap(read_log(tmp_path / "c.csv"), tmp_path / "d.mcap")
    assert {log_sha256(read_log(tmp_path / n)) for n in ("a.mcap", "b.csv", "c.csv", "d.mcap")} == {log_sha256(log)}


def test_another_flight_has_another_hash() -> None:
    log = flight(VEHICLE, 3.0)
    moved = log.position.copy()
    moved[77, 1] += 1e-5
    others = [replace(log, position=moved), replace(log, velocity=-log.velocity), flight(VEHICLE, 3.0, seed=1)]
    assert len({log_sha256(x) for x in (log, *others)}) == 4
    assert log_sha256(replace(log, position=-0.0 * log.position)) == log_sha256(replace(log, position=0 * log.position))


@pytest.mark.slow
@pytest.mark.skipif(not DATA.is_dir(), reason="needs the real flights in ../shared/data/crazyflie_near_ground")
@pytest.mark.filterwarnings("ignore::neural_lander.errors.NeuralLanderWarning")
def test_real_flights_keep_their_hash_in_our_formats_and_no_two_share_one(tmp_path: Path) -> None:
    hashes = []
    for path in sorted(DATA.glob("*/*/*.usd")):
        log = read_log(path)
        write_mcap(log, tmp_path / "x.mcap")
        write_csv(log, tmp_path / "x.csv")
        hashes.append(log_sha256(log))
        assert log_sha256(read_log(tmp_path / "x.mcap")) == log_sha256(read_log(tmp_path / "x.csv")) == hashes[-1]
    assert len(set(hashes)) == len(hashes) == 31


def test_an_entry_of_old_is_known_by_its_files_hash(tmp_path: Path) -> None:
    (log,) = written(tmp_path, 0)
    old = {"log": "f0.mcap", "sha256": file_sha256(tmp_path / "f0.mcap")}
    assert recorded(log, [old]) is old
    assert recorded(log, [{"log": "f0.mcap", "sha256": "0" * 64}]) is None
    assert role(old) == "train"


def test_a_part_of_a_file_is_not_taken_for_the_whole_or_for_another_part(tmp_path: Path) -> None:
    (whole,) = written(tmp_path, 0)
    first, second = whole.where(whole.t < 1.0), whole.where(whole.t >= 1.0)
    entries = [entry(first), entry(second)]
    assert recorded(first, entries) is entries[0] and recorded(second, entries) is entries[1]
    assert recorded(second, entries[:1]) is None and recorded(whole, entries) is None
    for folders in ([], [tmp_path]):
        with pytest.raises(UserError, match="2 are not found: f0.mcap .*is another flight, or was changed"):
            find_logs(entries, tmp_path / "B", folders)
    write_mcap(second, tmp_path / "second.mcap")  # on its own it can be found
    (found,) = find_logs(entries[1:], tmp_path / "B", [tmp_path])
    assert log_sha256(found) == log_sha256(second)
    assert entry(found)["file_sha256"] == file_sha256(tmp_path / "second.mcap")


def test_old_logs_are_found_where_they_were_beside_the_bundle_or_by_hash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    written(tmp_path / "logs", 0, 1, 2)
    entries = [entry(read_log(f"logs/f{k}.mcap")) for k in range(3)]
    bundle = tmp_path / "B"
    assert [log_sha256(x) for x in find_logs(entries, bundle, [])] == [e["sha256"] for e in entries]
    monkeypatch.chdir("/")  # paths as given are relative to the bundle's folder here
    assert len(find_logs(entries, bundle, [])) == 3
    (tmp_path / "archive/deep").mkdir(parents=True)
    shutil.move(tmp_path / "logs/f0.mcap", tmp_path / "archive/deep/renamed.bin")
    write_csv(read_log(tmp_path / "logs/f1.mcap"), tmp_path / "archive/converted.csv")
    (tmp_path / "logs/f1.mcap").unlink()
    (tmp_path / "archive/notes.txt").write_text("no log")
    found = find_logs(entries, bundle, [tmp_path / "archive"])
    assert [log_sha256(x) for x in found] == [e["sha256"] for e in entries]
    assert Path(found[0].source).name == "renamed.bin"


def foreign(path: Path, log: FlightLog, height: str, lowered: float) -> ColumnMap:
    """The log as a table of somebody else's, whose sonar reads cm and so many of them too little, and its map."""
    path.parent.mkdir(parents=True, exist_ok=True)
    frame = log.to_dataframe()
    frame[height] = 100 * frame.pop("height") - lowered
    frame.to_csv(path, index=False)
    columns = {name: name for name in frame.columns if not name.startswith("rotor") and name != height}
    sonar = {"column": height, "unit": "cm", "offset": lowered}
    return ColumnMap.from_table({"columns": columns | {"height": sonar}})


def test_tables_are_read_again_by_the_map_that_each_was_read_with(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    flights = [flight(VEHICLE, 3.0, seed=k) for k in range(3)]
    maps = [foreign(tmp_path / f"logs/f{k}.csv", log, f"sonar{k}", k) for k, log in enumerate(flights)]
    logs = [read_log(f"logs/f{k}.csv", column_map=column_map) for k, column_map in enumerate(maps)]
    write_csv(flights[0], tmp_path / "logs/ours.csv")
    logs.append(read_log("logs/ours.csv", column_map=maps[0]))
    assert "column_map" not in logs[-1].metadata
    entries = json.loads(json.dumps([entry(log) for log in logs[1:]]))

    def heights(found: list[FlightLog]) -> None:
        for log, true in zip(found, [*flights[1:], flights[0]], strict=True):
            assert_allclose(log.height, true.height, atol=1e-12)

    heights(find_logs(entries, tmp_path / "B", []))
    shutil.move(tmp_path / "logs", tmp_path / "archive")
    heights(find_logs(entries, tmp_path / "B", [tmp_path / "archive"]))
    for path in (tmp_path / "archive").glob("f*.csv"):
        path.write_text(path.read_text() + "\n")  # another file of the same flight
    heights(find_logs(entries, tmp_path / "B", [tmp_path / "archive"]))


def test_an_entry_of_old_is_read_by_the_map_of_today(tmp_path: Path) -> None:
    column_map = foreign(tmp_path / "f.csv", flight(VEHICLE, 3.0), "sonar", 2.0)
    old = entry(read_log(tmp_path / "f.csv", column_map=column_map))
    del old["column_map"]
    read = partial(read_again, column_map=column_map)
    assert_allclose(find_logs([old], tmp_path / "B", [], read)[0].height, flight(VEHICLE, 3.0).height, atol=1e-12)
    (tmp_path / "f.csv").write_text((tmp_path / "f.csv").read_text() + "\n")  # another file of the same flight
    ours = entry(written(tmp_path / "gone", 1)[0], path=None, file_sha256=None)
    found = find_logs([ours, old | {"path": None}], tmp_path / "B", [tmp_path], read)
    assert_allclose(found[1].height, flight(VEHICLE, 3.0).height, atol=1e-12)


def test_a_log_that_is_gone_or_changed_is_named_with_the_remedy(tmp_path: Path) -> None:
    logs = written(tmp_path / "logs", 0, 1)
    entries = [entry(log) for log in logs]
    (tmp_path / "logs/f0.mcap").unlink()
    with pytest.raises(UserError, match=r"learned from 2 logs, of which 1 are not found: f0.mcap; .*--data.*--without"):
        find_logs(entries, tmp_path / "B", [])
    nameless = entries[0] | {"log": "", "path": None}
    with pytest.raises(UserError, match=f"not found: {entries[0]['sha256'][:12]};"):
        find_logs([nameless], tmp_path / "B", [])
    written(tmp_path / "else", 5)
    shutil.copy(tmp_path / "else/f5.mcap", tmp_path / "logs/f0.mcap")
    with pytest.raises(UserError, match=r"f0.mcap \(.*f0.mcap is another flight, or was changed\)"):
        find_logs(entries, tmp_path / "B", [tmp_path / "else"])
    with pytest.raises(UserError, match="--data .*nowhere is no folder"):
        find_logs(entries, tmp_path / "B", [tmp_path / "nowhere"])


def test_withdrawing_keeps_the_entry_and_names_must_be_clear(tmp_path: Path) -> None:
    entries = [entry(log) for log in written(tmp_path, 0, 1)]
    gone = withdraw(entries, ["f0.mcap"])
    assert [role(e) for e in gone] == ["withdrawn", "train"]
    assert [e["log"] for e in active(gone)] == ["f1.mcap"]
    assert gone[0]["sha256"] == entries[0]["sha256"]
    assert withdraw(entries, [str(entries[1]["sha256"])[:10]])[1]["role"] == "withdrawn"
    assert withdraw(entries, [str(tmp_path / "f1.mcap")])[1]["role"] == "withdrawn"
    with pytest.raises(UserError, match="--without f0.mcap: the bundle uses no such log; it uses: f1.mcap"):
        withdraw(gone, ["f0.mcap"])
    twins = [{**e, "log": "flight.mcap"} for e in entries]
    with pytest.raises(UserError, match="2 logs have that name; give one's hash"):
        withdraw(twins, ["flight.mcap"])


def test_known_and_repeated_logs_are_ignored_with_a_reason_and_withdrawn_ones_come_back(tmp_path: Path) -> None:
    known, new, gone = written(tmp_path, 0, 1, 2)
    entries = [entry(known), entry(gone, role="withdrawn")]
    write_csv(known, tmp_path / "copy.csv")
    given = [known, read_log(tmp_path / "copy.csv"), new, new, gone]
    unknown, ignored = unknown_logs(given, entries)
    assert [Path(log.source).name for log in unknown] == ["f1.mcap", "f2.mcap"]
    assert [i["reason"] for i in ignored] == [
        "the same flight is already in the bundle as f0.mcap",
        "the same flight is already in the bundle as f0.mcap",
        "the same flight is already given as f1.mcap",
    ]
