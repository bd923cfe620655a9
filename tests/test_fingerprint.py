"""What makes another campaign, and what does not: state, code, processes, flights that were flown before."""

import functools
import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neural_lander.vehicle import load_vehicle
from sim import aerodynamics
from sim.aerodynamics import BatterySag, Dryden, InWind, Lagged, NearGroundTurbulence
from sim.comparison.fingerprint import before_flight, fingerprint
from sim.oracle import level_state
from sim.plant import Plant
from sim.terrain import Flat

ROOT = Path(__file__).parent.parent
VEHICLE = load_vehicle("intel-aero")
EFFECTS = [
    effect for name, effect in vars(aerodynamics).items()
    if isinstance(effect, type) and name not in ("AerodynamicEffect", "RandomEffect", "Dryden", "Wind", "Lagged")
]  # fmt: skip


def push(state, rotor_speeds, vehicle, terrain, gain=1.0):
    return np.array([0.0, 0.0, gain]), np.zeros(3)


def closure(gain: float) -> Callable:
    def effect(state, rotor_speeds, vehicle, terrain):
        return np.array([0.0, 0.0, gain]), np.zeros(3)

    return effect


def with_default(gain: float) -> Callable:
    def effect(state, rotor_speeds, vehicle, terrain, gain=gain, *, side=0.0):
        return np.array([side, 0.0, gain]), np.zeros(3)

    return effect


def made_class(gain: float) -> type:
    class Made:
        strength = gain

        def __call__(self, *_: object) -> tuple[np.ndarray, np.ndarray]:
            return np.array([0.0, 0.0, self.strength]), np.zeros(3)

    return Made


class Private:
    def __init__(self, gain: float) -> None:
        self._gain = gain

    def __call__(self, *_: object) -> tuple[np.ndarray, np.ndarray]:
        return np.array([0.0, 0.0, self._gain]), np.zeros(3)


class Slotted:
    __slots__ = ("gain",)

    def __init__(self, gain: float) -> None:
        self.gain = gain


@dataclass
class Fields:
    gain: float

    def __post_init__(self) -> None:
        self._square = self.gain**2


class Listed(list):
    def __init__(self, gain: float) -> None:
        super().__init__([1.0])
        self.gain = gain


class Around:
    """Holds itself, and what it holds twice."""

    def __init__(self, gain: float) -> None:
        self.me, self.inner = self, Private(gain)
        self.again = self.inner


@pytest.mark.parametrize(
    "make",
    [
        lambda gain: functools.partial(push, gain=gain),
        closure,
        with_default,
        made_class,
        lambda gain: made_class(gain)(),
        Private,
        Slotted,
        Fields,
        Listed,
        Around,
        lambda gain: Private(gain).__call__,
        lambda gain: functools.lru_cache(closure(gain)),
        lambda gain: np.array([Private(gain)], dtype=object),
        lambda gain: InWind([closure(gain)]),
        lambda gain: Lagged(Private(gain), 0.1),
        lambda gain: NearGroundTurbulence(horizontal=gain),
        lambda gain: Dryden(2.0, gain),
        BatterySag,
    ],
)
def test_what_differs_in_its_state_is_another_effect(make: Callable[[float], Any]) -> None:
    assert fingerprint(make(0.1)) == fingerprint(make(0.1))
    assert fingerprint(make(0.1)) != fingerprint(make(0.2))


ODD = """
import functools, io, json, random, re, sys, tempfile, threading, uuid
import numpy as np, torch
from sim import aerodynamics
from sim.comparison.campaign import Campaign, own_controller
from sim.comparison.fingerprint import fingerprint
from sim.controllers import CONTROLLERS
from sim.plant import Copy, Plant
from sim.terrain import TERRAINS, terrain_named
from neural_lander.vehicle import load_vehicle
from tests.test_fingerprint import EFFECTS, VEHICLE, Around, made_class, closure

class Odd:
    def __init__(self):
        self.lock, self.local = threading.RLock(), threading.local()
        self.file, self.scratch, self.memory = open(__file__), tempfile.NamedTemporaryFile(), io.StringIO("a")
        self.generators = np.random.default_rng(), random.Random(), torch.Generator(), np.random.RandomState()
        self.id, self.thread = uuid.uuid4(), threading.Thread()
        self.tensor = torch.nn.Parameter(torch.ones(3, dtype=torch.bfloat16))
        self.words = {f"word {k}" for k in range(30)}
        self.by_object = {frozenset("abcdefg"): 1, re.compile("a+"): 2, int: 3, 1j: 4, closure: 5}
        self.cached = functools.lru_cache(lambda x: x in {"a", "b", "c", "d"})
        self.made, self.around, self.layer = made_class(0.1)(), Around(1.0), torch.nn.ReLU()

class Own:
    def __init__(self): self.now = id(self)
    def __getstate__(self): return {}

found = {"odd": fingerprint(Odd()), "own": fingerprint(Own())}
found |= {name: fingerprint(terrain_named(name)) for name in TERRAINS}
for effect in EFFECTS:
    plant = Plant(VEHICLE, (effect(),))
    campaign = Campaign([Copy(plant.with_airframe(1), None)], list(CONTROLLERS), "land-3d")
    found[effect.__name__] = campaign.question
print(json.dumps(found))
"""


def in_a_process(path: Path, hash_seed: str) -> dict[str, Any]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": hash_seed}
    done = subprocess.run([sys.executable, path], env=environment, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout))


@pytest.mark.slow
def test_every_effect_terrain_and_controller_is_the_same_in_two_processes(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    path = tmp_path / "odd.py"
    path.write_text(ODD)
    first, second = (in_a_process(path, seed) for seed in ("1", "2"))
    assert len(first) > 10 and first == second


@pytest.mark.parametrize("kind", EFFECTS, ids=lambda kind: kind.__name__)
def test_an_effect_that_has_flown_is_the_same(kind: type) -> None:
    effect = kind()
    plant = Plant(VEHICLE, (effect,))
    before = fingerprint(plant.at_start())
    for k in range(5):
        effect(level_state(VEHICLE, 0.2 + 0.01 * k), np.full(4, VEHICLE.hover_speed), VEHICLE, Flat())
    assert fingerprint(plant.at_start()) == before


def test_an_effect_that_cannot_be_copied_is_named() -> None:
    class Open:
        def __init__(self) -> None:
            self.file = sys.stderr.buffer

        def __call__(self, *_: object) -> None: ...

    with pytest.raises(ValueError, match="effects Open: every flight has a copy .* cannot be copied .TypeError"):
        Plant(VEHICLE, (Open(),)).at_start()


def test_what_a_function_keeps_while_flying_does_not_count_within_a_command() -> None:
    def counting(_calls: list = []) -> None:  # noqa: B006
        _calls.append(1)

    before = fingerprint(counting)
    with before_flight([(counting,), None]):
        counting()
        with before_flight(counting):
            assert fingerprint([counting]) == fingerprint([counting])
            assert fingerprint(counting) == before
        assert fingerprint(counting) == before
    assert fingerprint(counting) != before


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's files: an effect, and what it imports in one way or another."""
    files = {
        "fp_effect.py": """
            import numpy as np
            from fp_constants import GAIN
            import fp_package.inner as inner

            class Push:
                def __call__(self, state, rotor_speeds, vehicle, terrain):
                    from fp_lazy import SIDE
                    return np.array([SIDE, 0.0, GAIN]), np.zeros(3)
            """,
        "fp_constants.py": "from fp_deep import *\nGAIN = 1.0\n",
        "fp_deep.py": "DEEP = 1.0\n",
        "fp_lazy.py": "SIDE = 1.0\n",
        "fp_package/__init__.py": "TOP = 1.0\n",
        "fp_package/inner.py": "from . import sibling\nfrom .deeper import x\n",
        "fp_package/sibling.py": "S = 1.0\n",
        "fp_package/deeper.py": "x = 1.0\n",
        "fp_other.py": "import fp_effect\n",
    }
    (tmp_path / "fp_package").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(textwrap.dedent(text))
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("fp_")]:
        del sys.modules[name]


@pytest.mark.parametrize(
    "name, counts",
    [
        ("fp_effect.py", True),
        ("fp_constants.py", True),
        ("fp_deep.py", True),
        ("fp_lazy.py", True),
        ("fp_package/__init__.py", True),
        ("fp_package/inner.py", True),
        ("fp_package/sibling.py", True),
        ("fp_package/deeper.py", True),
        ("fp_other.py", False),
    ],
)
def test_a_file_that_a_user_s_effect_imports_counts(package: Path, name: str, counts: bool) -> None:
    from fp_effect import Push  # type: ignore[import-not-found]

    before = fingerprint(Push())
    with (package / name).open("a") as file:
        file.write("\nMORE = 2.0\n")
    assert (fingerprint(Push()) != before) == counts
    assert "fp_lazy" not in sys.modules  # nothing is imported for it


def test_what_was_typed_in_counts_by_its_bytecode_and_the_globals_it_names() -> None:
    def typed(text: str) -> Any:
        scope: dict[str, Any] = {"__name__": "__typed__"}
        exec(text, scope)  # noqa: S102 (as a notebook does)
        return scope["effect"]

    text = "GAIN = 1.0\ndef effect():\n    return (lambda: GAIN * 2.0)()\n"
    assert fingerprint(typed(text)) == fingerprint(typed(text))
    assert fingerprint(typed(text)) != fingerprint(typed(text.replace("2.0", "3.0")))
    assert fingerprint(typed(text)) != fingerprint(typed(text.replace("1.0", "3.0")))
    assert fingerprint(typed(text)) == fingerprint(typed(text + "OTHER = 1.0\n"))
