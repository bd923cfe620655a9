"""Every law lands in PyBullet on the default plant, learned and not, with the gains that all share."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from neural_lander.cli.main import main
from neural_lander.vehicle import load_vehicle
from sim.comparison.study import study_airframe
from sim.controllers import build_controller, controller_named
from sim.landing import fly_once, identify_moment_trim
from sim.plant import Copy, Plant
from sim.scenarios import scenario_named

pytest.importorskip("pybullet", reason="the PyBullet world needs pybullet, which has wheels up to Python 3.11")

pytestmark = pytest.mark.slow
SEEDS = (1, 2, 3)
# m and s, medians; PD with trim: 33 mm and 3.2 s
BOUNDS = {
    "indi": (0.010, 0.1),
    "l1": (0.015, 0.1),
    "neural-lander-trim": (0.005, 0.1),
    "neural-lander-adaptive": (0.005, 0.1),
}


USERS = """
from neural_lander.control.controller import Controller

class Mine(Controller):
    pass

class Doubled:
    def __init__(self, vehicle):
        self.inner = Controller(vehicle)
    def reset(self, moment_trim):
        self.inner.reset(moment_trim)
    def __call__(self, t, state, reference):
        return self.inner(t, state, reference)
"""


def test_a_user_s_law_flies_beside_ours_from_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two ways to write PD with trim give its numbers, and the guard lets them pass."""
    (tmp_path / "mine_laws.py").write_text(USERS, "utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    names = ["pd-trim", "mine_laws:Mine", "mine_laws:Doubled", "mine_laws:Mine+guard"]
    arguments = ["compare", "--controllers", ",".join(names), "--scenario", "land-1d", "-n", "2", "--airframes", "1"]
    assert main([*arguments, "--workers", "1", "--out", str(tmp_path / "out"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["scenarios"]["land-1d"]["controllers"]
    assert found["mine_laws:Mine"]["label"] == "Mine"
    for name in names[1:]:
        assert found[name]["metrics"] == found["pd-trim"]["metrics"]
    assert "Doubled" in (tmp_path / "out" / "report.html").read_text("utf-8")


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    folder: Path = tmp_path_factory.mktemp("study")
    return study_airframe(Plant(load_vehicle("intel-aero")).with_airframe(1), 1, 0, folder).copy


@pytest.mark.parametrize("name", BOUNDS)
def test_it_lands_close_to_the_reference_and_on_time(copy: Copy, name: str) -> None:
    controller, rows = build_controller(controller_named(name), copy.plant, copy.learned), []
    with copy.plant.build() as world:
        trim = identify_moment_trim(copy.plant, world)
    for seed in SEEDS:
        with copy.plant.build() as world:
            *_, row = fly_once(world, copy.plant, controller, scenario_named("land-3d"), seed, trim)
        rows.append(row)
    error, late = BOUNDS[name]
    assert all(row["success"] for row in rows)
    assert np.median([abs(row["arrival_error_m"]) for row in rows]) < error
    assert np.median([abs(row["lateness_s"]) for row in rows]) < late
    assert all(0.15 < row["touchdown_speed_m_s"] < 0.45 for row in rows)
