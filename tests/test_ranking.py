"""Who is best, by the rule: nearest to the target, ties where the intervals overlap, oracles apart."""

import json
from typing import Any

import numpy as np
import pytest

from sim.comparison.campaign import Outcome
from sim.comparison.contribution import contribution
from sim.comparison.ranking import estimates, is_oracle, is_ours, kind_of, ranking, takes_part, told, worse
from sim.comparison.summary import summarise
from sim.controllers import controller_named
from sim.report.figures import colours, landings


def controller(key: str, median: float | None, low: float = 0.0, high: float = 0.0, **more: Any) -> dict[str, Any]:
    n = 0 if median is None else more.pop("values", 20)
    figures = {"metrics": {key: {"median": median, "ci95": [low, high], "n": n}}, "n": 20, "touchdown_count": 20}
    return {**figures, "success": {"rate": 1.0}, **more}


def test_the_smallest_error_is_best_whoever_has_it_and_an_oracle_takes_no_part() -> None:
    controllers = {
        "neural-lander-trim": controller("arrival_error_m", 0.004, 0.003, 0.005),
        "indi": controller("arrival_error_m", 0.001, 0.0005, 0.002),
        "oracle": controller("arrival_error_m", 0.0, 0.0, 0.0),
    }
    assert ranking(controllers) == {"arrival_error_m": {"best": "indi", "ties": []}}
    assert worse("arrival_error_m", controllers["neural-lander-trim"], controllers["indi"])


def test_overlapping_intervals_are_a_tie() -> None:
    controllers = {"a": controller("drift_m", 0.004, 0.001, 0.005), "b": controller("drift_m", 0.001, 0.0005, 0.002)}
    assert ranking(controllers) == {"drift_m": {"best": "b", "ties": ["a"]}}
    assert not worse("drift_m", controllers["a"], controllers["b"])


def test_a_touchdown_is_best_at_the_reference_speed_and_a_landing_at_its_time() -> None:
    speeds = {
        "soft": controller("touchdown_speed_m_s", 0.02, 0.01, 0.03),
        "right": controller("touchdown_speed_m_s", 0.29, 0.28, 0.31),
        "hard": controller("touchdown_speed_m_s", 0.5, 0.45, 0.55),
    }
    assert ranking(speeds)["touchdown_speed_m_s"] == {"best": "right", "ties": []}
    times = {"early": controller("lateness_s", -0.8, -0.9, -0.7), "right": controller("lateness_s", 0.05, 0.04, 0.06)}
    assert ranking(times)["lateness_s"]["best"] == "right"


def test_who_has_no_value_in_some_flights_or_never_lands_is_not_ranked() -> None:
    controllers = {
        "a": controller("lateness_s", 5.0, 5.0, 5.0, touchdown_count=0),
        "b": controller("lateness_s", 0.1, 0.1, 0.1, values=3),
        "c": controller("lateness_s", 0.2, 0.2, 0.2),
    }
    assert ranking(controllers) == {}


def test_who_is_down_before_the_reference_has_no_arrival_error_to_win_with() -> None:
    pulled = {"median": -0.22, "ci95": [-0.25, -0.2], "n": 20}
    on_time = {"median": -0.01, "ci95": [-0.02, 0.0], "n": 20}
    controllers = {
        name: controller("arrival_error_m", median) for name, median in (("a", 0.0), ("b", 0.001), ("c", 0.002))
    }
    for name, late in (("a", pulled), ("b", on_time), ("c", on_time)):
        controllers[name]["metrics"]["lateness_s"] = late
    assert ranking(controllers)["arrival_error_m"]["best"] == "b"
    assert not worse("arrival_error_m", controllers["b"], controllers["a"])


def test_who_drops_to_the_floor_before_its_time_is_not_the_best() -> None:
    controllers = {
        "falls": controller("arrival_error_m", 0.0, 0.0, 0.0, success={"rate": 0.5}),
        "a": controller("arrival_error_m", 0.002, 0.001, 0.003),
        "b": controller("arrival_error_m", 0.005, 0.004, 0.006),
    }
    assert ranking(controllers) == {"arrival_error_m": {"best": "a", "ties": []}}


ROLES = [  # name, whether it is ours, is an oracle, estimates
    ("pd", False, False, False),
    ("pd+guard", False, False, False),
    ("pd-cb", False, False, False),
    ("pd-trim+guard", False, False, True),
    ("indi", False, False, True),
    ("l1+guard", False, False, True),
    ("neural-lander", True, False, False),
    ("neural-lander+guard", True, False, False),
    ("neural-lander-adaptive+guard", True, False, True),
    ("oracle", False, True, False),
    ("oracle-trim+guard", False, True, True),
    ("my_neural:Law", False, False, True),
    ("oracles.mine:PID", False, False, True),
    ("my_neural:Oracle+guard", False, False, True),
    ("laws:pd-trim", False, False, True),
]


@pytest.mark.parametrize("name, ours, oracle, finds_out", ROLES)
@pytest.mark.parametrize("written", [True, False])
def test_what_a_controller_is_follows_from_its_parts_and_not_from_its_letters(
    name: str, ours: bool, oracle: bool, finds_out: bool, written: bool
) -> None:
    kind = kind_of(name)
    if written:  # under another name: what the file tells counts
        kind = kind_of("x", {"label": "x", "kind": told(kind)})
    assert (is_ours(kind), is_oracle(kind), estimates(kind)) == (ours, oracle, finds_out)
    entry = controller("drift_m", 0.001, **({"kind": told(kind)} if written else {}))
    assert takes_part(name, "drift_m", entry) is not oracle


@pytest.mark.parametrize("name", [name for name, *_ in ROLES if ":" not in name])
def test_the_summary_tells_what_flew(name: str) -> None:
    entry = summarise({name: flown(0.06, 0.001, 1)})[name]
    assert entry["kind"] == told(controller_named(name)) == told(kind_of(name))
    assert json.loads(json.dumps(entry["kind"])) == entry["kind"]


def test_colours_and_dashes_follow_the_parts_too() -> None:
    names = ["pd", "pd-trim", "pd+guard", "pd-trim+guard", "oracle+guard", "laws:oracle", "laws:mine-trim"]
    results = {"scenarios": {"land-1d": {"controllers": {name: {"label": name} for name in names}}}}
    found = colours(results)
    assert found["pd"] == found["pd-trim"] != found["pd+guard"] == found["pd-trim+guard"]
    assert found["oracle+guard"] == "--ink" != found["laws:oracle"]
    series = {"t": [0.0, 1.0], "height_m": [1.0, 0.7], "height_ref_m": [1.0, 0.7]}
    flights = {name: {"label": name, "metrics": {}, "traces": [series]} for name in names}
    drawn = landings({"controllers": flights}, found)
    assert drawn is not None
    dashed = {line["name"] for line in drawn["data"] if line["line"]["dash"] == "dash"}
    assert dashed == {"pd-trim", "pd-trim+guard"}


def flown(error: float, spread: float, seed: int) -> Outcome:
    values = error + spread * np.random.default_rng(seed).standard_normal(40)
    return Outcome(
        [
            {"arrival_error_m": float(v), "touchdown": 1.0, "tipped_over": 0.0, "success": 1.0,
             "seed": float(k), "index": float(k), "copy": float(k % 4)}
            for k, v in enumerate(values)
        ]
    )  # fmt: skip


def test_what_the_network_adds_is_told_apart_from_what_a_law_adds() -> None:
    outcomes = {
        "pd": flown(0.06, 0.001, 1), "pd-cb": flown(0.01, 0.001, 2), "neural-lander": flown(0.002, 0.0005, 3),
        "pd-trim": flown(0.03, 0.001, 4),
    }  # fmt: skip
    summary = summarise(outcomes)
    found = contribution(outcomes, summary)
    assert list(found) == ["without trim"]  # with trim neither law nor network was flown
    rows = found["without trim"]["arrival_error_m"]
    assert rows["Cheeseman-Bennett"]["removed_share"] == pytest.approx(1 - 0.01 / 0.06, abs=0.02)
    assert rows["network"]["removed_share"] == pytest.approx(1 - 0.002 / 0.06, abs=0.02)
    assert rows["network_minus_law"]["median"] == pytest.approx(-0.008, abs=0.0006)
    assert rows["network_minus_law"]["intervals_apart"]


def test_what_the_network_adds_is_told_of_guarded_controllers_too() -> None:
    names = ("pd", "pd-cb", "neural-lander")
    outcomes = {f"{name}{more}": flown(0.06, 0.001, 1) for name in names for more in ("+guard", "-trim+guard")}
    assert list(contribution(outcomes, summarise(outcomes))) == ["without trim, guarded", "with trim, guarded"]


def test_differences_are_to_pd_with_trim_seed_by_seed() -> None:
    shared = np.random.default_rng(0).standard_normal(40)
    base, other = flown(0.03, 0.0, 0), flown(0.02, 0.0, 0)
    for outcome in (base, other):
        for row, e in zip(outcome.rows, shared, strict=True):
            row["arrival_error_m"] += 0.002 * float(e)
    summary = summarise({"pd": other, "pd-trim": base})
    pair = summary["pd"]["paired"]["arrival_error_m"]
    assert summary["pd"]["paired_to"] == "pd-trim" and summary["pd-trim"]["paired"] == {}
    assert pair["median"] == pytest.approx(-0.01, abs=1e-9) and pair["smaller_share"] == 1.0 and pair["n"] == 40
    assert summary["pd"]["success"]["ci95"][1] == 1.0
