"""A writer of small PX4 ULogs, after the file format's description."""

import struct
from collections.abc import Mapping, Sequence

import numpy as np

SIZES = {"uint64_t": "Q", "float": "f", "uint8_t": "B", "int32_t": "i"}
POSE = {
    "timestamp": "uint64_t",
    **dict.fromkeys(["x", "y", "z", "vx", "vy", "vz", "delta_xy[0]", "delta_xy[1]", "delta_z"], "float"),
    **dict.fromkeys(["xy_valid", "xy_reset_counter", "z_reset_counter", "heading_reset_counter"], "uint8_t"),
}


def message(kind: str, body: bytes) -> bytes:
    return struct.pack("<HB", len(body), ord(kind)) + body


def file(topics: Mapping[str, Sequence[Mapping[str, float]]], parameters: Mapping[str, int] | None = None) -> bytes:
    """Records by topic, merged in time; types follow from the names, arrays are written as ``name[k]``.

    A second instance of a topic is called ``topic#1``.
    """
    data = b"ULog\x01\x12\x35\x01" + struct.pack("<Q", 0) + message("B", bytes(40))
    formats = {name: {field: _type(field, name) for field in records[0]} for name, records in topics.items()}
    nested = {
        f.partition("[")[0]: (t, f.partition("].")[2]) for fs in formats.values() for f, t in fs.items() if "]." in f
    }
    for stem, (kind, member) in nested.items():
        data += message("F", f"{stem}_report:{kind} {member};".encode())
    for name, fields in formats.items():
        if "#" in name:
            continue
        data += message("F", f"{name}:{''.join(f'{t} {f};' for f, t in _folded(fields))}".encode())
    for name, value in (parameters or {}).items():
        key = f"int32_t {name}".encode()
        data += message("P", bytes([len(key)]) + key + struct.pack("<i", value))
    for k, name in enumerate(formats):
        topic, _, instance = name.partition("#")
        data += message("A", struct.pack("<BH", int(instance or 0), k) + topic.encode())
    rows = []
    for k, (name, records) in enumerate(topics.items()):
        code = "<H" + "".join(SIZES[t] for t in formats[name].values())
        rows += [(r["timestamp"], message("D", struct.pack(code, k, *r.values()))) for r in records]
    return data + b"".join(row for _, row in sorted(rows, key=lambda row: row[0]))


def _type(field: str, topic: str) -> str:
    if field.startswith("timestamp"):
        return "uint64_t"
    if topic.partition("#")[0] == "vehicle_local_position":
        return POSE.get(field, "float")
    if "rpm" in field:
        return "int32_t"
    return "uint8_t" if "function" in field or field in ("vehicle_type", "esc_count") else "float"


def _folded(fields: Mapping[str, str]) -> list[tuple[str, str]]:
    """Elements of one array as the one field that the format knows; ``esc[k].esc_rpm`` is of a nested type."""
    folded: dict[str, tuple[str, int]] = {}
    for field, kind in fields.items():
        stem, _, rest = field.partition("[")
        kind = f"{stem}_report" if "]." in rest else kind
        folded[stem] = (kind, folded.get(stem, ("", 0))[1] + bool(rest))
    return [(stem, f"{kind}[{n}]" if n else kind) for stem, (kind, n) in folded.items()]


def array(name: str, values: Sequence[float]) -> dict[str, float]:
    return {f"{name}[{k}]": float(v) for k, v in enumerate(values)}


def flight(seconds: float = 6.0) -> dict[str, list[dict]]:
    """A climb to 1 m and back in NED/FRD: pose at 50 Hz, attitude at 100 Hz, inertial sensors at 200 Hz."""
    t0 = 7_000_000
    height, tilt = (lambda t: 0.5 - 0.5 * np.cos(t)), (lambda t: 0.2 * np.sin(2 * t))
    stamps = [(t0 + round(1e6 * t), t) for t in np.arange(0.0, seconds, 0.02)]
    fast = [(t0 + round(1e6 * t), t) for t in np.arange(0.0, seconds, 0.005)]
    zeros = dict.fromkeys(["delta_xy[0]", "delta_xy[1]", "delta_z"], 0.0)
    flags = {"xy_valid": 1, "xy_reset_counter": 255, "z_reset_counter": 3, "heading_reset_counter": 0}
    roll = [(s, np.array([np.cos(tilt(t) / 2), np.sin(tilt(t) / 2), 0.0, 0.0])) for s, t in fast[::2]]
    return {
        "vehicle_local_position": [
            {"timestamp": s, "x": t, "y": 2.0, "z": -height(t), "vx": 1.0, "vy": 0.0, "vz": -0.5 * np.sin(t)}
            | zeros | flags
            for s, t in stamps
        ],
        "vehicle_attitude": [{"timestamp": s, **array("q", q)} for s, q in roll],
        "sensor_combined": [
            {"timestamp": s, **array("gyro_rad", [0.4 * np.cos(2 * t), 0.01, 0.02])}
            | array("accelerometer_m_s2", [0.0, 0.0, -9.81])
            for s, t in fast
        ],
        "actuator_motors": [
            {"timestamp": s, **array("control", [0.5, 0.51, 0.52, 0.53, *[np.nan] * 8])} for s, _ in stamps
        ],
        "battery_status": [{"timestamp": s, "voltage_v": 15.0 - 0.1 * t} for s, t in stamps[::10]],
        "vehicle_status": [{"timestamp": s, "vehicle_type": 1} for s, _ in stamps[::50]],
    }  # fmt: skip
