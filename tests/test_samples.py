"""Residual samples: the label's definition, thrust with lag, masks, and logs that cannot be what they say."""

from pathlib import Path

import numpy as np
import pytest
from learning_flights import flight, true_residual
from scipy.signal import lfilter

from neural_lander.errors import NeuralLanderWarning, UserError
from neural_lander.flightlog import FlightLog, read_log
from neural_lander.flightlog.resampling import first_order_lag
from neural_lander.residual.plausibility import check_units
from neural_lander.residual.quality.coverage import covered
from neural_lander.residual.quality.flight_quality import contact
from neural_lander.residual.samples import MIN_FLIGHT_THRUST, residual_samples
from neural_lander.rotation import quaternion_exp
from neural_lander.rotor_order import AUTOPILOT_X, CRAZYFLIE, as_json
from neural_lander.vehicle import Vehicle, load_vehicle

DATA = Path(__file__).parents[2] / "shared/data/crazyflie_near_ground"
VEHICLE = load_vehicle("intel-aero")


def changed(log: FlightLog, **fields: object) -> FlightLog:
    columns = {name: getattr(log, name) for name in log.__dataclass_fields__ if name != "warnings"}
    return FlightLog.from_arrays(**(columns | fields))


def test_the_label_is_the_force_that_acted() -> None:
    log = flight(VEHICLE, 20.0, noise=0.0)
    samples = residual_samples(log, VEHICLE)
    assert log.height is not None
    thrust = samples.rotor_thrust.sum(axis=1)
    truth = true_residual(np.interp(samples.t, log.t, log.height), samples.velocity, thrust)
    np.testing.assert_allclose(samples.label, truth, atol=1e-9)
    assert samples.acceleration == "logged"


def test_differentiated_velocity_gives_the_same_force_without_lag() -> None:
    log = flight(VEHICLE, 30.0, noise=0.0, tilt=1e-3)
    with_a = residual_samples(log, VEHICLE)
    without = residual_samples(changed(log, specific_force=None), VEHICLE)
    inner = with_a.usable & (with_a.t > 1.0) & (with_a.t < 29.0) & (with_a.height > 0.02)  # bounces are no free flight
    error = (without.label - with_a.label)[inner, 2]
    assert np.sqrt(np.mean(error**2)) < 0.08  # N; one sample of misalignment alone gives 0.2
    assert "8 Hz" in without.acceleration


@pytest.mark.parametrize("vehicle, scored", [("intel-aero", False), ("crazyflie-21", True)])
def test_a_hole_in_the_log_is_not_scored_but_where_the_data_set_counts_it(vehicle: str, scored: bool) -> None:
    """The rule of the two vehicles' data set knows no holes; theirs are shorter than half a second."""
    log = flight(load_vehicle(vehicle), 20.0)
    for length in (0.4, 3.0):
        samples = residual_samples(_cut_out(log, 10.0, length), load_vehicle(vehicle))
        hole = (samples.t > 10.02) & (samples.t < 10.0 + length - 0.02)
        assert not samples.usable[hole].any()
        assert samples.scored[hole].any() == (scored and length < 1.0)


def order_of(log: FlightLog, vehicle: Vehicle) -> np.ndarray:
    """Mean thrust of each rotor of the profile."""
    return np.asarray(residual_samples(log, vehicle).rotor_thrust.mean(axis=0))


@pytest.mark.parametrize("name", ["crazyflie-parrot", "crazyflie-21"])
def test_a_flight_is_the_same_in_the_order_of_an_autopilot_and_in_the_profiles(name: str) -> None:
    vehicle = load_vehicle(name)
    log = flight(vehicle, 12.0)
    assert log.rotor_speed is not None
    uneven = log.rotor_speed * np.array([0.97, 1.0, 1.01, 1.02])
    ours = changed(log, rotor_speed=uneven)
    theirs = np.empty_like(uneven)
    theirs[:, [0, 3, 1, 2]] = uneven  # front right, rear left, front left, rear right
    autopilot = changed(ours, rotor_speed=theirs, metadata={**log.metadata, "rotor_quadrants": as_json(AUTOPILOT_X)})
    np.testing.assert_allclose(order_of(autopilot, vehicle), order_of(ours, vehicle), rtol=1e-12)
    itself = changed(ours, metadata={**log.metadata, "rotor_quadrants": as_json(CRAZYFLIE)})
    np.testing.assert_allclose(order_of(itself, vehicle), order_of(ours, vehicle), rtol=1e-12)


def test_rotors_that_cannot_be_told_apart_are_taken_as_they_come_and_that_is_said() -> None:
    log = flight(VEHICLE, 12.0)
    unknown = changed(log, metadata={**log.metadata, "rotor_quadrants": None})
    with pytest.warns(
        NeuralLanderWarning, match="which of its rotors is which: they are taken in the order of profile"
    ):
        found = order_of(unknown, VEHICLE)
    np.testing.assert_array_equal(found, order_of(log, VEHICLE))
    plus = VEHICLE.with_(rotor_positions=np.array([[0.2, 0, 0], [-0.2, 0, 0], [0, 0.2, 0], [0, -0.2, 0]]))
    known = changed(log, metadata={**log.metadata, "rotor_quadrants": as_json(AUTOPILOT_X)})
    with pytest.warns(NeuralLanderWarning, match="lie in no X"):
        order_of(known, plus)
    with pytest.raises(UserError, match="rotor_quadrants = 'X'.*four pairs of signs"):
        residual_samples(changed(log, metadata={**log.metadata, "rotor_quadrants": "X"}), VEHICLE)


def _cut_out(log: FlightLog, start: float, length: float) -> FlightLog:
    kept = (log.t < start) | (log.t > start + length)
    columns = {name: getattr(log, name) for name in log.__dataclass_fields__}
    return changed(log, **{n: v[kept] for n, v in columns.items() if isinstance(v, np.ndarray)})


def test_lag_is_the_first_order_response_that_the_data_set_defines() -> None:
    command = np.random.default_rng(0).uniform(0.0, 1.0, (300, 4))
    reference = lfilter([0.0, 0.16], [1.0, -0.84], command - command[0], axis=0) + command[0]
    np.testing.assert_allclose(first_order_lag(command, 0.01, -0.01 / np.log(0.84)), reference, atol=1e-12)


def test_commanded_speed_lags_and_measured_speed_does_not() -> None:
    log = flight(VEHICLE, 10.0)
    c_T = VEHICLE.thrust_coefficient
    assert log.rotor_speed is not None
    measured = residual_samples(log, VEHICLE).rotor_thrust
    np.testing.assert_allclose(measured[:900], c_T * log.rotor_speed[:900] ** 2, rtol=1e-6)
    commanded = residual_samples(changed(log, rotor_speed=None, rotor_command=log.rotor_speed), VEHICLE)
    share = 1 - np.exp(-0.01 / VEHICLE.motor_time_constant)
    reference = lfilter([0, share], [1, share - 1], measured - measured[0], axis=0) + measured[0]
    np.testing.assert_allclose(commanded.rotor_thrust, reference, rtol=1e-6)


@pytest.mark.parametrize("rate", [100, 250, 500])
def test_the_motors_answer_to_commands_as_they_come_whatever_the_log_s_rate(rate: int) -> None:
    """Held commands through the lag, exact from one to the next."""
    t, tau, c_T = np.arange(0.0, 12.0, 1 / rate), VEHICLE.motor_time_constant, VEHICLE.thrust_coefficient
    dither = 0.1 * np.sin(2 * np.pi * 4.0 * t) + 0.05 * np.sin(2 * np.pi * 1.3 * t)  # of the weight
    command = np.sqrt((1 + dither) * VEHICLE.weight / 4 / c_T)
    keep, produced = np.exp(-1 / rate / tau), np.empty(len(t))
    produced[0] = T = c_T * command[0] ** 2
    for k in range(1, len(t)):
        produced[k] = T = keep * T + (1 - keep) * c_T * command[k - 1] ** 2
    still = np.zeros((len(t), 3))
    log = FlightLog.from_arrays(
        t=t, position=still + [0, 0, 1], velocity=still, attitude=np.tile([1.0, 0, 0, 0], (len(t), 1)),
        specific_force=still + [0, 0, 9.81],
        rotor_command=np.tile(command[:, None], (1, 4)), rotor_command_unit="rad/s",
    )  # fmt: skip
    samples, inner = residual_samples(log, VEHICLE), slice(100, -100)
    expected = np.interp(samples.t, t, produced)
    np.testing.assert_allclose(samples.rotor_thrust[inner, 0], expected[inner], rtol=2e-3)


def test_the_grid_is_uniform_from_the_first_record_whatever_the_rate() -> None:
    log = flight(VEHICLE, 10.0)
    rng = np.random.default_rng(3)
    keep = np.sort(rng.choice(len(log.t) - 2, 700, replace=False)) + 1
    keep = np.concatenate([[0], keep, [len(log.t) - 1]])
    thinned = {name: getattr(log, name)[keep] for name in ("t", "position", "velocity", "attitude", "specific_force")}
    assert log.rotor_speed is not None
    samples = residual_samples(FlightLog.from_arrays(**thinned, rotor_speed=log.rotor_speed[keep]), VEHICLE)
    np.testing.assert_allclose(np.diff(samples.t), 0.01, atol=1e-12)
    assert samples.t[0] == 0.0
    assert abs(len(samples) - 1000) <= 1


def test_every_sample_left_out_is_counted_once_under_a_name() -> None:
    samples = residual_samples(flight(VEHICLE, 20.0), VEHICLE)
    assert int(samples.usable.sum()) + sum(samples.exclusions.values()) == len(samples)
    assert samples.exclusions["start_or_end"] == 100


def test_a_flip_a_gap_and_a_collision_are_left_out_by_name() -> None:
    log = flight(VEHICLE, 20.0, low_share=0.0)
    n = len(log.t)
    attitude, force, t = log.attitude.copy(), np.array(log.specific_force), log.t.copy()
    attitude[500:600] = quaternion_exp(np.array([np.pi, 0.0, 0.0]))
    force[900:905, 2] += 20.0  # m/s^2, twice the weight
    t[1200:] += 0.2
    samples = residual_samples(changed(log, attitude=attitude, specific_force=force, t=t), VEHICLE)
    assert 95 <= samples.exclusions["tilted_over_60_deg"] <= 105
    assert 3 <= samples.exclusions["outlier"] <= 7
    assert 18 <= samples.exclusions["gap_in_log"] <= 22
    assert not samples.usable[500:599].any()
    assert len(samples) == n + 20


def test_contact_is_judged_by_the_lowest_gear_point() -> None:
    log = flight(VEHICLE, 10.0, low_share=0.0)
    tilted = np.array(np.broadcast_to(quaternion_exp(np.array([0.3, 0.0, 0.0])), (len(log.t), 4)))
    corner = 0.11 * np.cos(0.3) + 0.1 * np.sin(0.3)  # m, gear corner below the centre of mass
    position = log.position.copy()
    position[:, 2] = 1.0
    position[400:500, 2] = corner + 0.003
    samples = residual_samples(changed(log, position=position, attitude=tilted, height=None), VEHICLE)
    assert samples.exclusions["contact"] == 100
    np.testing.assert_allclose(samples.height[400:500], 0.003, atol=1e-9)


@pytest.mark.parametrize("folder, name, walk, landing", [
    ("large_67g", "crazyflie-parrot", 0.07, 0.085), ("small_32g", "crazyflie-21", 0.06, 0.06),
])  # fmt: skip
@pytest.mark.skipif(not DATA.is_dir(), reason="needs the real flights in ../shared/data/crazyflie_near_ground")
def test_real_flights_are_labelled_and_scored_as_their_data_set_says(
    folder: str, name: str, walk: float, landing: float
) -> None:
    vehicle = load_vehicle(name)
    for kind in ("random_walk", "takeoff_landing"):
        log = read_log(sorted((DATA / folder / kind).iterdir())[0])
        samples = residual_samples(log, vehicle)
        label, z, thrust = by_the_book(log, vehicle)
        np.testing.assert_allclose(samples.label, label, atol=1e-4 * vehicle.weight)
        f = label[:, 2] / 9.81e-3
        k = np.arange(len(f))
        if kind == "random_walk":
            scored = (z > walk) & (np.abs(f) < 50) & ~((f > 35) & (z > 0.25)) & (k >= 50) & (k < len(f) - 50)
        else:
            scored = (thrust > 0.6 * vehicle.weight) & (z > landing)
        assert samples.lands == (kind == "takeoff_landing")
        np.testing.assert_array_equal(samples.scored, scored)


def by_the_book(log: FlightLog, vehicle: Vehicle) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Label, z and lagged thrust after the data set's description, in its own words and with SciPy's rotations."""
    from scipy.spatial.transform import Rotation

    t = np.arange(0.0, log.t[-1] + 1e-9, 0.01)

    def grid(values: np.ndarray) -> np.ndarray:
        return np.stack([np.interp(t, log.t, c) for c in values.T], axis=-1)

    assert log.specific_force is not None
    assert log.rotor_command is not None
    assert log.battery_voltage is not None
    assert vehicle.motor_curve is not None
    p, v = grid(log.rotor_command), np.interp(t, log.t, log.battery_voltage)[:, None] / 4.2
    c = vehicle.motor_curve.coefficients
    command = np.where(p > 0, c[0] + c[1] * p + c[2] * v + c[3] * p**2 + c[4] * p * v, 0.0)
    thrust = (lfilter([0, 0.16], [1, -0.84], command - command[0], axis=0) + command[0]).sum(axis=1)
    up = Rotation.from_quat(grid(log.attitude), scalar_first=True).as_matrix()[:, :, 2]
    return vehicle.mass * grid(log.specific_force) - up * thrust[:, None], grid(log.position)[:, 2], thrust


@pytest.mark.parametrize("vehicle, message", [
    (VEHICLE.with_(mass=2 * 1.47), "mass 2.94 kg"),
    (VEHICLE.with_(thrust_coefficient=VEHICLE.thrust_coefficient * 1.5), "thrust is"),
])  # fmt: skip
def test_a_log_of_another_vehicle_is_refused_by_its_mass_and_thrust(vehicle: Vehicle, message: str) -> None:
    with pytest.raises(UserError, match=message):
        residual_samples(flight(VEHICLE, 10.0), vehicle)


def test_mass_and_thrust_off_by_a_tenth_are_hover() -> None:
    vehicle = VEHICLE.with_(mass=1.1 * 1.47, thrust_coefficient=VEHICLE.thrust_coefficient * 0.9)
    assert residual_samples(flight(VEHICLE, 10.0), vehicle).usable.any()


@pytest.mark.parametrize("metadata", [{"mass_kg": 0.032}, {"controller_thrust_N": 0.33}])
def test_a_log_that_states_another_mass_is_refused(metadata: dict[str, float]) -> None:
    with pytest.raises(UserError, match="does not fit vehicle 'intel-aero'"):
        residual_samples(flight(VEHICLE, 10.0, metadata=metadata), VEHICLE)


@pytest.mark.parametrize("field, factor, message", [
    ("velocity", 1000.0, "mm/s"),
    ("position", 1000.0, "check the units m and m/s"),
    ("specific_force", 1 / 9.81, "9.81 is expected"),
    ("rotor_speed", 60 / (2 * np.pi), "not rpm"),
])  # fmt: skip
def test_another_unit_is_named(field: str, factor: float, message: str) -> None:
    log = flight(VEHICLE, 10.0, low_share=0.0)
    with pytest.raises(UserError, match=message):
        residual_samples(changed(log, **{field: factor * getattr(log, field)}), VEHICLE)


def test_pwm_needs_a_motor_curve_and_the_battery() -> None:
    log = flight(VEHICLE, 5.0)
    pwm = changed(log, rotor_speed=None, rotor_command=np.full((len(log.t), 4), 0.6), rotor_command_unit="pwm")
    with pytest.raises(UserError, match=r"has no \[motor_curve\]"):
        residual_samples(pwm, VEHICLE)
    with pytest.raises(UserError, match="lacks battery_voltage"):
        residual_samples(pwm, load_vehicle("crazyflie-21"))
    volts = np.full(len(log.t), 3700.0)
    with pytest.raises(UserError, match="is it in mV"):
        residual_samples(changed(pwm, battery_voltage=volts), load_vehicle("crazyflie-21"))


def test_a_log_without_thrust_or_too_short_is_refused() -> None:
    log = flight(VEHICLE, 5.0)
    with pytest.raises(UserError, match="neither rotor_speed nor rotor_command"):
        residual_samples(changed(log, rotor_speed=None), VEHICLE)
    with pytest.raises(UserError, match="at least 1 s"):
        residual_samples(flight(VEHICLE, 0.5), VEHICLE)


def test_a_log_that_never_leaves_the_ground_is_refused() -> None:
    log = flight(VEHICLE, 5.0)
    with pytest.raises(UserError, match="no sample in free flight"):
        residual_samples(changed(log, height=np.zeros(len(log.t))), VEHICLE)


def test_a_cut_off_outside_the_band_is_refused() -> None:
    log = changed(flight(VEHICLE, 5.0), specific_force=None)
    with pytest.raises(UserError, match="cut-off = 80 Hz"):
        residual_samples(log, VEHICLE, cut_off=80.0)


@pytest.mark.parametrize("name", ["intel-aero", "crazyflie-parrot"])
@pytest.mark.parametrize(("error", "margin"), [(None, 0.005), (0.001, 0.002), (0.004, 0.008)])
def test_what_may_touch_follows_from_the_heights_stated_error(name: str, error: float | None, margin: float) -> None:
    vehicle = load_vehicle(name)
    log = flight(vehicle, 20.0)
    assert log.height is not None
    height = 0.0005 + np.abs(log.height - log.height.min())
    about = {key: value for key, value in log.metadata.items() if key != "height_error_m"}
    stated = about if error is None else {**about, "height_error_m": error}
    samples = residual_samples(changed(log, height=height, metadata=stated), vehicle)
    near = samples.height < 0.02
    in_air = samples.usable | (samples.height <= margin)
    assert not samples.usable[samples.height <= margin].any()
    assert samples.floor == margin and np.array_equal(samples.contact, samples.height <= margin)
    assert covered([samples], vehicle).floor == margin
    turning = samples.rotor_thrust.sum(-1) >= MIN_FLIGHT_THRUST * vehicle.weight
    assert contact(samples, vehicle)["samples"] == int((samples.contact & turning).sum())
    assert in_air[near & (samples.t > 1.0) & (samples.t < samples.t[-1] - 1.0)].mean() > 0.9


@pytest.mark.parametrize("error", [-0.001, "1 mm", True, 2.0])
def test_an_error_of_the_height_that_is_none_is_refused(error: object) -> None:
    log = flight(VEHICLE, 5.0)
    with pytest.raises(UserError, match="height_error_m = .* must be a number of m"):
        residual_samples(changed(log, metadata={"height_error_m": error}), VEHICLE)


def test_noise_of_the_position_is_no_motion_in_another_unit() -> None:
    t, still = np.arange(0.0, 20.0, 1 / 240), np.zeros((4800, 3))
    hover = FlightLog.from_arrays(
        t=t,
        position=still + [0.0, 0.0, 0.2] + np.random.default_rng(0).normal(scale=1.5e-3, size=(4800, 3)),
        velocity=still + 0.01,
        attitude=np.tile([1.0, 0.0, 0.0, 0.0], (4800, 1)),
        rotor_speed=np.full((4800, 4), VEHICLE.hover_speed),
    )
    check_units(hover, VEHICLE)
