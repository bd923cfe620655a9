"""The uniform grid: vibration is not folded into it, and a clock that jumps does not fill the memory."""

import numpy as np
import pytest

from neural_lander.errors import UserError
from neural_lander.flightlog import FlightLog
from neural_lander.residual.resample import MOST_FINE, interpolate, uniform_grid


def still_log(t: np.ndarray) -> FlightLog:
    n = len(t)
    return FlightLog.from_arrays(
        t, np.zeros((n, 3)), np.zeros((n, 3)), np.tile([1.0, 0, 0, 0], (n, 1)), metadata={"source": "clock.csv"}
    )


def records(rate: float, seconds: float = 20.0, jitter: float = 0.2) -> np.ndarray:
    steps = np.random.default_rng(0).uniform(1 - jitter, 1 + jitter, round(rate * seconds)) / rate
    return np.concatenate([[0.0], np.cumsum(steps)])


@pytest.mark.parametrize("rate", [220.0, 250.0, 1000.0])
def test_vibration_above_half_the_grid_rate_is_not_folded_into_it(rate: float) -> None:
    t_log = records(rate)
    t = uniform_grid(still_log(t_log))
    vibration = np.sin(2 * np.pi * 92.0 * t_log)
    inner = slice(100, -100)
    assert np.interp(t, t_log, vibration)[inner].std() > 0.35  # what plain interpolation leaves at 8 Hz
    assert interpolate(t, t_log, vibration)[inner].std() < 0.08  # of 0.71; records that jitter by 20 % leave some


@pytest.mark.parametrize("rate", [220.0, 250.0, 1000.0])
def test_motion_passes_without_shift_or_loss(rate: float) -> None:
    t_log = records(rate)
    t = uniform_grid(still_log(t_log))
    inner = slice(100, -100)
    for frequency, tolerance in ((1.0, 1e-3), (10.0, 0.02)):  # at 10 Hz linear interpolation itself costs 1 %
        motion = np.sin(2 * np.pi * frequency * t_log)
        np.testing.assert_allclose(
            interpolate(t, t_log, motion)[inner], np.sin(2 * np.pi * frequency * t)[inner], atol=tolerance
        )


@pytest.mark.parametrize("rate", [20.0, 100.0, 101.2, 120.0, 149.0])
def test_records_that_come_about_as_fast_as_the_grid_are_interpolated_and_nothing_else(rate: float) -> None:
    t_log = records(rate, jitter=0.02)
    values = np.random.default_rng(1).normal(size=(len(t_log), 3))
    t = uniform_grid(still_log(t_log))
    expected = np.stack([np.interp(t, t_log, column) for column in values.T], axis=-1)
    assert np.array_equal(interpolate(t, t_log, values), expected)


def test_a_clock_that_jumps_by_days_is_refused_before_memory_is_asked_for() -> None:
    t = np.concatenate([np.arange(0.0, 10.0, 0.01), 5 * 86400.0 + np.arange(0.0, 10.0, 0.01)])
    with pytest.raises(UserError, match=r"clock\.csv spans 4\.32e\+05 s in 2000 records.* clock jumps"):
        uniform_grid(still_log(t))


def test_a_burst_of_records_does_not_set_the_size_of_the_fine_grid() -> None:
    t_log = np.concatenate([1e-7 * np.arange(3000), np.arange(1, 1000) * 0.01])
    t = uniform_grid(still_log(t_log))
    assert len(t) < 1001
    assert np.isfinite(interpolate(t, t_log, np.ones(len(t_log)))).all()
    assert MOST_FINE * len(t) < 25_000
