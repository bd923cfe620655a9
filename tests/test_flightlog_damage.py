"""Damaged files of every format: a log with a warning, or one sentence why not; no crash, no hang, no wrong length.

A length may be wrong without a warning only where the damaged file could have been written as it is:

- a file without an end mark, cut exactly between two messages, blocks or lines, is a shorter flight;
- a source whose first records are lost (up to 0.2 s) began late, one whose last two are lost ended early: loggers do
  both, and only formats without a checksum let this happen unseen;
- whole lines of a table with an irregular clock may go; no counter and no clock tells.
"""

import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import dataflash_file
import numpy as np
import pytest
import ulog_file
import usd2_file
import usd_file
from flights import full_log

from neural_lander.errors import NeuralLanderWarning, UserError
from neural_lander.flightlog import FlightLog, read_log, write_csv, write_mcap
from neural_lander.flightlog.dataflash_records import read_records
from neural_lander.flightlog.usd_blocks import parse_header

REAL = Path(__file__).parents[2] / "shared/data"
SECONDS = 5.0  # for one file, on a busy machine
FEW, MANY = 80, 2000
EXCERPT = 600_000  # bytes that a real file is cut to, at a boundary: then many mutations of it take a minute or two
LATE = 1.5  # periods from one record to the next beyond which one is missing
ENDS = 0.25  # s: sources may begin and end 0.2 s apart before it is said, with one digit after the point


@dataclass(frozen=True)
class Sample:
    """An undamaged file."""

    data: bytes
    boundary: bytes = b""
    """What a message begins with where a cut before one cannot be told from a shorter flight."""
    chained: bool = False
    """Messages begin with their length: a cut at any of their ends goes unseen."""
    blocks: bool = False
    """Blocks begin with the number of their records, as in the older µSD log; a cut between two goes unseen."""
    checked: bool = False
    """Checksums cover every record: nothing else goes unseen."""
    regular: bool = True
    """The records' clock, by which one that is missing is seen."""


def written(write: Callable, tmp_path: Path, regular: bool = True) -> bytes:
    clock = {"t": np.arange(200) * 0.01} if regular else {}
    write(full_log(200, battery_voltage=None, **clock), tmp_path / "base")
    return (tmp_path / "base").read_bytes()


def bag(container: str, tmp_path: Path) -> bytes:
    pytest.importorskip("rosbags")
    import ros_file

    return ros_file.write(tmp_path, container, ros_file.messages(0.6)).read_bytes()


def px4_topics(seconds: float = 2.0) -> dict[str, list[dict]]:
    """A flight with a rangefinder and telemetry of the rotors."""
    topics = ulog_file.flight(seconds)
    stamps = [record["timestamp"] for record in topics["vehicle_local_position"]]
    reports = {f"esc[{k}].esc_rpm": 6000 for k in range(4)}
    topics["esc_status"] = [{"timestamp": s, **reports} for s in stamps]
    reading = {"current_distance": 0.7, "orientation": 25.0}
    return topics | {"distance_sensor": [{"timestamp": s, **reading} for s in stamps]}


def dataflash_messages() -> list[tuple]:
    """A flight with a rangefinder."""
    found = []
    for name, values in dataflash_file.flight(2.0):
        found.append((name, values))
        if name == "ATT":
            found.append(("RFND", (values[0], 0, 70, 4, 25)))
    return found


def px4_bag(tmp_path: Path) -> bytes:
    pytest.importorskip("rosbags")
    import px4_bag_file

    return px4_bag_file.write(tmp_path, "mcap", px4_topics(0.6)).read_bytes()


SAMPLES: dict[str, Callable[[Path], Sample]] = {
    "px4-ulog": lambda _: Sample(ulog_file.file(px4_topics()), chained=True),
    "ardupilot-dataflash": lambda _: Sample(dataflash_file.file(dataflash_messages()), b"\xa3\x95"),
    "crazyflie-usd2": lambda _: Sample(usd2_file.file(usd2_file.flight(200)), checked=True),
    "crazyflie-usd": lambda _: Sample(usd_file.file(usd_file.flight(200)), blocks=True, checked=True),
    "mcap": lambda path: Sample(written(write_mcap, path), checked=True),
    "csv": lambda path: Sample(written(write_csv, path), b"\n"),
    "csv-irregular": lambda path: Sample(written(write_csv, path, regular=False), b"\n", regular=False),
    "ros-mcap": lambda path: Sample(bag("mcap", path)),
    "ros-sqlite3": lambda path: Sample(bag("sqlite3", path)),
    "ros-px4": lambda path: Sample(px4_bag(path)),
    "ros1": lambda path: Sample(bag("ros1", path)),
}
REAL_SAMPLES = {
    "px4-ulog": tuple(
        f"logs/px4_{name}.ulg" for name in ("ground_appended", "takeoff_landing_76s", "sitl_takeoff_landing")
    ),
    "ardupilot-dataflash": ("logs/arducopter_sitl_takeoff_descent.BIN", "logs/arduplane_1s.BIN"),
    "crazyflie-usd": ("crazyflie_near_ground/large_67g/takeoff_landing/2019-12-20_takeoff_landing_large_cf101_00.usd",),
}


def mutations(data: bytes, count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Cuts, flipped bytes, bytes that are lost, zeroed, doubled or strange."""
    rng = np.random.default_rng(seed)
    n = len(data)
    for k in range(count):
        kind = ("cut", "flip", "flip", "flip", "lost", "zeros", "noise", "double")[k % 8]
        a, size = int(rng.integers(0, n)), int(rng.integers(1, 600))
        changed = bytearray(data)
        if kind == "cut":
            changed = changed[: int(rng.integers(1, n))]
        elif kind == "flip":
            for at in rng.integers(0, n if rng.random() < 0.7 else min(n, 2000), rng.integers(1, 6)):
                changed[at] ^= 1 << int(rng.integers(8)) if rng.random() < 0.5 else int(rng.integers(1, 256))
        elif kind == "lost":
            del changed[a : a + size]
        elif kind == "double":
            changed[a:a] = changed[a : a + size]
        else:
            middle = bytes(min(size, n - a)) if kind == "zeros" else rng.bytes(min(size, n - a))
            changed[a : a + size] = middle
        yield f"{kind} {k}", bytes(changed)


def at_a_boundary(sample: Sample, size: int) -> bool:
    if sample.chained:
        at = 16
        while at < size:
            at += 3 + int.from_bytes(sample.data[at : at + 2], "little")
        return at == size
    if sample.blocks:
        dtype, at = parse_header(sample.data, "")
        while at < size:
            at += 1 + sample.data[at] * dtype.itemsize + 4
        return at == size
    after = sample.data[size : size + len(sample.boundary)]
    return bool(sample.boundary) and sample.boundary in (after, sample.data[size - len(sample.boundary) : size])


def outcome(path: Path) -> FlightLog | None:
    """The log, or None where the file is refused."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NeuralLanderWarning)  # every other warning is an error
        try:
            return read_log(path)
        except UserError as error:
            refusal = str(error)
    assert "\n" not in refusal
    assert path.name in refusal
    return None


def missing(log: FlightLog) -> int:
    """Records that the clock shows to be missing."""
    ratio = np.diff(log.t) / np.median(np.diff(log.t))
    return int(np.sum(np.round(ratio[ratio > LATE]) - 1))


def untold(sample: Sample, whole: FlightLog, found: FlightLog, cut: int | None) -> bool:
    """Whether the difference between two logs leaves no trace in the damaged file: the only one that may go unsaid."""
    if cut is not None and at_a_boundary(sample, cut):
        return len(found.t) <= len(whole.t) and np.allclose(found.t, whole.t[: len(found.t)], rtol=0, atol=1e-9)
    if sample.checked:
        return np.array_equal(found.t, whole.t)
    if not sample.regular:  # whole lines may go; what is left keeps its times
        return len(found.t) <= len(whole.t)
    period, lost = float(np.median(np.diff(whole.t))), len(whole.t) - len(found.t)
    shorter = whole.duration - found.duration
    if lost == 0:  # a time that is damaged within its order is a wrong number, not a wrong length
        return abs(shorter) < LATE * period
    at_the_ends = lost > 0 and abs(lost * period - shorter) < LATE * period and shorter < ENDS
    return at_the_ends and missing(found) <= missing(whole)


def hold(sample: Sample, tmp_path: Path, count: int, seed: int) -> None:
    path = tmp_path / "damaged"
    path.write_bytes(sample.data)
    whole = outcome(path)
    for name, data in mutations(sample.data, count, seed):
        path.write_bytes(data)
        began = time.perf_counter()
        found = outcome(path)
        assert time.perf_counter() - began < SECONDS, name
        if whole is None or found is None or set(found.warnings) - set(whole.warnings):
            continue
        cut = len(data) if name.startswith("cut") else None
        assert untold(sample, whole, found, cut), (name, len(whole.t), len(found.t), whole.duration, found.duration)


def excerpt(name: str, data: bytes) -> bytes:
    """The beginning of a real file, a shorter flight by itself."""
    if name == "px4-ulog":
        at = 16
        while at < min(len(data), EXCERPT):
            end, at = at, at + 3 + int.from_bytes(data[at : at + 2], "little")
        return data if len(data) <= EXCERPT else data[:end]
    if name == "ardupilot-dataflash":  # one of them is cut already, and the same sentence would say so again
        data = data[: data.rfind(b"\xa3\x95", 0, EXCERPT)] if len(data) > EXCERPT else data
        return data[: len(data) - read_records(data, frozenset()).cut_bytes]
    return data


@pytest.mark.parametrize("name", SAMPLES)
def test_damage_is_survived_and_said(tmp_path: Path, name: str) -> None:
    if name == "px4-ulog":
        pytest.importorskip("pyulog")
    few = FEW // 3 + 1 if name.startswith("ros") else FEW  # three containers, and PX4's messages in one
    hold(SAMPLES[name](tmp_path), tmp_path, few, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("name", SAMPLES)
def test_much_damage_is_survived_and_said(tmp_path: Path, name: str) -> None:
    hold(SAMPLES[name](tmp_path), tmp_path, MANY, seed=2)


@pytest.mark.slow
@pytest.mark.skipif(not REAL.is_dir(), reason="needs the real logs in ../shared/data")
@pytest.mark.parametrize("name", REAL_SAMPLES)
def test_damage_to_real_files_is_survived_and_said(tmp_path: Path, name: str) -> None:
    for file in REAL_SAMPLES[name]:
        data, usd = excerpt(name, (REAL / file).read_bytes()), name == "crazyflie-usd"
        boundary = b"\xa3\x95" if name == "ardupilot-dataflash" else b""
        sample = Sample(data, boundary, chained=name == "px4-ulog", blocks=usd, checked=usd)
        hold(sample, tmp_path, MANY // len(REAL_SAMPLES[name]) + 1, seed=3)
