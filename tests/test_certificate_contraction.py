"""The certified contraction factor against the worst that hill climbing finds, and the count it promises."""

from collections.abc import Callable

import numpy as np
import pytest
from learning_flights import flight
from random_network import random_network

from neural_lander.certificate.check_slopes import input_maps, without_silent
from neural_lander.certificate.document import certify
from neural_lander.certificate.evidence import Slope, ThrustRange, network_layers, proved_slopes
from neural_lander.certificate.lipsdp import lipschitz_bound
from neural_lander.residual.model import ReluNetwork, WithinThrusts
from neural_lander.residual.options import TrainingOptions
from neural_lander.residual.training import train_residual
from neural_lander.rotation import quaternion_exp, quaternion_to_matrix
from neural_lander.state import State
from neural_lander.vehicle import load_vehicle

VEHICLE = load_vehicle("intel-aero")
FULL = VEHICLE.thrust_coefficient * VEHICLE.u_max
DIRECTION = VEHICLE.thrust_direction


@pytest.fixture(scope="module")
def network() -> ReluNetwork:
    logs = [flight(VEHICLE, 60.0, seed=k) for k in range(5)]
    return train_residual(logs, VEHICLE, TrainingOptions(held_out=0.0)).predictors.network


@pytest.fixture(scope="module")
def entries(network: ReluNetwork) -> dict[str, float]:
    certificate = certify(network, VEHICLE, proved_slopes(network, VEHICLE))
    return {name: entry["value"] for name, entry in certificate["entries"].items()}


def contraction(network: ReluNetwork, x: np.ndarray) -> np.ndarray:
    """|T' - T''| after one iteration over that before, of two thrusts 2e-6 N apart.

    x (N, 11): height, velocity, attitude as rotation vector, rotor thrusts that are asked for, beyond the limits too.
    """
    step = 1e-6
    q = quaternion_exp(x[:, 4:7])
    observed = State(x[:, 1:4], x[:, 1:4], q, x[:, 1:4], x[:, 0])  # height, velocity and attitude are what counts
    ask, k = network.at(observed), quaternion_to_matrix(q)[:, :, 2]
    up, down = (ask(np.clip(x[:, 7:] + sign * step * DIRECTION, 0.0, FULL)) for sign in (1, -1))
    return np.abs(np.sum((up - down) * k, axis=1)) / (2 * step)


def worst_contraction(network: ReluNetwork, rounds: int = 250, population: int = 128, children: int = 16) -> float:
    """Hill climbing over admissible states: flown heights and velocities, tilts to 1 rad, any thrusts and moments."""
    rng = np.random.default_rng(0)
    low = np.concatenate([network.state_low[:4], np.full(3, -1.0), np.full(4, -0.5 * FULL)]).astype(float)
    high = np.concatenate([network.state_high[:4], np.full(3, 1.0), np.full(4, 1.5 * FULL)]).astype(float)
    x = rng.uniform(low, high, (50_000, 11))
    value = contraction(network, x)
    best = np.argsort(-value)[:population]
    x, value = x[best], value[best]
    for _ in range(rounds):
        one, other = rng.integers(0, population, (2, population, children))
        moves = (x[one] - x[other]) * rng.random((population, children, 1))
        around = (high - low) * 10 ** rng.uniform(-4, 0, (population, children, 1)) * rng.normal(size=moves.shape)
        moves = np.where(rng.random((population, children, 1)) < 0.5, moves, around)
        moves *= rng.random(moves.shape) < rng.choice([0.2, 0.5, 1.0], (population, children, 1))
        trial = np.clip(x[:, None] + moves, low, high)
        found = contraction(network, trial.reshape(-1, 11)).reshape(population, children)
        top = found.argmax(1)
        better = found[np.arange(population), top] >= value
        x[better] = trial[np.arange(population), top][better]
        value[better] = found[np.arange(population), top][better]
    return float(value.max())


@pytest.mark.slow
def test_the_certified_factor_is_never_below_and_little_above_the_worst_that_is_found(
    network: ReluNetwork, entries: dict[str, float]
) -> None:
    worst, factor = worst_contraction(network), entries["contraction_factor"]
    assert worst <= factor * (1 + 1e-8)  # differences of forces 2e-6 N apart round at 1e-9
    assert factor <= 1.05 * worst


@pytest.mark.slow
def test_the_promised_iterations_suffice_in_a_hundred_thousand_states(
    network: ReluNetwork, entries: dict[str, float]
) -> None:
    rng = np.random.default_rng(1)
    n, tolerance, count = 100_000, entries["thrust_tolerance"], int(entries["iterations_to_tolerance"])
    assert entries["contraction_factor"] < 0.3
    centre, spread = (network.state_high + network.state_low) / 2, network.state_high - network.state_low
    ask = network.at_features(centre + spread * rng.uniform(-0.7, 0.7, (n, len(centre))))
    moments = VEHICLE.thrust_coefficient * (rng.normal(size=(n, 3)) * [2.0, 2.0, 0.3]) @ VEHICLE.B0_inverse[:, 1:].T
    k = rng.normal(size=(n, 3)) * 0.3 + [0.0, 0.0, 1.0]
    k /= np.linalg.norm(k, axis=1, keepdims=True)
    f_bar_d = rng.normal(size=(n, 3)) * VEHICLE.weight + [0.0, 0.0, VEHICLE.weight]

    def wanted(rotor_thrust: np.ndarray) -> np.ndarray:
        return np.sum((f_bar_d - ask(rotor_thrust)) * k, axis=1)

    before = np.where(rng.random((n, 4)) < 0.5, rng.uniform(0, FULL, (n, 4)), FULL * rng.integers(0, 2, (n, 4)))
    history = [wanted(before)]
    for _ in range(30):
        history.append(wanted(np.clip(moments + history[-1][:, None] * DIRECTION, 0.0, FULL)))
    assert np.abs(history[-1] - history[-2]).max() < 1e-9
    error = np.abs(history[count] - history[-1])
    assert error.max() <= tolerance
    assert np.abs(history[0] - history[-1]).max() > tolerance  # there was something to iterate for


@pytest.mark.slow
def test_the_factor_of_a_narrow_range_holds_for_whatever_the_rotors_do() -> None:
    """Beyond the range the network is asked for its end: the estimate stands still, and the iteration contracts."""
    network, thrusts = random_network(VEHICLE, 2, factor=0.9), ThrustRange(1.5, 5.0)
    W = without_silent(*network_layers(network, thrusts))[0]
    maps = input_maps(12, DIRECTION)
    slopes = {name: Slope(*lipschitz_bound(W[0] @ E, W[1:])) for name, E in maps.items()}
    factor = certify(network, VEHICLE, slopes, thrusts=thrusts)["entries"]["contraction_factor"]["value"]
    rng, n = np.random.default_rng(0), 40_000
    at = network.at_features(rng.uniform(network.state_low, network.state_high, (n, 8)))
    ask = WithinThrusts(Asked(at), thrusts.low, thrusts.high).at(None)  # type: ignore[arg-type]
    k = rng.normal(size=(n, 3))
    k /= np.linalg.norm(k, axis=1, keepdims=True)
    moments, T = FULL * rng.normal(size=(n, 4)), 4 * FULL * rng.random((2, n, 1))
    T[1, : n // 2] = T[0, : n // 2] + 1e-4
    u = np.clip(moments + T * DIRECTION, 0.0, FULL)
    outside = np.mean((u < thrusts.low) | (u > thrusts.high))
    one, other = (np.sum(ask(v) * k, axis=1) for v in u)
    ratio = np.abs(one - other) / np.abs(T[0] - T[1])[:, 0]
    assert outside > 0.3 and 0.05 * factor < ratio.max() <= factor * (1 + 1e-6)
    all_out = np.all((u < thrusts.low) | (u > thrusts.high), axis=-1).all(axis=0) & (np.abs(u[0] - u[1]).max(1) < 1e-4)
    assert all_out.sum() > 100 and np.all(ratio[all_out] == 0)


class Asked:
    """A model at states that are chosen already."""

    def __init__(self, force: Callable[[np.ndarray], np.ndarray]) -> None:
        self.at = lambda state: force
