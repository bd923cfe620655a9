"""Small ROS bags, written by rosbags."""

from pathlib import Path
from typing import Any

import numpy as np
from rosbags.rosbag1 import Writer as Writer1
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

RCOUT = "std_msgs/Header header\nuint16[] channels\n"
ACTUATORS = "std_msgs/Header header\nfloat64[] position\nfloat64[] velocity\nfloat64[] normalized\n"


def messages(seconds: float = 2.0, frame: str = "map", split: str = "") -> list[tuple[str, str, float, dict]]:
    """Topic, type, time and content of a climb to 1 m and back while yawing at 0.5 rad/s and flying at 1 m/s."""
    found: list[tuple[str, str, float, dict]] = []
    for k in range(round(seconds * 200)):
        t = 100.0 + k / 200
        yaw, climb = 0.5 * k / 200, 0.5 * np.sin(k / 200)
        imu = {"angular_velocity": (0.0, 0.01, 0.5), "linear_acceleration": (0.2, 0.0, 9.81)}
        found.append(("/imu", "sensor_msgs/msg/Imu", t, imu))
        if k % 4:
            continue
        pose = {
            "position": (k / 200, 2.0, 0.5 - 0.5 * np.cos(k / 200)),
            "orientation": (np.cos(yaw / 2), 0, 0, np.sin(yaw / 2)),
        }
        body = (np.cos(yaw), -np.sin(yaw), climb)  # of a velocity along the world's x
        if split:
            linear = body if split == "body" else (1.0, 0.0, climb)
            found.append(("/pose", "geometry_msgs/msg/PoseStamped", t, {"pose": pose}))
            twist = {"linear": linear, "angular": (0.0, 0.0, 0.5)}
            found.append((f"/velocity_{split}", "geometry_msgs/msg/TwistStamped", t, {"twist": twist}))
        else:
            twist = {"linear": body, "angular": (0.0, 0.0, 0.5)}
            found.append(("/odom", "nav_msgs/msg/Odometry", t, {"pose": pose, "twist": twist, "frame": frame}))
        found.append(("/mavros/rc/out", "mavros_msgs/msg/RCOut", t, {"channels": (1500, 1600, 1700, 1800, 900)}))
        found.append(("/battery", "sensor_msgs/msg/BatteryState", t, {"voltage": 15.5}))
    return found


def write(folder: Path, container: str, content: list[tuple[str, str, float, dict]]) -> Path:
    """A bag in a container (``mcap``, ``sqlite3``, ``ros1``); the path of its one file."""
    ros1 = container == "ros1"
    store = get_typestore(Stores.ROS1_NOETIC if ros1 else Stores.ROS2_HUMBLE)
    store.register(get_types_from_msg(RCOUT, "mavros_msgs/msg/RCOut"))
    store.register(get_types_from_msg(ACTUATORS, "actuator_msgs/msg/Actuators"))
    if ros1:
        writer: Any = Writer1(folder / "x.bag")
    else:
        writer = Writer(folder / "bag", version=9, storage_plugin=StoragePlugin[container.upper()])
    with writer:
        connections: dict[str, Any] = {}
        for topic, kind, t, values in content:
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=store)
            filled = message(store, kind, t, values)
            data = (store.serialize_ros1 if ros1 else store.serialize_cdr)(filled, kind)
            writer.write(connections[topic], round(t * 1e9), data)
    return folder / "x.bag" if ros1 else next((folder / "bag").glob("bag.*"))


def message(store: Any, kind: str, t: float, values: dict) -> Any:
    """A message of zeros with the given values."""
    message = _zero(store, kind)
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(round(t * 1e9), 1_000_000_000)
    for name, value in values.items():
        if name == "frame":
            message.header.frame_id = value
        elif name in ("pose", "twist"):
            inner = getattr(message, name)
            inner = getattr(inner, name, inner)
            for part, numbers in value.items():
                _fill(getattr(inner, part), "wxyz" if len(numbers) == 4 else "xyz", numbers)
        elif name == "voltage":
            message.voltage = value
        elif name == "velocity":
            message.velocity = np.array(value)
        elif name == "channels":
            message.channels = np.array(value, dtype=np.uint16)
        else:
            _fill(getattr(message, name), "xyz", value)
    return message


def _fill(target: Any, names: str, numbers: Any) -> None:
    for name, number in zip(names, numbers, strict=True):
        setattr(target, name, float(number))


def _zero(store: Any, kind: str) -> Any:
    fields = {}
    for name, (node, what) in store.fielddefs[kind][1]:
        if node.name == "NAME":
            fields[name] = _zero(store, what)
        elif node.name == "BASE":
            fields[name] = "" if what[0] == "string" else False if what[0] == "bool" else 0
        else:
            size = what[1] if node.name == "ARRAY" else 0
            kind_of = {"uint16": np.uint16, "float32": np.float32}.get(what[0][1][0] if what[0] else "", np.float64)
            fields[name] = np.zeros(size, dtype=kind_of)
    return store.types[kind](**fields)
