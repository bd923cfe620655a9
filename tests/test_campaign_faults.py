"""Campaigns interrupted, without workers, disk or a plant that works: nothing is lost, nothing is mixed."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neural_lander.control.controller import Controller
from neural_lander.control.learned import Learned
from neural_lander.errors import NeuralLanderWarning, UserError
from neural_lander.state import Reference, State
from neural_lander.vehicle import Vehicle, load_vehicle
from sim.aerodynamics import RotorDrag
from sim.comparison import worlds
from sim.comparison.campaign import Campaign, Outcome, flight_seed, run_campaign
from sim.comparison.fingerprint import fingerprint
from sim.comparison.pool import DaskPool, LocalPool
from sim.comparison.shards import ShardStore, write_rows
from sim.plant import Copy, Plant
from sim.terrain import Slope
from tests.cheap_world import CheapWorld
from tests.random_network import random_network

pytest.importorskip("pybullet", reason="the PyBullet world needs pybullet, which has wheels up to Python 3.11")

ROOT = Path(__file__).parent.parent
VEHICLE = load_vehicle("intel-aero")
COPIES = [Copy(Plant(VEHICLE).with_airframe(k), None) for k in range(2)]


def with_plant(**changes: Any) -> list[Copy]:
    """The same airframes in another plant."""
    return [Copy(replace(copy.plant, **changes), None) for copy in COPIES]


CAMPAIGN = Campaign(COPIES, ["pd", "oracle"], "land-1d", flights=11, world="cheap")


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch) -> CheapWorld:
    """The world ``cheap``, and moment trims that cost nothing in this process."""
    monkeypatch.setattr(worlds, "WORLDS", {"cheap": CheapWorld()})
    monkeypatch.setattr("sim.comparison.campaign._moment_trim", lambda task: (task[0], np.zeros(3)))
    return CheapWorld()


@pytest.fixture
def expected() -> dict[str, Outcome]:
    return run_campaign(CAMPAIGN)


def stopping_after(shards: int, by: type[BaseException] = KeyboardInterrupt):
    def progress(done: int, of: int) -> None:
        if done == shards:
            raise by

    return progress


def fly_and_stop(folder: Path, shards: int) -> None:
    with pytest.warns(NeuralLanderWarning, match="flights are kept in"), pytest.raises(KeyboardInterrupt):
        run_campaign(CAMPAIGN, folder=folder, progress=stopping_after(shards))


@pytest.mark.parametrize("shard_size", [1, 3, 100])
def test_the_sharding_changes_no_number(shard_size: int, expected: dict[str, Outcome]) -> None:
    assert same(run_campaign(CAMPAIGN, shard_size=shard_size), expected)


def same(a: dict[str, Outcome], b: dict[str, Outcome]) -> bool:
    """Not ==, for which NaN is not NaN."""
    return all(json.dumps(a[name].rows) == json.dumps(b[name].rows) for name in {*a, *b})


def test_an_interrupted_campaign_goes_on_where_it_stopped(
    tmp_path: Path, expected: dict[str, Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    fly_and_stop(tmp_path, 5)
    kept = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("*.parquet")}
    assert len(kept) == 5
    seen: list[int] = []
    assert same(run_campaign(CAMPAIGN, folder=tmp_path, progress=lambda done, of: seen.append(of)), expected)
    assert len(seen) == 11 - 5  # shards of two
    assert kept.items() <= {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("*.parquet")}.items()
    monkeypatch.setattr(CheapWorld, "fly", None)  # nothing is flown twice
    assert same(run_campaign(CAMPAIGN, folder=tmp_path), expected)


def test_other_shards_go_on_too(tmp_path: Path, expected: dict[str, Outcome]) -> None:
    fly_and_stop(tmp_path, 3)
    assert same(run_campaign(CAMPAIGN, folder=tmp_path, shard_size=4), expected)


@pytest.mark.parametrize(
    "change, reason",
    [
        ({"flights": 12}, "flights is 11 there and 12 here"),
        ({"seed": 1}, "seed is 0 there and 1 here"),
        ({"omega_n": 4.0}, r"omega_n_rad_s is 3.0 there and 4.0 here"),
        ({"controllers": ["pd"]}, "controllers oracle is"),
        ({"scenario": "land-3d"}, 'scenario name is "land-1d" there and "land-3d" here'),
        ({"copies": with_plant(terrain=Slope(0.1))}, r'terrain is "Flat\(\) \(.*\)" there and "Slope\(angle=0.1\) \('),
        (
            {"copies": with_plant(effects=(RotorDrag(),))},
            r'effects is \["GroundEffect \(.*\)", .*\] there and \["RotorDrag \(.*\)"\] here\. ',
        ),
        (
            {"copies": with_plant(vehicle=VEHICLE.with_(mass=2.0))},
            r'vehicle is "intel-aero \(.*there and "intel-aero \(',
        ),
        ({"copies": COPIES[::-1]}, "airframes 0 plant is .*; and 1 more of airframes"),
    ],
)
def test_another_question_is_refused_with_the_reason_and_nothing_is_touched(
    change: dict, reason: str, tmp_path: Path
) -> None:
    fly_and_stop(tmp_path, 2)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(UserError, match=f"another campaign: {reason}.*take another --out"):
        run_campaign(replace(CAMPAIGN, **change), folder=tmp_path)
    assert before == {path.name: path.read_bytes() for path in tmp_path.iterdir()}


def test_another_network_is_another_question() -> None:
    def learned(seed: int) -> list[Copy]:
        return [
            Copy(
                COPIES[0].plant,
                Learned(random_network(VEHICLE, seed), random_network(VEHICLE, 9), 0.4, uncertified="random weights"),
            )
        ]

    assert replace(CAMPAIGN, copies=learned(1)).question == replace(CAMPAIGN, copies=learned(1)).question
    assert replace(CAMPAIGN, copies=learned(1)).question != replace(CAMPAIGN, copies=learned(2)).question


def test_a_damaged_shard_and_one_of_another_campaign_are_flown_again(
    tmp_path: Path, expected: dict[str, Outcome]
) -> None:
    run_campaign(CAMPAIGN, folder=tmp_path)
    first, second, *_ = sorted(tmp_path.glob("*.parquet"))
    first.write_bytes(first.read_bytes()[:100])
    write_rows(second, [{"controller": "pd", "index": 0, "failed": "", "arrival_error_m": 99.0}])
    with pytest.warns(NeuralLanderWarning, match="flown again"):
        assert same(run_campaign(CAMPAIGN, folder=tmp_path), expected)


def test_a_full_disk_is_one_line_and_what_is_finished_stays(
    tmp_path: Path, expected: dict[str, Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_bytes, written = Path.write_bytes, []

    def full(path: Path, data: bytes) -> int:
        if ".parquet" in path.name:
            written.append(path)
            if len(written) > 4:
                write_bytes(path, data[:10])
                raise OSError(errno.ENOSPC, "No space left on device")
        return write_bytes(path, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(UserError, match=r"No space left on device; what is finished is kept .* the same command goes"):
        run_campaign(CAMPAIGN, folder=tmp_path)
    monkeypatch.setattr(Path, "write_bytes", write_bytes)
    assert len(list(tmp_path.glob("*.parquet"))) == 4
    assert not list(tmp_path.glob(".*"))  # nothing half-written
    assert same(run_campaign(CAMPAIGN, folder=tmp_path), expected)


def test_a_folder_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(UserError, match=r"manifest.json cannot be read.*delete"):
        ShardStore(tmp_path, {"a": 1}).open()


class Faulty:
    """An effect that fails in flights that begin east of the origin: by raising, or by returning NaN."""

    def __init__(self, value: float | None) -> None:
        self.value = value

    def __call__(self, state, rotor_speeds, vehicle, terrain):
        force = np.zeros(3)
        if state.position[0] > 0.06 and self.value is None:
            raise ZeroDivisionError("no idea")
        if state.position[0] > 0.06:
            force[2] = self.value
        return force, np.zeros(3)


class Leaving(Faulty):
    """One that ends the program, or would."""

    def __call__(self, state, rotor_speeds, vehicle, terrain):
        if state.position[0] > 0.06:
            sys.exit("enough")
        return np.zeros(3), np.zeros(3)


@pytest.mark.filterwarnings("ignore:effect 'Leaving' is written for one vehicle")
@pytest.mark.parametrize("world", ["pybullet", pytest.param("batched", marks=pytest.mark.slow)])
def test_an_effect_that_exits_is_named_with_its_seed_and_the_other_flights_go_on(
    world: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worlds, "WORLDS", {"pybullet": worlds.PyBullet(), "batched": worlds.Batched()})
    campaign = Campaign([Copy(Plant(VEHICLE, (Leaving(None),)), None)], ["pd", "oracle"], "hover-low", 2, world=world)
    for outcome in run_campaign(campaign).values():
        assert len(outcome.rows) == len(outcome.failures) == 1
        assert outcome.failures[0].reason == "effect 'Leaving' failed with SystemExit: enough"


@pytest.mark.parametrize("value, reason", [(None, "'Faulty' failed with ZeroDivisionError: no idea"), (np.nan, "nan")])
def test_an_effect_that_fails_is_named_with_its_seed_and_the_other_flights_go_on(
    value: float | None, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worlds, "WORLDS", {"pybullet": worlds.PyBullet()})
    plant = Plant(VEHICLE, (Faulty(value),))
    for name, outcome in run_campaign(Campaign([Copy(plant, None)], ["pd", "oracle"], "hover-low", flights=2)).items():
        assert len(outcome.rows) + len(outcome.failures) == 2
        assert outcome.rows and outcome.failures, name
        for failure in outcome.failures:
            assert failure.seed == flight_seed(0, failure.index)
            assert reason in failure.reason and "Faulty" in failure.reason


class Lost:
    """A force estimate that comes to nothing."""

    def __init__(self, vehicle: Vehicle) -> None:
        self.d_hat = np.zeros(3)

    def reset(self, d_hat: np.ndarray | None = None) -> None:
        self.d_hat = np.zeros(3)

    def observe(self, *_: object) -> None:
        pass

    def update(self, *_: object) -> None:
        self.d_hat = np.full(3, np.nan)


class Wild(Controller):
    """A controller of one's own that asks for what no rotor can do."""

    def __call__(self, t: float, state: State, reference: Reference) -> np.ndarray:
        return super().__call__(t, state, reference) + np.inf * (t > 0.01)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("Lost", r"controller 'tests.test_campaign_faults:Lost': d_hat = \[nan, nan, nan\] N after update: not finite"),
        ("Wild", r"controller 'Wild' asked for rotor speeds \[nan, .*\] rad/s at t = .* s: not finite"),
    ],
)
def test_a_controller_that_asks_for_no_number_is_named_and_no_effect(
    name: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worlds, "WORLDS", {"pybullet": worlds.PyBullet()})
    copies = [Copy(Plant(VEHICLE, (Faulty(0.0),)), None)]
    with pytest.raises(UserError, match=reason):
        run_campaign(Campaign(copies, [f"tests.test_campaign_faults:{name}"], "hover-low", flights=1))


def test_where_no_flight_has_a_result_the_first_reason_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CheapWorld, "scores", lambda self, controller, seed: "bad")
    with pytest.raises(UserError, match=rf"none of 22 flights has a result; seed {flight_seed(0, 0)}: bad"):
        run_campaign(CAMPAIGN)


@pytest.fixture
def no_trim(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers are other processes: there the moment trim is not replaced, so it is not asked for."""
    monkeypatch.setattr("sim.comparison.campaign.moment_trims", lambda copies, pool: [np.zeros(3)] * len(copies))


@pytest.mark.slow
@pytest.mark.usefixtures("no_trim")
def test_a_local_worker_that_is_killed_costs_no_result_and_changes_no_number(
    tmp_path: Path, expected: dict[str, Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    deadly = tmp_path / "deadly"
    deadly.touch()
    monkeypatch.setattr(worlds, "WORLDS", {"cheap": CheapWorld(deadly=deadly)})
    assert same(run_campaign(CAMPAIGN, LocalPool(2), tmp_path / "shards"), expected)
    assert not deadly.exists()


class AlwaysDeadly:
    """Work that kills whoever does it."""

    def __call__(self, task: int) -> int:
        os.kill(os.getpid(), signal.SIGKILL)
        return task


@pytest.mark.slow
def test_work_that_kills_every_worker_is_given_up() -> None:
    with pytest.raises(UserError, match="keep being killed .* 2 of 2 tasks are left"):
        list(LocalPool(2).run(AlwaysDeadly(), [1, 2]))


def start(*arguments: str, folder: Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    return subprocess.Popen(
        [sys.executable, *arguments], cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """Address of a scheduler, and its two workers, each a process of its own."""
    pytest.importorskip("distributed")
    address_file = tmp_path / "scheduler.json"
    where = ["--scheduler-file", str(address_file)]
    scheduler = start(
        "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", *where,
        folder=tmp_path,
    )  # fmt: skip
    one = ["-m", "distributed.cli.dask_worker", *where, "--nthreads", "1", "--no-nanny", "--no-dashboard"]
    workers = [start(*one, folder=tmp_path) for _ in range(2)]
    try:
        for _ in range(600):
            if address_file.exists() and address_file.stat().st_size:
                break
            time.sleep(0.1)
        address = json.loads(address_file.read_text())["address"]
        from distributed import Client

        with Client(address, timeout=30, set_as_default=False) as client:
            client.wait_for_workers(2, timeout=60)
        yield address, workers
    finally:
        for process in (*workers, scheduler):
            process.kill()
            process.wait()


@pytest.mark.slow
@pytest.mark.usefixtures("no_trim")
def test_a_cluster_gives_the_same_numbers_and_so_it_does_if_a_worker_of_it_is_killed(
    cluster: tuple[str, list[subprocess.Popen[bytes]]],
    expected: dict[str, Outcome],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    address, workers = cluster
    assert same(run_campaign(CAMPAIGN, DaskPool(address), shard_size=1), expected)
    monkeypatch.setattr(worlds, "WORLDS", {"cheap": CheapWorld(slow=0.1)})

    def kill_one(done: int, of: int) -> None:
        if done == 3:
            workers[0].kill()

    assert same(run_campaign(CAMPAIGN, DaskPool(address), tmp_path / "shards", kill_one), expected)
    assert workers[0].wait() == -signal.SIGKILL
    assert workers[1].poll() is None


@pytest.mark.slow
def test_a_real_flight_has_the_same_scores_on_a_cluster(
    cluster: tuple[str, list[subprocess.Popen[bytes]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    campaign = Campaign(COPIES, ["pd-trim"], "hover-low", flights=2)
    assert same(run_campaign(campaign, DaskPool(cluster[0])), run_campaign(campaign))


@pytest.mark.slow
def test_a_scheduler_that_does_not_answer_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("distributed")
    monkeypatch.setattr("sim.comparison.pool.REACHED_WITHIN", 0.5)
    with pytest.raises(UserError, match=r"--scheduler tcp://127\.0\.0\.1:9 does not answer"):
        list(DaskPool("tcp://127.0.0.1:9").run(fingerprint, [1]))


@pytest.mark.parametrize("address", ["foo", "tcp://", "tcp://host", "tcp://host:port", "http://host:8786", "host:8786"])
def test_what_is_no_address_of_a_scheduler_is_refused_before_anything_is_asked_there(address: str) -> None:
    with pytest.raises(UserError, match=r"must be tcp://HOST:PORT or tls://HOST:PORT"):
        DaskPool(address)


LISTENING = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # what a shell's background jobs ignore
from neural_lander.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.slow
def test_ctrl_c_ends_in_a_line_and_the_same_command_goes_on(tmp_path: Path) -> None:
    command = [
        sys.executable, "-c", LISTENING, "compare", "--controllers", "pd,oracle", "--scenario",
        "hover-low", "-n", "24", "--airframes", "1", "--workers", "2", "--out", "out", "--json",
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    stopped = subprocess.Popen(
        command, cwd=tmp_path, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        start_new_session=True,
    )  # fmt: skip
    for _ in range(1200):
        if list(tmp_path.glob("out/shards/*/*.parquet")):
            break
        time.sleep(0.05)
    os.killpg(stopped.pid, signal.SIGINT)  # what a terminal does: workers get it as well
    _, errors = stopped.communicate(timeout=60)
    assert stopped.returncode == 130
    assert "the same command goes on" in errors and "Traceback" not in errors
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.glob("out/shards/*/*.parquet")}
    done = subprocess.run(command, cwd=tmp_path, env=environment, text=True, capture_output=True, check=True)
    assert kept.items() <= {path: path.stat().st_mtime_ns for path in kept}.items()
    assert json.loads(done.stdout)["scenarios"]["hover-low"]["controllers"]["pd"]["n"] == 24
