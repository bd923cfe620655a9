"""Touchdown is contact that lasts 0.2 s; until then a bump costs a dip of the thrust and nothing more."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from neural_lander.control.touchdown import (
    LAID_SHARE,
    RESTING_SHARE,
    SUPPORT_TIME,
    Touch,
    TouchdownDetector,
    TouchdownLaw,
)

DT = 1 / 240
LAG = 0.03  # s, of the rotors


def told(lag: float = LAG) -> TouchdownDetector:
    """One that knows of the rotors' lag what it is told."""
    return TouchdownDetector(rotor_lag=lag)


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


def test_when_it_landed_is_kept_where_contact_flickers_as_the_rotors_stop() -> None:
    """Of a batch: it goes on for the others. The world scored such landings as never down."""
    detector = TouchdownDetector()
    detector.reset(torch.zeros(2, dtype=torch.float64))
    for k in range(480):
        detector(k * DT, torch.tensor([1.0 <= k * DT < 1.3, False]))
    since = detector.since
    assert isinstance(since, torch.Tensor) and since[0] == pytest.approx(1.0, abs=DT) and since[1].isnan()


def test_rotors_that_idle_at_first_are_no_measure_of_what_carries() -> None:
    """A command may begin at 0, where the reference falls; what is asked for later in the air is the measure."""
    detector, weight = TouchdownDetector(), 10.0
    for k in range(240):
        assert detector(k * DT, False, 0.0 if k < 5 else weight, 0.0, 1.0) == 1.0
    for k in range(240, 480):
        detector(k * DT, True, weight, 0.0, 1.0)
    assert detector.landed


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
    assert steps.min() > -0.07 and 0 < steps.max() < 0.02


@given(st.lists(st.booleans(), min_size=1, max_size=400))
def test_it_lands_after_a_fifth_of_a_second_of_contact_with_gaps_shorter_than_that_of_the_definition(
    contacts: list[bool],
) -> None:
    detector, since, last, landed = TouchdownDetector(), None, -9, False
    for k, contact in enumerate(contacts):
        share = detector(0.01 * k, contact)
        last = k if contact else last
        if k - last > 2:  # two samples without contact are 20 ms, three are 30 ms
            since = None
        elif since is None and contact:
            since = k
        landed = landed or (since is not None and contact and k - since >= 20)
        assert (share == 0.0) is bool(detector.landed) is landed


def test_reset_is_back_in_the_air() -> None:
    detector = TouchdownDetector()
    shares(lambda t: True, 0.5, detector)
    assert detector.landed
    detector.reset()
    assert not detector.landed
    assert detector(0.0, False) == 1.0


def vertical(
    detector: TouchdownDetector,
    flag: Callable[[float, bool], bool],
    *,
    height: float,
    speed: float = 0.0,
    gain: float = 6.0,
    seconds: float = 4.0,
    lag: float = LAG,
    scale: float = 1.0,
    cushion: float = 0.0,
    noise: float = 0.0,
    delay: int = 0,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Height in m and share over time of a point mass in units of its weight, over a hard floor, under a PD law.

    ``speed`` in m/s is that of a descent to the floor, ``scale`` the true thrust over what the controller believes,
    ``cushion`` ground effect at the floor as a share of the weight, ``noise`` that of the velocity in m/s and ``delay``
    of the state in steps.
    """
    g, z, v, T, rng = 9.81, height, -speed, 1.0 / scale, np.random.default_rng(seed)
    heights, shares, states = [], [], []
    trim = 1.0 / scale - 1.0
    for k in range(round(seconds / DT)):
        t = k * DT
        target, rate = (max(height - speed * t, 0.0), -speed if height - speed * t > 0 else 0.0)
        states.append((z, v))
        seen, climb = states[max(k - delay, 0)]
        climb += noise * rng.normal()
        lift = cushion * np.exp(-z / 0.05)  # known to the controller
        asked = max(1.0 + trim - lift + (gain * (rate - climb) + gain**2 / 4 * (target - seen)) / g, 0.0)
        contact = z <= 1e-3  # the gear gives way by as much
        share = detector(t, flag(t, contact), asked, climb, 1.0)
        T += (1 - np.exp(-DT / lag)) * (share * asked - T)
        v += DT * g * (scale * T - 1.0 + lift)
        if z <= 0.0 and v < 0.0:
            v = 0.0
        z = max(z + DT * v, 0.0)
        heights.append(z)
        shares.append(share)
    return np.array(heights), np.array(shares)


@pytest.mark.parametrize("scale", [0.8, 1.0, 1.2])
@pytest.mark.parametrize("speed", [0.1, 0.3, 0.6])
def test_a_landing_ends_with_the_motors_off_and_stays_down(speed: float, scale: float) -> None:
    detector = told()
    heights, shares_ = vertical(detector, lambda t, c: c, height=0.3, speed=speed, scale=scale)
    assert detector.landed and shares_[-1] == 0.0
    down = int(np.argmax(heights <= 1e-3))
    assert heights[down:].max() < 2e-3  # m: no bounce
    off = int(np.argmax(shares_ == 0.0))
    assert 0.19 < (off - down) * DT < 0.30


@pytest.mark.parametrize("gain", [3.0, 6.0, 12.0])
@pytest.mark.parametrize("seed", range(5))
def test_spikes_of_the_flag_in_the_air_cost_height_and_never_the_motors(seed: int, gain: float) -> None:
    """A tenth of all samples say contact, half a metre up."""
    rng = np.random.default_rng(seed)
    heights, shares_ = vertical(told(), lambda t, c: bool(rng.random() < 0.1), height=0.5, gain=gain)
    assert shares_.min() >= RESTING_SHARE
    assert heights.min() > 0.4


@pytest.mark.parametrize("scale", [0.8, 1.0, 1.2])
@pytest.mark.parametrize("gain", [3.0, 6.0, 12.0, 20.0])
def test_a_flag_that_is_stuck_in_the_air_is_not_believed(gain: float, scale: float) -> None:
    """The vehicle sinks by some centimetres a second while the detector looks whether anything carries it."""
    detector = told()
    heights, shares_ = vertical(detector, lambda t, c: t > 0.5, height=2.0, gain=gain, scale=scale, seconds=6.0)
    assert not detector.landed and shares_.min() >= RESTING_SHARE
    assert heights.min() > 1.2


@pytest.mark.parametrize("error", [0.7, 1.0, 1.4])
@pytest.mark.parametrize("lag", [0.03, 0.06, 0.12])
def test_nor_where_motors_are_slow_their_lag_is_not_as_told_and_the_state_is_late_and_noisy(
    lag: float, error: float
) -> None:
    for seed, gain in enumerate((3.0, 6.0, 12.0)):
        detector = told(error * lag)
        heights, shares_ = vertical(
            detector, lambda t, c: t > 0.5, height=2.0, gain=gain, seconds=6.0, lag=lag, noise=0.02, delay=7, seed=seed
        )
        assert not detector.landed and shares_.min() >= RESTING_SHARE
        assert heights.min() > 1.0


def in_the_air(law: TouchdownLaw, memory: Touch, start: float, thrust: Callable[[float], float], end: float) -> Touch:
    """At rest, whatever the rotors give."""
    for k in range(round(start / DT), round(end / DT)):
        memory = law(memory, k * DT, DT, False, thrust(k * DT))
    return memory


def test_what_holds_the_vehicle_is_found_as_its_equation_says() -> None:
    """A battery that sags by a fifth at once: the error decays critically damped, at 1 / (2 tau)."""
    law = TouchdownLaw()
    memory = in_the_air(law, law.start(), 0.0, lambda t: 10.0, 1.0)
    assert memory.air_thrust == pytest.approx(10.0)
    for end in (1.3, 1.6, 2.2):
        x = (end - 1.0) / (2 * SUPPORT_TIME)
        later = in_the_air(law, memory, 1.0, lambda t: 12.0, end)
        assert math.log(later.air_thrust / 12.0) == pytest.approx(math.log(10 / 12) * (1 + x) * math.exp(-x), abs=0.01)


@pytest.mark.parametrize("idle", [1e-6, 0.2, 2.0])
@pytest.mark.parametrize("stuck", [0.7, 1.5, 3.0])
def test_rotors_that_idled_on_the_ground_are_forgotten_soon_after_take_off(idle: float, stuck: float) -> None:
    """No flag there; and then one is stuck in the air."""
    law, weight, rise = TouchdownLaw(rotor_lag=LAG), 10.0, 0.6
    memory, z, v, T = in_the_air(law, law.start(), 0.0, lambda t: idle, 1.0), 0.0, 0.0, idle
    for k in range(round(1.0 / DT), round(6.0 / DT)):
        target = min(rise * (k * DT - 1.0), 1.5)
        rate = rise if target < 1.5 else 0.0
        asked = max(weight * (1.0 + (6.0 * (rate - v) + 9.0 * (target - z)) / 9.81), 0.0)
        memory = law(memory, k * DT, DT, k * DT > 1.0 + stuck, asked, v)
        T += (1 - np.exp(-DT / LAG)) * (memory.share * asked - T)
        v += DT * 9.81 * (T / weight - 1.0)
        z, v = (0.0, max(v, 0.0)) if z + DT * v <= 0.0 else (z + DT * v, v)
        assert not memory.landed


def test_numbers_that_are_missing_move_nothing_that_is_remembered() -> None:
    law = TouchdownLaw(rotor_lag=LAG)
    whole = in_the_air(law, law.start(), 0.0, lambda t: 10.0, 1.0)
    for thrust, climb in ((math.nan, 0.0), (10.0, math.nan)):
        memory = whole
        for k in range(240, 300):
            memory = law(memory, k * DT, DT, False, thrust, climb)
        assert (memory.air_thrust, memory.given) == pytest.approx((10.0, 10.0), rel=1e-3)
        assert memory.q == pytest.approx(0.0, abs=0.01)


@pytest.mark.parametrize("speed", [-2.0, 2.0])
def test_a_flag_that_is_stuck_through_a_gap_lands_nothing(speed: float) -> None:
    """The vehicle has another speed where the state comes back."""
    detector, v, T = told(), 0.0, 10.0
    for k in [*range(300), *range(540, 800)]:
        v = speed if k == 540 else v
        share = detector(k * DT, k >= 290, 10.0, v)
        T += (1 - np.exp(-DT / LAG)) * (share * 10.0 - T)
        v += DT * 9.81 * (T / 10.0 - 1.0)
        assert not detector.landed


def test_what_was_taken_away_on_the_ground_is_back_a_quarter_of_a_second_after_it() -> None:
    detector, stood = told(), 0.1

    def share(k: int) -> float:
        t = k * DT
        contact = 1.0 <= t < 1.0 + stood
        return float(detector(t, contact, 10.0, -0.3 if t < 1.0 else 0.0))

    found = np.array([share(k) for k in range(480)])
    assert found.min() == pytest.approx(LAID_SHARE)
    left = round((1.0 + stood) / DT)
    assert found[left + round(0.06 / DT)] >= RESTING_SHARE
    assert found[left + round(0.26 / DT)] == 1.0


@pytest.mark.parametrize("cushion", [0.2, 0.35])
@pytest.mark.parametrize("lag", [0.03, 0.057, 0.12])
def test_where_the_ground_carries_less_thrust_is_left_so_that_a_cushion_lets_nobody_hop(
    lag: float, cushion: float
) -> None:
    detector = told(lag)
    heights, shares_ = vertical(detector, lambda t, c: c, height=0.3, speed=0.3, lag=lag, cushion=cushion)
    down, off = int(np.argmax(heights <= 1e-3)), int(np.argmax(shares_ == 0.0))
    assert detector.landed and 0.19 < (off - down) * DT < 0.3
    assert shares_[down:off].min() == pytest.approx(LAID_SHARE)
    assert heights[down:].max() < 1e-3


def test_a_vehicle_whose_flag_is_stuck_still_lands_when_it_stands() -> None:
    detector = told()
    heights, shares_ = vertical(detector, lambda t, c: t > 0.2, height=0.5, speed=0.3, seconds=6.0)
    assert detector.landed
    assert heights[int(np.argmax(shares_ == 0.0))] < 1e-3  # not before it is down


@pytest.mark.parametrize("missing", [0.1, 0.3])
def test_a_flag_that_drops_out_on_rough_ground_still_lands(missing: float) -> None:
    rng = np.random.default_rng(3)
    detector = told()
    heights, _ = vertical(detector, lambda t, c: c and bool(rng.random() > missing), height=0.3, speed=0.3, seconds=3.0)
    assert detector.landed and heights[-1] == 0.0


def test_one_who_lies_on_his_side_stops_his_motors_at_once() -> None:
    detector = told()
    for k in range(100):
        share = detector(k * DT, k >= 50, 14.0, 0.0, np.cos(np.deg2rad(70.0)))
    assert detector.landed and share == 0.0
    aloft = told()
    for k in range(200):
        share = aloft(k * DT, False, 14.0, 0.0, np.cos(np.deg2rad(70.0)))
    assert not aloft.landed and share == 1.0
    leaning = told()
    for k in range(40):
        leaning(k * DT, True, 14.0, 0.0, np.cos(np.deg2rad(50.0)))
    assert not leaning.landed


def test_a_batch_in_either_library_is_so_many_single_vehicles() -> None:
    rng = np.random.default_rng(0)
    steps, n = 240, 24
    contact = np.cumsum(rng.random((steps, n)) < 0.05, axis=0) % 2 == 1
    contact ^= rng.random((steps, n)) < 0.03
    thrust, climb = 14.0 + rng.normal(size=(steps, n)), rng.normal(scale=0.2, size=(steps, n))
    upright = np.cos(np.deg2rad(np.where(np.arange(n) % 6 == 0, 65.0, 5.0)))
    single = [told() for _ in range(n)]
    batch, tensors = told(), told()
    batch.reset(np.zeros(n))
    tensors.reset(torch.zeros(n, dtype=torch.float64))
    for k in range(steps):
        t = k * DT
        expected = [
            d(t, bool(contact[k, i]), float(thrust[k, i]), float(climb[k, i]), float(upright[i]))
            for i, d in enumerate(single)
        ]
        numpy = batch(t, contact[k], thrust[k], climb[k], upright)
        pytorch = tensors(t, *(torch.tensor(a) for a in (contact[k], thrust[k], climb[k], upright)))
        np.testing.assert_allclose(numpy, expected, atol=1e-12)
        np.testing.assert_allclose(pytorch.numpy(), expected, atol=1e-12)
    assert 0 < sum(bool(d.landed) for d in single) < n
    assert np.array_equal(batch.landed, [d.landed for d in single])
