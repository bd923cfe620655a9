"""What the method must show, checked against results: each row with its value, its bound, and whether it is met."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from neural_lander.trajectory import LANDING_SPEED
from sim.comparison.metrics import metric_named
from sim.comparison.ranking import distance, is_oracle, is_ours, kind_of, known

OURS, ORACLE = "neural-lander-trim", "oracle-trim"
ORACLES = {ORACLE: "the oracle with trim", "oracle": "the oracle"}
APART = (
    "arrival_error_m", "low_descent_error_m", "lateness_s", "touchdown_speed_m_s", "low_hover_error_m",
    "tracking_rms_error_m", "vertical_rms_error_m",
)  # fmt: skip
"""Figures in which nobody's interval may overlap with ours."""

RATIO_COUNTS_ABOVE = 0.020  # m: a ratio to PD counts where PD's error exceeds it
SMALLEST_BOUND = 0.003  # m: elsewhere the bound is the larger of the ratio and this
HANG_SHARE, HOVER_SHARE, TRIM_SHARE, DRIFT_SHARE, ORACLE_FACTOR = 1 / 20, 1 / 10, 1 / 10, 0.34, 1.2
SPEED_TOLERANCE = 20.0  # %
SLOPE_TOLERANCE = 0.3


def task_requirements(scenarios: Mapping[str, Any], where: str = "") -> list[dict[str, Any]]:
    """Rows for every landing and low hover that flew the controllers a requirement needs."""
    rows = []
    for name, scenario in scenarios.items():
        if name.startswith("land"):
            rows += list(_landing(f"{name}{where}", scenario["controllers"]))
        if name.startswith("hover"):
            rows += list(_low_hover(f"{name}{where}", scenario["controllers"]))
    return rows


def _low_hover(name: str, controllers: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    mine, pd = (controllers.get(c, {"n": 0}) for c in ("neural-lander", "pd"))
    if mine["n"] and pd["n"]:
        value, theirs = (_median(c, "low_hover_error_m") for c in (mine, pd))
        row = _row(f"{name}: low-hover error of Neural-Lander, 1/10 of PD's", value, _length(HOVER_SHARE, theirs))
        yield _nor_the_oracle(row, "low_hover_error_m", controllers, "oracle")


def _nor_the_oracle(
    row: dict[str, Any], key: str, controllers: Mapping[str, Any], oracle: str = ORACLE, scale: float = 1.0
) -> dict[str, Any]:
    """The row, with a word where the oracle is beyond the bound as well: there no model of the force would do.

    ``scale`` turns the figure's distance from its target into the row's unit.
    """
    found = controllers.get(oracle)
    if row["met"] or found is None or not known(key, found) or scale * distance(key, found)[0] <= row["bound"]:
        return row
    return row | {"name": f"{row['name']} (nor is that of {ORACLES[oracle]})"}


def _length(share: float, baseline: float) -> float:
    """Bound in m that a ratio to a baseline in m gives."""
    return share * baseline if baseline > RATIO_COUNTS_ABOVE else max(share * baseline, SMALLEST_BOUND)


def _median(controller: Mapping[str, Any], metric: str) -> float:
    """NaN where there is none, which is within no bound."""
    value = controller["metrics"][metric]["median"]
    return float("nan") if value is None else float(value)


def _landing(name: str, controllers: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    def median(controller: str, metric: str) -> float:
        return _median(controllers[controller], metric)

    have = {name for name, controller in controllers.items() if controller["n"]}
    if {"pd", "neural-lander"} <= have:
        bound = _length(HANG_SHARE, median("pd", "final_error_m"))
        title = f"{name}: final error of Neural-Lander, 1/20 of PD's"
        row = _row(title, median("neural-lander", "final_error_m"), bound)
        yield _nor_the_oracle(row, "final_error_m", controllers, "oracle")
    for controller in ("neural-lander", "neural-lander-trim"):
        n = controllers[controller]["success"]["n"] if controller in controllers else 0
        if n:
            count = controllers[controller]["touchdown_count"]
            title = f"{name}: sustained touchdowns of {controllers[controller]['label']}"
            yield {"name": title, "value": count, "bound": n, "unit": f"of {n}", "met": count == n}
    if {"pd-trim", "neural-lander-trim"} <= have:
        mine, theirs = "neural-lander-trim", "pd-trim"
        bound = _length(TRIM_SHARE, median(theirs, "arrival_error_m"))
        row = _row(f"{name}: arrival error with trim, 1/10 of PD + trim's", median(mine, "arrival_error_m"), bound)
        yield _nor_the_oracle(row, "arrival_error_m", controllers)
        late, bound = (abs(median(c, "lateness_s")) for c in (mine, theirs))
        row = _row(f"{name}: time off the reference's with trim, 1/10 of PD + trim's", late, TRIM_SHARE * bound, "s")
        yield _nor_the_oracle(row, "lateness_s", controllers)
        off = 100 * abs(median(mine, "touchdown_speed_m_s") / LANDING_SPEED - 1)
        row = _row(f"{name}: touchdown speed with trim off the reference's", off, SPEED_TOLERANCE, "%")
        yield _nor_the_oracle(row, "touchdown_speed_m_s", controllers, scale=100 / LANDING_SPEED)
    for suffix in ("", "-trim"):
        mine, pd, oracle = f"neural-lander{suffix}", f"pd{suffix}", f"oracle{suffix}"
        if {mine, pd, oracle} <= have:
            bound = max(_length(DRIFT_SHARE, median(pd, "drift_m")), ORACLE_FACTOR * median(oracle, "drift_m"))
            known = f"{controllers[pd]['label']}'s or 1.2 times the oracle's"
            title = f"{name}: drift of {controllers[mine]['label']}, 34 % of {known}"
            yield _row(title, median(mine, "drift_m"), bound)


def apart_requirements(scenarios: Mapping[str, Any], where: str = "") -> list[dict[str, Any]]:
    """Neural-Lander with trim better than PD and than PD with trim, beyond both 95 % intervals, and never tipped over.

    ``value`` is the far end of its interval, ``bound`` the near end of theirs, both as distances from what is perfect.
    Where they never touch down there is no touchdown speed to compare, and lateness is the time that was watched. Where
    the oracle with trim is beyond the bound as well the name says so: there no model of the force would do.
    """
    rows = []
    for name, scenario in scenarios.items():
        controllers = scenario["controllers"]
        ours = controllers.get(OURS)
        if ours is None or not ours["n"]:
            continue
        for theirs in (controllers[key] for key in ("pd", "pd-trim") if key in controllers and controllers[key]["n"]):
            rows += [
                _nor_the_oracle(_apart(f"{name}{where}", key, ours, theirs), key, controllers)
                for key in APART
                if _comparable(key, ours, theirs)
            ]
        title = f"{name}{where}: flights of {ours['label']} that tipped over"
        rows.append(_row(title, ours["tipped_over_count"], 0, f"of {ours['n']}"))
    return rows + _without_result(scenarios, where)


def _without_result(scenarios: Mapping[str, Any], where: str) -> list[dict[str, Any]]:
    """Our flights that failed, which are in no figure; no row where all have a result."""
    found = []
    for name, scenario in scenarios.items():
        ours = scenario["controllers"].get(OURS, {})
        if lost := len(ours.get("failures", ())):
            title = f"{name}{where}: flights of {ours['label']} without a result"
            found.append(_row(title, lost, 0, f"of {ours['success']['n']}"))
    return found


def _comparable(key: str, ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> bool:
    never = theirs.get("touchdown_count") == 0 and key in theirs["metrics"]
    return known(key, ours) and (known(key, theirs) or (key == "lateness_s" and never))


def _apart(where: str, key: str, ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, Any]:
    metric = metric_named(key)
    (_, (_, far)), (_, (near, _)) = distance(key, ours), distance(key, theirs)
    off = f" off {metric.target:g} m/s" if metric.target else ""
    title = f"{where}: {metric.label.lower()}{off} of {ours['label']} below that of {theirs['label']}, intervals apart"
    unit = "m/s" if metric.target else key.rpartition("_")[2]
    return {"name": title, "value": far, "bound": near, "unit": unit, "met": far < near}


def robust_requirements(robustness: Mapping[str, Any]) -> list[dict[str, Any]]:
    """In every changed plant Neural-Lander with trim succeeds at least as often as the best baseline."""
    rows = []
    for plant in robustness["plants"]:
        rates = {name: c["success"]["rate"] for name, c in plant["controllers"].items()}
        kinds = {name: kind_of(name, c) for name, c in plant["controllers"].items()}
        baselines = [r for n, r in rates.items() if r is not None and not is_ours(kinds[n]) and not is_oracle(kinds[n])]
        if rates.get(OURS) is None or not baselines:
            continue
        value, bound = rates[OURS], max(baselines)
        title = f"{plant['name']}: success rate with trim, at least the best baseline's"
        rows.append({"name": title, "value": value, "bound": bound, "unit": "1", "met": value >= bound})
    return rows


def learning_requirements(slope: Mapping[str, Any], covered: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The learned slope within its tolerance, and enough data in the three lowest bands."""
    low = min(covered["seconds"][:3])
    return [
        _row("learned slope d f_a,z / d T off the plant's, at most", slope["max_abs_error"], SLOPE_TOLERANCE, "1"),
        {
            "name": "flown in each of the bands h 0-0.05, 0.05-0.10, 0.10-0.20 m, at least",
            "value": low,
            "bound": covered["required_seconds"],
            "unit": "s",
            "met": low >= covered["required_seconds"],
        },
    ]


def _row(name: str, value: float, bound: float, unit: str = "m") -> dict[str, Any]:
    return {"name": name, "value": value, "bound": bound, "unit": unit, "met": value <= bound}
