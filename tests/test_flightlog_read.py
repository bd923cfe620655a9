"""Which file is a log and which is not, folders, the verbs of ``logs``, and plots."""

import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import usd_file
from flights import full_log
from learning_flights import flight

from neural_lander.certificate import steepest
from neural_lander.cli import main as cli
from neural_lander.errors import NeuralLanderWarning, UserError
from neural_lander.flightlog import FORMATS, FlightLog, read_log, read_logs, write_csv, write_mcap
from neural_lander.flightlog.plot import panels
from neural_lander.flightlog.summary import summary, tilt_degrees
from neural_lander.vehicle import GRAVITY, load_vehicle


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One log of each format under misleading names, and three files that are none."""
    (tmp_path / "a.txt").write_bytes(usd_file.file(usd_file.flight(40)))
    write_mcap(full_log(50), tmp_path / "b.csv")
    write_csv(full_log(60), tmp_path / "c.usd")
    (tmp_path / "d.mcap").write_bytes(np.random.default_rng(0).bytes(5000))
    (tmp_path / "e.usd").write_bytes(b"")
    (tmp_path / "f.txt").write_text("flown at the lake, windy\nsee the video\n")
    (tmp_path / "g.bbl").write_bytes(b"H Product:Blackbox flight data recorder\n\x00\xff" * 9)
    (tmp_path / ".hidden").write_text("x")
    return tmp_path


def test_a_format_is_recognised_by_content_whatever_the_name(folder: Path) -> None:
    found = [read_log(folder / name).metadata["format"] for name in ("a.txt", "b.csv", "c.usd")]
    assert found == ["crazyflie-usd", "mcap", "csv"]


def test_a_folder_gives_its_logs_in_order_and_names_what_it_leaves_out(folder: Path) -> None:
    with pytest.warns(NeuralLanderWarning, match="left out") as caught:
        logs = read_logs([folder, folder / "a.txt"])
    assert [len(log.t) for log in logs] == [40, 50, 60, 40]
    assert [name for name in ("d.mcap", "e.usd", "f.txt", "g.bbl") if any(name in str(w.message) for w in caught)] == [
        "d.mcap", "e.usd", "f.txt", "g.bbl",
    ]  # fmt: skip
    assert len(caught) == 4


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("d.mcap", "no known log format; can be read: .*MCAP.*µSD.*CSV"),
        ("e.usd", "is empty"),
        ("g.bbl", "Betaflight Blackbox log: it holds neither position nor velocity"),
        ("f.txt", "lacks the needed field 't'"),
        ("missing", "cannot be read: No such file"),
        (".", "is a folder"),
    ],
)
def test_what_is_no_log_is_refused_in_one_line(folder: Path, name: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        read_log(folder / name)
    assert "\n" not in str(caught.value)


def test_a_folder_without_logs_says_where_they_may_be(tmp_path: Path) -> None:
    (tmp_path / "walks").mkdir()
    with pytest.raises(UserError, match="holds no flight log; name one of the folders in it: walks"):
        read_logs([tmp_path])
    with pytest.raises(UserError, match="name at least one"):
        read_logs([])


def test_binary_garbage_never_crashes(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    for head in (b"", usd_file.file(usd_file.flight(3))[:450], b"\x89MCAP0\r\n", b"t,position_x\n"):
        for _ in range(25):
            (tmp_path / "x").write_bytes(head + rng.bytes(int(rng.integers(1, 3000))))
            with pytest.raises(UserError):
                read_log(tmp_path / "x")


def test_a_format_of_ones_own_is_one_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Tape:
        name, description = "tape", "punched tape"

        def recognises(self, head: bytes) -> bool:
            return head.startswith(b"TAPE")

        def read(self, path: Path) -> FlightLog:
            return full_log(7, metadata={"format": self.name, "source": str(path)})

    monkeypatch.setattr("neural_lander.flightlog.read.FORMATS", [Tape(), *FORMATS])
    (tmp_path / "x").write_bytes(b"TAPE o oo o")
    assert read_log(tmp_path / "x").metadata["format"] == "tape"


def hover(vehicle_name: str, thrust_to_weight: float) -> FlightLog:
    vehicle, n = load_vehicle(vehicle_name), 101
    speed = vehicle.hover_speed * np.sqrt(thrust_to_weight)
    tilted = np.tile([np.cos(0.05), np.sin(0.05), 0, 0], (n, 1))  # 0.1 rad
    t = np.arange(n) * 0.01
    t[50:] += 0.2
    position = np.tile([0, 0, 1.0], (n, 1))
    return FlightLog.from_arrays(t, position, 0 * position, tilted, rotor_speed=np.full((n, 4), speed))


def test_a_summary_states_rate_gaps_tilt_and_thrust() -> None:
    vehicle = load_vehicle("intel-aero")
    figures = summary(hover("intel-aero", 1.1), vehicle)
    assert figures["rate_Hz"] == pytest.approx(100)
    assert figures["gaps"] == 1
    assert figures["longest_gap_s"] == pytest.approx(0.21)
    assert figures["tilt_max_deg"] == pytest.approx(np.degrees(0.1))
    assert figures["thrust_to_weight"] == pytest.approx(1.1)
    assert vehicle.weight == pytest.approx(vehicle.mass * GRAVITY)
    assert figures["gear_height_min_m"] < 1.0 - vehicle.gear_clearance + 0.01
    assert figures["fields"]["rotor_speed"] == {"unit": "rad/s", "frame": ""}
    assert "rotor_command" not in figures["fields"]


def test_a_plot_shows_the_fields_that_the_log_has() -> None:
    assert [p.title for p in panels(hover("intel-aero", 1.0))] == ["height [m]", "tilt [deg]", "rotor speed [rad/s]"]
    log = full_log()
    drawn = {p.title: dict(p.curves) for p in panels(log)}
    np.testing.assert_array_equal(drawn["rotor command [pwm]"]["rotor 3"], log.rotor_command[:, 2])
    np.testing.assert_array_equal(drawn["height [m]"]["z reference"], log.position_reference[:, 2])
    np.testing.assert_array_equal(drawn["tilt [deg]"]["tilt"], tilt_degrees(log))
    assert "battery [V]" in drawn


def run(capsys: pytest.CaptureFixture, *arguments: object) -> tuple[int, str, str]:
    code = cli.main([str(a) for a in arguments])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_logs_info_prints_one_json_object_or_a_table(folder: Path, capsys: pytest.CaptureFixture) -> None:
    code, out, err = run(capsys, "logs", "info", folder / "a.txt", folder / "b.csv", "--json")
    assert (code, err) == (0, "")
    figures = json.loads(out)["logs"]
    assert [f["records"] for f in figures] == [40, 50]
    assert figures[1]["metadata"]["vehicle"] == "crazyflie-21"
    code, out, err = run(capsys, "logs", "info", folder, "--vehicle", "crazyflie-21")
    assert code == 0
    assert "b.csv" in out
    assert "position [m, world]" in out
    assert err.count("warning: left out") == 4


def test_logs_convert_goes_both_ways(folder: Path, capsys: pytest.CaptureFixture) -> None:
    assert run(capsys, "logs", "convert", folder / "a.txt", folder / "x.mcap")[0] == 0
    code, out, _ = run(capsys, "logs", "convert", folder / "x.mcap", folder / "y.csv", "--json")
    assert code == 0
    assert json.loads(out)["records"] == 40
    np.testing.assert_array_equal(read_log(folder / "y.csv").position, read_log(folder / "a.txt").position)


def test_logs_reads_a_foreign_table_with_a_column_map(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    names = ["ms", "x", "y", "z", "vx", "vy", "vz", "qw", "qx", "qy", "qz"]
    rows = [f"{10 * k},0,0,1,0,0,0,1,0,0,0" for k in range(5)]
    (tmp_path / "foreign").write_text("\n".join([",".join(names), *rows, ""]))
    columns = {
        "t": {"column": "ms", "unit": "ms"}, "position": names[1:4], "velocity": names[4:7], "attitude": names[7:],
    }  # fmt: skip
    (tmp_path / "map.json").write_text(json.dumps({"columns": columns}))
    code, out, _ = run(capsys, "logs", "info", tmp_path / "foreign", "--columns", tmp_path / "map.json", "--json")
    assert code == 0
    assert json.loads(out)["logs"][0]["duration_s"] == pytest.approx(0.04)


def test_a_folder_of_foreign_files_is_told_the_formats_once(tmp_path: Path) -> None:
    for k in range(3):
        (tmp_path / f"{k}.bin").write_bytes(bytes(range(256)))
    with (
        pytest.raises(UserError, match="holds no flight log") as refused,
        pytest.warns(NeuralLanderWarning, match="no known log format") as caught,
    ):
        read_logs([tmp_path])
    said = [*(str(w.message) for w in caught), str(refused.value)]
    assert len(said) == 4
    assert sum("can be read: " in text for text in said) == 1


def write_foreign(path: Path, seed: int) -> dict[str, str]:
    """A flight under a stranger's column names, and the map's columns."""
    table = flight(load_vehicle("intel-aero"), 20.0, seed=seed).to_dataframe().rename(columns=lambda name: f"my {name}")
    table.to_csv(path, index=False)
    return {name.removeprefix("my "): name for name in table.columns}


@pytest.fixture
def foreign(tmp_path: Path) -> tuple[Path, Path]:
    """A folder of three flights in a foreign CSV and one in MCAP, and the column map."""
    folder = tmp_path / "logs"
    folder.mkdir()
    columns = [write_foreign(folder / f"{seed}.csv", seed) for seed in range(3)]
    write_mcap(flight(load_vehicle("intel-aero"), 20.0, seed=3), folder / "ours.mcap")
    (tmp_path / "map.json").write_text(json.dumps({"columns": columns[0]}))
    return folder, tmp_path / "map.json"


@pytest.mark.slow
def test_every_verb_that_takes_logs_takes_a_column_map(
    foreign: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steepest, "ROUNDS", 2)
    (folder, columns), bundle, aero = foreign, tmp_path / "B", ("--vehicle", "intel-aero")
    small = ("--epochs", "1", "--hidden", "4", "--held-out", "0", "--json")
    code, out, err = run(capsys, "train", folder, *aero, "--out", bundle, "--columns", columns, *small)
    assert code == 0, err
    assert json.loads(out)["flights"] == 4
    code, out, err = run(capsys, "logs", "quality", folder, *aero, "--columns", columns, "--json")
    assert (code, len(json.loads(out)["flights"])) == (0, 4), err
    code, out, err = run(capsys, "evaluate", bundle, folder, "--columns", columns, "--json")
    assert (code, len(json.loads(out)["flights"])) == (0, 4), err
    code, out, err = run(capsys, "logs", "info", folder, "--columns", columns, "--json")
    assert (code, len(json.loads(out)["logs"])) == (0, 4), err
    write_foreign(tmp_path / "new.csv", 9)
    code, out, err = run(capsys, "retrain", bundle, tmp_path / "new.csv", "--columns", columns, "--json")
    assert code in (0, 1), err  # the old flights were found and read as well
    assert json.loads(out)["gates"]
    for verb in ("evaluate", "retrain"):
        code, _, err = run(capsys, verb, bundle, tmp_path / "new.csv")
        assert code == 2
        assert "(--columns)" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("info", "missing"), "cannot be read"),
        (("info", "d.mcap"), "no known log format"),
        (("convert", "a.txt", "x.json"), "ends in '.json': a log is written as .mcap or .csv"),
        (("convert", "b.csv", "b.csv"), "is the log that is read"),
        (("convert", "a.txt", "nowhere/x.csv"), "cannot be written"),
        (("plot", "a.txt", "--out", "x.pdf"), "written as .html or .png"),
        (("info", "c.usd", "--columns", "f.txt"), "neither valid TOML nor JSON"),
    ],
)
def test_bad_input_is_one_line_and_code_2(
    folder: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch, arguments: tuple, message: str
) -> None:
    monkeypatch.chdir(folder)
    before = sorted(p.name for p in folder.iterdir())
    code, out, err = run(capsys, "logs", *arguments)
    assert (code, out) == (2, "")
    assert re.fullmatch(rf"error: .*{re.escape(message)}.*\n", err)
    assert sorted(p.name for p in folder.iterdir()) == before


def test_logs_plot_writes_a_page_that_needs_no_network(folder: Path, capsys: pytest.CaptureFixture) -> None:
    pytest.importorskip("plotly")
    assert run(capsys, "logs", "plot", folder / "a.txt", "--out", folder / "x.html")[0] == 0
    page = (folder / "x.html").read_text("utf-8")
    assert "rotor command [pwm]" in page
    assert not re.search(r'<script[^>]+src="http', page)


@pytest.mark.slow
def test_logs_plot_writes_png(folder: Path, capsys: pytest.CaptureFixture) -> None:
    pytest.importorskip("matplotlib")
    assert run(capsys, "logs", "plot", folder / "a.txt", "--out", folder / "x.png")[0] == 0
    assert (folder / "x.png").read_bytes().startswith(b"\x89PNG")


def test_a_png_without_matplotlib_names_the_extra(
    folder: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    code, _, err = run(capsys, "logs", "plot", folder / "a.txt", "--out", folder / "x.png")
    assert (code, err) == (2, "error: a .png needs matplotlib: pip install 'neural-lander[logs]', or write .html\n")
    assert not (folder / "x.png").exists()


def test_what_the_readers_import_is_declared() -> None:
    text = (Path(__file__).parents[1] / "setup.py").read_text("utf-8")
    base, logs = (re.search(rf"^{name} = \[(.*?)\]\n", text, re.S | re.M)[1] for name in ("BASE", "LOGS"))
    assert all(f'"{name}>=' in base for name in ("numpy", "mcap", "lz4", "zstandard"))
    assert all(f'"{name}>=' in logs for name in ("pyulog", "rosbags", "plotly", "matplotlib"))


def test_csv_says_that_it_forgets_which_rotor_is_where(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    log = replace(full_log(), metadata={"rotor_quadrants": [[1, -1], [-1, 1], [1, 1], [-1, -1]]})
    write_mcap(log, tmp_path / "a.mcap")
    for name, said in (("b.csv", True), ("b.mcap", False)):
        code, _, err = run(capsys, "logs", "convert", str(tmp_path / "a.mcap"), str(tmp_path / name))
        assert code == 0
        assert ("does not keep which rotor is in which quadrant" in err.replace("\n", " ")) == said
