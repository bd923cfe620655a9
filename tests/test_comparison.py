"""A whole comparison: what it leaves in its folder, and that a second run flies nothing twice."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from neural_lander.cli.output import to_json
from neural_lander.vehicle import load_vehicle
from sim.comparison import worlds
from sim.comparison.campaign import Campaign, run_campaign
from sim.comparison.compare import Comparison, PlantChange, compare
from sim.plant import Copy, Plant
from sim.report.page import write_report
from sim.report.tables import warnings
from tests.cheap_world import CheapWorld

pytest.importorskip("pybullet", reason="the PyBullet world needs pybullet, which has wheels up to Python 3.11")

PLANT = Plant(load_vehicle("intel-aero"))
COMPARISON = Comparison(
    [Copy(PLANT.with_airframe(k), None) for k in range(2)],
    ["pd", "pd-trim", "oracle"],
    ["land-1d", "land-3d"],
    flights=6,
    changes=[PlantChange.parse("mass=1.1")],
    robustness=[PlantChange.parse("thrust=0.85")],
    sweep=(2.0, 4.0),
    world="cheap",
    tuned={"pd": {"Lambda_1_s": 4.0, "K_v_over_m_1_s": 4.0}},
)


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worlds, "WORLDS", {"cheap": CheapWorld()})
    monkeypatch.setattr("sim.comparison.campaign._moment_trim", lambda task: (task[0], np.zeros(3)))
    monkeypatch.setattr("sim.comparison.compare.fly_replays", lambda campaign, pool: {})
    monkeypatch.setattr("sim.comparison.compare._hang", lambda c, scenarios: {})


def test_every_flight_is_a_row_of_one_table(tmp_path: Path) -> None:
    compare(COMPARISON, out=tmp_path)
    table = pd.read_parquet(tmp_path / "flights.parquet")
    campaigns = 2 + 2 + 2 + 1 + 2  # scenarios, tuned, changed plant, robustness, sweep
    assert len(table) == campaigns * 3 * 6
    assert set(table["plant"]) == {"nominal", "mass +10 %", "thrust -15 %"}
    assert table["tuned"].sum() == 2 * 3 * 6
    first = table[(table["scenario"] == "land-1d") & (table["controller"] == "pd") & (table["plant"] == "nominal")]
    assert list(first["index"].unique()) == list(range(6))
    assert first["arrival_error_m"].dtype == np.float64


class Remembers:
    """An effect of a user's with a state of its own."""

    def reset(self, seed, dt) -> None:
        """Nothing to start from."""

    def __call__(self, state, rotor_speeds, vehicle, terrain):
        return np.zeros(3), np.zeros(3)


def test_no_requirement_is_held_against_an_oracle_that_does_not_know_the_plant() -> None:
    known = compare(COMPARISON)
    plants = [replace(copy.plant, effects=(*copy.plant.effects, Remembers())) for copy in COMPARISON.copies]
    unknown = compare(replace(COMPARISON, copies=[Copy(plant, None) for plant in plants]))
    assert "unknown_to_oracle" not in known and unknown["unknown_to_oracle"] == ["Remembers"]
    labels = [found["scenarios"]["land-1d"]["controllers"]["oracle"]["label"] for found in (known, unknown)]
    assert labels == ["Oracle", "Oracle without Remembers"]
    assert not any("oracle" in row["name"] for row in unknown.get("requirements", []))
    assert warnings(unknown)[0].startswith("No oracle knows Remembers, ") and not warnings(known)


def test_the_same_comparison_again_gives_the_same_results_and_flies_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def result() -> str:
        found = compare(COMPARISON, out=tmp_path)
        return json.dumps(to_json({k: v for k, v in found.items() if k != "created"}))

    first = result()
    monkeypatch.setattr(CheapWorld, "fly", None)
    assert result() == first


def test_all_of_it_is_on_the_page(tmp_path: Path) -> None:
    write_report(to_json(compare(COMPARISON)), tmp_path / "report.html")
    html = (tmp_path / "report.html").read_text("utf-8")
    for heading in ("Landing, vertical", "Tuned", "Robustness", "Other plants", "How much the gains matter"):
        assert f"<h2>{heading}</h2>" in html
    assert "thrust -15 %" in html


@pytest.mark.slow
def test_tuned_gains_are_those_that_fly(monkeypatch: pytest.MonkeyPatch) -> None:
    """At twice the stiffness in both factors PD hangs at a quarter: k_p h = f_a,z."""
    monkeypatch.undo()
    campaign = Campaign(COMPARISON.copies[:1], ["pd"], "hover-low", flights=1)
    stiff = replace(campaign, tuned={"pd": {"Lambda_1_s": 6.0, "K_v_over_m_1_s": 6.0}})
    error, less = (run_campaign(c)["pd"].rows[0]["low_hover_error_m"] for c in (campaign, stiff))
    assert less < 0.5 * error
