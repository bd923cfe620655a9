"""The controllers of a batch: the class that flies one vehicle, on torch arrays, with a residual of its own per row."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch

from neural_lander.arrays import Array
from neural_lander.components import split
from neural_lander.control.controller import Controller
from neural_lander.control.guard import Guarded
from neural_lander.control.trim import Trim
from neural_lander.residual.domain import Domain
from neural_lander.residual.model import ReluNetwork, ResidualModel
from neural_lander.state import State
from neural_lander.vehicle import Vehicle


def rows_of(state: State, rows: slice) -> State:
    """The states of some of the vehicles."""
    x, y, z = ([row[rows] for row in three] for three in state.rows)
    some = {name: part[rows] if hasattr(part, "shape") else part for name, part in state.given().items()}
    return State(**some, rows=(x, y, z))


@dataclass(frozen=True)
class ResidualByRows:
    """Another model for each block of rows."""

    parts: Sequence[tuple[slice, ResidualModel]]

    def at(self, state: State) -> Callable[[Array], Array]:
        """See :class:`~neural_lander.residual.model.ResidualModel`."""
        if len(self.parts) == 1:
            return self.parts[0][1].at(state)
        forces = [(rows, model.at(rows_of(state, rows))) for rows, model in self.parts]
        return lambda rotor_thrust: torch.cat([f(rotor_thrust[rows]).mT for rows, f in forces], dim=-1).mT


def batched(
    controllers: Sequence[Controller], sizes: Sequence[int], trims: Sequence[np.ndarray], like: torch.Tensor
) -> Controller:
    """One controller for blocks of rows: those of ``controllers``, alike but for numbers and residual model.

    ``sizes`` are the blocks' lengths, ``trims`` their moment trims (3,) in N m.
    """
    if isinstance(controllers[0], Guarded):
        guards = [cast(Guarded, controller) for controller in controllers]
        inner = batched([guard.controller for guard in guards], sizes, trims, like)
        return cast(Controller, Guarded(inner, guards[0].limits))
    ends = np.cumsum(sizes)
    blocks = [slice(int(end - size), int(end)) for end, size in zip(ends, sizes, strict=True)]

    def column(values: Sequence[Any]) -> torch.Tensor:
        return torch.as_tensor(np.repeat(np.asarray(values), sizes, axis=0), dtype=like.dtype, device=like.device)

    one: Any = copy.copy(controllers[0])
    for controller in controllers:
        controller.reset()
        _prepare(controller.residual)
    one.residual = ResidualByRows(list(zip(blocks, [c.residual for c in controllers], strict=True)))
    one.iterations = max(c.iterations for c in controllers)
    one._step_tolerance = column([c._step_tolerance for c in controllers])
    one = on_torch(one, like)
    laws = [c.tracking for c in controllers]
    Lambda, K_v = column([law.gains.Lambda for law in laws]), column([law.gains.K_v for law in laws])
    vars(one.tracking.gains).update(Lambda=Lambda, K_v=K_v, diagonals=(split(Lambda), split(K_v)))
    rates = [law.estimate._rate for law in laws if isinstance(law.estimate, Trim)]
    if len(rates) == len(laws):
        vars(one.tracking.estimate).update(_rate=split(column(rates)), _off=not np.any(rates))
    one.attitude.tau_hat = column(trims).mT.contiguous().mT
    one.rotor_thrust = column([c.rotor_thrust for c in controllers]).mT.contiguous().mT
    return one


def _prepare(model: Any) -> None:
    """Make what a network keeps in NumPy, before its arrays become torch's; whatever it is wrapped in."""
    while model is not None and not isinstance(model, ReluNetwork):
        model = getattr(model, "model", None) or getattr(model, "network", None)
    if model is not None:
        model._inference(np.zeros(1))


def on_torch(thing: Any, like: torch.Tensor, made: dict[int, Any] | None = None) -> Any:
    """A copy whose arrays of floats are torch's, in the precision and on the device of ``like``.

    Objects of the library alone are entered; a vehicle or a domain is left as it is. What was one object stays one.
    """
    made = {} if made is None else made
    if isinstance(thing, np.ndarray):
        return torch.tensor(thing, dtype=like.dtype, device=like.device) if thing.dtype.kind == "f" else thing
    if isinstance(thing, dict):
        return {key: on_torch(value, like, made) for key, value in thing.items()}
    if isinstance(thing, list) or type(thing) is tuple:
        return type(thing)(on_torch(value, like, made) for value in thing)
    entered = hasattr(thing, "__dict__") and type(thing).__module__.startswith(
        ("neural_lander.", "sim.batch.", "sim.terrain.")
    )
    if not entered or isinstance(thing, type | Vehicle | Domain):
        return thing
    if id(thing) not in made:
        twin = made[id(thing)] = object.__new__(type(thing))
        twin.__dict__.update({name: on_torch(value, like, made) for name, value in vars(thing).items()})
    return made[id(thing)]
