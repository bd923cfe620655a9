"""Decoding MSP telemetry, beside what the fastest line can bring and beside the checksum alone."""

from __future__ import annotations

import statistics
import time
from typing import Any

from firmware_bridge.msp.codec import MAX_PAYLOAD, REPLY, Decoder, Frame, crc8_dvb_s2, encode

LINE = 92_160  # bytes/s, 921600 baud with a start and a stop bit
REPEATS = 7
CYCLES = 2000
PIECE = 256  # bytes; what a 400 Hz loop finds at a full line is 230
LOOK = 18  # bytes; what a loop finds that looks every 0.2 ms


def stream(version: int) -> bytes:
    """Inertial data, attitude and status as a link asks for them."""
    replies = [Frame(102, bytes(range(18)), REPLY), Frame(108, bytes(6), REPLY)] * 10 + [Frame(150, bytes(36), REPLY)]
    return b"".join(encode(reply._replace(version=version)) for reply in replies) * (CYCLES // 20)


def promises() -> bytes:
    """Headers of the longest payload that is believed, and nothing but headers."""
    return (b"$X>\0\x66\0" + MAX_PAYLOAD.to_bytes(2, "little")) * 1000


def decode(data: bytes, piece: int) -> int:
    """Number of frames, fed in pieces."""
    decoder = Decoder()
    return sum(len(decoder.feed(data[k : k + piece])) for k in range(0, len(data), piece))


def row(name: str, data: bytes, piece: int) -> dict[str, Any]:
    """Median rate over some repeats."""
    taken = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        frames = decode(data, piece)
        taken.append(time.perf_counter() - started)
    seconds = statistics.median(taken)
    started = time.perf_counter()
    crc8_dvb_s2(data)
    crc = time.perf_counter() - started
    return {
        "frames": name,
        "us a frame": 1e6 * seconds / frames if frames else "-",
        "MB/s": len(data) / seconds / 1e6,
        "times 921600 baud": len(data) / seconds / LINE,
        "CRC alone MB/s": len(data) / crc / 1e6,
    }


def run() -> dict[str, Any]:
    """In pieces of a tick, of a look and of single bytes, the worst that a driver does; and the worst that may come."""
    return {
        "what": "decoding telemetry",
        "rows": [
            row("version 1", stream(1), PIECE),
            row("version 2", stream(2), PIECE),
            row(f"version 2, {LOOK} bytes at a time", stream(2), LOOK),
            row("version 2, byte by byte", stream(2), 1),
            row("headers alone", promises(), PIECE),
        ],
    }
