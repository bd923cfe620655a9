"""The extension point of the plant: an aerodynamic effect."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from neural_lander.arrays import Array
from neural_lander.errors import FOREIGN, UserError
from neural_lander.state import State
from neural_lander.vehicle import Vehicle
from sim.terrain import Surface


class AerodynamicEffect(Protocol):
    """A force and a moment on top of the nominal rotor thrusts. Plain functions qualify."""

    def __call__(self, state: State, rotor_speeds: Array, vehicle: Vehicle, terrain: Surface) -> tuple[Array, Array]:
        """Force ``(..., 3)`` in N, world, and moment ``(..., 3)`` in N m, body, about the place of ``state``.

        That is the frame's origin, from where ``vehicle`` has its hubs and gear: the nominal centre of mass.
        ``state`` is the true one; ``rotor_speeds`` ``(..., 4)`` in rad/s are those turning, not those commanded;
        ``terrain`` is the ground at this instant: ``terrain.height(x, y)`` in m, world.
        """
        ...


@runtime_checkable
class RandomEffect(Protocol):
    """An effect with a state of its own: random, or one that lags or runs down. Called once per step, in order.

    One object serves one NumPy vehicle (``seed`` an int) or a batch (``seed`` an array (N,), one for each, whose
    library and device are the batch's): the numbers of a flight depend on its seed alone, which ``sim.draws`` sees
    to. An oracle knows nothing of such an effect, except where it has an attribute ``known``: the effect without
    state that is the part of it that can be known.
    """

    def reset(self, seed: int | Array, dt: float) -> None:
        """Start anew from a seed, to be called once per step of dt in s."""
        ...


EFFECT_STRIDE = 7919  # between the seeds of two effects of one flight


def reset_random(effects: Sequence[AerodynamicEffect], seed: int | Array, dt: float) -> None:
    """Let the random ones start anew, each from a seed of its own that follows from the flight's.

    Raises
    ------
    UserError
        That names the effect whose reset fails.
    """
    for k, effect in enumerate(effects):
        if isinstance(effect, RandomEffect):
            try:
                effect.reset(seed + EFFECT_STRIDE * k, dt)
            except UserError:
                raise
            except FOREIGN as error:
                raise UserError(
                    f"effect '{name_of(effect)}' failed in reset with {type(error).__name__}: {error}"
                ) from error


def known_part(effects: Sequence[AerodynamicEffect]) -> list[AerodynamicEffect]:
    """The effects that are functions of state and rotor speeds."""
    known = (getattr(effect, "known", None) if isinstance(effect, RandomEffect) else effect for effect in effects)
    return [effect for effect in known if effect is not None]


def name_of(effect: object) -> str:
    """Of the class or function."""
    return str(getattr(effect, "__name__", type(effect).__name__))


def unknown_to_oracle(effects: Sequence[AerodynamicEffect]) -> list[str]:
    """Names of strangers' effects with a state of their own and no part that is known; our own turbulence is noise."""
    random = [e for e in effects if isinstance(e, RandomEffect) and not ours(e)]
    return [name_of(effect) for effect in random if getattr(effect, "known", None) is None]


def ours(effect: object) -> bool:
    """Whether an effect is of this package, and with it all that it holds: none of these writes into what it is given.

    What a stranger's effect would write to is forbidden, or watched, wherever one is held.
    """
    if not str(getattr(effect, "__module__", type(effect).__module__)).startswith(("sim.", "neural_lander.")):
        return False
    held = (part for value in getattr(effect, "__dict__", {}).values() for part in _parts(value))
    return isinstance(effect, type) or all(ours(part) for part in held if callable(part))


def _parts(value: object) -> Sequence[object]:
    return value if isinstance(value, list | tuple) else (value,)
