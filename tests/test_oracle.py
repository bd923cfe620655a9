"""The oracle against what acted in flight, and the closed-form hang against a hover that hangs."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from neural_lander.control.controller import Controller
from neural_lander.control.tracking import TrackingGains
from neural_lander.flightlog.log import FlightLog
from neural_lander.rotation import quaternion_to_matrix
from neural_lander.state import State
from neural_lander.trajectory import Hover, Landing
from neural_lander.vehicle import load_vehicle
from sim.aerodynamics import GroundEffect, RotorDrag
from sim.batch.world import BatchWorld
from sim.flight import Truth, fly
from sim.oracle import closed_form_hang, level_state, vertical_residual
from sim.plant import Plant
from sim.sensors import SensorNoise, Sensors

pytest.importorskip("pybullet", reason="the PyBullet world needs pybullet, which has wheels up to Python 3.11")

VEHICLE = load_vehicle("intel-aero")
CALM = (GroundEffect(), RotorDrag())


def landing(plant: Plant) -> tuple[FlightLog, Truth]:
    controller = Controller(VEHICLE)
    trajectory = Landing(plant.pad + [0.3, -0.2, 0.5], plant.pad)
    with plant.build() as world:
        world.reset(trajectory.start)
        return fly(world, controller, trajectory, Sensors(plant.noise, 0), start=-0.5, end=1.6)


@pytest.mark.parametrize("mass_scale, thrust_scale", [(1.0, 1.0), (1.1, 0.9)])
def test_the_oracle_knows_the_residual_that_acted_in_flight(mass_scale: float, thrust_scale: float) -> None:
    plant = Plant(VEHICLE, CALM, noise=SensorNoise.none(), mass_scale=mass_scale, thrust_scale=thrust_scale)
    plant = plant.with_airframe(4)
    log, truth = landing(plant)
    assert log.rotor_speed is not None and log.height is not None and log.body_rates is not None
    states = State(log.position, log.velocity, log.attitude, log.body_rates, log.height)
    told = plant.oracle().at(states)(VEHICLE.thrust_coefficient * log.rotor_speed**2)
    assert_allclose(told, truth.f_a[::2], atol=1e-9)
    assert np.abs(told).max() > 0.5
    if mass_scale == 1.0:  # the definition, f_a = m v' - m g - R f_u, from what an accelerometer measures
        assert log.specific_force is not None
        axis = quaternion_to_matrix(log.attitude)[:, :, 2]
        thrust = VEHICLE.thrust_coefficient * np.sum(log.rotor_speed**2, axis=-1, keepdims=True)
        flying = log.height > 0.01
        label = VEHICLE.mass * log.specific_force - thrust * axis
        assert_allclose(label[flying], truth.f_a[::2][flying], atol=1e-6)


@pytest.mark.parametrize("spread", [0.05, 0.2])
def test_the_oracle_knows_of_motors_that_differ(spread: float) -> None:
    """Against the rotor forces of the true airframe, and against what accelerates it high above the ground."""
    plant = Plant(VEHICLE, (), noise=SensorNoise.none()).with_airframe(4)
    plant = replace(plant, airframe=plant.airframe.mismatched(spread))
    thrust = np.array([3.0, 4.0, 2.0, 5.0])
    level = level_state(VEHICLE, 1.0)
    acting = (thrust @ plant.airframe.wrench_map(VEHICLE))[:3]
    told = plant.oracle().at(level)(thrust)
    assert_allclose(told, acting - [0.0, 0.0, thrust.sum()], atol=1e-12)
    assert abs(told[2]) > 1e-2
    speeds = np.sqrt(thrust / VEHICLE.thrust_coefficient)
    nominal = np.array([0.0, 0.0, thrust.sum()])
    batch = BatchWorld(VEHICLE, (), [plant.airframe])
    batch.reset(level.position[None])
    batch.u = [torch.tensor([n * n]) for n in speeds]
    batch.step(torch.tensor(speeds[None]))
    with plant.build() as world:
        world.reset(level.position)
        world.motors.reset(speeds)
        world.step(speeds)
        for felt in (world.specific_force, batch.state.specific_force[0].numpy()):
            assert_allclose(VEHICLE.mass * felt - nominal, told, atol=1e-9)


def test_one_vehicle_and_torch_get_the_same_answer_as_the_batch() -> None:
    plant = Plant(VEHICLE, CALM, mass_scale=1.1).with_airframe(2)
    rng = np.random.default_rng(0)
    p, v, w = 0.2 * rng.normal(size=(3, 8, 3)) + [0, 0, 0.4]
    q = rng.normal(scale=0.1, size=(8, 4)) + [1, 0, 0, 0]
    q /= np.linalg.norm(q, axis=-1, keepdims=True)
    thrust = rng.uniform(2, 5, (8, 4))
    oracle = plant.oracle()
    batch = oracle.at(State(p, v, q, w, p[:, 2]))(thrust)
    for k in range(8):
        assert_allclose(oracle.at(State(p[k], v[k], q[k], w[k], p[k, 2]))(thrust[k]), batch[k], atol=1e-12)
    tensors = [torch.tensor(a) for a in (p, v, q, w, p[:, 2])]
    assert_allclose(oracle.at(State(*tensors))(torch.tensor(thrust)), batch, atol=1e-12)


@pytest.mark.parametrize("reference, omega_n", [(0.0, 2.0), (0.0, 3.0), (0.05, 3.0), (0.3, 3.0)])
def test_pd_hangs_where_the_closed_form_says(reference: float, omega_n: float) -> None:
    gains = TrackingGains.critically_damped(VEHICLE, omega_n, Gamma=0.0)
    plant = Plant(VEHICLE, CALM, noise=replace(SensorNoise.none(), delay=1))
    hang = closed_form_hang(VEHICLE, CALM, gains, reference)
    assert hang > 0.005
    with plant.build() as world:
        hover = Hover(plant.pad + [0, 0, reference])
        world.reset(hover.position + [0, 0, 0.3])
        _, truth = fly(world, Controller(VEHICLE, gains=gains), hover, Sensors(plant.noise, 0), start=0.0, end=8.0)
    assert not truth.contact.any()
    assert truth.height[-240:].mean() - reference == pytest.approx(hang, abs=0.001)


@pytest.mark.slow
def test_nothing_hangs_without_ground_effect_and_less_with_stiffer_gains() -> None:
    gains = [TrackingGains.critically_damped(VEHICLE, omega) for omega in (1.5, 3.0, 6.0, 12.0)]
    assert closed_form_hang(VEHICLE, (RotorDrag(),), gains[0]) == 0.0
    hangs = [closed_form_hang(VEHICLE, CALM, g) for g in gains]
    assert np.all(np.diff(hangs) < 0)


def cushion_over_suction(state: State, rotor_speeds: Any, vehicle: Any, terrain: Any) -> Any:
    """In NumPy and with the matrix R; the floor itself pulls."""
    h = np.maximum(state.height, 0.0)
    lift = vehicle.weight * (0.2 * np.exp(-h / 0.08) - 0.3 * np.maximum(1 - h / 0.03, 0.0))
    return np.sum(lift[..., None, None] * state.R * [0.0, 0.0, 1.0], axis=-1), np.zeros_like(state.velocity)


def test_pd_hangs_on_a_cushion_above_a_floor_that_pulls() -> None:
    hang = closed_form_hang(VEHICLE, (cushion_over_suction,), TrackingGains.critically_damped(VEHICLE))
    k_p = 9 * VEHICLE.mass
    assert k_p * hang == pytest.approx(VEHICLE.weight * 0.2 * np.exp(-hang / 0.08), rel=1e-6)
    assert vertical_residual(VEHICLE, (cushion_over_suction,), 0.0, VEHICLE.weight) < 0


def test_an_effect_in_numpy_that_reads_the_matrix_flies_and_is_known_in_the_batched_world() -> None:
    plant = replace(Plant(VEHICLE), effects=(cushion_over_suction,))
    heights = torch.tensor([0.005, 0.05, 0.3], dtype=torch.float64)
    alone = [vertical_residual(VEHICLE, (cushion_over_suction,), float(h), VEHICLE.weight) for h in heights]
    one = level_state(VEHICLE, 0.0)
    given = {n: torch.tensor(getattr(one, n)).expand(3, -1).clone() for n in ("position", "velocity", "attitude")}
    state = State(**given, body_rates=torch.zeros(3, 3, dtype=torch.float64), height=heights)
    thrust = torch.full((3, 4), VEHICLE.weight / 4, dtype=torch.float64)
    assert_allclose(plant.oracle().at(state)(thrust)[:, 2], alone, rtol=1e-9)
    world = BatchWorld(VEHICLE, (cushion_over_suction,), [plant.airframe] * 3)
    world.reset(np.array([[0.0, 0.0, 0.5]] * 3))
    world.step(torch.full((3, 4), VEHICLE.hover_speed, dtype=torch.float64))


def test_the_vertical_residual_is_the_ground_effects_share_of_the_thrust() -> None:
    at_5_cm = vertical_residual(VEHICLE, (GroundEffect(),), 0.05, VEHICLE.weight)
    s = GroundEffect().increase(0.05 + VEHICLE.gear_clearance + VEHICLE.rotor_positions[0, 2], VEHICLE)
    assert at_5_cm == pytest.approx(VEHICLE.weight * s / (1 - s))
