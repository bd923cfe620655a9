"""CSV: our own header, foreign tables by a column map, and what is said of bad ones."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from flights import assert_same_numbers, full_log
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.transform import Rotation

from neural_lander.errors import NeuralLanderWarning, UserError
from neural_lander.flightlog import ColumnMap, FlightLog, read_csv, read_log, write_csv

HEADER = (
    "t,position_x,position_y,position_z,velocity_x,velocity_y,velocity_z,attitude_w,attitude_x,attitude_y,attitude_z"
)
ROWS = ["0,1,2,3,4,5,6,1,0,0,0", "0.01,1,2,3,4,5,6,1,0,0,0", "0.02,1,2,3,4,5,6,1,0,0,0"]


def write(folder: Path, *lines: str, end: str = "\n") -> Path:
    path = folder / "log"
    path.write_text("\n".join(lines) + end, "utf-8")
    return path


def test_a_log_comes_back_bit_for_bit(tmp_path: Path) -> None:
    log = full_log()
    write_csv(log, tmp_path / "log.csv")
    assert_same_numbers(read_log(tmp_path / "log.csv"), log)
    assert [p.name for p in tmp_path.iterdir()] == ["log.csv"]


@given(arrays(np.float64, (3, 3), elements=st.floats(allow_nan=False, allow_infinity=False)))
def test_every_float64_survives(tmp_path_factory: pytest.TempPathFactory, position: np.ndarray) -> None:
    path = tmp_path_factory.mktemp("csv") / "log.csv"
    write_csv(FlightLog.from_arrays([0, 1, 2], position, np.zeros((3, 3)), np.tile([1, 0, 0, 0], (3, 1))), path)
    assert np.array_equal(read_csv(path).position, position)


def test_the_names_of_the_data_frame_need_no_units_and_no_map(tmp_path: Path) -> None:
    log = full_log(rotor_command=None)
    log.to_dataframe().to_csv(tmp_path / "log.csv", index=False)
    got = read_log(tmp_path / "log.csv")
    np.testing.assert_allclose(got.f_a_applied, log.f_a_applied, rtol=1e-15)


def test_a_rotor_command_must_say_its_unit(tmp_path: Path) -> None:
    full_log().to_dataframe().to_csv(tmp_path / "log.csv", index=False)
    with pytest.raises(UserError, match=re.escape("'rotor_command_1 [rad/s]' or 'rotor_command_1 [pwm]'")):
        read_log(tmp_path / "log.csv")


def test_units_in_the_header_are_converted(tmp_path: Path) -> None:
    header = HEADER.replace("t,", "t [ms],", 1).replace("position_z", "position_z [ft]")
    log = read_log(write(tmp_path, header, *(f"{10 * k},1,2,3,4,5,6,1,0,0,0" for k in range(3))))
    np.testing.assert_allclose(log.t, [0, 0.01, 0.02])
    np.testing.assert_allclose(log.position[:, 2], 3 * 0.3048)


UNITS = {
    ("t", "us"): 1e-6, ("position_x", "mm"): 1e-3, ("position_y", "cm"): 1e-2, ("velocity_x", "mm/s"): 1e-3,
    ("body_rates_x", "deg/s"): np.pi / 180, ("body_rates_y", "mrad/s"): 1e-3, ("rotor_speed_1", "rpm"): np.pi / 30,
    ("battery_voltage", "mV"): 1e-3, ("specific_force_x", "g"): 9.80665, ("specific_force_y", "mm/s^2"): 1e-3,
}  # fmt: skip


@pytest.mark.parametrize(("name", "unit"), UNITS)
def test_every_unit_has_its_factor(name: str, unit: str) -> None:
    column = ColumnMap.from_table({"columns": {name: {"column": "a", "unit": unit}}}).columns[name]
    assert column.factor == pytest.approx(UNITS[name, unit], rel=1e-15)


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_other_delimiters_and_line_ends(tmp_path: Path, delimiter: str) -> None:
    path = tmp_path / "log"
    path.write_bytes(("\ufeff" + "\r\n".join([HEADER, *ROWS, ""]).replace(",", delimiter)).encode())
    np.testing.assert_allclose(read_log(path).position, [[1, 2, 3]] * 3)


def foreign_map(**changes: object) -> dict:
    table = {
        "columns": {
            "t": {"column": "time", "unit": "ms"},
            "position": {"columns": ["n", "e", "d"], "unit": "mm"},
            "velocity": ["vn", "ve", "vd"],
            "attitude": ["qx", "qy", "qz", "qw"],
            "body_rates": {"columns": ["p", "q", "r"], "unit": "deg/s"},
            "rotor_command": {"columns": ["m1", "m2", "m3", "m4"], "unit": "pwm", "scale": 1 / 65536},
            "height": {"column": "sonar", "unit": "cm", "scale": -1},
        },
        "quaternion": "xyzw",
    }
    return table | changes


def foreign_csv(folder: Path, quaternion: np.ndarray) -> Path:
    q = ",".join(map(repr, quaternion.tolist()))
    lines = [f'{10 * k},"1000",2000,-3000,4,5,6,{q},90,180,-90,65536,0,32768,16384,-25,comment' for k in range(3)]
    return write(folder, "time,n,e,d,vn,ve,vd,qx,qy,qz,qw,p,q,r,m1,m2,m3,m4,sonar,note", *lines)


def test_a_column_map_in_toml_or_json_brings_in_a_foreign_table(tmp_path: Path) -> None:
    path = foreign_csv(tmp_path, np.array([0.0, 0.6, 0.0, 0.8]))
    (tmp_path / "map.json").write_text(json.dumps(foreign_map()))
    (tmp_path / "map.toml").write_text(
        'quaternion = "xyzw"\n[columns]\nt = { column = "time", unit = "ms" }\n'
        'position_x = { column = "n", unit = "mm" }\n'
        'position_y = "e"\nposition_z = "d"\nvelocity = ["vn", "ve", "vd"]\nattitude = ["qx", "qy", "qz", "qw"]\n'
    )
    log = read_log(path, column_map=ColumnMap.load(tmp_path / "map.json"))
    np.testing.assert_allclose(log.t, [0, 0.01, 0.02])
    np.testing.assert_allclose(log.position[0], [1, 2, -3])
    np.testing.assert_allclose(log.attitude[0], [0.8, 0, 0.6, 0])
    np.testing.assert_allclose(log.body_rates[0], np.radians([90, 180, -90]))
    np.testing.assert_allclose(log.rotor_command[0], [1, 0, 0.5, 0.25])
    np.testing.assert_allclose(log.height[0], 0.25)
    assert log.rotor_command_unit == "pwm"
    np.testing.assert_allclose(read_csv(path, ColumnMap.load(tmp_path / "map.toml")).position[0], [1, 2000, -3000])


def test_a_map_that_windows_marked_is_read(tmp_path: Path) -> None:
    for name, text in (("map.json", json.dumps(foreign_map())), ("map.toml", '[columns]\nt = "time"\n')):
        (tmp_path / name).write_text(text, "utf-8-sig")
        assert ColumnMap.load(tmp_path / name).columns["t"].name == "time"


def test_ned_and_frd_become_z_up_and_x_forward(tmp_path: Path) -> None:
    ned = Rotation.from_euler("ZYX", [0.7, -0.2, 0.3])  # heading from north over east, nose down, right side down
    path = foreign_csv(tmp_path, ned.as_quat())
    log = read_csv(path, ColumnMap.from_table(foreign_map(world="NED")))
    north, east, down = np.eye(3)
    to_enu = np.stack([east, north, -down])
    np.testing.assert_allclose(log.position[0], [2, 1, 3])
    np.testing.assert_allclose(log.velocity[0], [5, 4, -6])
    np.testing.assert_allclose(log.body_rates[0], np.radians([90, -180, 90]))
    np.testing.assert_allclose(log.height[0], 0.25)
    ours = Rotation.from_quat(np.roll(log.attitude[0], -1))
    forward, right, below = ned.as_matrix().T
    np.testing.assert_allclose(ours.as_matrix().T, [to_enu @ forward, to_enu @ -right, to_enu @ -below], atol=1e-12)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({}, "'columns' is missing"),
        (foreign_map(word="NED"), "unknown key 'word'"),
        (foreign_map(world="FLU"), "world = 'FLU' is not one of: ENU, NED"),
        ({"columns": {"altitude": "z"}}, "unknown component 'altitude'"),
        ({"columns": {"position": ["x", "y"]}}, "position needs the names of 3 columns"),
        ({"columns": {"position": {"columns": ["x", "y", "z"], "unit": "km"}}}, "unit 'km' does not fit position"),
        ({"columns": {"t": {"column": "t", "factor": 2}}}, "unknown key 'factor'"),
        ({"columns": {"t": {"column": "t", "scale": 0}}}, "scale = 0"),
        ({"columns": {"rotor_command": ["a", "b", "c", "d"]}}, "unit '' does not fit rotor_command"),
    ],
)
def test_a_bad_column_map_is_refused(table: dict, message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        ColumnMap.from_table(table)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([HEADER.replace(",velocity_y", ",vy"), *ROWS], "lacks the needed field 'velocity_y'"),
        ([HEADER + ",height,height", *(r + ",1,1" for r in ROWS)], "'height' is there 2 times"),
        ([HEADER, ROWS[0], "0.01,1,2,x,4,5,6,1,0,0,0", ROWS[2]], "column 'position_z', line 3: 'x' is not a number"),
        ([HEADER, ROWS[0], "", "0.01,1,2,,4,5,6,1,0,0,0"], "column 'position_z', line 4: '' is not a number"),
        ([HEADER, ROWS[0], "0.01,1,nan,3,4,5,6,1,0,0,0"], "column 'position_y', line 3: 'nan' is not finite"),
        ([HEADER, ROWS[0], "0.01,1,2"], "line 3 has 3 cells, and column 'position_z' is cell 4"),
        ([HEADER, ROWS[0], ROWS[2], ROWS[1]], "does not increase at record 2"),
        ([HEADER, ROWS[0]], "holds 1 records"),
        ([HEADER], "a header and no records"),
        ([HEADER.replace("t,", "t [h],", 1), *ROWS], "unit 'h' does not fit t"),
    ],
)
def test_a_bad_table_is_named_with_column_and_line(tmp_path: Path, lines: list[str], message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        read_log(write(tmp_path, *lines))


def test_a_column_that_the_map_names_must_be_there(tmp_path: Path) -> None:
    table = foreign_map()
    table["columns"]["height"] = "lidar"
    with pytest.raises(UserError, match="column 'lidar' is missing; the header has: time, n"):
        read_csv(foreign_csv(tmp_path, np.array([0, 0, 0, 1.0])), ColumnMap.from_table(table))


def test_a_last_line_without_its_end_is_left_out_with_a_warning(tmp_path: Path) -> None:
    with pytest.warns(NeuralLanderWarning, match="last line, 9 characters"):
        assert len(read_log(write(tmp_path, HEADER, *ROWS, "0.03,1,2,", end="")).t) == 3


def test_a_last_line_that_ends_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="line 5 has 4 cells"):
        read_log(write(tmp_path, HEADER, *ROWS, "0.03,1,2,3"))
