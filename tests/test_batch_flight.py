"""Closed loops of the batched world: the figures that the PyBullet world gives, whatever else flies along."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from random_network import random_network

from neural_lander.control.learned import Learned
from neural_lander.errors import UserError
from neural_lander.residual.analytic import CheesemanBennett
from neural_lander.trajectory import Riding
from neural_lander.vehicle import load_vehicle
from sim.batch.flight import Flights, Task, fly_batch
from sim.controllers import CONTROLLERS, build_controller, controller_named
from sim.landing import fly_once
from sim.plant import Copy, Plant
from sim.plant_change import PlantChange
from sim.scenarios import Scenario, scenario_named
from sim.terrain import Deck

pytest.importorskip("pybullet", reason="the worlds are compared")

VEHICLE = load_vehicle("intel-aero")
CHEESEMAN_BENNETT = CheesemanBennett(3.0, 0.05, VEHICLE.rotor_radius, VEHICLE.gear_clearance)
TRIM = np.array([1e-3, -2e-3, 1e-4])
SHORT = replace(scenario_named("land-1d"), duration=-2.8)  # 0.2 s of the warm-up


def copy_of(airframe: int) -> Copy:
    network = random_network(VEHICLE, airframe, 0.3)
    return Copy(
        Plant(VEHICLE).with_airframe(airframe), Learned(network, CHEESEMAN_BENNETT, 0.3, uncertified="random weights")
    )


COPIES = [copy_of(1), copy_of(2)]


def task(controller: str, seeds: range = range(2), copy: Copy = COPIES[0]) -> Task:
    return Task(copy, controller, seeds, TRIM)


def short(tasks: list[Task], like: torch.Tensor | None = None, scenario: Scenario = SHORT) -> np.ndarray:
    """(N, 7) at the end of a short hover: position, velocity, height."""
    with torch.no_grad():
        flights = Flights(tasks, scenario, 3.0, 0.7, like)
        flights.fly()
        s = flights.world.state
    return torch.cat([s.position, s.velocity, s.height[:, None]], dim=-1).double().numpy()


class Shifts:
    """A stranger's effect that writes into the truth, once it sinks: on trial nobody does."""

    def __call__(self, state, rotor_speeds, vehicle, terrain):
        if (state.velocity[..., 2] < -0.25).all() and len(state.velocity) == 2:
            state.position.add_(1.0)
        return 0.0 * state.velocity, 0.0 * state.velocity


def test_what_a_strangers_effect_writes_is_told_in_a_campaigns_batch_too() -> None:
    """Torch counts writes in one of its modes without gradients, not in the faster one that our own effects get."""
    copy = replace(COPIES[0], plant=replace(COPIES[0].plant, effects=(Shifts(),)))
    with pytest.raises(UserError, match="effect 'Shifts' writes into the state"):
        fly_batch([task("pd", copy=copy)], "land-1d")


@pytest.mark.parametrize("controller", [*CONTROLLERS, "oracle-trim+guard"])
def test_every_controller_flies_in_the_batch_as_it_does_alone(controller: str) -> None:
    """To rounding: the same noise, the same law, the same iterations of the thrust."""
    end, copy = short([task(controller)]), COPIES[0]
    one = build_controller(controller_named(controller), copy.plant, copy.learned)
    with copy.plant.build() as world:
        for seed in range(2):
            fly_once(world, copy.plant, one, SHORT_SCORELESS, seed, TRIM)
            s = world.state
            assert_allclose(end[seed], [*s.position, *s.velocity, s.height], rtol=0, atol=1e-9)


SHORT_SCORELESS = replace(SHORT, score=lambda truth, trajectory: {})


def test_a_plant_that_is_wrong_in_every_way_flies_in_the_batch_as_it_does_alone() -> None:
    """Wind, outages, drift and a sagging battery come from each flight's seed in either world."""
    wrong = "thrust=0.9,com=0.03,wind=2,delay=0.02,lag=0.05,dropout=0.2,drift=0.005,charge=0.6,mismatch=0.1"
    change = PlantChange.parse(wrong)
    copy = change.of(COPIES[0])
    end = short([task("pd-trim", copy=copy)])
    one = build_controller(controller_named("pd-trim"), copy.plant, copy.learned)
    with copy.plant.build() as world:
        for seed in range(2):
            fly_once(world, copy.plant, one, SHORT_SCORELESS, seed, TRIM)
            s = world.state
            assert_allclose(end[seed], [*s.position, *s.velocity, s.height], rtol=0, atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["neural-lander-trim", "pd-cb-trim+guard", "oracle-trim"])
def test_each_seed_has_its_moment_of_the_swell_in_either_world(name: str) -> None:
    scenario = replace(scenario_named("deck"), duration=-2.0, score=lambda truth, trajectory: {})
    end, copy, seeds = short([task("pd"), task(name, range(3))], scenario=scenario)[2:], COPIES[0], range(3)
    plant = scenario.over(copy.plant)
    one = build_controller(controller_named(name), plant, copy.learned)
    with plant.build() as world:
        for seed in seeds:
            _, truth, reference, _ = fly_once(world, plant, one, scenario, seed, TRIM)
            s, seconds = world.state, float(truth.t[-1])
            assert_allclose(end[seed], [*s.position, *s.velocity, s.height], rtol=0, atol=1e-9)
            above = reference(seconds).position[2] - world.terrain.at(seconds).height(0.0, 0.0)
            assert above == pytest.approx(scenario.trajectory(plant.pad)(0.0).position[2] - plant.terrain.mean().z)
    phases = [scenario.drawn(seed).terrain for seed in seeds]
    assert len({(deck.heave_phase, deck.roll_phase) for deck in phases if isinstance(deck, Deck)}) == 3


def test_laws_of_several_kinds_follow_a_smooth_way_over_decks_of_their_own_phase() -> None:
    """Position is each flight's own then, and jerk one for all."""

    class OverDeck(Scenario):
        def drawn(self, seed):
            deck = self.terrain.drawn(seed)
            return replace(self, terrain=deck, trajectory=lambda pad: Riding(eight(pad), deck.ride))

    eight = scenario_named("figure-8-low").trajectory
    deck = scenario_named("deck").terrain
    scenario = OverDeck("eight over a deck", "", eight, -2.9, False, lambda truth, way: {}, deck)
    together = short([task("indi"), task("pd")], scenario=scenario)
    assert_allclose(together[2:], short([task("pd")], scenario=scenario), rtol=0, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["neural-lander-trim", "neural-lander-adaptive"])
def test_a_flight_does_not_depend_on_what_flies_along(name: str) -> None:
    """Airframes, networks and seeds of others: not a bit of it."""
    alone = short([task(name, range(1, 2))])
    others = [task("pd-cb", range(3)), task(name, range(2), COPIES[1]), task(name), task(name, range(3), COPIES[1])]
    assert_allclose(short(others)[6], alone[0], rtol=0, atol=1e-13)


def test_single_precision_flies_the_same_way() -> None:
    tasks = [task("neural-lander-trim"), task("pd-trim", copy=COPIES[1])]
    assert_allclose(short(tasks, torch.zeros((), dtype=torch.float32)), short(tasks), atol=2e-4)


@pytest.mark.slow
def test_laws_that_differ_by_numbers_fly_as_one_and_each_with_its_own() -> None:
    tuned = {"Lambda_1_s": 5.0, "K_v_over_m_1_s": 2.0, "Gamma_1_s": 3.0}
    tasks = [task("pd"), replace(task("neural-lander-trim", copy=COPIES[1]), tuned=tuned), task("pd-cb-trim")]
    with torch.no_grad():
        assert len(Flights(tasks, SHORT, 3.0, 0.7, None).controllers) == 1
    alone = np.concatenate([short([one]) for one in tasks])
    assert_allclose(short(tasks), alone, rtol=0, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("controller", ["pd-trim", "oracle-trim"])
def test_landings_are_those_of_the_pybullet_world(controller: str) -> None:
    """Paired over seeds. The flight down is the same to rounding; contact is another solver of the same springs."""
    copy, seeds, scenario = COPIES[0], range(16), scenario_named("land-1d")
    rows = fly_batch([task(controller, seeds)], "land-1d")[0]
    one = build_controller(controller_named(controller), copy.plant, copy.learned)
    with copy.plant.build() as world:
        expected = [fly_once(world, copy.plant, one, scenario, seed, TRIM)[3] for seed in seeds]
    ours, theirs = ({k: np.array([r[k] for r in some]) for k in some[0]} for some in (rows, expected))
    assert np.array_equal(ours["touchdown"], theirs["touchdown"])
    assert np.array_equal(ours["tipped_over"], theirs["tipped_over"])
    assert_allclose(ours["arrival_error_m"], theirs["arrival_error_m"], atol=5e-4)
    assert_allclose(ours["touchdown_speed_m_s"], theirs["touchdown_speed_m_s"], atol=0.02)
    assert abs(np.median(ours["lateness_s"] - theirs["lateness_s"])) < 0.02
    assert np.quantile(np.abs(ours["lateness_s"] - theirs["lateness_s"]), 0.8) < 0.1
    assert abs(np.median(ours["drift_m"] - theirs["drift_m"])) < 0.002
    assert_allclose(ours["final_error_m"], theirs["final_error_m"], atol=1e-3)


@pytest.mark.slow
def test_landings_on_decks_of_their_own_phase_are_those_of_the_pybullet_world() -> None:
    scenario, copy, seeds = scenario_named("deck"), COPIES[0], range(4)
    rows = fly_batch([task("pd-trim", seeds), task("oracle-trim", seeds)], "deck")[1]
    plant = scenario.over(copy.plant)
    one = build_controller(controller_named("oracle-trim"), plant, copy.learned)
    with plant.build() as world:
        expected = [fly_once(world, plant, one, scenario, seed, TRIM)[3] for seed in seeds]
    for ours, theirs in zip(rows, expected, strict=True):
        assert ours["success"] == theirs["success"] == 1
        assert ours["arrival_error_m"] == pytest.approx(theirs["arrival_error_m"], abs=1e-3)
        assert ours["touchdown_speed_m_s"] == pytest.approx(theirs["touchdown_speed_m_s"], abs=0.03)


@pytest.mark.slow
def test_a_shard_has_the_rows_of_the_same_seeds_in_a_larger_one() -> None:
    whole, part = (
        fly_batch([Task(COPIES[0], "neural-lander-trim", seeds, TRIM)], "hover-low")[0]
        for seeds in (range(4), range(2, 4))
    )
    for a, b in zip(whole[2:], part, strict=True):
        assert a == pytest.approx(b, abs=1e-10)


@pytest.mark.slow
def test_who_knows_the_truth_is_down_for_good_when_the_reference_is() -> None:
    """One hop of a fraction of a millimetre began the contact anew, 0.08 s later in the median."""
    (rows,) = fly_batch([task("oracle-trim", range(16))], "land-1d")
    late = np.array([row["lateness_s"] for row in rows])
    assert np.median(np.abs(late)) < 0.03 and late.max() < 0.2
