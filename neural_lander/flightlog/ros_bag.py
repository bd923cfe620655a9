"""Flights in ROS bags: pose, velocity, inertial data, battery and rotors from standard messages.

Frames as REP-103 has them, which are ours: world ENU, body FLU; a topic whose frame is called NED or FRD is refused.
PX4's own messages (px4_msgs) are read as those of a ULog, and before all others: they hold the rotors too.
Odometry's twist is in the body frame (nav_msgs), a TwistStamped's is taken to be in the world unless its topic or frame
says body or base. Of several topics of one type that with the most messages is read, and the choice is said; one whose
name says that it was asked for (setpoint, cmd ...) is no pose. Without a twist the velocity is differentiated.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from neural_lander.errors import UserError
from neural_lander.flightlog.log import FlightLog
from neural_lander.flightlog.mcap_read import Mcap
from neural_lander.flightlog.px4_bag import PX4_KINDS, px4_topics
from neural_lander.flightlog.px4_flight import px4_flight
from neural_lander.flightlog.resampling import linear
from neural_lander.flightlog.ros_channels import (
    KINDS,
    ROS1_MAGIC,
    SQLITE_MAGIC,
    Bag,
    Channel,
    decode,
    read_bag,
    stamp,
    typestore,
)
from neural_lander.flightlog.streams import LARGEST, Stream, join, to_world, with_velocity
from neural_lander.rotation import apply, normalise, quaternion_to_matrix
from neural_lander.rotor_order import QUADRANTS_KEY

MCAP_MAGIC = b"\x89MCAP0\r\n"
ROTORS = 4
PULSE_LOW, PULSE_HIGH = 1000.0, 2000.0  # us, MAVLink's range of RCOut
FOREIGN_FRAMES = ("ned", "frd")
BODY_WORDS = ("body", "base")
ASKED_WORDS = ("command", "cmd", "desired", "setpoint", "reference", "target")
"""In the name of a topic: what was asked for, not what was measured."""
FASTER = 2.0  # times as many poses as odometry, from where these are read: estimates of 30 Hz are too slow


MOTION = ("odometry", "pose", "twist")


class RosBag:
    """Log format: see the module."""

    name = "ros-bag"
    description = "ROS bag (ROS 2 in MCAP or SQLite, ROS 1)"

    def recognises(self, head: bytes) -> bool:
        """A bag's magic; an MCAP that is not our own."""
        return head.startswith((SQLITE_MAGIC, ROS1_MAGIC)) or (
            head.startswith(MCAP_MAGIC) and not Mcap().recognises(head)
        )

    def read(self, path: Path) -> FlightLog:
        """The flight at the times of its fastest source of motion.

        Raises
        ------
        UserError
            Where the bag holds no pose with velocity, or is damaged beyond use.
        """
        source = str(path)
        bag = read_bag(path)
        topics = _Topics(bag, source)
        ours = px4_topics(topics.messages, source)
        if ours is not None:
            others = sorted({c.kind for c in bag.channels if c.kind in (KINDS["odometry"], KINDS["pose"])})
            if others:
                topics.said.append(f"PX4's own estimate is read; the bag holds {', '.join(others)} as well")
            said = (*bag.warnings, *topics.said)
            log = px4_flight(replace(ours, warnings=said), self.name, source)
            return replace(log, metadata={**log.metadata, "topics": topics.read})
        streams, derived = _motion(topics)
        if not streams:
            held = ", ".join(sorted({channel.kind for channel in bag.channels})) or "nothing readable"
            raise UserError(
                f"{source} holds no Odometry, no PoseStamped and no px4_msgs pose, so there is no pose; it "
                f"holds: {held}{''.join(f'; {text}' for text in topics.said)}"
            )
        streams |= _inertial(topics) | _battery(topics)
        rotors, unit, described = _rotors(topics)
        joined = join(streams | rotors, source)
        return FlightLog.from_arrays(
            joined.t,
            **to_world(joined.fields),
            rotor_command_unit=unit,
            metadata={
                "format": self.name,
                "source": source,
                **joined.metadata,
                **described,
                **derived,
                "topics": topics.read,
                QUADRANTS_KEY: None,
            },
            warnings=(*(f"{source}: {text}" for text in (*bag.warnings, *topics.said)), *joined.warnings),
        )


class _Topics:
    """Decoded messages by role."""

    def __init__(self, bag: Bag, source: str) -> None:
        self.bag, self.source, self.store = bag, source, typestore(bag)
        self.said: list[str] = []
        self.read: dict[str, str] = {}
        """Role -> topic that is read."""
        self._decoded: dict[str, list[tuple[int, Any]]] = {}

    def messages(self, role: str) -> list[tuple[int, Any]]:
        """Of the topic with the most messages of the role's type; empty where there is none."""
        if role not in self._decoded:
            self._decoded[role] = self._decode(role)
        return self._decoded[role]

    def _decode(self, role: str) -> list[tuple[int, Any]]:
        kind = (KINDS | PX4_KINDS)[role]
        channels = [c for c in self.bag.channels if c.kind == kind and c.messages]
        if role in MOTION:
            channels = [c for c in channels if not _asked(c.topic)]
        if not channels:
            return []
        chosen: Channel = max(channels, key=lambda c: len(c.messages))
        try:
            found, lost = decode(self.bag, chosen, self.store)
        except UserError as error:
            self.said.append(f"{error}: not read")
            return []
        if len(channels) > 1:
            self.said.append(f"{chosen.topic} is read, one of {len(channels)} topics of {chosen.kind}")
        if lost:
            self.said.append(f"{chosen.topic}: {lost} damaged messages are lost")
        self.read[role] = chosen.topic
        return found

    def stream(self, role: str, values: Callable[[Any], Any]) -> Stream | None:
        """Numbers of each message of a role."""
        messages = self.messages(role)
        if not messages:
            return None
        t = np.array([stamp(received, message) for received, message in messages])
        return Stream(t, np.array([values(message) for _, message in messages], dtype=np.float64))

    def require_ours(self, *frames: str) -> None:
        """Refuse frames that are called by another convention."""
        for frame in frames:
            if any(word in frame.lower() for word in FOREIGN_FRAMES):
                raise UserError(
                    f"{self.source}: frame '{frame}' is not ENU and FLU as REP-103 has them; convert the bag"
                )


def _asked(topic: str) -> bool:
    return any(word in topic.lower() for word in ASKED_WORDS)


def _motion(topics: _Topics) -> tuple[dict[str, Stream], dict[str, str]]:
    """Position, velocity and attitude, and body rates where the same topic holds them; where velocity is from."""
    counts = {role: len(topics.messages(role)) for role in ("odometry", "pose")}
    if counts["pose"] > FASTER * counts["odometry"]:
        if counts["odometry"]:
            topics.said.append(
                f"{topics.read['pose']} is read, and not {topics.read.pop('odometry')}, which comes less often"
            )
        return _posed(topics)
    if counts["pose"]:
        topics.read.pop("pose")
    return _estimated(topics), {}


def _estimated(topics: _Topics) -> dict[str, Stream]:
    """Of Odometry."""
    odometry = topics.stream("odometry", lambda m: [*_pose(m.pose.pose), *_twist(m.twist.twist)])
    if odometry is not None:
        _, first = topics.messages("odometry")[0]
        topics.require_ours(first.header.frame_id, first.child_frame_id)
        t, values = odometry.t, odometry.values
        return {
            "position": Stream(t, values[:, :3]),
            "attitude": Stream(t, values[:, 3:7]),
            "velocity": Stream(t, _turned(values[:, 3:7], values[:, 7:10])),
            "body_rates": Stream(t, values[:, 10:]),
        }
    return {}


def _posed(topics: _Topics) -> tuple[dict[str, Stream], dict[str, str]]:
    """Of PoseStamped, with TwistStamped where there is one."""
    pose, twist = topics.stream("pose", lambda m: _pose(m.pose)), topics.stream("twist", lambda m: _twist(m.twist))
    assert pose is not None
    topics.require_ours(topics.messages("pose")[0][1].header.frame_id)
    streams = {"position": Stream(pose.t, pose.values[:, :3]), "attitude": Stream(pose.t, pose.values[:, 3:])}
    if twist is None:
        return with_velocity(streams)
    frame = topics.messages("twist")[0][1].header.frame_id
    topics.require_ours(frame)
    velocity = twist.values[:, :3]
    if any(word in f"{topics.read['twist']} {frame}".lower() for word in BODY_WORDS):
        attitude = linear(twist.t, pose.t, pose.values[:, 3:])
        velocity = _turned(attitude, velocity)
    return streams | {"velocity": Stream(twist.t, velocity)}, {}


def _inertial(topics: _Topics) -> dict[str, Stream]:
    imu = topics.stream("imu", lambda m: [*_vector(m.angular_velocity), *_vector(m.linear_acceleration)])
    if imu is None:
        return {}
    return {"body_rates": Stream(imu.t, imu.values[:, :3]), "specific_force": Stream(imu.t, imu.values[:, 3:])}


def _battery(topics: _Topics) -> dict[str, Stream]:
    battery = topics.stream("battery", lambda m: m.voltage)
    return {} if battery is None else {"battery_voltage": battery}


def _rotors(topics: _Topics) -> tuple[dict[str, Stream], str, dict[str, str]]:
    """Rotor command or speed, the command's unit, and in words what it is."""
    outputs = topics.stream("outputs", lambda m: _first(m.channels))
    if outputs is not None:
        command = np.clip((outputs.values - PULSE_LOW) / (PULSE_HIGH - PULSE_LOW), 0.0, 1.0)
        words = f"{topics.read['outputs']}: pulse width of channels 1 to 4, from 1000 to 2000 us as 0 to 1"
        return {"rotor_command": Stream(outputs.t, command)}, "pwm", {"rotor_command_is": words}
    for role, field in (("actuators", "velocity"), ("rotors_actuators", "angular_velocities")):
        speed = topics.stream(role, lambda m, field=field: _first(getattr(m, field)))  # type: ignore[misc]
        if speed is not None:
            asked = _asked(topics.read[role])
            words = (
                f"{topics.read[role]}: rotor speed that was {'asked for' if asked else 'measured'}, by its topic's name"
            )
            values = Stream(speed.t, np.abs(speed.values))
            return {"rotor_command" if asked else "rotor_speed": values}, "rad/s", {"rotor_command_is": words}
    read = ", ".join(KINDS[role] for role in ("outputs", "actuators", "rotors_actuators"))
    others = sorted({f"{c.topic} ({c.kind})" for c in topics.bag.channels} - _names(topics))
    topics.said.append(
        f"no rotor command or speed is in a type that is read ({read}), so there is no thrust; not read: "
        f"{', '.join(others) or 'nothing'}"
    )
    return {}, "rad/s", {}


def _names(topics: _Topics) -> set[str]:
    """Topics that are read, each with its type."""
    return {f"{topic} ({(KINDS | PX4_KINDS)[role]})" for role, topic in topics.read.items()}


def _pose(pose: Any) -> list[float]:
    q = pose.orientation
    return [*_vector(pose.position), q.w, q.x, q.y, q.z]


def _twist(twist: Any) -> list[float]:
    return [*_vector(twist.linear), *_vector(twist.angular)]


def _vector(v: Any) -> list[float]:
    return [v.x, v.y, v.z]


def _first(values: Any) -> list[float]:
    """The first four numbers, NaN where there are fewer."""
    return [float(v) for v in values[:ROTORS]] + [np.nan] * max(0, ROTORS - len(values))


def _turned(attitude: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Body vectors in the world; NaN where either is none."""
    usable = (np.abs(attitude) < 1.1).all(axis=1) & (np.abs(v) < LARGEST).all(axis=1)  # NaN compares as false
    usable[usable] = np.linalg.norm(attitude[usable], axis=1) > 0.5
    q = np.where(usable[:, None], attitude, [1.0, 0.0, 0.0, 0.0])
    turned = np.asarray(apply(quaternion_to_matrix(normalise(q)), np.where(usable[:, None], v, 0.0)))
    return np.where(usable[:, None], turned, np.nan)
