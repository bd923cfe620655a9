"""The MAVLink parser beside the fastest line and beside pymavlink's own, in one run."""

from __future__ import annotations

import gc
import random
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from pymavlink.dialects.v20 import ardupilotmega as dialect

from firmware_bridge.mavlink.framing import FrameParser
from firmware_bridge.mavlink.link import MavlinkLink
from firmware_bridge.mavlink.messages import decode, is_read
from neural_lander.vehicle import load_vehicle

LINE = 921_600 / 10  # bytes/s: the fastest telemetry line in common use, with start and stop bits
CALL = 230  # bytes that it brings in one tick of 400 Hz
SECONDS = 60  # of telemetry at that speed
REPEATS = 3


def telemetry(size: int) -> bytes:
    """Position, attitude and inertial data in turn, heartbeats and texts between."""
    rng, mav, frames, length = random.Random(0), dialect.MAVLink(None, srcSystem=1, srcComponent=1), [], 0
    for k in range(size):
        ms, numbers = 5 * k, [rng.gauss(0, 1) for _ in range(16)]
        messages: list[Any] = [
            dialect.MAVLink_local_position_ned_message(ms, *numbers[:6]),
            dialect.MAVLink_attitude_quaternion_message(ms, 1.0, 0.0, 0.0, 0.0, *numbers[6:9]),
            dialect.MAVLink_highres_imu_message(1000 * ms, *numbers[:13], 63),
        ]
        if k % 200 == 0:
            messages.append(dialect.MAVLink_heartbeat_message(2, 3, 81, 4, 4, 3))
            messages.append(dialect.MAVLink_statustext_message(6, b"EKF3 IMU0 is using GPS"))
        for message in messages:
            frames.append(message.pack(mav))
            mav.seq = (mav.seq + 1) % 256
            length += len(frames[-1])
        if length >= size:
            break
    return b"".join(frames)


class Feed:
    """A port that hands out what it is given and swallows what is written."""

    def __init__(self) -> None:
        self.data = b""

    def read(self) -> bytes:
        """What was given last."""
        data, self.data = self.data, b""
        return data

    def write(self, data: bytes) -> bool:
        """Whether there was room for it."""
        return True

    def close(self) -> None:
        """Nothing."""


def decoding() -> Callable[[bytes], int]:
    """Framing, and fields of every message that the link reads."""
    parser = FrameParser()
    return lambda chunk: len([decode(frame) for frame in parser.feed(chunk) if is_read(frame.message)])


def framing() -> Callable[[bytes], int]:
    """Framing and checksums alone."""
    parser = FrameParser()
    return lambda chunk: len(parser.feed(chunk))


def polling() -> Callable[[bytes], int]:
    """The whole link: reports in our units and frames, heartbeats and requests of its own."""
    port = Feed()
    link = MavlinkLink(port, load_vehicle("intel-aero"))
    clock = iter(range(1 << 40))

    def poll(chunk: bytes) -> int:
        port.data = chunk
        return len(link.poll(0.0025 * next(clock)))

    return poll


def pymavlink() -> Callable[[bytes], int]:
    """pymavlink's parser, which decodes everything."""
    mav = dialect.MAVLink(None)
    mav.robust_parsing = True
    return lambda chunk: len(mav.parse_buffer(chunk) or ())


def row(name: str, make: Callable[[], Callable[[bytes], int]], data: bytes) -> dict[str, Any]:
    """Throughput by processor time, and single calls of one tick's bytes by the clock; the best of a few repeats."""
    chunks = [data[k : k + CALL] for k in range(0, len(data), CALL)]
    best: tuple[float, np.ndarray] | None = None
    for _ in range(REPEATS):
        take, took = make(), np.empty(len(chunks))
        gc.collect()
        gc.freeze()
        busy = time.process_time()
        for k, chunk in enumerate(chunks):
            started = time.perf_counter()
            take(chunk)
            took[k] = time.perf_counter() - started
        busy = time.process_time() - busy
        gc.unfreeze()
        if best is None or busy < best[0]:
            best = (busy, took)
    assert best is not None
    rate, us = len(data) / best[0], 1e6 * best[1]
    return {
        "what": name,
        "MB/s": rate / 1e6,
        "times the line": rate / LINE,
        "us per 230 bytes": float(np.median(us)),
        "p99": float(np.percentile(us, 99)),
        "p99.9": float(np.percentile(us, 99.9)),
        "worst": float(us.max()),
    }


def run() -> dict[str, Any]:
    """Our parser, our link, pymavlink's parser; telemetry and noise."""
    data = telemetry(int(SECONDS * LINE))
    noise = random.Random(1).randbytes(len(data) // 4)
    markers = b"\xfd" * (len(data) // 8)
    return {
        "what": f"MAVLink, {SECONDS} s of telemetry at 921600 baud ({LINE / 1e3:.1f} kB/s), best of {REPEATS}",
        "rows": [
            row("frames and checksums", framing, data),
            row("and fields", decoding, data),
            row("and reports: the whole link", polling, data),
            row("pymavlink's parser", pymavlink, data),
            row("frames, in noise", framing, noise),
            row("frames, in nothing but markers", framing, markers),
        ],
    }
