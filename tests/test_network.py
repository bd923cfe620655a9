"""Training: bounds that hold, the known force found near the ground, its slope in thrust, and one result per seed."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from learning_flights import DECAY, GAIN, flight

from neural_lander.errors import UserError
from neural_lander.residual.features import features_named
from neural_lander.residual.model import ReluNetwork
from neural_lander.residual.network import TrainingData, almost_orthogonal, train_network
from neural_lander.residual.optimiser import Adam, one_cycle
from neural_lander.residual.options import TrainingOptions
from neural_lander.residual.samples import residual_samples
from neural_lander.rotation import quaternion_exp, quaternion_multiply, quaternion_to_matrix
from neural_lander.state import State
from neural_lander.vehicle import load_vehicle
from tests.random_network import random_network

VEHICLE = load_vehicle("intel-aero")
PAPER = features_named("paper")


def data(seconds: float, seed: int = 0) -> TrainingData:
    s = residual_samples(flight(VEHICLE, seconds, seed=seed), VEHICLE)
    zeta = np.asarray(PAPER.of(s))
    return TrainingData(zeta[s.usable], s.rotor_thrust[s.usable], s.label[s.usable])


def fit(samples: TrainingData, **options: object) -> ReluNetwork:
    return train_network(samples, PAPER, VEHICLE, TrainingOptions(**options)).network  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def fitted() -> ReluNetwork:
    return fit(data(250.0))


def hover(height: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Input of a vehicle that hovers level at heights (N,), and the true f_a,z."""
    effect = GAIN * np.exp(-height / DECAY)
    thrust = VEHICLE.weight / (1 + effect)
    zeta = np.zeros((len(height), 8))
    zeta[:, 0], zeta[:, 4] = height, 1.0
    return zeta, np.repeat(thrust[:, None] / 4, 4, axis=1), effect * thrust


def test_the_force_near_the_ground_is_found_to_a_few_hundredths_of_its_peak(fitted: ReluNetwork) -> None:
    zeta, thrust, truth = hover(np.linspace(0.0, 0.1, 11))
    error = np.abs(fitted(zeta, thrust)[:, 2] - truth)  # N, of 2.7 N at height 0, where it is steepest
    assert error.max() < 0.09
    assert error[2:].max() < 0.03 and error.mean() < 0.03
    zeta, thrust, truth = hover(np.linspace(0.1, 0.8, 20))
    assert np.abs(fitted(zeta, thrust)[:, 2] - truth).max() < 0.04


def test_the_slope_in_thrust_is_that_of_the_plant_and_not_minus_one(fitted: ReluNetwork) -> None:
    s = residual_samples(flight(VEHICLE, 30.0, seed=9), VEHICLE)
    zeta = np.asarray(PAPER.of(s))
    slope = (fitted(zeta, s.rotor_thrust + 0.0025)[:, 2] - fitted(zeta, s.rotor_thrust)[:, 2]) / 0.01
    error = slope - GAIN * np.exp(-s.height / DECAY)
    assert np.abs(error).max() < 0.2
    assert abs(error.mean()) < 0.05


def test_exported_weights_keep_the_bounds_that_were_asked_for() -> None:
    samples = data(20.0)
    for gamma, slope in ((0.5, 0.05), (4.0, 0.3), (50.0, 0.9)):
        options = TrainingOptions(gamma=gamma, thrust_slope=slope, epochs=3)
        network = train_network(samples, PAPER, VEHICLE, options).network
        assert all(W.dtype == np.float32 for W in network.weights)
        first, *rest = (W.astype(np.float64) for W in network.weights)
        gain = np.prod([np.linalg.svd(W, compute_uv=False)[0] for W in rest])
        assert gain * np.linalg.svd(first, compute_uv=False)[0] <= gamma * VEHICLE.weight
        assert 0.5 * gain * np.linalg.svd(first[:, 8:], compute_uv=False)[0] <= slope


def test_a_network_that_does_not_see_the_rotor_thrusts_learns_too() -> None:
    network = fit(data(20.0), thrust_input="off", epochs=3)
    assert not np.any(network.weights[0][:, 8:]) and all(np.all(np.isfinite(W)) for W in network.weights)


@pytest.mark.slow
def test_a_tight_bound_is_met_because_it_binds() -> None:
    """With a slope bound below the plant's, the network goes to the bound and no further."""
    network = fit(data(40.0), thrust_slope=0.05, epochs=10)
    zeta, thrust, _ = hover(np.linspace(0.0, 0.3, 50))
    slope = (network(zeta, thrust + 0.0025)[:, 2] - network(zeta, thrust)[:, 2]) / 0.01
    assert np.abs(slope).max() <= 0.05
    assert slope.max() > 0.01


@settings(max_examples=50)
@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 2**31), st.floats(1e-3, 1e3))
def test_an_almost_orthogonal_layer_never_stretches(rows: int, columns: int, seed: int, size: float) -> None:
    P = size * np.random.default_rng(seed).normal(size=(rows, columns))
    W = almost_orthogonal(torch.tensor(P)).numpy()
    assert np.linalg.norm(W, 2) <= 1 + 1e-12


def test_one_seed_gives_one_network_whatever_torch_did_before() -> None:
    samples = data(10.0)
    first = fit(samples, epochs=2, seed=4)
    torch.manual_seed(99)
    torch.rand(7)
    before = torch.get_rng_state()
    second = fit(samples, epochs=2, seed=4)
    assert torch.equal(torch.get_rng_state(), before)
    other = fit(samples, epochs=2, seed=5)
    for a, b, c in zip(first.weights, second.weights, other.weights, strict=True):
        assert a.tobytes() == b.tobytes()
        assert a.tobytes() != c.tobytes()


def test_training_leaves_the_number_of_threads_as_it_was() -> None:
    before = torch.get_num_threads()
    fit(data(10.0), epochs=1)
    assert torch.get_num_threads() == before


def test_inputs_that_hardly_vary_do_not_rule_the_network() -> None:
    """A tilt never seen in training changes the force by little: the spread is floored, the input clipped."""
    samples = data(40.0)
    still = samples.zeta.copy()
    still[:, 4:] = [1.0, 0.0, 0.0, 0.0] + 1e-4 * np.random.default_rng(0).normal(size=(len(still), 4))
    network = fit(TrainingData(still, samples.rotor_thrust, samples.label), epochs=5)
    zeta, thrust, _ = hover(np.linspace(0.0, 0.5, 20))
    tilted = zeta.copy()
    tilted[:, 5] = 0.05
    change = np.abs(network(tilted, thrust) - network(zeta, thrust)).max()
    assert change < 0.01 * VEHICLE.weight


def test_height_is_extended_to_the_ground_but_not_by_more_than_contact_hides() -> None:
    near = data(20.0)
    for lowest, expected in ((0.01, 0.0), (0.5, 0.48), (-0.003, -0.003)):
        zeta = near.zeta.copy()
        zeta[:, 0] += lowest - zeta[:, 0].min()
        network = fit(TrainingData(zeta, near.rotor_thrust, near.label), epochs=1)
        assert network.state_low[0] == pytest.approx(expected, abs=1e-6)


def test_sizes_and_features_are_free() -> None:
    s = residual_samples(flight(VEHICLE, 10.0), VEHICLE)
    features = features_named("height-velocity")
    zeta = np.asarray(features.of(s))
    options = TrainingOptions(hidden=(7, 40), features="height-velocity", epochs=1)
    network = train_network(TrainingData(zeta, s.rotor_thrust, s.label), features, VEHICLE, options).network
    assert [W.shape for W in network.weights] == [(7, 8), (40, 7), (3, 40)]


@pytest.mark.parametrize("options, message", [
    ({"gamma": -1.0}, "gamma = -1.0 must lie in"),
    ({"thrust_slope": 1.0}, "thrust_slope = 1.0 must lie in"),
    ({"hidden": ()}, r"hidden = \(\) must be"),
    ({"features": "magic"}, "features 'magic' are not known"),
    ({"epochs": 0}, "epochs = 0 must lie in"),
    ({"gamma": float("nan")}, "gamma = nan must lie in"),
])  # fmt: skip
def test_an_option_out_of_range_is_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        TrainingOptions(**options)  # type: ignore[arg-type]


def test_the_lightest_vehicles_have_room_for_both_bounds() -> None:
    """4 weights per metre of 12 g are 0.47 N/m, and the rotor thrusts alone may take 0.6 N/N."""
    nano = load_vehicle("crazyflie-21").with_(mass=0.012)
    options = TrainingOptions()
    assert options.lipschitz(nano) > options.rotor_thrust_lipschitz(nano)
    for identified in (True, False):
        known = options.with_evidence(identified, 0.1, nano)
        assert known.lipschitz(nano) > known.rotor_thrust_lipschitz(nano)
    assert options.lipschitz(VEHICLE) == 4.0 * VEHICLE.weight


def test_a_gamma_smaller_than_the_thrust_share_is_refused() -> None:
    with pytest.raises(UserError, match="raise --gamma or lower --thrust-slope"):
        TrainingOptions(gamma=0.01, thrust_slope=0.3).lipschitz(VEHICLE)


@pytest.mark.slow
def test_the_optimiser_is_adam_as_torch_has_it() -> None:
    rng = torch.Generator().manual_seed(0)
    mine, theirs = (torch.ones(4, 3, dtype=torch.float64, requires_grad=True) for _ in range(2))
    adam, reference = Adam([mine]), torch.optim.Adam([theirs], lr=0.01)
    for _ in range(20):
        target = torch.randn(4, 3, generator=rng, dtype=torch.float64)
        for parameter in (mine, theirs):
            ((parameter - target) ** 4).sum().backward()
        adam.step(0.01)
        reference.step()
        reference.zero_grad()
    np.testing.assert_allclose(mine.detach().numpy(), theirs.detach().numpy(), rtol=1e-10)


def test_the_learning_rate_rises_to_its_peak_and_falls_to_nothing() -> None:
    rates = [one_cycle(k / 1000) for k in range(1001)]
    assert rates[0] == pytest.approx(0.04)
    assert max(rates) == pytest.approx(1.0, abs=1e-6) == rates[150]
    assert rates[-1] == pytest.approx(0.0, abs=1e-6)


def test_a_model_in_the_heading_frame_turns_with_the_vehicle() -> None:
    rng = np.random.default_rng(5)
    network = random_network(VEHICLE, 0, features="heading")
    q, v = quaternion_exp(0.2 * rng.normal(size=3)), rng.normal(size=3)
    turn = quaternion_exp(np.array([0.0, 0.0, 1.1]))
    R = quaternion_to_matrix(turn)
    thrust = np.full(4, 0.25 * VEHICLE.weight)
    here = network.at(State(v, v, q, v, 0.2))(thrust)
    there = network.at(State(v, R @ v, quaternion_multiply(turn, q), v, 0.2))(thrust)
    np.testing.assert_allclose(there, R @ here, atol=1e-9)
