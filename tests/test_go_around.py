"""Abort at any height: the reference begins where the vehicle is, does not touch the ground and ends in hover."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from neural_lander.trajectory import GO_AROUND_SPEED, GoAround

STATES = {
    "z": st.floats(0.02, 3.0),
    "vz": st.floats(-1.5, 1.5),
    "vx": st.floats(-2.0, 2.0),
    "target": st.floats(0.3, 2.0),
}


def flown(z: float, vz: float, vx: float, target: float) -> tuple[GoAround, np.ndarray, np.ndarray]:
    away = GoAround(3.0, np.array([0.4, -0.1, z + 0.11]), np.array([vx, 0.5 * vx, vz]), z, target + 0.11, most=9.0)
    t = np.linspace(3.0, 3.0 + away.duration + 1.0, 300)
    return away, t, np.array([away(s).position for s in t])


@settings(max_examples=40)
@given(**STATES)
def test_it_begins_where_the_vehicle_is_and_ends_in_hover_at_its_target(
    z: float, vz: float, vx: float, target: float
) -> None:
    away, t, p = flown(z, vz, vx, target)
    assert_allclose(away(3.0).position, away.position)
    assert_allclose(away(3.0).velocity, away.velocity, atol=1e-12)
    end = away(t[-1])
    assert_allclose(end.velocity, 0, atol=1e-9)
    assert_allclose(end.acceleration, 0, atol=1e-9)
    if target > z + 0.6:  # else what it takes to stop may carry it past the target
        assert end.position[2] == pytest.approx(target + 0.11, abs=1e-6)
    assert np.all(np.diff(t) > 0) and np.all(np.isfinite(p))


@settings(max_examples=40)
@given(**STATES)
def test_velocity_and_acceleration_are_the_derivatives(z: float, vz: float, vx: float, target: float) -> None:
    away, t, _ = flown(z, vz, vx, target)
    e = 1e-6
    switches = [3.0 + s for s in (*away._climb[0], away._braking)]
    for s in t[1:-1:50]:
        if min(abs(s - x) for x in switches) < 1e-4:
            continue
        before, now, after = (away(float(s) + d) for d in (-e, 0.0, e))
        assert_allclose(now.velocity, (after.position - before.position) / (2 * e), atol=1e-5)
        assert_allclose(now.acceleration, (after.velocity - before.velocity) / (2 * e), atol=1e-4)


@settings(max_examples=40)
@given(**STATES)
def test_it_never_jumps_and_climbs_no_faster_than_it_says(z: float, vz: float, vx: float, target: float) -> None:
    away, _, p = flown(z, vz, vx, target)
    fastest = max(GO_AROUND_SPEED, vz)
    speed = [away(s).velocity[2] for s in np.linspace(3.0, 3.0 + away.duration, 150)]
    assert max(speed) <= fastest + 1e-9
    assert np.abs(np.diff(p, axis=0)).max() < 0.05


@given(st.floats(0.02, 1.0), st.floats(0.0, 1.0))
def test_the_sink_is_arrested_within_half_the_height_where_the_rotors_can(height: float, sink: float) -> None:
    away = GoAround(0.0, np.array([0, 0, height]), np.array([0, 0, -sink]), height, 1.5, most=9.0)
    lowest = min(away(t).position[2] for t in np.linspace(0, away.duration, 400))
    if sink**2 / height <= 9.0:
        assert lowest >= 0.5 * height - 1e-9
    assert away.acceleration <= 9.0


def test_above_its_target_it_comes_to_rest_where_it_can() -> None:
    away = GoAround(0.0, np.array([0, 0, 3.0]), np.array([0, 0, 1.0]), 3.0, 1.0)
    assert away(9.0).position[2] == pytest.approx(3.0 + 1 / 6)
    assert_allclose(away(9.0).velocity, 0)
