"""PX4's messages in ROS 2 bags: the same flight as in a ULog, odometry alone, and what is missing."""

from pathlib import Path

import numpy as np
import pytest
import ulog_file
from numpy.testing import assert_allclose
from scipy.spatial.transform import Rotation

pytest.importorskip("rosbags")
pytest.importorskip("pyulog")

import px4_bag_file
import ros_file

from neural_lander.errors import NeuralLanderWarning, UserError
from neural_lander.flightlog import read_log
from neural_lander.flightlog.log import COLUMNS
from neural_lander.flightlog.px4_bag import PX4_KINDS


def flight() -> dict[str, list[dict]]:
    topics = ulog_file.flight(3.0)
    reports = {f"esc[{k}].esc_rpm": 6000 + 60 * k for k in range(4)}
    topics["esc_status"] = [{"timestamp": r["timestamp"], **reports} for r in topics["vehicle_local_position"]]
    return topics


@pytest.mark.parametrize("container", ["mcap", "sqlite3"])
def test_a_bag_gives_the_same_flight_as_a_ulog_of_the_same_messages(tmp_path: Path, container: str) -> None:
    (tmp_path / "log.ulg").write_bytes(ulog_file.file(flight()))
    ulog, bag = read_log(tmp_path / "log.ulg"), read_log(px4_bag_file.write(tmp_path, container, flight()))
    for name in COLUMNS:
        theirs, ours = getattr(ulog, name), getattr(bag, name)
        assert (theirs is None) == (ours is None), name
        if theirs is not None:
            assert_allclose(ours, theirs, rtol=0, atol=1e-12, err_msg=name)
    assert bag.rotor_speed is not None and bag.rotor_command is not None and bag.battery_voltage is not None
    assert bag.metadata["format"] == "ros-bag"
    assert bag.metadata["topics"]["vehicle_attitude"] == "/fmu/out/vehicle_attitude"
    assert "THR_MDL_FAC is not in the log" in bag.metadata["rotor_command_is"]
    assert bag.warnings == ()


@pytest.mark.parametrize("frame", [1, 3])
def test_odometry_alone_gives_pose_and_velocity(tmp_path: Path, frame: int) -> None:
    topics = flight()
    records = []
    for pose, attitude in zip(topics.pop("vehicle_local_position"), topics.pop("vehicle_attitude")[::2], strict=True):
        q = [attitude[f"q[{k}]"] for k in range(4)]
        velocity = np.array([pose["vx"], pose["vy"], pose["vz"]])
        if frame == 3:
            velocity = Rotation.from_quat(q, scalar_first=True).inv().apply(velocity)
        fields = {"velocity_frame": frame, **ulog_file.array("position", [pose["x"], pose["y"], pose["z"]])}
        fields |= ulog_file.array("velocity", velocity) | ulog_file.array("q", q)
        records.append({"timestamp": pose["timestamp"], **fields, "reset_counter": int(len(records) >= 70)})
    topics["vehicle_odometry"] = records
    with pytest.warns(NeuralLanderWarning, match="resets of the estimator: quat 1"):
        log = read_log(px4_bag_file.write(tmp_path, "mcap", topics))
    t = log.t
    assert_allclose(log.position, np.stack([0 * t + 2.0, t, 0.5 - 0.5 * np.cos(t)], axis=-1), atol=1e-4)
    assert_allclose(log.velocity, np.stack([0 * t, 0 * t + 1.0, 0.5 * np.sin(t)], axis=-1), atol=1e-4)


def test_messages_without_their_definition_are_named(tmp_path: Path) -> None:
    path = px4_bag_file.write(tmp_path, "mcap", flight(), with_definitions=False)
    with pytest.raises(UserError, match="does not hold the definition of px4_msgs/msg/VehicleLocalPosition"):
        read_log(path)


def test_the_choice_of_px4_s_estimate_is_said(tmp_path: Path) -> None:
    """Beside a vision system's odometry, which has neither rotors nor battery."""
    path = px4_bag_file.write(tmp_path, "sqlite3", flight(), beside=ros_file.messages(1.0)[:40])
    with pytest.warns(NeuralLanderWarning, match="PX4's own estimate is read; the bag holds nav_msgs/msg/Odometry"):
        assert read_log(path).position[0, 0] == pytest.approx(2.0)


def test_types_are_named_as_px4_msgs_names_them() -> None:
    assert PX4_KINDS["vehicle_local_position"] == "px4_msgs/msg/VehicleLocalPosition"
    assert PX4_KINDS["esc_status"] == "px4_msgs/msg/EscStatus"
