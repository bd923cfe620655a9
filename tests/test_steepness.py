"""How steep the force is in height, and the bound that follows from it."""

import numpy as np
import pytest

from neural_lander.residual.options import DEFAULT_GAMMA, LARGEST_GAMMA, TrainingOptions
from neural_lander.residual.steepness import steepest_slope
from neural_lander.vehicle import load_vehicle

VEHICLE = load_vehicle("intel-aero")
HEIGHT = np.random.default_rng(0).uniform(0.0, 1.0, 20_000)


def test_the_slope_of_a_known_law_is_found_where_it_is_steepest() -> None:
    noise = np.random.default_rng(1).normal(scale=0.03, size=len(HEIGHT))
    law = 3.0 * np.exp(-HEIGHT / 0.1)  # -30 N/m at the floor, -27 in the middle of the lowest window
    assert 24.0 < steepest_slope(HEIGHT, law + noise) < 30.0


def test_noise_alone_is_not_steep() -> None:
    noise = np.random.default_rng(2).normal(scale=1.0, size=len(HEIGHT))
    assert steepest_slope(HEIGHT, noise) < 25.0 < 1.0 / 0.02  # of the 50 N/m that a standard deviation per window is


def test_an_error_that_lasts_is_not_steep_in_a_few_passes() -> None:
    rng, shown = np.random.default_rng(4), []
    for _ in range(200):
        height = np.concatenate([np.linspace(0.0, 0.02, 25) for _ in range(4)])  # four passes of 0.25 s
        lasting = np.repeat(rng.normal(scale=0.1, size=10), 10)  # N, for 0.1 s each
        shown.append(steepest_slope(height, lasting + 0.02 * rng.normal(size=100)))
    assert np.mean(np.array(shown) > 0.0) < 0.1


def test_too_few_samples_show_nothing() -> None:
    assert steepest_slope(HEIGHT[:100], HEIGHT[:100]) == 0.0
    assert steepest_slope(np.empty(0), np.empty(0)) == 0.0


ROOM = [(0.0, 4.0), (2.5, 4.0), (3.7, 14.8), (7.0, 28.0), (99.0, 32.0)]


@pytest.mark.parametrize("weights_per_metre, gamma", ROOM)
def test_the_bound_leaves_room_for_the_slope(weights_per_metre: float, gamma: float) -> None:
    options = TrainingOptions().with_evidence(True, weights_per_metre * VEHICLE.weight, VEHICLE)
    assert options.gamma == pytest.approx(gamma) and gamma <= LARGEST_GAMMA
    assert options.lipschitz(VEHICLE) == pytest.approx(gamma * VEHICLE.weight)


def test_a_bound_that_the_user_gives_stays() -> None:
    assert TrainingOptions(gamma=2.0).with_evidence(True, 1e3, VEHICLE).gamma == 2.0
    assert TrainingOptions().lipschitz(VEHICLE) == DEFAULT_GAMMA * VEHICLE.weight
