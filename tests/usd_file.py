"""A writer of Crazyflie µSD logs (older version) and a scalar quaternion codec, both after the firmware's C."""

import math
import struct
import zlib
from collections.abc import Iterable, Sequence

import numpy as np

STATE = "stateEstimateZ."
FIELDS = {
    "tick": "I",
    **{STATE + name: "h" for name in ("x", "y", "z", "vx", "vy", "vz", "ax", "ay", "az")},
    STATE + "quat": "I",
    **{STATE + name: "h" for name in ("rateRoll", "ratePitch", "rateYaw")},
    **{f"ctrltargetZ.{name}": "h" for name in "xyz"},
    **{f"pwm.m{k}_pwm": "I" for k in range(1, 5)},
    "pm.vbatMV": "H",
}


def compress(w: float, x: float, y: float, z: float) -> int:
    """quatcompress.h, quatcompress()."""
    q = [x, y, z, w]
    largest = max(range(4), key=lambda i: abs(q[i]))
    negate = q[largest] < 0
    packed = largest
    for i in range(4):
        if i != largest:
            negative = (q[i] < 0) != negate
            magnitude = int(511 * abs(q[i]) / math.sqrt(0.5) + 0.5)
            packed = packed << 10 | negative << 9 | magnitude
    return packed


def decompress(packed: int) -> tuple[float, float, float, float]:
    """quatcompress.h, quatdecompress(); (w, x, y, z)."""
    largest = packed >> 30
    q, squares = [0.0] * 4, 0.0
    for i in (3, 2, 1, 0):
        if i != largest:
            q[i] = math.sqrt(0.5) * (packed & 511) / 511
            if packed >> 9 & 1:
                q[i] = -q[i]
            packed >>= 10
            squares += q[i] ** 2
    q[largest] = math.sqrt(1 - squares)
    return q[3], q[0], q[1], q[2]


def crc(data: bytes) -> bytes:
    return struct.pack("<I", zlib.crc32(data) ^ 0xFFFFFFFF)


def header(fields: dict[str, str]) -> bytes:
    data = bytes([len(fields)]) + b"".join(f"{name}({code}),".encode() for name, code in fields.items())
    return data + crc(data)


def block(records: Iterable[Sequence], fields: dict[str, str]) -> bytes:
    packed = [struct.pack("<" + "".join(fields.values()), *record) for record in records]
    data = bytes([len(packed)]) + b"".join(packed)
    return data + crc(data)


def flight(n: int, seed: int = 0, fields: dict[str, str] = FIELDS) -> list[list]:
    """Plausible records as the firmware stores them: a hover with noise."""
    rng = np.random.default_rng(seed)
    records = []
    for k in range(n):
        values = dict.fromkeys(fields, 0)
        values["tick"] = 10_000 + 9_880 * k
        for axis in "xyz":
            values[STATE + axis] = int(rng.integers(-500, 500))
            values[STATE + "v" + axis] = int(rng.integers(-300, 300))
            values[STATE + "a" + axis] = int(rng.integers(-900, 900)) + 9810 * (axis == "z")
            values[f"ctrltargetZ.{axis}"] = int(rng.integers(-500, 500))
        q = np.array([1.0, *rng.normal(scale=0.1, size=3)])
        values[STATE + "quat"] = compress(*(q / np.linalg.norm(q)))
        for axis in ("Roll", "Pitch", "Yaw"):
            values[STATE + "rate" + axis] = int(rng.integers(-2000, 2000))
        for motor in range(1, 5):
            values[f"pwm.m{motor}_pwm"] = int(rng.integers(30_000, 50_000))
        values["pm.vbatMV"] = int(rng.integers(3300, 4200))
        records.append([values[name] for name in fields])
    return records


def file(records: Sequence[Sequence], fields: dict[str, str] = FIELDS, sizes: Sequence[int] = (3, 2, 1, 4)) -> bytes:
    """A whole log; the blocks' sizes are repeated in turn."""
    data, at, turn = header(fields), 0, 0
    while at < len(records):
        size = sizes[turn % len(sizes)]
        data += block(records[at : at + size], fields)
        at, turn = at + size, turn + 1
    return data


def record_size(fields: dict[str, str] = FIELDS) -> int:
    return struct.calcsize("<" + "".join(fields.values()))
