"""The offset of a reported velocity: its closed form, and what must not look like one."""

import math

import numpy as np
import pytest

from firmware_bridge.estimation.speed_offset import BANDWIDTH, LARGEST, UNCERTAIN, SpeedOffset

DT = 0.01


def learned(position: np.ndarray, velocity: np.ndarray, dt: float = DT) -> np.ndarray:
    """Offset (n, 3) in m/s after each report of (n, 3) positions and velocities."""
    offset, found = SpeedOffset(), []
    for k, (p, v) in enumerate(zip(position.tolist(), velocity.tolist(), strict=True)):
        offset.update(dt * k, tuple(p), tuple(v), False)
        found.append(offset.value)
    return np.array(found)


def along_z(z: np.ndarray) -> np.ndarray:
    return np.stack([0 * z, 0 * z, z], axis=-1)


def test_who_stands_and_is_said_to_sink_is_found_out_as_a_critically_damped_filter_does() -> None:
    """o(t) = b (1 - (1 + w t) exp(-w t)), the limit of short steps, but for what is not certain."""
    t = 1e-3 * np.arange(4000)
    found = learned(along_z(0 * t), along_z(0 * t - 0.085), dt=1e-3)
    exact = -0.085 * (1 - (1 + BANDWIDTH * t) * np.exp(-BANDWIDTH * t))
    np.testing.assert_allclose(found[:, 2], np.minimum(exact + UNCERTAIN, 0.0), atol=3e-4)
    assert not found[:, :2].any()


def test_a_velocity_that_agrees_with_the_positions_has_no_offset() -> None:
    t = DT * np.arange(2000)
    found = learned(along_z(0.5 * np.sin(2 * t)), along_z(np.cos(2 * t)))
    assert not found.any()


def test_noise_of_both_and_a_position_that_wanders_change_nothing() -> None:
    """1 cm within 20 s, Gauss-Markov, as the emulator has it."""
    rng, wander, away = np.random.default_rng(0), [], np.zeros(3)
    for _ in range(6000):
        away = math.exp(-DT / 20.0) * away + 0.01 * math.sqrt(2 * DT / 20.0) * rng.standard_normal(3)
        wander.append(away)
    position = np.array(wander) + 4e-3 * rng.standard_normal((6000, 3))
    found = learned(position, 2e-2 * rng.standard_normal((6000, 3)))
    assert np.abs(found).max() < 2e-3 and np.mean(found != 0.0) < 0.02


def test_a_position_that_is_older_than_the_velocity_costs_little() -> None:
    """30 ms between them, and a start to 1 m/s at once."""
    t = DT * np.arange(600)
    position = np.maximum(t - 1.0 - 0.03, 0.0)
    found = learned(along_z(position), along_z(np.where(t > 1.0, 1.0, 0.0)))
    assert np.abs(found).max() < 3e-3 and not found[-1].any()


@pytest.mark.parametrize("moved, after", [(True, DT), (False, 0.6)])
def test_a_reset_and_a_gap_tell_nothing(moved: bool, after: float) -> None:
    offset = SpeedOffset()
    for k in range(300):
        offset.update(DT * k, (0.0, 0.0, 1.0), (0.0, 0.0, 0.05), False)
    before = offset.value
    assert before[2] == pytest.approx(0.05 - UNCERTAIN, abs=2e-3)
    offset.update(DT * 299 + after, (0.0, 3.0, 1.4), (0.0, 0.0, 0.05), moved)
    assert offset.value == before
    offset.update(DT * 300 + after, (0.0, 3.0, 1.4), (0.0, 0.0, 0.05), False)
    assert offset.value == pytest.approx(before, abs=1e-3)


def test_more_than_any_filter_is_off_is_not_believed() -> None:
    found = learned(np.zeros((2000, 3)), np.ones((2000, 3)))
    assert np.abs(found).max() == pytest.approx(LARGEST - UNCERTAIN)
