"""Damaged files of every format: a log with a warning, or one sentence why not; no crash, no hang, no wrong length."""

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
from neural_lander.flightlog import read_log, write_csv, write_mcap
from neural_lander.flightlog.usd_blocks import parse_header

REAL = Path(__file__).parents[2] / "shared/data"
SECONDS = 5.0  # for one file, on a busy machine
FEW, MANY = 80, 2000
FEW_RECORDS = 0.03  # of all, that may be lost or doubled as wholes where no checksum and no regular clock tells
REAL_MANY = 300  # of the many, on real files, where they are


@dataclass(frozen=True)
class Sample:
    """An undamaged file."""

    data: bytes
    boundary: bytes = b""
    """What a message begins with where a cut before one cannot be told from a shorter flight."""
    chained: bool = False
    """Messages begin with their length: a cut at any of their ends goes unseen."""
    blocks: bool = False
    """Blocks begin with the number of their records, as in the older µSD log."""


def written(write: Callable, tmp_path: Path) -> bytes:
    write(full_log(200, battery_voltage=None), tmp_path / "base")
    return (tmp_path / "base").read_bytes()


def bag(container: str, tmp_path: Path) -> bytes:
    pytest.importorskip("rosbags")
    import ros_file

    return ros_file.write(tmp_path, container, ros_file.messages(0.6)).read_bytes()


SAMPLES: dict[str, Callable[[Path], Sample]] = {
    "px4-ulog": lambda _: Sample(ulog_file.file(ulog_file.flight(2.0)), chained=True),
    "ardupilot-dataflash": lambda _: Sample(dataflash_file.file(dataflash_file.flight(2.0)), b"\xa3\x95"),
    "crazyflie-usd2": lambda _: Sample(usd2_file.file(usd2_file.flight(200))),
    "crazyflie-usd": lambda _: Sample(usd_file.file(usd_file.flight(200)), blocks=True),
    "mcap": lambda path: Sample(written(write_mcap, path)),
    "csv": lambda path: Sample(written(write_csv, path), b"\n"),
    "ros-mcap": lambda path: Sample(bag("mcap", path)),
    "ros-sqlite3": lambda path: Sample(bag("sqlite3", path)),
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


def outcome(path: Path) -> tuple[float, int, tuple[str, ...]] | None:
    """Duration, records with those that are seen to be missing, and warnings; None where the file is refused."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NeuralLanderWarning)  # every other warning is an error
        try:
            log = read_log(path)
        except UserError as error:
            refusal = str(error)
        else:
            steps = np.diff(log.t)
            missing = int(np.maximum(np.round(steps / np.median(steps)) - 1, 0).sum())
            return log.duration, len(log.t) + missing, log.warnings
    assert "\n" not in refusal
    assert path.name in refusal
    return None


def hold(sample: Sample, tmp_path: Path, count: int, seed: int) -> None:
    path = tmp_path / "damaged"
    path.write_bytes(sample.data)
    whole = outcome(path)
    for name, data in mutations(sample.data, count, seed):
        path.write_bytes(data)
        began = time.perf_counter()
        found = outcome(path)
        assert time.perf_counter() - began < SECONDS, name
        if whole is None or found is None or set(found[2]) - set(whole[2]):
            continue
        if name.startswith("cut") and at_a_boundary(sample, len(data)):
            continue
        assert abs(found[0] - whole[0]) < 0.2, (name, found)
        assert abs(found[1] - whole[1]) <= max(2, FEW_RECORDS * whole[1]), (name, found)


def share(name: str, count: int) -> int:
    """The three containers of ROS share what one format gets."""
    return count // 3 + 1 if name.startswith("ros") else count


@pytest.mark.parametrize("name", SAMPLES)
def test_damage_is_survived_and_said(tmp_path: Path, name: str) -> None:
    if name == "px4-ulog":
        pytest.importorskip("pyulog")
    hold(SAMPLES[name](tmp_path), tmp_path, share(name, FEW), seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("name", SAMPLES)
def test_much_damage_is_survived_and_said(tmp_path: Path, name: str) -> None:
    hold(SAMPLES[name](tmp_path), tmp_path, share(name, MANY), seed=2)


@pytest.mark.slow
@pytest.mark.skipif(not REAL.is_dir(), reason="needs the real logs in ../shared/data")
@pytest.mark.parametrize("name", REAL_SAMPLES)
def test_damage_to_real_files_is_survived_and_said(tmp_path: Path, name: str) -> None:
    for file in REAL_SAMPLES[name]:
        data = (REAL / file).read_bytes()
        boundary = b"\xa3\x95" if name == "ardupilot-dataflash" else b""
        sample = Sample(data, boundary, name == "px4-ulog", name == "crazyflie-usd")
        hold(sample, tmp_path, REAL_MANY // len(REAL_SAMPLES[name]), seed=3)
