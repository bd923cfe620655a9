"""A centre of mass that is off: gear, hubs and what acts at them stay where they are on the frame, in both worlds."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from neural_lander.components import rotate
from neural_lander.rotation import quaternion_exp, quaternion_to_matrix
from neural_lander.state import State
from neural_lander.vehicle import GRAVITY, Vehicle, load_vehicle
from sim.aerodynamics import GroundEffect
from sim.airframe import Airframe
from sim.batch.world import BatchWorld
from sim.gear import GEAR_SAG
from sim.plant import Plant
from sim.rigid_body import TIME_STEP
from sim.terrain import Flat, Surface, clearance
from sim.world import PyBulletWorld

pytest.importorskip("pybullet", reason="the worlds are compared")

VEHICLE = load_vehicle("intel-aero")
OFF = np.array([0.02, -0.01, 0.008])  # m: far more than any airframe is drawn with
AIRFRAME = replace(Airframe.nominal(), centre_of_mass=OFF)
LOW = np.array([0.1, -0.2, VEHICLE.gear_clearance + 0.03])
TILTED = quaternion_exp(np.array([0.2, -0.1, 0.4]))
World = PyBulletWorld | BatchWorld
BOTH = pytest.mark.parametrize("world_of", [PyBulletWorld, lambda v, e, a: BatchWorld(v, e, [a, Airframe.nominal()])])


def start(world: World, position: np.ndarray, attitude: np.ndarray | None = None) -> None:
    if isinstance(world, PyBulletWorld):
        world.reset(position, attitude=attitude)
        return
    world.reset(np.stack([position] * 2))
    if attitude is not None:  # of the dynamics, whose place is the centre of mass; a reset places all level
        turned = (quaternion_to_matrix(attitude) - np.eye(3)) @ OFF
        world.p = [c + torch.tensor([a, 0.0]) for c, a in zip(world.p, turned, strict=True)]
        world.q = [torch.full((2,), q, dtype=torch.float64) for q in attitude]
        world._read([torch.zeros(2, dtype=torch.float64)] * 3)


def step(world: World, speeds: np.ndarray) -> None:
    if isinstance(world, PyBulletWorld):
        world.step(speeds)
    else:
        world.step(torch.tensor(np.stack([speeds] * 2)))


def first(world: World, name: str) -> np.ndarray:
    values = np.asarray(getattr(world.state, name))
    return values if isinstance(world, PyBulletWorld) else values[0]


def mass_centre(world: World) -> np.ndarray:
    """(3,) m: where the dynamics have it."""
    if isinstance(world, PyBulletWorld):
        return np.array(world._bullet.getBasePositionAndOrientation(world._body)[0])
    return np.array([float(c[0]) for c in world.p])


@BOTH
def test_the_frame_is_placed_and_its_height_is_that_of_its_gear(world_of: Callable[..., World]) -> None:
    world = world_of(VEHICLE, (), AIRFRAME)
    start(world, LOW, TILTED)
    R = quaternion_to_matrix(TILTED)
    assert_allclose(first(world, "position"), LOW, atol=1e-12)
    assert_allclose(mass_centre(world), LOW + R @ OFF, atol=1e-12)
    gear = LOW + VEHICLE.gear_points @ R.T
    assert float(first(world, "height")) == pytest.approx(gear[:, 2].min())


@BOTH
def test_what_acts_at_the_hubs_turns_it_about_the_true_centre_of_mass(world_of: Callable[..., World]) -> None:
    """The first step from rest, against the sum over the rotors, written from their places alone."""
    speeds = VEHICLE.hover_speed * np.ones(4)
    world = world_of(VEHICLE, (GroundEffect(),), AIRFRAME)
    start(world, LOW, TILTED)
    step(world, speeds)
    R, moment = quaternion_to_matrix(TILTED), np.zeros(3)
    for hub in VEHICLE.rotor_positions:
        s = GroundEffect().increase(float((LOW + R @ hub)[2]), VEHICLE)
        moment += np.cross(hub - OFF, [0.0, 0.0, VEHICLE.weight / 4 / (1 - s)])
    assert_allclose(first(world, "body_rates"), TIME_STEP * moment / VEHICLE.inertia, rtol=1e-6, atol=1e-9)


@pytest.mark.slow
@BOTH
def test_it_stands_on_its_own_feet(world_of: Callable[..., World]) -> None:
    """With the centre of mass off to a side it leans on two of them, by as much as the gear gives way."""
    world = world_of(VEHICLE, (), AIRFRAME)
    start(world, np.array([0.0, 0.0, VEHICLE.gear_clearance]))
    for _ in range(240):
        step(world, np.zeros(4))
    tilt = np.degrees(np.arccos(quaternion_to_matrix(first(world, "attitude"))[2, 2]))
    assert bool(first(world, "contact")) and tilt < 1.0
    assert_allclose(first(world, "position")[:2], 0.0, atol=2e-3)
    assert float(first(world, "height")) == pytest.approx(-GEAR_SAG, abs=1e-3)
    assert first(world, "position")[2] == pytest.approx(VEHICLE.gear_clearance - GEAR_SAG, abs=1e-3)


@BOTH
def test_thrown_it_turns_about_its_centre_of_mass_which_falls_along_a_parabola(world_of: Callable[..., World]) -> None:
    world = world_of(VEHICLE, (), AIRFRAME)
    start(world, np.array([0.0, 0.0, 50.0]))
    if isinstance(world, PyBulletWorld):
        world.motors.reset(np.zeros(4))
        world._bullet.resetBaseVelocity(world._body, [0.0] * 3, [0.0, 0.0, 3.0])
        world._read()
    else:
        world.u = [0.0 * u for u in world.u]
        world.w[2] = world.w[2] + 3.0
        world._read([0.0 * w for w in world.w])
    assert_allclose(first(world, "velocity"), -np.cross([0.0, 0.0, 3.0], OFF), atol=1e-12)
    before = first(world, "position")
    for _ in range(120):
        step(world, np.zeros(4))
        R = quaternion_to_matrix(first(world, "attitude"))
        assert_allclose((first(world, "position") + R @ OFF)[:2], OFF[:2], atol=1e-9)
        moved = (first(world, "position") - before) / TIME_STEP
        assert_allclose(first(world, "velocity"), moved, atol=3e-3)  # v' dt / 2 of what circles the axis
        before = first(world, "position")
    assert first(world, "velocity")[2] == pytest.approx(-120 * TIME_STEP * GRAVITY)
    assert_allclose(first(world, "specific_force"), 0.0, atol=1e-9)


def test_effects_and_oracle_are_asked_where_the_frame_is() -> None:
    seen: list[np.ndarray] = []

    def probe(state: State, speeds: np.ndarray, vehicle: Vehicle, terrain: Surface) -> tuple[np.ndarray, np.ndarray]:
        at = clearance(state.rows, state.position.tolist(), vehicle.gear_points.tolist(), terrain)
        seen.append(np.array([at, float(state.height), *rotate(state.rows, vehicle.rotor_positions[0].tolist())]))
        return np.zeros(3), np.zeros(3)

    with PyBulletWorld(VEHICLE, [probe], AIRFRAME) as world:
        world.reset(LOW, attitude=TILTED)
        world.step(VEHICLE.hover_speed * np.ones(4))
    assert seen[0][0] == pytest.approx(seen[0][1], abs=1e-12)


def test_without_an_offset_both_worlds_do_what_they_did_to_the_last_bit() -> None:
    """The state is the dynamics' own: nothing is added to it, not even a zero."""
    plant = Plant(VEHICLE)
    with plant.build() as world:
        world.reset(LOW)
        world.step(VEHICLE.hover_speed * np.array([1.0, 1.01, 0.99, 1.0]))
        position, velocity = (
            world._bullet.getBasePositionAndOrientation(world._body)[0], world._bullet.getBaseVelocity(world._body)[0],
        )  # fmt: skip
        assert np.array_equal(world.state.position, position) and np.array_equal(world.state.velocity, velocity)
    batch = BatchWorld(VEHICLE, (), [Airframe.nominal()], Flat())
    batch.reset(LOW[None])
    assert all(torch.equal(c, batch.state.position[:, i]) for i, c in enumerate(batch.p))
