"""Frames of autopilots and their logs, against SciPy's Rotation."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy.spatial.transform import Rotation

from neural_lander.frames import swap_attitude, swap_body, swap_world, swap_yaw
from neural_lander.rotation import normalise

RNG = np.random.default_rng(7)
Q = normalise(RNG.normal(size=(40, 4)))
V = RNG.normal(size=(40, 3))


def test_east_north_up_and_forward_left_up_go_where_their_names_say() -> None:
    assert_allclose(swap_world(np.array([1.0, 2.0, 3.0])), [2.0, 1.0, -3.0])
    assert_allclose(swap_body(np.array([1.0, 2.0, 3.0])), [1.0, -2.0, -3.0])


@pytest.mark.parametrize("swap, values", [(swap_world, V), (swap_body, V), (swap_attitude, Q)])
def test_the_same_call_leads_there_and_back_sign_included(swap, values) -> None:
    assert_allclose(swap(swap(values)), values, atol=1e-15)


def test_rotating_and_changing_frames_commute() -> None:
    """A body vector taken to the world in our frames, then to NED, equals the same in the autopilot's frames."""
    ours = Rotation.from_quat(Q, scalar_first=True).apply(V)
    theirs = Rotation.from_quat(swap_attitude(Q), scalar_first=True).apply(swap_body(V))
    assert_allclose(theirs, swap_world(ours), atol=1e-14)


def test_body_rates_integrate_to_the_same_motion() -> None:
    omega, dt = 2.0 * V, 0.1
    q = Rotation.from_quat(Q, scalar_first=True)
    ours = (q * Rotation.from_rotvec(omega * dt)).as_quat(scalar_first=True)
    q_ned = Rotation.from_quat(swap_attitude(Q), scalar_first=True)
    theirs = q_ned * Rotation.from_rotvec(swap_body(omega) * dt)
    apart = theirs.inv() * Rotation.from_quat(swap_attitude(ours), scalar_first=True)
    assert_allclose(apart.magnitude(), 0, atol=1e-7)


@pytest.mark.parametrize("enu_deg, ned_deg", [(90, 0), (0, 90), (-90, 180), (180, -90), (45, 45), (135, -45)])
def test_yaw_from_east_is_heading_from_north(enu_deg: float, ned_deg: float) -> None:
    yaw = np.radians(np.array(enu_deg, dtype=float))
    assert_allclose(np.degrees(swap_yaw(yaw)), ned_deg, atol=1e-12)
    assert_allclose(swap_yaw(swap_yaw(yaw)), yaw, atol=1e-12)


def test_level_attitude_has_the_swapped_yaw_and_no_tilt() -> None:
    yaw = RNG.uniform(-np.pi, np.pi, 30)
    q = Rotation.from_euler("z", yaw[:, None]).as_quat(scalar_first=True)
    heading, pitch, roll = Rotation.from_quat(swap_attitude(q), scalar_first=True).as_euler("ZYX").T
    assert_allclose(heading, swap_yaw(yaw), atol=1e-9)
    assert_allclose([pitch, roll], 0, atol=1e-9)


def test_nose_up_is_positive_pitch_and_right_down_is_positive_roll_there() -> None:
    """FRD: pitch > 0 raises the nose, roll > 0 lowers the right side; in FLU nose up is a negative turn about y."""
    facing_north = Rotation.from_euler("z", 90, degrees=True)
    nose_up = facing_north * Rotation.from_euler("y", -10, degrees=True)
    right_down = facing_north * Rotation.from_euler("x", 10, degrees=True)
    for ours, expected in ((nose_up, [0, 10, 0]), (right_down, [0, 0, 10])):
        theirs = Rotation.from_quat(swap_attitude(ours.as_quat(scalar_first=True)), scalar_first=True)
        assert_allclose(theirs.as_euler("ZYX", degrees=True), expected, atol=1e-9)


@pytest.mark.parametrize("swap, values", [(swap_world, V), (swap_body, V), (swap_attitude, Q), (swap_yaw, V[:, 0])])
def test_torch_gives_what_numpy_gives_with_any_batch_axes(swap, values) -> None:
    batched = torch.tensor(values).reshape(5, 8, *values.shape[1:])
    result = swap(batched)
    assert isinstance(result, torch.Tensor) and result.shape == batched.shape
    assert_allclose(result.numpy().reshape(values.shape), swap(values), atol=1e-14)
