"""Newtons to the autopilot's fraction: hover, battery, curve, and calibrations that are refused."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq

from firmware_bridge.thrust import HoverSamples, ThrustMap, calibrate, thrust_map_from_json
from neural_lander.errors import UserError
from neural_lander.vehicle import GRAVITY, load_vehicle

VEHICLE = load_vehicle("intel-aero")
BELIEVED = ThrustMap(0.45, VEHICLE.weight, 15.5, 0.65, 0.5)

shares = st.floats(0.05, 1.0)
maps = st.builds(
    ThrustMap,
    hover_fraction=st.floats(0.1, 0.9),
    hover_thrust=st.floats(0.1, 100.0),
    hover_voltage=st.none() | st.floats(3.0, 50.0),
    autopilot_curve=st.floats(0.0, 1.0),
    motor_curve=st.floats(0.0, 1.0),
    voltage_exponent=st.floats(0.0, 3.0),
)


@given(maps, shares, st.none() | st.floats(3.0, 50.0))
def test_there_and_back(thrust_map, fraction, voltage) -> None:
    newtons = thrust_map.thrust(fraction, voltage)
    assert thrust_map.fraction(newtons, voltage) == pytest.approx(fraction, rel=1e-9)


@given(maps)
def test_hover_carries_the_weight_and_no_fraction_carries_nothing(thrust_map) -> None:
    assert thrust_map.thrust(thrust_map.hover_fraction, thrust_map.hover_voltage) == pytest.approx(
        thrust_map.hover_thrust
    )
    assert thrust_map.thrust(0.0) == 0.0 and thrust_map.fraction(0.0) == 0.0


@given(maps, shares, shares)
def test_more_fraction_is_more_thrust(thrust_map, a, b) -> None:
    assert (thrust_map.thrust(a) < thrust_map.thrust(b)) == (a < b) or a == pytest.approx(b)


def test_where_the_autopilots_curve_is_right_thrust_is_proportional() -> None:
    thrust_map = ThrustMap(0.4, 10.0, autopilot_curve=0.65, motor_curve=0.65)
    for fraction in (0.1, 0.4, 0.9):
        assert thrust_map.thrust(fraction) == pytest.approx(25 * fraction)


def test_against_the_two_curves_written_out_and_solved_by_scipy() -> None:
    """ArduPilot's MOT_THST_EXPO: (1 - k) s + k s^2 = f; motors: T proportional to (1 - a) s + a s^2."""
    k, a, hover = 0.65, 0.3, 0.42
    thrust_map = ThrustMap(hover, 14.0, 16.0, k, a, voltage_exponent=1.5)

    def motors(fraction):
        signal = brentq(lambda s: (1 - k) * s + k * s * s - fraction, 0, 2, xtol=1e-14)
        return (1 - a) * signal + a * signal * signal

    for fraction, voltage in ((0.2, 16.0), (0.42, 14.0), (0.8, 15.0)):
        expected = 14.0 * motors(fraction) / motors(hover) * (voltage / 16.0) ** 1.5
        assert thrust_map.thrust(fraction, voltage) == pytest.approx(expected, rel=1e-10)


def test_a_sagging_battery_takes_more_fraction_only_where_nobody_else_corrects() -> None:
    thrust_map = ThrustMap(0.5, 10.0, 16.0)
    assert thrust_map.fraction(10.0, 14.0) == pytest.approx(0.5 * (16 / 14) ** 2)
    assert thrust_map.fraction(10.0) == 0.5
    for silent in ({"voltage_exponent": 0.0}, {"hover_voltage": None}):
        assert dataclasses.replace(thrust_map, **silent).fraction(10.0, 14.0) == 0.5


@pytest.mark.parametrize(
    "changes",
    [
        {"hover_fraction": 0.0},
        {"hover_fraction": 1.2},
        {"hover_fraction": math.nan},
        {"hover_thrust": -1.0},
        {"hover_voltage": 0.0},
        {"autopilot_curve": 1.5},
        {"motor_curve": -0.5},
        {"voltage_exponent": -1.0},
    ],
)
def test_what_no_vehicle_has_is_refused_by_name(changes) -> None:
    with pytest.raises(UserError, match=next(iter(changes))):
        dataclasses.replace(ThrustMap(0.5, 10.0, 16.0), **changes)


def hover(seconds=8.0, rate=50, **changes):
    n, rng = round(seconds * rate), np.random.default_rng(5)
    force = np.array([0.0, 0.0, GRAVITY]) + rng.normal(scale=0.3, size=(n, 3))
    samples = HoverSamples(
        t=np.arange(n) / rate,
        fraction=0.52 + rng.normal(scale=0.01, size=n),
        specific_force=force,
        velocity=rng.normal(scale=0.05, size=(n, 3)),
        height=np.full(n, 1.3),
        voltage=np.linspace(15.2, 15.0, n),
    )
    return dataclasses.replace(samples, **changes)


def test_a_hover_calibrates() -> None:
    found = calibrate(hover(), VEHICLE, BELIEVED)
    assert found.hover_fraction == pytest.approx(0.52, abs=0.002)
    assert found.hover_voltage == pytest.approx(15.1)
    assert found.hover_thrust == pytest.approx(VEHICLE.weight, rel=0.01)
    assert (found.autopilot_curve, found.motor_curve) == (0.65, 0.5)


def test_a_slow_climb_that_gathers_speed_is_taken_into_account() -> None:
    samples = hover()
    rising = calibrate(
        dataclasses.replace(samples, specific_force=samples.specific_force + [0, 0, 0.1]), VEHICLE, BELIEVED
    )
    still = calibrate(samples, VEHICLE, BELIEVED)
    assert rising.hover_thrust - still.hover_thrust == pytest.approx(0.1 * VEHICLE.mass)


def test_without_a_voltage_none_is_corrected_for_anew() -> None:
    assert calibrate(hover(voltage=None), VEHICLE, BELIEVED).hover_voltage is None


N = 400


@pytest.mark.parametrize(
    "changes, reason",
    [
        ({"specific_force": np.tile([0.0, 0.0, 1.05 * GRAVITY], (N, 1))}, "mean vertical acceleration"),
        ({"specific_force": np.tile([0.0, 0.0, GRAVITY], (N, 1)) * np.linspace(0.6, 1.4, N)[:, None]}, "swings"),
        ({"specific_force": np.tile([1.5, 0.0, GRAVITY], (N, 1))}, "tilt"),
        ({"velocity": np.tile([0.5, 0.0, 0.0], (N, 1))}, "speed"),
        ({"fraction": np.linspace(0.4, 0.6, N)}, "fraction swings"),
        ({"height": np.linspace(0.5, 1.5, N)}, "height"),
        ({"t": np.linspace(0, 1.0, N)}, "span 1.0 s"),
        ({"fraction": np.where(np.arange(N) == 7, np.nan, 0.5)}, "not finite"),
        ({"fraction": np.full(N, 1.3)}, "hover_fraction"),
    ],
)
def test_what_is_no_hover_is_refused(changes, reason) -> None:
    with pytest.raises(UserError, match=reason):
        calibrate(hover(**changes), VEHICLE, BELIEVED)


def test_nothing_is_refused_as_nothing() -> None:
    empty = np.empty(0)
    with pytest.raises(UserError, match="span 0.0 s"):
        calibrate(HoverSamples(empty, empty, np.empty((0, 3)), np.empty((0, 3)), empty), VEHICLE, BELIEVED)


@given(maps)
def test_is_kept_between_flights(thrust_map) -> None:
    assert thrust_map_from_json(thrust_map.to_json(), "here") == thrust_map


@pytest.mark.parametrize(
    "change, reason",
    [
        (("hover_fraction", "hover"), "exactly the keys"),
        (("0.45", "NaN"), "hover_fraction"),
        (("0.45", '"much"'), "must be a number"),
        (("0.45", "true"), "must be a number"),
        (("0.45", "null"), "must be a number"),
        (("0.45", "-0.45"), "hover_fraction"),
        (("{", "["), "not valid JSON"),
    ],
)
def test_a_file_that_was_not_written_so_is_refused(change, reason) -> None:
    with pytest.raises(UserError, match=reason):
        thrust_map_from_json(BELIEVED.to_json().replace(*change), "map.json")
