"""Touchdown is contact that lasts 0.2 s; until then a bump costs a dip of the thrust and nothing more."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neural_lander.control.touchdown import RESTING_SHARE, TouchdownDetector

DT = 1 / 240


def shares(contact: Callable[[float], bool], seconds: float, detector: TouchdownDetector | None = None) -> np.ndarray:
    detector = detector or TouchdownDetector()
    return np.array([detector(k * DT, contact(k * DT)) for k in range(round(seconds / DT))])


def test_contact_of_a_fifth_of_a_second_lands() -> None:
    detector = TouchdownDetector()
    share = shares(lambda t: t >= 1.0, 1.5, detector)
    assert detector.landed and detector.since == pytest.approx(1.0, abs=DT)
    off = np.flatnonzero(share == 0)
    assert off[0] * DT == pytest.approx(1.2, abs=DT)
    assert np.all(share[off[0] :] == 0)


@given(st.integers(1, 20))
def test_a_bump_shorter_than_that_costs_a_dip_and_is_forgotten(steps: int) -> None:
    length = steps * 0.009  # s, up to 0.18
    detector = TouchdownDetector()
    share = shares(lambda t: 0.5 <= t < 0.5 + length, 1.5, detector)
    assert not detector.landed and detector.since is None
    assert share.min() >= RESTING_SHARE
    assert np.all(share[round(0.8 / DT) :][-100:] == 1.0)


def test_bumps_do_not_add_up_to_a_landing() -> None:
    detector = TouchdownDetector()
    shares(lambda t: t % 0.2 < 0.15, 10.0, detector)
    assert not detector.landed


def test_the_weight_is_laid_down_and_taken_up_gradually() -> None:
    share = shares(lambda t: 0.5 <= t < 0.65, 1.2)
    steps = np.diff(share)
    assert share[round(0.49 / DT)] == 1.0
    assert share[round(0.60 / DT)] == pytest.approx(RESTING_SHARE)
    assert steps.min() > -0.05 and 0 < steps.max() < 0.02


@given(st.lists(st.booleans(), min_size=1, max_size=400))
def test_it_never_lands_without_a_fifth_of_a_second_of_unbroken_contact(contacts: list[bool]) -> None:
    detector, run, longest = TouchdownDetector(), 0, 0
    for k, contact in enumerate(contacts):
        share = detector(0.01 * k, contact)
        run = run + 1 if contact else 0
        longest = max(longest, run)
        assert (share == 0.0) is detector.landed is (longest > 20)  # the 21st sample is 0.2 s after the first


def test_reset_is_back_in_the_air() -> None:
    detector = TouchdownDetector()
    shares(lambda t: True, 0.5, detector)
    assert detector.landed
    detector.reset()
    assert not detector.landed
    assert detector(0.0, False) == 1.0
