"""The recorder: ready for training, whole up to half a second before the worst, and never in the loop's way."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fake_link import FakeLink
from mcap.reader import make_reader
from test_bridge_loop import VEHICLE, Flight, Knows, flight

from firmware_bridge.recording import recorder as recorder_module
from firmware_bridge.recording.format import BRIDGE_SCHEMA, bridge_message
from firmware_bridge.recording.recorder import QUEUE_LIMIT, Recorder
from firmware_bridge.recording.tick_record import STOPPED, TickRecord
from firmware_bridge.supervisor.limits import Permission
from neural_lander.errors import NeuralLanderWarning, UserError
from neural_lander.flightlog import read_log
from neural_lander.residual.samples import residual_samples

ROOT = Path(__file__).parents[1]
METADATA = {"vehicle": VEHICLE.name, "mass_kg": VEHICLE.mass, "bundle_sha256": "0" * 64, "height_source": "rangefinder"}


def recorded(path: Path, records: list[TickRecord], commands: bool = True) -> Recorder:
    made = Recorder(path, METADATA, commands=commands)
    for record in records:
        made.put(record)
    made.close()
    assert made.problem == ""
    return made


def bridge_messages(path: Path) -> list[dict]:
    with path.open("rb") as file:
        return [json.loads(m.data) for _, _, m in make_reader(file).iter_messages(topics=["/bridge"])]


@pytest.fixture(scope="module")
def flown() -> Flight:
    f = flight(Knows(), link={"rotors": True})
    f.fly(20.0)
    return f


def test_a_flight_is_a_log_to_learn_from(tmp_path: Path, flown: Flight) -> None:
    made = recorded(tmp_path / "log", flown.records)
    log = read_log(tmp_path / "log")
    assert made.dropped == 0
    assert made.flight_records == len(log.t)
    assert log.duration == pytest.approx(18.0, abs=0.05)  # less the two seconds in which sources may turn up
    assert log.metadata["vehicle"] == VEHICLE.name
    assert log.metadata["ticks"] == len(flown.records)
    assert log.metadata["source_rates_Hz"]["position"] == pytest.approx(100.0, rel=0.01)
    for name in ("body_rates", "specific_force", "rotor_speed", "battery_voltage", "height", "f_a_applied"):
        assert getattr(log, name) is not None, name
    samples = residual_samples(log, VEHICLE)
    # the plant's lift is 20 % of the thrust at the ground, e-folding over 0.115 m: the label has to find it again
    share = np.exp(-samples.height / 0.115) * 0.2
    flying = samples.usable & (samples.rotor_thrust.sum(-1) > 0.9 * VEHICLE.weight)
    np.testing.assert_allclose(
        np.median(samples.label[flying, 2] - share[flying] * samples.rotor_thrust[flying].sum(-1)), 0.0, atol=0.05
    )
    assert samples.label[flying, 2].max() > 1.0


def test_every_tick_is_on_the_bridge_topic_with_what_was_done_and_why(tmp_path: Path, flown: Flight) -> None:
    recorded(tmp_path / "log", flown.records)
    messages = bridge_messages(tmp_path / "log")
    assert len(messages) == len(flown.records)
    assert all(set(m) == set(BRIDGE_SCHEMA["required"]) for m in messages)
    assert [m["phase"] for m in messages if m["entered"]] == [str(p) for p in flown.phases]
    k = next(k for k, m in enumerate(messages) if m["stage"] == "hover")
    record = flown.records[k]
    assert record.setpoint is not None and record.estimate is not None
    assert messages[k]["setpoint_thrust"] == record.setpoint.thrust
    assert list(messages[k]["position"].values()) == record.estimate.position.tolist()
    assert messages[k]["in_control"] == "companion"
    assert messages[k]["rotor_speed_source"] == "measured rotor speed"


@pytest.mark.slow
def test_where_the_height_is_lost_the_flight_topic_has_a_gap_and_the_bridge_topic_has_none(tmp_path: Path) -> None:
    f = flight(Knows())
    f.until("hover")
    f.link.range_period = None
    f.fly(1.0)
    f.link.range_period = 0.02
    f.fly(1.0)
    recorded(tmp_path / "log", f.records)
    log = read_log(tmp_path / "log")
    assert np.diff(log.t).max() == pytest.approx(0.8, abs=0.05)  # a height is young for 0.2 s
    assert len(bridge_messages(tmp_path / "log")) == len(f.records)


@pytest.mark.slow
def test_without_rotor_speeds_u_is_what_was_commanded_and_the_log_says_so(tmp_path: Path) -> None:
    f = flight(Knows())
    f.fly(8.0)
    recorded(tmp_path / "log", f.records)
    log = read_log(tmp_path / "log")
    assert log.rotor_speed is None and log.rotor_command is not None
    sources = [m["rotor_speed_source"] for m in bridge_messages(tmp_path / "log")]
    assert set(sources) == {"disarmed", "", "commanded thrust / 4"}
    assert sources.count("") == 1  # the tick in which it is seen to be armed


def test_while_another_flies_without_rotor_speeds_there_is_no_thrust_in_the_log(tmp_path: Path) -> None:
    f = flight(Knows(), Permission(observe=True))
    f.link.armed = True
    f.fly(4.0)
    recorded(tmp_path / "log", f.records, commands=False)
    log = read_log(tmp_path / "log")
    assert log.rotor_speed is None and log.rotor_command is None


def test_a_record_that_no_log_may_hold_costs_itself_alone(tmp_path: Path, flown: Flight) -> None:
    records = flown.records[:400]
    assert recorded(tmp_path / "log", [*records[:300], records[299], *records[300:]]).refused == 1
    assert len(read_log(tmp_path / "log").t) == 200
    assert len(bridge_messages(tmp_path / "log")) == 401


def test_what_is_not_finite_is_null(flown: Flight) -> None:
    from dataclasses import replace

    record = replace(flown.records[-1], domain_score=float("nan"), f_a_applied=np.array([0.0, np.inf, 0.0]))
    message = json.loads(bridge_message(0.0, record))
    assert message["domain_score"] is None and message["f_a_applied"] is None


def test_a_file_that_is_there_or_a_folder_that_is_not_is_refused(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("precious")
    with pytest.raises(UserError, match="never overwrites"):
        Recorder(tmp_path / "log", {}, commands=True)
    with pytest.raises(UserError, match="cannot be written"):
        Recorder(tmp_path / "none" / "log", {}, commands=True)


def test_a_disk_without_room_is_refused_before_the_flight(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9, 10**6))  # type: ignore[attr-defined]
    with pytest.raises(UserError, match="1 MiB are free .* make room"):
        Recorder(tmp_path / "log", {}, commands=True)
    assert not (tmp_path / "log").exists()


def test_a_disk_that_fills_up_in_flight_is_said_and_the_loop_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flown: Flight
) -> None:
    made = Recorder(tmp_path / "log", METADATA, commands=True)
    half = len(flown.records) // 2
    for record in flown.records[:half]:
        made.put(record)
    wait_until(lambda: made.flight_records > half - 210)

    def full(file: int, data: memoryview) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    for record in flown.records[half:-100]:
        made.put(record)
    wait_until(lambda: made.problem != "")
    for record in flown.records[-100:]:
        made.put(record)
    assert "No space left on device" in made.problem
    assert made.dropped >= 100
    made.close()
    with pytest.warns(NeuralLanderWarning, match="cut short"):
        assert len(read_log(tmp_path / "log").t) > 100


def test_a_height_is_recorded_up_to_the_supervisors_limit(tmp_path: Path, flown: Flight) -> None:
    old = [replace(record, height_age=0.3) for record in flown.records[:1000]]
    made = recorded(tmp_path / "young", old)
    assert read_log(tmp_path / "young").height is None
    made = Recorder(tmp_path / "old", METADATA, commands=True, height_age=0.5)
    for record in old:
        made.put(record)
    made.close()
    assert read_log(tmp_path / "old").height is not None


def test_a_record_that_cannot_be_written_is_said_and_what_came_before_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flown: Flight
) -> None:
    made, count = Recorder(tmp_path / "log", METADATA, commands=True), iter(range(10_000))

    def fails(t: float, record: TickRecord) -> bytes:
        if next(count) == 500:
            raise ValueError("unforeseen")
        return bridge_message(t, record)

    monkeypatch.setattr(recorder_module, "bridge_message", fails)
    for record in flown.records:
        made.put(record)
    wait_until(lambda: made.problem != "")
    made.put(flown.records[-1])
    made.close()
    assert "ValueError: unforeseen" in made.problem and made.dropped > 0 and not made._queue
    assert len(bridge_messages(tmp_path / "log")) == 500 and made._writer.closed


def wait_until(condition: object) -> None:
    deadline = time.monotonic() + 20.0
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_disk_that_stalls_costs_records_and_never_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flown: Flight
) -> None:
    made = Recorder(tmp_path / "log", METADATA, commands=True)
    stalled, write = [True], made._write

    def wait(record: TickRecord) -> None:
        while stalled[0]:
            time.sleep(0.01)
        write(record)

    monkeypatch.setattr(made, "_write", wait)
    for k in range(QUEUE_LIMIT + 500):
        made.put(flown.records[k % len(flown.records)])
    assert 499 <= made.dropped <= 500
    made._queue.clear()
    stalled[0] = False
    made.close()


SCRIPT = """
import os, signal, sys, time
sys.path[:0] = ["tests", "."]
from test_bridge_loop import Knows, flight
from test_bridge_recorder import METADATA
from pathlib import Path
from firmware_bridge.recording.recorder import Recorder
f = flight(Knows())
f.fly(9.0)
recorder = Recorder(Path(sys.argv[1]), METADATA, commands=True)
begin = time.monotonic()
for k, record in enumerate(f.records[:450]):
    while time.monotonic() - begin < k / 100:
        time.sleep(0.001)
    recorder.put(record)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
def test_a_killed_process_loses_half_a_second_at_most(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT, str(tmp_path / "log")], cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL
    with pytest.warns(NeuralLanderWarning, match="cut short"):
        log = read_log(tmp_path / "log")
    f = flight(Knows())
    f.fly(9.0)
    turning = next(r.t for r in f.records if r.rotor_speed_source != STOPPED) - f.records[0].t
    end = turning + recorder_module.FIRST_TURN + log.duration  # records begin once it is known what rotors tell
    assert 4.49 - end <= 0.5
    assert np.diff(log.t).max() < 0.0201  # one tick has no thrust: it is armed and nothing was commanded yet


def test_what_is_pending_is_on_the_disk_soon_without_more_records(tmp_path: Path, flown: Flight) -> None:
    """Log time stands still, and the recorder's own clock brings it out."""
    made = Recorder(tmp_path / "log", METADATA, commands=True)
    for record in flown.records[:300]:
        made.put(record)
    wait_until(lambda: made._ticks == 300)
    time.sleep(3 * recorder_module.SYNC_PERIOD)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NeuralLanderWarning)  # it is still open: cut short
        assert len(read_log(tmp_path / "log").t) == 100
    made.close()


def test_a_note_that_is_no_json_costs_the_note_and_not_the_flight(tmp_path: Path, flown: Flight) -> None:
    made = Recorder(tmp_path / "log", METADATA, commands=True)
    made.note({"checks": [{"passed": np.True_}]})
    wait_until(lambda: made.refused == 1)
    made.note({"checks": [{"passed": True}]})
    for record in flown.records[:300]:
        made.put(record)
    made.close()
    assert made.problem == ""
    assert read_log(tmp_path / "log").metadata["checks"] == [{"passed": True}]


@pytest.mark.slow
def test_a_recorder_that_never_catches_up_brings_out_what_it_has_all_the_same(
    tmp_path: Path, flown: Flight, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    made = Recorder(tmp_path / "log", METADATA, commands=True)
    write, sync = made._write, made._writer.sync
    monkeypatch.setattr(made, "_write", lambda record: (time.sleep(0.002), write(record)))
    monkeypatch.setattr(made._writer, "sync", lambda: (synced.append(made._ticks), sync()))
    for record in flown.records[:1000]:
        made.put(record)
    wait_until(lambda: made._ticks == 1000)
    assert len(synced) >= 3 and synced[0] < 300  # 2 s and more of work, brought out every 0.2 s
    made.close()


def test_the_fake_vehicle_is_at_rest_on_its_floor() -> None:
    """The reference of these tests: a scale in the fake's height would hide one in the log's."""
    link = FakeLink(VEHICLE, floor=-0.4)
    link.poll(0.0)
    link.poll(1.0)
    assert link.height == pytest.approx(0.0, abs=1e-12)
    assert link.p[2] == pytest.approx(-0.4 + VEHICLE.gear_clearance)
