"""Our MCAP: exact, streamed, readable by the stock library, and safe against cuts, full disks and Ctrl-C."""

import errno
import json
import os
import subprocess
import sys
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from flights import assert_same_numbers, full_log
from mcap.reader import make_reader
from mcap.writer import CompressionType, Writer

from neural_lander.errors import NeuralLanderWarning, UserError
from neural_lander.flightlog import FlightLog, McapLogWriter, read_log, write_mcap
from neural_lander.flightlog.log import COLUMNS
from neural_lander.flightlog.mcap_read import Mcap

UPRIGHT = (1.0, 0.0, 0.0, 0.0)


def short_log() -> FlightLog:
    """30 records in 1.45 s: three chunks."""
    rng = np.random.default_rng(1)
    q = np.tile(UPRIGHT, (30, 1))
    return FlightLog.from_arrays(np.arange(30) * 0.05, rng.normal(size=(30, 3)), rng.normal(size=(30, 3)), q)


def read(data: bytes, folder: Path) -> FlightLog:
    path = folder / "read"
    path.write_bytes(data)
    return Mcap().read(path)


def test_a_log_comes_back_bit_for_bit_with_its_metadata_and_warnings(tmp_path: Path) -> None:
    log = full_log(300, warnings=("a record was lost",))
    write_mcap(log, tmp_path / "log")
    with pytest.warns(NeuralLanderWarning, match="a record was lost"):
        got = read_log(tmp_path / "log")
    assert_same_numbers(got, log)
    assert got.metadata == {**log.metadata, "format": "mcap", "source": str(tmp_path / "log")}
    assert got.warnings == log.warnings


def test_where_a_log_was_first_read_from_is_kept(tmp_path: Path) -> None:
    write_mcap(full_log(metadata={"format": "crazyflie-usd", "source": "log00"}), tmp_path / "a")
    write_mcap(read_log(tmp_path / "a"), tmp_path / "b")
    metadata = read_log(tmp_path / "b").metadata
    assert metadata["original_format"] == "crazyflie-usd"
    assert metadata["original_source"] == "log00"


def test_records_appended_one_by_one_give_the_same_log(tmp_path: Path) -> None:
    log = full_log(200)
    with McapLogWriter(tmp_path / "log", metadata=log.metadata, rotor_command_unit="pwm") as writer:
        for k, t in enumerate(log.t):
            writer.append(t, **{name: getattr(log, name)[k] for name in COLUMNS if name != "t"})
    assert_same_numbers(read_log(tmp_path / "log"), log)


def test_the_stock_reader_finds_schema_messages_times_and_metadata(tmp_path: Path) -> None:
    log = full_log(120)
    write_mcap(log, tmp_path / "log.mcap")
    with (tmp_path / "log.mcap").open("rb") as file:
        reader = make_reader(file, validate_crcs=True)
        summary = reader.get_summary()
        assert summary is not None
        assert summary.statistics.message_count == 120
        messages = list(reader.iter_messages(topics=["/flight"]))
        metadata = {record.name: record.metadata for record in reader.iter_metadata()}
    schema = json.loads(messages[0][0].data)
    assert messages[0][0].encoding == "jsonschema"
    assert messages[0][1].message_encoding == "json"
    assert schema["type"] == "object"
    assert schema["properties"]["position"]["description"] == "m, world"
    assert schema["properties"]["rotor_command"]["description"] == "pwm"
    for k, (_, _, message) in enumerate(messages):
        record = json.loads(message.data)
        assert set(record) == set(schema["properties"])
        assert list(record["position"].values()) == log.position[k].tolist()
        assert message.log_time == round(log.t[k] * 1e9)
    assert json.loads(metadata["neural_lander.flight"]["mass_kg"]) == 0.032


@pytest.mark.parametrize("compression", list(CompressionType))
def test_a_log_that_other_tools_have_compressed_anew_is_read(tmp_path: Path, compression: CompressionType) -> None:
    log = short_log()
    write_mcap(log, tmp_path / "log")
    out = BytesIO()
    writer = Writer(out, compression=compression, use_chunking=compression is not CompressionType.LZ4)
    writer.start(profile="neural-lander")
    with (tmp_path / "log").open("rb") as file:
        for schema, channel, message in make_reader(file).iter_messages():
            if not message.sequence and not message.log_time:
                schema_id = writer.register_schema(schema.name, schema.encoding, schema.data)
                identity = writer.register_channel(channel.topic, channel.message_encoding, schema_id)
            writer.add_message(identity, message.log_time, message.data, message.publish_time)
    writer.finish()
    assert_same_numbers(read(out.getvalue(), tmp_path), log)


@pytest.mark.slow
def test_a_cut_at_any_byte_costs_half_a_second_at_most(tmp_path: Path) -> None:
    log = short_log()
    write_mcap(log, tmp_path / "log")
    data = (tmp_path / "log").read_bytes()
    starts = (0, 10, 20, 30)  # of the chunks
    lengths = set()
    for cut in range(100, len(data) - 8):  # without its closing magic alone a file is complete
        try:
            got = read(data[:cut], tmp_path)
        except UserError:  # before the end of the first chunk
            lengths.add(0)
            continue
        assert np.array_equal(got.position, log.position[: len(got.t)])
        assert "cut short" in got.warnings[-1]
        lengths.add(len(got.t))
    assert lengths == set(starts)


@pytest.mark.slow
def test_flipped_bytes_never_change_a_number_or_go_unsaid(tmp_path: Path) -> None:
    log = short_log()
    write_mcap(log, tmp_path / "log")
    data = (tmp_path / "log").read_bytes()
    data_end = int.from_bytes(data[-28:-20], "little") - 13  # of the footer; from there on there is only the index
    rng = np.random.default_rng(5)
    true = {tuple(p) for p in log.position}
    for at in rng.permutation(np.arange(60, len(data)))[:1500]:
        damaged = bytearray(data)
        damaged[at] ^= int(rng.integers(1, 256))
        try:
            got = read(bytes(damaged), tmp_path)
        except UserError:
            continue
        assert {tuple(p) for p in got.position} <= true
        assert got.warnings or at >= data_end, at


def chunks(data: bytes) -> list[tuple[int, int]]:
    """Begin and end of each chunk record."""
    found, at = [], 8
    while at < len(data) - 8:
        after = at + 9 + int.from_bytes(data[at + 1 : at + 9], "little")
        if data[at] == 6:
            found.append((at, after))
        at = after
    return found


def test_a_chunk_that_cannot_be_unpacked_is_counted_and_its_records_with_it(tmp_path: Path) -> None:
    write_mcap(short_log(), tmp_path / "log")
    data = (tmp_path / "log").read_bytes()
    start, end = chunks(data)[1]
    for at in (start + 9 + 8 + 8 + 8 + 4 + 4 + 4 + 8, end - 5):  # zstandard's magic, within its block
        damaged = data[:at] + bytes([data[at] ^ 0x41]) + data[at + 1 :]
        log = read(damaged, tmp_path)
        assert len(log.t) == 20
        assert [text.split(": ", 1)[1] for text in log.warnings] == ["1 damaged chunks are lost, 10 of 30 messages"]


def test_a_chunk_that_is_no_longer_one_is_missed_by_the_count_at_the_end(tmp_path: Path) -> None:
    write_mcap(short_log(), tmp_path / "log")
    data = bytearray((tmp_path / "log").read_bytes())
    data[chunks(bytes(data))[1][0]] = 0x66  # an opcode of no record
    log = read(bytes(data), tmp_path)
    assert len(log.t) == 20
    assert "damaged: 10 of 30 messages that the file's end counts are not found" in log.warnings[0]


def test_damage_to_the_metadata_alone_is_told_from_lost_messages(tmp_path: Path) -> None:
    write_mcap(short_log(), tmp_path / "log")
    data = (tmp_path / "log").read_bytes()
    at = data.index(b"neural-lander", 30)  # the library's name, in the header
    log = read(data[:at] + b"N" + data[at + 1 :], tmp_path)
    assert len(log.t) == 30
    assert "all messages are there, but the metadata may be wrong" in log.warnings[0]
    log = read(data[:-40] + bytes([data[-40] ^ 1]) + data[-39:], tmp_path)  # within the index
    assert len(log.t) == 30
    assert "damaged in the index at its end" in log.warnings[0]


def test_a_process_that_dies_loses_half_a_second_at_most(tmp_path: Path) -> None:
    path = tmp_path / "log"
    script = (
        "import os, sys; from neural_lander.flightlog import McapLogWriter\n"
        "w = McapLogWriter(sys.argv[1])\n"
        "for k in range(377): w.append(0.01 * k, position=(k, 0, 0), velocity=(0, 0, 0), attitude=(1, 0, 0, 0))\n"
        "os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", script, str(path)], check=False).returncode == 9
    with pytest.warns(NeuralLanderWarning, match="cut short"):
        log = read_log(path)
    assert 3.76 - log.t[-1] <= 0.5
    assert log.position[-1, 0] == len(log.t) - 1


def record(writer: McapLogWriter, k: int) -> None:
    writer.append(0.01 * k, position=(k, 0, 0), velocity=(0, 0, 0), attitude=UPRIGHT)


def record_for_ever(writer: McapLogWriter) -> None:
    for k in range(100_000):
        record(writer, k)


def test_ctrl_c_loses_no_record(tmp_path: Path) -> None:
    def fly() -> None:
        with McapLogWriter(tmp_path / "log") as writer:
            for k in range(123):
                record(writer, k)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fly()
    assert len(read_log(tmp_path / "log").t) == 123


def limited(monkeypatch: pytest.MonkeyPatch, room: int, error: BaseException) -> None:
    """Let ``os.write`` fail once ``room`` bytes are written."""
    write, left = os.write, [room]

    def partial(file: int, data: memoryview) -> int:
        if left[0] <= 0:
            raise error
        written = write(file, data[: left[0]])
        left[0] -= written
        return written

    monkeypatch.setattr(os, "write", partial)


@pytest.mark.parametrize("room", range(4000, 12_000, 777))
def test_a_full_disk_is_said_and_what_was_written_stays_readable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    limited(monkeypatch, room, OSError(errno.ENOSPC, "No space left on device"))
    writer = McapLogWriter(tmp_path / "log")
    with pytest.raises(UserError, match=r"beyond t = .* No space left on device"):
        record_for_ever(writer)
    with pytest.raises(UserError, match="is closed"):
        record(writer, 10**6)
    writer.close()
    with pytest.warns(NeuralLanderWarning, match="cut short"):
        log = read_log(tmp_path / "log")
    assert len(log.t) == log.position[-1, 0] + 1
    assert writer._last_t - log.t[-1] < 0.5 + 1e-9


def test_an_interruption_amid_a_write_leaves_a_file_that_is_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limited(monkeypatch, 5000, KeyboardInterrupt())
    writer = McapLogWriter(tmp_path / "log")
    with pytest.raises(KeyboardInterrupt):
        record_for_ever(writer)
    writer.close()
    with pytest.warns(NeuralLanderWarning, match="cut short"):
        assert len(read_log(tmp_path / "log").t) >= 50


def test_a_recording_never_overwrites_a_file(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("precious")
    with pytest.raises(UserError, match="never overwrites"):
        McapLogWriter(tmp_path / "log")
    assert (tmp_path / "log").read_text() == "precious"


def test_a_failed_conversion_leaves_the_file_that_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_mcap(short_log(), tmp_path / "log")
    before = (tmp_path / "log").read_bytes()
    limited(monkeypatch, 1000, OSError(errno.ENOSPC, "No space left on device"))
    with pytest.raises(
        UserError, match=r"/log cannot be written: No space left on device; nothing half-written is left$"
    ):
        write_mcap(full_log(), tmp_path / "log")
    assert (tmp_path / "log").read_bytes() == before
    assert os.listdir(tmp_path) == ["log"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"position": (0, float("nan"), 0)}, "not finite"),
        ({"t": 0.0}, "must increase"),
        ({"t": float("inf")}, "not finite"),
        ({"position": (0, 0)}, "'position' of a record has 2 values, expected 3"),
        ({"velocity": None}, "lacks the field 'velocity'"),
        ({"height": 1.0}, "'height' is new"),
        ({"altitude": 1.0}, "unknown field 'altitude'"),
    ],
)
def test_a_bad_record_is_refused_and_the_others_stay(tmp_path: Path, change: dict, message: str) -> None:
    good = {"position": (0, 0, 0), "velocity": (0, 0, 0), "attitude": UPRIGHT}
    with McapLogWriter(tmp_path / "log") as writer:
        writer.append(0.0, **good)
        with pytest.raises(UserError, match=message):
            writer.append(**({"t": 0.1} | good | change))
        writer.append(0.2, **good)
    np.testing.assert_array_equal(read_log(tmp_path / "log").t, [0.0, 0.2])


def test_metadata_must_be_json(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="metadata 'gains'"):
        McapLogWriter(tmp_path / "log", metadata={"gains": np.eye(3)})
    assert not (tmp_path / "log").exists()


def test_an_mcap_of_another_system_is_not_taken_for_ours(tmp_path: Path) -> None:
    out = BytesIO()
    writer = Writer(out)
    writer.start(profile="ros2")
    writer.finish()
    assert not Mcap().recognises(out.getvalue())


def test_a_log_of_ours_without_a_record_is_refused(tmp_path: Path) -> None:
    with McapLogWriter(tmp_path / "log"):
        pass
    with pytest.raises(UserError, match="no record on the topic /flight"):
        read_log(tmp_path / "log")
