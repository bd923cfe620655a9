"""PX4's topics in a ROS 2 bag, as px4_msgs: the same messages as in a ULog, read by the same code.

The bag must hold the definitions (MCAP does, SQLite since rosbag2's version of ROS 2 Iron): px4_msgs differ from one
version of PX4 to the next, so that none of ours could stand in. World NED, body FRD.

https://github.com/PX4/px4_msgs
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np

from neural_lander.flightlog.px4_flight import ATTITUDE, POSE, TOPICS
from neural_lander.flightlog.px4_topics import Topic, Topics
from neural_lander.flightlog.streams import LARGEST
from neural_lander.rotation import apply, normalise, quaternion_to_matrix

ODOMETRY = "vehicle_odometry"
BODY_FRAME = 3  # VehicleOdometry.velocity_frame: VELOCITY_FRAME_BODY_FRD


def _type_name(topic: str) -> str:
    return "px4_msgs/msg/" + re.sub(r"(?:^|_)([a-z])", lambda match: match[1].upper(), topic)


PX4_KINDS: dict[str, str] = {topic: _type_name(topic) for topic in (*TOPICS, ODOMETRY)}
"""Topic of a ULog -> message type in a bag."""


def px4_topics(messages: Callable[[str], list[tuple[int, Any]]], source: str) -> Topics | None:
    """PX4's topics, as far as a bag has them; None where they hold no pose.

    Parameters
    ----------
    messages
        Decoded messages, with the time of receipt, by the topic's name in a ULog.
    source
        For messages.
    """
    found: dict[str, Topic] = {}
    for name in PX4_KINDS:
        received = messages(name)
        if received:
            found[name] = Topic(name, _columns([message for _, message in received]), source)
    odometry = found.pop(ODOMETRY, None)
    if odometry is not None:
        found = _from_odometry(odometry) | found
    return Topics(found, {}, ()) if POSE in found and ATTITUDE in found else None


def _columns(messages: list[Any]) -> dict[str, np.ndarray]:
    """Fields of all messages, each ``(N,)``, called as pyulog calls them: ``q[0]``, ``esc[3].esc_rpm``."""
    columns: dict[str, list[Any]] = {}
    for message in messages:
        for name, value in _fields("", message):
            columns.setdefault(name, []).append(value)
    return {name: np.array(values) for name, values in columns.items() if len(values) == len(messages)}


def _fields(prefix: str, message: Any) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for name in message.__dataclass_fields__:
        value = getattr(message, name)
        if isinstance(value, int | float | np.number):
            found.append((prefix + name, value))
        elif isinstance(value, np.ndarray | list):
            for k, element in enumerate(value):
                if hasattr(element, "__dataclass_fields__"):
                    found += _fields(f"{prefix}{name}[{k}].", element)
                else:
                    found.append((f"{prefix}{name}[{k}]", element))
    return found


def _from_odometry(odometry: Topic) -> dict[str, Topic]:
    """Pose and attitude in the form of PX4's own two topics."""
    q, velocity = odometry.array("q", 4), odometry.array("velocity", 3)
    if "velocity_frame" in odometry:
        in_body = odometry["velocity_frame"] == BODY_FRAME
        usable = in_body & (np.abs(velocity) < LARGEST).all(axis=1) & (np.abs(np.sum(q * q, axis=1) - 1) < 0.1)
        R = quaternion_to_matrix(normalise(np.where(usable[:, None], q, [1.0, 0.0, 0.0, 0.0])))
        velocity = np.where(usable[:, None], apply(R, np.where(usable[:, None], velocity, 0.0)), velocity)
    stamps = {name: odometry.data[name] for name in ("timestamp", "timestamp_sample") if name in odometry}
    pose = {name: odometry[f"position[{k}]"] for k, name in enumerate("xyz")}
    pose |= {f"v{name}": velocity[:, k] for k, name in enumerate("xyz")}
    attitude = {f"q[{k}]": q[:, k] for k in range(4)}
    if "reset_counter" in odometry:
        attitude["quat_reset_counter"] = odometry["reset_counter"]
    return {
        POSE: Topic(POSE, stamps | pose, odometry.source),
        ATTITUDE: Topic(ATTITUDE, stamps | attitude, odometry.source),
    }
