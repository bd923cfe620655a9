"""From raw µSD logs to a trained bundle: cost and memory against the amount of data.

``python -m benchmarks scaling`` measures 1 and 10 times sixteen flights of a minute, ``python -m benchmarks.scaling
1 10 100`` any multiples, kept as ``scaling_chosen`` in ``results.json``. The flights are synthetic, no two alike:
sweeps over the ground with thrust dither, a ground effect, drag, noise, and a bias of each flight's own.
"""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from benchmarks.__main__ import keep, machine, table
from benchmarks.reading import BLOCK, FIELDS, with_crc
from neural_lander.bundle import save_bundle
from neural_lander.flightlog.read import read_logs
from neural_lander.residual.training import train_residual
from neural_lander.rotation import quaternion_to_matrix
from neural_lander.vehicle import GRAVITY, Vehicle, load_vehicle

FLIGHTS = 16  # of the same length, about 100 000 samples together: what one afternoon of flying leaves
SECONDS = 62.5
PERIOD = 0.01  # s
MULTIPLES = (1, 10)
AT_ONCE = 80  # flights that are generated together
REQUIRED = 20.0  # s for 1x on two cores
GROUND_GAIN, GROUND_DECAY, DRAG = 0.25, 0.06, 0.02  # of the thrust at height 0; m; N per m/s
BIAS, NOISE = 0.03, 0.015  # of the weight: of a flight, and of a sample of the accelerometer
STAGES = {
    "reading": "reading",
    "samples": "samples",
    "held-out fit": "fit without held-out flights",
    "final fit": "report, fit on all flights",
    "domain": "domain and fade-out",
    "bundle": "bundle",
}
"""Stage of the program -> part of the table."""


def swing(rng: np.random.Generator, flights: int, t: np.ndarray, band: tuple[float, float], rms: float) -> np.ndarray:
    """Six sines of random frequency in a band of Hz and random phase, ``(flights, len(t))``."""
    frequency, phase = rng.uniform(*band, (6, flights, 1)), rng.uniform(0, 2 * np.pi, (6, flights, 1))
    return np.asarray(
        rms / np.sqrt(3) * sum(np.sin(2 * np.pi * f * t + p) for f, p in zip(frequency, phase, strict=True))
    )


def compressed(attitude: np.ndarray) -> np.ndarray:
    """The firmware's 32-bit quaternions of attitudes near level, ``(..., 4) -> (...)``."""
    small = attitude[..., 1:] * np.where(attitude[..., :1] < 0, -1.0, 1.0)
    fields = (small < 0).astype(np.uint32) << 9 | np.rint(511 * np.sqrt(2) * np.abs(small)).astype(np.uint32)
    return np.uint32(3) << 30 | fields[..., 0] << 20 | fields[..., 1] << 10 | fields[..., 2]


def write_flights(folder: Path, vehicle: Vehicle, first: int, flights: int) -> None:
    """µSD logs of flights that a crude PD flies side by side, numbered from ``first``, which seeds them too."""
    assert vehicle.motor_curve is not None
    rng, n, m, floor = np.random.default_rng(first), round(SECONDS / PERIOD), vehicle.mass, vehicle.gear_clearance
    t = PERIOD * np.arange(n)
    lean = np.stack([swing(rng, flights, t, (0.1, 0.8), 0.03) for _ in range(2)], axis=-1)  # rad about x, y
    attitude = np.concatenate([np.ones((flights, n, 1)), lean / 2, np.zeros((flights, n, 1))], axis=-1)
    attitude /= np.linalg.norm(attitude, axis=-1, keepdims=True)
    R = quaternion_to_matrix(attitude)
    velocity = np.zeros((flights, n, 3))
    for axis in range(2):
        velocity[..., axis] = swing(rng, flights, t, (0.05, 0.5), 0.2)
    dither = swing(rng, flights, t, (0.5, 4.0), 0.08 * vehicle.weight)
    knots = (flights, n // 200 + 2)
    targets = np.where(rng.random(knots) < 0.6, rng.uniform(0.04, 0.15, knots), rng.uniform(0.2, 0.6, knots))
    reference = np.stack([np.interp(t, 2.0 * np.arange(knots[1]), row) for row in targets])
    voltage = np.rint(1e3 * (4.0 - 0.5 * t / SECONDS + 0.05 * rng.normal(size=(flights, 1)))) / 1e3
    bias = BIAS * vehicle.weight * rng.normal(size=flights)

    pwm, height, specific = (np.zeros((flights, n)) for _ in range(3))
    z, v, thrust = reference[:, 0].copy(), np.zeros(flights), np.full(flights, vehicle.weight)
    share = 1 - np.exp(-PERIOD / vehicle.motor_time_constant)
    for k in range(n):
        ground = GROUND_GAIN * np.exp(-(z - floor) / GROUND_DECAY)
        asked = m * (GRAVITY + 16 * (reference[:, k] - z) - 8 * v) / (R[:, k, 2, 2] + ground) + dither[:, k]
        command = vehicle.motor_curve.pwm(np.repeat(asked[:, None] / 4, 4, axis=1), voltage[:, k])[:, 0]
        pwm[:, k] = np.rint(65536 * command) / 65536
        static = 4 * vehicle.motor_curve.thrust(pwm[:, k, None], voltage[:, k])[:, 0]
        thrust = thrust + share * (static - thrust)
        height[:, k], velocity[:, k, 2] = z, v
        specific[:, k] = (thrust * (R[:, k, 2, 2] + ground) - DRAG * v + bias) / m
        z, v = z + PERIOD * v, v + PERIOD * (specific[:, k] - GRAVITY)
        v = np.where(z < floor, np.abs(v), v)

    position = np.cumsum(velocity, axis=1) * PERIOD
    position[..., 2] = height
    sideways = R[..., :2, 2] * specific[..., None] - DRAG / m * velocity[..., :2]
    acceleration = np.concatenate([sideways, specific[..., None]], axis=-1)
    acceleration += NOISE * GRAVITY * rng.normal(size=acceleration.shape)
    names = FIELDS.rstrip(",").split(",")
    dtype = np.dtype([(name[:-3], "<" + {"I": "u4", "h": "i2", "H": "u2"}[name[-2]]) for name in names])
    for i in range(flights):
        records = np.zeros(n, dtype)
        records["tick"] = np.rint(1e6 * t)
        for prefix, values in (("", position), ("v", velocity), ("a", acceleration)):
            for j, letter in enumerate("xyz"):
                records[f"stateEstimateZ.{prefix}{letter}"] = np.rint(1e3 * values[i, :, j])
        records["stateEstimateZ.quat"] = compressed(attitude[i])
        for j in range(1, 5):
            records[f"pwm.m{j}_pwm"] = np.rint(65536 * pwm[i])
        records["pm.vbatMV"] = np.rint(1e3 * voltage[i])
        blocks = (records[k : k + BLOCK].tobytes() for k in range(0, n, BLOCK))
        data = with_crc(bytes([len(names)]) + FIELDS.encode())
        data += b"".join(with_crc(struct.pack("B", len(block) // dtype.itemsize) + block) for block in blocks)
        (folder / f"flight{first + i:05d}").write_bytes(data)


def peak_megabytes() -> float:
    """Largest resident size of this program so far; getrusage would hold that of the one that started it too."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return float(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) * 1024 / 1e6


def measure(folder: Path) -> None:
    """Train on the logs of ``folder/logs``; seconds and peak memory after each stage as JSON on stdout."""
    vehicle, marks = load_vehicle("crazyflie-parrot"), {"start": (time.perf_counter(), peak_megabytes())}

    def mark(stage: str, fraction: float = 1.0) -> None:
        marks[stage] = (time.perf_counter(), peak_megabytes())

    logs = read_logs([folder / "logs"])
    mark("reading")
    result = train_residual(logs, vehicle, progress=mark)
    save_bundle(folder / "bundle", result)
    mark("bundle")
    print(json.dumps({"samples": result.training_samples, "marks": marks}))


def column(multiple: int) -> dict[str, float]:
    """Seconds by stage and peak memory of one amount of data, in a process of its own."""
    vehicle = load_vehicle("crazyflie-parrot")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "logs").mkdir()
        for first in range(0, FLIGHTS * multiple, AT_ONCE):
            write_flights(folder / "logs", vehicle, first, min(AT_ONCE, FLIGHTS * multiple - first))
        megabytes = sum(path.stat().st_size for path in (folder / "logs").iterdir()) / 1e6
        program = f"from pathlib import Path; from benchmarks.scaling import measure; measure(Path({name!r}))"
        command = [sys.executable, "-c", program]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1])
    found = json.loads(done.stdout)
    at, peak = ({stage: mark[k] for stage, mark in found["marks"].items()} for k in range(2))
    return {
        "flights": FLIGHTS * multiple,
        "usable samples": found["samples"],
        "logs, MB": megabytes,
        **{f"{STAGES[stage]}, s": at[stage] - at[before] for before, stage in pairwise(found["marks"])},
        "in all, s": at["bundle"] - at["start"],
        "memory before, MB": peak["start"],
        "memory after reading, at most, MB": peak["reading"],
        "memory after samples, at most, MB": peak["samples"],
        "memory at most, MB": peak["bundle"],
    }


def run(multiples: Sequence[int] = MULTIPLES) -> dict[str, Any]:
    """One column per amount of data."""
    columns = {f"{multiple}x": column(multiple) for multiple in multiples}
    parts = next(iter(columns.values()))
    return {
        "what": f"from µSD logs to a bundle; {REQUIRED:g} s allowed at 1x",
        "rows": [{"part": part, **{name: values[part] for name, values in columns.items()}} for part in parts],
        "required_s": REQUIRED,
        "met": "1x" not in columns or columns["1x"]["in all, s"] < REQUIRED,
    }


if __name__ == "__main__":
    result = run([int(argument) for argument in sys.argv[1:]] or MULTIPLES)
    Console().print(table("scaling", result))
    keep({"scaling_chosen": {"machine": machine(), **result}})
