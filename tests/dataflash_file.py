"""A writer of small ArduPilot DataFlash logs, after the format's description."""

import struct
from collections.abc import Mapping, Sequence

import numpy as np

CODES = {"Q": "Q", "B": "B", "f": "f", "c": "h", "C": "H", "H": "H", "Z": "64s", "N": "16s", "I": "I"}
FORMATS = {
    "MSG": ("QZ", "TimeUS,Message"),
    "PARM": ("QNf", "TimeUS,Name,Value"),
    "XKF1": ("QBccCfffffffccc", "TimeUS,C,Roll,Pitch,Yaw,VN,VE,VD,dPD,PN,PE,PD,GX,GY,GZ"),
    "XKQ": ("QBffff", "TimeUS,C,Q1,Q2,Q3,Q4"),
    "ATT": ("QccC", "TimeUS,Roll,Pitch,Yaw"),
    "IMU": ("QBffffff", "TimeUS,I,GyrX,GyrY,GyrZ,AccX,AccY,AccZ"),
    "RCOU": ("QHHHH", "TimeUS,C1,C2,C3,C4"),
    "ESC": ("QBf", "TimeUS,Instance,RPM"),
    "BAT": ("QBf", "TimeUS,Inst,Volt"),
    "RFND": ("QBCBB", "TimeUS,Instance,Dist,Stat,Orient"),
    "DSF": ("QI", "TimeUS,Dp"),
}


def file(messages: Sequence[tuple[str, Sequence]], formats: Mapping[str, tuple[str, str]] = FORMATS) -> bytes:
    """Messages in the order given, after the FMT messages of all types; values as stored."""
    data = _fmt(128, 89, "FMT", "BBnNZ", "Type,Length,Name,Format,Columns")
    types = {name: 129 + k for k, name in enumerate(formats)}
    structs = {name: struct.Struct("<" + "".join(CODES[c] for c in code)) for name, (code, _) in formats.items()}
    for name, (code, columns) in formats.items():
        data += _fmt(types[name], 3 + structs[name].size, name, code, columns)
    packed = [b"\xa3\x95" + bytes([types[name]]) + structs[name].pack(*values) for name, values in messages]
    return data + b"".join(packed)


def _fmt(kind: int, length: int, name: str, code: str, columns: str) -> bytes:
    head = b"\xa3\x95\x80" + bytes([kind, length])
    return head + struct.pack("<4s16s64s", name.encode(), code.encode(), columns.encode())


def flight(seconds: float = 6.0, firmware: str = "ArduCopter V4.5.1", quaternions: bool = True) -> list[tuple]:
    """A climb to 1 m and back while rolling, flown north at 1 m/s: EKF at 50 Hz, IMU at 200 Hz, two EKF cores."""
    rows: list[tuple] = [(0, "MSG", (1000, firmware.encode())), (0, "PARM", (1000, b"FRAME_CLASS", 1.0))]
    rows += [(0, "PARM", (1000, name, value)) for name, value in ((b"SERVO1_FUNCTION", 34), (b"SERVO2_FUNCTION", 33))]
    rows += [(0, "PARM", (1000, b"EK3_SRC1_POSZ", 2.0)), (0, "PARM", (1000, b"MOT_PWM_MAX", 2000.0))]
    for k in range(round(seconds * 200)):
        t = k / 200
        us = 5_000_000 + 5000 * k
        tilt = 0.2 * np.sin(2 * t)
        gyro = [0.4 * np.cos(2 * t), 0.01, 0.02]
        rows += [(us, "IMU", (us, i, *gyro, 0.0, 0.0, -9.81 + i)) for i in (0, 1)]
        if k % 4 == 0:
            height, climb = 0.5 - 0.5 * np.cos(t), 0.5 * np.sin(t)
            angles = (round(np.degrees(tilt) * 100), 0, 0)
            for core in (0, 1):
                pose = (1.0, 0.0, -climb, 0.0, t + 9 * core, 2.0, -height)
                rows.append((us, "XKF1", (us, core, *angles, *pose, 0, 0, 0)))
                if quaternions:
                    rows.append((us, "XKQ", (us, core, np.cos(tilt / 2), np.sin(tilt / 2), 0.0, 0.0)))
            rows.append((us, "ATT", (us, *angles)))
            rows.append((us, "RCOU", (us, 1500, 1250, 1600, 1700)))
            rows += [(us, "ESC", (us + 10 * m, m, 3000.0 + 60 * m)) for m in range(4)]
            rows.append((us, "BAT", (us, 0, 15.0 - 0.1 * t)))
    return [(name, values) for _, name, values in rows]
