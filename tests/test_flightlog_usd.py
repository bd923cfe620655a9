"""Crazyflie µSD logs: values, units, and what is left of a file that is cut or damaged."""

import math
import warnings
from pathlib import Path

import numpy as np
import pytest
import usd_file
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from usd_file import FIELDS, STATE

from neural_lander.errors import NeuralLanderWarning, UserError
from neural_lander.flightlog import FlightLog, read_log
from neural_lander.flightlog.crazyflie_usd import CrazyflieUsd, decompress_quaternions


def read(data: bytes, folder: Path) -> FlightLog:
    path = folder / "log00"
    path.write_bytes(data)
    return CrazyflieUsd().read(path)


def positions(records: list[list]) -> np.ndarray:
    first = list(FIELDS).index(STATE + "x")
    return np.array([record[first : first + 3] for record in records]) / 1000


def test_every_field_arrives_in_si(tmp_path: Path) -> None:
    records = usd_file.flight(20)
    log = read(usd_file.file(records), tmp_path)
    column = {name: np.array([r[i] for r in records], dtype=float) for i, name in enumerate(FIELDS)}

    def stacked(*names: str) -> np.ndarray:
        return np.stack([column[name] for name in names], axis=-1)

    np.testing.assert_allclose(log.t, (column["tick"] - column["tick"][0]) / 1e6, rtol=1e-15)
    np.testing.assert_allclose(log.position, stacked(*(STATE + a for a in "xyz")) / 1e3, rtol=1e-15)
    np.testing.assert_allclose(log.velocity, stacked(*(STATE + "v" + a for a in "xyz")) / 1e3, rtol=1e-15)
    np.testing.assert_allclose(log.specific_force, stacked(*(STATE + "a" + a for a in "xyz")) / 1e3, rtol=1e-15)
    np.testing.assert_allclose(log.rotor_command, stacked(*(f"pwm.m{k}_pwm" for k in (1, 2, 3, 4))) / 65536)
    np.testing.assert_allclose(log.battery_voltage, column["pm.vbatMV"] / 1e3, rtol=1e-15)
    np.testing.assert_allclose(log.position_reference, stacked(*(f"ctrltargetZ.{a}" for a in "xyz")) / 1e3)
    rates = stacked(STATE + "rateRoll", STATE + "ratePitch", STATE + "rateYaw") / 1e3
    np.testing.assert_allclose(log.body_rates[:, [0, 2]], rates[:, [0, 2]], rtol=1e-15)
    np.testing.assert_allclose(np.abs(log.body_rates[:, 1]), np.abs(rates[:, 1]), rtol=1e-15)
    reference = np.array([usd_file.decompress(q) for q in column[STATE + "quat"].astype(int).tolist()])
    np.testing.assert_allclose(log.attitude, reference, atol=1e-12)
    assert log.rotor_command_unit == "pwm"
    assert log.metadata["format"] == "crazyflie-usd"
    assert log.warnings == ()


@given(st.lists(st.floats(-1, 1), min_size=4, max_size=4).filter(lambda q: np.linalg.norm(q) > 0.1))
def test_quaternions_agree_with_the_scalar_codec_to_its_resolution(q: list[float]) -> None:
    q = np.array(q) / np.linalg.norm(q)
    packed = usd_file.compress(*q)
    ours = decompress_quaternions(np.array([packed], dtype=np.uint32))[0]
    np.testing.assert_allclose(ours, usd_file.decompress(packed), atol=1e-15)
    assert np.linalg.norm(ours) == pytest.approx(1, abs=1e-12)
    assert abs(ours @ q) > math.cos(0.004)  # 3 x 0.7 mrad of rounding, twice in the angle


def test_a_word_that_is_of_no_unit_quaternion_becomes_nan() -> None:
    assert np.isnan(decompress_quaternions(np.array([0x1FF7FDFF], dtype=np.uint32))).any()


@pytest.mark.parametrize("stored_sign", [1, -1])
def test_the_pitch_rate_is_right_handed_whatever_sign_the_firmware_logs(tmp_path: Path, stored_sign: int) -> None:
    records, names = usd_file.flight(300), list(FIELDS)
    t = 0.00988 * np.arange(300)
    pitch, rate = 0.2 * np.sin(2 * t), 0.4 * np.cos(2 * t)
    for record, angle, omega in zip(records, pitch, rate, strict=True):
        x, y, z, w = Rotation.from_euler("y", angle).as_quat()
        record[names.index(STATE + "quat")] = usd_file.compress(w, x, y, z)
        record[names.index(STATE + "ratePitch")] = round(stored_sign * omega * 1000)
    np.testing.assert_allclose(read(usd_file.file(records), tmp_path).body_rates[:, 1], rate, atol=6e-4)


@pytest.mark.slow
def test_a_cut_at_any_byte_gives_the_records_before_it_and_says_what_is_lost(tmp_path: Path) -> None:
    records, sizes = usd_file.flight(11), (3, 2, 1, 5)
    data, start, size = usd_file.file(records, sizes=sizes), len(usd_file.header(FIELDS)), usd_file.record_size()
    kept_at, boundaries = {}, {start}
    at, done = start, 0
    for count in sizes:
        end = at + 1 + count * size + 4
        kept_at |= {cut: done + min(count, max(0, cut - at - 1) // size) for cut in range(at, end)}
        at, done = end, done + count
        boundaries.add(at)
    for cut in range(len(data)):
        kept = kept_at.get(cut, 0)
        if kept < 2:
            with pytest.raises(UserError):
                read(data[:cut], tmp_path)
            continue
        log = read(data[:cut], tmp_path)
        np.testing.assert_allclose(log.position, positions(records)[:kept])
        assert len(log.warnings) == (cut not in boundaries), cut
        if cut not in boundaries:
            block = next(i for i in range(4) if cut < start + sum(1 + k * size + 4 for k in sizes[: i + 1]))
            missing = sum(sizes[: block + 1]) - kept
            assert f"{missing} records (about {missing * 0.00988:.2f} s)" in log.warnings[0]


def test_flipped_bytes_never_go_unsaid(tmp_path: Path) -> None:
    records = usd_file.flight(40)
    data, start = usd_file.file(records), len(usd_file.header(FIELDS))
    truth = {tuple(p) for p in positions(records)}
    rng = np.random.default_rng(7)
    for _ in range(300):
        damaged = bytearray(data)
        for at in rng.integers(0, len(data), rng.integers(1, 6)):
            damaged[at] ^= int(rng.integers(1, 256))
        try:
            log = read(bytes(damaged), tmp_path)
        except UserError:
            assert damaged[:start] != data[:start] or len(truth) < 2
            continue
        assert len(log.t) <= 40
        assert log.warnings
        if "cut short" not in log.warnings[-1]:  # every record then is covered by a checksum
            assert {tuple(p) for p in log.position} <= truth


def test_a_damaged_record_costs_its_block_and_no_other(tmp_path: Path) -> None:
    records = usd_file.flight(30)
    data = bytearray(usd_file.file(records, sizes=(5,)))
    at = len(usd_file.header(FIELDS)) + 2 * (5 * usd_file.record_size() + 5) + 30
    data[at] ^= 0x10
    log = read(bytes(data), tmp_path)
    np.testing.assert_allclose(log.position, np.delete(positions(records), range(10, 15), axis=0))
    assert "5 records (0.05 s), are lost" in log.warnings[0]


def test_a_damaged_last_block_is_dropped_not_taken_for_a_cut(tmp_path: Path) -> None:
    records = usd_file.flight(15)
    data = bytearray(usd_file.file(records, sizes=(5,)))
    data[-10] ^= 0x10
    log = read(bytes(data), tmp_path)
    np.testing.assert_allclose(log.position, positions(records)[:10])
    assert "damaged at 1 places" in log.warnings[0]


@pytest.mark.parametrize("wrong", [0, 1, 4, 6, 255])
def test_a_damaged_count_byte_costs_nothing(tmp_path: Path, wrong: int) -> None:
    records = usd_file.flight(30)
    data = bytearray(usd_file.file(records, sizes=(5,)))
    data[len(usd_file.header(FIELDS)) + 5 * usd_file.record_size() + 5] = wrong
    log = read(bytes(data), tmp_path)
    np.testing.assert_allclose(log.position, positions(records))
    assert "count of 1 blocks" in log.warnings[0]


@pytest.mark.parametrize("fill", [0x00, 0xFF, 0x01])
def test_a_lost_sector_is_passed_over(tmp_path: Path, fill: int) -> None:
    records = usd_file.flight(400)
    data = bytearray(usd_file.file(records))
    data[6001:6513] = bytes([fill]) * 512
    log = read(bytes(data), tmp_path)
    assert 400 - 25 <= len(log.t) < 400
    assert {tuple(p) for p in log.position} <= {tuple(p) for p in positions(records)}
    assert log.warnings


def test_damage_everywhere_ends_in_time_and_in_words(tmp_path: Path) -> None:
    records = usd_file.flight(5000)
    data = bytearray(usd_file.file(records))
    start = len(usd_file.header(FIELDS))
    for at in range(start + 20, len(data), 60):  # the smallest block has 61 bytes
        data[at] ^= 0x55
    with pytest.raises(UserError, match="no record"):
        read(bytes(data), tmp_path)


@pytest.mark.parametrize("at", [0, 3, 40, 200])
def test_a_damaged_header_is_refused(tmp_path: Path, at: int) -> None:
    data = bytearray(usd_file.file(usd_file.flight(9)))
    data[at] ^= 0x01
    path = tmp_path / "log00"
    path.write_bytes(data)
    with pytest.raises(UserError, match="header|no known log format"):
        read_log(path)


def test_the_counter_may_wrap_around(tmp_path: Path) -> None:
    records = usd_file.flight(20)
    for record in records:
        record[0] = (record[0] + 2**32 - 80_000) % 2**32
    np.testing.assert_allclose(np.diff(read(usd_file.file(records), tmp_path).t), 0.00988, rtol=1e-9)


def test_ticks_in_milliseconds_are_told_by_their_step(tmp_path: Path) -> None:
    records = usd_file.flight(20)
    for k, record in enumerate(records):
        record[0] = 500 + 10 * k
    log = read(usd_file.file(records), tmp_path)
    np.testing.assert_allclose(np.diff(log.t), 0.01, rtol=1e-9)
    assert "milliseconds" in log.warnings[0]


def test_records_that_repeat_or_go_back_in_time_are_dropped_and_counted(tmp_path: Path) -> None:
    records = usd_file.flight(12)
    records[5][0] = records[4][0]
    records[8][0] = records[3][0]
    log = read(usd_file.file(records), tmp_path)
    np.testing.assert_allclose(log.position, np.delete(positions(records), [5, 8], axis=0))
    assert "2 records whose time does not increase" in log.warnings[0]


def test_records_that_are_not_finite_are_dropped_and_counted(tmp_path: Path) -> None:
    fields = {**FIELDS, STATE + "x": "f"}
    records = usd_file.flight(12, fields=fields)
    for row in (2, 7):
        records[row][1] = math.nan
    log = read(usd_file.file(records, fields), tmp_path)
    assert len(log.t) == 10
    assert "2 records with values that are not finite" in log.warnings[0]


@pytest.mark.parametrize("name", ["tick", STATE + "vz", STATE + "quat", "pwm.m3_pwm"])
def test_a_missing_needed_field_is_named(tmp_path: Path, name: str) -> None:
    fields = {field: code for field, code in FIELDS.items() if field != name}
    records = usd_file.flight(5)
    kept = [[value for value, field in zip(r, FIELDS, strict=True) if field != name] for r in records]
    with pytest.raises(UserError, match=name):
        read(usd_file.file(kept, fields), tmp_path)


def test_fields_that_no_one_needs_may_be_absent(tmp_path: Path) -> None:
    fields = {field: code for field, code in FIELDS.items() if field == "tick" or field.startswith(STATE)}
    records = [record[: len(fields)] for record in usd_file.flight(5)]
    log = read(usd_file.file(records, fields), tmp_path)
    assert log.rotor_command is None
    assert log.battery_voltage is None


def test_what_a_model_on_board_predicted_is_read_in_newtons(tmp_path: Path) -> None:
    fields = {**FIELDS, "ctrlFa.Faz": "f"}
    records = [[*record, value] for record, value in zip(usd_file.flight(3), (6.5, 0.0, math.nan), strict=True)]
    log = read(usd_file.file(records, fields), tmp_path)
    assert log.f_a_applied is not None
    np.testing.assert_allclose(log.f_a_applied, [[0, 0, 6.5 * 9.81e-3], [0, 0, 0], [0, 0, 0]], rtol=1e-6)
    assert read(usd_file.file(usd_file.flight(3)), tmp_path).f_a_applied is None


def test_what_is_lost_is_warned_of(tmp_path: Path) -> None:
    path = tmp_path / "cut.csv"  # the name says nothing: content decides
    path.write_bytes(usd_file.file(usd_file.flight(20))[:-7])
    with pytest.warns(NeuralLanderWarning, match="cut short"):
        log = read_log(path)
    assert len(log.warnings) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        path.write_bytes(usd_file.file(usd_file.flight(20)))
        assert read_log(path).warnings == ()
