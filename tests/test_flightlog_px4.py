"""PX4 ULog: frames against SciPy, resets, instances, appended data, and what is no quadrotor."""

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import ulog_file
from numpy.testing import assert_allclose
from scipy.spatial.transform import Rotation

from neural_lander.errors import NeuralLanderWarning, UserError
from neural_lander.flightlog import FlightLog, read_log
from neural_lander.flightlog.fitness import fit_for_learning
from neural_lander.flightlog.px4_flight import TOPICS, _rotor_speed, output_signal
from neural_lander.flightlog.px4_topics import load
from neural_lander.flightlog.thrust import relative_thrust, static_thrust
from neural_lander.flightlog.ulog_framing import sound_messages
from neural_lander.residual.samples import residual_samples
from neural_lander.vehicle import load_vehicle

pytest.importorskip("pyulog")
REAL = Path(__file__).parents[2] / "shared/data/logs"
real = pytest.mark.skipif(not REAL.is_dir(), reason="needs the real logs in ../shared/data/logs")


def read(tmp_path: Path, topics: dict, parameters: dict | None = None) -> FlightLog:
    (tmp_path / "log.ulg").write_bytes(ulog_file.file(topics, parameters))
    return read_log(tmp_path / "log.ulg")


def test_a_flight_comes_out_in_our_frames_and_units(tmp_path: Path) -> None:
    log = read(tmp_path, ulog_file.flight(), {"EKF2_HGT_REF": 3})
    t = log.t
    assert np.median(np.diff(t)) == pytest.approx(0.005)  # of the inertial sensors, the fastest
    assert_allclose(log.position, np.stack([0 * t + 2.0, t, 0.5 - 0.5 * np.cos(t)], axis=-1), atol=1e-4)
    assert_allclose(log.velocity, np.stack([0 * t, 0 * t + 1.0, 0.5 * np.sin(t)], axis=-1), atol=1e-4)
    # rolling right about north is a positive turn about our y axis (north), from facing north
    expected = Rotation.from_rotvec(np.outer(0.2 * np.sin(2 * t), [0, 1, 0])) * Rotation.from_euler(
        "z", 90, degrees=True
    )
    found = Rotation.from_quat(log.attitude, scalar_first=True)
    assert (found.inv() * expected).magnitude().max() < 1e-4
    assert_allclose(log.body_rates, np.stack([0.4 * np.cos(2 * t), 0 * t - 0.01, 0 * t - 0.02], axis=-1), atol=1e-6)
    assert_allclose(log.specific_force, expected.apply([0.0, 0.0, 9.81]), atol=1e-3)
    assert_allclose(log.rotor_command, np.broadcast_to([0.5, 0.51, 0.52, 0.53], (len(t), 4)), atol=1e-6)
    assert_allclose(log.battery_voltage, 15.0 - 0.1 * np.minimum(t, 5.8), atol=1e-5)
    assert log.metadata["height_source"] == "external vision or motion capture"
    assert log.metadata["source_rates_Hz"]["position"] == pytest.approx(50, rel=0.01)
    assert "THR_MDL_FAC" in log.metadata["rotor_command_is"]
    assert log.warnings == ()


def test_the_thrust_that_px4_asks_for_is_no_signal_until_its_thrust_model_says_which(tmp_path: Path) -> None:
    vehicle = load_vehicle("crazyflie-21")
    unknown = read(tmp_path, ulog_file.flight())
    assert unknown.rotor_command_unit == "thrust"
    assert static_thrust(unknown, vehicle) is None
    assert_allclose(relative_thrust(unknown, vehicle), unknown.rotor_command.sum(axis=1))
    assert any("to which no motor curve applies" in reason for reason in fit_for_learning(unknown, vehicle).reasons)
    with pytest.raises(UserError, match="to which no motor curve applies"):
        residual_samples(unknown, vehicle)
    for factor in (0, 1):
        log = read(tmp_path, ulog_file.flight(), {"THR_MDL_FAC": factor})
        assert log.rotor_command_unit == "pwm"
        assert_allclose(log.rotor_command ** (1 + factor), unknown.rotor_command, atol=1e-6)
    signal = output_signal(unknown.rotor_command, 0.3)
    assert_allclose(0.3 * signal**2 + 0.7 * signal, unknown.rotor_command, atol=1e-12)


def test_the_geometry_in_the_parameters_says_which_motor_is_where(tmp_path: Path) -> None:
    log = read(tmp_path, ulog_file.flight())
    assert log.metadata["rotor_quadrants"] == [[1, -1], [-1, 1], [1, 1], [-1, -1]]
    hubs = [(1, -1), (-1, -1), (-1, 1), (1, 1)]  # m forward and right of motors 1 to 4
    geometry = {f"CA_ROTOR{k}_P{axis}": hub["XY".index(axis)] for k, hub in enumerate(hubs) for axis in "XY"}
    turned = read(tmp_path, ulog_file.flight(), geometry)
    assert turned.metadata["rotor_quadrants"] == [[1, 1], [-1, 1], [-1, -1], [1, -1]]


def test_position_resets_are_taken_out_and_nothing_is_interpolated_across(tmp_path: Path) -> None:
    topics = ulog_file.flight()
    for k, record in enumerate(topics["vehicle_local_position"]):
        if k >= 100:
            record |= {"x": record["x"] + 5, "delta_xy[0]": 5.0, "xy_reset_counter": 0, "heading_reset_counter": 1}
    with pytest.warns(NeuralLanderWarning, match="reset"):
        log = read(tmp_path, topics)
    assert_allclose(log.position[:, 1], log.t + 5, atol=1e-4)
    assert np.diff(log.t).max() == pytest.approx(0.02, abs=0.006)


@pytest.mark.parametrize("counter", ["vxy_reset_counter", "vz_reset_counter", "heading_reset_counter"])
def test_a_reset_of_velocity_or_heading_is_said_and_left_out(tmp_path: Path, counter: str) -> None:
    topics = ulog_file.flight()
    for k, record in enumerate(topics["vehicle_local_position"]):
        record[counter] = 3 + (k >= 100)
    with pytest.warns(NeuralLanderWarning, match=f"resets of the estimator: {counter.partition('_')[0]} 1; records"):
        log = read(tmp_path, topics)
    before, after = (record["timestamp"] for record in topics["vehicle_local_position"][99:101])
    stamps = 7_000_000 + 1e6 * log.t
    assert not ((stamps > before + 1) & (stamps < after - 1)).any()
    assert_allclose(log.position[:, 1], log.t, atol=1e-4)


def test_a_reset_of_attitude_is_said_and_left_out(tmp_path: Path) -> None:
    topics = ulog_file.flight()
    yaw = Rotation.from_euler("z", 40, degrees=True)
    for k, record in enumerate(topics["vehicle_attitude"]):
        record["quat_reset_counter"] = 254 + (k >= 200)
        if k >= 200:
            q = Rotation.from_quat([record[f"q[{n}]"] for n in range(4)], scalar_first=True)
            record |= ulog_file.array("q", (yaw * q).as_quat(scalar_first=True))
    with pytest.warns(NeuralLanderWarning, match="resets of the estimator: quat 1; records across them"):
        log = read(tmp_path, topics)
    turned = Rotation.from_quat(log.attitude, scalar_first=True)
    heading = np.degrees(np.unwrap(turned.as_euler("ZYX")[:, 0]))
    assert {round(angle / 10) * 10 for angle in heading} == {90, 50}  # nothing lies in between


def test_several_resets_and_the_steps_of_each_are_said(tmp_path: Path) -> None:
    topics = ulog_file.flight()
    for k, record in enumerate(topics["vehicle_local_position"]):
        jumps = (k >= 60) + (k >= 160)
        at = {60: 0.5, 160: 0.5}.get(k, 0.0)
        record |= {"z": record["z"] - 0.5 * jumps, "delta_z": -at, "z_reset_counter": 3 + jumps}
    with pytest.warns(NeuralLanderWarning) as caught:
        log = read(tmp_path, topics)
    said = " ".join(str(w.message) for w in caught)
    assert "position z: 2 resets of up to 0.5 m are taken out" in said
    assert "resets of the estimator: z 2" in said
    assert_allclose(log.position[:, 2], 1.5 - 0.5 * np.cos(log.t), atol=1e-4)


def test_a_battery_that_is_not_connected_hides_no_other(tmp_path: Path) -> None:
    topics = ulog_file.flight()
    topics["battery_status#1"] = topics["battery_status"]
    topics["battery_status"] = [{**row, "voltage_v": 0.0} for row in topics["battery_status"]]
    with pytest.warns(NeuralLanderWarning, match="battery_status: instance 1 is read, one of 2"):
        log = read(tmp_path, topics)
    assert log.battery_voltage is not None and log.battery_voltage.min() > 14.0


def test_of_several_instances_the_one_with_most_records_is_read_and_that_is_said(tmp_path: Path) -> None:
    topics = ulog_file.flight()
    topics["vehicle_local_position#1"] = topics["vehicle_local_position"]
    topics["vehicle_local_position"] = [r | {"x": 77.0} for r in topics["vehicle_local_position"][::3]]
    with pytest.warns(NeuralLanderWarning, match="vehicle_local_position: instance 1 is read, one of 2"):
        log = read(tmp_path, topics)
    assert_allclose(log.position[:, 1], log.t, atol=1e-4)


def esc(topics: dict, every: int) -> list[dict]:
    stamps = [record["timestamp"] for record in topics["vehicle_attitude"][::every]]
    return [{"timestamp": s, **{f"esc[{k}].esc_rpm": 6000 + 60 * k for k in range(4)}} for s in stamps]


def test_slow_telemetry_gives_way_to_the_command_and_fast_does_not(tmp_path: Path) -> None:
    topics = ulog_file.flight()
    topics["esc_status"] = esc(topics, 25)
    with pytest.warns(NeuralLanderWarning, match="rotor speed comes at 4 Hz only and the command at 50 Hz"):
        log = read(tmp_path, topics)
    assert log.rotor_speed is None
    assert log.metadata["thrust_from"] == "rotor_command at 50 Hz, rather than rotor_speed at 4 Hz"
    topics["esc_status"] = esc(topics, 2)
    log = read(tmp_path, topics)
    assert_allclose(log.rotor_speed[0], (6000 + 60 * np.arange(4)) * 2 * np.pi / 60)
    assert log.metadata["thrust_from"] == "rotor_speed at 50 Hz, rather than rotor_command at 50 Hz"
    del topics["actuator_motors"]
    topics["esc_status"] = esc(topics, 25)
    with pytest.warns(NeuralLanderWarning, match="all sources are there for 5.75 of 5.99 s only"):
        log = read(tmp_path, topics)
    assert log.metadata["thrust_from"] == "rotor_speed at 4 Hz"


def ranged(valid: Callable[[float], bool], ground: float = -0.3) -> dict:
    """A flight over ground at z = ``ground`` with a rangefinder 0.07 m above the gear, standing for the first second.

    The synthetic flight's z is that of the gear over the origin.
    """
    topics = ulog_file.flight()
    topics["distance_sensor"] = []
    for record in topics["vehicle_attitude"][::2]:
        t = record["timestamp"] * 1e-6 - 7.0
        up = np.cos(0.2 * np.sin(2 * t))
        above = 0.5 - 0.5 * np.cos(t) - ground + 0.07
        reading = {"current_distance": above / up if valid(t) else 40.0, "min_distance": 0.1, "max_distance": 8.0}
        topics["distance_sensor"].append({"timestamp": record["timestamp"], **reading, "orientation": 25.0})
    return topics


def test_a_rangefinder_gives_gear_height_less_the_stated_reading_on_the_ground(tmp_path: Path) -> None:
    log = read(tmp_path, ranged(lambda t: True), {"EKF2_HGT_REF": 0})
    assert_allclose(log.height, 0.5 - 0.5 * np.cos(log.t) + 0.3 + 0.07 - 0.1, atol=2e-3)  # tilt is taken out
    assert log.metadata["height_source"] == "rangefinder"
    assert log.metadata["height_offset_m"] == 0.1
    assert "assumed: PX4's default of EKF2_MIN_RNG, which the log does not hold" in log.metadata["height_is"]
    assert not [reason for reason in fit_for_learning(log).reasons if "height is from" in reason]


def test_what_is_read_while_standing_is_taken_for_the_sensor_s_mounting(tmp_path: Path) -> None:
    topics = ranged(lambda t: True, ground=0.0)
    stamps = [7_000_000, 7_100_000, 13_000_000]
    topics["vehicle_land_detected"] = [{"timestamp": s, "landed": v} for s, v in zip(stamps, (1, 0, 0), strict=True)]
    for record in topics["distance_sensor"]:
        record["min_distance"] = 0.05
    log = read(tmp_path, topics)
    assert log.metadata["height_offset_m"] == pytest.approx(0.07, abs=0.003)
    assert "median of 5 readings while standing" in log.metadata["height_is"]
    assert_allclose(log.height, log.position[:, 2], atol=4e-3)


def test_height_follows_the_estimator_where_readings_are_not_valid(tmp_path: Path) -> None:
    with pytest.warns(NeuralLanderWarning, match=r"height: 20 % of the readings of distance_sensor .* up to 1\.2 s"):
        log = read(tmp_path, ranged(lambda t: not 2.0 < t < 3.2))
    assert_allclose(log.height, log.position[:, 2] + 0.27, atol=2e-3)
    with pytest.warns(NeuralLanderWarning, match="17 % of the readings of distance_sensor are valid: left out"):
        assert read(tmp_path, ranged(lambda t: t < 1.0)).height is None


def test_the_estimator_s_distance_counts_only_where_a_sensor_measured_it(tmp_path: Path) -> None:
    topics = ulog_file.flight()
    for record in topics["vehicle_local_position"]:
        record |= {"dist_bottom": 0.1 - record["z"], "dist_bottom_valid": 1, "dist_bottom_sensor_bitfield": 1}
    log = read(tmp_path, topics, {"EKF2_HGT_REF": 0})
    assert_allclose(log.height, log.position[:, 2], atol=1e-6)
    assert "vehicle_local_position.dist_bottom" in log.metadata["height_is"]
    for record in topics["vehicle_local_position"]:
        record["dist_bottom_sensor_bitfield"] = 0
    log = read(tmp_path, topics, {"EKF2_HGT_REF": 0})
    assert (log.height, log.metadata["height_source"]) == (None, "barometer")


def test_older_logs_give_pulse_widths_as_a_fraction(tmp_path: Path) -> None:
    topics = ulog_file.flight()
    del topics["actuator_motors"]
    topics["actuator_outputs"] = [
        {"timestamp": r["timestamp"], **ulog_file.array("output", [1000, 1250, 1500, 2000])}
        for r in topics["vehicle_local_position"]
    ]
    log = read(tmp_path, topics)
    assert_allclose(log.rotor_command[0], [0, 0.25, 0.5, 1.0])
    assert "from 1000 to 2000 us" in log.metadata["rotor_command_is"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("vehicle_attitude"), "lacks the topic 'vehicle_attitude'"),
        (lambda t: [r.update(vehicle_type=2) for r in t["vehicle_status"]], "is of no multirotor"),
        (lambda t: [r.update({"control[4]": 0.5}) for r in t["actuator_motors"]], "commands 5 motors"),
        (
            lambda t: [r.update(x=float("nan")) for r in t["vehicle_local_position"]],
            "lacks the needed field 'position'",
        ),
    ],
)
def test_what_cannot_be_learned_from_is_refused_in_one_sentence(tmp_path: Path, change, message: str) -> None:
    topics = ulog_file.flight()
    change(topics)
    with pytest.raises(UserError, match=message):
        read(tmp_path, topics)


def test_damage_to_the_chain_of_messages_costs_what_it_hits_and_is_said() -> None:
    data = ulog_file.file({"vehicle_attitude": ulog_file.flight(1.0)["vehicle_attitude"]})
    record = 3 + 2 + 8 + 4 * 4
    assert sound_messages(data) == (data, [])
    assert sound_messages(data[: -2 * record]) == (data[: -2 * record], [])  # between two records: nothing tells
    kept, said = sound_messages(data[:-7])
    assert kept == data[:-record]
    assert said == [f"cut short: the last {record - 7} bytes are no whole message, and whatever came later is lost"]
    at = len(data) - 10 * record
    for k, byte in ((2, b"\xee"), (0, b"\x01"), (0, b"\x30"), (1, b"\xff"), (3, b"\x09")):  # kind, length, topic
        kept, said = sound_messages(data[: at + k] + byte + data[at + k + 1 :])
        assert kept == data[:at] + data[at + record :]
        assert said == [
            f"damaged at 1 places, the first at byte {at}: {record} of {len(data)} bytes are no messages and are lost"
        ]
    kept, said = sound_messages(data[:at] + bytes(100) + data[at:])
    assert kept == data


def test_appended_data_is_read_as_one_log(tmp_path: Path) -> None:
    data = ulog_file.file(ulog_file.flight())
    at = 16
    bounds = [16]
    while at < len(data):
        at += 3 + struct.unpack_from("<H", data, at)[0]
        bounds.append(at)
    cut = bounds[len(bounds) * 3 // 4]
    flags = bytearray(data[:59])
    flags[19 + 8] = 1  # incompatible flag: data appended
    partial = data[cut : cut + 9]  # a record that the logger never finished
    flags[19 + 16 : 19 + 24] = struct.pack("<Q", cut + len(partial))
    (tmp_path / "x").write_bytes(bytes(flags) + data[59:cut] + partial + data[cut:])
    with pytest.warns(NeuralLanderWarning, match="where data was appended: the record in progress is lost"):
        log = read_log(tmp_path / "x")
    (tmp_path / "whole").write_bytes(data)
    whole = read_log(tmp_path / "whole")
    np.testing.assert_array_equal(log.t, whole.t)
    np.testing.assert_array_equal(log.position, whole.position)


@real
@pytest.mark.parametrize(
    ("name", "seconds", "top"), [("px4_takeoff_landing_76s", 76.0, 1.22), ("px4_sitl_takeoff_landing", 30.9, 2.16)]
)
@pytest.mark.filterwarnings("ignore::neural_lander.errors.NeuralLanderWarning")
def test_real_flights_agree_with_themselves(name: str, seconds: float, top: float) -> None:
    log = read_log(REAL / f"{name}.ulg")
    assert log.duration == pytest.approx(seconds, abs=0.3)
    assert log.position[:, 2].max() == pytest.approx(top, abs=0.01)
    assert log.specific_force.mean(axis=0) == pytest.approx([0, 0, 9.81], abs=0.05)
    climb = np.gradient(log.position[:, 2], log.t)
    assert np.corrcoef(climb, log.velocity[:, 2])[0, 1] > 0.94
    rates = log.metadata["source_rates_Hz"]
    assert rates["position"] == pytest.approx(10, abs=0.5)
    assert rates["rotor_command"] == pytest.approx(10, abs=0.5)


@real
@pytest.mark.filterwarnings("ignore::neural_lander.errors.NeuralLanderWarning")
def test_esc_speed_is_in_rad_per_s_and_gives_way_to_the_faster_command() -> None:
    path = REAL / "px4_sitl_takeoff_landing.ulg"
    speed = _rotor_speed(load(path, TOPICS).by_name["esc_status"], [])["rotor_speed"]
    assert speed.values.max() == pytest.approx(3324 * 2 * np.pi / 60)
    log = read_log(path)
    assert log.rotor_speed is None
    assert log.metadata["thrust_from"] == "rotor_command at 10 Hz, rather than rotor_speed at 4.03 Hz"


@real
@pytest.mark.filterwarnings("ignore::neural_lander.errors.NeuralLanderWarning")
def test_a_real_log_on_the_ground_with_appendices_says_what_the_estimator_did_not_vouch_for() -> None:
    log = read_log(REAL / "px4_ground_appended.ulg")
    assert any("horizontal position is not valid in 100 %" in text for text in log.warnings)
    assert log.duration == pytest.approx(9.5, abs=0.1)
    assert log.metadata["height_source"] == "barometer"
    assert np.linalg.norm(log.specific_force, axis=1).mean() == pytest.approx(9.81, abs=0.2)
