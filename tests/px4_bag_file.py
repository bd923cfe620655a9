"""A writer of ROS 2 bags with px4_msgs, from the topics that the writer of ULogs takes; definitions are our own."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import ros_file
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

RULE = "=" * 80 + "\n"
INTEGERS = {"timestamp": "uint64", "timestamp_sample": "uint64", "esc_rpm": "int32"}


def type_name(topic: str) -> str:
    return "".join(word.capitalize() for word in topic.split("_"))


def definition(record: Mapping[str, float]) -> str:
    """Text of a message with the fields of a record; ``esc[k].esc_rpm`` makes an array of EscReport."""
    lines: dict[str, str] = {}
    nested = ""
    for field in record:
        stem, _, rest = field.partition("[")
        count = len([name for name in record if name.startswith(f"{stem}[")])
        if "]." in rest:
            member = rest.partition("].")[2]
            lines[stem] = f"EscReport[{count}] {stem}\n"
            nested = f"{RULE}MSG: px4_msgs/EscReport\n{INTEGERS.get(member, 'float32')} {member}\n"
        else:
            lines[stem] = f"{INTEGERS.get(stem, 'float32')}{f'[{count}]' if rest else ''} {stem}\n"
    return "".join(lines.values()) + nested


def write(
    folder: Path,
    container: str,
    topics: Mapping[str, Sequence[Mapping[str, float]]],
    with_definitions: bool = True,
    beside: Sequence[tuple[str, str, float, dict]] = (),
) -> Path:
    """A bag in a container (``mcap``, ``sqlite3``), with other messages beside PX4's; the path of its one file."""
    store = get_typestore(Stores.ROS2_HUMBLE)
    writer = Writer(folder / "bag", version=9, storage_plugin=StoragePlugin[container.upper()])
    with writer:
        for topic, records in topics.items():
            kind = f"px4_msgs/msg/{type_name(topic)}"
            text = definition(records[0])
            store.register(get_types_from_msg(text, kind))
            given = {} if with_definitions else {"msgdef": "", "rihs01": "x"}
            connection = writer.add_connection(f"/fmu/out/{topic}", kind, typestore=store, **given)
            for record in records:
                data = store.serialize_cdr(_message(store, kind, record), kind)
                writer.write(connection, 10**9 + 1000 * int(record["timestamp"]), data)
        others: dict[str, Any] = {}
        for topic, kind, t, content in beside:
            if kind in store.types:
                others.setdefault(topic, None)
                others[topic] = others[topic] or writer.add_connection(topic, kind, typestore=store)
                data = store.serialize_cdr(ros_file.message(store, kind, t, content), kind)
                writer.write(others[topic], round(t * 1e9), data)
    return next((folder / "bag").glob("bag.*"))


def _message(store: Any, kind: str, record: Mapping[str, float]) -> Any:
    values: dict[str, Any] = {}
    for name, (node, what) in store.fielddefs[kind][1]:
        if node.name == "BASE":
            values[name] = int(record[name]) if what[0] in ("uint64", "int32") else float(record[name])
        elif what[0][0].name == "NAME":
            members = [re.fullmatch(rf"{name}\[(\d+)\]\.(\w+)", field) for field in record]
            report = store.types[what[0][1]]
            values[name] = [report(**{m[2]: int(record[m[0]])}) for m in members if m]
        else:
            values[name] = np.array([record[f"{name}[{k}]"] for k in range(what[1])], dtype=np.float32)
    return store.types[kind](**values)
