"""ArduPilot DataFlash: against pymavlink's reader and SciPy, cores and channels, and what is no quadrotor."""

from collections import defaultdict
from pathlib import Path

import dataflash_file
import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.spatial.transform import Rotation

from neural_lander.errors import NeuralLanderWarning, UserError
from neural_lander.flightlog import FlightLog, read_log
from neural_lander.flightlog.dataflash_records import read_records

REAL = Path(__file__).parents[2] / "shared/data/logs"
COPTER = REAL / "arducopter_sitl_takeoff_descent.BIN"
real = pytest.mark.skipif(not REAL.is_dir(), reason="needs the real logs in ../shared/data/logs")


def read(tmp_path: Path, messages: list) -> FlightLog:
    (tmp_path / "log.BIN").write_bytes(dataflash_file.file(messages))
    return read_log(tmp_path / "log.BIN")


@pytest.mark.parametrize("quaternions", [True, False])
def test_a_flight_comes_out_in_our_frames_and_units(tmp_path: Path, quaternions: bool) -> None:
    log = read(tmp_path, dataflash_file.flight(quaternions=quaternions))
    t = log.t
    assert np.median(np.diff(t)) == pytest.approx(0.005)
    assert_allclose(log.position, np.stack([0 * t + 2.0, t, 0.5 - 0.5 * np.cos(t)], axis=-1), atol=1e-4)
    assert_allclose(log.velocity, np.stack([0 * t, 0 * t + 1.0, 0.5 * np.sin(t)], axis=-1), atol=1e-4)
    expected = Rotation.from_rotvec(np.outer(0.2 * np.sin(2 * t), [0, 1, 0])) * Rotation.from_euler(
        "z", 90, degrees=True
    )
    found = Rotation.from_quat(log.attitude, scalar_first=True)
    assert (found.inv() * expected).magnitude().max() < (1e-4 if quaternions else 2e-4)  # Euler angles in 0.01 degree
    assert_allclose(log.body_rates, np.stack([0.4 * np.cos(2 * t), 0 * t - 0.01, 0 * t - 0.02], axis=-1), atol=1e-6)
    assert_allclose(log.specific_force, expected.apply([0.0, 0.0, 9.81]), atol=3e-3)
    assert_allclose(log.rotor_command[0], [0.25, 0.5, 0.6, 0.7])  # motor 1 is on channel 2
    assert_allclose(log.rotor_speed[5], (3000 + 60 * np.array([1, 0, 2, 3])) * 2 * np.pi / 60)  # so is its telemetry
    assert log.metadata["height_source"] == "range finder"
    assert log.metadata["rotor_quadrants"] == [[1, -1], [-1, 1], [1, 1], [-1, -1]]
    assert log.warnings == ()


def test_of_a_frame_that_numbers_its_motors_otherwise_the_order_is_not_known(tmp_path: Path) -> None:
    for kind, known in ((1.0, True), (3.0, True), (0.0, False), (12.0, False)):  # X, H, plus, Betaflight's X
        log = read(tmp_path, [*dataflash_file.flight(), ("PARM", (2000, b"FRAME_TYPE", kind))])
        assert (log.metadata["rotor_quadrants"] is not None) == known


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        (dataflash_file.flight(firmware="ArduPlane V4.5.1"), "is a log of ArduPlane, no multirotor"),
        (dataflash_file.flight() + [("PARM", (2000, b"FRAME_CLASS", 2.0))], "FRAME_CLASS = 2 is no quadrotor"),
        ([m for m in dataflash_file.flight() if m[0] != "XKF1"], "no EKF estimate"),
        ([m for m in dataflash_file.flight() if m[0] not in ("XKQ", "ATT")], "no attitude"),
    ],
)
def test_what_cannot_be_learned_from_is_refused_in_one_sentence(tmp_path: Path, messages: list, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read(tmp_path, messages)


def test_an_ekf_reset_is_taken_out(tmp_path: Path) -> None:
    messages = []
    for name, values in dataflash_file.flight():
        if name == "XKF1" and values[0] > 8_000_000:
            values = (*values[:9], values[9] - 2.5, *values[10:])
        messages.append((name, values))
    with pytest.warns(NeuralLanderWarning, match=r"1 steps of up to 2\.5 m"):
        log = read(tmp_path, messages)
    assert_allclose(log.position[:, 1], log.t - 2.5, atol=1e-3)


def test_a_rangefinder_gives_gear_height_in_which_tilt_and_mounting_are_taken_out(tmp_path: Path) -> None:
    messages = [("PARM", (1000, b"RNGFND1_GNDCLEAR", 0.12)), *dataflash_file.flight()]
    ranged = []
    for name, values in messages:
        ranged.append((name, values))
        if name == "ATT":
            t = (values[0] - 5_000_000) * 1e-6
            distance = (0.5 - 0.5 * np.cos(t) + 0.32) / np.cos(0.2 * np.sin(2 * t))  # over a step of 0.2 m
            good = not 2.0 < t < 2.5
            ranged += [("RFND", (values[0], 0, round(100 * distance) if good else 0, 4 if good else 2, 25))]
            ranged += [("RFND", (values[0], 1, 555, 4, 0))]  # forward
    with pytest.warns(NeuralLanderWarning, match=r"height: 8 % of the readings of RFND are not valid.*up to 0\.5"):
        log = read(tmp_path, ranged)
    assert_allclose(log.height, log.position[:, 2] + 0.2, atol=0.01)  # logged in whole centimetres
    assert log.metadata["height_source"] == "rangefinder"
    assert "RFND: vertical distance less 0.120 m" in log.metadata["height_is"]
    assert "assumed: RNGFND1_GNDCLEAR" in log.metadata["height_is"] and log.metadata["height_zero_assumed"] is True


def test_motors_on_the_auxiliary_outputs_have_telemetry_of_their_numbers(tmp_path: Path) -> None:
    messages = [m for m in dataflash_file.flight() if m[0] not in ("PARM", "ESC")]
    functions = [("PARM", (1000, f"SERVO{9 + m}_FUNCTION".encode(), 33 + m)) for m in range(4)]
    speeds = [("ESC", (m[1][0] + k, 8 + k, 3000.0 + 60 * k)) for m in messages if m[0] == "ATT" for k in range(4)]
    log = read(tmp_path, functions + messages + speeds)
    assert log.rotor_speed is not None
    assert_allclose(log.rotor_speed[5], (3000 + 60 * np.arange(4)) * 2 * np.pi / 60)


def test_slow_telemetry_gives_way_to_the_command(tmp_path: Path) -> None:
    messages = [m for m in dataflash_file.flight() if m[0] != "ESC" or m[1][0] // 5000 % 40 == 0]
    with pytest.warns(NeuralLanderWarning, match="rotor speed comes at 5 Hz only and the command at 50 Hz"):
        log = read(tmp_path, messages)
    assert log.rotor_speed is None
    assert log.metadata["thrust_from"] == "rotor_command at 50 Hz, rather than rotor_speed at 5 Hz"


def test_a_battery_that_is_not_connected_hides_no_other(tmp_path: Path) -> None:
    messages = dataflash_file.flight()
    both = [m for m in messages if m[0] != "BAT"]
    for name, values in messages:
        if name == "BAT":
            both += [("BAT", (values[0], 0, 0.0)), ("BAT", (values[0], 1, values[2]))]
    both.sort(key=lambda m: m[1][0] if m[0] == "BAT" else 0)  # stable: the others stay in order
    log = read(tmp_path, both)
    assert log.battery_voltage is not None and log.battery_voltage.min() > 14.0


def test_what_the_logger_itself_dropped_is_said(tmp_path: Path) -> None:
    messages = [*dataflash_file.flight(), ("DSF", (10_900_000, 17))]
    with pytest.warns(NeuralLanderWarning, match=r"dropped 17 messages, by its own count \(DSF\)"):
        read(tmp_path, messages)


def test_bytes_that_belong_to_no_message_are_counted(tmp_path: Path) -> None:
    messages = dataflash_file.flight()
    head, rest = (dataflash_file.file(part) for part in (messages[:1000], messages[1000:]))
    body = rest[len(dataflash_file.file([])) :]
    (tmp_path / "x").write_bytes(head + b"\xa3\x95\x00garbage" + body)
    with pytest.warns(NeuralLanderWarning, match="damaged at 1 places.*: 10 of"):
        damaged = read_log(tmp_path / "x")
    (tmp_path / "y").write_bytes(head + body)
    np.testing.assert_array_equal(damaged.position, read_log(tmp_path / "y").position)
    (tmp_path / "z").write_bytes((head + body)[:-5])
    with pytest.warns(NeuralLanderWarning, match="cut short"):
        read_log(tmp_path / "z")


@real
@pytest.mark.parametrize("name", ["XKF1", "XKQ", "ATT", "IMU", "RCOU", "ESC", "BAT"])
def test_columns_of_a_real_log_equal_those_of_pymavlink(name: str) -> None:
    DFReader = pytest.importorskip("pymavlink.DFReader")
    records = read_records(COPTER.read_bytes(), frozenset({name}))
    columns = defaultdict(list)
    with DFReader.DFReader_binary(str(COPTER)) as theirs:
        while (message := theirs.recv_match(type=name)) is not None:
            for column in records.formats[name].dtype.names:
                columns[column].append(getattr(message, column))
    for column, values in columns.items():
        assert_allclose(records.column(name, column), np.array(values, dtype=float), rtol=1e-12)


@real
@pytest.mark.filterwarnings("ignore::neural_lander.errors.NeuralLanderWarning")
def test_a_real_flight_agrees_with_itself_and_a_plane_is_refused() -> None:
    log = read_log(COPTER)
    assert log.duration == pytest.approx(24, abs=0.1)
    assert (log.position[:, 2].max(), log.position[-1, 2]) == pytest.approx((3.14, 0.15), abs=0.01)
    assert log.specific_force.mean(axis=0) == pytest.approx([0, 0, 9.81], abs=0.05)
    for axis in range(3):
        assert np.corrcoef(np.gradient(log.position[:, axis], log.t), log.velocity[:, axis])[0, 1] > 0.99
    assert log.metadata["height_source"] == "barometer"
    with pytest.raises(UserError, match="is a log of ArduPlane"):
        read_log(REAL / "arduplane_1s.BIN")
