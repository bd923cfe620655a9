"""The landing reference of the tables: 1 m at 0.3 m/s, then rest on the pad."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from neural_lander.trajectory import Crossing, FigureEight, Hover, Landing, Run, Trajectory

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


RUN = Run(3.0, 0.5, 1.0)
MOVING = [
    Crossing(np.array([-1.2, 0.3, 0.7]), np.array([1.2, -0.1, 0.7]), 0.5, 1.0),
    FigureEight(np.array([0.1, -0.2, 0.2]), 1.0, 0.5, 8.0, 2, 1.0),
]


@given(st.floats(-1, 20))
def test_a_run_goes_from_rest_to_rest_and_never_back(t: float) -> None:
    way, speed, *_ = RUN(t)
    assert 0 <= way <= RUN.distance and 0 <= speed <= RUN.speed
    assert RUN(0.0) == (0.0, 0.0, 0.0, 0.0)
    assert_allclose(RUN(RUN.duration), (3.0, 0.0, 0.0, 0.0), atol=1e-12)
    assert RUN.duration == 7.0


def test_a_run_without_room_for_its_ramps_is_refused() -> None:
    with pytest.raises(ValueError, match="room for its ramps"):
        Run(0.4, 0.5, 1.0)


@pytest.mark.parametrize("trajectory", MOVING)
@given(t=st.floats(-0.5, 18.5))
def test_derivatives_of_smooth_references_are_those_of_finite_differences(trajectory: Trajectory, t: float) -> None:
    h = 1e-4
    before, here, after = trajectory(t - h), trajectory(t), trajectory(t + h)
    assert_allclose(here.velocity, (after.position - before.position) / (2 * h), atol=1e-6)
    assert_allclose(here.acceleration, (after.velocity - before.velocity) / (2 * h), atol=2e-3)


@pytest.mark.parametrize("trajectory", MOVING)
@given(t=st.floats(-0.5, 18.5))
def test_jerk_is_that_of_finite_differences_but_where_a_ramp_begins_or_ends(trajectory: Trajectory, t: float) -> None:
    h, end = 1e-4, trajectory.run.duration  # type: ignore[attr-defined]
    assume(min(abs(t - knot) for knot in (0.0, 1.0, end - 1.0, end)) > 2 * h)
    before, here, after = trajectory(t - h), trajectory(t), trajectory(t + h)
    assert here.jerk is not None
    assert_allclose(here.jerk, (after.acceleration - before.acceleration) / (2 * h), atol=1e-5)


def test_a_crossing_is_level_and_ends_where_it_should() -> None:
    crossing = MOVING[0]
    assert isinstance(crossing, Crossing)
    assert_allclose(crossing(99.0).position, crossing.end, atol=1e-12)
    middle = crossing(crossing.run.duration / 2)
    assert_allclose(middle.position, (crossing.start + crossing.end) / 2, atol=1e-12)
    assert np.linalg.norm(middle.velocity) == pytest.approx(0.5)


def test_a_figure_eight_is_level_closed_and_as_large_as_said() -> None:
    eight = MOVING[1]
    assert isinstance(eight, FigureEight)
    way = np.array([eight(t).position for t in np.linspace(0, eight.run.duration, 2001)]) - eight.centre
    assert_allclose(way[0], 0, atol=1e-12)
    assert_allclose(way[-1], 0, atol=1e-9)
    assert_allclose(np.ptp(way, axis=0), [1.0, 0.5, 0.0], atol=1e-4)
