"""Reading µSD logs, beside reading the bytes and checking their CRC alone."""

from __future__ import annotations

import os
import statistics
import struct
import tempfile
import time
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from neural_lander.errors import NeuralLanderWarning
from neural_lander.flightlog import read_log

RECORDS = 60_000  # ten minutes at 100 Hz
BLOCK = 100  # records
REPEATS = 5
REAL = Path(__file__).parents[2] / "shared/data/crazyflie_near_ground"
"""Real flights, where they lie beside the project."""

FIELDS = (
    "tick(I),stateEstimateZ.x(h),stateEstimateZ.y(h),stateEstimateZ.z(h),stateEstimateZ.vx(h),stateEstimateZ.vy(h),"
    "stateEstimateZ.vz(h),stateEstimateZ.ax(h),stateEstimateZ.ay(h),stateEstimateZ.az(h),stateEstimateZ.quat(I),"
    "stateEstimateZ.rateRoll(h),stateEstimateZ.ratePitch(h),stateEstimateZ.rateYaw(h),pwm.m1_pwm(I),pwm.m2_pwm(I),"
    "pwm.m3_pwm(I),pwm.m4_pwm(I),pm.vbatMV(H),"
)


def with_crc(data: bytes) -> bytes:
    """CRC-32/JAMCRC appended."""
    return data + struct.pack("<I", zlib.crc32(data) ^ 0xFFFFFFFF)


def synthetic(seed: int = 0) -> bytes:
    """A hover of RECORDS records, as the firmware stores it."""
    rng = np.random.default_rng(seed)
    names = FIELDS.rstrip(",").split(",")
    dtype = np.dtype([(name[:-3], "<" + {"I": "u4", "h": "i2", "H": "u2"}[name[-2]]) for name in names])
    records = np.zeros(RECORDS, dtype)
    for name in dtype.names or ():
        records[name] = rng.integers(-300, 300, RECORDS) if dtype[name].kind == "i" else 40_000
    records["tick"] = 9_880 * np.arange(RECORDS)
    records["stateEstimateZ.az"] += 9810
    records["stateEstimateZ.quat"] = 3 << 30  # w is the largest component, the others are zero
    records["pm.vbatMV"] = 3900
    blocks = (records[k : k + BLOCK] for k in range(0, RECORDS, BLOCK))
    return with_crc(bytes([len(names)]) + FIELDS.encode()) + b"".join(
        with_crc(bytes([len(block)]) + block.tobytes()) for block in blocks
    )


def seconds(action: Callable[[], object]) -> float:
    """Median of a few repeats."""
    taken = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        action()
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)


def row(name: str, paths: list[Path]) -> dict[str, Any]:
    """MB/s of our reader and of the bytes with their checksum alone."""
    megabytes = sum(path.stat().st_size for path in paths) / 1e6
    ours = seconds(lambda: [read_log(path) for path in paths])
    bare = seconds(lambda: [zlib.crc32(path.read_bytes()) for path in paths])
    return {
        "files": name,
        "MB": megabytes,
        "seconds": ours,
        "MB/s": megabytes / ours,
        "bytes and CRC alone MB/s": megabytes / bare,
    }


def run() -> dict[str, Any]:
    """Megabytes per second, synthetic and, where present, real flights."""
    warnings.simplefilter("ignore", NeuralLanderWarning)  # the real flights lack records here and there, and say so
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "flight")
        path.write_bytes(synthetic())
        rows = [row(f"synthetic, {RECORDS} records", [path])]
    real = sorted(path for path in REAL.glob("*/*/*") if path.is_file() and os.access(path, os.R_OK))
    if real:
        rows.append(row(f"{len(real)} real flights", real))
    return {"what": f"Crazyflie µSD logs to FlightLog, median of {REPEATS}", "rows": rows}
