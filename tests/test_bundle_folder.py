"""A folder that is replaced: the old one or the new one, whole, whenever the process that replaces it is killed."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from neural_lander import bundle_folder
from neural_lander.bundle_folder import check_destination, read_folder, recover, replace_folder
from neural_lander.errors import UserError

ROOT = Path(__file__).parents[1]
NAMES = ("a", "b", "c")
KILLED = -signal.SIGKILL


def filled(letter: str) -> dict[str, bytes]:
    return {name: (letter * 20_000 + name).encode() for name in NAMES}


OLD, NEW = filled("o"), filled("n")

WRITER = """
import os, signal, sys
from pathlib import Path
from neural_lander import bundle_folder
path, at, exchanges = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "exchange"
if not exchanges:
    bundle_folder._exchange = lambda a, b: False
contents = [{name: (letter * 20_000 + name).encode() for name in "abc"} for letter in "no"]
count, started = 0, False
def hook(event, arguments):
    global count
    if started and event.partition(".")[0] in ("open", "os", "shutil", "tempfile", "ctypes"):
        count += 1
        if count == at:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(hook)
if at:
    started = True
    bundle_folder.replace_folder(path, contents[0], "abc")
    print(count)
while not at:  # until killed from outside
    for new in contents:
        bundle_folder.replace_folder(path, new, "abc")
        print("replaced", flush=True)
"""


def writer(path: Path, at: int, how: str) -> subprocess.Popen[str]:
    """A process that replaces the folder: once, to kill itself before its ``at``-th file operation, or for ever."""
    command = [sys.executable, "-c", WRITER, str(path), str(at), how]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def litter(folder: Path) -> list[str]:
    return [entry.name for entry in folder.iterdir() if entry.name.startswith(".")]


def held(path: Path) -> str:
    """Which folder is at the path, without any help from what reads it."""
    found = {entry.name: entry.read_bytes() for entry in path.iterdir()}
    assert found in (OLD, NEW), "a mixture"
    return "old" if found == OLD else "new"


def kill_before_every_operation(tmp_path: Path, how: str, step: int) -> tuple[list[str], int]:
    """What is at the path after a kill before the 1st, the (1 + step)th ... operation, and how often it was missing."""
    states, gaps, at = [], 0, 1
    path = tmp_path / "B"
    while True:
        replace_folder(path, OLD, NAMES)
        process = writer(path, at, how)
        _, err = process.communicate(timeout=60)
        assert process.returncode in (0, KILLED), err
        gaps += not path.exists()
        assert read_folder(path, NAMES) in (OLD, NEW)  # brings the old one back where the system cannot exchange
        states.append(held(path))
        if process.returncode == 0:
            replace_folder(path, OLD, NAMES)
            assert litter(tmp_path) == []  # of all the killed ones
            return states, gaps
        at += step


@pytest.mark.parametrize("how, step", [("exchange", 7), ("rename", 7)])
def test_killed_before_some_file_operations_the_old_or_the_new_folder_is_left(
    tmp_path: Path, how: str, step: int
) -> None:
    states, gaps = kill_before_every_operation(tmp_path, how, step)
    assert states[0] == "old" and states[-1] == "new"
    assert how == "rename" or gaps == 0


@pytest.mark.slow
@pytest.mark.parametrize("how", ["exchange", "rename"])
def test_killed_before_every_file_operation_the_old_or_the_new_folder_is_left(tmp_path: Path, how: str) -> None:
    states, gaps = kill_before_every_operation(tmp_path, how, 1)
    assert states == sorted(states, reverse=True)  # old up to one operation, new from there on
    assert states.count("old") > 10 and states.count("new") > 5
    assert (gaps == 0) == (how == "exchange")


@pytest.mark.slow
@pytest.mark.parametrize("how", ["exchange", "rename"])
def test_killed_at_150_random_moments_the_old_or_the_new_folder_is_left(tmp_path: Path, how: str) -> None:
    rng, path, states = np.random.default_rng(3), tmp_path / "B", []
    replace_folder(path, OLD, NAMES)
    for moment in rng.uniform(0.0, 0.02, 150):  # s; one replacement takes some 4 ms
        process = writer(path, 0, how)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(moment)
        process.kill()
        process.communicate(timeout=60)
        assert how == "rename" or path.exists()
        assert read_folder(path, NAMES) in (OLD, NEW)
        states.append(held(path))
    assert {"old", "new"} == set(states)
    replace_folder(path, OLD, NAMES)
    assert litter(tmp_path) == []


@pytest.mark.parametrize("how", ["exchange", "rename"])
def test_whoever_reads_during_replacements_gets_one_whole_folder(tmp_path: Path, how: str) -> None:
    path = tmp_path / "B"
    replace_folder(path, OLD, NAMES)
    process = writer(path, 0, how)
    assert process.stdout is not None
    process.stdout.readline()
    drain = threading.Thread(target=process.stdout.read)
    drain.start()
    seen = []
    try:
        for _ in range(200):
            try:
                seen.append(read_folder(path, NAMES))
            except OSError:  # replaced ten times in a row while it was read
                assert how == "rename"
    finally:
        process.kill()
        process.wait(timeout=60)
        drain.join()
        process.stdout.close()
        assert process.stderr is not None
        process.stderr.close()
    assert len(seen) > 20
    assert all(contents in (OLD, NEW) for contents in seen)


def test_several_may_replace_it_at_the_same_time(tmp_path: Path) -> None:
    path, failures = tmp_path / "B", list[Exception]()

    def write(contents: dict[str, bytes]) -> None:
        for _ in range(150):
            try:
                replace_folder(path, contents, NAMES)
            except (UserError, OSError) as error:
                failures.append(error)

    threads = [threading.Thread(target=write, args=(contents,)) for contents in (OLD, NEW, OLD)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert read_folder(path, NAMES) in (OLD, NEW) and litter(tmp_path) == []


def test_without_an_exchange_an_interrupt_between_the_renames_puts_the_old_folder_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, rename, calls = tmp_path / "B", Path.rename, []
    replace_folder(path, OLD, NAMES)

    def interrupted(self: Path, target: Path) -> Path:
        calls.append(target)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(bundle_folder, "_exchange", lambda a, b: False)
    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt):
        replace_folder(path, NEW, NAMES)
    assert held(path) == "old"
    assert litter(tmp_path) == []


@pytest.mark.skipif(sys.platform != "linux", reason="needs renameat2")
def test_linux_exchanges_two_folders_in_one_step(tmp_path: Path) -> None:
    replace_folder(tmp_path / "A", OLD, NAMES)
    replace_folder(tmp_path / "B", NEW, NAMES)
    assert bundle_folder._exchange(tmp_path / "A", tmp_path / "B")
    assert (held(tmp_path / "A"), held(tmp_path / "B")) == ("new", "old")
    with pytest.raises(OSError, match="No such file"):
        bundle_folder._exchange(tmp_path / "A", tmp_path / "C")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("room", [0, 1, 2])
def test_a_full_disk_leaves_the_old_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int) -> None:
    path, write, written = tmp_path / "B", bundle_folder._write, []
    replace_folder(path, OLD, NAMES)

    def full(target: Path, data: bytes) -> None:
        write(Path("/dev/full") if len(written) == room else target, data)
        written.append(target)

    monkeypatch.setattr(bundle_folder, "_write", full)
    with pytest.raises(UserError, match="No space left on device"):
        replace_folder(path, NEW, NAMES)
    assert held(path) == "old"
    assert litter(tmp_path) == []


def test_folders_of_others_with_like_names_are_left_alone(tmp_path: Path) -> None:
    mine = [tmp_path / ".B-abcdefgh", tmp_path / ".B-two-abcdefgh", tmp_path / ".B-new", tmp_path / ".B-abcdefg_"]
    for folder in mine:
        (folder / ("notes" if folder == mine[0] else "old")).mkdir(parents=True)
    mine[3].rename(tmp_path / ".C-abcdefg_")
    replace_folder(tmp_path / "B", OLD, NAMES)
    recover(tmp_path / "D")
    assert all(folder.is_dir() for folder in mine[:3])
    assert (tmp_path / ".C-abcdefg_").is_dir()


def test_a_folder_being_written_by_a_living_process_is_not_cleared_away(tmp_path: Path) -> None:
    with bundle_folder._staging(tmp_path / "B") as staging:
        (staging / "new").mkdir()
        replace_folder(tmp_path / "B", OLD, NAMES)
        assert staging.is_dir()
    assert litter(tmp_path) == []


def test_optional_files_are_allowed_and_others_are_not(tmp_path: Path) -> None:
    path = tmp_path / "B"
    replace_folder(path, {**OLD, "history": b"1"}, NAMES, ("history",))
    check_destination(path, NAMES, ("history",))
    with pytest.raises(UserError, match="it holds 'history'"):
        check_destination(path, NAMES)
    assert read_folder(path, NAMES, ("history",))["history"] == b"1"
    replace_folder(path, NEW, NAMES, ("history",))
    assert held(path) == "new"
    (path / "b").unlink()
    with pytest.raises(UserError, match="is not a bundle"):
        replace_folder(path, OLD, NAMES, ("history",))
    with pytest.raises(FileNotFoundError):
        read_folder(path, NAMES)


def test_a_name_with_special_characters_is_replaced_like_any_other(tmp_path: Path) -> None:
    path = tmp_path / "B[1]* ü"
    replace_folder(path, OLD, NAMES)
    replace_folder(path, NEW, NAMES)
    assert held(path) == "new"
    assert os.listdir(tmp_path) == [path.name]


def test_who_looks_while_it_is_replaced_finds_no_half_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between opening a folder and listing it another is put in its place, and this one is emptied."""
    path = tmp_path / "B"
    replace_folder(path, OLD, NAMES)
    listed, times = Path.iterdir, list[int]()

    def late(folder: Path) -> Iterator[Path]:
        if folder != path or times:
            return listed(folder)
        times.append(1)
        entries = list(listed(folder))
        replace_folder(path, NEW, NAMES)
        return iter(entries[:1])

    monkeypatch.setattr(Path, "iterdir", late)
    check_destination(path, NAMES)
    assert times == [1]
