"""Effects in a batch: those written for arrays as they are, those written for one vehicle one vehicle after another.

An effect that is written for one vehicle may well take arrays and compute something else: ``state.position[2]`` is a
height for one, and the third vehicle of a batch. A user's effect is therefore tried on a few states first, and is
called with arrays only where it then gives what it gives for each vehicle alone.
"""

from __future__ import annotations

import copy
import warnings
from typing import Any

import numpy as np
import torch

from neural_lander.errors import FOREIGN, NeuralLanderWarning
from neural_lander.rotation import normalise
from neural_lander.state import State
from neural_lander.vehicle import Vehicle
from sim.aerodynamics import AerodynamicEffect, RandomEffect, name_of, ours
from sim.terrain import Surface

TRIED = 5  # states; no vector of theirs has as many components
AGREED = 1e-9  # relative
_told: set[str] = set()


class InNumPy:
    """An effect that takes NumPy's arrays, though not torch's."""

    def __init__(self, effect: AerodynamicEffect) -> None:
        self.effect = effect

    def __call__(self, state: State, rotor_speeds: Any, vehicle: Vehicle, terrain: Surface) -> tuple[Any, Any]:
        """See :class:`~sim.aerodynamics.effect.AerodynamicEffect`."""
        parts = self.effect(_numpy(state), _read_only(rotor_speeds), vehicle, terrain)
        return tuple(_like(part, state.velocity) for part in parts)  # type: ignore[return-value]


class RandomInNumPy(InNumPy):
    """The same for an effect with a memory."""

    def reset(self, seed: Any, dt: float) -> None:
        """See :class:`~sim.aerodynamics.effect.RandomEffect`: one seed per flight."""
        assert isinstance(self.effect, RandomEffect)
        self.effect.reset(np.asarray(seed), dt)


class OneByOne:
    """An effect that takes one vehicle; of a random one each flight has its own copy. Where it fails, it gives NaN."""

    def __init__(self, effect: AerodynamicEffect) -> None:
        self.effect = effect
        self._each: list[AerodynamicEffect] = []

    def __call__(self, state: State, rotor_speeds: Any, vehicle: Vehicle, terrain: Surface) -> tuple[Any, Any]:
        """See :class:`~sim.aerodynamics.effect.AerodynamicEffect`."""
        states, speeds = _numpy(state), _read_only(rotor_speeds)
        found = np.full((2, len(speeds), 3), np.nan)
        for i in range(len(speeds)):
            effect = self._each[i] if self._each else self.effect
            try:
                found[:, i] = effect(_row(states, i), speeds[i], vehicle, terrain)
            except FOREIGN:  # flown alone, it says why
                continue
        return _like(found[0], state.velocity), _like(found[1], state.velocity)


class RandomOneByOne(OneByOne):
    """The same for an effect that draws from a seed."""

    def reset(self, seed: Any, dt: float) -> None:
        """See :class:`~sim.aerodynamics.effect.RandomEffect`: one seed per flight."""
        self._each = [copy.deepcopy(self.effect) for _ in seed]
        for effect, one in zip(self._each, seed, strict=True):
            assert isinstance(effect, RandomEffect)
            effect.reset(int(one), dt)


def writes(state: State, rotor_speeds: torch.Tensor) -> list[int]:
    """How often each tensor that an effect is given has been written to: torch counts, which costs nothing.

    What the state computes of them when it is asked, its matrix R, is kept beside them and is not counted.
    """
    given = (rotor_speeds, *state.given().values())
    return [v._version for v in given if isinstance(v, torch.Tensor)]


def for_batch(effect: AerodynamicEffect, vehicle: Vehicle, terrain: Surface, dt: float) -> AerodynamicEffect:
    """A copy of the effect that takes a batch."""
    if ours(effect):
        return copy.deepcopy(effect)
    own = copy.deepcopy(effect)
    alone = RandomOneByOne(own) if isinstance(effect, RandomEffect) else OneByOne(own)
    expected = _tried(alone, vehicle, terrain, dt)
    own = copy.deepcopy(effect)
    for candidate in (own, RandomInNumPy(own) if isinstance(own, RandomEffect) else InNumPy(own)):
        found = _tried(candidate, vehicle, terrain, dt)
        if found is not None and np.allclose(found, expected, rtol=AGREED, atol=1e-12, equal_nan=True):
            return candidate
    name = name_of(effect)
    if name not in _told:
        _told.add(name)
        what = f"effect '{name}' is written for one vehicle: the batched world calls it for each, which is slow"
        warnings.warn(
            f"{what}; '...' in its indices ('state.position[..., 2]') makes it take all", NeuralLanderWarning, 3
        )
    return alone


def _tried(effect: AerodynamicEffect, vehicle: Vehicle, terrain: Surface, dt: float) -> Any:
    """(2, TRIED, 3) force and moment at states near the ground, or None where it fails."""
    rng = np.random.default_rng(TRIED)

    def array(*shape: int) -> torch.Tensor:
        return torch.tensor(rng.standard_normal((TRIED, *shape)))

    attitude = normalise(torch.tensor([1.0, 0.0, 0.0, 0.0]) + 0.05 * array(4))
    height, position = 0.1 * array().abs(), 0.2 * array(3)
    position[:, 2] = height + vehicle.gear_clearance
    state = State(position, 0.3 * array(3), attitude, 0.2 * array(3), height, height > 1.0, specific_force=array(3))
    speeds = vehicle.hover_speed * (1 + 0.05 * array(4))
    try:
        if isinstance(effect, RandomEffect):
            effect.reset(torch.arange(3, 3 + TRIED), dt)
            effect(state, speeds, vehicle, terrain)  # a memory shows in the second step
        parts = effect(state, speeds, vehicle, terrain)
        if not all(type(part) is torch.Tensor and part.shape == (TRIED, 3) for part in parts):
            return None
        return np.stack([np.asarray(part, dtype=np.float64) for part in parts])
    except FOREIGN:  # whatever it is: it does not take this kind of array
        return None


def _numpy(state: State) -> State:
    """The states as NumPy's arrays, which cannot be written to: on a CPU they share the truth's memory."""
    arrays: Any = {n: _read_only(v) if isinstance(v, torch.Tensor) else v for n, v in state.given().items()}
    return State(**arrays)


def _read_only(values: torch.Tensor) -> np.ndarray:
    array = values.cpu().numpy()
    array.flags.writeable = False
    return array


def _row(states: State, i: int) -> State:
    """One of them, as the PyBullet world would have it."""
    s = states
    felt = None if s.specific_force is None else s.specific_force[i]
    return State(
        s.position[i], s.velocity[i], s.attitude[i], s.body_rates[i], s.height[i], bool(s.contact[i]),  # type: ignore[index]
        specific_force=felt,
    )  # fmt: skip


def _like(values: Any, like: torch.Tensor) -> torch.Tensor:
    return torch.as_tensor(np.ascontiguousarray(values), dtype=like.dtype, device=like.device)
