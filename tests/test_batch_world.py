"""The batched world against the PyBullet world, SciPy's integration of the equations, and itself in other batches."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy.spatial.transform import Rotation
from test_world import HIGH, TRIAXIAL, TUMBLES, VEHICLE, equations, tumble

from neural_lander.components import split
from sim.aerodynamics import AerodynamicEffect, GroundEffect, NearGroundTurbulence, RotorDrag
from sim.airframe import Airframe
from sim.batch.world import BatchWorld
from sim.gear import GEAR_SAG
from sim.terrain import Platform, Slope, Terrain
from sim.world import PyBulletWorld

pytest.importorskip("pybullet", reason="the worlds are compared")

START = Rotation.from_euler("xyz", [0.3, 0.2, 1.0]).as_quat(scalar_first=True)
VELOCITY = np.array([1.0, 2.0, 3.0])
AIRFRAMES = [Airframe.drawn(TRIAXIAL, seed) for seed in range(3)]
HOVER = TRIAXIAL.hover_speed


def commands(steps: int, flights: int, seed: int = 0) -> np.ndarray:
    """(steps, flights, 4) rad/s around hover: they tumble on, each in its own way."""
    return HOVER * (1 + 0.002 * np.random.default_rng(seed).standard_normal((steps, flights, 4)))


def tumbling(
    effects: list[AerodynamicEffect], airframes: list[Airframe], dt: float = 1 / 240, dtype: torch.dtype = torch.float64
) -> BatchWorld:
    """As many as there are airframes, each turning about another axis."""
    world = BatchWorld(TRIAXIAL, effects, airframes, dt=dt, like=torch.zeros((), dtype=dtype))
    n = len(airframes)
    world.reset(np.tile(HIGH, (n, 1)), np.tile(VELOCITY, (n, 1)), seeds=[0] * n)
    turned = [Rotation.from_quat(START, scalar_first=True).apply(a.centre_of_mass) for a in airframes]
    world.p = [torch.tensor(c, dtype=dtype) for c in (HIGH + np.array(turned)).T]
    world.q = [torch.full((n,), q, dtype=dtype) for q in START]
    world.w = [torch.tensor([TUMBLES[i][axis] for i in range(n)], dtype=dtype) for axis in range(3)]
    world._read([torch.zeros(n, dtype=dtype)] * 3)
    return world


def columns(world: BatchWorld) -> np.ndarray:
    """(N, 13) position, velocity, attitude, body rates."""
    s = world.state
    return torch.cat([s.position, s.velocity, s.attitude, s.body_rates], dim=-1).numpy()


@pytest.mark.slow
def test_five_seconds_of_tumbling_equal_those_in_pybullet() -> None:
    """Measured: 1e-12 m. An order of magnitude more would be another scheme, not rounding."""
    effects, told = [RotorDrag(), GroundEffect(), NearGroundTurbulence()], commands(1200, 3)
    batch = tumbling(effects, AIRFRAMES)
    for command in told:
        batch.step(torch.tensor(command))
    for i, airframe in enumerate(AIRFRAMES):
        with PyBulletWorld(TRIAXIAL, effects, airframe) as world:
            tumble(world, HIGH, VELOCITY, TUMBLES[i])
            for command in told[:, i]:
                world.step(command)
            s = world.state
        q = s.attitude * np.sign(s.attitude @ columns(batch)[i, 6:10])  # q and -q are one attitude
        expected = np.concatenate([s.position, s.velocity, q, s.body_rates])
        assert_allclose(columns(batch)[i], expected, rtol=0, atol=1e-9)
        assert batch.state.height[i] == pytest.approx(float(s.height), abs=1e-9)


@pytest.mark.slow
def test_errors_against_the_equations_are_of_first_order() -> None:
    """Both worlds share scheme and error; against DOP853 it is 3 to 30 cm after 5 s, and shrinks with the step."""
    errors = []
    for dt in (1 / 240, 1 / 960):
        world = tumbling([RotorDrag()], [Airframe.nominal()], dt)
        command = torch.full((1, 4), HOVER, dtype=torch.float64)
        for _ in range(round(0.8 / dt)):
            world.step(command)
        p, v, R, omega = equations(TRIAXIAL, Airframe.nominal(), np.full(4, HOVER), VELOCITY, TUMBLES[0], 0.8)
        row, turn = columns(world)[0], Rotation.from_matrix(R.T @ world.state.R[0].numpy()).magnitude()
        apart = [np.linalg.norm(row[a:b] - x) for a, b, x in ((0, 3, p), (3, 6, v), (10, 13, omega))]
        errors.append([*apart[:2], turn, apart[2]])
    coarse, fine = np.array(errors)
    assert coarse[0] < 0.05 and coarse[1] < 0.05 and coarse[2] < 0.01
    assert np.all(fine[:3] < 0.3 * coarse[:3])
    assert fine[3] < 0.09 * coarse[3]


def test_a_flight_does_not_depend_on_its_batch() -> None:
    effects, told = [RotorDrag(), GroundEffect(), NearGroundTurbulence()], commands(30, 3)
    many, one = tumbling(effects, AIRFRAMES), tumbling(effects, AIRFRAMES[:1])
    for command in torch.tensor(told):
        many.step(command)
        one.step(command[:1])
    assert np.array_equal(columns(many)[0], columns(one)[0])


def test_single_precision_stays_close() -> None:
    double, single = tumbling([RotorDrag()], AIRFRAMES), tumbling([RotorDrag()], AIRFRAMES, dtype=torch.float32)
    for command in torch.tensor(commands(120, 3)):
        double.step(command)
        single.step(command.to(torch.float32))
    assert single.state.position.dtype == single.state.height.dtype == torch.float32
    assert_allclose(columns(single)[:, 3:], columns(double)[:, 3:], atol=2e-4)


def test_free_flight_is_differentiable() -> None:
    """Height after some steps by the speed of one rotor in the first step, against central differences."""

    def height(command: torch.Tensor) -> torch.Tensor:
        world = BatchWorld(VEHICLE, [GroundEffect(), RotorDrag()], [AIRFRAMES[0]] * 2)
        world.reset(np.array([[0.0, 0.0, 0.2], [0.0, 0.0, 1.0]]))
        for _ in range(20):
            world.step(command)
        return world.state.height

    command = torch.full((2, 4), VEHICLE.hover_speed, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(height(command).sum(), command)
    assert torch.all(gradient.isfinite())
    step = 0.01 * torch.eye(4, dtype=torch.float64)
    with torch.no_grad():
        differences = torch.stack([(height(command + d) - height(command - d)) / 0.02 for d in step], dim=-1)
    assert_allclose(gradient, differences, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("terrain", [None, Platform(top=0.5, size=1.0), Slope()])
def test_it_stands_where_the_pybullet_world_stands(terrain: Terrain | None) -> None:
    off = torch.zeros((1, 4), dtype=torch.float64)
    batch = BatchWorld(VEHICLE, [], [Airframe.nominal()], terrain)
    place = np.array([0.1, 0.0, 0.13 + (0.5 if isinstance(terrain, Platform) else 0.03)])
    batch.reset(place[None])
    with PyBulletWorld(VEHICLE, terrain=terrain) as world:
        world.reset(place)
        for _ in range(150):
            batch.step(off)
            world.step(np.zeros(4))
        expected = world.state
    assert bool(batch.state.contact[0])
    assert_allclose(batch.state.position[0], expected.position, atol=0.004)
    assert_allclose(batch.state.attitude[0], expected.attitude, atol=0.01)
    assert float(batch.state.velocity[0].norm()) < 5e-3
    if terrain is None:
        assert -float(batch.state.height[0]) == pytest.approx(GEAR_SAG, rel=0.1)


def test_first_contact_feels_as_it_does_in_pybullet() -> None:
    """Level at 0.3 m/s with part of the weight on the rotors: the way down and back up, step by step."""
    command = np.full(4, VEHICLE.hover_speed * np.sqrt(0.7))
    batch = BatchWorld(VEHICLE, [], [Airframe.nominal()])
    batch.reset(np.array([[0.0, 0.0, 0.115]]), np.array([[0.0, 0.0, -0.3]]))
    with PyBulletWorld(VEHICLE) as world:
        world.reset(np.array([0.0, 0.0, 0.115]), np.array([0.0, 0.0, -0.3]))
        for _ in range(40):
            batch.step(torch.tensor(command[None]))
            world.step(command)
            assert float(batch.state.height[0]) == pytest.approx(float(world.state.height), abs=3e-5)
            assert bool(batch.state.contact[0]) == world.state.contact


@pytest.mark.slow
def test_it_neither_sinks_in_nor_slides_away_when_dropped_askew() -> None:
    batch = BatchWorld(VEHICLE, [], [Airframe.nominal()])
    batch.reset(np.array([[0.0, 0.0, 0.2]]), np.array([[0.3, 0.1, -1.0]]))
    tilt = Rotation.from_euler("xyz", [0.2, -0.1, 0.5]).as_quat(scalar_first=True)
    batch.q = [torch.tensor([q]) for q in tilt]
    batch._read([torch.zeros(1)] * 3)
    for _ in range(300):
        batch.step(torch.zeros((1, 4), dtype=torch.float64))
        assert float(batch.state.height[0]) > -0.03
    x, y, _ = split(batch.state.position[0].numpy())
    assert abs(x) < 0.3 and abs(y) < 0.3
    assert float(batch.state.velocity.norm()) < 5e-3 and float(batch.state.R[0, 2, 2]) > 0.999


def test_whose_flight_is_over_rests_and_is_felt_to_touch_while_the_others_go_on() -> None:
    world = BatchWorld(VEHICLE, [], [Airframe.nominal()] * 2)
    clearance = VEHICLE.gear_clearance
    world.reset(np.array([[0.0, 0.0, clearance - 1e-4], [0.0, 0.0, clearance + 0.5]]))
    stopped = torch.zeros(2, 4, dtype=torch.float64)
    world.step(stopped)
    assert world.state.contact.tolist() == [True, False]
    before = world.state
    world.over = torch.tensor([True, False])
    for _ in range(200):  # 0.8 s: the other one falls to the floor meanwhile
        world.step(stopped)
    assert torch.equal(world.state.position[0], before.position[0]) and bool(world.state.contact[0])
    assert world.state.contact.tolist() == [True, True] and float(world.state.height[1]) < 0.01
