"""Users' effects in the batched world: written for arrays, for NumPy, for one vehicle, random, and failing."""

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from neural_lander.errors import NeuralLanderWarning
from neural_lander.vehicle import load_vehicle
from sim.airframe import Airframe
from sim.batch import effects
from sim.batch.effects import InNumPy, OneByOne, for_batch
from sim.batch.world import BatchWorld
from sim.terrain import Flat
from sim.world import PyBulletWorld

VEHICLE = load_vehicle("intel-aero")
UP = np.array([0.0, 0.0, 1.0])
PLACES = np.array([[0.0, 0.0, 0.2], [0.3, 0.0, 0.5], [0.0, 0.1, 0.9], [0.0, 0.0, 0.15]])


def for_arrays(state: Any, rotor_speeds: Any, vehicle: Any, terrain: Any) -> tuple[Any, Any]:
    return 0.3 * state.velocity + 1.0, 1e-4 * state.body_rates


def for_numpy(state: Any, rotor_speeds: Any, vehicle: Any, terrain: Any) -> tuple[Any, Any]:
    """The README's."""
    down = np.where(np.asarray(state.height) < 0.1, -0.5, 0.0)
    return down[..., None] * UP, np.zeros(np.shape(state.velocity))


def for_one(state: Any, rotor_speeds: Any, vehicle: Any, terrain: Any) -> tuple[Any, Any]:
    return np.array([0.0, 0.0, 0.2 / float(state.position[2])]), np.zeros(3)


def wrong_for_many(state: Any, rotor_speeds: Any, vehicle: Any, terrain: Any) -> tuple[Any, Any]:
    """Takes arrays without a word, and means the second vehicle where it says y."""
    return 0 * state.velocity + state.position[1].sum(), 0 * state.velocity


class Gusts:
    """A random effect with a generator of its own, for one vehicle."""

    def reset(self, seed: int, dt: float) -> None:
        self.rng = np.random.default_rng(seed)

    def __call__(self, state: Any, rotor_speeds: Any, vehicle: Any, terrain: Any) -> tuple[Any, Any]:
        return self.rng.standard_normal(3), np.zeros(3)


def fails_low(state: Any, rotor_speeds: Any, vehicle: Any, terrain: Any) -> tuple[Any, Any]:
    if state.position[2] < 0.16:
        raise ZeroDivisionError
    return np.zeros(3), np.zeros(3)


@pytest.fixture(autouse=True)
def _nothing_told() -> Iterator[None]:
    effects._told.clear()
    yield
    effects._told.clear()


def made(effect: Any) -> Any:
    return for_batch(effect, VEHICLE, Flat(), 1 / 240)


def batch(effect: Any, steps: int = 5) -> BatchWorld:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NeuralLanderWarning)
        world = BatchWorld(VEHICLE, [effect], [Airframe.nominal()] * len(PLACES))
    world.reset(PLACES, 0.1 * PLACES, seeds=range(len(PLACES)))
    for _ in range(steps):
        world.step(torch.full((len(PLACES), 4), VEHICLE.hover_speed, dtype=torch.float64))
    return world


def test_what_takes_arrays_is_called_with_them() -> None:
    assert made(for_arrays) is for_arrays
    assert not isinstance(made(for_numpy), OneByOne)


def test_what_takes_numpys_arrays_alone_is_called_once_for_all() -> None:
    def picky(state: Any, rotor_speeds: Any, vehicle: Any, terrain: Any) -> tuple[Any, Any]:
        assert isinstance(state.velocity, np.ndarray)
        return np.sin(state.velocity), np.zeros_like(state.velocity)

    assert isinstance(made(picky), InNumPy)


@pytest.mark.parametrize("effect", [for_one, wrong_for_many, Gusts()])
def test_what_is_written_for_one_vehicle_is_called_for_each_and_that_is_said_once(effect: Any) -> None:
    with pytest.warns(NeuralLanderWarning, match="written for one vehicle"):
        assert isinstance(made(effect), OneByOne)
    made(effect)


@pytest.mark.parametrize("effect", [for_arrays, for_numpy, for_one, wrong_for_many, Gusts()])
def test_all_of_them_act_as_they_do_in_the_pybullet_world(effect: Any) -> None:
    pytest.importorskip("pybullet")
    ours = batch(effect).state
    for i, place in enumerate(PLACES):
        with PyBulletWorld(VEHICLE, [effect]) as world:
            world.reset(place, 0.1 * place, seed=i)
            for _ in range(5):
                world.step(np.full(4, VEHICLE.hover_speed))
            assert_allclose(ours.position[i], world.state.position, atol=1e-12)
            assert_allclose(ours.velocity[i], world.state.velocity, atol=1e-12)


def test_an_effect_that_raises_for_one_vehicle_spoils_that_one_alone() -> None:
    finite = batch(fails_low).state.position.isfinite().all(dim=-1)
    assert finite.tolist() == [True, True, True, False]
