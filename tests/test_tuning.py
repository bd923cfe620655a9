"""Tuning: the same budget for all, seeds of its own, a file that survives an interruption and refuses what is wrong."""

import json
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neural_lander.cli.main import main
from neural_lander.control.kinds import POSITION, default_parameters, free_parameters
from neural_lander.control.tuned import load_tuned
from neural_lander.errors import NeuralLanderWarning, UserError
from neural_lander.vehicle import load_vehicle
from sim.comparison import tuning as module
from sim.comparison.campaign import flight_seed
from sim.comparison.study import collection_seed
from sim.comparison.tuning import FAILURE, Search, Tuning, flight_cost, tune, tuning_seed, write_tuned
from sim.controllers import CONTROLLERS
from sim.plant import Copy, Plant

pytest.importorskip("pybullet", reason="the PyBullet world needs pybullet, which has wheels up to Python 3.11")

VEHICLE = load_vehicle("intel-aero")
COPY = Copy(Plant(VEHICLE), None)


class Instead:
    """A pool that computes a given cost instead of flying, in reverse order."""

    def __init__(self, cost: Callable[[str, dict[str, float]], float]) -> None:
        self.cost, self.asked = cost, []  # type: ignore[var-annotated]

    def run(self, work: Any, tasks: Sequence[Any]) -> Iterator[Any]:
        for task in reversed(tasks):
            if isinstance(task, tuple):
                yield task[0], np.zeros(3)
            else:
                self.asked.append((task.controller, dict(task.values)))
                yield task.index, self.cost(task.controller, dict(task.values))


def bowl(name: str, values: dict[str, float]) -> float:
    """Least at Lambda 5, K_v / m 2.5, and 4 wherever a controller has a gain of its own."""
    wanted = {"Lambda_1_s": 5.0, "K_v_over_m_1_s": 2.5}
    return sum(math.log(value / wanted.get(key, 4.0)) ** 2 for key, value in values.items())


NAMES = ["pd", "pd-trim", "indi", "l1"]


def tuned(budget: int = 40, seed: int = 0, cost: Callable[..., float] = bowl) -> tuple[dict[str, Any], Instead]:
    pool = Instead(cost)
    return tune(Tuning([COPY], NAMES, budget, 2, seed), pool), pool


def test_every_controller_has_the_same_number_of_candidates_and_begins_at_its_defaults() -> None:
    document, pool = tuned(21)
    for name in NAMES:
        asked = [values for who, values in pool.asked if who == name]
        rows = document["controllers"][name]["candidates"]
        assert len(asked) == len(rows) == 21
        assert rows[0]["parameters"] == default_parameters(CONTROLLERS[name])
        assert document["controllers"][name]["default_cost"] == rows[0]["cost"]
        for values in asked:
            for p in free_parameters(CONTROLLERS[name]):
                assert p.low <= values[p.key] <= p.high


def test_the_search_finds_the_bottom_of_a_bowl() -> None:
    document, _ = tuned(64)
    for name in NAMES:
        row = document["controllers"][name]
        assert row["cost"] == min(c["cost"] for c in row["candidates"]) < 0.1 * row["default_cost"]
        assert row["parameters"]["Lambda_1_s"] == pytest.approx(5.0, rel=0.25)
        assert row["parameters"]["K_v_over_m_1_s"] == pytest.approx(2.5, rel=0.25)


def test_refinement_does_better_than_the_first_half_alone() -> None:
    document, _ = tuned(64)
    for name in NAMES:
        costs = [c["cost"] for c in document["controllers"][name]["candidates"]]
        assert min(costs) < min(costs[:33])


def test_the_same_seed_gives_the_same_gains_and_another_does_not() -> None:
    assert tuned(20, 3)[0] == tuned(20, 3)[0]
    assert tuned(20, 3)[0]["controllers"] != tuned(20, 4)[0]["controllers"]


def test_a_budget_of_one_is_the_defaults() -> None:
    document, _ = tuned(1)
    assert document["controllers"]["indi"]["parameters"] == default_parameters(CONTROLLERS["indi"])


def test_no_tuning_flight_shares_a_seed_with_collection_or_test() -> None:
    own = {tuning_seed(s, k) for s in range(12) for k in range(50)}
    tested = {flight_seed(s, k) for s in range(12) for k in range(200)}
    collected = {collection_seed(s, a, k) for s in range(12) for a in range(12) for k in range(12)}
    assert len(own) == 600 and not own & (tested | collected)
    assert tuned(1)[0]["flight_seeds"] == [tuning_seed(0, 0), tuning_seed(0, 1)]


def test_cost_is_what_the_docstring_says() -> None:
    landing = {"tipped_over": 0.0, "low_descent_error_m": 0.02, "lateness_s": 0.3}
    hover = {"tipped_over": 0.0, "low_hover_error_m": 0.005}
    assert flight_cost(landing, hover) == pytest.approx(2.0 + 3.0 + 0.5)
    assert flight_cost(landing | {"tipped_over": 1.0}, hover) == FAILURE
    assert flight_cost(landing | {"low_descent_error_m": math.nan}, hover) == FAILURE


def test_a_file_comes_back_as_gains(tmp_path: Path) -> None:
    document, _ = tuned(5)
    write_tuned(document, tmp_path / "tuned.json")
    gains = load_tuned(tmp_path / "tuned.json", VEHICLE, NAMES)
    assert gains == {name: document["controllers"][name]["parameters"] for name in NAMES}
    assert document["complete"] is True


def test_an_interruption_leaves_what_was_found(tmp_path: Path) -> None:
    flown = []

    def interrupted(name: str, values: dict[str, float]) -> float:
        flown.append(name)
        if len(flown) > 45:
            raise KeyboardInterrupt
        return bowl(name, values)

    path = tmp_path / "tuned.json"
    with pytest.raises(KeyboardInterrupt):
        tune(Tuning([COPY], NAMES, 20, 2, 0), Instead(interrupted), lambda document: write_tuned(document, path))
    gains = load_tuned(path, VEHICLE)
    assert list(gains) == ["pd", "pd-trim"]
    assert json.loads(path.read_text())["complete"] is False
    with pytest.raises(UserError, match="holds no gains of 'indi' \\(it has: pd, pd-trim\\)"):
        load_tuned(path, VEHICLE, NAMES)


def test_gains_of_a_tuning_that_was_cut_short_are_not_taken_for_the_same_budget(tmp_path: Path) -> None:
    document, _ = tuned(20)
    del document["controllers"]["pd-trim"]["candidates"][7:]
    write_tuned(document, tmp_path / "t.json")
    load_tuned(tmp_path / "t.json", VEHICLE, ["pd"])
    with pytest.warns(NeuralLanderWarning, match="cut short. Of 20 candidates each, 'pd-trim' 7 were tried"):
        load_tuned(tmp_path / "t.json", VEHICLE, ["pd", "pd-trim+guard"])


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda d: d | {"vehicle_sha256": "0"}, "tuned for another vehicle"),
        (lambda d: d | {"format_version": 2}, "not a file of tuned gains of version 1"),
        (lambda d: {"format": "neural-lander-tuned"}, "not a file of tuned gains of version 1: write one"),
        (lambda d: [1, 2], "not a file of tuned gains of version 1: write one"),
        (lambda d: d | {"controllers": {"pd": {"parameters": {"Lambda_1_s": "wide"}}}}, "not a file of tuned gains"),
    ],
)
def test_a_file_that_is_none_is_refused(tmp_path: Path, change: Callable[[Any], Any], message: str) -> None:
    document, _ = tuned(2)
    (tmp_path / "t.json").write_text(json.dumps(change(document)))
    with pytest.raises(UserError, match=message):
        load_tuned(tmp_path / "t.json", VEHICLE)
    with pytest.raises(UserError, match="cannot be read"):
        load_tuned(tmp_path / "missing.json", VEHICLE)


def test_a_law_with_gains_of_its_own_is_not_tuned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_law.py").write_text(
        "class Law:\n    def __init__(self, vehicle): pass\n    def reset(self, trim): pass\n"
        "    def __call__(self, t, state, reference): return [600.0] * 4\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match="'own_law:Law' brings its own gains"):
        tune(Tuning([COPY], ["own_law:Law"]), Instead(bowl))


def test_what_is_tuned_flies_with_the_same_gains_within_the_guard(tmp_path: Path) -> None:
    document, _ = tuned(4)
    write_tuned(document, tmp_path / "t.json")
    gains = load_tuned(tmp_path / "t.json", VEHICLE, ["pd+guard", "pd"])
    assert gains["pd+guard"] == gains["pd"]
    with pytest.raises(UserError, match="holds no gains of 'pd-cb' "):
        load_tuned(tmp_path / "t.json", VEHICLE, ["pd-cb+guard"])


@pytest.mark.parametrize(
    "arguments, message",
    [
        (
            ["--controllers", "pd-trim+guard"],
            "'pd-trim+guard': the guard has no gains, and 'pd-trim' flies with its own",
        ),
        (["--controllers", "pid"], "controller 'pid' is not known"),
        (["--controllers", ","], "names none"),
        (["--controllers", "neural-lander"], "needs a bundle"),
        (["--bundle", "nowhere"], "nowhere"),
    ],
)
def test_bad_requests_are_one_line(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tune", "--out", str(tmp_path / "t.json"), *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_a_candidate_flies() -> None:
    """PD at its defaults hangs: 5 s of lateness cost 50, and centimetres of height the rest."""
    task = module._Candidate(
        7, "pd", default_parameters(CONTROLLERS["pd"]), Tuning([COPY], ["pd"], 1, 1), [np.zeros(3)]
    )
    index, cost = module._cost(task)
    assert index == 7
    assert 55 < cost < 80


def test_gains_by_which_a_users_part_fails_are_bad_gains_but_for_its_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: Any) -> Any:
        raise UserError("controller 'mine:Law': d_hat = [inf] N: not finite")

    monkeypatch.setattr(module, "fly_once", failing)
    default, tuning = default_parameters(CONTROLLERS["pd"]), Tuning([COPY], ["pd"], 1, 1)
    other = default | {"Lambda_1_s": 5.0}
    assert module._cost(module._Candidate(3, "pd", other, tuning, [np.zeros(3)])) == (3, FAILURE)
    with pytest.raises(UserError, match="not finite"):
        module._cost(module._Candidate(0, "pd", default, tuning, [np.zeros(3)]))


@pytest.mark.slow
def test_tuning_by_flights_beats_the_defaults_and_does_not_depend_on_the_workers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = []
    for workers in ("1", "2"):
        arguments = ["tune", "--out", str(tmp_path / f"{workers}.json"), "--controllers", "pd-trim,l1", "--budget", "8"]
        assert main([*arguments, "-n", "1", "--workers", workers, "--json"]) == 0
        found.append(json.loads(capsys.readouterr().out)["controllers"])
    assert found[0] == found[1]
    for row in found[0].values():
        assert row["cost"] <= row["default_cost"]


def test_search_proposes_nothing_once_the_budget_is_spent() -> None:
    search = Search(POSITION, default_parameters(CONTROLLERS["pd"]), Tuning([COPY], ["pd"], 3))
    batch = search.ask()
    search.tell(batch, [1.0] * len(batch))
    while more := search.ask():
        search.tell(more, [2.0] * len(more))
    assert len(search.tried) == 3


def test_a_plant_whose_moment_trim_cannot_be_found_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def falls(plant: object, world: object) -> None:
        raise ArithmeticError("the state is not finite")

    monkeypatch.setattr("sim.comparison.campaign.identify_moment_trim", falls)
    with pytest.raises(UserError, match="moment trim is identified: the state is not finite"):
        tune(Tuning([COPY], ["pd"], budget=1, flights=1))
