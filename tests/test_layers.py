"""Who may import whom, read from the source of every module, and what flying loads."""

import ast
import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("neural_lander", "sim", "firmware_bridge")

HEAVY = {"torch", "cvxpy", "pybullet", "pybullet_utils", "scipy", "pandas", "plotly", "matplotlib", "joblib"}
FOUNDATION = (
    "errors",
    "extension",
    "arrays",
    "components",
    "rotation",
    "frames",
    "units",
    "motor_curve",
    "profile_values",
    "scoring_table",
    "lag",
    "vehicle",
    "rotor_order",
    "state",
)
BASE = [f"neural_lander.{name}" for name in FOUNDATION]
MODEL = [f"neural_lander.residual.{name}" for name in ("features", "model", "domain")]
FLIGHT_PATH = [
    *BASE, *MODEL,
    "neural_lander.trajectory", "neural_lander.bundle", "neural_lander.control", "neural_lander.flightlog",
    "firmware_bridge",
]  # fmt: skip

# layer -> first-party modules it may import besides its own; what is not listed knows no layer above it either way
MAY_IMPORT = {
    **dict.fromkeys(BASE, BASE),
    **dict.fromkeys(MODEL, (*BASE, *MODEL)),
    "neural_lander.trajectory": BASE,
    "neural_lander.flightlog": BASE,
    "neural_lander.control": [
        *BASE, *MODEL, "neural_lander.trajectory",
        "neural_lander.residual.norms", "neural_lander.certificate.contraction",  # of a last layer that is adapted
    ],
    "neural_lander.residual": [
        *BASE, "neural_lander.flightlog", "neural_lander.bundle",
    ],
    "neural_lander.pages": [*BASE, "neural_lander.flightlog", "neural_lander.residual", "neural_lander.bundle"],
    "firmware_bridge": FLIGHT_PATH,
    "sim": ["neural_lander"],
}  # fmt: skip
ABOVE_THE_LIBRARY = ("sim", "firmware_bridge", "neural_lander.cli", "benchmarks", "tests")
UNPICKLERS = {"pickle", "cPickle", "dill", "cloudpickle", "shelve", "marshal"}
AT_THE_EDGES = {"pybullet", "pybullet_utils", "serial", "pymavlink", "cflib"}


def modules() -> dict[str, Path]:
    found = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            found[name.removesuffix(".__init__")] = path
    return found


MODULES = modules()


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


@cache
def imports(name: str, module_level_only: bool = False) -> Sequence[str]:
    """Dotted names that a module imports; those for the type checker alone do not count."""
    return tuple(imported(name, module_level_only))


def imported(name: str, module_level_only: bool) -> Iterator[str]:
    pending: list[ast.AST] = [parsed(MODULES[name])]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: relative import"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if full in MODULES else str(node.module)
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            pending += node.orelse
        elif not (module_level_only and isinstance(node, (ast.FunctionDef, ast.Lambda))):
            pending += ast.iter_child_nodes(node)


def within(module: str, layers: object) -> bool:
    return any(module == layer or module.startswith(f"{layer}.") for layer in layers)  # type: ignore[attr-defined]


def first_party(module: str) -> bool:
    return within(module, (*PACKAGES, "benchmarks", "tests"))


def own_layer(module: str) -> str | None:
    fitting = [layer for layer in MAY_IMPORT if within(module, [layer])]
    return max(fitting, key=len, default=None)


@pytest.mark.parametrize("name", [name for name in MODULES if own_layer(name)])
def test_a_layer_imports_only_what_is_below_it(name: str) -> None:
    layer = own_layer(name)
    assert layer is not None
    allowed = [layer, *MAY_IMPORT[layer], "neural_lander.errors"]
    wrong = [i for i in imports(name) if first_party(i) and i != "neural_lander" and not within(i, allowed)]
    assert not wrong, f"{name} imports {wrong}"
    assert not [i for i in imports(name) if within(i, ["neural_lander.cli"])]


LINKS = ("mavlink", "msp", "crazyflie")


def link_of(module: str) -> str | None:
    """Which link a module of the bridge is part of, the emulator of its autopilot apart."""
    name = module.removeprefix("firmware_bridge.") if within(module, ["firmware_bridge"]) else ""
    return next((link for link in LINKS if name == link or name.startswith(f"{link}_")), None)


@pytest.mark.parametrize("name", [name for name in MODULES if link_of(name)])
def test_a_link_imports_no_other(name: str) -> None:
    assert not [i for i in imports(name) if link_of(i) not in (None, link_of(name))]


@pytest.mark.parametrize(
    "below, above",
    [("sim.batch", "sim.comparison"), ("sim.batch", "sim.report"), ("sim.comparison", "sim.report")],
)
def test_a_part_of_the_simulator_knows_none_above_it(below: str, above: str) -> None:
    assert not [name for name in MODULES if within(name, [below]) for i in imports(name) if within(i, [above])]


def test_no_module_imports_itself_by_way_of_others() -> None:
    TopologicalSorter({name: set(imports(name)) - {name} for name in MODULES}).prepare()


LIBRARY = [name for name in MODULES if within(name, ["neural_lander"]) and not within(name, ["neural_lander.cli"])]


@pytest.mark.parametrize("name", LIBRARY)
def test_the_library_knows_no_simulator_no_serial_port_and_no_command_line(name: str) -> None:
    used = list(imports(name))
    assert not [i for i in used if within(i, ABOVE_THE_LIBRARY)]
    assert not [i for i in used if i.partition(".")[0] in AT_THE_EDGES]


def loaded_by(name: str) -> set[str]:
    """Modules and libraries that importing one module loads, by the source alone."""
    seen, pending = set(), [name]
    while pending:
        module = pending.pop()
        if module in seen:
            continue
        seen.add(module)
        parent = module.rpartition(".")[0]
        if module in MODULES:
            pending += [*imports(module, module_level_only=True), *([parent] if parent else [])]
    return seen


@pytest.mark.parametrize("name", [name for name in MODULES if within(name, FLIGHT_PATH)])
def test_what_flies_loads_no_training_no_certifying_and_no_simulator(name: str) -> None:
    heavy = {module for module in loaded_by(name) if module.partition(".")[0] in HEAVY}
    assert not heavy, f"importing {name} loads {heavy}"


def test_what_flies_loads_none_of_it_when_really_imported() -> None:
    names = [name for name in MODULES if within(name, FLIGHT_PATH)]
    script = f"import importlib, sys\nfor name in {names!r}: importlib.import_module(name)\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    loaded = {module.partition(".")[0] for module in done.stdout.split()}
    assert "numpy" in loaded
    assert not loaded & HEAVY


@pytest.mark.parametrize("name", MODULES)
def test_nothing_unpickles_or_evaluates_text(name: str) -> None:
    assert not {i.partition(".")[0] for i in imports(name)} & UNPICKLERS
    for call in (node for node in ast.walk(parsed(MODULES[name])) if isinstance(node, ast.Call)):
        function = ast.unparse(call.func)
        assert function not in {"eval", "exec", "torch.load", "joblib.load"}, f"{name}: {function}"
        allow_pickle = [k.value for k in call.keywords if k.arg == "allow_pickle"]
        assert all(isinstance(value, ast.Constant) and value.value is False for value in allow_pickle)


def test_the_check_itself_sees_an_import_inside_a_function() -> None:
    assert "pandas" in imports("neural_lander.flightlog.log")
    assert "pandas" not in imports("neural_lander.flightlog.log", module_level_only=True)


@pytest.mark.parametrize(
    "number, home",
    [("1 / 240", "sim/rigid_body.py"), ("FRICTION = 0.8", "neural_lander/vehicle.py"), ("Gamma = 1.5", "")],
)
def test_a_number_that_many_need_is_written_once(number: str, home: str) -> None:
    sources = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    written = [path.relative_to(ROOT).as_posix() for path in sources if number in path.read_text("utf-8")]
    assert written == ([home] if home else [])


@pytest.mark.parametrize("module", ["sim.landing", "sim.comparison.campaign", "sim.descents"])
def test_names_are_imported_from_where_they_live(module: str) -> None:
    """What a module imports for itself is nobody else's to take from it."""
    path = ROOT / f"{module.replace('.', '/')}.py"
    own = {name.asname or name.name for node in ast.walk(parsed(path))
           if isinstance(node, ast.ImportFrom) for name in node.names}  # fmt: skip
    for user in (path for package in (*PACKAGES, "tests", "benchmarks") for path in (ROOT / package).rglob("*.py")):
        for node in ast.walk(parsed(user)):
            if isinstance(node, ast.ImportFrom) and node.module == module:
                assert not own & {name.name for name in node.names}, user
