"""Landings in PyBullet on slopes, bumps, a platform and a moving deck: down once, motors off, no bounce."""

import math
from dataclasses import replace

import numpy as np
import pytest

from neural_lander.control.controller import Controller
from neural_lander.control.touchdown import TouchdownDetector
from neural_lander.trajectory import Landing, Riding, Trajectory
from neural_lander.vehicle import load_vehicle
from sim.flight import Truth, fly
from sim.plant import Plant
from sim.sensors import Sensors
from sim.terrain import Deck, terrain_named
from sim.world import PyBulletWorld

pytest.importorskip("pybullet", reason="the PyBullet world needs pybullet, which has wheels up to Python 3.11")

VEHICLE = load_vehicle("intel-aero")
OFF = np.zeros(4)
BOUNCE = 0.003  # m of the lowest foot above the ground, after the first contact: twice the gear's sag


class FalseContacts(Sensors):
    """A contact flag that is raised for 40 ms three times a second, and drops out for a fifth of the time."""

    def measure(self, truth: object) -> object:
        seen = super().measure(truth)
        self.k = getattr(self, "k", 0) + 1
        spike = self.k % 80 < 10
        return replace(seen, contact=(bool(seen.contact) and self.k % 5 != 0) or spike)


def landing(name: str, seed: int, knows: bool, sensors: type[Sensors] = Sensors) -> tuple[Truth, PyBulletWorld, float]:
    """One landing, then a second without thrust; the truth, the closed world as it ended, and how far it rose then."""
    terrain, rng = terrain_named(name), np.random.default_rng(seed)
    if isinstance(terrain, Deck):
        phases = rng.uniform(0, 2 * np.pi, 2)
        terrain = replace(terrain, heave_phase=float(phases[0]), roll_phase=float(phases[1]))
    plant = Plant(VEHICLE, terrain=terrain).with_airframe(seed)
    down = Landing(plant.pad + [0, 0, 0.6], plant.pad)
    reference: Trajectory = Riding(down, terrain.ride) if isinstance(terrain, Deck) else down
    controller = Controller(VEHICLE, plant.oracle() if knows else None)
    with plant.build() as world:
        world.reset(reference(-2.0).position, seed=seed, t=-2.0)
        _, truth = fly(
            world, controller, reference, sensors(plant.noise, seed), start=-2.0, end=down.arrival + 9.0,
            touchdown=TouchdownDetector(),
        )  # fmt: skip
        rises = []
        for _ in range(240):
            world.step(OFF)
            rises.append(float(world.state.height))
        return truth, world, max(rises)


TERRAINS = ("flat", "platform", "slope:5", "slope:10", "bumps", "deck")


@pytest.mark.slow
@pytest.mark.parametrize("knows", [False, True], ids=["PD with trim", "oracle with trim"])
@pytest.mark.parametrize("name", TERRAINS)
def test_it_comes_down_once_and_the_motors_stop(name: str, knows: bool) -> None:
    for seed in range(3):
        truth, world, rise = landing(name, seed, knows)
        assert np.isfinite(truth.landed_at)
        air = truth.t > 0
        first = int(np.argmax(truth.contact & air))
        assert truth.height[first:].max() < BOUNCE
        assert rise < BOUNCE
        assert truth.t[-1] - truth.landed_at < 0.5  # from the contact that lasted to the motors' stop
        assert world.state.rows[2][2] > math.cos(math.radians(15))
        assert np.linalg.norm(world.state.velocity) < 0.15  # that of the deck


def test_a_landing_on_a_slope_of_ten_degrees_ends_on_all_feet() -> None:
    truth, world, rise = landing("slope:10", 1, True)
    assert np.isfinite(truth.landed_at) and rise < BOUNCE
    assert math.degrees(math.acos(world.state.rows[2][2])) == pytest.approx(10.0, abs=0.5)
    assert np.linalg.norm(world.state.position[:2]) < 0.1


@pytest.mark.slow
@pytest.mark.parametrize("name", ["flat", "slope:10", "deck"])
def test_a_lying_contact_flag_neither_stops_the_motors_in_the_air_nor_keeps_them_on(name: str) -> None:
    for seed in range(2):
        truth, _, rise = landing(name, seed, True, FalseContacts)
        assert np.isfinite(truth.landed_at)
        at = int(np.searchsorted(truth.t, truth.landed_at))
        assert truth.height[at] < 0.03  # a spike just before the ground may begin the contact
        assert truth.height[-1] < BOUNCE and rise < BOUNCE
