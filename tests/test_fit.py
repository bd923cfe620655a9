"""Training goes on where the network falls short of what its flights show, and only there."""

from dataclasses import replace

import numpy as np
import pytest

from neural_lander.errors import NeuralLanderWarning
from neural_lander.residual import fit as fit_module
from neural_lander.residual.features import features_named
from neural_lander.residual.fit import GO_ON, train_to_fit
from neural_lander.residual.network import Fitted, TrainingData
from neural_lander.residual.options import DEFAULT_EPOCHS, TrainingOptions
from neural_lander.residual.shortfall import ALLOWED, BIN, NONE, Shortfall, shortfall
from neural_lander.residual.training import warn_of_shortfall
from neural_lander.vehicle import load_vehicle

VEHICLE = load_vehicle("intel-aero")
FEATURES = features_named("height-velocity")
WEIGHT = VEHICLE.weight


def samples(suction: float, n: int = 6000, seed: int = 0) -> TrainingData:
    """A cushion of 15 % of the weight with a layer of suction at 20 mm, 2 % of noise."""
    rng = np.random.default_rng(seed)
    h = rng.uniform(0.0, 0.25, n)
    label = 0.02 * WEIGHT * rng.standard_normal((n, 3))
    label[:, 2] += WEIGHT * (0.15 * np.exp(-h / 0.08) - suction * np.exp(-(((h - 0.02) / 0.012) ** 2)))
    zeta = np.column_stack([h, 0.1 * rng.standard_normal((n, FEATURES.size - 1))])
    return TrainingData(zeta, np.full((n, 4), WEIGHT / 4) * (1 + 0.05 * rng.standard_normal((n, 4))), label)


def fitted(data: TrainingData, options: TrainingOptions, gamma_free: bool = True) -> Fitted:
    return train_to_fit(data, data.zeta[:, 0], FEATURES, VEHICLE, options, gamma_free)


def test_noise_is_no_shortfall_and_a_missed_layer_is_found_where_it_is() -> None:
    rng = np.random.default_rng(1)
    h = rng.uniform(0.0, 0.4, 20_000)
    error = 0.02 * WEIGHT * rng.standard_normal(len(h))
    assert not shortfall(h, error, VEHICLE).matters
    error[(h > 0.05) & (h < 0.06)] -= 0.02 * WEIGHT
    found = shortfall(h, error, VEHICLE)
    assert found.matters and found.low >= 0.05 - 1e-9 and found.high <= 0.06 + 1e-9
    assert found.share == pytest.approx(0.02, abs=0.012)
    assert "of the weight between" in str(found)


def test_its_uncertainty_is_that_of_samples_that_err_alike_for_a_tenth_of_a_second() -> None:
    """Tenfold repeats of a sample say no more than one."""
    few = np.repeat(np.random.default_rng(2).standard_normal(40), 10)
    few = (few - few.mean()) / few.std() * 0.01 * WEIGHT + 0.005 * WEIGHT
    found = shortfall(np.full(len(few), 0.5 * BIN), few, VEHICLE)
    assert found.share == pytest.approx(0.005 - 2 * 0.01 / np.sqrt(40), rel=1e-6)


def test_a_few_samples_and_those_far_from_the_ground_say_nothing() -> None:
    assert shortfall(np.full(20, 0.01), np.full(20, WEIGHT), VEHICLE) == NONE
    assert shortfall(np.full(500, 2.0), np.full(500, WEIGHT), VEHICLE) == NONE
    assert shortfall(np.full(500, 0.01), np.full(500, 0.01 * WEIGHT), VEHICLE).matters  # as many near it do


@pytest.mark.slow
def test_a_layer_of_suction_is_trained_on_until_it_is_seen() -> None:
    data = samples(0.3)
    options = TrainingOptions(gamma=32.0)
    short = fitted(data, replace(options, epochs=DEFAULT_EPOCHS))
    assert short.shortfall.share > 3 * ALLOWED  # else this test shows nothing
    long = fitted(data, options)
    assert long.options.epochs is not None and long.options.epochs > DEFAULT_EPOCHS
    assert long.shortfall.share < short.shortfall.share / 3


def test_a_smooth_cushion_gets_the_default_training_and_what_is_asked_for_is_done() -> None:
    data = samples(0.0)
    plain = fitted(data, TrainingOptions(gamma=4.0))
    assert plain.options.epochs == DEFAULT_EPOCHS and not plain.shortfall.matters
    asked = fitted(data, TrainingOptions(gamma=4.0, epochs=DEFAULT_EPOCHS))
    assert asked.network.sha256 == plain.network.sha256
    layer = fitted(samples(0.2), TrainingOptions(gamma=4.0, epochs=2))
    assert layer.options.epochs == 2 and layer.shortfall.matters


@pytest.mark.parametrize("gamma_free", [True, False])
def test_the_best_attempt_is_kept_and_a_bound_that_was_asked_for_stays(
    monkeypatch: pytest.MonkeyPatch, gamma_free: bool
) -> None:
    shares = iter([0.05, 0.02, 0.03])
    seen: list[float] = []
    monkeypatch.setattr(fit_module, "shortfall", lambda h, e, v: Shortfall(0.0, BIN, next(shares)))
    monkeypatch.setattr(fit_module, "DEFAULT_EPOCHS", 1)
    data = samples(0.0, n=1000)
    best = train_to_fit(
        data, data.zeta[:, 0], FEATURES, VEHICLE, TrainingOptions(gamma=4.0), gamma_free, seen.append
    )  # fmt: skip
    assert best.options.epochs == GO_ON[1][0] and best.shortfall.share == 0.02
    assert best.options.gamma == 4.0 * (GO_ON[1][1] if gamma_free else 1)
    assert len(seen) == sum(longer for longer, _ in GO_ON) and seen[-1] == 1.0 and min(seen) > 0.0


def test_where_longer_training_does_not_help_no_more_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    shares = iter([0.05, 0.045])
    monkeypatch.setattr(fit_module, "shortfall", lambda h, e, v: Shortfall(0.0, BIN, next(shares)))
    monkeypatch.setattr(fit_module, "DEFAULT_EPOCHS", 1)
    best = fitted(samples(0.0, n=1000), TrainingOptions(gamma=4.0))
    assert best.options.epochs == GO_ON[1][0] and next(shares, None) is None


def test_who_left_the_training_to_us_is_told_what_it_did_not_reach() -> None:
    data = samples(0.0, n=1000)
    poor = replace(fitted(data, TrainingOptions(gamma=4.0, epochs=1)), shortfall=Shortfall(0.02, 0.025, 0.02))
    with pytest.warns(NeuralLanderWarning, match="by 2.0% of the weight between 20 and 25 mm"):
        warn_of_shortfall(poor, TrainingOptions())
    warn_of_shortfall(poor, TrainingOptions(epochs=1))  # as asked: no warning, which would be an error here
