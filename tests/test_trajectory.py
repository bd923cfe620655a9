"""The landing reference of the tables: 1 m at 0.3 m/s, then rest on the pad."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from neural_lander.trajectory import Hover, Landing

START, PAD = np.array([0.8, -0.5, 1.11]), np.array([0.0, 0.1, 0.11])
LANDING = Landing(START, PAD)


def test_one_metre_at_three_tenths_takes_three_and_a_third_seconds() -> None:
    assert LANDING.arrival == pytest.approx(10 / 3)
    assert LANDING(1.0).position[2] == pytest.approx(1.11 - 0.3)
    assert LANDING(1.0).velocity[2] == pytest.approx(-0.3)


@given(st.floats(-2, 10))
def test_it_is_never_below_the_pad_and_stays_on_the_line(t: float) -> None:
    p = LANDING(t).position
    assert PAD[2] <= p[2] <= START[2]
    assert_allclose(np.cross(p - PAD, START - PAD), 0, atol=1e-12)


@given(st.floats(-2, 10).filter(lambda t: min(abs(t), abs(t - 10 / 3)) > 1e-3))
def test_velocity_is_the_derivative_of_position(t: float) -> None:
    h = 1e-5
    slope = (LANDING(t + h).position - LANDING(t - h).position) / (2 * h)
    assert_allclose(LANDING(t).velocity, slope, atol=1e-9)
    assert np.all(LANDING(t).acceleration == 0)


def test_it_waits_at_the_start_and_rests_on_the_pad() -> None:
    for t, place in ((-1.0, START), (0.0, START), (LANDING.arrival, PAD), (60.0, PAD)):
        assert np.array_equal(LANDING(t).position, place)
        assert np.all(LANDING(t).velocity == 0)


@pytest.mark.parametrize("start, speed", [(PAD, 0.3), (PAD - [0, 0, 1], 0.3), (START, 0.0), (START, -0.3)])
def test_a_landing_that_does_not_descend_is_refused(start: np.ndarray, speed: float) -> None:
    with pytest.raises(ValueError, match="a landing descends"):
        Landing(start, PAD, speed)


def test_hover_stands_still_at_its_heading() -> None:
    reference = Hover(START, yaw=0.7)(3.0)
    assert np.array_equal(reference.position, START)
    assert np.all(reference.velocity == 0) and reference.yaw == 0.7
