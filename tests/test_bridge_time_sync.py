"""Offset between two clocks, and a clock that began anew."""

import math
import random

import pytest

from firmware_bridge.estimation.time_sync import BACK, CONFIRM, ENOUGH, WINDOW, BootClock, Step, TimeSync


def exchange(sync, rng, now, offset, shortest=0.004, jitter=0.010):
    """One exchange whose two ways each take half the shortest trip and whatever waiting comes on top."""
    out, back = (shortest / 2 + jitter * rng.random() ** 2 for _ in range(2))
    sync.add(now, now + out + offset, now + out + back)


def test_the_offset_is_found_to_within_half_the_shortest_round_trip() -> None:
    rng = random.Random(1)
    for offset in (-1e6, -3.0, 0.0, 12.5):
        sync = TimeSync()
        for k in range(40):
            exchange(sync, rng, 100 + 0.1 * k, offset)
        found = 1000.0 - sync.to_ours(1000.0, received=1e9)
        assert abs(found - offset) <= sync.round_trip / 2 + 1e-9
        assert sync.round_trip < 0.006 and sync.delay == sync.round_trip / 2


def test_a_busy_line_does_not_move_it() -> None:
    """Of ten exchanges nine wait 50 ms on the way back; the mean would be 20 ms off."""
    sync = TimeSync()
    for k in range(40):
        late = 0.0 if k % 10 == 0 else 0.05
        sync.add(float(k), k + 0.002 + 7.0, k + 0.004 + late)
    assert sync.to_ours(10.0, received=1e9) == pytest.approx(3.0, abs=1e-6)


def test_it_follows_a_drift() -> None:
    rng, sync = random.Random(2), TimeSync()
    for k in range(6000):  # ten minutes, 50 ppm
        now = 0.1 * k
        exchange(sync, rng, now, 5.0 + 50e-6 * now)
    # The best exchange is at most one window old, in which the clocks drift apart by 0.32 ms.
    assert 600.0 - sync.to_ours(600.0, received=1e9) == pytest.approx(
        5.03, abs=sync.round_trip / 2 + 50e-6 * 0.1 * WINDOW
    )


def test_the_error_is_half_the_round_trip_and_a_drift() -> None:
    sync = TimeSync()
    assert sync.error(0.0) == math.inf
    for k in range(ENOUGH):
        sync.add(float(k), k + 7.0, k + (0.004 if k == 2 else 0.02))
    assert sync.error(2.004) == pytest.approx(0.002)
    assert sync.error(12.004) == pytest.approx(0.002 + 1e-3)


def test_no_state_is_older_than_the_error_allows() -> None:
    rng, sync = random.Random(3), TimeSync()
    for k in range(600):
        now, offset = 0.1 * k, 5.0 + 90e-6 * 0.1 * k
        exchange(sync, rng, now, offset, jitter=0.03)
        if sync.ready:
            assert sync.to_ours(now + offset, received=1e9) - sync.error(now) <= now


def test_arrival_stands_for_the_time_until_there_are_enough() -> None:
    sync = TimeSync()
    for k in range(ENOUGH):
        assert not sync.ready and sync.to_ours(3.0, received=77.0) == 77.0
        sync.add(float(k), k + 10.0, k + 0.004)
    assert sync.ready and sync.to_ours(20.0, received=77.0) == pytest.approx(10.002)
    sync.clear()
    assert not sync.ready and sync.round_trip is None and sync.delay == 0.0


def test_nothing_is_true_later_than_it_arrived() -> None:
    sync = TimeSync()
    for k in range(ENOUGH):
        sync.add(float(k), float(k), k + 0.004)
    assert sync.to_ours(90.0, received=50.0) == 50.0


@pytest.mark.parametrize("sent, received", [(5.0, 4.9), (5.0, 7.0)])
def test_an_exchange_that_cannot_be_or_took_too_long_says_nothing(sent, received) -> None:
    sync = TimeSync()
    sync.add(sent, 5.0, received)
    assert sync.round_trip is None


class TestBootClock:
    def test_runs_on_with_jitter_and_holes(self) -> None:
        rng, clock = random.Random(3), BootClock()
        for k in range(2000):
            stamp = 0.01 * k - 0.9 * BACK * rng.random() + (60 if k > 1000 else 0)
            assert clock.see(stamp) is Step.ON

    def test_a_restart_is_told_once_after_a_few_stamps(self) -> None:
        clock = BootClock()
        for k in range(100):
            clock.see(50 + 0.01 * k)
        steps = [clock.see(2 + 0.01 * k) for k in range(20)]
        assert steps == [Step.OLD] * (CONFIRM - 1) + [Step.RESTARTED] + [Step.ON] * (20 - CONFIRM)

    def test_a_restart_is_seen_through_stamps_out_of_order(self) -> None:
        clock, steps = BootClock(), []
        clock.see(50.0)
        for k in range(10):
            steps += [clock.see(2 + 0.005 * k), clock.see(1.99 + 0.005 * k)]
        assert steps.count(Step.RESTARTED) == 1

    def test_old_frames_are_no_restart_alone_or_repeated_or_between_new_ones(self) -> None:
        clock = BootClock()
        clock.see(50.0)
        assert [clock.see(20.0) for _ in range(100)] == [Step.OLD] * 100
        for k in range(100):
            assert clock.see(20.0 + 0.01 * k) is Step.OLD
            assert clock.see(50.0 + 0.01 * k) is Step.ON
