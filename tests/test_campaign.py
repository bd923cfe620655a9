"""Landings and campaigns: the same numbers however the work is shared, and clear words for bad names."""

import json
from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from neural_lander.control.learned import Learned
from neural_lander.errors import UserError
from neural_lander.residual.analytic import CheesemanBennett
from neural_lander.vehicle import load_vehicle
from sim.aerodynamics import GroundEffect, RotorDrag
from sim.comparison.campaign import Campaign, Outcome, flight_seed, run_campaign
from sim.comparison.pool import LocalPool
from sim.comparison.study import collection_seed
from sim.comparison.summary import summarise
from sim.controllers import CONTROLLERS, build_controller, controller_named
from sim.landing import fly_once, identify_moment_trim
from sim.oracle import closed_form_hang
from sim.plant import Copy, Plant
from sim.scenarios import scenario_named
from sim.sensors import SensorNoise
from tests.random_network import random_network

pytest.importorskip("pybullet", reason="the PyBullet world needs pybullet, which has wheels up to Python 3.11")

VEHICLE = load_vehicle("intel-aero")
PLANT = Plant(VEHICLE)
LEARNED = Learned(
    random_network(VEHICLE, 1),
    CheesemanBennett(5.0, 0.0, VEHICLE.rotor_radius, VEHICLE.gear_clearance),
    0.45,
    uncertified="random weights",
)
COPIES = [Copy(PLANT.with_airframe(1), None), Copy(PLANT.with_airframe(2), None)]


def same(a: dict[str, Outcome], b: dict[str, Outcome]) -> bool:
    return json.dumps({k: v.rows for k, v in a.items()}) == json.dumps({k: v.rows for k, v in b.items()})


CAMPAIGN = Campaign(COPIES, ["pd", "oracle"], "land-1d", flights=3, seed=0)


@pytest.fixture(scope="module")
def outcomes() -> dict[str, Outcome]:
    return run_campaign(CAMPAIGN)


@pytest.mark.slow
@pytest.mark.parametrize("shard_size", [1, 2])
def test_two_workers_and_other_shards_give_the_numbers_of_one(outcomes: dict[str, Outcome], shard_size: int) -> None:
    assert same(run_campaign(CAMPAIGN, LocalPool(2), shard_size=shard_size), outcomes)


def test_the_oracle_lands_and_pd_hangs(outcomes: dict[str, Outcome]) -> None:
    hang = closed_form_hang(VEHICLE, PLANT.effects[:2], build_controller(CONTROLLERS["pd"], PLANT, None).tracking.gains)
    assert all(row["touchdown"] == 1.0 for row in outcomes["oracle"].rows)
    for row in outcomes["pd"].rows:
        assert row["touchdown"] == 0.0
        assert row["final_error_m"] == pytest.approx(hang, abs=0.01)


def test_every_controller_flies_the_same_seeds_in_order(outcomes: dict[str, Outcome]) -> None:
    for outcome in outcomes.values():
        assert [row["seed"] for row in outcome.rows] == [float(flight_seed(0, k)) for k in range(3)]


def test_a_summary_holds_medians_of_magnitudes_with_intervals_and_counts(outcomes: dict[str, Outcome]) -> None:
    summary = summarise(outcomes)
    json.dumps(summary, allow_nan=True)
    errors = [row["final_error_m"] for row in outcomes["pd"].rows]
    figures = summary["pd"]["metrics"]["final_error_m"]
    assert figures["median"] == pytest.approx(np.median(np.abs(errors)))
    assert figures["worst"] == max(errors) and figures["n"] == 3
    assert 0 <= figures["ci95"][0] <= figures["median"] <= figures["ci95"][1]
    assert summary["pd"]["touchdown_count"] == 0 and summary["oracle"]["touchdown_count"] == 3
    assert summary["pd"]["metrics"]["touchdown_speed_m_s"]["n"] == 0


def test_intervals_of_twenty_values_are_those_of_a_bootstrap_of_the_median() -> None:
    rng = np.random.default_rng(3)
    values = rng.normal(0.05, 0.01, 20)
    rows = [{"final_error_m": float(v), "tipped_over": 0.0, "success": 1.0, "seed": 0.0, "copy": 0.0} for v in values]
    figures = summarise({"pd": Outcome(rows)})["pd"]["metrics"]["final_error_m"]
    medians = [np.median(np.abs(rng.choice(values, 20))) for _ in range(5000)]
    assert_allclose(figures["ci95"], np.quantile(medians, [0.025, 0.975]), atol=0.0015)


def test_no_two_flights_share_a_seed() -> None:
    collected = {collection_seed(s, a, k) for s in range(12) for a in range(12) for k in range(12)}
    tested = {flight_seed(s, k) for s in range(12) for k in range(200)}
    assert len(collected) == 12**3 and len(tested) == 12 * 200
    assert not collected & tested


def test_flights_of_one_airframe_do_not_narrow_the_interval() -> None:
    """Five airframes that differ, with twenty flights each that do not: the interval is that of five values."""
    level = np.repeat([0.01, 0.02, 0.03, 0.04, 0.05], 20)
    rows = [
        {"final_error_m": float(v), "tipped_over": 0.0, "success": 1.0, "seed": float(k), "copy": float(k // 20)}
        for k, v in enumerate(level)
    ]
    low, high = summarise({"pd": Outcome(rows)})["pd"]["metrics"]["final_error_m"]["ci95"]
    assert low <= 0.02 and high >= 0.04


def test_a_landing_before_its_time_is_not_a_late_one() -> None:
    rows = [{"lateness_s": -0.3, "tipped_over": 0.0, "success": 1.0, "seed": 0.0, "copy": 0.0}]
    assert summarise({"pd": Outcome(rows)})["pd"]["metrics"]["lateness_s"]["median"] == -0.3


def test_progress_counts_up_to_all_tasks() -> None:
    seen: list[tuple[int, int]] = []
    run_campaign(
        Campaign(COPIES[:1], ["pd"], "hover-low", flights=1), progress=lambda done, of: seen.append((done, of))
    )
    assert seen == [(1, 1)]


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"scenario": "land-2d"}, "scenario 'land-2d' is not known"),
        ({"controllers": ["pd", "pid"]}, "controller 'pid' is not known; use any of: pd"),
        ({"controllers": ["neural-lander"]}, "controller 'neural-lander' needs a bundle"),
        ({"controllers": ["pd-cb"]}, "controller 'pd-cb' needs a bundle"),
        ({"flights": 0}, "flights = 0"),
        ({"copies": []}, "at least one airframe"),
        ({"omega_n": -1.0}, "natural_frequency = -1"),
    ],
)
def test_bad_requests_are_refused_before_anything_flies(changes: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        run_campaign(replace(Campaign(COPIES, ["pd"], "land-1d"), **changes))


@pytest.mark.parametrize("name", CONTROLLERS)
def test_every_controller_can_be_built_and_differs_only_in_residual_and_trim(name: str) -> None:
    kind = controller_named(name)
    controller = build_controller(kind, PLANT, LEARNED)
    gains = controller.tracking.gains
    assert_allclose(gains.Lambda, 3.0)
    assert_allclose(gains.K_v, 3.0 * VEHICLE.mass)
    assert (gains.Gamma > 0) is kind.trim is name.endswith("-trim")
    assert np.array_equal(
        controller.attitude.gains.k_R, build_controller(CONTROLLERS["pd"], PLANT, None).attitude.gains.k_R
    )


@pytest.mark.slow
def test_every_controller_starts_at_the_same_place_in_the_same_noise() -> None:
    scenario = scenario_named("land-3d")
    starts = []
    for name in ("pd", "oracle-trim"):
        with COPIES[0].plant.build() as world:
            controller = build_controller(CONTROLLERS[name], COPIES[0].plant, None)
            log, _, _, _ = fly_once(world, COPIES[0].plant, controller, scenario, 77, np.zeros(3))
        starts.append(np.concatenate([log.position[0], log.velocity[0], log.attitude[0]]))
    assert np.array_equal(starts[0], starts[1])


def test_moment_trim_is_the_moment_of_the_centre_of_mass_that_is_off() -> None:
    """Thrust m g at the nominal centre, weight at the true one: tau = -c x (0, 0, m g)."""
    plant = Plant(VEHICLE, (GroundEffect(), RotorDrag()), noise=SensorNoise.none())
    offset = np.array([0.002, -0.001, 0.0])
    plant = replace(plant, airframe=replace(plant.airframe, centre_of_mass=offset))
    with plant.build() as world:
        moment = identify_moment_trim(plant, world)
    assert_allclose(moment, np.cross(-offset, [0, 0, VEHICLE.weight]), atol=0.1 * 0.002 * VEHICLE.weight)
