"""Trim: its definitions on hand-made errors, causality, and the verb."""

from dataclasses import replace

import numpy as np
import pytest
from learning_flights import flight

from neural_lander.residual.analytic import CheesemanBennett
from neural_lander.residual.evaluation import Predictors, evaluate
from neural_lander.residual.model import ReluNetwork
from neural_lander.residual.samples import ResidualSamples, residual_samples
from neural_lander.residual.trim import (
    LOW_NOISE,
    TRIMS,
    WALK,
    flight_biases,
    flight_trim,
    no_trim,
    online_trim,
    trim_height,
)
from neural_lander.vehicle import load_vehicle

VEHICLE = load_vehicle("intel-aero")
RNG = np.random.default_rng(0)
MISSING = RNG.normal(1.0, 0.1, size=(50, 3))
REFERENCE = RNG.random(50) < 0.3


NOTHING = np.zeros(50, dtype=bool)


def test_flight_trim_is_the_mean_over_the_high_samples() -> None:
    mean = np.tile(MISSING[REFERENCE].mean(axis=0), (50, 1))
    np.testing.assert_allclose(flight_trim(MISSING, REFERENCE, ~REFERENCE), mean)
    assert not flight_trim(MISSING, NOTHING, ~REFERENCE).any()
    assert not no_trim(MISSING, REFERENCE, ~REFERENCE).any()


def test_online_trim_is_the_generalised_least_squares_estimate_from_earlier_samples_alone() -> None:
    low = ~REFERENCE & (np.arange(50) % 3 == 0)
    trim = online_trim(MISSING, REFERENCE, low)
    for k in range(50):
        earlier = np.flatnonzero((REFERENCE | low)[:k])
        if not len(earlier):
            assert not trim[k].any()
            continue
        # a random walk seen from its newest value: covariance of what the samples say about it
        age = np.array([earlier[-1] - i for i in earlier])
        covariance = WALK**2 * np.minimum(age[:, None], age[None, :])
        covariance = covariance + np.diag(np.where(REFERENCE[earlier], 1.0, LOW_NOISE**2))
        weights = np.linalg.solve(covariance, np.ones(len(earlier)))
        np.testing.assert_allclose(trim[k], weights @ MISSING[earlier] / weights.sum(), atol=1e-10)
    later = MISSING.copy()
    later[25:] += 100.0
    np.testing.assert_array_equal(online_trim(later, REFERENCE, low)[:26], trim[:26])


def test_online_trim_follows_a_battery_that_sags() -> None:
    n = 6000
    sag = np.linspace(0.0, 1.0, n)[:, None] * np.ones(3)
    missing = sag + 0.1 * np.random.default_rng(1).normal(size=(n, 3))
    trim = online_trim(missing, np.ones(n, dtype=bool), np.zeros(n, dtype=bool))
    assert np.abs(trim - sag)[3000:].mean() < 0.1 < np.abs(missing.mean(axis=0) - sag)[3000:].mean()


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
    later = np.cumsum(samples.scored) > 1  # online knows nothing before that
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


def test_a_flights_bias_is_its_label_at_rest_whatever_way_it_drifted() -> None:
    biases, drag = np.array([[0.1, -0.2, 1.0], [0.0, 0.3, -0.5], [0.2, 0.2, 0.2]]), np.diag([-0.3, -0.3, -0.2])
    flights = []
    for k, bias in enumerate(biases):
        s = residual_samples(flight(VEHICLE, 12.0, seed=k, top=2.0), VEHICLE)
        velocity = s.velocity + np.array([0.5 * k, -0.3, 0.0])  # on the whole one way
        label = bias + velocity @ drag + 0.01 * np.random.default_rng(k).normal(size=s.label.shape)
        flights.append(replace(s, label=label, velocity=velocity, centre_height=np.full(len(s), 2.0)))
    usable = [f.usable for f in flights]
    np.testing.assert_allclose(flight_biases(flights, usable, 1.0), biases, atol=0.01)
    heights = [np.linspace(0.1, 0.9, len(f)) for f in flights]
    low = [replace(f, centre_height=h) for f, h in zip(flights, heights, strict=True)]
    top = np.concatenate([f.label[f.usable & (f.centre_height > 0.85)] for f in low]).mean(axis=0)
    np.testing.assert_allclose(flight_biases(low, usable, 1.0), np.tile(top, (3, 1)), atol=0.1)
    assert not flight_biases(low, [0 * u > 0 for u in usable], 1.0).any()
    mixed = flight_biases([*flights[:2], low[2]], usable, 1.0)
    np.testing.assert_allclose(mixed[2], mixed[:2].mean(axis=0))


def test_what_reaches_above_the_trim_height_is_no_bias_of_a_flight_that_was_low_for_long() -> None:
    """Of a cushion of 4 % of the weight there, which ends within 0.3 m."""
    rng, flights = np.random.default_rng(0), []
    for k, share in enumerate((0.9, 0.5, 0.1)):
        s = residual_samples(flight(VEHICLE, 12.0, seed=k, top=2.0), VEHICLE)
        low = rng.random(len(s)) < share
        over = np.where(low, rng.uniform(0.0, 0.3, len(s)), rng.uniform(0.4, 1.0, len(s)))
        cushion = 0.04 * VEHICLE.weight * np.maximum(1.0 - over / 0.3, 0.0)
        label = cushion[:, None] * np.array([0.0, 0.0, 1.0]) + 0.01 * rng.normal(size=s.label.shape)
        flights.append(replace(s, label=label, centre_height=1.0 + over))
    found = flight_biases(flights, [f.usable for f in flights], 1.0)
    assert np.abs(found - found.mean(axis=0)).max() < 1e-3 * VEHICLE.weight
    assert np.abs(found).max() < 2e-3 * VEHICLE.weight


def test_a_level_that_was_never_seen_is_no_bias() -> None:
    """Of flights up to 0.25 m above the trim height, which a gust of 1 % of the weight met at their highest."""
    rng, flights = np.random.default_rng(0), []
    for k, bias in enumerate((0.3, 0.2, 0.4)):
        s = residual_samples(flight(VEHICLE, 12.0, seed=k, top=2.0), VEHICLE)
        over = np.where(rng.random(len(s)) < 0.02, rng.uniform(0.2, 0.25, len(s)), rng.uniform(0.0, 0.2, len(s)))
        vertical = bias + 0.01 * VEHICLE.weight * (over > 0.2) + 0.01 * rng.normal(size=len(s))
        label = vertical[:, None] * np.array([0.0, 0.0, 1.0])
        flights.append(replace(s, label=label, centre_height=1.0 + over))
    found = flight_biases(flights, [f.usable for f in flights], 1.0)
    np.testing.assert_allclose(found[:, 2], (0.3, 0.2, 0.4), atol=2e-3 * VEHICLE.weight)


def test_the_trim_height_is_the_data_sets_own_or_in_rotor_radii() -> None:
    assert trim_height(load_vehicle("crazyflie-21")) == 0.28
    assert trim_height(VEHICLE) == pytest.approx(VEHICLE.gear_clearance + 8 * VEHICLE.rotor_radius)
