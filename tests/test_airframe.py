"""Airframes: asymmetries as large as stated, drawn from a seed, and the wrench they make."""

import numpy as np
from numpy.testing import assert_allclose

from neural_lander.vehicle import load_vehicle
from sim.airframe import Airframe

VEHICLE = load_vehicle("intel-aero")
DRAWN = [Airframe.drawn(VEHICLE, seed) for seed in range(1500)]


def test_rotors_are_tilted_by_about_a_degree_about_each_axis() -> None:
    axes = np.array([a.rotor_axes for a in DRAWN])
    assert_allclose(np.linalg.norm(axes, axis=-1), 1, atol=1e-12)
    tilt = np.arctan2(axes[..., :2], axes[..., 2:])
    assert_allclose(np.rad2deg(tilt.std(axis=0)), 1.0, rtol=0.1)
    assert_allclose(np.rad2deg(tilt.mean(axis=0)), 0.0, atol=0.1)


def test_the_centre_of_mass_is_off_by_a_hundredth_of_the_arm() -> None:
    offset = np.array([a.centre_of_mass for a in DRAWN])
    arm = np.hypot(0.127, 0.127)
    assert_allclose(offset.std(axis=0), 0.01 * arm * np.array([1, 1, 0.5]), rtol=0.1)


def test_an_airframe_comes_from_its_seed_alone() -> None:
    again = Airframe.drawn(VEHICLE, 3)
    assert np.array_equal(again.rotor_axes, DRAWN[3].rotor_axes)
    assert np.array_equal(again.centre_of_mass, DRAWN[3].centre_of_mass)
    assert not np.array_equal(again.rotor_axes, DRAWN[4].rotor_axes)


def test_the_nominal_airframe_is_the_vehicle_the_controller_believes_in() -> None:
    wrench = Airframe.nominal().wrench_map(VEHICLE)
    assert_allclose(wrench[:, [2, 3, 4, 5]].T * VEHICLE.thrust_coefficient, VEHICLE.B0, atol=1e-18)
    assert np.all(wrench[:, :2] == 0)


def test_forces_and_moments_are_those_of_each_rotor_about_the_true_centre_of_mass() -> None:
    for airframe in DRAWN[:5]:
        thrust = np.array([3.0, 4.0, 2.0, 5.0])
        force, moment = np.zeros(3), np.zeros(3)
        for hub, axis, turns, T in zip(
            VEHICLE.rotor_positions, airframe.rotor_axes, VEHICLE.rotor_directions, thrust, strict=True
        ):
            force += T * axis
            moment += np.cross(hub - airframe.centre_of_mass, T * axis) - turns * 0.016 * T * axis
        assert_allclose(thrust @ airframe.wrench_map(VEHICLE), [*force, *moment], atol=1e-12)
