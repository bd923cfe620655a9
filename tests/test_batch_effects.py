"""Users' effects in the batched world: written for arrays, for NumPy, for one vehicle, random, and failing."""

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from neural_lander.errors import NeuralLanderWarning, UserError
from neural_lander.vehicle import load_vehicle
from sim.aerodynamics import GroundEffect, InWind, Lagged, ours
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


class Buildup:
    """An effect with a memory, written for NumPy's arrays."""

    def reset(self, seed: Any, dt: float) -> None:
        self.dt, self.force = dt, 0.0 * np.asarray(seed)

    def __call__(self, state: Any, rotor_speeds: Any, vehicle: Any, terrain: Any) -> tuple[Any, Any]:
        self.force = self.force + self.dt / 0.2 * (-0.3 * np.exp(-state.height / 0.1) - self.force)
        return np.asarray(self.force)[..., None] * UP, np.zeros_like(state.velocity)


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
    assert isinstance(made(Buildup()), InNumPy)


@pytest.mark.parametrize("effect", [for_one, wrong_for_many, Gusts()])
def test_what_is_written_for_one_vehicle_is_called_for_each_and_that_is_said_once(effect: Any) -> None:
    with pytest.warns(NeuralLanderWarning, match="written for one vehicle"):
        assert isinstance(made(effect), OneByOne)
    made(effect)


@pytest.mark.parametrize("effect", [for_arrays, for_numpy, for_one, wrong_for_many, Gusts(), Buildup()])
def test_all_of_them_act_as_they_do_in_the_pybullet_world(effect: Any) -> None:
    pytest.importorskip("pybullet")
    many = batch(effect).state
    for i, place in enumerate(PLACES):
        with PyBulletWorld(VEHICLE, [effect]) as world:
            world.reset(place, 0.1 * place, seed=i)
            for _ in range(5):
                world.step(np.full(4, VEHICLE.hover_speed))
            assert_allclose(many.position[i], world.state.position, atol=1e-12)
            assert_allclose(many.velocity[i], world.state.velocity, atol=1e-12)


TRUTH = ("position", "velocity", "attitude", "body_rates", "specific_force", "rotor_speeds")


def writer(name: str, kind: str) -> Any:
    """An effect that shifts what it is given: of arrays of either library, of NumPy's, or of one vehicle."""

    def shifts(state: Any, rotor_speeds: Any, vehicle: Any, terrain: Any) -> tuple[Any, Any]:
        if kind == "numpy":
            np.sin(state.position, out=np.empty_like(state.position))
        low = state.position[2] < 0.16 if kind == "one" else (state.position[..., 2] < 0.16).any()
        if low:
            part = rotor_speeds if name == "rotor_speeds" else getattr(state, name)
            part += 1.0
        return 0.0 * state.velocity, 0.0 * state.velocity

    return shifts


def refused(effect: Any) -> bool:
    """By its name where the batch can tell, else the flight fails, and is asked alone in the other world."""
    try:
        return not batch(effect, 1).state.position.isfinite().all()
    except UserError as error:
        return "writes into" in str(error)
    except ValueError as error:
        return "read-only" in str(error)


@pytest.mark.parametrize("name", TRUTH)
@pytest.mark.parametrize("kind", ["arrays", "numpy", "one"])
def test_an_effect_that_writes_into_the_truth_is_refused(name: str, kind: str) -> None:
    assert refused(writer(name, kind))


@pytest.mark.parametrize("name", TRUTH[:-2])
def test_one_that_writes_once_it_is_low_is_named_by_the_batch(name: str) -> None:
    """Unseen on trial, which knows of no such sink."""

    def shifts(state: Any, rotor_speeds: Any, vehicle: Any, terrain: Any) -> tuple[Any, Any]:
        if state.velocity[..., 2].min() < -3.0:
            getattr(state, name).add_(1.0)
        return 0.0 * state.velocity, 0.0 * state.velocity

    world = batch(shifts, 1)
    world.reset(PLACES, 0.0 * PLACES - [0.0, 0.0, 4.0])
    with pytest.raises(UserError, match="effect 'shifts' writes into"):
        world.step(torch.full((len(PLACES), 4), VEHICLE.hover_speed, dtype=torch.float64))


@pytest.mark.parametrize("name", TRUTH)
def test_a_stranger_within_an_effect_of_ours_is_watched_too(name: str) -> None:
    pytest.importorskip("pybullet")
    for holds in (Lagged(writer(name, "arrays"), 0.05), InWind([InWind([writer(name, "arrays")])])):
        if name == "velocity" and isinstance(holds, InWind):
            continue  # it is given a velocity of its own, relative to the air
        assert refused(holds)
        with PyBulletWorld(VEHICLE, [holds]) as world:
            world.reset(PLACES[3])
            with pytest.raises(UserError, match="read-only"):
                world.step(np.full(4, VEHICLE.hover_speed))


def test_a_stranger_within_an_effect_of_ours_is_called_as_it_is_written() -> None:
    one, expected = batch(Lagged(for_one, 0.05), 3).state, batch(for_one, 3).state  # settled at the first step
    assert_allclose(one.velocity, expected.velocity, atol=1e-4)
    assert not ours(Lagged(for_one, 0.05)) and ours(Lagged(GroundEffect(), 0.05)) and ours(InWind())


def test_an_effect_that_raises_for_one_vehicle_spoils_that_one_alone() -> None:
    finite = batch(fails_low).state.position.isfinite().all(dim=-1)
    assert finite.tolist() == [True, True, True, False]
