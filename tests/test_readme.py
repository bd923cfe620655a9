"""What the README and its further pages tell a user to type works as written."""

import json
import re
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from firmware_bridge.emulator.faults import FAULTS
from firmware_bridge.estimation.pose import encode
from neural_lander.cli import main as cli
from neural_lander.flightlog import ColumnMap, read_log, write_mcap
from neural_lander.flightlog.log import COLUMNS
from neural_lander.vehicle import load_vehicle, parse_vehicle
from sim.comparison.metrics import METRICS
from tests.learning_flights import flight

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
TEXT = "\n".join(page.read_text("utf-8") for page in PAGES)
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, re.S)


def run(code: str, folder: Path) -> None:
    command, environment = [sys.executable, "-c", code], {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def block_with(words: str) -> str:
    return next(block for block in BLOCKS if words in block)


def module(folder: Path, name: str, words: str) -> None:
    """The block that holds these words as a module of a user's."""
    (folder / f"{name}.py").write_text(block_with(words), "utf-8")


def test_arrays_become_a_log_that_can_be_read_again(tmp_path: Path) -> None:
    run(block_with("from_arrays"), tmp_path)
    log = read_log(tmp_path / "flight.mcap")
    assert log.rotor_speed is not None
    assert np.all(log.rotor_speed == 681.5)


def test_the_example_effect_acts_near_the_floor_only(tmp_path: Path) -> None:
    module(tmp_path, "suction", "Suction")
    run(
        "from sim.plant import load_effects; from sim.oracle import level_state; import numpy as np\n"
        "from neural_lander.vehicle import load_vehicle; v = load_vehicle('intel-aero')\n"
        "effect = load_effects(['suction:Suction', 'sim.aerodynamics:GroundEffect'])[0]\n"
        "near, far = (effect(level_state(v, h), np.full(4, 680.0), v, None)[0] for h in (0.05, 0.2))\n"
        "assert near.tolist() == [0, 0, -0.5] and far.tolist() == [0, 0, 0]",
        tmp_path,
    )


def test_the_example_controller_flies_a_bundle(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="training a bundle needs torch")
    from neural_lander.bundle import save_bundle
    from neural_lander.residual.options import TrainingOptions
    from neural_lander.residual.training import train_residual

    vehicle = load_vehicle("intel-aero")
    flights = [flight(vehicle, 40.0, seed=k) for k in range(2)]
    save_bundle(tmp_path / "B", train_residual(flights, vehicle, TrainingOptions(epochs=3)))
    run(block_with("load_bundle"), tmp_path)


def test_the_example_estimate_takes_up_a_missing_force(tmp_path: Path) -> None:
    """A tracking error that stays is met by gain times 5 s; nothing is learned on the ground."""
    module(tmp_path, "my_laws", "Leaky")
    run(
        "from my_laws import Leaky; from neural_lander.vehicle import load_vehicle; import numpy as np\n"
        "vehicle = load_vehicle('intel-aero'); law = Leaky(vehicle)\n"
        "for k in range(20000): law.update(0.002 * k, np.array([0.0, 0.0, 0.01]), False)\n"
        "assert abs(law.d_hat[2] - 5.0 * law.gain * 0.01) < 1e-3 * law.d_hat[2], law.d_hat\n"
        "law.update(40.0, np.array([0.0, 0.0, 1.0]), True); assert law.d_hat[2] < 1.0",
        tmp_path,
    )


@pytest.mark.slow
def test_the_example_training_writes_a_bundle(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="training a bundle needs torch")
    (tmp_path / "flights").mkdir()
    for k in range(2):
        write_mcap(flight(load_vehicle("intel-aero"), 12.0, seed=k), tmp_path / "flights" / f"{k}.mcap")
    run(block_with("train_residual"), tmp_path)
    assert (tmp_path / "B" / "certificate.json").is_file()


def test_the_example_effect_with_a_memory_takes_one_vehicle_or_many(tmp_path: Path) -> None:
    module(tmp_path, "buildup", "Buildup")
    run(
        "from buildup import Buildup; import numpy as np; from types import SimpleNamespace as S\n"
        "one, many, vehicle = Buildup(), Buildup(), S(weight=10.0)\n"
        "one.reset(3, 0.01); many.reset(np.array([3, 4]), 0.01)\n"
        "for _ in range(200):\n"
        "    f, _ = one(S(height=np.float64(0.1), velocity=np.zeros(3)), None, vehicle, None)\n"
        "    g, _ = many(S(height=np.array([0.1, 9.0]), velocity=np.zeros((2, 3))), None, vehicle, None)\n"
        "assert abs(f[2] - np.exp(-1)) < 1e-3 and np.allclose(g[0], f) and abs(g[1, 2]) < 1e-3, (f, g)",
        tmp_path,
    )


@pytest.mark.slow
def test_the_example_estimate_flies_many_as_it_flies_one(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="the batched world needs torch")
    module(tmp_path, "my_laws", "Leaky")
    run(
        "from my_laws import Leaky; from neural_lander.vehicle import load_vehicle; import numpy as np, torch\n"
        "vehicle = load_vehicle('intel-aero'); one, many = Leaky(vehicle), Leaky(vehicle)\n"
        "for k in range(50):\n"
        "    s = np.array([[0.1, 0.0, 0.01 * k], [0.0, 0.3, -0.2]]); hold = np.array([k > 30, False])\n"
        "    one.update(0.01 * k, s[0], bool(hold[0])); many.update(0.01 * k, torch.tensor(s), torch.tensor(hold))\n"
        "assert np.allclose(many.d_hat[0], one.d_hat) and many.d_hat.shape == (2, 3)",
        tmp_path,
    )


def test_the_example_model_flies_without_a_certificate(tmp_path: Path) -> None:
    block = block_with("class Cushion")
    run(
        block + "from neural_lander.state import Reference, State\n"
        "still = np.zeros(3); state = State(still, still, np.array([1.0, 0, 0, 0]), still, np.float64(0.0))\n"
        "controller(0.0, state, Reference(still, still, still)); weight = controller.vehicle.weight\n"
        "assert abs(controller.wanted.thrust - (weight - 1.5)) < 1e-9",
        tmp_path,
    )


@pytest.mark.slow
def test_the_example_comparison_in_python_flies(tmp_path: Path) -> None:
    pytest.importorskip("pybullet", reason="the PyBullet world needs pybullet, which has wheels up to Python 3.11")
    pytest.importorskip("torch", reason="training a bundle needs torch")
    run(block_with("study_airframes"), tmp_path)
    assert (tmp_path / "learned" / "bundle" / "certificate.json").is_file()


def test_every_figure_of_a_flight_and_every_field_of_a_log_is_explained() -> None:
    page = (ROOT / "docs/files.md").read_text("utf-8")
    assert set(re.findall(r"`([^`]+)`", page)) >= METRICS.keys() | COLUMNS.keys()


def test_the_example_environment_takes_a_step(tmp_path: Path) -> None:
    pytest.importorskip("pybullet", reason="the PyBullet world needs pybullet, which has wheels up to Python 3.11")
    run(block_with("LanderEnv"), tmp_path)


def test_the_example_datagram_is_a_pose(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(10.0)
        block = block_with("NLP1")
        run(block.replace("5005", str(receiver.getsockname()[1])), tmp_path)
        assert receiver.recv(100) == encode(0.0, (0.1, -0.2, 1.0), (1.0, 0.0, 0.0, 0.0))


def test_the_example_map_reads_a_foreign_table(tmp_path: Path) -> None:
    text = re.search(r"# map\.toml.*?\n\n", TEXT, re.S)
    assert text is not None
    (tmp_path / "map.toml").write_text(re.sub(r"(?m)^    ", "", text.group()), "utf-8")
    header = "time,x,y,z,vx,vy,vz,qw,qx,qy,qz,m1,m2,m3,m4,ax,ay,az"
    rows = [f"{10 * k},1,2,-3,0,0,0,1,0,0,0,6508,6508,6508,6508,0,0,-1" for k in range(5)]
    (tmp_path / "flight.csv").write_text("\n".join([header, *rows, ""]), "utf-8")
    log = read_log(tmp_path / "flight.csv", column_map=ColumnMap.load(tmp_path / "map.toml"))
    assert log.t[-1] == pytest.approx(0.04)
    assert log.position[0].tolist() == [2, 1, 3]  # north, east, down as east, north, up
    assert log.rotor_speed is not None
    assert log.rotor_speed[0, 0] == pytest.approx(681.5, abs=0.05)
    assert log.specific_force is not None
    assert log.specific_force[0].tolist() == pytest.approx([0, 0, 9.80665])


def test_the_example_constant_is_one_that_a_profile_takes() -> None:
    mass = re.search(r"(?m)^    (mass = .*)$", TEXT)
    assert mass is not None
    profile = re.sub(r"(?m)^mass = .*$", mass.group(1), load_vehicle("intel-aero").text)
    assert parse_vehicle(profile, "mine.toml").mass == 1.47


def test_every_verb_and_option_that_is_named_exists(capsys: pytest.CaptureFixture) -> None:
    named = re.findall(r"neural-lander ([a-z]+(?: [a-z]+)?)((?: [^\n`]*)?)", TEXT)
    verbs = [(verb.split(), re.findall(r"--[a-z-]+", rest)) for verb, rest in named if verb.split()[0] in cli.VERBS]
    assert len(verbs) >= 5
    for words, options in verbs:
        words = words if words[0] == "logs" else words[:1]
        assert cli.main([*words, "--help"]) == 0
        help_text = capsys.readouterr().out
        assert [option for option in options if option not in help_text] == []


def test_every_folder_that_is_named_exists() -> None:
    folders = re.findall(r"^\| `([a-z_]+/)`", TEXT, re.M)
    assert len(folders) >= 5
    assert [folder for folder in folders if not (ROOT / folder).is_dir()] == []


def test_every_page_and_heading_that_is_linked_exists() -> None:
    links = [
        (page.parent / target, anchor)
        for page in PAGES
        for target, anchor in re.findall(r"\]\((?!https?:)([^)#]+)(?:#([a-z0-9-]+))?\)", page.read_text("utf-8"))
    ]
    assert len(links) >= 5
    for target, anchor in links:
        assert target.exists()
        headings = re.findall(r"(?m)^#+ (.*)$", target.read_text("utf-8")) if anchor else []
        assert not anchor or anchor in [re.sub(r"[^a-z0-9 -]", "", h.lower()).replace(" ", "-") for h in headings]


def test_the_tables_are_printed_from_results(tmp_path: Path) -> None:
    """Best values in bold, the oracle out of competition; a controller that never lands is never late."""

    def controller(label: str, arrival: float, landed: int) -> dict:
        metrics = {"arrival_error_m": {"median": arrival, "ci95": [0.9 * arrival, 1.1 * arrival]}}
        metrics |= {name: {"median": arrival} for name in ("low_descent_error_m", "drift_m", "lateness_s")}
        return {"label": label, "metrics": metrics, "success": {"count": landed, "n": 10}}

    landing = {
        "pd": controller("PD", 0.064, 0),
        "neural-lander": controller("Neural-Lander", 0.002, 10),
        "oracle-trim": controller("Oracle + trim", 0.001, 10),
    }
    (tmp_path / "results.json").write_text(json.dumps({"scenarios": {"land-3d": {"controllers": landing}}}), "utf-8")
    command = [sys.executable, str(ROOT / "docs" / "tables.py"), str(tmp_path / "results.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "| PD | 64.0 [57.6, 70.4] | 64.0 | never | – | 64.0 | 0/10 |" in done.stdout
    assert "| Neural-Lander | **2.0** [1.8, 2.2] | **2.0** | **0.00** | – | **2.0** | 10/10 |" in done.stdout
    assert "| *Oracle + trim* | 1.0 [0.9, 1.1] |" in done.stdout


def test_the_table_of_faults_is_the_one_that_was_measured_and_has_them_all() -> None:
    command = [sys.executable, str(ROOT / "docs" / "tables.py"), str(ROOT / "benchmarks" / "results.json")]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert printed.strip() in (ROOT / "docs" / "results.md").read_text("utf-8")
    assert [f"| {kind.name} | {kind.what} |" in printed for kind in FAULTS.values()] == [True] * len(FAULTS)
