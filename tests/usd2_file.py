"""A writer of Crazyflie µSD logs of the present version (0xBC), after the firmware's description."""

import math
import struct
import zlib
from collections.abc import Mapping, Sequence

import numpy as np

STATE = "stateEstimate."
FAST = {
    **{STATE + name: "f" for name in ("x", "y", "z", "vx", "vy", "vz", "ax", "ay", "az", "qw", "qx", "qy", "qz")},
    **{f"gyro.{a}": "f" for a in "xyz"},
    **{f"motor.m{k}": "H" for k in range(1, 5)},
}
SLOW = {"pm.vbat": "f"}
EVENTS = {"fixedFrequency": FAST, "battery": SLOW}


def file(
    rows: Sequence[tuple[float, str, Sequence]], events: Mapping[str, Mapping[str, str]] = EVENTS, version: int = 2
) -> bytes:
    """Rows are (time in s, event, values)."""
    data = struct.pack("<BHH", 0xBC, version, len(events))
    for k, (name, variables) in enumerate(events.items()):
        data += struct.pack("<H", k) + name.encode() + b"\0" + struct.pack("<H", len(variables))
        data += b"".join(f"{variable}({code})".encode() + b"\0" for variable, code in variables.items())
    numbers = {name: k for k, name in enumerate(events)}
    stamp = {1: ("I", 1e3), 2: ("Q", 1e6)}[version]
    for t, name, values in rows:
        data += struct.pack(f"<H{stamp[0]}", numbers[name], round(t * stamp[1]))
        data += struct.pack("<" + "".join(events[name].values()), *values)
    return data + struct.pack("<I", zlib.crc32(data))


def flight(n: int = 300, start: float = 4.0) -> list[tuple]:
    rows: list[tuple] = []
    for k in range(n):
        t = k / 100
        z, vz, a = 0.5 - 0.4 * math.cos(t), 0.4 * math.sin(t), 0.2 * math.sin(3 * t)
        state = [0.1 * t, 0.2, z, 0.1, 0.0, vz, 0.0, 0.0, 0.4 * math.cos(t) / 9.81]
        attitude = [math.cos(a / 2), math.sin(a / 2), 0.0, 0.0]
        gyro = [math.degrees(0.6 * math.cos(3 * t)), 0.0, 0.0]
        rows.append((start + t, "fixedFrequency", [*state, *attitude, *gyro, 30000, 31000, 32000, 33000]))
        if k % 10 == 0:
            rows.append((start + t + 0.001, "battery", [float(np.float32(4.1 - 0.01 * t))]))
    return rows
