"""Identification against flights whose lag, scale, damping and sensor errors are known."""

from typing import Any

import numpy as np
import pytest
from closed_loop_flight import closed_loop_flight
from learning_flights import flight

from neural_lander.flightlog import FlightLog
from neural_lander.residual.identification.accelerometer import accelerometer_report
from neural_lander.residual.identification.blocks import BlockMoments, pooled, resamples
from neural_lander.residual.identification.lag import LagFit, fit_lag, identify_lag
from neural_lander.residual.identification.signals import FlightSignals, flight_signals
from neural_lander.residual.identification.thrust_scale import (
    ScaleFit,
    identify_thrust_scale,
    over_flights,
    profile_snippet,
)
from neural_lander.residual.samples import ResidualSamples, residual_samples
from neural_lander.vehicle import load_vehicle, parse_vehicle

VEHICLE = load_vehicle("intel-aero")


def prepared(log: FlightLog) -> tuple[FlightSignals, ResidualSamples]:
    samples = residual_samples(log, VEHICLE)
    return flight_signals(log, samples, VEHICLE), samples


def lag_of(**changes: Any) -> tuple[LagFit, dict[str, Any]]:
    fit, report = identify_lag(prepared(closed_loop_flight(VEHICLE, **changes))[0], VEHICLE)
    assert fit is not None
    return fit, report


@pytest.mark.parametrize("time_constant, delay", [(0.03, 0.0), (0.06, 0.02), (0.06, 0.05)])
def test_the_total_lag_is_found_in_closed_loop(time_constant: float, delay: float) -> None:
    fit, report = lag_of(time_constant=time_constant, delay=delay)
    assert report["identified"]
    assert report["instrument"] == "reference"
    assert fit.total == pytest.approx(time_constant + delay, abs=0.015)
    low, high = fit.total_interval
    assert low - 0.003 <= time_constant + delay <= high + 0.003
    assert fit.damping == pytest.approx(0.5, abs=4 * fit.damping_error)
    assert report["profile_time_constant_s"] == VEHICLE.motor_time_constant


@pytest.mark.slow
def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    inside = []
    for seed in range(40):
        low, high = lag_of(seed=seed)[0].total_interval
        inside.append(low <= 0.08 <= high)
    assert sum(inside) >= 33  # of 40 at 95 %; fewer has odds of 1 in 300


@pytest.mark.slow
def test_a_plain_regression_takes_the_feedback_for_the_motors_and_the_reference_does_not() -> None:
    signals, _ = prepared(closed_loop_flight(VEHICLE, disturbance=0.06, motion=0.15))
    plain, by_reference = (fit_lag(signals, VEHICLE, instrument) for instrument in ("thrust", "reference"))
    truth = 0.08
    assert plain.total_interval[0] > truth + 0.02
    assert by_reference.total_interval[0] < truth < by_reference.total_interval[1]
    assert abs(by_reference.total - truth) < 0.03


@pytest.mark.slow
def test_dither_tells_time_constant_from_delay_and_slow_motion_does_not() -> None:
    signals, _ = prepared(closed_loop_flight(VEHICLE, dither=0.1, disturbance=0.005, position_reference=None))
    fit, report = identify_lag(signals, VEHICLE)
    assert fit is not None
    assert fit.split
    assert fit.time_constant == pytest.approx(0.06, abs=0.011)
    assert fit.delay == pytest.approx(0.02, abs=0.011)
    assert "feedback" in report["remark"]
    slow, said = lag_of()
    assert not slow.split
    assert said["time_constant_s"] is None
    assert said["time_constant_and_delay"].startswith("only their sum")


def test_a_still_flight_says_that_nothing_can_be_identified() -> None:
    log = closed_loop_flight(VEHICLE, motion=1e-4, disturbance=1e-4)
    fit, report = identify_lag(prepared(log)[0], VEHICLE)
    assert fit is None
    assert not report["identified"]
    assert "not identifiable" in report["reason"]


def test_a_flight_that_only_answers_disturbances_is_not_identified() -> None:
    log = closed_loop_flight(VEHICLE, motion=0.0005, disturbance=0.02, position_reference=None)
    _, report = identify_lag(prepared(log)[0], VEHICLE)
    assert not report["identified"] or "feedback" in report["remark"]


def test_a_short_flight_is_named_as_the_reason() -> None:
    fit, report = identify_lag(prepared(closed_loop_flight(VEHICLE, seconds=8.0))[0], VEHICLE)
    assert fit is None
    assert "blocks of 2 s" in report["reason"]


def test_measured_rotor_speed_has_no_lag() -> None:
    log = flight(VEHICLE, 40.0, low_share=0.0, top=3.0)
    fit, report = identify_lag(prepared(log)[0], VEHICLE)
    assert fit is not None
    assert report["rotor_signal"] == "measured speed"
    assert fit.total < 0.005
    assert fit.scale == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize("scale, slope", [(0.92, 0.0), (1.05, 0.0), (1.0, 0.6)])
def test_thrust_scale_and_battery_slope_are_found(scale: float, slope: float) -> None:
    signals, _ = prepared(closed_loop_flight(VEHICLE, scale=scale, battery_slope=slope))
    lag, _ = identify_lag(signals, VEHICLE)
    fit = identify_thrust_scale(signals, VEHICLE, lag)
    assert fit is not None
    assert fit.battery_slope is not None
    assert fit.battery_slope_error is not None
    assert fit.scale == pytest.approx(scale, abs=3 * fit.scale_error)
    assert fit.scale_error < 0.03
    assert fit.battery_slope == pytest.approx(slope, abs=3 * fit.battery_slope_error + 0.02)
    assert fit.hover_ratio == pytest.approx(scale, abs=0.01)
    assert fit.bias == pytest.approx((1 - 1 / scale) * VEHICLE.weight, abs=0.02 * VEHICLE.weight)


def test_too_little_flight_out_of_ground_effect_gives_no_scale() -> None:
    signals, _ = prepared(closed_loop_flight(VEHICLE, seconds=8.0))
    assert identify_thrust_scale(signals, VEHICLE, None) is None


def scale_fit(bias: float, battery: float) -> ScaleFit:
    return ScaleFit("x", bias, 0.01, 1.0 + bias / VEHICLE.weight, 1.0, 0.01, 0.0, 0.1, battery, True)


def test_the_share_of_bias_that_voltage_explains_is_that_of_a_regression() -> None:
    rng = np.random.default_rng(0)
    volts = rng.uniform(14.8, 16.4, 12)
    bias = 0.3 - 0.4 * (volts - volts.mean()) + 0.05 * rng.normal(size=12)
    found = over_flights([scale_fit(b, v) for b, v in zip(bias, volts, strict=True)])
    assert found is not None
    slope, offset = np.polyfit(volts, bias, 1)
    rest = bias - slope * volts - offset
    between = found["between_flights"]
    assert between["battery_slope_N_V"] == pytest.approx(slope)
    assert between["share_of_bias_explained_with_battery"] == pytest.approx(1 - np.mean(rest**2) / np.mean(bias**2))
    assert abs(between["battery_slope_N_V"] + 0.4) < 3 * between["battery_slope_se_N_V"]
    assert found["share_of_bias_explained_by_one_offset"] == pytest.approx(1 - bias.var() / np.mean(bias**2))


def test_no_flight_has_no_common_scale() -> None:
    assert over_flights([]) is None


@pytest.mark.parametrize("name", ["intel-aero", "crazyflie-21"])
def test_the_snippet_is_a_profile_that_carries_the_identified_values(name: str) -> None:
    vehicle = load_vehicle(name)
    lines = profile_snippet(vehicle, 1.05, 0.08, 3)
    head, _, curve = lines.partition("[motor_curve]\n")
    kept = []
    for line in vehicle.text.splitlines():
        key = line.split(" =")[0]
        replaced = [new for new in (head + curve).splitlines() if new.split(" =")[0] == key]
        kept += replaced or [line]
    changed = parse_vehicle("\n".join(kept), "snippet")
    assert changed.motor_time_constant == 0.08
    if vehicle.motor_curve is None:
        assert changed.thrust_coefficient == pytest.approx(1.05 * vehicle.thrust_coefficient, rel=1e-3)
    else:
        pwm, volts = np.full(4, 0.7), np.float64(3.8)
        assert changed.motor_curve is not None
        expected = 1.05 * vehicle.motor_curve.thrust(pwm, volts)
        np.testing.assert_allclose(changed.motor_curve.thrust(pwm, volts), expected, rtol=1e-5)


def test_an_accelerometer_error_is_told_from_a_force() -> None:
    log = closed_loop_flight(VEHICLE, accelerometer_bias=(0.3, -0.1, 0.0))
    report = accelerometer_report(*prepared(log), VEHICLE)
    np.testing.assert_allclose(report["error_world_m_s2"], [0.3, -0.1, 0.0], atol=0.02)
    assert report["share_of_lateral_bias_explained"] > 0.98
    assert report["error_as_tilt_deg"] == pytest.approx(np.degrees(np.hypot(0.3, 0.1) / 9.81), rel=0.05)
    assert "cannot be told apart" in report["remark"]


def test_yawing_tells_the_bias_of_the_accelerometer_from_a_tilt_of_the_world() -> None:
    log = closed_loop_flight(VEHICLE, accelerometer_bias=(0.3, -0.1, 0.0), tilt_error=(0.0, 0.2), yaw_rate=0.3)
    report = accelerometer_report(*prepared(log), VEHICLE)
    np.testing.assert_allclose(report["accelerometer_bias_body_m_s2"], [0.3, -0.1, 0.0], atol=0.02)
    np.testing.assert_allclose(report["error_fixed_in_world_m_s2"], [0.0, 0.2], atol=0.02)


def test_without_an_accelerometer_there_is_nothing_to_compare() -> None:
    log = closed_loop_flight(VEHICLE, specific_force=None)
    report = accelerometer_report(*prepared(log), VEHICLE)
    assert "differentiated" in report["reason"]
    assert "error_world_m_s2" not in report


def test_projection_is_two_stage_least_squares() -> None:
    rng = np.random.default_rng(0)
    z, hidden = rng.normal(size=(400, 3)), rng.normal(size=400)
    x = z @ [1.0, -0.5, 0.3] + hidden
    y = 2.0 * x - 1.5 * hidden
    moments = BlockMoments.of(z, np.column_stack([y, x]), np.arange(400) // 40)
    P = moments.projected(np.ones(len(moments)))
    stage_one = z @ np.linalg.lstsq(z, x, rcond=None)[0]
    expected = (stage_one @ y) / (stage_one @ x)
    assert (P[:, 1] @ P[:, 0]) / (P[:, 1] @ P[:, 1]) == pytest.approx(expected)
    assert expected == pytest.approx(2.0, abs=0.2)
    weights = resamples(len(moments))
    assert weights[0].tolist() == [1.0] * 10
    assert (weights.sum(axis=1) == 10).all()


def test_pooling_flights_is_the_random_effects_estimate() -> None:
    values, errors = np.array([1.0, 1.4, 0.7, 2.1]), np.array([0.1, 0.2, 0.15, 0.3])
    w = errors**-2
    fixed = np.average(values, weights=w)
    q = float(np.sum(w * (values - fixed) ** 2))
    between = (q - 3) / (w.sum() - (w**2).sum() / w.sum())
    star = 1 / (errors**2 + between)
    assert pooled(values, errors) == pytest.approx((np.average(values, weights=star), star.sum() ** -0.5, between**0.5))
    assert pooled(np.array([1.0, 1.01]), np.array([0.1, 0.1])) == pytest.approx((1.005, 0.1 / 2**0.5, 0.0))
    assert pooled(np.array([3.0]), np.array([0.2])) == pytest.approx((3.0, 0.2, 0.0))
