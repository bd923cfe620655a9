"""Sensors: stated noise, stated delay, the same draw for every controller with the same seed."""

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy.spatial.transform import Rotation

from neural_lander.state import State
from sim.sensors import SensorNoise, Sensors, drift_of, outages_of

N = 20_000
ATTITUDE = Rotation.from_euler("xyz", [0.2, -0.1, 1.0])
TRUTH = State(
    np.array([1.0, 2.0, 3.0]),
    np.array([0.1, 0.2, 0.3]),
    ATTITUDE.as_quat(scalar_first=True),
    np.array([0.4, 0.5, 0.6]),
    np.float64(2.9),
    True,
)


def measurements(noise: SensorNoise, seed: int, n: int = N) -> list[State]:
    sensors = Sensors(noise, seed)
    return [sensors.measure(TRUTH) for _ in range(n)]


def test_every_field_is_written_with_its_unit() -> None:
    written = SensorNoise().to_json()
    plain = {f.name for f in fields(SensorNoise)} & written.keys()
    assert plain == {"forecast"}  # true or false
    assert written["position_m"] == 0.001 and len(written) == len(fields(SensorNoise))


def test_noise_is_white_and_as_strong_as_stated() -> None:
    noise = SensorNoise()
    seen = measurements(noise, 1)
    turned = Rotation.from_quat([s.attitude for s in seen], scalar_first=True)
    for errors, deviation in (
        (np.array([s.position for s in seen]) - TRUTH.position, noise.position),
        (np.array([s.velocity for s in seen]) - TRUTH.velocity, noise.velocity),
        (np.array([s.body_rates for s in seen]) - TRUTH.body_rates, noise.body_rates),
        ((ATTITUDE.inv() * turned).as_rotvec(), noise.attitude),
    ):
        assert_allclose(errors.std(axis=0), deviation, rtol=0.03)
        assert_allclose(errors.mean(axis=0), 0, atol=4 * deviation / np.sqrt(N))
        assert_allclose(np.mean(errors[1:] * errors[:-1], axis=0) / deviation**2, 0, atol=0.04)


def test_measured_height_is_that_of_the_measured_position() -> None:
    for s in measurements(SensorNoise(), 2, 100):
        assert s.height - TRUTH.height == pytest.approx(s.position[2] - TRUTH.position[2])
        assert s.contact is True


def test_a_measured_attitude_is_a_unit_quaternion_to_second_order() -> None:
    norms = np.linalg.norm([s.attitude for s in measurements(SensorNoise(), 3, 1000)], axis=-1)
    assert_allclose(norms, 1, atol=1e-4)


def test_accelerometer_and_speed_telemetry_are_as_noisy_as_stated() -> None:
    sensors, force, speeds = Sensors(SensorNoise(), 4), np.array([0.1, 0.2, 9.9]), np.full(4, 600.0)
    logged = [sensors.actuation(force, speeds) for _ in range(N)]
    assert_allclose(np.std([a for a, _ in logged], axis=0), 0.2, rtol=0.03)
    assert_allclose(np.mean([a for a, _ in logged], axis=0), force, atol=0.01)
    assert_allclose(np.std([n for _, n in logged], axis=0), 0.003 * 600, rtol=0.03)


@pytest.mark.parametrize("delay", [0, 1, 3])
def test_the_controller_sees_what_was_measured_that_many_steps_ago(delay: int) -> None:
    sensors = Sensors(replace(SensorNoise.none(), delay=delay), 0)
    states = [State(np.full(3, float(k)), *[TRUTH.velocity] * 3, np.float64(k)) for k in range(10)]
    seen = [int(sensors.delayed(state).height) for state in states]
    assert seen == [max(k - delay, 0) for k in range(10)]


def test_perfect_sensors_tell_the_truth() -> None:
    (seen,) = measurements(SensorNoise.none(), 0, 1)
    for name in ("position", "velocity", "attitude", "body_rates", "height"):
        assert_allclose(getattr(seen, name), getattr(TRUTH, name), atol=1e-15)


def test_noise_comes_from_its_seed_whatever_is_logged_in_between() -> None:
    quiet, logging = Sensors(SensorNoise(), 7), Sensors(SensorNoise(), 7)
    for _ in range(1500):
        logging.actuation(np.zeros(3), np.ones(4))
        assert np.array_equal(quiet.measure(TRUTH).position, logging.measure(TRUTH).position)
    assert not np.array_equal(Sensors(SensorNoise(), 8).measure(TRUTH).position, quiet.measure(TRUTH).position)


def outages(share: float, length: float, steps: int = 60_000) -> np.ndarray:
    """Ages in steps of 1/240 s of what one controller sees."""
    sensors = Sensors(replace(SensorNoise.none(), dropout=share, dropout_time=length), 3)
    return np.array([sensors.delayed(TRUTH).age for _ in range(steps)]) * 240


@pytest.mark.parametrize("share, length", [(0.1, 0.05), (0.4, 0.02)])
def test_outages_have_the_stated_share_and_mean_length(share: float, length: float) -> None:
    out = outages(share, length) > 0
    assert out.mean() == pytest.approx(share, rel=0.1)
    begins = np.sum(out[1:] & ~out[:-1])
    assert out.sum() / begins == pytest.approx(240 * length, rel=0.1)


def test_in_an_outage_the_last_state_is_seen_with_its_age() -> None:
    sensors = Sensors(replace(SensorNoise.none(), dropout=0.3), 1)
    states = [replace(TRUTH, height=np.float64(k)) for k in range(400)]
    for k, state in enumerate(states):
        seen = sensors.delayed(state)
        assert seen.age * 240 == pytest.approx(k - seen.height)
    assert Sensors(SensorNoise.none(), 1).delayed(TRUTH).age == 0.0


def test_a_batch_of_one_seed_each_has_the_outages_and_drift_of_single_flights() -> None:
    seeds, noise = [4, 9, 11], replace(SensorNoise.none(), dropout=0.3, drift=0.01)
    single_out, batch_out = (
        [outages_of(noise, s, 1 / 240) for s in seeds],
        outages_of(noise, torch.tensor(seeds), 1 / 240),
    )
    single_drift = [drift_of(noise, s, 1 / 240) for s in seeds]
    batch_drift = drift_of(noise, torch.tensor(seeds), 1 / 240)
    for k in range(150):
        states = [replace(TRUTH, position=TRUTH.position + k + i, height=np.float64(k)) for i in range(3)]
        together = State(
            *(torch.tensor(np.array([getattr(s, name) for s in states]))
              for name in ("position", "velocity", "attitude", "body_rates", "height", "contact"))
        )  # fmt: skip
        expected = [out(drift(s)) for out, drift, s in zip(single_out, single_drift, states, strict=True)]
        seen = batch_out(batch_drift(together))
        assert_allclose(seen.position, [s.position for s in expected], rtol=0, atol=1e-12)
        assert_allclose(seen.height, [s.height for s in expected], rtol=0, atol=1e-12)
        assert_allclose(seen.age * torch.ones(3), [s.age for s in expected], atol=1e-12)


@pytest.mark.slow
def test_a_wandering_bias_has_its_deviation_and_its_memory_and_is_in_the_height_too() -> None:
    noise = replace(SensorNoise.none(), drift=0.01, drift_time=0.5)
    sensors = Sensors(noise, 5)
    seen = [sensors.measure(TRUTH) for _ in range(60_000)]
    bias = np.array([s.position for s in seen]) - TRUTH.position
    assert_allclose(bias.std(axis=0), 0.01, rtol=0.15)
    lag = 120  # half a second
    memory = np.mean(bias[lag:] * bias[:-lag], axis=0) / bias.var(axis=0)
    assert_allclose(memory, np.exp(-1), atol=0.12)
    assert_allclose([s.height - TRUTH.height for s in seen], bias[:, 2], atol=1e-12)
