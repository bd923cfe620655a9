"""Several rates on one time base: what is kept, dropped, split and said."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from neural_lander.errors import UserError
from neural_lander.flightlog.streams import Joined, Stream, join, position_steps

IDENTITY = np.array([1.0, 0.0, 0.0, 0.0])


def pose(t: np.ndarray) -> dict[str, Stream]:
    moved = np.stack([t, 0 * t, np.sin(t)], axis=-1)
    return {
        "position": Stream(t, moved),
        "velocity": Stream(t, moved.copy()),
        "attitude": Stream(t, np.tile(IDENTITY, (len(t), 1))),
    }


def joined(imu: np.ndarray, t: np.ndarray | None = None, **more: Stream) -> Joined:
    force = {"specific_force": Stream(imu, np.tile([0.0, 0.0, 9.81], (len(imu), 1)))}
    return join(pose(np.arange(0.0, 20.0, 0.02) if t is None else t) | force | more, "x")


FAST = np.arange(0.0, 20.0, 0.004)


def test_the_fastest_source_gives_the_times_and_the_others_are_interpolated() -> None:
    found = joined(FAST)
    assert_allclose(found.t, FAST[FAST <= 19.98])
    assert_allclose(found.fields["position"][:, 2], np.sin(found.t), atol=1e-4)
    assert found.metadata["source_rates_Hz"]["position"] == pytest.approx(50)
    assert found.warnings == ()


def test_nothing_is_made_up_within_a_hole_of_a_slow_source() -> None:
    t = np.arange(0.0, 20.0, 0.02)
    found = joined(FAST, t[(t < 5) | (t > 6)])
    assert not np.any((found.t > 5.0) & (found.t < 5.99))
    assert "position: 1 holes, the longest of 1.04 s" in " ".join(found.warnings)


@pytest.mark.parametrize("wrong", [1e6, -1e6])
def test_a_lone_wrong_time_costs_its_record(wrong: float) -> None:
    imu = FAST.copy()
    imu[700] += wrong
    found = joined(imu)
    assert len(found.t) == np.sum(FAST <= 19.98) - 1
    assert "1 records whose time does not fit" in found.warnings[0]


def test_where_all_sources_pause_both_flights_are_kept_and_nothing_between_them() -> None:
    imu, t = FAST.copy(), np.arange(0.0, 20.0, 0.02)
    imu[imu > 14] += 1e4
    t[t > 14] += 1e4
    found = joined(imu, t)
    assert "clock_jumps" not in found.metadata
    assert found.t[-1] == pytest.approx(1e4 + 19.98)
    assert not np.any((found.t > 14.0) & (found.t < 1e4 + 14.0))
    assert len(found.t) == pytest.approx(np.sum(FAST <= 19.98), abs=5)
    assert found.warnings == ("x: no source has a record at one place, for up to 1e+04 s: between two flights",)


def test_a_pause_before_all_sources_are_there_is_not_told_as_one_between_two_flights() -> None:
    t = np.concatenate([np.arange(0.0, 2.0, 0.02), np.arange(20.0, 60.0, 0.02)])
    found = joined(np.arange(21.0, 60.0, 0.004), t)
    assert found.t[0] == pytest.approx(21.0)
    assert "between two flights" not in " ".join(found.warnings)
    assert "all sources are there for 39 of 60 s only" in " ".join(found.warnings)


def test_a_clock_that_jumps_leaves_the_longest_run() -> None:
    imu = FAST.copy()
    imu[imu > 14] += 1e4
    found = joined(imu)
    assert found.t[-1] == pytest.approx(14.0, abs=0.02)
    assert found.metadata["clock_jumps"] == 1
    backwards = FAST.copy()
    backwards[backwards > 14] -= 10.0
    assert joined(backwards).metadata["clock_jumps"] == 1


def test_a_source_that_comes_late_crops_and_one_that_is_hardly_there_is_left_out() -> None:
    late = Stream(np.arange(4.0, 20.0, 0.1), np.ones((160, 4)))
    found = joined(FAST, rotor_command=late)
    assert found.t[0] >= 4.0
    assert "there for 15.9 of 20 s only" in " ".join(found.warnings)
    found = joined(FAST, rotor_command=Stream(late.t[:30], late.values[:30]))
    assert "rotor_command" not in found.fields
    assert found.t[0] == 0.0
    assert "less than half of the flight" in " ".join(found.warnings)


def test_impossible_values_are_dropped_and_sources_without_overlap_refused() -> None:
    streams = pose(FAST)
    streams["attitude"].values[10] = 0.0
    streams["position"].values[20] = np.nan
    streams["velocity"].values[30] = 1e30
    said = " ".join(join(streams, "x").warnings)
    assert said.count("1 records with impossible values") == 3
    apart = pose(FAST) | {"velocity": Stream(FAST + 100, np.zeros((len(FAST), 3)))}
    with pytest.raises(UserError, match="not there at the same time"):
        join(apart, "x")


def test_a_step_is_what_the_velocity_does_not_explain() -> None:
    t = np.arange(0, 10, 0.1)
    velocity = np.stack([3 * np.cos(t), 0 * t, 2 * np.sin(3 * t)], axis=-1)
    position = np.stack([3 * np.sin(t), 0 * t, -2 / 3 * np.cos(3 * t)], axis=-1)
    assert len(position_steps(t, position, velocity)[0]) == 0
    position[40:] += [0.0, 0.0, 0.7]
    after, steps = position_steps(t, position, velocity)
    assert after.tolist() == [40]
    assert_allclose(steps[0], [0, 0, 0.7], atol=0.02)
