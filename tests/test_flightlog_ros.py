"""ROS bags in every container: frames, clocks, rotors, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

pytest.importorskip("rosbags")

import ros_file

from neural_lander.errors import NeuralLanderWarning, UserError
from neural_lander.flightlog import FlightLog, read_log, read_logs


def check(log: FlightLog) -> None:
    t = log.t
    assert np.median(np.diff(t)) == pytest.approx(0.005)
    assert_allclose(log.position, np.stack([t, 0 * t + 2, 0.5 - 0.5 * np.cos(t)], axis=-1), atol=1e-4)
    assert_allclose(log.velocity, np.stack([0 * t + 1, 0 * t, 0.5 * np.sin(t)], axis=-1), atol=1e-3)
    assert_allclose(log.attitude[:, 3], np.sin(0.25 * t), atol=1e-4)
    assert_allclose(log.body_rates, np.tile([0, 0.01, 0.5], (len(t), 1)), atol=1e-9)
    yaw = 0.5 * t
    assert_allclose(log.specific_force, np.stack([0.2 * np.cos(yaw), 0.2 * np.sin(yaw), 0 * t + 9.81], -1), atol=1e-4)
    assert_allclose(log.rotor_command[0], [0.5, 0.6, 0.7, 0.8])
    assert log.battery_voltage[3] == pytest.approx(15.5)
    assert log.metadata["source_rates_Hz"]["position"] == pytest.approx(50)
    assert log.warnings == ()


@pytest.mark.parametrize("container", ["mcap", "sqlite3", "ros1"])
@pytest.mark.parametrize("split", ["", "body", "local"])
def test_a_flight_comes_out_in_our_frames(tmp_path: Path, container: str, split: str) -> None:
    check(read_log(ros_file.write(tmp_path, container, ros_file.messages(split=split))))


def test_frames_of_another_convention_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="frame 'odom_ned' is not ENU"):
        read_log(ros_file.write(tmp_path, "mcap", ros_file.messages(frame="odom_ned")))


def test_a_bag_without_a_pose_says_what_it_holds(tmp_path: Path) -> None:
    content = [m for m in ros_file.messages() if m[0] in ("/imu", "/battery")]
    with pytest.raises(
        UserError, match="so there is no pose; it holds: sensor_msgs/msg/BatteryState, sensor_msgs/msg/Imu"
    ):
        read_log(ros_file.write(tmp_path, "sqlite3", content))


def test_rotors_in_a_type_that_is_not_read_are_told_those_that_are(tmp_path: Path) -> None:
    content = [m for m in ros_file.messages() if m[0] != "/mavros/rc/out"]
    content += [("/motors", "geometry_msgs/msg/Vector3Stamped", m[2], {}) for m in content if m[0] == "/imu"]
    said = r"no rotor command .* \(mavros_msgs/msg/RCOut, actuator_msgs/msg/Actuators, .* not read: /motors \(geometry"
    with pytest.warns(NeuralLanderWarning, match=said):
        assert read_log(ros_file.write(tmp_path, "mcap", content)).rotor_command is None


def test_a_pose_alone_is_differentiated_and_what_was_asked_for_is_no_pose(tmp_path: Path) -> None:
    posed = [m for m in ros_file.messages(split="local") if "velocity" not in m[0]]
    asked = [("/setpoint_position/local", *m[1:]) for m in posed if m[0] == "/pose"]
    log = read_log(ros_file.write(tmp_path, "mcap", [*posed, *asked, *asked]))
    assert log.metadata["velocity_from"].startswith("positions, differentiated")
    assert log.metadata["topics"]["pose"] == "/pose"
    t = log.t[20:-20]
    assert_allclose(log.velocity[20:-20], np.stack([0 * t + 1, 0 * t, 0.5 * np.sin(t)], axis=-1), atol=2e-3)
    with pytest.raises(UserError, match="so there is no pose"):
        read_log(ros_file.write(tmp_path / "x", "mcap", asked))


def test_poses_that_come_faster_than_the_odometry_are_read_and_it_is_said(tmp_path: Path) -> None:
    slow = [m for m in ros_file.messages() if m[0] == "/odom"][::4]
    content = ros_file.messages(split="body") + slow
    with pytest.warns(NeuralLanderWarning, match="/pose is read, and not /odom, which comes less often"):
        log = read_log(ros_file.write(tmp_path, "mcap", content))
    assert log.metadata["source_rates_Hz"]["position"] == pytest.approx(50)
    assert "odometry" not in log.metadata["topics"]


@pytest.mark.slow
def test_a_bag_is_its_folder_where_it_is_in_one_file(tmp_path: Path) -> None:
    path = ros_file.write(tmp_path, "sqlite3", ros_file.messages())
    for log in (read_log(path.parent), *read_logs([path.parent]), *read_logs([tmp_path])):
        check(log)
    (path.parent / "bag_1.db3").write_bytes(path.read_bytes())
    with pytest.raises(UserError, match="a ROS 2 bag in 2 files"):
        read_log(path.parent)


@pytest.mark.parametrize(("topic", "asked"), [("/motor_speed", False), ("/motor_speed_cmd", True), ("/desired", True)])
def test_rotor_speed_that_was_asked_for_is_no_measurement(tmp_path: Path, topic: str, asked: bool) -> None:
    content = [m for m in ros_file.messages() if m[0] != "/mavros/rc/out"]
    content += [
        (topic, "actuator_msgs/msg/Actuators", m[2], {"velocity": (500.0, 501, 502, 503)})
        for m in content
        if m[0] == "/odom"
    ]
    log = read_log(ros_file.write(tmp_path, "mcap", content))
    assert (log.rotor_command is not None) is asked
    assert (log.rotor_speed is not None) is not asked


def test_the_choice_among_topics_of_one_type_is_said(tmp_path: Path) -> None:
    content = ros_file.messages()
    content += [("/odom/coarse", *m[1:]) for m in content if m[0] == "/odom"][::5]
    with pytest.warns(NeuralLanderWarning, match="/odom is read, one of 2 topics"):
        log = read_log(ros_file.write(tmp_path, "mcap", content))
    assert log.metadata["topics"]["odometry"] == "/odom"
