"""The PyBullet world against SciPy's integration of the design's equations, closed forms, and contact."""

from typing import Any

import numpy as np
import pybullet
import pytest
from numpy.testing import assert_allclose
from scipy.integrate import solve_ivp
from scipy.spatial.transform import Rotation

from neural_lander.errors import UserError
from neural_lander.state import State
from neural_lander.vehicle import GRAVITY, Vehicle, load_vehicle
from sim.aerodynamics import GroundEffect, NearGroundTurbulence, RotorDrag
from sim.airframe import Airframe
from sim.gear import GEAR_SAG
from sim.plant import Plant
from sim.terrain import Platform
from sim.world import PyBulletWorld

pytest.importorskip("pybullet", reason="the PyBullet world needs pybullet, which has wheels up to Python 3.11")

VEHICLE = load_vehicle("intel-aero")
TRIAXIAL = VEHICLE.with_(inertia=np.array([0.006, 0.0085, 0.0135]))
HOVER = np.full(4, VEHICLE.hover_speed)
OFF = np.zeros(4)
HIGH = np.array([0.0, 0.0, 500.0])
START = Rotation.from_euler("xyz", [0.3, 0.2, 1.0])


def tumble(world: PyBulletWorld, position: np.ndarray, velocity: np.ndarray, rates: np.ndarray) -> None:
    """Reset has no rates, as no flight starts with them: set in Bullet."""
    world.reset(position, velocity, START.as_quat(scalar_first=True))
    world._bullet.resetBaseVelocity(world._body, velocity.tolist(), START.apply(rates).tolist())
    world._read()


def equations(
    vehicle: Vehicle, airframe: Airframe, command: np.ndarray, velocity: np.ndarray, rates: np.ndarray, T: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """p, v, R, omega after T s of rotor wrench, gravity and drag, motors of first order; written from the design.

    p and v are of the centre of mass.
    """
    c_T, J = vehicle.thrust_coefficient, np.diag(vehicle.inertia)

    def flow(t: float, y: np.ndarray) -> np.ndarray:
        v, R, omega = y[3:6], y[6:15].reshape(3, 3), y[15:]
        u = command**2 + (vehicle.hover_speed**2 - command**2) * np.exp(-t / vehicle.motor_time_constant)
        force, moment = np.zeros(3), np.zeros(3)
        for hub, axis, turns, u_i in zip(
            vehicle.rotor_positions, airframe.rotor_axes, vehicle.rotor_directions, u, strict=True
        ):
            thrust = c_T * u_i * axis
            force += thrust
            moment += np.cross(hub - airframe.centre_of_mass, thrust) - turns * vehicle.torque_ratio * thrust
        drag = 0.3 * vehicle.mass * np.mean(np.sqrt(u)) / vehicle.hover_speed
        hub_plane = -drag * np.diag([1, 1, 0]) @ (R.T @ v - np.cross(omega, airframe.centre_of_mass))  # at the origin
        moment += np.cross(-airframe.centre_of_mass, hub_plane)
        f = R @ (force + hub_plane)
        S = np.array([[0, -omega[2], omega[1]], [omega[2], 0, -omega[0]], [-omega[1], omega[0], 0]])
        omega_dot = np.linalg.solve(J, np.cross(J @ omega, omega) + moment)
        return np.concatenate([v, f / vehicle.mass - [0, 0, GRAVITY], (R @ S).ravel(), omega_dot])

    y0 = np.concatenate([HIGH, velocity, START.as_matrix().ravel(), rates])
    y = solve_ivp(flow, (0, T), y0, rtol=1e-10, atol=1e-10).y[:, -1]
    return y[:3], y[3:6], y[6:15].reshape(3, 3), y[15:]


def errors(
    dt: float, seconds: float, rates: np.ndarray, command: np.ndarray = HOVER, airframe: Airframe | None = None
) -> tuple[float, float, float, float]:
    """Of position m, velocity m/s, attitude rad, and body rates relative, at the end of a tumbling flight."""
    airframe, velocity = airframe or Airframe.nominal(), np.array([1.0, 2.0, 3.0])
    p, v, R, omega = equations(TRIAXIAL, airframe, command, velocity, rates, seconds)
    with PyBulletWorld(TRIAXIAL, [RotorDrag()], airframe, dt=dt) as world:
        tumble(world, HIGH, velocity, rates)
        for _ in range(round(seconds / dt)):
            world.step(command)
        s = world.state
    centre, velocity = airframe.centre_of_mass, s.velocity + s.R @ np.cross(s.body_rates, airframe.centre_of_mass)
    return (
        float(np.linalg.norm(s.position + s.R @ centre - START.apply(centre) - p)),
        float(np.linalg.norm(velocity - v)),
        Rotation.from_matrix(R.T @ s.R).magnitude(),
        float(np.linalg.norm(s.body_rates - omega) / np.linalg.norm(omega)),
    )


TUMBLES = [np.array([1.0, 6.0, 1.0]), np.array([4.0, 2.0, 4.0]), np.array([3.0, -5.0, 1.0])]


@pytest.mark.slow
@pytest.mark.parametrize("rates", TUMBLES)
def test_five_seconds_of_tumbling_follow_the_equations(rates: np.ndarray) -> None:
    """Over 50 to 80 m of way; measured 3 to 30 cm, 1 to 10 cm/s, 0.4 degrees, 0.03 % of the rates."""
    position, velocity, attitude, body_rates = errors(1 / 240, 5.0, rates)
    assert position < 0.5
    assert velocity < 0.15
    assert attitude < 0.01
    assert body_rates < 0.001


def test_rotor_moments_on_an_asymmetric_airframe_follow_the_equations() -> None:
    command = VEHICLE.hover_speed * np.array([1.0, 1.0005, 0.9995, 1.0])
    airframe = Airframe(Airframe.drawn(VEHICLE, 3).rotor_axes, np.array([1e-5, -2e-5, 1e-3]))
    position, velocity, attitude, body_rates = errors(1 / 240, 1.0, TUMBLES[0], command, airframe)
    assert position < 0.01 and velocity < 0.01 and attitude < 0.01 and body_rates < 0.005


@pytest.mark.slow
def test_errors_shrink_with_the_step_as_bullets_order_says() -> None:
    """First order in position, velocity and attitude, second in the rates."""
    coarse, fine = (np.array(errors(dt, 2.0, TUMBLES[1])) for dt in (1 / 240, 1 / 960))
    assert np.all(fine[:3] < 0.3 * coarse[:3])
    assert fine[3] < 0.09 * coarse[3]


def test_without_moments_neither_energy_nor_angular_momentum_is_damped() -> None:
    with PyBulletWorld(TRIAXIAL) as world:
        tumble(world, HIGH, np.zeros(3), np.array([2.0, 4.0, 3.0]))
        world.motors.reset(OFF)

        def momentum(state: State) -> np.ndarray:
            return state.R @ (TRIAXIAL.inertia * state.body_rates)

        def energy(state: State) -> float:
            return float(np.sum(TRIAXIAL.inertia * state.body_rates**2) / 2)

        before = world.state
        for _ in range(5 * 240):
            world.step(OFF)
        assert energy(world.state) == pytest.approx(energy(before), rel=1e-3)
        assert_allclose(momentum(world.state), momentum(before), rtol=0.02, atol=1e-3)
        assert world.state.velocity[2] == pytest.approx(-5 * GRAVITY, rel=1e-6)


def test_free_fall_is_exact_but_for_the_half_step_of_semi_implicit_euler() -> None:
    with PyBulletWorld(VEHICLE) as world:
        world.reset(HIGH)
        world.motors.reset(OFF)
        for _ in range(240):
            world.step(OFF)
        assert world.state.position[2] == pytest.approx(500 - GRAVITY / 2 - GRAVITY / 2 / 240, abs=1e-6)
        assert_allclose(world.specific_force, 0, atol=1e-9)


def test_hover_speed_hovers() -> None:
    with PyBulletWorld(VEHICLE) as world:
        world.reset(np.array([0.0, 0.0, 1.0]))
        for _ in range(5 * 240):
            world.step(HOVER)
        assert_allclose(world.state.position, [0, 0, 1], atol=1e-6)
        assert_allclose(world.state.attitude, [1, 0, 0, 0], atol=1e-9)
        assert_allclose(world.specific_force, [0, 0, GRAVITY], atol=1e-6)
        assert world.state.height == pytest.approx(1.0 - 0.11) and not world.state.contact


@pytest.mark.parametrize("rotor", range(4))
def test_a_faster_rotor_turns_the_body_the_way_its_hub_and_its_sense_say(rotor: int) -> None:
    """Lift at the hub: tau = r x F; a rotor turning counter-clockwise drags the body clockwise."""
    faster = HOVER.copy()
    faster[rotor] *= 1.01
    with PyBulletWorld(VEHICLE) as world:
        world.reset(HIGH)
        for _ in range(5):
            world.step(faster)
        rates = world.state.body_rates
    x, y, _ = VEHICLE.rotor_positions[rotor]
    assert np.sign(rates[:2]).tolist() == [np.sign(y), np.sign(-x)]
    assert np.sign(rates[2]) == -VEHICLE.rotor_directions[rotor]


def test_it_stands_on_its_gear_which_gives_way_by_the_stated_sag() -> None:
    with PyBulletWorld(VEHICLE) as world:
        world.reset(np.array([0.0, 0.0, 0.13]))
        world.motors.reset(OFF)
        for _ in range(480):
            world.step(OFF)
        assert world.state.contact
        assert -world.state.height == pytest.approx(GEAR_SAG, rel=0.1)
        assert np.linalg.norm(world.state.velocity) < 1e-3
        assert_allclose(world.state.position[:2], 0, atol=1e-4)
        assert_allclose(world.specific_force, [0, 0, GRAVITY], atol=0.05)


def test_it_does_not_fall_through_the_floor() -> None:
    with PyBulletWorld(VEHICLE) as world:
        world.reset(np.array([0.0, 0.0, 0.5]), velocity=np.array([0.0, 0.0, -3.0]))
        world.motors.reset(OFF)
        lowest = np.inf
        for _ in range(480):
            world.step(OFF)
            lowest = min(lowest, float(world.state.height))
        assert lowest > -0.05
        assert -world.state.height < 2 * GEAR_SAG


def test_contact_is_felt_on_the_floor_only() -> None:
    with PyBulletWorld(VEHICLE) as world:
        for gap, expected in ((0.01, False), (0.001, False), (-0.001, True)):
            world.reset(np.array([0.0, 0.0, 0.11 + gap]))
            world.motors.reset(OFF)
            world.step(OFF)
            assert bool(world.state.contact) is expected


def test_height_and_contact_are_above_the_platform_where_there_is_one() -> None:
    with PyBulletWorld(VEHICLE, terrain=Platform(top=0.5, size=1.0)) as world:
        world.reset(np.array([0.0, 0.0, 0.7]))
        assert world.state.height == pytest.approx(0.2 - 0.11)
        world.motors.reset(OFF)
        for _ in range(240):
            world.step(OFF)
        assert world.state.contact and world.state.position[2] == pytest.approx(0.61, abs=0.004)
        world.reset(np.array([2.0, 0.0, 0.7]))
        assert world.state.height == pytest.approx(0.7 - 0.11)


def path(world: PyBulletWorld, seed: int) -> np.ndarray:
    world.reset(np.array([0.0, 0.0, 0.2]), velocity=np.array([0.1, 0.0, -0.3]), seed=seed)
    rows = []
    for _ in range(240):
        world.step(HOVER)
        s = world.state
        rows.append(np.concatenate([s.position, s.velocity, s.attitude, s.body_rates]))
    return np.array(rows)


def test_the_same_seed_gives_the_same_flight_bit_for_bit_also_after_contact() -> None:
    effects = (GroundEffect(), RotorDrag(), NearGroundTurbulence())
    with PyBulletWorld(VEHICLE, effects) as first, PyBulletWorld(VEHICLE, effects) as second:
        reference = path(first, 5)
        assert np.array_equal(path(second, 5), reference)
        assert not np.array_equal(path(second, 6), reference)
        assert np.array_equal(path(second, 5), reference)


def test_an_effect_acts_with_the_sign_and_size_it_returns() -> None:
    def push(state: State, rotor_speeds: np.ndarray, vehicle: Vehicle, terrain: object) -> tuple:
        return np.array([1.47, 0.0, 0.0]), np.array([0.0, 0.0, 0.0135])

    with PyBulletWorld(VEHICLE, [push]) as world:
        world.reset(HIGH)
        for _ in range(24):
            world.step(HOVER)
        assert_allclose(world.state.velocity, [0.1, 0, 0], atol=1e-6)
        assert_allclose(world.state.body_rates, [0, 0, 0.1], atol=1e-6)
        assert_allclose(world.applied_force, [1.47, 0, VEHICLE.weight], atol=1e-9)


def test_an_effect_that_returns_nonsense_is_named() -> None:
    def my_effect(state: State, rotor_speeds: np.ndarray, vehicle: Vehicle, terrain: object) -> tuple:
        return np.array([np.nan, 0.0, 0.0]), np.zeros(3)

    with PyBulletWorld(VEHICLE, [GroundEffect(), my_effect]) as world, pytest.raises(UserError, match="my_effect"):
        world.step(HOVER)


def test_an_effect_that_erred_once_is_named_from_what_it_returned_then() -> None:
    class Once:
        calls = 0

        def __call__(self, state: State, rotor_speeds: np.ndarray, vehicle: Vehicle, terrain: object) -> tuple:
            self.calls += 1
            return np.array([np.nan if self.calls == 3 else 0.0, 0.0, 0.0]), np.zeros(3)

    with PyBulletWorld(VEHICLE, [GroundEffect(), Once()]) as world:
        world.step(HOVER)
        world.step(HOVER)
        with pytest.raises(UserError, match="Once"):
            world.step(HOVER)


@pytest.mark.parametrize("name", ["position", "velocity", "attitude", "body_rates", "rotor_speeds"])
def test_an_effect_that_writes_into_the_truth_is_refused(name: str) -> None:
    def shifts(state: State, rotor_speeds: np.ndarray, vehicle: Vehicle, terrain: object) -> tuple:
        part = rotor_speeds if name == "rotor_speeds" else getattr(state, name)
        part += 1.0
        return np.zeros(3), np.zeros(3)

    with PyBulletWorld(VEHICLE, [shifts]) as world, pytest.raises(UserError, match="shifts.*read-only"):
        world.step(HOVER)


def test_each_world_of_a_plant_has_effects_of_its_own() -> None:
    effect = GroundEffect()
    with Plant(VEHICLE, (effect,)).build() as one, Plant(VEHICLE, (effect,)).build() as other:
        assert len({id(effect), id(one.effects[0]), id(other.effects[0])}) == 3


def test_a_world_that_cannot_be_made_leaves_no_physics_server() -> None:
    class Refuses:
        def reset(self, seed: int, dt: float) -> None:
            raise ValueError("no")

        def __call__(self, state: State, speeds: np.ndarray, vehicle: Vehicle, terrain: object) -> tuple[Any, Any]:
            return np.zeros(3), np.zeros(3)

    def servers() -> int:
        return sum(pybullet.isConnected(k) for k in range(600))

    before = servers()
    for _ in range(3):
        with pytest.raises(UserError, match="effect 'Refuses' failed in reset"):
            PyBulletWorld(VEHICLE, [Refuses()])
    assert servers() == before


def test_pybullets_own_output_stays_off_the_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    with PyBulletWorld(VEHICLE) as world:
        world.step(HOVER)
    assert capfd.readouterr() == ("", "")
