"""The gate near the ground: an interval that covers what it should, and a verdict that follows from it."""

from dataclasses import replace

import numpy as np
import pytest
from learning_flights import flight
from scipy.stats import bootstrap

from neural_lander.residual.analytic import CheesemanBennett
from neural_lander.residual.evaluation import Predictors, evaluate
from neural_lander.residual.options import TrainingOptions
from neural_lander.residual.retraining import cross_fitting
from neural_lander.residual.retraining.cross_fitting import Dealt, compare_cross_fitted
from neural_lander.residual.retraining.gates import (
    BLOCK,
    Gate,
    blocks_near_ground,
    compare,
    difference_interval,
    no_worse_near_ground,
)
from neural_lander.residual.samples import ResidualSamples, residual_samples
from neural_lander.residual.training import fit_predictors
from neural_lander.residual.trim import TRIMS, trim_height
from neural_lander.vehicle import load_vehicle

VEHICLE = load_vehicle("intel-aero")
ABOVE = trim_height(VEHICLE)


@pytest.fixture(scope="module")
def flights() -> list[ResidualSamples]:
    return [residual_samples(flight(VEHICLE, 40.0, seed=k), VEHICLE) for k in range(3)]


@pytest.fixture(scope="module")
def model(flights: list[ResidualSamples]) -> Predictors:
    everything = [np.ones(len(f), dtype=bool) for f in flights]
    return fit_predictors(flights, everything, VEHICLE, TrainingOptions(epochs=3))[1]


def worse(model: Predictors, factor: float) -> Predictors:
    """A model whose last layer's output is scaled: off by a share of the ground effect."""
    network = model.network
    weights = (*network.weights[:-1], (network.weights[-1] * factor).astype(np.float32))
    return replace(model, network=replace(network, weights=weights))


def everything(flights: list[ResidualSamples]) -> list[np.ndarray]:
    return [np.ones(len(f), dtype=bool) for f in flights]


def gate_of(old: Predictors, new: Predictors, flights: list[ResidualSamples], masks: list[np.ndarray]) -> Gate:
    return no_worse_near_ground([compare(old, new, f, m, ABOVE) for f, m in zip(flights, masks, strict=True)], seed=0)


def test_the_errors_are_those_of_what_flies_with_the_flights_trim(
    model: Predictors, flights: list[ResidualSamples]
) -> None:
    half = worse(model, 0.5)
    figures = gate_of(model, half, flights, everything(flights)).figures
    for name, predictors in (("old", model), ("new", half)):
        report = evaluate(predictors, flights, trim=TRIMS["flight"], trim_above=ABOVE)
        assert figures[f"rmse_{name}_fa_z_low_N"] == pytest.approx(report["rmse_fa_z_low_N"])
        assert figures[f"rmse_{name}_fa_z_N"] == pytest.approx(report["rmse_fa_z_N"])
    assert figures["samples_low"] == report["samples_scored_low"]


def test_a_model_is_no_worse_than_itself_and_a_bad_one_is(model: Predictors, flights: list[ResidualSamples]) -> None:
    same = gate_of(model, model, flights, everything(flights))
    assert same.passed
    assert same.figures["difference_low_95"] == [0.0, 0.0]
    bad = gate_of(model, worse(model, 0.5), flights, everything(flights))
    assert not bad.passed
    assert "at most +3 % is allowed" in bad.reason
    back = gate_of(worse(model, 0.5), model, flights, everything(flights))
    assert back.passed and back.figures["difference_low"] < -0.2


def test_only_the_samples_that_are_chosen_judge(model: Predictors, flights: list[ResidualSamples]) -> None:
    first = [np.full(len(f), k == 0) for k, f in enumerate(flights)]
    gate = gate_of(model, worse(model, 0.5), flights, first)
    alone = gate_of(model, worse(model, 0.5), flights[:1], everything(flights[:1]))
    assert gate == alone
    assert gate.figures["flights"] == 1


def test_without_flight_near_the_ground_nothing_is_passed(model: Predictors, flights: list[ResidualSamples]) -> None:
    high = [~f.low for f in flights]
    gate = gate_of(model, model, flights, high)
    assert not gate.passed
    assert "0 blocks of 5 s near the ground" in gate.reason
    few = [np.arange(len(f)) < 2 * BLOCK for f in flights[:1]]
    assert not gate_of(model, model, flights[:1], few).passed


def test_flights_without_samples_near_the_ground_do_not_thin_the_interval() -> None:
    rng = np.random.default_rng(0)
    blocks = [np.column_stack([rng.chisquare(5, (12, 2)), np.full(12, 100.0)]) for _ in range(4)]
    empty = np.zeros((0, 3))
    assert difference_interval([*blocks, empty], 1) == difference_interval(blocks, 1)


def test_of_one_flight_the_interval_is_the_block_bootstrap_of_scipy() -> None:
    rng = np.random.default_rng(2)
    old = rng.chisquare(20, 40)
    blocks = np.column_stack([old, old * rng.normal(1.05, 0.1, 40), np.full(40, 500.0)])
    reference = bootstrap(
        (blocks[:, 0], blocks[:, 1]), lambda a, b, axis: np.sqrt(b.sum(axis) / a.sum(axis)) - 1,
        paired=True, vectorized=True, n_resamples=20_000, method="percentile", rng=np.random.default_rng(3),
    ).confidence_interval  # fmt: skip
    low, high = difference_interval([blocks], 4)
    assert low == pytest.approx(reference.low, abs=0.002)
    assert high == pytest.approx(reference.high, abs=0.002)


def test_of_many_flights_the_interval_is_the_flight_bootstrap_of_scipy() -> None:
    rng = np.random.default_rng(5)
    level = rng.normal(1.0, 0.2, 30)
    blocks = []
    for k in range(30):
        old = rng.chisquare(20, 12)
        blocks.append(np.column_stack([old, old * level[k] * rng.normal(1, 0.02, 12), np.full(12, 500.0)]))
    sums = np.array([b.sum(axis=0) for b in blocks])
    reference = bootstrap(
        (sums[:, 0], sums[:, 1]), lambda a, b, axis: np.sqrt(b.sum(axis) / a.sum(axis)) - 1,
        paired=True, vectorized=True, n_resamples=20_000, method="percentile", rng=np.random.default_rng(6),
    ).confidence_interval  # fmt: skip
    low, high = difference_interval(blocks, 7)
    assert low == pytest.approx(reference.low, abs=0.004)
    assert high == pytest.approx(reference.high, abs=0.004)


@pytest.mark.slow
@pytest.mark.parametrize("flights, least", [(2, 0.85), (5, 0.93), (20, 0.93)])
def test_the_upper_end_lies_above_the_truth_as_often_as_it_says(flights: int, least: float) -> None:
    # 97.5 % is asked of the upper end; with two flights no bootstrap can know how flights differ
    rng, above, trials = np.random.default_rng(8), 0, 200
    for trial in range(trials):
        blocks = []
        for shift in rng.normal(0.0, 0.05, flights):
            old = rng.chisquare(20, 12)
            blocks.append(np.column_stack([old, old * (1.1 + shift) * rng.normal(1, 0.2, 12), np.full(12, 500.0)]))
        above += difference_interval(blocks, trial)[1] > np.sqrt(1.1) - 1
    assert above / trials >= least


def test_the_law_beside_the_network_has_no_say(model: Predictors, flights: list[ResidualSamples]) -> None:
    other = replace(model, cheeseman_bennett=CheesemanBennett(0.0, 5.0, 0.1, 0.1), mean=np.full(3, 9.0))
    assert gate_of(model, other, flights, everything(flights)).figures["difference"] == 0


def test_blocks_near_the_ground_are_counted_as_the_gate_counts_them(
    model: Predictors, flights: list[ResidualSamples]
) -> None:
    masks = [np.arange(len(f)) % 1500 < 700 for f in flights]
    assert blocks_near_ground(flights, masks) == gate_of(model, model, flights, masks).figures["blocks"]


class Fitted:
    """Stands in for ``fit_predictors``: notes what is fitted on, and makes the model worse where it should be."""

    def __init__(self, model: Predictors) -> None:
        self.model, self.fits = model, []  # type: ignore[var-annotated]

    def __call__(self, flights: list[ResidualSamples], chosen: list[np.ndarray], *_: object, **__: object) -> tuple:
        self.fits.append([m.copy() for m in chosen])
        return None, self.model, None


def test_cross_fitting_judges_every_sample_once_by_models_that_saw_neither_it_nor_its_neighbours(
    model: Predictors, flights: list[ResidualSamples], monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted = Fitted(model)
    monkeypatch.setattr(cross_fitting, "fit_predictors", fitted)
    dealt = [Dealt(f, by_old=True, by_new=True, judges=True) for f in flights]
    dealt += [Dealt(flights[0], False, True, True), Dealt(flights[1], True, False, False)]
    dealt += [Dealt(flights[2], False, False, True)]
    judged: list[list[np.ndarray]] = []
    compare_, seen = cross_fitting.compare, dealt

    def noted(old: Predictors, new: Predictors, flight: ResidualSamples, judging: np.ndarray, above: float) -> object:
        judged[-1].append(judging)
        return compare_(old, new, flight, judging, above)

    monkeypatch.setattr(cross_fitting, "compare", noted)
    monkeypatch.setattr(
        cross_fitting,
        "fit_predictors",
        lambda *a, **_: (judged.append([]) if len(fitted.fits) % 2 else None, fitted(*a))[1],
    )
    compared, folds = compare_cross_fitted(seen, VEHICLE, TrainingOptions(epochs=1))
    assert folds == 3 and len(fitted.fits) == 6 and len(compared) == 5
    judges = [0, 1, 2, 3, 5]
    for fold in range(folds):
        before, after = fitted.fits[2 * fold : 2 * fold + 2]
        assert not before[3].any() and after[3].any()  # the new flight
        assert before[4].any() and not after[4].any()  # the withdrawn one
        assert not before[5].any() and not after[5].any()  # an earlier judge
        for judging, k in zip(judged[fold], judges, strict=True):
            near = np.convolve(judging, np.ones(99), "same") > 0  # half a second either side
            assert not (near & (before[k] | after[k])).any() or k < 3  # whole flights have no neighbours
            assert not (judging & (before[k] | after[k])).any()
    for k, c in zip(judges, compared, strict=True):
        count = np.sum([judged[fold][judges.index(k)] for fold in range(folds)], axis=0)
        assert count.max() == 1 and (count == 1).mean() > 0.75
        np.testing.assert_array_equal(c.judging, count == 1)


@pytest.mark.slow
def test_of_cross_fitted_models_the_one_with_the_bad_flight_loses(flights: list[ResidualSamples]) -> None:
    options = TrainingOptions(epochs=4, hidden=(12,))
    bad = replace(flights[2], label=flights[2].label * np.array([1.0, 1.0, -2.0]))
    alike = [Dealt(f, by_old=True, by_new=True, judges=True) for f in flights[:2]]
    for by_old, by_new, passed in ((False, True, False), (True, False, True)):
        dealt = [*alike, Dealt(bad, by_old, by_new, judges=False)]
        compared, _ = compare_cross_fitted(dealt, VEHICLE, options)
        assert no_worse_near_ground(compared, 0).passed is passed
