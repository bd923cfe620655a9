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

from neural_lander.cli import main as cli
from neural_lander.errors import NeuralLanderWarning, UserError
from neural_lander.flightlog import ColumnMap, FlightLog, read_csv, read_log, write_csv
from neural_lander.flightlog.differentiate import differentiated

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
    ("rotor_speed_2", "rev/s"): 2 * np.pi,
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


@pytest.mark.parametrize("world", ["ENU", "NED"])
@pytest.mark.parametrize("sparse", [False, True])
def test_an_accelerometer_is_turned_into_the_worlds_axes(tmp_path: Path, world: str, sparse: bool) -> None:
    """In hover, tilted and turned, it feels gravity alone: upwards, whatever its axes are called."""
    up = 1.0 if world == "ENU" else -1.0
    turns = Rotation.from_euler("ZYX", [[0.5 + 0.1 * k, 0.2, -0.3] for k in range(40)])
    felt = turns.inv().apply([0.0, 0.0, up])
    rows = []
    for k, (q, a) in enumerate(zip(turns.as_quat(), felt, strict=True)):
        often = ",".join(map(repr, a.tolist()))
        seldom = ",".join(map(repr, q.tolist())) if k % 2 == 0 or not sparse else ",,,"
        rows.append(f"{0.01 * k},0,0,{up},0,0,0,{seldom},{often}")
    path = write(tmp_path, "t,x,y,z,u,v,w,qx,qy,qz,qw,ax,ay,az", *rows)
    columns = {
        "t": "t", "position": ["x", "y", "z"], "velocity": ["u", "v", "w"], "attitude": ["qx", "qy", "qz", "qw"],
        "accelerometer": {"columns": ["ax", "ay", "az"], "unit": "g"},
    }  # fmt: skip
    column_map = ColumnMap.from_table({"world": world, "quaternion": "xyzw", "columns": columns})
    log = read_log(path, column_map=column_map)
    inside = slice(None, -1)  # the last record has no attitude after it
    np.testing.assert_allclose(log.specific_force[inside], np.tile([0, 0, 9.80665], (len(log.t) - 1, 1)), atol=2e-3)
    both = ColumnMap.from_table({"columns": columns | {"specific_force": ["ax", "ay", "az"]}})
    with pytest.raises(UserError, match="specific_force .world axes. and accelerometer .body axes. are given"):
        read_log(path, column_map=both)


def test_pulses_become_shares_of_full_throttle_by_an_offset(tmp_path: Path) -> None:
    table = foreign_map()
    table["columns"]["rotor_command"] = {
        "columns": ["m1", "m2", "m3", "m4"], "unit": "pwm", "offset": -1000, "scale": 1e-3,
    }  # fmt: skip
    path = foreign_csv(tmp_path, np.array([0.0, 0.6, 0.0, 0.8]))
    path.write_text(path.read_text().replace("65536,0,32768,16384", "1000,1250,1500,2000"))
    log = read_log(path, column_map=ColumnMap.from_table(table))
    np.testing.assert_allclose(log.rotor_command[0], [0, 0.25, 0.5, 1])


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
        ({"columns": {"t": {"column": "t", "offset": "1"}}}, "offset = '1'"),
        ({"columns": {"position": ["x", "x", "z"]}}, "position names the column 'x' twice"),
        ({"columns": {"t": "t", "world": "NED"}}, "'world' belongs above"),
        ({"columns": {"t": "t", "roll": "r"}}, "angles are named together, euler = { columns"),
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


def table(n: int = 100, delimiter: str = ",", velocity: bool = True) -> tuple[str, list[list[str]]]:
    """Header and cells of a climb at 0.5 m/s, at 100 Hz."""
    header = [name for name in HEADER.split(",") if velocity or not name.startswith("velocity")]
    moving = ["0", "0", "0.5"] if velocity else []
    rows = [[repr(k / 100), "1", "2", repr(0.005 * k), *moving, "1", "0", "0", "0"] for k in range(n)]
    return delimiter.join(header), rows


def read(folder: Path, header: str, rows: list[list[str]], *before: str, delimiter: str = ",", **key: str) -> FlightLog:
    path = write(folder, *before, header, *(delimiter.join(row) for row in rows))
    names = header.lstrip("# ").split(delimiter)
    column_map = ColumnMap.from_table({"columns": {name: name for name in names}, **key}) if key else None
    return read_csv(path, column_map)


def test_decimal_commas_are_read_where_the_map_says_so(tmp_path: Path) -> None:
    header, rows = table(delimiter=";")
    rows = [[cell.replace(".", ",") for cell in row] for row in rows]
    np.testing.assert_allclose(read(tmp_path, header, rows, delimiter=";", decimal=",").position[-1], [1, 2, 0.495])
    with pytest.raises(UserError, match=re.escape("line 2: '0,0' is not a number; decimal = \",\" in a column map")):
        read(tmp_path, header, rows, delimiter=";")
    with pytest.raises(UserError, match="needs columns that are separated by semicolon or tab"):
        read(tmp_path, *table(), decimal=",")
    with pytest.raises(UserError, match=re.escape("decimal = ';' is not one of: ., ,")):
        ColumnMap.from_table(foreign_map(decimal=";"))


def test_comments_before_the_header_are_passed_over(tmp_path: Path) -> None:
    header, rows = table()
    expected = read(tmp_path, header, rows)
    for before, heading in (
        (["# my logger, v3", "", "# flown at the lake"], header),
        (["# my logger"], f"# {header}"),
    ):
        assert_same_numbers(read(tmp_path, heading, rows, *before), expected)
        assert_same_numbers(read_log(tmp_path / "log"), expected)
    rows[70][3] = ""
    with pytest.raises(UserError, match="line 4: '' is not a number"):
        read(tmp_path, header, [rows[70]], "# a", "# b")


def test_records_without_a_number_are_left_out_and_counted(tmp_path: Path) -> None:
    header, rows = table()
    rows[20][3], rows[21][3], rows[40][1], rows[41], rows[60][7] = "", "NaN", "n/a", ["0.41", "1"], "-"
    log = read(tmp_path, header, rows)
    assert len(log.t) == 95
    assert not set(log.t.round(2)) & {0.2, 0.21, 0.4, 0.41, 0.6}
    counted = [text for text in log.warnings if "hold no number" in text]
    assert len(counted) == 1
    assert "5 of 100 records hold no number in 'position_x', 'position_y', 'position_z'" in counted[0]
    assert "left out; the first: column 'position_z', line 22: '' is not a number" in counted[0]


def test_a_table_that_is_mostly_holes_is_refused_with_its_first(tmp_path: Path) -> None:
    header, rows = table()
    for row in rows[::4]:
        row[3] = ""
    message = (
        "column 'position_z', line 2: '' is not a number; 25 of 100 records hold no number in 'position_z', and at"
    )
    with pytest.raises(UserError, match=re.escape(message + " most 20 % are left out")):
        read(tmp_path, header, rows)


@pytest.mark.parametrize("zone", ["", "Z", "+02:00"])
@pytest.mark.parametrize("between", ["T", " "])
def test_times_by_the_calendar_become_seconds(tmp_path: Path, zone: str, between: str) -> None:
    header, rows = table()
    expected = read(tmp_path, header, rows)
    for k, row in enumerate(rows):
        row[0] = f"2026-03-01{between}23:59:59.{500_000 + 10_000 * k % 500_000:06d}{zone}"
        if k >= 50:
            row[0] = f"2026-03-02{between}00:00:00.{10_000 * (k - 50):06d}{zone}"
    log = read(tmp_path, header, rows)
    np.testing.assert_allclose(log.t, expected.t, atol=1e-9)
    np.testing.assert_array_equal(log.position, expected.position)
    rows[30][0] = "no time"
    assert len(read(tmp_path, header, rows).t) == len(rows) - 1


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8", "utf-8-sig"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_table_is_text_in_whatever_windows_writes(tmp_path: Path, encoding: str, end: str) -> None:
    header, rows = table()
    expected = read(tmp_path, header, rows)
    path = tmp_path / "log.csv"
    path.write_bytes((end.join([header, *(",".join(row) for row in rows)]) + end).encode(encoding))
    assert_same_numbers(read_log(path), expected)


@pytest.mark.parametrize("note", ['"mode ""pos"", armed"', "'a, b'", '"{""x"": 2}"', "plain"])
def test_calendar_times_leave_the_cells_beside_them_where_they_are(tmp_path: Path, note: str) -> None:
    header, rows = table()
    quoted = note if note.startswith('"') else f'"{note}"'
    expected = read(tmp_path, header, rows)
    rows = [[f"2026-03-01T12:00:00.{10 * k:03d}", quoted, *row[1:]] for k, row in enumerate(rows)]
    path = write(tmp_path, header.replace("t,", "t,note,", 1), *(",".join(row) for row in rows))
    assert_same_numbers(read_csv(path), expected)


@pytest.mark.parametrize("zone", [" UTC", " +0000", "+0000", "-03:30"])
def test_zones_are_read_as_data_frames_write_them(tmp_path: Path, zone: str) -> None:
    header, rows = table()
    for k, row in enumerate(rows):
        row[0] = f"2026-03-01 12:00:00.{10 * k:03d}{zone}"
    rows[0][0] = ""
    np.testing.assert_allclose(read(tmp_path, header, rows).t, 0.01 * np.arange(99), atol=1e-9)


def test_numbers_are_no_dates_and_dates_have_no_unit(tmp_path: Path) -> None:
    header, rows = table()
    for k, row in enumerate(rows):
        row[0] = f"{10101212 + 10 * k}.00"
    own = ColumnMap.from_table({"columns": {n: n for n in header.split(",")} | {"t": {"column": "t", "unit": "ms"}}})
    path = write(tmp_path, header, *(",".join(row) for row in rows))
    assert read_csv(path, own).duration == pytest.approx(0.99)
    for k, row in enumerate(rows):
        row[0] = f"2026-03-01T12:00:00.{10 * k:03d}"
    path = write(tmp_path, header, *(",".join(row) for row in rows))
    with pytest.raises(UserError, match="by the calendar: leave unit"):
        read_csv(path, own)


def test_the_byte_that_is_no_text_is_named_where_it_is(tmp_path: Path) -> None:
    header, rows = table()
    content = "\n".join([header, *(",".join(row) for row in rows)]).encode()
    for mark in (b"", b"\xef\xbb\xbf"):
        bad = mark + content[:17] + b"\xff" + content[17:]
        (tmp_path / "log").write_bytes(bad)
        with pytest.raises(UserError, match=f"no text in UTF-8: byte {17 + len(mark)} is 0xff"):
            read_csv(tmp_path / "log")


def test_half_a_character_of_utf_16_is_named(tmp_path: Path) -> None:
    header, rows = table()
    path = tmp_path / "log.csv"
    path.write_bytes("\n".join([header, *(",".join(row) for row in rows)]).encode("utf-16")[:-1])
    with pytest.raises(UserError, match="is no text in UTF-16"):
        read_csv(path)


def merged(period: dict[str, int], n: int = 400) -> tuple[str, list[list[str]], FlightLog]:
    """A table at 200 Hz whose fields have a cell every so many records only, as merged sources do; and the truth."""
    t = 0.005 * np.arange(n)
    position = np.stack([np.sin(t), np.cos(2 * t), 1 + 0.2 * t], axis=-1)
    velocity = np.stack([np.cos(t), -2 * np.sin(2 * t), 0.2 + 0 * t], axis=-1)
    attitude = Rotation.from_rotvec(np.stack([0.1 * np.sin(3 * t), 0 * t, 0.5 * t], axis=-1)).as_quat()
    log = FlightLog.from_arrays(t, position, velocity, np.roll(attitude, 1, axis=1))
    cells = {"t": t[:, None], "position": log.position, "velocity": log.velocity, "attitude": log.attitude}
    rows = [
        [repr(float(x)) if k % period.get(field, 1) == 0 else "" for field, values in cells.items() for x in values[k]]
        for k in range(n)
    ]
    return HEADER, rows, log


@pytest.mark.parametrize("rate", [40.0, 50.0, 90.0, 100.0, 240.0])
def test_a_velocity_that_is_differentiated_is_not_late(rate: float) -> None:
    """Of a constant acceleration it is exact; a window of an even number of records shifted it by half a period."""
    t = np.arange(200) / rate
    position = np.stack([t, t**2, 3 * t - 2 * t**2], axis=-1)
    velocity = np.stack([0 * t + 1, 2 * t, 3 - 4 * t], axis=-1)
    np.testing.assert_allclose(differentiated(t, position)[20:-20], velocity[20:-20], atol=1e-9)


def test_sources_at_their_own_rates_are_joined_at_the_fastest(tmp_path: Path) -> None:
    """As PlotJuggler and an outer join of data frames write them: empty where a source has no record."""
    header, rows, truth = merged({"position": 4, "velocity": 4, "attitude": 2})
    log = read(tmp_path, header, rows)
    assert np.median(np.diff(log.t)) == pytest.approx(0.01)
    assert log.metadata["source_rates_Hz"] == {"position": 50.0, "velocity": 50.0, "attitude": 100.0}
    at = np.rint(log.t / 0.005).astype(int)
    assert at[-1] > 380
    np.testing.assert_allclose(log.position, truth.position[at], atol=2e-4)
    np.testing.assert_allclose(log.velocity, truth.velocity[at], atol=4e-4)
    np.testing.assert_allclose(log.attitude, truth.attitude[at], atol=1e-4)


def test_of_joined_sources_a_damaged_record_is_left_out_and_velocity_made_where_position_was_measured(
    tmp_path: Path,
) -> None:
    header, rows, truth = merged({"position": 4, "attitude": 2})
    rows[8][1], rows[10][7] = "oops", "nan"
    header = ",".join(name for name in header.split(",") if not name.startswith("velocity"))
    log = read(tmp_path, header, [[*row[:4], *row[7:]] for row in rows])
    bad = "2 of 400 records are left out; the first: column 'position_x', line 10: 'oops'"
    assert any(bad in warning for warning in log.warnings)
    assert log.metadata["velocity_from"]
    at = np.rint(log.t / 0.005).astype(int)
    np.testing.assert_allclose(log.velocity[20:-20], truth.velocity[at][20:-20], atol=0.02)


def test_a_source_with_one_record_is_no_source(tmp_path: Path) -> None:
    header, rows, _ = merged({"position": 400})
    with pytest.raises(UserError, match="'position': it holds fewer than 2 records"):
        read(tmp_path, header, rows)


def test_a_wrong_time_is_left_out_before_velocity_is_made_of_what_is_beside_it(tmp_path: Path) -> None:
    header, rows, truth = merged({"position": 4, "attitude": 2})
    rows[200][0] = repr(float(rows[200][0]) - 1.0)
    header = ",".join(name for name in header.split(",") if not name.startswith("velocity"))
    log = read(tmp_path, header, [[*row[:4], *row[7:]] for row in rows])
    at = np.rint(log.t / 0.005).astype(int)
    np.testing.assert_allclose(log.velocity[20:-20], truth.velocity[at][20:-20], atol=0.03)
    assert any("position: 1 of 100 records come no later than one before them" in warning for warning in log.warnings)


def test_positions_that_are_too_rare_are_differentiated_from_no_table(tmp_path: Path) -> None:
    header, rows, _ = merged({"position": 20})
    header = ",".join(name for name in header.split(",") if not name.startswith("velocity"))
    with pytest.raises(UserError, match="position comes at 10 Hz"):
        read(tmp_path, header, [[*row[:4], *row[7:]] for row in rows])


def test_angles_beside_a_quaternion_in_our_own_header_say_the_same_and_must_have_a_unit(tmp_path: Path) -> None:
    header, rows = table()
    expected = read(tmp_path, header, rows)
    for column in ("euler_yaw [deg]", "euler_yaw"):
        assert_same_numbers(read(tmp_path, f"{header},{column}", [[*row, "3"] for row in rows]), expected)
    without = header.replace("attitude_w,attitude_x,attitude_y,attitude_z", "euler_roll,euler_pitch,euler_yaw")
    with pytest.raises(UserError, match=re.escape("'euler_roll [rad]' or 'euler_roll [deg]'")):
        read(tmp_path, without, [row[:-1] for row in rows])
    degrees = without.replace(",euler", " [deg],euler", 3).replace("velocity_z [deg]", "velocity_z") + " [deg]"
    assert len(read(tmp_path, degrees, [row[:-1] for row in rows]).t) == len(rows)
    with pytest.raises(UserError, match="unit '' does not fit euler"):
        ColumnMap.from_table({"columns": {"euler": ["r", "p", "y"]}})


@pytest.mark.parametrize("world", ["ENU", "NED"])
def test_euler_angles_give_the_attitude_that_their_quaternion_gives(tmp_path: Path, world: str) -> None:
    rng = np.random.default_rng(3)
    angles = rng.uniform([-170, -80, -170], [170, 80, 170], (50, 3))  # roll, pitch, yaw in degrees
    turned = Rotation.from_euler("ZYX", angles[:, ::-1], degrees=True)
    lines = [
        ",".join(map(repr, [0.01 * k, *position, *position, *a, *q]))
        for k, (position, a, q) in enumerate(
            zip(rng.standard_normal((50, 3)).tolist(), angles.tolist(), turned.as_quat().tolist(), strict=True)
        )
    ]
    path = write(tmp_path, "s,x,y,z,vx,vy,vz,r,p,h,qx,qy,qz,qw", *lines)
    columns = {"t": "s", "position": ["x", "y", "z"], "velocity": ["vx", "vy", "vz"]}
    euler = {"columns": ["r", "p", "h"], "unit": "deg"}
    parts = {
        "euler_roll": {"column": "r", "unit": "deg"},
        "euler_pitch": {"column": "p", "unit": "deg"},
        "euler_yaw": {"column": "h", "unit": "deg"},
    }
    quaternion = {"world": world, "quaternion": "xyzw", "columns": {**columns, "attitude": ["qx", "qy", "qz", "qw"]}}
    expected = read_csv(path, ColumnMap.from_table(quaternion)).attitude
    for angles_of in ({"euler": euler}, parts):
        log = read_csv(path, ColumnMap.from_table({"world": world, "columns": {**columns, **angles_of}}))
        np.testing.assert_allclose(log.attitude, expected, atol=1e-12)
    both = {"columns": {**columns, "attitude": ["qw", "qx", "qy", "qz"], "euler": euler}}
    with pytest.raises(UserError, match="as quaternion and as Euler angles"):
        read_csv(path, ColumnMap.from_table(both))
    del parts["euler_yaw"]
    with pytest.raises(UserError, match="euler_yaw"):
        read_csv(path, ColumnMap.from_table({"columns": {**columns, **parts}}))


def test_a_quaternion_of_zeros_is_left_out(tmp_path: Path) -> None:
    header, rows = table()
    rows[50][7] = "0"
    log = read(tmp_path, header, rows)
    assert len(log.t) == 99
    assert any("1 of 100 records hold no rotation, but zeros: left out" in text for text in log.warnings)


@pytest.mark.parametrize(
    ("order", "kept"),
    [
        ([*range(50), 49, *range(50, 100)], [*range(100)]),
        ([*range(50), *range(45, 100)], [*range(100)]),
        ([*range(50), *range(59, 49, -1), *range(60, 100)], [*range(50), 56, *range(60, 100)]),
        ([*range(50), 99, *range(50, 100)], [*range(100)]),
    ],
)
def test_records_that_come_no_later_are_left_out_and_counted(tmp_path: Path, order: list[int], kept: list[int]) -> None:
    header, rows = table()
    log = read(tmp_path, header, [rows[k] for k in order])
    assert (100 * log.t).round().astype(int).tolist() == kept
    (counted,) = [text for text in log.warnings if "come no later" in text]
    assert f"{len(order) - len(kept)} of {len(order)} records come no later than one before them: left out" in counted


def test_a_clock_too_coarse_or_set_back_is_refused(tmp_path: Path) -> None:
    header, rows = table(2000)
    with pytest.raises(UserError, match=r"at record 1700 \(t = 15 s\), and steps back by 1\.99 s: cut the file there"):
        read(tmp_path, header, rows[:1700] + rows[1500:])
    coarse = [[str(k // 2 / 50), *row[1:]] for k, row in enumerate(rows)]
    with pytest.raises(UserError, match="1000 of 2000 records come no later .* is it written finely enough"):
        read(tmp_path, header, coarse)


def test_velocity_is_differentiated_where_positions_come_often_enough(tmp_path: Path) -> None:
    header, rows = table(velocity=False)
    log = read(tmp_path, header, rows)
    np.testing.assert_allclose(log.velocity, [[0, 0, 0.5]] * 100, atol=1e-9)
    assert "differentiated" in log.metadata["velocity_from"]
    assert "velocity_from" not in read(tmp_path, *table()).metadata
    with pytest.raises(UserError, match="lacks the field 'velocity'.* position comes at 10 Hz: at least 40 Hz"):
        read(tmp_path, header, rows[::10])


def test_nothing_is_averaged_across_a_hole() -> None:
    t = np.concatenate([np.arange(0, 1, 0.01), np.arange(2, 3, 0.01), [4.0]])
    z = np.where(t < 1.5, 0.3 * t, -0.7 * t)
    velocity = differentiated(t, np.stack([0 * z, 0 * z, z], axis=-1))
    np.testing.assert_allclose(velocity[:100, 2], 0.3, atol=1e-9)
    np.testing.assert_allclose(velocity[100:, 2], -0.7, atol=1e-9)


def test_info_says_that_the_velocity_was_not_logged(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    read(tmp_path, *table(velocity=False))
    assert cli.main(["logs", "info", str(tmp_path / "log")]) == 0
    assert "log: velocity is from positions, differentiated" in capsys.readouterr().out
