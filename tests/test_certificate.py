"""Product bounds against closed forms and samples, contraction against the iteration itself, and the document."""

import json
from itertools import pairwise

import numpy as np
import pytest

from neural_lander.certificate.contraction import (
    contraction_factor,
    farthest_start,
    iterations_for,
)
from neural_lander.certificate.document import certify
from neural_lander.errors import UserError
from neural_lander.residual.model import ReluNetwork
from neural_lander.residual.norms import network_bounds
from neural_lander.vehicle import load_vehicle

VEHICLE = load_vehicle("intel-aero")


def random_network(seed: int = 0, scale: float = 0.3) -> ReluNetwork:
    rng = np.random.default_rng(seed)
    sizes = [12, 25, 30, 15, 3]
    W = tuple(scale * rng.normal(size=(b, a)).astype(np.float32) for a, b in pairwise(sizes))
    b = tuple(0.1 * rng.normal(size=n).astype(np.float32) for n in sizes[1:])
    return ReluNetwork(W, b, "paper", np.full(8, -2.0, np.float32), np.full(8, 2.0, np.float32))


def test_bounds_of_a_network_that_is_linear_where_it_works_are_its_norms() -> None:
    W1 = np.zeros((2, 12), np.float32)
    W1[0, 0], W1[1, 8:] = 3.0, [1.0, 2.0, 2.0, 4.0]
    W2 = np.array([[0.0, 0.0], [0.0, 0.0], [2.0, 0.5]], np.float32)
    zero, wide = np.zeros(2, np.float32), np.ones(8, np.float32)
    bounds = network_bounds(ReluNetwork((W1, W2), (zero, np.zeros(3, np.float32)), "paper", -wide, wide))
    gain = np.hypot(2.0, 0.5)
    assert bounds.rotor_thrust == pytest.approx(5 * gain)
    assert bounds.total == pytest.approx(5 * gain)


@pytest.mark.parametrize("seed", range(3))
def test_no_sampled_slope_exceeds_its_bound(seed: int) -> None:
    network, rng = random_network(seed), np.random.default_rng(100 + seed)
    bounds = network_bounds(network)
    zeta, thrust = rng.uniform(-3, 3, (4000, 8)), rng.uniform(0, 8, (4000, 4))
    step = rng.normal(size=(4000, 12))
    for columns, limit in ((slice(0, 12), bounds.total), (slice(8, 12), bounds.rotor_thrust)):
        d = np.zeros_like(step)
        d[:, columns] = 1e-3 * step[:, columns]
        change = network(zeta + d[:, :8], thrust + d[:, 8:]) - network(zeta, thrust)
        slope = np.linalg.norm(change, axis=1) / np.linalg.norm(d, axis=1)
        assert slope.max() <= limit
        assert slope.max() > 0.02 * limit  # the bound is about this network


def test_a_quadrotor_spreads_collective_thrust_evenly() -> None:
    np.testing.assert_allclose(VEHICLE.thrust_direction, 0.25, rtol=1e-9)


def aligned_network(slope: float) -> ReluNetwork:
    """f_a,z = slope T while T > 0: the case that attains the bound."""
    W1, wide = np.zeros((1, 12), np.float32), np.full(8, 9.0, np.float32)
    W1[0, 8:] = 1.0
    biases = (np.zeros(1, np.float32), np.zeros(3, np.float32))
    return ReluNetwork((W1, np.array([[0], [0], [slope]], np.float32)), biases, "paper", -wide, wide)


@pytest.mark.parametrize("network, share", [(random_network(4, scale=0.15), 0.02), (aligned_network(-0.8), 0.999)])
def test_the_thrust_iteration_contracts_by_the_factor_saturated_or_not(network: ReluNetwork, share: float) -> None:
    """The map itself, written out here, over random states, moments, attitudes and two thrusts each."""
    factor = contraction_factor(network_bounds(network), VEHICLE)
    rng = np.random.default_rng(0)
    n, limit = 3000, VEHICLE.thrust_coefficient * VEHICLE.u_max
    zeta = rng.uniform(-2, 2, (n, 8))
    moment = rng.normal(size=(n, 3)) * [1.0, 1.0, 0.2]
    k = rng.normal(size=(n, 3)) + [0.0, 0.0, 10.0]
    k /= np.linalg.norm(k, axis=1, keepdims=True)
    f_bar_d = rng.normal(size=(n, 3)) * 15

    def rotor_thrust(T: np.ndarray) -> np.ndarray:
        wrench = np.column_stack([T, moment])
        return np.clip(VEHICLE.thrust_coefficient * wrench @ VEHICLE.B0_inverse.T, 0.0, limit)

    def step(T: np.ndarray) -> np.ndarray:
        return np.sum((f_bar_d - network(zeta, rotor_thrust(T))) * k, axis=1)

    a, b = rng.uniform(0, 4 * limit, n), rng.uniform(0, 4 * limit, n)
    saturated = np.any(np.isin(rotor_thrust(a), [0.0, limit]), axis=1)
    assert 0.1 < saturated.mean() < 0.9
    ratio = np.abs(step(a) - step(b)) / np.abs(a - b)
    assert ratio.max() <= factor * (1 + 1e-9)
    assert ratio.max() > share * factor


def test_iterations_suffice_and_no_fewer_are_promised() -> None:
    for factor in (0.1, 0.29, 0.45, 0.5, 0.9):
        for start in (30.0, 1.0, 1e-3 / factor**7):
            count = iterations_for(1e-3, factor, start)
            assert factor**count * start <= 1e-3
            assert factor ** (count - 1) * start > 1e-3 * (1 - 1e-9)
    assert iterations_for(1.0, 0.5, 0.5) == 1
    assert iterations_for(1.0, 0.5, 0.0) == 1
    with pytest.raises(UserError, match="must be below 1"):
        iterations_for(1e-3, 1.0, 30.0)
    with pytest.raises(UserError, match="iterations in every step"):
        iterations_for(1e-3, 0.9999, 30.0)
    with pytest.raises(UserError, match="must be positive"):
        iterations_for(0.0, 0.5, 30.0)


def test_no_start_is_farther_from_the_fixed_point_than_said() -> None:
    """For the network that attains its bound the farthest start is from all rotors off to all at their limit."""
    slope, limit = -0.8, VEHICLE.thrust_coefficient * VEHICLE.u_max
    network = aligned_network(slope)
    apart = network(np.zeros(8), np.full(4, limit))[2] - network(np.zeros(8), np.zeros(4))[2]
    assert abs(apart) == pytest.approx(farthest_start(network_bounds(network).rotor_thrust, limit))


def test_every_number_has_status_unit_norm_and_source() -> None:
    document = certify(random_network(scale=0.1), VEHICLE)
    for name, entry in document["entries"].items():
        assert entry["status"] in {"proved", "measured", "assumed"}, name
        assert entry["unit"], name
        assert entry["norm"], name
        assert entry["source"], name
    assert json.loads(json.dumps(document)) == document
    u = document["entries"]["lipschitz_rotor_speed_squared"]["value"]
    assert u == pytest.approx(document["entries"]["lipschitz_rotor_thrust"]["value"] * VEHICLE.thrust_coefficient)


def test_a_network_that_does_not_contract_is_said_not_to() -> None:
    document = certify(random_network(scale=1.0), VEHICLE)
    assert document["contracts"] is False
    assert "iterations_to_tolerance" not in document["entries"]


def test_the_hash_sees_every_bit_and_the_shapes() -> None:
    network = random_network()
    base = network.sha256
    W = [w.copy() for w in network.weights]
    W[2][3, 3] = np.nextafter(W[2][3, 3], np.float32(9))
    assert ReluNetwork(tuple(W), network.biases, "paper", network.state_low, network.state_high).sha256 != base
    other = ReluNetwork(network.weights, network.biases, "height-velocity", network.state_low, network.state_high)
    assert other.sha256 != base
