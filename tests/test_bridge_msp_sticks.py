"""Stick curves: the firmwares' formulas solved by SciPy, and replies written out by hand."""

import math
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq

from firmware_bridge.msp.sticks import (
    StickCurve,
    Sticks,
    betaflight_sticks,
    inav_sticks,
    throttle_is_straight,
)

RX_CONFIG = struct.pack("<BHHH", 0, 1900, 1500, 1050)
NO_DEADBAND = bytes(5)


def tuning(
    rates: tuple[int, int, int] = (7, 67, 0), yaw: tuple[int, int, int] = (7, 67, 0), kind: int = 3, limit: int = 1998
) -> bytes:
    """MSP_RC_TUNING of Betaflight 4.5 from (rc rate, super rate, expo)."""
    (rc, full, expo), (yaw_rc, yaw_full, yaw_expo) = rates, yaw
    head = (rc, expo, full, full, yaw_full, 0, 50, 0, 0, 0, yaw_expo, yaw_rc, rc, expo, 0, 100)
    return bytes(head) + struct.pack("<3HB", limit, limit, limit, kind)


def replies(rc_tuning: bytes, angle_limit: int = 60, deadband: bytes = NO_DEADBAND) -> dict[str, bytes]:
    return {
        "rc_tuning": rc_tuning,
        "deadband": deadband,
        "rx_config": RX_CONFIG,
        "pid_advanced": bytes(17) + bytes((angle_limit,)) + bytes(20),
    }


def actual(x: float, centre: float, full: float, expo: float) -> float:
    """Betaflight 4.5, rates of type ACTUAL, in deg/s; written out as in its documentation."""
    return centre * x + (full - centre) * abs(x) * (expo * x**5 + (1 - expo) * x)


@pytest.mark.parametrize("centre, full, expo", [(7, 67, 0), (20, 80, 54), (30, 30, 100)])
def test_an_angle_is_asked_for_through_the_rate_curve_of_betaflight_4_5(centre: int, full: int, expo: int) -> None:
    sticks = betaflight_sticks(46, replies(tuning((centre, full, expo)), angle_limit=55))
    for angle in np.radians([-40.0, -5.0, 0.5, 12.0, 54.0]):
        share = abs(math.degrees(angle)) / 55
        deflection = brentq(lambda x, w=share: actual(x, 10 * centre, 10 * full, expo / 100) / (10 * full) - w, 0, 1)
        assert sticks.roll.pulse(angle, 1500) == pytest.approx(1500 + math.copysign(500 * deflection, angle), abs=1)


def test_before_4_5_the_angle_is_proportional_to_the_stick() -> None:
    sticks = betaflight_sticks(45, replies(tuning()))
    assert sticks.pitch.pulse(math.radians(30), 1500) == 1750


def test_betaflights_older_rates_have_their_known_full_rates() -> None:
    # rc rate 1, super rate 0.7: 200 / (1 - 0.7) deg/s, the default of versions before 4.3
    sticks = betaflight_sticks(46, replies(tuning((100, 70, 0), (100, 70, 0), kind=0)))
    assert math.degrees(sticks.yaw.effect[-1]) == pytest.approx(200 / 0.3)
    assert math.degrees(sticks.yaw.effect[250]) == pytest.approx(100 / 0.65)
    # above 2 the rate rises faster: 2.2 means 2 + 0.2 (1 + 14.54)
    steep = betaflight_sticks(46, replies(tuning(yaw=(220, 0, 0), kind=0)))
    assert math.degrees(steep.yaw.effect[-1]) == pytest.approx(200 * (2.2 + 14.54 * 0.2))


def test_a_rate_limit_cuts_the_yaw_rate_that_can_be_asked_for() -> None:
    sticks = betaflight_sticks(46, replies(tuning(limit=300)))
    assert math.degrees(sticks.yaw.effect[-1]) == 300


@pytest.mark.parametrize("kind", [1, 2, 4])
def test_rates_of_other_types_are_not_guessed(kind: int) -> None:
    with pytest.raises(ValueError, match=f"rates_type = {kind}"):
        betaflight_sticks(46, replies(tuning(kind=kind)))


def test_inavs_expo_bends_the_angle() -> None:
    sticks = inav_sticks(
        {
            "rc_tuning": bytes((100, 70, 20, 20, 20, 0, 50, 0, 0, 0, 20)),
            "deadband": NO_DEADBAND,
            "rx_config": RX_CONFIG,
            "max_roll": struct.pack("<H", 300),
            "max_pitch": struct.pack("<H", 350),
        }
    )
    # a quarter of the stick, in INAV's integers: (2500 + 70 (1.25^2 - 25)) 1.25 / 25 of 500
    bent = (2500 + 70 * (1.25**2 - 25)) * 1.25 / 25 / 500
    assert sticks.roll.asked(1625, 1500) == pytest.approx(math.radians(30) * bent)
    assert sticks.pitch.effect[-1] == pytest.approx(math.radians(35))
    assert math.degrees(sticks.yaw.effect[-1]) == pytest.approx(200)


increasing = st.tuples(st.integers(1, 100), st.integers(0, 100), st.integers(0, 100))


@given(increasing, st.integers(0, 32), st.floats(-1, 1))
def test_what_a_pulse_asks_for_is_what_was_wanted_to_half_a_microsecond(
    rates: tuple[int, int, int], deadband: int, share: float
) -> None:
    curve = betaflight_sticks(46, replies(tuning(rates), deadband=bytes((deadband, 0, 0, 0, 0)))).roll
    wanted = share * float(curve.effect[-1])
    steepest = float(np.diff(curve.effect).max()) * 500 / (500 - deadband)  # rad per us
    got = curve.asked(curve.pulse(wanted, 1500), 1500)
    assert abs(got - wanted) <= 0.5 * steepest + 1e-9 or curve.pulse(wanted, 1500) == 1500


def test_a_deadband_is_stepped_over() -> None:
    curve = StickCurve(np.linspace(0, 1, 501), deadband=20)
    assert curve.pulse(0.0, 1500) == 1500
    assert curve.pulse(0.01, 1500) == 1525  # 20 us, and a hundredth of the 480 us behind it
    assert curve.pulse(-1.0, 1500) == 1000
    assert curve.asked(1515, 1500) == 0


def test_what_is_beyond_reach_becomes_the_full_stick() -> None:
    curve = betaflight_sticks(46, replies(tuning())).roll
    assert (curve.pulse(math.radians(80), 1500), curve.pulse(-3.0, 1500)) == (2000, 1000)


def test_a_frame_holds_roll_pitch_throttle_and_yaw_and_then_the_switches() -> None:
    line = StickCurve(np.linspace(0, 1, 501))
    sticks = Sticks(line, line, line)
    frame = sticks.frame(0.2, -0.4, 0.6, 0.5, [1100, 1900] * 6)
    assert frame[:4] == [1600, 1300, 1525, 1200]  # a turn to the left is a yaw stick to the left
    assert len(frame) == 16 and frame[4:6] == [1100, 1900]


def test_throttle_begins_where_the_firmware_begins_and_none_is_below() -> None:
    line = StickCurve(np.linspace(0, 1, 501))
    sticks = Sticks(line, line, line, lowest=1050)
    assert [sticks.throttle(f) for f in (0.0, 1e-6, 0.5, 1.0, 3.0, math.nan, -1.0)] == [
        1000, 1050, 1525, 2000, 2000, 1000, 1000,
    ]  # fmt: skip
    for fraction in np.linspace(0.01, 1, 30):
        assert sticks.fraction(sticks.throttle(float(fraction))) == pytest.approx(fraction, abs=1e-3)


def test_a_bent_or_limited_throttle_is_noticed() -> None:
    straight = tuning()
    bent = straight[:7] + b"\x14" + straight[8:]
    limited = straight[:14] + b"\x01\x50" + straight[16:]
    assert throttle_is_straight(straight) and not throttle_is_straight(bent) and not throttle_is_straight(limited)
