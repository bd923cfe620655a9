"""Missing records, told by the clock alone."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neural_lander.flightlog.gaps import Gaps, all_gap_words, find_gaps, gap_words

N = 200


@given(
    lost=st.sets(st.integers(1, N - 2), min_size=1, max_size=15), jitter=st.floats(0.0, 0.1), seed=st.integers(0, 99)
)
def test_every_record_that_is_taken_out_of_a_regular_clock_is_counted(lost: set[int], jitter: float, seed: int) -> None:
    grid = 3.0 + 0.02 * (np.arange(N) + jitter * np.random.default_rng(seed).uniform(-1, 1, N))
    kept = np.array([k for k in range(N) if k not in lost])
    found = find_gaps(grid[kept])
    assert found is not None
    assert found.records == len(lost)
    assert found.places == sum(k - 1 not in lost for k in lost)
    assert found.first == grid[min(lost) - 1]
    assert find_gaps(grid) is None


def test_a_record_that_is_late_and_made_up_for_is_not_missing() -> None:
    t = 0.02 * np.arange(N)
    t[50] += 0.013  # steps of 1.65 and 0.35 periods
    assert find_gaps(t) is None
    t[100] -= 0.012
    assert find_gaps(t) is None
    assert find_gaps(np.delete(t, 120)) == Gaps(1, 1, t[119], t[121] - t[119])


def test_an_irregular_clock_or_a_handful_of_records_says_nothing() -> None:
    irregular = np.cumsum(np.random.default_rng(0).uniform(0.005, 0.02, N))
    assert find_gaps(np.delete(irregular, [40, 90])) is None
    alternating = np.cumsum(np.tile([0.008, 0.012], N))  # a topic of 250 Hz that is logged at 100 Hz at most
    assert find_gaps(alternating) is None
    assert find_gaps(np.array([0.0, 0.1, 0.2, 0.5])) is None


def test_fields_of_one_topic_are_named_together() -> None:
    t = np.delete(0.02 * np.arange(N), [30, 31, 80])
    said = all_gap_words({"position": t, "velocity": t, "attitude": 0.02 * np.arange(N)}, start=0.1)
    assert said == [
        "position, velocity: 3 records are missing at 2 places by the clock, the first after t = 0.480 s, "
        "at most 0.06 s from one record to the next"
    ]
    assert gap_words(np.delete(0.02 * np.arange(N), 5)) == [
        "1 record is missing at 1 place by the clock, the first after t = 0.080 s, "
        "at most 0.04 s from one record to the next"
    ]
    assert gap_words(0.02 * np.arange(N)) == []


@pytest.mark.parametrize("rate", [10.0, 250.0])
def test_a_long_hole_is_counted_whole(rate: float) -> None:
    t = np.arange(0, 20, 1 / rate)
    kept = t[(t < 7) | (t > 9)]
    assert find_gaps(kept).records == len(t) - len(kept)
