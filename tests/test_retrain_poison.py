"""Logs that must not be learned from are refused with their cause, and good ones are not."""

import re
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from learning_flights import flight

from neural_lander.errors import UserError
from neural_lander.flightlog import FlightLog, read_log
from neural_lander.residual.analytic import CheesemanBennett
from neural_lander.residual.plausibility import check_units
from neural_lander.residual.retraining.poison import bias_tolerance, check_bias, check_itself, hover_bias, same_flight
from neural_lander.residual.samples import residual_samples
from neural_lander.residual.trim import trim_height, trim_reference
from neural_lander.rotation import quaternion_conjugate, quaternion_multiply
from neural_lander.vehicle import Vehicle, load_vehicle

DATA = Path(__file__).parents[2] / "shared/data/crazyflie_near_ground"
VEHICLE = load_vehicle("intel-aero")
PERIOD = 0.01  # s
needs_real_flights = pytest.mark.skipif(
    not DATA.is_dir(), reason="needs the real flights in ../shared/data/crazyflie_near_ground"
)


def turn_rates(attitude: np.ndarray) -> np.ndarray:
    step = quaternion_multiply(quaternion_conjugate(attitude[:-1]), attitude[1:])[:, 1:]
    return np.concatenate([step, step[-1:]]) * 2 / PERIOD


def good(seed: int = 0, **changes: object) -> FlightLog:
    """A flight that holds every column that can contradict another."""
    log = flight(VEHICLE, 30.0, seed=seed, tilt=0.1)
    return replace(log, body_rates=turn_rates(log.attitude), **changes)


GOOD = good()


def bias(log: FlightLog, vehicle: Vehicle) -> float:
    law = CheesemanBennett(10.0, 0.0, vehicle.rotor_radius, vehicle.gear_clearance)  # some 10 times the law of 1955
    return hover_bias(residual_samples(log, vehicle), vehicle, law)


def reversed_in_time(log: FlightLog) -> FlightLog:
    """The records in reverse order under a clock that runs on."""
    columns = {f.name: getattr(log, f.name) for f in fields(FlightLog)}
    turned = {k: v[::-1].copy() for k, v in columns.items() if isinstance(v, np.ndarray) and k != "t"}
    return replace(log, **turned, t=log.t[-1] - log.t[::-1])


def scaled_thrust(log: FlightLog, vehicle: Vehicle, factor: float) -> FlightLog:
    """The log with rotor speeds whose thrust is ``factor`` times what the log's own signal gives."""
    samples = residual_samples(log, vehicle)
    speed = np.sqrt(factor * np.maximum(samples.rotor_thrust, 0) / vehicle.thrust_coefficient)
    on_records = np.stack([np.interp(log.t, samples.t + log.t[0], column) for column in speed.T], axis=-1)
    return replace(log, rotor_speed=on_records, rotor_command=None)


def frozen(log: FlightLog, share: float, block: int) -> FlightLog:
    """The first ``share`` of every ``block`` records repeats the block's first one, while the clock runs on."""
    k = np.arange(len(log.t))
    kept = np.where(k % block < share * block, k - k % block, k)
    columns = {f.name: getattr(log, f.name) for f in fields(FlightLog)}
    return replace(log, **{n: v[kept] for n, v in columns.items() if isinstance(v, np.ndarray) and n != "t"})


def test_a_good_flight_passes() -> None:
    check_itself(GOOD, VEHICLE)


@pytest.mark.parametrize("poison, cause", [
    (reversed_in_time, "position changes against velocity.*reverse order of time"),
    (lambda log: replace(reversed_in_time(log), velocity=-log.velocity[::-1]),  # as an estimator would have it
     "attitude changes against body_rates.*reverse order of time"),
    (lambda log: replace(log, position=1e3 * log.position), "position moves at .* check the units m and m/s"),
    (lambda log: replace(log, position=log.position / 0.3048), "position and velocity contradict.*ratio 3.2"),
    (lambda log: replace(log, velocity=3.6 * log.velocity), "position and velocity contradict.*ratio 0.278"),
    (lambda log: replace(log, position=log.position[:, [1, 0, 2]]), "position and velocity contradict.*axes"),
    (lambda log: replace(log, velocity=np.roll(log.velocity, 150, axis=0)), "one time base"),
    (lambda log: replace(log, height=1e3 * log.height), "height rises 1e.03 times as fast as velocity"),
    (lambda log: replace(log, body_rates=-log.body_rates), "attitude changes against body_rates"),
    (lambda log: replace(log, specific_force=2 * np.array([0, 0, 9.81]) - log.specific_force),
     "specific_force and velocity contradict"),
    (lambda log: frozen(log, 0.5, 4), "% of the moving records repeat.*frames are duplicated"),
    (lambda log: frozen(log, 0.2, 100), "% of the moving records repeat"),
    (lambda log: replace(log, metadata={"mass_kg": 1.6, "source": "x"}), "its mass is 1.6 kg.*vehicle has 1.47 kg"),
    (lambda log: replace(log, metadata={"vehicle": "crazyflie-21", "source": "x"}), "is of vehicle 'crazyflie-21'"),
])  # fmt: skip
def test_a_log_that_contradicts_itself_or_the_vehicle_is_refused(
    poison: Callable[[FlightLog], FlightLog], cause: str
) -> None:
    with pytest.raises(UserError, match=cause):
        check_itself(poison(GOOD), VEHICLE)


def test_terrain_that_steps_and_a_payload_of_a_few_per_cent_are_no_poison() -> None:
    steps = np.where(GOOD.position[:, 0] > np.median(GOOD.position[:, 0]), 0.3, 0.0)
    check_itself(replace(GOOD, height=GOOD.height + steps), VEHICLE)
    check_itself(replace(GOOD, metadata={"mass_kg": 1.5}), VEHICLE)


def test_a_vehicle_that_stands_still_or_a_short_hop_contradicts_nothing() -> None:
    n = 300
    still = FlightLog.from_arrays(
        PERIOD * np.arange(n), np.zeros((n, 3)), np.zeros((n, 3)), np.tile([1.0, 0, 0, 0], (n, 1)),
        height=np.zeros(n), body_rates=np.zeros((n, 3)), specific_force=np.tile([0, 0, 9.81], (n, 1)),
    )  # fmt: skip
    check_itself(still, VEHICLE)


@pytest.mark.parametrize("factor", [0.8, 1.2])
def test_thrust_that_is_wrong_by_a_fifth_is_refused_beside_one_old_flight_or_many(factor: float) -> None:
    poisoned = bias(scaled_thrust(GOOD, VEHICLE, factor), VEHICLE)
    many = [bias(good(seed), VEHICLE) for seed in range(1, 5)]
    for old in (many, many[:1]):
        check_bias("log", bias(GOOD, VEHICLE), old)
        with pytest.raises(UserError, match="check the thrust scale") as refused:
            check_bias("log", poisoned, old)
        said = re.search(r"reads ([\d.]+) times theirs", str(refused.value))
        assert said is not None and float(said[1]) == pytest.approx(factor, abs=0.03)


def test_what_is_no_number_passes_no_gate() -> None:
    nan = float("nan")
    for old in ([], [0.0, 0.01]):
        with pytest.raises(UserError, match="no scored sample to judge its thrust by"):
            check_bias("log", nan, old)
    with pytest.raises(UserError, match="does not fit the old flights"):
        check_bias("log", 0.0, [0.0, nan])
    with pytest.raises(UserError, match="its mass is nan kg"):
        check_itself(replace(GOOD, metadata={"mass_kg": nan}), VEHICLE)
    with pytest.raises(UserError, match="its mass_kg is nan"):
        check_units(replace(GOOD, metadata={"mass_kg": nan}), VEHICLE)


def test_thrust_is_judged_near_the_ground_too_where_no_flight_leaves_it() -> None:
    old = [bias(flight(VEHICLE, 30.0, top=0.4, seed=seed), VEHICLE) for seed in range(4, 8)]
    low = flight(VEHICLE, 30.0, top=0.5, seed=3)
    check_bias("log", bias(low, VEHICLE), old)
    for factor in (0.8, 1.2):
        with pytest.raises(UserError, match="thrust scale"):
            check_bias("log", bias(scaled_thrust(low, VEHICLE, factor), VEHICLE), old)


def test_the_bias_is_that_of_the_label_with_the_ground_effect_taken_off() -> None:
    log = flight(VEHICLE, 30.0, top=2.0)
    samples = residual_samples(log, VEHICLE)
    high = trim_reference(samples, trim_height(VEHICLE))
    truth = float(samples.label[high, 2].mean()) / VEHICLE.weight
    assert high.sum() > 100
    assert bias(log, VEHICLE) == pytest.approx(truth, abs=0.02)
    heavier = replace(log, specific_force=log.specific_force + np.array([0, 0, 0.05 * 9.81]))
    assert bias(heavier, VEHICLE) - bias(log, VEHICLE) == pytest.approx(0.05, abs=1e-6)


def test_the_tolerance_follows_the_old_flights_within_bounds() -> None:
    assert bias_tolerance([0.01, 0.02]) == 0.12  # two flights show no spread
    assert bias_tolerance([0.02, 0.02, 0.021, 0.019]) == 0.08
    assert bias_tolerance([0.0, 0.2, -0.2, 0.1, -0.1]) == 0.12
    assert 0.08 < bias_tolerance([0.0, 0.016, -0.016, 0.032, -0.032]) < 0.12  # 4 x 1.48 x 0.016
    check_bias("log", 0.5, [])  # nothing to hold it to


def resampled(log: FlightLog, period: float) -> FlightLog:
    t = np.arange(0.0, log.duration, period)
    columns = {n: getattr(log, n) for n in ("position", "velocity", "attitude")}
    grid = {n: np.stack([np.interp(t, log.t, c) for c in v.T], axis=-1) for n, v in columns.items()}
    return FlightLog.from_arrays(t, **grid)


def test_one_flight_is_known_again_rounded_resampled_cut_or_joined() -> None:
    rounded = replace(GOOD, position=GOOD.position.round(4), velocity=GOOD.velocity.round(4))
    cut = resampled(GOOD, PERIOD)
    cut = replace(cut, t=cut.t[:800], position=GOOD.position[1000:1800], velocity=GOOD.velocity[1000:1800],
                  attitude=GOOD.attitude[1000:1800])  # fmt: skip
    for copy in (rounded, resampled(GOOD, 0.02), resampled(GOOD, 0.007), cut):
        assert same_flight(GOOD, copy)
        assert same_flight(copy, GOOD)


def smooth(seed: int, rate: float, digits: int = 9) -> FlightLog:
    """40 s at the rate in Hz, of which the first 5 on the ground."""
    rng, t = np.random.default_rng(seed), np.arange(0.0, 40.0, 1 / rate)
    swing = [np.sin(np.outer(t, rng.uniform(0.5, 4.0, 6))) @ rng.normal(scale=0.2, size=6) for _ in range(3)]
    position = np.stack(swing, axis=-1) * np.clip(t / 2 - 2.5, 0, 1)[:, None]
    velocity = np.gradient(position, t, axis=0).round(digits)
    return FlightLog.from_arrays(t, position.round(digits), velocity, np.tile([1.0, 0, 0, 0], (len(t), 1)))


@pytest.mark.parametrize("rate", [50.0, 100.0, 200.0, 500.0])
def test_all_of_a_log_is_compared_whatever_its_rate(rate: float) -> None:
    assert same_flight(smooth(1, rate), smooth(1, 100.0, digits=4))
    assert not same_flight(smooth(1, rate), smooth(2, rate))  # both stand for as long


def test_flights_along_one_reference_are_two_flights() -> None:
    rng = np.random.default_rng(1)
    again = good()
    wander = np.cumsum(rng.normal(size=again.position.shape), axis=0) * 5e-5  # 2 mm after 30 s
    assert not same_flight(GOOD, replace(again, position=again.position + wander))
    assert not same_flight(GOOD, good(1))


def real_flights(folder: str, name: str) -> tuple[list[FlightLog], Vehicle]:
    vehicle = load_vehicle(name)
    return [read_log(path) for path in sorted((DATA / folder).glob("*/*.usd"))], vehicle


@pytest.mark.slow
@needs_real_flights
@pytest.mark.filterwarnings("ignore::neural_lander.errors.NeuralLanderWarning")
@pytest.mark.parametrize("folder, name, count", [
    ("large_67g", "crazyflie-parrot", 17), ("small_32g", "crazyflie-21", 14),
])  # fmt: skip
def test_every_real_flight_passes_and_each_of_its_poisoned_copies_is_refused(
    folder: str, name: str, count: int
) -> None:
    logs, vehicle = real_flights(folder, name)
    assert len(logs) == count
    biases = [bias(log, vehicle) for log in logs]
    other = load_vehicle({"crazyflie-parrot": "crazyflie-21", "crazyflie-21": "crazyflie-parrot"}[name])
    for k, log in enumerate(logs):
        old = biases[:k] + biases[k + 1 :]
        check_itself(log, vehicle)
        check_bias(log.source, biases[k], old)
        check_bias(log.source, biases[k], old[:1])
        assert not any(same_flight(log, another) for another in logs[k + 1 :])
        for factor in (0.8, 1.2):
            with pytest.raises(UserError, match="thrust|residual"):
                check_bias(log.source, bias(scaled_thrust(log, vehicle, factor), vehicle), old)
        with pytest.raises(UserError, match="reverse order|contradict"):
            check_itself(reversed_in_time(log), vehicle)
        with pytest.raises(UserError, match="units"):
            check_itself(replace(log, position=1e3 * log.position), vehicle)
        with pytest.raises(UserError, match="frames are duplicated"):
            check_itself(frozen(log, 0.5, 4), vehicle)
        with pytest.raises(UserError, match="does not fit vehicle"):
            residual_samples(log, other)
