"""Trim: its definitions on hand-made errors, causality, and the verb."""

from dataclasses import replace

import numpy as np
import pytest
from learning_flights import flight

from neural_lander.residual.analytic import CheesemanBennett
from neural_lander.residual.evaluation import Predictors, evaluate
from neural_lander.residual.model import ReluNetwork
from neural_lander.residual.samples import ResidualSamples, residual_samples
from neural_lander.residual.trim import TRIMS, flight_trim, no_trim, online_trim, trim_height
from neural_lander.vehicle import load_vehicle

VEHICLE = load_vehicle("intel-aero")
RNG = np.random.default_rng(0)
MISSING = RNG.normal(1.0, 0.1, size=(50, 3))
REFERENCE = RNG.random(50) < 0.3


def test_flight_trim_is_the_mean_over_the_reference_samples() -> None:
    np.testing.assert_allclose(flight_trim(MISSING, REFERENCE), np.tile(MISSING[REFERENCE].mean(axis=0), (50, 1)))
    assert not flight_trim(MISSING, np.zeros(50, dtype=bool)).any()
    assert not no_trim(MISSING, REFERENCE).any()


def test_online_trim_is_the_mean_over_earlier_reference_samples_alone() -> None:
    trim = online_trim(MISSING, REFERENCE)
    for k in range(50):
        earlier = MISSING[:k][REFERENCE[:k]]
        np.testing.assert_allclose(trim[k], earlier.mean(axis=0) if len(earlier) else np.zeros(3), atol=1e-12)
    later = MISSING.copy()
    later[25:] += 100.0
    np.testing.assert_allclose(online_trim(later, REFERENCE)[:26], trim[:26], atol=1e-12)


@pytest.fixture(scope="module")
def samples() -> ResidualSamples:
    return residual_samples(flight(VEHICLE, 20.0, top=2.0), VEHICLE)


def zero_network() -> ReluNetwork:
    first, last = np.zeros((1, 12), dtype=np.float32), np.zeros((3, 1), dtype=np.float32)
    big = np.full(8, 1e3, dtype=np.float32)
    return ReluNetwork((first, last), (np.zeros(1, np.float32), np.zeros(3, np.float32)), "paper", -big, big)


@pytest.mark.parametrize("name", ["flight", "online"])
def test_an_offset_of_the_whole_flight_is_nothing_after_its_trim(samples: ResidualSamples, name: str) -> None:
    law = CheesemanBennett(1e-9, 0.0, VEHICLE.rotor_radius, VEHICLE.gear_clearance)
    predictors = Predictors(zero_network(), law, np.array([0.0, 0.0, 3.0]))
    above = 1.0
    shifted = replace(samples, label=samples.label + np.array([0.0, 0.0, 5.0]))
    later = np.cumsum(samples.scored & (samples.centre_height > above)) > 1  # online knows nothing before that
    errors = [evaluate(predictors, [s], [later], trim=TRIMS[name], trim_above=above) for s in (samples, shifted)]
    assert errors[1]["rmse_fa_z_N"] == pytest.approx(errors[0]["rmse_fa_z_N"], rel=1e-6)
    zero, mean, law_errors = (
        errors[1]["baselines"][key]["rmse_fa_z_N"] for key in ("zero", "mean", "cheeseman_bennett")
    )
    assert zero == pytest.approx(mean) == pytest.approx(law_errors, rel=1e-6)  # all differ by an offset only
    raw = evaluate(predictors, [shifted])["rmse_fa_z_N"]
    assert raw > zero + 1.0
    missing = shifted.label[:, 2]
    high = shifted.scored & (shifted.centre_height > above)
    if name == "flight":
        expected = (missing - missing[high].mean())[shifted.scored & later]
        assert zero == pytest.approx(np.sqrt(np.mean(expected**2)))
    assert errors[1]["flights"][0]["samples_for_trim"] == high.sum()


def test_the_trim_height_is_the_data_sets_own_or_in_rotor_radii() -> None:
    assert trim_height(load_vehicle("crazyflie-21")) == 0.28
    assert trim_height(VEHICLE) == pytest.approx(VEHICLE.gear_clearance + 8 * VEHICLE.rotor_radius)
