"""Sensors: stated noise, stated delay, the same draw for every controller with the same seed."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.spatial.transform import Rotation

from neural_lander.state import State
from sim.sensors import SensorNoise, Sensors

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
