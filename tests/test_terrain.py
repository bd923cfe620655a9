"""Ground: normals and velocities against finite differences, collision bodies against the analytic height."""

import math

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from neural_lander.errors import UserError
from neural_lander.state import State
from neural_lander.trajectory import Hover, Riding
from neural_lander.vehicle import load_vehicle
from sim.aerodynamics import GroundEffect
from sim.airframe import Airframe
from sim.oracle import Oracle
from sim.terrain import Bumps, Deck, Flat, Lifted, Platform, Slope, Terrain, clearance, level_pad, terrain_named
from sim.world import PyBulletWorld

VEHICLE = load_vehicle("intel-aero")
DECK = Deck(heave_phase=0.4, roll_phase=1.1)
TERRAINS = [Flat(), Platform(0.3, 1.0), Slope(math.radians(8)), Bumps(), DECK]
RNG = np.random.default_rng(3)
PLACES = RNG.uniform(-0.45, 0.45, (12, 2))
TIMES = RNG.uniform(0, 20, 12)


@pytest.mark.parametrize("terrain", TERRAINS)
def test_normals_are_those_of_the_height(terrain: Terrain) -> None:
    e = 1e-6
    for (x, y), t in zip(PLACES.tolist(), TIMES.tolist(), strict=True):
        s = terrain.at(t)
        slope = [
            (s.height(x + e, y) - s.height(x - e, y)) / (2 * e),
            (s.height(x, y + e) - s.height(x, y - e)) / (2 * e),
        ]
        n = np.array([-slope[0], -slope[1], 1.0])
        assert_allclose(s.normal(x, y), n / np.linalg.norm(n), atol=1e-7)


@pytest.mark.parametrize("terrain", TERRAINS)
def test_the_ground_moves_as_its_height_changes(terrain: Terrain) -> None:
    """Along the surface's own motion the height over time is followed: dz/dt = v_z - slope . v."""
    e = 1e-6
    for (x, y), t in zip(PLACES.tolist(), TIMES.tolist(), strict=True):
        s = terrain.at(t)
        vx, vy, vz = s.velocity(x, y)
        rise = (terrain.at(t + e).height(x, y) - terrain.at(t - e).height(x, y)) / (2 * e)
        nx, ny, nz = s.normal(x, y)
        assert vz + (nx * vx + ny * vy) / nz == pytest.approx(rise, abs=1e-8)


@pytest.mark.parametrize("terrain", TERRAINS)
def test_batches_in_either_library_give_what_single_places_give(terrain: Terrain) -> None:
    x, y = PLACES.T
    for f in ("height", "normal", "velocity"):
        single = [np.asarray(getattr(terrain.at(1.7), f)(float(a), float(b))) for a, b in PLACES]
        one = getattr(terrain.at(1.7), f)(x, y)
        two = getattr(terrain.at(torch.tensor(1.7, dtype=torch.float64)), f)(torch.tensor(x), torch.tensor(y))
        for batch in (one, [np.asarray(c) for c in two] if isinstance(two, tuple) else np.asarray(two)):
            assert_allclose(np.asarray(batch).T, single, atol=1e-12)
        first = two[0] if isinstance(two, tuple) else two
        assert first.dtype == torch.float64


def test_each_of_a_batch_has_a_deck_of_its_own_phase() -> None:
    phases = torch.linspace(0, 6, 5, dtype=torch.float64)
    batch = Deck(heave_phase=phases, roll_phase=0.0).at(torch.tensor(2.0, dtype=torch.float64))
    heights = batch.height(torch.zeros(5, dtype=torch.float64), torch.zeros(5, dtype=torch.float64))
    single = [Deck(heave_phase=float(p)).at(2.0).height(0.0, 0.0) for p in phases]
    assert_allclose(heights, single, atol=1e-12)


def test_height_is_that_of_the_gear_point_nearest_to_the_ground_under_it() -> None:
    level, points = ((1.0, 0, 0), (0, 1.0, 0), (0, 0, 1.0)), VEHICLE.gear_points.tolist()
    slope = Slope(math.radians(10))
    assert clearance(level, (0.0, 0.0, 1.0), points, slope) == pytest.approx(1 - 0.11 - 0.1 * math.tan(slope.angle))
    edge = Platform(0.5, 1.0)
    assert clearance(level, (0.55, 0.0, 1.0), points, edge) == pytest.approx(0.5 - 0.11)  # one pair of feet over it
    assert clearance(level, (0.65, 0.0, 1.0), points, edge) == pytest.approx(1.0 - 0.11)
    batch = clearance(level, (torch.tensor([0.55, 0.65]), torch.zeros(2), torch.ones(2)), points, edge)
    assert_allclose(batch, [0.39, 0.89], rtol=1e-6)


@pytest.mark.parametrize("terrain", TERRAINS)
def test_the_level_vehicle_on_its_pad_touches_and_no_more(terrain: Terrain) -> None:
    pad = level_pad(VEHICLE, terrain.mean())
    level = ((1.0, 0, 0), (0, 1.0, 0), (0, 0, 1.0))
    assert clearance(level, tuple(pad.tolist()), VEHICLE.gear_points.tolist(), terrain.mean()) == pytest.approx(0.0)


pybullet = pytest.importorskip("pybullet", reason="collision bodies need pybullet, which has wheels up to Python 3.11")


@pytest.mark.parametrize("terrain, tolerance", [(t, 6e-4 if isinstance(t, Bumps) else 1e-6) for t in TERRAINS])
def test_a_ray_from_above_meets_the_collision_body_at_the_height(terrain: Terrain, tolerance: float) -> None:
    """The mesh of the bumps cuts corners by up to a (k dx)^2 / 4 = 0.44 mm."""
    with PyBulletWorld(VEHICLE, terrain=terrain) as world:
        b = world._bullet
        b.resetBasePositionAndOrientation(world._body, [0, 0, 50], [0, 0, 0, 1])
        for t in (0.0, 1.3):
            terrain.move(b, world._ground, t)
            b.performCollisionDetection()
            rays = b.rayTestBatch([[x, y, 3.0] for x, y in PLACES], [[x, y, -3.0] for x, y in PLACES])
            found = [hit[3][2] for hit in rays]
            assert_allclose(found, [terrain.at(t).height(x, y) for x, y in PLACES.tolist()], atol=tolerance)


def test_a_vehicle_without_thrust_rides_on_a_moving_deck() -> None:
    """It stays in contact and rises and falls with the deck; its friction keeps it where it stands."""
    deck = Deck(heave=0.08, heave_period=2.0)
    with PyBulletWorld(VEHICLE, terrain=deck) as world:
        world.reset(np.array([0.0, 0.0, deck.top + VEHICLE.gear_clearance]), t=5.0)
        world.motors.reset(np.zeros(4))
        heights, touching = [], []
        for _ in range(960):
            world.step(np.zeros(4))
            heights.append(float(world.state.height))
            touching.append(bool(world.state.contact))
        assert world.t == pytest.approx(9.0)
        assert np.mean(touching[240:]) == 1.0
        assert np.ptp(heights[240:]) < 0.004 and np.abs(heights[240:]).max() < 0.005
        assert np.linalg.norm(world.state.position[:2]) < 0.02


def test_effects_are_given_the_ground_of_the_instant() -> None:
    seen = []

    def note(state: State, rotor_speeds: np.ndarray, vehicle: object, terrain: Terrain) -> tuple:
        seen.append(terrain.height(0.0, 0.0))
        return np.zeros(3), np.zeros(3)

    deck = Deck()
    with PyBulletWorld(VEHICLE, [note], terrain=deck) as world:
        world.reset(np.array([0.0, 0.0, 2.0]), t=0.7)
        world.step(np.full(4, VEHICLE.hover_speed))
        world.step(np.full(4, VEHICLE.hover_speed))
    assert_allclose(seen, [deck.at(0.7 + k / 240).height(0.0, 0.0) for k in range(2)])


def test_an_oracle_above_a_moving_deck_goes_by_its_height() -> None:
    deck, zero = Deck(roll=0.0), np.zeros(3)
    surface = deck.at(1.0)
    position = np.array([0.1, 0.0, surface.z + 0.2])
    state = State(position, zero, np.array([1.0, 0, 0, 0]), zero, 0.2 - VEHICLE.gear_clearance)
    oracle = Oracle(VEHICLE, VEHICLE, [GroundEffect()], Airframe.nominal(), deck)
    thrust = np.full(4, VEHICLE.weight / 4)
    expected = GroundEffect()(state, np.full(4, VEHICLE.hover_speed), VEHICLE, surface)[0]
    assert_allclose(oracle.at(state)(thrust), expected, rtol=1e-9)
    lifted = Lifted(Slope(0.1), 0.3)
    assert lifted.normal(0.0, 0.0) == Slope(0.1).normal(0.0, 0.0) and lifted.velocity(0.0, 0.0) == (0.0, 0.0, 0.0)


def test_a_reference_that_rides_keeps_its_height_above_the_deck() -> None:
    riding = Riding(Hover(np.array([0.0, 0.0, 1.0])), DECK.ride)
    for t in TIMES.tolist():
        r, e = riding(t), 1e-4
        assert r.position[2] - DECK.at(t).height(0.0, 0.0) == pytest.approx(1.0 - DECK.top)
        before, after = riding(t - e), riding(t + e)
        assert_allclose((after.position - before.position) / (2 * e), r.velocity, atol=1e-8)
        assert_allclose((after.velocity - before.velocity) / (2 * e), r.acceleration, atol=1e-8)


def test_terrains_have_names_and_a_parameter() -> None:
    assert terrain_named("flat") == Flat()
    assert terrain_named("slope:10") == Slope(math.radians(10))
    assert terrain_named("platform") == Platform(0.5) and terrain_named("platform:0.2") == Platform(0.2)
    assert terrain_named("deck:0.1") == Deck(heave=0.1) and terrain_named("bumps") == Bumps(0.01)


@pytest.mark.parametrize(
    "text, message",
    [
        ("moon", "terrain 'moon' is not known; use one of: flat, platform, slope, bumps, deck"),
        ("slope:45", "terrain 'slope:45': angle in degrees must be a number in 0..30"),
        ("slope:steep", "terrain 'slope:steep': angle in degrees"),
        ("flat:1", "terrain 'flat:1': no parameter"),
    ],
)
def test_other_terrains_are_refused_with_the_remedy(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message.replace("..", r"\.\.")):
        terrain_named(text)
