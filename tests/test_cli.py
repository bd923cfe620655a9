"""The command line: overview, exit codes, one line per error, one JSON object."""

import json
import subprocess
import sys
import types
import warnings
from pathlib import Path

import numpy as np
import pytest
import typer
from rich.table import Table

from neural_lander import __version__
from neural_lander.cli import main as cli
from neural_lander.cli.output import console, emit, progress, to_json
from neural_lander.errors import NeuralLanderWarning, UserError


@pytest.fixture
def verb(monkeypatch: pytest.MonkeyPatch):
    """Replace the verb ``train`` by a function."""

    def install(function) -> None:
        module = types.ModuleType("tests_verb")
        module.train = function  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "tests_verb", module)
        monkeypatch.setattr(cli, "VERBS", {"train": cli.Verb("tests_verb:train", "A verb under test.")})

    return install


def test_help_lists_every_verb_without_importing_one(capsys: pytest.CaptureFixture) -> None:
    assert cli.main(["--help"]) == 0
    out = capsys.readouterr().out
    for name, entry in cli.VERBS.items():
        assert name in out
        assert entry.help in out


def test_help_loads_neither_torch_nor_a_simulator() -> None:
    slow = ("torch", "pybullet", "scipy", "pandas", "mcap", "plotly")
    script = (
        "import sys; from neural_lander.cli.main import main; main(['--help']);"
        f"sys.stderr.write(' '.join(m for m in {slow} if m in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr == ""


PRINTING = """
import os, sys, types
from joblib import Parallel, delayed
from neural_lander.cli import main as cli
from neural_lander.cli.output import emit

def noise(k: int) -> int:
    print(f"worker {k}\\n", end="", flush=True)
    return k

def train(as_json: bool = cli.typer.Option(False, "--json")) -> None:
    print("user's print")
    os.write(1, b"C library\\n")
    found = Parallel(n_jobs=2)(delayed(noise)(k) for k in range(2))
    emit({"found": found}, as_json, lambda: "for people")
    print("afterwards")

sys.modules["verbs"] = types.ModuleType("verbs")
sys.modules["verbs"].train = train
cli.VERBS = {"train": cli.Verb("verbs:train", "A verb under test.")}
code = cli.main(sys.argv[1:])
print("and after the command", file=sys.stderr if "--json" in sys.argv else sys.stdout)
sys.exit(code)
"""


@pytest.mark.slow
def test_under_json_whatever_else_is_printed_goes_to_stderr() -> None:
    command = [sys.executable, "-c", PRINTING, "train"]
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == {"found": [0, 1]}
    for line in ("user's print", "C library", "worker 0", "worker 1", "afterwards"):
        assert f"{line}\n" in done.stderr
    plain = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "for people" in plain.stdout and "user's print" in plain.stdout


def test_stdout_is_as_before_after_a_command_under_json(
    verb, capfd: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train(as_json: bool = typer.Option(False, "--json"), fail: bool = typer.Option(False, "--fail")) -> None:
        print("noise")
        if fail:
            raise UserError("no")
        emit({"k": 1}, as_json, lambda: "")

    verb(train)
    with open(1, "w", closefd=False) as stdout:
        monkeypatch.setattr("sys.stdout", stdout)
        assert cli.main(["train", "--json"]) == 0
        assert cli.main(["train", "--json", "--fail"]) == cli.USER_ERROR
        print("own")
    out, err = capfd.readouterr()
    assert out == '{"k": 1}\nown\n' and err == "noise\nnoise\nerror: no\n"


def test_version(capsys: pytest.CaptureFixture) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"neural-lander {__version__}\n"


@pytest.mark.parametrize("name", cli.VERBS)
def test_every_verb_explains_itself(name: str, capsys: pytest.CaptureFixture) -> None:
    assert cli.main([name, "--help"]) == 0
    assert f"neural-lander {name}" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["lnad"], ["train", "--no-such-option"], ["--no-such-option"]])
def test_wrong_usage_is_exit_code_2_and_says_so_on_stderr(arguments: list[str], capsys: pytest.CaptureFixture) -> None:
    assert cli.main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "No such" in captured.err


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["fly", "--priority", "200"], "'--priority': 200 must be from 1 to 99"),
        (["fly", "--duration", "-1"], "'--duration': -1 must be at least 0"),
        (["fly", "--rate", "fast"], "'--rate': 'fast': "),
        (["fly", "--system", "x"], "'--system': 'x': "),
        (["calibrate", "--seconds", "3"], "'--seconds': 3 must be from 12 to 90"),
        (["emulate", "--tcp", "70000"], "'--tcp': 70000 must be from 0 to 65535"),
    ],
)
def test_a_value_out_of_range_is_told_with_option_value_and_range(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture
) -> None:
    assert cli.main(arguments) == 2
    assert words in " ".join(capsys.readouterr().err.replace("│", " ").split())


def test_input_at_fault_is_one_line_and_exit_code_2(verb, capsys: pytest.CaptureFixture) -> None:
    def fail() -> None:
        raise UserError("vehicle file a.toml: mass = -1 kg\nmust be positive")

    verb(fail)
    assert cli.main(["train"]) == 2
    assert capsys.readouterr() == ("", "error: vehicle file a.toml: mass = -1 kg must be positive\n")


def test_a_missing_extra_names_the_command_that_installs_it(verb, capsys: pytest.CaptureFixture) -> None:
    def fail() -> None:
        raise ModuleNotFoundError("No module named 'torch.nn'", name="torch.nn")

    verb(fail)
    assert cli.main(["train"]) == 2
    assert capsys.readouterr().err == "error: train needs torch: pip install 'neural-lander[train]'\n"


def test_a_missing_module_of_ours_is_a_bug_and_shows_as_one(verb) -> None:
    def fail() -> None:
        raise ModuleNotFoundError("No module named 'neural_lander.gone'", name="neural_lander.gone")

    verb(fail)
    with pytest.raises(ModuleNotFoundError):
        cli.main(["train"])


@pytest.mark.parametrize(
    ("verb", "missing", "extras"),
    [
        ("logs", "plotly", "logs"),
        ("logs", "scipy", "train"),
        ("emulate", "scipy", "sim"),
        ("demo", "joblib", "train,sim"),
        ("compare", "torch", "train,sim"),
        ("train", "plotly", "train"),
        ("certify", "cvxpy", "certify"),
        ("compare", "distributed", "cluster"),
    ],
)
def test_a_missing_module_names_all_that_the_verb_asks_for(verb: str, missing: str, extras: str) -> None:
    assert cli._remedy(verb, missing) == f"{verb} needs {missing}: pip install 'neural-lander[{extras}]'"


def test_what_a_verb_asks_for_is_there_to_be_had() -> None:
    assert cli.NEEDS.keys() <= cli.VERBS.keys()
    offered = {extra for extras in cli.EXTRAS.values() for extra in extras}
    assert {extra for extras in cli.NEEDS.values() for extra in extras} <= offered


def test_pybullet_on_a_newer_python_is_not_promised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 13, 1))
    assert "up to Python 3.11 only (this is 3.13)" in cli._remedy("demo", "pybullet")


def test_interruption_is_one_word_and_130(verb, capsys: pytest.CaptureFixture) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    verb(interrupt)
    assert cli.main(["train"]) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_our_warnings_are_one_line_on_stderr_each_time(verb, capsys: pytest.CaptureFixture) -> None:
    def warn() -> None:
        for _ in range(2):
            warnings.warn("log a.usd: the last 12 bytes\nwere lost", NeuralLanderWarning, stacklevel=1)
        emit({"n": 1}, True, Table)

    verb(warn)
    assert cli.main(["train"]) == 0
    captured = capsys.readouterr()
    assert captured.err == "warning: log a.usd: the last 12 bytes were lost\n" * 2
    assert json.loads(captured.out) == {"n": 1}


def test_a_reader_that_leaves_early_causes_no_traceback() -> None:
    script = (
        "import sys; from neural_lander.cli import main as cli\n"
        "import types; m = types.ModuleType('v'); sys.modules['v'] = m\n"
        "def f():\n    for _ in range(100000): sys.stdout.write('x' * 80 + chr(10))\n"
        "m.f = f; cli.VERBS = {'f': cli.Verb('v:f', '')}\nsys.exit(cli.main(['f']))"
    )
    pipe = subprocess.PIPE
    process = subprocess.Popen([sys.executable, "-c", script], stdout=pipe, stderr=pipe, text=True)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == ""
    process.stderr.close()
    process.wait(timeout=20)


def test_a_verb_group_keeps_its_own_verbs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    app = typer.Typer()

    @app.command()
    def info(path: Path) -> None:
        emit({"path": path}, True, Table)

    @app.command()
    def convert() -> None: ...

    module = types.ModuleType("tests_group")
    module.app = app  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tests_group", module)
    monkeypatch.setattr(cli, "VERBS", {"logs": cli.Verb("tests_group:app", "A group.")})
    assert cli.main(["logs", "info", "a.csv"]) == 0
    assert json.loads(capsys.readouterr().out) == {"path": "a.csv"}
    assert cli.main(["logs", "--help"]) == 0
    assert "neural-lander logs" in capsys.readouterr().out


def test_json_holds_numpy_values_and_null_for_what_is_not_finite(capsys: pytest.CaptureFixture) -> None:
    result = {
        "rmse_fa_z_N": np.float32(0.5),
        "curve": np.array([[1.0, np.nan], [np.inf, 2.0]]),
        "n": np.int64(3),
        "met": np.bool_(True),
        "out": Path("B"),
        "pair": (1, None),
    }
    emit(result, True, Table)
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    assert json.loads(out) == {
        "rmse_fa_z_N": 0.5, "curve": [[1.0, None], [None, 2.0]], "n": 3, "met": True, "out": "B", "pair": [1, None],
    }  # fmt: skip


def test_what_has_no_json_form_is_refused() -> None:
    with pytest.raises(TypeError, match="object has no JSON form"):
        to_json({"a": [object()]})


def test_units_in_brackets_reach_the_terminal(capsys: pytest.CaptureFixture) -> None:
    table = Table("time [s]")
    table.add_row("columns such as 't [s]', 'z [m]' :ok:")
    emit({}, False, lambda: table)
    shown = capsys.readouterr().out
    assert "time [s]" in shown and "'t [s]', 'z [m]' :ok:" in shown


def test_people_see_the_rendering_on_stdout(capsys: pytest.CaptureFixture) -> None:
    emit({"a": 1}, False, lambda: "a table")
    assert capsys.readouterr() == ("a table\n", "")


def test_progress_is_silent_where_stderr_is_no_terminal(capsys: pytest.CaptureFixture) -> None:
    with progress() as bars:
        task = bars.add_task("training", total=2)
        bars.advance(task)
    console.print("done")
    assert capsys.readouterr() == ("", "done\n")
