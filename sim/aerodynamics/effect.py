"""The extension point of the plant: an aerodynamic effect."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from neural_lander.arrays import Array
from neural_lander.state import State
from neural_lander.vehicle import Vehicle
from sim.terrain import Terrain


class AerodynamicEffect(Protocol):
    """A force and a moment on top of the nominal rotor thrusts. Plain functions qualify."""

    def __call__(self, state: State, rotor_speeds: Array, vehicle: Vehicle, terrain: Terrain) -> tuple[Array, Array]:
        """Force ``(..., 3)`` in N, world, and moment ``(..., 3)`` in N m, body, about the centre of mass.

        ``state`` is the true one; ``rotor_speeds`` ``(..., 4)`` in rad/s are those turning, not those commanded.
        """
        ...


@runtime_checkable
class RandomEffect(Protocol):
    """An effect with a state of its own, drawn from a seed: not part of what an oracle can know."""

    def reset(self, seed: int, dt: float) -> None:
        """Start anew from a seed, to be called once per step of dt in s."""
        ...


def known_part(effects: Sequence[AerodynamicEffect]) -> list[AerodynamicEffect]:
    """The effects that are functions of state and rotor speeds."""
    return [effect for effect in effects if not isinstance(effect, RandomEffect)]
