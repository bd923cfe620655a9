"""Training goes on where the network falls short of what its flights show, and only there."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from learning_flights import flight

from neural_lander.errors import NeuralLanderWarning
from neural_lander.residual import fit as fit_module
from neural_lander.residual.features import features_named
from neural_lander.residual.fit import GO_ON, train_to_fit
from neural_lander.residual.network import Fitted, TrainingData
from neural_lander.residual.options import DEFAULT_EPOCHS, TrainingOptions
from neural_lander.residual.shortfall import ALLOWED, BIN, NONE, Shortfall, shortfall
from neural_lander.residual.training import train_residual, warn_of_shortfall
from neural_lander.vehicle import load_vehicle

VEHICLE = load_vehicle("intel-aero")
FEATURES = features_named("height-velocity")
WEIGHT = VEHICLE.weight


def samples(suction: float, n: int = 6000, seed: int = 0) -> TrainingData:
    """A cushion of 15 % of the weight with a layer of suction at 20 mm, 2 % of noise."""
    rng = np.random.default_rng(seed)
    h = 0.125 - 0.125 * np.cos(2 * np.pi * np.arange(n) / 400 + rng.uniform(0, 6))
    label = 0.02 * WEIGHT * rng.standard_normal((n, 3))
    label[:, 2] += WEIGHT * (0.15 * np.exp(-h / 0.08) - suction * np.exp(-(((h - 0.02) / 0.012) ** 2)))
    zeta = np.column_stack([h, 0.1 * rng.standard_normal((n, FEATURES.size - 1))])
    return TrainingData(zeta, np.full((n, 4), WEIGHT / 4) * (1 + 0.05 * rng.standard_normal((n, 4))), label)


def fitted(data: TrainingData, options: TrainingOptions, gamma_free: bool = True) -> Fitted:
    return train_to_fit(data, data.zeta[:, 0], FEATURES, VEHICLE, options, gamma_free)


def visits(seed: int, sag: float = 0.0, flights: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Heights in m of flights that go up and down through all of them every 4 s, and errors in N.

    2 % of the weight of noise, and a thrust that sags from one side to the other within each flight.
    """
    rng, t = np.random.default_rng(seed), np.arange(6000) / 100
    h = np.concatenate([0.15 - 0.15 * np.cos(2 * np.pi * t / 4 + rng.uniform(0, 6)) for _ in range(flights)])
    error = 0.02 * rng.standard_normal(len(h)) + sag * np.tile(1 - 2 * t / 60, flights)
    return h, error * WEIGHT


@pytest.mark.parametrize("sag", [0.0, 0.02])
def test_noise_and_a_sagging_thrust_are_no_shortfall(sag: float) -> None:
    found = [shortfall(*visits(seed, sag), VEHICLE) for seed in range(20)]
    assert not any(f.matters for f in found)


def test_hovers_on_a_sagging_battery_are_no_shortfall() -> None:
    """One hover of 5 s has one error, not fifty."""
    rng, h, error = np.random.default_rng(0), [], []
    for k in range(60):
        h.append(rng.uniform(0.01, 0.2) + 0.002 * np.sin(np.arange(500) / 20))
        error.append(WEIGHT * (0.01 * (1 - 2 * (k % 12) / 12) + 0.02 * rng.standard_normal(500)))
    assert not shortfall(np.concatenate(h), np.concatenate(error), VEHICLE).matters


def test_a_missed_layer_is_found_where_it_is() -> None:
    h, error = visits(1, sag=0.01)
    error[(h > 0.05) & (h < 0.06)] -= 0.03 * WEIGHT
    found = shortfall(h, error, VEHICLE)
    assert found.matters and found.low >= 0.05 - 1e-9 and found.high <= 0.06 + 1e-9
    assert found.share == pytest.approx(0.03, abs=0.012)
    assert f"{found.share:.1%} of the weight between" in str(found)
    assert found.to_json() == {"from_m": found.low, "to_m": found.high, "share_of_weight": found.share}


def test_a_height_that_was_visited_often_enough_counts_also_below_the_floor() -> None:
    away, here = np.full(200, 0.3), np.full(30, -1e-3)
    h = np.concatenate([part for _ in range(12) for part in (away, here)])
    error = np.where(h < 0.1, 0.1 * WEIGHT, 0.0)
    assert shortfall(h, error, VEHICLE).share == pytest.approx(0.1)
    assert shortfall(h[: 5 * 230], error[: 5 * 230], VEHICLE) == NONE  # five visits say nothing of their spread
    assert shortfall(np.full(500, 2.0), np.full(500, WEIGHT), VEHICLE) == NONE  # far from the ground


@pytest.mark.slow
def test_a_layer_of_suction_is_trained_on_until_it_is_seen() -> None:
    data = samples(0.3)
    options = TrainingOptions(gamma=32.0)
    short = fitted(data, replace(options, epochs=DEFAULT_EPOCHS))
    assert short.shortfall.share > 3 * ALLOWED  # else this test shows nothing
    long = fitted(data, options)
    assert long.options.epochs is not None and long.options.epochs > DEFAULT_EPOCHS
    assert long.shortfall.share < short.shortfall.share / 3


@pytest.mark.slow
def test_a_smooth_cushion_gets_the_default_training_and_what_is_asked_for_is_done() -> None:
    data = samples(0.0)
    plain = fitted(data, TrainingOptions(gamma=4.0))
    assert plain.options.epochs == DEFAULT_EPOCHS and not plain.shortfall.matters
    asked = fitted(data, TrainingOptions(gamma=4.0, epochs=DEFAULT_EPOCHS))
    assert asked.network.sha256 == plain.network.sha256
    layer = fitted(samples(0.2), TrainingOptions(gamma=4.0, epochs=2))
    assert layer.options.epochs == 2 and layer.shortfall.matters


def told_shares(monkeypatch: pytest.MonkeyPatch, *shares: float) -> Iterator[float]:
    """Fits of one, four and eight epochs whose shortfalls are these."""
    left = iter(shares)
    monkeypatch.setattr(fit_module, "shortfall", lambda h, e, v: Shortfall(0.0, BIN, next(left)))
    monkeypatch.setattr(fit_module, "DEFAULT_EPOCHS", 1)
    return left


@pytest.mark.slow
@pytest.mark.parametrize("gamma_free", [True, False])
def test_a_bound_that_was_asked_for_stays(monkeypatch: pytest.MonkeyPatch, gamma_free: bool) -> None:
    told_shares(monkeypatch, 0.05, 0.02, 0.01)
    seen: list[float] = []
    data = samples(0.0, n=1000)
    asked = TrainingOptions(gamma=4.0)
    best = train_to_fit(data, data.zeta[:, 0], FEATURES, VEHICLE, asked, gamma_free, progress=seen.append)
    assert best.effort == GO_ON[2] and best.options.epochs == GO_ON[2].longer and best.shortfall.share == 0.01
    assert best.options.gamma == 4.0 * (GO_ON[2].steeper if gamma_free else 1)
    assert seen == sorted(seen) and seen[-1] == 1.0 and len(seen) == 1 + sum(effort.longer for effort in GO_ON)


@pytest.mark.parametrize(("shares", "kept"), [((0.05, 0.045), 0), ((0.05, 0.02, 0.019), 1), ((0.05, 0.001), 1)])
def test_where_longer_training_does_not_help_the_shorter_stays(
    monkeypatch: pytest.MonkeyPatch, shares: tuple[float, ...], kept: int
) -> None:
    """Its certificate is the tighter one."""
    left = told_shares(monkeypatch, *shares)
    best = fitted(samples(0.0, n=1000), TrainingOptions(gamma=4.0))
    assert best.effort == GO_ON[kept] and best.shortfall.share == shares[kept] and next(left, None) is None


@pytest.mark.slow
def test_the_network_that_is_delivered_is_trained_as_hard_as_the_one_that_the_report_is_of(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told_shares(monkeypatch, 0.05, 0.001, *[0.004] * 99)  # the held-out fit goes on once; the final one need not
    result = train_residual([flight(VEHICLE, 15.0, seed=k) for k in range(4)], VEHICLE, TrainingOptions(hidden=(6, 5)))
    assert result.used.epochs == GO_ON[1].longer


def test_who_left_the_training_to_us_is_told_what_it_did_not_reach() -> None:
    data = samples(0.0, n=1000)
    poor = replace(fitted(data, TrainingOptions(gamma=4.0, epochs=1)), shortfall=Shortfall(0.02, 0.025, 0.02))
    with pytest.warns(NeuralLanderWarning, match="by 2.0% of the weight between 20 and 25 mm"):
        warn_of_shortfall(poor, TrainingOptions())
    warn_of_shortfall(poor, TrainingOptions(epochs=1))  # as asked: no warning, which would be an error here
