"""``neural-lander compare``: what is refused before anything flies, and one JSON object on stdout."""

import json
from pathlib import Path

import pytest

from neural_lander.cli import main as cli

pytest.importorskip("pybullet", reason="the PyBullet world needs pybullet, which has wheels up to Python 3.11")


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--scenario", "land-2d"], "scenario 'land-2d' is not known; use one of: land-1d"),
        (["--controllers", "pid"], "controller 'pid' is not known"),
        (["--controllers", ","], "--controllers ',' names none"),
        (["--world", "gazebo"], "world 'gazebo' is not known; use one of: pybullet, batched"),
        (["--sweep", "a"], "--sweep 'a' must be frequencies"),
        (["--omega-n", "99"], "natural frequency 99.0 rad/s must lie in"),
        (["--tuned", "no.json"], "tuned gains no.json cannot be read: there is no such file"),
        (["--scheduler", "tcp://127.0.0.1:9", "--controllers", "pd"], "does not answer as a Dask scheduler"),
    ],
)
def test_bad_requests_are_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sim.comparison.pool.REACHED_WITHIN", 0.5)
    assert cli.main(["compare", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and message in captured.err
    assert captured.err.count("error:") == 1


@pytest.mark.slow
def test_one_json_object_and_a_folder_from_which_another_question_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    command = ["compare", "--controllers", "pd,pd-trim", "--scenario", "hover-low", "--airframes", "2", "--json"]
    command += ["--out", str(tmp_path / "out")]
    assert cli.main([*command, "-n", "2"]) == 0
    found = json.loads(capsys.readouterr().out)
    controllers = found["scenarios"]["hover-low"]["controllers"]
    assert controllers["pd"]["n"] == 2 and controllers["pd"]["success"]["rate"] == 1.0
    assert found["settings"]["world"] == "pybullet"
    assert {"report.html", "results.json", "flights.parquet"} <= {p.name for p in (tmp_path / "out").iterdir()}
    assert cli.main([*command, "-n", "3"]) == 2
    assert "holds flights of another campaign: flights is 2 there and 3 here" in capsys.readouterr().err
