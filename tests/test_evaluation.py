"""Errors against hand-made truth, the fitted Cheeseman-Bennett law, slopes, and the file of predictions."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from constant_residual import ConstantResidual
from learning_flights import flight

from neural_lander.cli.evaluate import HEADER, write_predictions
from neural_lander.cli.tables import left_lines
from neural_lander.errors import UserError
from neural_lander.residual.analytic import CheesemanBennett
from neural_lander.residual.analytic_fit import fit_cheeseman_bennett
from neural_lander.residual.evaluation import Predictors, evaluate, share_left, slope_table, thrust_slope
from neural_lander.residual.model import ReluNetwork
from neural_lander.residual.samples import ResidualSamples, residual_samples
from neural_lander.residual.unexplained import unexplained
from neural_lander.state import State
from neural_lander.vehicle import load_vehicle

VEHICLE = load_vehicle("intel-aero")


@pytest.fixture(scope="module")
def samples() -> ResidualSamples:
    return residual_samples(flight(VEHICLE, 20.0), VEHICLE)


def linear(slope: float) -> ReluNetwork:
    """f_a,z = slope T for T > 0, as a ReLU network over (zeta, T_1..T_4)."""
    first = np.zeros((1, 12), dtype=np.float32)
    first[0, 8:] = 1.0
    last = np.array([[0.0], [0.0], [slope]], dtype=np.float32)
    big = np.full(8, 1e3, dtype=np.float32)
    return ReluNetwork((first, last), (np.zeros(1, np.float32), np.zeros(3, np.float32)), "paper", -big, big)


def test_errors_are_root_mean_squares_over_the_scored_samples(samples: ResidualSamples) -> None:
    law = CheesemanBennett(3.0, 0.2, VEHICLE.rotor_radius, VEHICLE.gear_clearance)
    report = evaluate(Predictors(linear(0.1), law, np.array([0.0, 0.0, 0.5])), [samples, samples])
    thrust = samples.rotor_thrust.sum(axis=1)
    for errors, prediction in (
        (report, 0.1 * thrust),
        (report["baselines"]["zero"], 0 * thrust),
        (report["baselines"]["mean"], 0.5 + 0 * thrust),
        (report["baselines"]["cheeseman_bennett"], law.f_az(samples.centre_height, thrust)),
    ):
        e = prediction - samples.label[:, 2]
        low = samples.scored & (samples.centre_height < 0.11 + 2 * 0.115)
        assert errors["rmse_fa_z_N"] == pytest.approx(np.sqrt(np.mean(e[samples.scored] ** 2)), rel=1e-5)
        assert errors["rmse_fa_z_low_N"] == pytest.approx(np.sqrt(np.mean(e[low] ** 2)), rel=1e-5)
        assert errors["rmse_fa_z_g"] == pytest.approx(errors["rmse_fa_z_N"] / 9.81e-3)
    assert report["samples_scored"] == 2 * samples.scored.sum()
    assert len(report["flights"]) == 2
    assert report["flights"][0]["rmse_fa_z_N"] == pytest.approx(report["rmse_fa_z_N"])


def test_noise_and_cut_motors_are_told_apart_from_what_a_model_misses(samples: ResidualSamples) -> None:
    rng, n = np.random.default_rng(0), len(samples)
    steady = replace(samples, thrust_rate=np.zeros(n))
    slow = 0.5 * np.sin(2 * np.pi * 0.3 * samples.t)
    found = unexplained([slow + 0.2 * rng.normal(size=n)], [steady], [samples.scored])
    white = 0.2 * np.sqrt(45 / 50)  # N: the part of white noise from 5 to 50 Hz
    assert found["error_above_5_Hz_N"] == pytest.approx(white, rel=0.05)
    assert (found["samples_in_fast_thrust"], found["share_of_square_in_fast_thrust"]) == (0, 0.0)
    cut = np.zeros(n, dtype=bool)
    cut[np.flatnonzero(samples.scored)[[400, 401, 402]]] = True
    falling = replace(samples, thrust_rate=np.where(cut, -3 * VEHICLE.weight, 0.0))
    found = unexplained([np.where(cut, 3.0, 0.1)], [falling], [samples.scored])
    assert found["samples_in_fast_thrust"] == 3
    rest = 0.01 * (samples.scored.sum() - 3)
    assert found["share_of_square_in_fast_thrust"] == pytest.approx(27 / (27 + rest))
    nothing = unexplained([slow], [samples], [np.zeros(n, dtype=bool)])
    assert nothing["error_above_5_Hz_N"] is None and nothing["share_of_square_in_fast_thrust"] is None


@pytest.mark.parametrize(
    ("ours", "nothing", "noise", "left"),
    [(0.5, 1.3, 0.5, 0.0), (0.4, 1.3, 0.5, 0.0), (1.3, 1.3, 0.5, 1.0), (0.78, 1.3, 0.5, 0.5), (0.5, 0.6, 0.5, None)],
)
def test_what_the_network_leaves_is_counted_beyond_noise(
    ours: float, nothing: float, noise: float, left: float | None
) -> None:
    report = {
        "rmse_fa_z_low_N": ours,
        "baselines": {"zero": {"rmse_fa_z_low_N": nothing}},
        "unexplained": {"error_above_5_Hz_N": noise},
    }
    assert share_left(report) == (None if left is None else pytest.approx(left, abs=0.002))
    assert bool(left_lines(report)) is (left is not None and left >= 0.5)


def test_without_scored_samples_there_is_no_number(samples: ResidualSamples) -> None:
    law = CheesemanBennett(1.0, 0.0, VEHICLE.rotor_radius, VEHICLE.gear_clearance)
    nothing = replace(samples, scored=np.zeros(len(samples), dtype=bool))
    report = evaluate(Predictors(linear(0.1), law, np.zeros(3)), [nothing])
    assert report["rmse_fa_z_N"] is None
    assert report["thrust_slope"]["mean"] is None


def test_the_slope_of_a_linear_network_is_its_weight(samples: ResidualSamples) -> None:
    np.testing.assert_allclose(thrust_slope(linear(-0.7), samples), -0.7, rtol=1e-5)


def test_the_slope_table_sorts_by_height() -> None:
    table = slope_table(np.array([0.01, 0.02, 0.3, 0.9]), np.array([0.1, 0.3, -0.2, 0.0]))
    assert (table["min"], table["max"], table["samples"]) == (-0.2, 0.3, 4)
    low = table["by_height"][0]
    assert (low["height_from_m"], low["height_to_m"], low["mean"], low["samples"]) == (0.0, 0.05, 0.2, 2)
    assert table["by_height"][-1]["height_to_m"] is None


def test_the_fit_finds_the_constants_that_made_the_data() -> None:
    rng = np.random.default_rng(0)
    vehicle = load_vehicle("crazyflie-parrot")
    z, thrust = rng.uniform(0.07, 0.5, 5000), rng.uniform(0.5, 0.8, 5000)
    f = thrust * (1 / (1 - 10.4 * (0.033 / (4 * z)) ** 2) - 1) + 0.015
    law = fit_cheeseman_bennett(vehicle, z, thrust, f + 0.005 * rng.normal(size=5000))
    assert law.mu == pytest.approx(10.4, abs=0.1)
    assert law.c == pytest.approx(0.015, abs=5e-4)
    with pytest.raises(UserError, match="no samples"):
        fit_cheeseman_bennett(vehicle, z[:0], thrust[:0], f[:0])


def test_the_fit_is_not_caught_where_the_law_is_held() -> None:
    """Of samples that are mostly low, a law that is held at all of them leaves less than its neighbours do."""
    rng = np.random.default_rng(0)
    z = np.concatenate([rng.uniform(0.11, 0.2, 4000), rng.uniform(0.2, 1.5, 1000)])
    thrust = VEHICLE.weight * (1 + 0.05 * rng.normal(size=len(z)))
    made = CheesemanBennett(2.5, 0.3, VEHICLE.rotor_radius, VEHICLE.gear_clearance)
    law = fit_cheeseman_bennett(VEHICLE, z, thrust, made.f_az(z, thrust))
    assert law.mu == pytest.approx(2.5, abs=1e-3) and law.c == pytest.approx(0.3, abs=1e-2)


def test_analytic_models_answer_like_the_network_one_state_and_many() -> None:
    law = CheesemanBennett(4.0, 0.1, VEHICLE.rotor_radius, VEHICLE.gear_clearance)
    heights = np.array([0.0, 0.05, 0.3])
    batch = State(np.zeros((3, 3)), np.zeros((3, 3)), np.tile([1.0, 0, 0, 0], (3, 1)), np.zeros((3, 3)), heights)
    rotor_thrust = np.full((3, 4), VEHICLE.weight / 4)
    many = law.at(batch)(rotor_thrust)
    for k, h in enumerate(heights):
        one = State(np.zeros(3), np.zeros(3), np.array([1.0, 0, 0, 0]), np.zeros(3), np.asarray(h))
        np.testing.assert_allclose(law.at(one)(rotor_thrust[k]), many[k])
        expected = VEHICLE.weight * (1 / (1 - 4.0 * (0.115 / (4 * (h + 0.11))) ** 2) - 1) + 0.1
        np.testing.assert_allclose(many[k], [0.0, 0.0, expected])
    constant = ConstantResidual(np.array([0.1, 0.0, -0.2]))
    np.testing.assert_allclose(constant.at(batch)(rotor_thrust), np.tile([0.1, 0.0, -0.2], (3, 1)))


def test_the_law_stays_finite_below_its_pole() -> None:
    law = CheesemanBennett(50.0, 0.0, 0.115, 0.0)
    values = law.f_az(np.array([1e-3, 0.01, 0.2]), np.full(3, 10.0))
    assert np.all(np.isfinite(values))
    assert np.all(values <= 10.0 + 1e-9)


def test_predictions_are_written_row_by_row(tmp_path: Path, samples: ResidualSamples) -> None:
    path = tmp_path / "p.csv"
    prediction = samples.label + 1.0
    write_predictions(path, samples, prediction)
    assert path.read_text().splitlines()[0] == HEADER == "t,label_x,label_y,label_z,pred_x,pred_y,pred_z,scored"
    rows = np.loadtxt(path, delimiter=",", skiprows=1)
    np.testing.assert_allclose(rows[:, 0], samples.t, atol=1e-9)
    np.testing.assert_allclose(rows[:, 1:4], samples.label, rtol=1e-8)
    np.testing.assert_allclose(rows[:, 4:7], prediction, rtol=1e-8)
    np.testing.assert_array_equal(rows[:, 7].astype(bool), samples.scored)
    assert [p.name for p in tmp_path.iterdir()] == ["p.csv"]


def test_predictions_that_cannot_be_written_are_one_line(tmp_path: Path, samples: ResidualSamples) -> None:
    with pytest.raises(UserError, match="cannot be written"):
        write_predictions(tmp_path / "missing" / "p.csv", samples, samples.label)
