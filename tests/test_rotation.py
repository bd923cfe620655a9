"""Rotations against SciPy's Rotation and finite differences, NumPy and torch alike."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.spatial.transform import Rotation

from neural_lander import rotation as rot

RNG = np.random.default_rng(1)
Q = rot.normalise(RNG.normal(size=(60, 4)))
P = rot.normalise(RNG.normal(size=(60, 4)))
V = RNG.normal(size=(60, 3))
W = RNG.normal(size=(60, 3))
SCIPY = Rotation.from_quat(Q, scalar_first=True)
# matrices whose trace is -1: w = 0, where a formula that divides by w fails
HALF_TURNS = Rotation.from_rotvec(np.pi * rot.normalise(np.vstack([np.eye(3), RNG.normal(size=(9, 3))]))).as_matrix()


def same_attitude(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.max(np.minimum(np.abs(a - b).max(-1), np.abs(a + b).max(-1))))


def test_matrix_of_a_quaternion() -> None:
    assert_allclose(rot.quaternion_to_matrix(Q), SCIPY.as_matrix(), atol=1e-14)


def test_body_to_world_quarter_turn_about_z_takes_x_to_y() -> None:
    R = rot.quaternion_to_matrix(np.array([np.sqrt(0.5), 0, 0, np.sqrt(0.5)]))
    assert_allclose(rot.apply(R, np.array([1.0, 0, 0])), [0, 1, 0], atol=1e-15)


def test_product_applies_the_right_factor_first() -> None:
    expected = (SCIPY * Rotation.from_quat(P, scalar_first=True)).as_quat(scalar_first=True)
    assert same_attitude(rot.quaternion_multiply(Q, P), expected) < 1e-14


def test_conjugate_is_the_inverse() -> None:
    identity = np.tile([1.0, 0, 0, 0], (60, 1))
    assert_allclose(rot.quaternion_multiply(Q, rot.quaternion_conjugate(Q)), identity, atol=1e-14)
    assert_allclose(np.matrix_transpose(rot.quaternion_to_matrix(Q)), SCIPY.inv().as_matrix(), atol=1e-14)


@pytest.mark.parametrize("scale", [0.0, 1e-12, 1e-5, 1e-4, 1.9e-4, 2.1e-4, 1.0, 3.0])
def test_exponential_of_a_rotation_vector_small_and_large(scale: float) -> None:
    q = rot.quaternion_exp(scale * V)
    assert_allclose(rot.quaternion_to_matrix(q), Rotation.from_rotvec(scale * V).as_matrix(), atol=1e-14)


def test_attitude_kinematics_by_finite_differences() -> None:
    """d/dt R = R S(omega) with body rates omega: central differences of q(t) = q * exp(omega t)."""
    h = 1e-5
    ahead, behind = (
        rot.quaternion_to_matrix(rot.quaternion_multiply(Q, rot.quaternion_exp(sign * h * W))) for sign in (1, -1)
    )
    S = np.stack([np.cross(W, e) for e in np.eye(3)], axis=-1)
    assert_allclose((ahead - behind) / (2 * h), rot.quaternion_to_matrix(Q) @ S, atol=1e-8)


def test_the_vector_product() -> None:
    assert_allclose(rot.cross(V, W), np.cross(V, W), atol=1e-14)


def test_rotating_vectors() -> None:
    assert_allclose(rot.apply(SCIPY.as_matrix(), V), SCIPY.apply(V), atol=1e-14)
    assert_allclose(rot.apply(SCIPY.as_matrix()[0], V[0]), SCIPY[0].apply(V[0]), atol=1e-14)


@given(st.lists(st.floats(-10, 10), min_size=3, max_size=3))
def test_every_rotation_vector_gives_a_rotation(vector: list[float]) -> None:
    R = rot.quaternion_to_matrix(rot.quaternion_exp(np.array(vector)))
    assert_allclose(R @ R.T, np.eye(3), atol=1e-12)
    assert_allclose(np.linalg.det(R), 1, atol=1e-12)


CASES = {
    "cross": (rot.cross, (V, W)),
    "apply": (rot.apply, (SCIPY.as_matrix(), V)),
    "normalise": (rot.normalise, (V,)),
    "quaternion_to_matrix": (rot.quaternion_to_matrix, (Q,)),
    "quaternion_multiply": (rot.quaternion_multiply, (Q, P)),
    "quaternion_conjugate": (rot.quaternion_conjugate, (Q,)),
    "quaternion_exp": (rot.quaternion_exp, (V,)),
    "quaternion_from_euler": (rot.quaternion_from_euler, tuple(V.T)),
}


@pytest.mark.parametrize("name", CASES)
def test_torch_gives_what_numpy_gives_with_any_batch_axes(name: str) -> None:
    function, arguments = CASES[name]
    expected = function(*arguments)
    batched = [torch.tensor(a).reshape(3, 20, *a.shape[1:]) for a in arguments]
    result = function(*batched)
    assert isinstance(result, torch.Tensor) and result.shape == (3, 20, *expected.shape[1:])
    assert_allclose(result.numpy().reshape(expected.shape), expected, atol=1e-14)
    one = function(*(a[0] for a in arguments))
    assert_allclose(one, expected[0], atol=1e-14)


def test_torch_keeps_single_precision() -> None:
    assert rot.quaternion_to_matrix(torch.tensor(Q, dtype=torch.float32)).dtype == torch.float32
