"""The ablation: who is trained on and judged in each split, pooling, and the verb."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from learning_flights import flight

from neural_lander.cli.main import main
from neural_lander.errors import UserError
from neural_lander.flightlog import write_mcap
from neural_lander.residual.ablation import VARIANTS, ablation, splits
from neural_lander.residual.options import TrainingOptions
from neural_lander.residual.samples import ResidualSamples, residual_samples
from neural_lander.vehicle import load_vehicle

VEHICLE = load_vehicle("intel-aero")
QUICK = TrainingOptions(epochs=1, hidden=(8,))


@pytest.fixture(scope="module")
def flights() -> list[ResidualSamples]:
    samples = [residual_samples(flight(VEHICLE, 12.0, seed=k), VEHICLE) for k in range(4)]
    return [*samples[:3], replace(samples[3], lands=True)]


def test_every_flight_in_the_air_is_judged_once_and_landings_by_what_flew_without_them(
    flights: list[ResidualSamples],
) -> None:
    *folds, task = splits(flights, 3)
    assert np.sum([f.judged for f in folds], axis=0).tolist() == [1, 1, 1, 0]
    assert not any(a and b for f in (*folds, task) for a, b in zip(f.fitted, f.judged, strict=True))
    assert task.kind == "by_task" and task.fitted == [True] * 3 + [False] and task.judged == [False] * 3 + [True]
    with pytest.raises(UserError, match="3 flights stay in the air"):
        splits(flights, 4)


def test_baselines_are_pooled_over_all_scored_samples(flights: list[ResidualSamples]) -> None:
    table = ablation(flights, VEHICLE, base=QUICK, variants=["default"], seeds=1, folds=3, workers=1)
    zero = next(row for row in table["baselines"] if row["name"] == "zero")
    # below the trim height everywhere: no sample serves for a trim, so that zero's errors are the labels
    label = np.concatenate([f.label[f.scored, 2] for f in flights if not f.lands])
    assert zero["by_flight"]["rmse_fa_z_N"] == pytest.approx(np.sqrt(np.mean(label**2)))
    row = table["variants"][0]
    assert row["by_task"]["rmse_fa_z_N"] == row["by_task"]["rmse_fa_z_N_worst_seed"]


def test_every_variant_is_a_choice_that_training_knows() -> None:
    for changes in VARIANTS.values():
        replace(TrainingOptions(), **changes)


@pytest.mark.parametrize(
    "variant", ["layers: projection", "normalised: control columns only", "rotor thrusts: not seen"]
)
def test_a_variant_trains_and_holds_its_bounds(flights: list[ResidualSamples], variant: str) -> None:
    row = ablation(flights, VEHICLE, base=QUICK, variants=[variant], seeds=1, folds=3, workers=1)["variants"][0]
    assert row["contraction_factor_product"] <= QUICK.thrust_slope * (1 + 1e-9)
    if variant == "rotor thrusts: not seen":
        assert row["contraction_factor_product"] == 0.0 and row["thrust_slope_mean"] == 0.0


@pytest.mark.slow
def test_the_verb_prints_a_table_and_one_json_object(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for k in range(2):
        write_mcap(flight(VEHICLE, 12.0, seed=k), tmp_path / f"{k}.mcap")
    arguments = ["ablate", str(tmp_path), "--vehicle", "intel-aero", "--seeds", "1", "--folds", "2", "--workers", "1"]
    arguments += ["--only", "rotor thrusts: not seen"]
    assert main([*arguments, "--json"]) == 0
    table = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in table["variants"]] == ["rotor thrusts: not seen"]
    assert main([*arguments[:-1], "no such"]) == 2
    assert "variant 'no such' is not known" in capsys.readouterr().err
