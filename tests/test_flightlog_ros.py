"""ROS bags in every container: frames, clocks, rotors, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

pytest.importorskip("rosbags")

import ros_file

from neural_lander.errors import NeuralLanderWarning, UserError
from neural_lander.flightlog import FlightLog, read_log


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
        UserError, match="no pose with velocity; it holds: sensor_msgs/msg/BatteryState, sensor_msgs/msg/Imu"
    ):
        read_log(ros_file.write(tmp_path, "sqlite3", content))


def test_rotors_in_a_type_that_is_not_read_are_told_those_that_are(tmp_path: Path) -> None:
    content = [m for m in ros_file.messages() if m[0] != "/mavros/rc/out"]
    content += [("/motors", "geometry_msgs/msg/Vector3Stamped", m[2], {}) for m in content if m[0] == "/imu"]
    said = r"no rotor command .* \(mavros_msgs/msg/RCOut, actuator_msgs/msg/Actuators, .* not read: /motors \(geometry"
    with pytest.warns(NeuralLanderWarning, match=said):
        assert read_log(ros_file.write(tmp_path, "mcap", content)).rotor_command is None


def test_the_choice_among_topics_of_one_type_is_said(tmp_path: Path) -> None:
    content = ros_file.messages()
    content += [("/odom/coarse", *m[1:]) for m in content if m[0] == "/odom"][::5]
    with pytest.warns(NeuralLanderWarning, match="/odom is read, one of 2 topics"):
        log = read_log(ros_file.write(tmp_path, "mcap", content))
    assert log.metadata["topics"]["odometry"] == "/odom"
