"""Raw messages of ROS bags by topic: ROS 2 in MCAP or SQLite, ROS 1; and their decoding, by rosbags.

https://github.com/ros2/rosbag2, https://mcap.dev/spec/registry, http://wiki.ros.org/Bags/Format/2.0
"""

from __future__ import annotations

import sqlite3
import struct
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

from mcap.data_stream import ReadDataStream
from mcap.opcode import Opcode
from mcap.records import Schema

from neural_lander.errors import UserError
from neural_lander.flightlog.mcap_read import Content

SQLITE_MAGIC = b"SQLite format 3\0"
ROS1_MAGIC = b"#ROSBAG V2.0\n"
_OP_CHUNK = b"\x04\x00\x00\x00op=\x05"  # a field of a record's header, with its length
DECODING_ERRORS = (
    struct.error, ValueError, IndexError, KeyError, TypeError, AttributeError, AssertionError, OverflowError,
    MemoryError,
)  # fmt: skip
"""What rosbags raises for damaged messages and definitions."""


@dataclass
class Channel:
    """One topic, its messages still encoded."""

    topic: str
    kind: str
    """``package/msg/Type``."""
    definition: str | None = None
    """Text of the message type with those that it uses, where the bag has it."""
    messages: list[tuple[int, bytes]] = field(default_factory=list)  # received at, in ns


@dataclass(frozen=True)
class Bag:
    """Topics of a bag."""

    channels: list[Channel]
    ros1: bool
    warnings: list[str]


def read_bag(path: Path) -> Bag:
    """All channels of a bag file.

    Raises
    ------
    UserError
        Where the container cannot be read at all.
    """
    with path.open("rb") as file:
        head = file.read(len(SQLITE_MAGIC))
    if head == SQLITE_MAGIC:
        return _read_sqlite(path)
    return _read_ros1(path) if head.startswith(ROS1_MAGIC) else _read_mcap(path)


def typestore(bag: Bag) -> Any:
    """Types of rosbags' own, to which those that a bag defines are added."""
    from rosbags.typesys import Stores, get_typestore

    return get_typestore(Stores.ROS1_NOETIC if bag.ros1 else Stores.ROS2_HUMBLE)


def decode(bag: Bag, channel: Channel, store: Any) -> tuple[list[tuple[int, Any]], int]:
    """Messages of a channel with the time of receipt in ns, and how many could not be decoded.

    Raises
    ------
    UserError
        Where the message type is unknown.
    """
    from rosbags.serde import SerdeError
    from rosbags.typesys import TypesysError, get_types_from_msg

    try:
        if channel.kind not in store.types and channel.definition:
            store.register(get_types_from_msg(channel.definition, channel.kind))
    except (TypesysError, *DECODING_ERRORS) as error:
        why = " ".join(str(error).split())
        raise UserError(f"the definition of {channel.kind} on {channel.topic} is damaged: {why}") from error
    if channel.kind not in store.types:
        raise UserError(
            f"the bag does not hold the definition of {channel.kind} on {channel.topic}; record it as MCAP, which does"
        )
    read = store.deserialize_ros1 if bag.ros1 else store.deserialize_cdr
    messages, lost = [], 0
    for received, data in channel.messages:
        try:
            messages.append((received, read(data, channel.kind)))
        except (SerdeError, *DECODING_ERRORS):
            lost += 1
    return messages, lost


class _Mcap(Content):
    """Content of an MCAP with the schemas of its channels and the times of its messages."""

    def __init__(self) -> None:
        super().__init__()
        self.schemas: dict[int, Schema] = {}
        self.timed: dict[int, list[tuple[int, bytes]]] = {}

    def keep(self, opcode: int, body: memoryview) -> None:
        """One record outside or inside of a chunk."""
        if opcode == Opcode.SCHEMA:
            schema = Schema.read(ReadDataStream(BytesIO(body)))
            self.schemas[schema.id] = schema
        else:
            super().keep(opcode, body)

    def take_message(self, channel: int, time: int, body: memoryview) -> None:
        """One message by its channel's number, with its time in ns."""
        self.timed.setdefault(channel, []).append((time, bytes(body)))


def _read_mcap(path: Path) -> Bag:
    content = _Mcap()
    content.take(memoryview(path.read_bytes()))
    channels, ros1 = [], False
    for channel in content.channels.values():
        schema = content.schemas.get(channel.schema_id)
        if schema is None or channel.message_encoding not in ("cdr", "ros1"):
            continue
        ros1 = ros1 or channel.message_encoding == "ros1"
        kind = schema.name if "/msg/" in schema.name else schema.name.replace("/", "/msg/")
        text = schema.data.decode("utf-8", "replace") if schema.encoding in ("ros2msg", "ros1msg") else None
        channels.append(Channel(channel.topic, kind, text, content.timed.get(channel.id, [])))
    return Bag(channels, ros1, list(content.account()))


def _read_sqlite(path: Path) -> Bag:
    """ROS 2's SQLite storage; a file whose pages are damaged is read as far as it goes."""
    said: list[str] = []
    channels: dict[int, Channel] = {}
    database = sqlite3.connect(f"file:{quote(str(path))}?mode=ro&immutable=1", uri=True)
    database.text_factory = lambda text: text.decode("utf-8", "replace")
    try:
        if database.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
            said.append("damaged: the database does not pass SQLite's check")
        channels = {key: Channel(str(t), str(k)) for key, t, k in database.execute("SELECT id, name, type FROM topics")}
        known = {row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if "message_definitions" in known:
            rows = database.execute("SELECT topic_type, encoded_message_definition FROM message_definitions")
            texts = dict(rows.fetchall())
            for channel in channels.values():
                channel.definition = texts.get(channel.kind)
        count = 0
        for key, received, data in database.execute(
            "SELECT topic_id, timestamp, data FROM messages ORDER BY timestamp"
        ):
            if key in channels and isinstance(received, int) and isinstance(data, bytes):
                channels[key].messages.append((received, data))
                count += 1
        last = database.execute("SELECT MAX(id) FROM messages").fetchone()[0] or 0  # rows are numbered from 1
        if count != last:
            said.append(f"damaged: {count} messages are readable, and the last one has the number {last}")
    except (sqlite3.Error, UnicodeDecodeError, TypeError, OverflowError) as error:  # SQLite quotes damaged names
        why = " ".join(str(error).split())
        said.append(f"damaged: SQLite stopped reading ({why}); what it had not reached is lost")
    finally:
        database.close()
    if not channels:
        raise UserError(f"{path} is an SQLite file without the topics of a ROS 2 bag" + "".join(f"; {s}" for s in said))
    return Bag(list(channels.values()), ros1=False, warnings=said)


def _read_ros1(path: Path) -> Bag:
    from rosbags.rosbag1 import Reader, ReaderError

    channels: dict[int, Channel] = {}
    said: list[str] = []
    try:
        with Reader(path) as reader:
            for connection in reader.connections:
                text = connection.msgdef.data if isinstance(connection.msgdef.data, str) else None
                channels[connection.id] = Channel(connection.topic, connection.msgtype, text)
            for connection, received, data in reader.messages():
                channels[connection.id].messages.append((received, bytes(data)))
            announced = sum(connection.msgcount for connection in reader.connections)
            count = sum(len(channel.messages) for channel in channels.values())
            if count != announced:
                said.append(f"damaged: {count} messages are readable, and the index counts {announced}")
            if _ros1_chunks(path.read_bytes()) != len(reader.chunk_infos):
                said.append("damaged: its index does not name all of its chunks; what is not named is lost")
    except (ReaderError, *DECODING_ERRORS) as error:
        if not any(channel.messages for channel in channels.values()):
            raise UserError(f"{path} is a ROS 1 bag that cannot be read: {error}; try 'rosbag reindex'") from error
        said.append(f"damaged: reading stopped ({error}); what had not been reached is lost")
    return Bag(list(channels.values()), ros1=True, warnings=said)


def _ros1_chunks(data: bytes) -> int:
    """Chunks in the chain of records, -1 where the chain breaks: the index has no checksum."""
    at, count = len(ROS1_MAGIC), 0
    while at < len(data):
        header_end = at + 4 + int.from_bytes(data[at : at + 4], "little")
        count += _OP_CHUNK in data[at + 4 : header_end]
        at = header_end + 4 + int.from_bytes(data[header_end : header_end + 4], "little")
    return count if at == len(data) else -1


def stamp(received: int, message: Any) -> float:
    """Time of a message in s: of its header where that is set, else of receipt."""
    header: Any = getattr(message, "header", SimpleNamespace(stamp=None))
    time = header.stamp
    if time is None or (time.sec == 0 and time.nanosec == 0):
        return received * 1e-9
    return float(time.sec) + float(time.nanosec) * 1e-9


KINDS: dict[str, str] = {
    "odometry": "nav_msgs/msg/Odometry",
    "pose": "geometry_msgs/msg/PoseStamped",
    "twist": "geometry_msgs/msg/TwistStamped",
    "imu": "sensor_msgs/msg/Imu",
    "battery": "sensor_msgs/msg/BatteryState",
    "outputs": "mavros_msgs/msg/RCOut",
    "actuators": "actuator_msgs/msg/Actuators",
    "rotors_actuators": "mav_msgs/msg/Actuators",
}
"""What is read: role -> message type."""
