"""Component arithmetic against NumPy and the array formulas of rotation.py: floats, arrays and torch alike."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from neural_lander import components as c
from neural_lander import rotation as rot

RNG = np.random.default_rng(2)
A, B = RNG.normal(size=(2, 12, 3))
Q = rot.normalise(RNG.normal(size=(12, 4)))
P = rot.normalise(RNG.normal(size=(12, 4)))
R = rot.quaternion_to_matrix(Q)
X = RNG.normal(size=12)


def rows(M: Any) -> c.Rows:
    return tuple(c.split(M[..., i, :]) for i in range(3))  # type: ignore[return-value]


# name -> (components in, components out; the same from NumPy; arguments with the batch first)
CASES: dict[str, tuple[Callable[..., Any], Any, tuple[np.ndarray, ...]]] = {
    "dot": (lambda a, b: c.dot(c.split(a), c.split(b)), np.sum(A * B, axis=-1), (A, B)),
    "cross": (lambda a, b: c.join(c.cross(c.split(a), c.split(b))), np.cross(A, B), (A, B)),
    "unit": (lambda a: c.join(c.unit(c.split(a))), A / np.linalg.norm(A, axis=-1, keepdims=True), (A,)),
    "rotate": (lambda M, v: c.join(c.rotate(rows(M), c.split(v))), np.einsum("nij,nj->ni", R, A), (R, A)),
    "rotate_back": (lambda M, v: c.join(c.rotate_back(rows(M), c.split(v))), np.einsum("nji,nj->ni", R, A), (R, A)),
    "quaternion_rows": (lambda q: c.join([c.join(row) for row in c.quaternion_rows(c.split(q))]), R, (Q,)),
    "quaternion_product": (
        lambda a, b: c.join(c.quaternion_product(c.split(a), c.split(b))),
        rot.quaternion_multiply(Q, P),
        (Q, P),
    ),
    "split and join": (lambda a: c.join(c.split(a)), A, (A,)),
    "sqrt": (lambda a: c.sqrt(c.dot(c.split(a), c.split(a))), np.linalg.norm(A, axis=-1), (A,)),
    "maximum": (lambda a: c.maximum(c.split(a)[1], 0.2), np.maximum(A[:, 1], 0.2), (A,)),
    "minimum": (lambda a: c.minimum(c.split(a)[1], 0.2), np.minimum(A[:, 1], 0.2), (A,)),
}


def stacked(name: str, result: Any) -> Any:
    """``quaternion_rows`` gives rows with the batch last but one; matrices have it first."""
    return np.swapaxes(np.asarray(result), -1, -2) if name == "quaternion_rows" and np.ndim(result) > 2 else result


@pytest.mark.parametrize("name", CASES)
def test_a_batch_gives_what_numpy_gives(name: str) -> None:
    function, expected, arguments = CASES[name]
    assert_allclose(stacked(name, function(*arguments)), expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("name", CASES)
def test_one_vehicle_computes_in_floats_what_the_batch_computes_in_arrays(name: str) -> None:
    function, expected, arguments = CASES[name]
    for k in range(len(A)):
        one = function(*(a[k] for a in arguments))
        assert_allclose(one.T if name == "quaternion_rows" else one, expected[k], rtol=0, atol=1e-14)


@pytest.mark.parametrize("name", CASES)
def test_torch_gives_what_numpy_gives_with_two_batch_axes(name: str) -> None:
    function, expected, arguments = CASES[name]
    result = function(*(torch.tensor(a).reshape(3, 4, *a.shape[1:]) for a in arguments))
    assert isinstance(result, torch.Tensor) and result.dtype == torch.float64
    assert_allclose(stacked(name, result).reshape(expected.shape), expected, rtol=0, atol=1e-14)


def test_a_vehicle_that_points_up_has_no_heading_and_raises_nothing() -> None:
    """Python's floats raise where 0 is divided by 0: a loop that only watches may see a vehicle held like that."""
    up = ((0.0, 0.0, -1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0))
    assert c.heading(up) == (0.0, 0.0)
    many = tuple(tuple(torch.full((2,), x) for x in row) for row in up)
    assert all(bool((part == 0.0).all()) for part in c.heading(many))


def test_one_vehicle_is_split_into_python_floats() -> None:
    assert [type(x) for x in c.split(A[0])] == [float] * 3
    assert type(c.sqrt(2.0)) is float and type(c.maximum(1.0, 2.0)) is float and type(c.minimum(1.0, 2.0)) is float
    assert c.join([1.0, 2.0, 3.0]).dtype == np.float64
