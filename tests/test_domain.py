"""The domain: samples lie inside, the score is a distance in ranges, the faded model is never worse than none."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from constant_residual import ConstantResidual
from learning_flights import flight
from random_network import random_network

from neural_lander.errors import UserError
from neural_lander.residual.analytic import CheesemanBennett
from neural_lander.residual.domain import Domain, FadingResidual
from neural_lander.residual.domain_fit import calibrate_fade, fit_domain, nearer_to_rest
from neural_lander.residual.evaluation import Predictors
from neural_lander.residual.judged import outside_domain
from neural_lander.residual.samples import ResidualSamples, residual_samples
from neural_lander.residual.trim import no_trim
from neural_lander.rotation import quaternion_exp
from neural_lander.state import State
from neural_lander.vehicle import load_vehicle

VEHICLE = load_vehicle("intel-aero")
DOMAIN = Domain(
    np.array([0.0, 0.5, 1.0]),
    np.array([[-0.2, 0.2], [-0.6, 0.4], [-1.0, 0.6]]),
    np.array([0.5, 1.0, 1.0]),
    np.array([0.1, 0.2, 0.2]),
    2.0,
    np.array([0.0, 0.0, 0.5]),
    np.array([10.0, 18.0]),
)


def state(height: float, velocity: tuple[float, float, float] = (0.0, 0.0, 0.0), tilt: float = 0.0) -> State:
    q = quaternion_exp(np.array([tilt, 0.0, 0.0]))
    return State(np.array([0.0, 0.0, height]), np.array(velocity), q, np.zeros(3), height)


@pytest.mark.parametrize(
    "at, expected",
    [
        (state(0.5, (0.0, 0.0, -0.1)), 1.0),  # the middle of the vertical speeds; at 1 by height's own term
        (state(0.5, (0.0, 0.0, 0.9)), 2.0),
        (state(0.5, (0.0, 0.0, -1.1)), 2.0),
        (state(0.0, (0.6, 0.8, 0.0)), 2.0),
        (state(0.25, (0.75, 0.0, -0.05)), 1.0),
        (state(1.0, (0.0, 0.0, -0.2), tilt=float(np.arcsin(0.4))), 2.0),
        (state(3.0, (0.0, 0.0, -0.2)), 3.0),
        (state(-0.05), 2.0),
    ],
)
def test_the_score_is_the_largest_deviation_in_ranges(at: State, expected: float) -> None:
    score = DOMAIN.score(at)
    if expected == 1.0:
        assert score <= 1.0 + 1e-9
    else:
        assert score == pytest.approx(expected, rel=1e-9)


def test_one_vehicle_and_a_batch_of_either_library_have_one_score() -> None:
    rng = np.random.default_rng(0)
    n = 200
    q = quaternion_exp(0.3 * rng.normal(size=(n, 3)))
    v, h = rng.normal(size=(n, 3)), rng.uniform(-0.1, 1.5, n)
    position = np.zeros((n, 3))
    batch = DOMAIN.score(State(position, v, q, position, h))
    single = [DOMAIN.score(State(position[k], v[k], q[k], position[k], h[k])) for k in range(n)]
    np.testing.assert_allclose(batch, single, rtol=1e-9)
    tensors = [torch.tensor(a) for a in (position, v, q, position, h)]
    np.testing.assert_allclose(DOMAIN.score(State(*tensors)).numpy(), single, rtol=1e-9)
    np.testing.assert_allclose(DOMAIN.share(batch), [DOMAIN.share(s) for s in single], rtol=1e-9)


def test_the_score_changes_with_height_as_little_as_the_ranges_do() -> None:
    heights = np.linspace(0.0, 1.0, 5001)
    scores = np.array([float(DOMAIN.score(state(h, (0.0, 0.0, -1.5)))) for h in heights])
    middle, half = (np.interp(heights, DOMAIN.height, c) for c in (DOMAIN.v_z.mean(1), np.diff(DOMAIN.v_z)[:, 0] / 2))
    np.testing.assert_allclose(scores, np.abs(-1.5 - middle) / half, rtol=1e-9)


def test_a_height_that_is_no_number_leaves_none_of_the_force() -> None:
    nowhere = state(float("nan"))
    assert np.isnan(DOMAIN.score(nowhere))
    assert np.isnan(FadingResidual(ConstantResidual((0.0, 0.0, 2.0)), DOMAIN).at(nowhere)(np.full(4, 3.0))).all()


@pytest.mark.parametrize("axis", range(3))
def test_a_velocity_that_is_no_number_has_no_score_in_one_vehicle_as_in_a_batch(axis: int) -> None:
    v = np.where(np.arange(3) == axis, np.nan, 0.1)
    one, zeros = state(0.5, tuple(v)), np.zeros((1, 3))
    assert np.isnan(DOMAIN.score(one))
    batch = State(zeros, v[None], np.array([[1.0, 0.0, 0.0, 0.0]]), zeros, np.array([0.5]))
    assert np.isnan(DOMAIN.score(batch)).all()


def test_inside_nothing_is_faded_and_beyond_its_end_the_bias_of_the_flights_is_left() -> None:
    model = FadingResidual(ConstantResidual(np.array([0.0, 0.0, 2.0])), DOMAIN)
    thrust = np.full(4, 3.0)
    assert model.at(state(0.5))(thrust)[2] == 2.0
    assert model.at(state(0.5, (0.0, 0.0, 0.65)))(thrust)[2] == pytest.approx(1.25, rel=0.05)
    assert model.at(state(0.5, (0.0, 0.0, 5.0)))(thrust)[2] == 0.5
    batch = State(
        np.zeros((2, 3)),
        np.array([[0.0, 0, 0], [0, 0, 5.0]]),
        np.tile([1.0, 0, 0, 0], (2, 1)),
        np.zeros((2, 3)),
        np.full(2, 0.5),
    )
    np.testing.assert_allclose(model.at(batch)(np.full((2, 4), 3.0))[:, 2], [2.0, 0.5])


def test_a_domain_survives_json_and_garbled_ones_are_refused() -> None:
    again = Domain.from_json(json.loads(json.dumps(DOMAIN.to_json())))
    assert again.score(state(0.3, (0.2, 0.1, -0.3))) == DOMAIN.score(state(0.3, (0.2, 0.1, -0.3)))
    with pytest.raises(UserError, match="gone"):
        replace(DOMAIN, gone=1.0)
    with pytest.raises(UserError, match="fit together"):
        replace(DOMAIN, tilt=DOMAIN.tilt[:2])
    with pytest.raises(UserError, match="not finite"):
        replace(DOMAIN, tilt=np.array([0.1, np.nan, 0.1]))
    with pytest.raises(UserError, match="thrust"):
        replace(DOMAIN, thrust=np.array([3.0, 2.0]))
    with pytest.raises(UserError, match="positive"):
        replace(DOMAIN, lateral_speed=-DOMAIN.lateral_speed)


@pytest.fixture(scope="module")
def samples() -> ResidualSamples:
    return residual_samples(flight(VEHICLE, 120.0), VEHICLE)


def test_what_was_trained_on_lies_inside_but_for_the_tails(samples: ResidualSamples) -> None:
    domain = fit_domain([samples], [samples.usable])
    inside = domain.score(samples)[samples.usable] <= 1.0 + 1e-9
    assert inside.mean() > 0.93


def test_the_last_centimetres_that_contact_hides_are_inside_at_the_speed_of_the_descents(
    samples: ResidualSamples,
) -> None:
    height = samples.height - samples.height.min() + 0.01  # nothing is usable in the last centimetre
    domain = fit_domain([replace(samples, height=height)], [samples.usable])
    assert domain.height[0] == pytest.approx(max(height[samples.usable].min() - 0.02, 0.0))
    near = samples.usable & (height < 0.05)
    assert near.sum() > 100
    slowest = float(np.quantile(samples.velocity[near, 2], 0.01))
    assert domain.score(state(0.0, (0.0, 0.0, slowest))) <= 1


def at_heights(samples: ResidualSamples, *parts: tuple[int, float, float, float]) -> ResidualSamples:
    """Samples spread over heights and speeds, each part ``(number, lowest, highest, fastest)`` in m and m/s."""
    rng = np.random.default_rng(0)
    height = np.concatenate([rng.uniform(low, high, n) for n, low, high, _ in parts])
    v_z = np.concatenate([rng.uniform(-fastest, fastest, n) for n, _, _, fastest in parts])
    velocity = np.column_stack([np.zeros((len(height), 2)), v_z])
    cut = {name: getattr(samples, name)[: len(height)] for name in ("attitude", "rotor_thrust")}
    return replace(samples, height=height, velocity=velocity, **cut)


def test_few_slow_samples_at_the_floor_make_no_range_of_the_speeds_flown_far_above(samples: ResidualSamples) -> None:
    few = at_heights(samples, (60, 0.0, 0.1, 0.05), (5000, 0.31, 2.0, 2.0))
    domain = fit_domain([few], [np.ones(len(few.height), dtype=bool)])
    assert np.all(np.abs(domain.v_z[domain.height < 0.12]) <= 0.11)
    assert domain.score(state(0.02, (0.0, 0.0, -1.0))) > 2
    assert domain.score(state(0.8, (0.0, 0.0, -1.8))) <= 1


def test_a_thin_knot_takes_the_nearest_samples_and_loses_none_of_its_own(samples: ResidualSamples) -> None:
    thin = at_heights(samples, (30, 0.0, 0.05, 1.0), (2000, 0.06, 0.1, 0.4), (5000, 0.11, 2.0, 2.0))
    domain = fit_domain([thin], [np.ones(len(thin.height), dtype=bool)])
    own = thin.velocity[thin.height <= 0.05, 2]
    assert domain.v_z[0] == pytest.approx([own.min(), own.max()])
    gap = at_heights(samples, (2000, 0.0, 0.3, 0.4), (2000, 1.5, 2.0, 2.0))  # nobody was at 0.6 to 1.2 m
    between = fit_domain([gap], [np.ones(len(gap.height), dtype=bool)])
    assert np.all(np.isfinite(between.v_z))


def outer_model(samples: ResidualSamples, wrong_beyond: float, whole: Domain):  # type: ignore[no-untyped-def]
    """A predictor that is right inside, and off by the force itself where the whole domain's score exceeds a value."""

    def predict(s: ResidualSamples) -> np.ndarray:
        factor = np.where(whole.score(s) > wrong_beyond, -1.0, 1.0)
        return np.asarray(factor[:, None] * s.label)

    return lambda masks: predict


def test_a_model_that_fails_outside_is_faded_sooner_than_one_that_holds(samples: ResidualSamples) -> None:
    whole = fit_domain([samples], [samples.usable])
    masks, biases = [samples.usable], np.zeros(1)
    good = calibrate_fade([samples], masks, biases, outer_model(samples, np.inf, whole))
    bad = calibrate_fade([samples], masks, biases, outer_model(samples, 0.7, whole))
    assert good.calibrated and bad.calibrated
    assert bad.gone < good.gone
    for row in (*good.rows, *bad.rows):
        assert row["rmse_faded_N"] <= row["rmse_none_N"] * (1 + 1e-9)


def test_too_little_outside_leaves_a_careful_guess_that_says_so(samples: ResidualSamples) -> None:
    few = samples.usable & (np.arange(len(samples)) < 1000)
    fade = calibrate_fade([samples], [few], np.zeros(1), outer_model(samples, np.inf, fit_domain([samples], [few])))
    assert not fade.calibrated and fade.gone == 1.5


def test_thrust_fades_nothing_and_how_far_it_is_beyond_what_was_flown_is_known(samples: ResidualSamples) -> None:
    np.testing.assert_allclose(DOMAIN.thrust_beyond(np.array([9.0, 10.0, 15.0, 20.5])), [1.0, 0.0, 0.0, 2.5])
    domain = fit_domain([samples], [samples.usable])
    harder = replace(samples, rotor_thrust=1.5 * samples.rotor_thrust)
    np.testing.assert_array_equal(domain.score(samples), domain.score(harder))
    law = CheesemanBennett(0.0, 0.0, VEHICLE.rotor_radius, VEHICLE.gear_clearance)
    predictors = Predictors(random_network(VEHICLE, seed=3), law, np.zeros(3))
    usual, hard = (outside_domain(predictors, domain, [s], no_trim, np.inf) for s in (samples, harder))
    assert usual["samples_beyond_thrust"] < hard["samples_beyond_thrust"]
    most = harder.rotor_thrust.sum(axis=1)[samples.scored].max() - domain.thrust[1]
    assert hard["furthest_beyond_thrust_N"] == pytest.approx(most)


def test_whether_the_mean_bias_or_none_is_nearer_is_counted_by_flight_without_itself() -> None:
    assert nearer_to_rest(np.array([3.0, 3.2, 2.8, 0.1])) == 3
    assert nearer_to_rest(np.array([1.0, -1.0])) == 0
    assert nearer_to_rest(np.array([5.0])) == 0


def test_without_a_trim_the_bias_of_a_flight_is_in_every_error_and_is_said(samples: ResidualSamples) -> None:
    domain = replace(fit_domain([samples], [samples.usable]), gone=1.2, rest=np.array([0.0, 0.0, 1.0]))
    law = CheesemanBennett(0.0, 0.0, VEHICLE.rotor_radius, VEHICLE.gear_clearance)
    predictors = Predictors(random_network(VEHICLE, seed=3), law, np.zeros(3))
    shifted = replace(samples, label=samples.label - np.array([0.0, 0.0, 2.0]))
    before, after = (outside_domain(predictors, domain, [s], no_trim, np.inf) for s in (samples, shifted))
    for name in ("none", "whole", "faded"):
        assert after[f"bias_{name}_N"] == pytest.approx(before[f"bias_{name}_N"] + 2.0)
        spread = [d[f"rmse_{name}_N"] ** 2 - d[f"bias_{name}_N"] ** 2 for d in (before, after)]
        assert spread[0] == pytest.approx(spread[1])
