"""A closed loop as one graph of tensors, for ``torch.compile``: what a step changes goes in and comes out.

The loop's own Python runs once, while the graph is recorded; laws, effects and worlds need to know nothing of it. What
Python decides then stays decided. Where a decision depends on the flights (is the thrust iteration settled, is a rotor
saturated) the parts below take torch's own loops and branches.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import fx
from torch._higher_order_ops import cond
from torch._higher_order_ops.while_loop import while_loop
from torch.fx import GraphModule
from torch.fx.experimental.proxy_tensor import make_fx

from neural_lander.components import Vector, join, split
from neural_lander.control.allocation import Allocation
from neural_lander.control.controller import Controller
from neural_lander.state import State
from sim.batch.world import BatchWorld

Store = dict[str, torch.Tensor]
aten = torch.ops.aten


def tensors(thing: Any) -> Store:
    """Every tensor that can be reached from an object of ours, by its path."""
    found: Store = {}
    _walk(thing, "", found.setdefault, set())
    return found


def put(thing: Any, values: Store) -> None:
    """Put tensors back to where :func:`tensors` found them."""
    _walk(thing, "", lambda path, x: values[path], set())


def _walk(thing: Any, path: str, visit: Callable[[str, torch.Tensor], torch.Tensor], seen: set[int]) -> Any:
    if isinstance(thing, torch.Tensor):
        return visit(path, thing)
    if isinstance(thing, list | tuple | deque):
        parts = [_walk(part, f"{path}/{k}", visit, seen) for k, part in enumerate(thing)]
        if isinstance(thing, deque):
            return deque(parts, thing.maxlen)
        return type(thing)(*parts) if hasattr(thing, "_fields") else type(thing)(parts)
    ours = type(thing).__module__.startswith(("neural_lander.", "sim."))
    if ours and hasattr(thing, "__dict__") and not isinstance(thing, type) and id(thing) not in seen:
        seen.add(id(thing))
        for name, value in list(vars(thing).items()):
            vars(thing)[name] = _walk(value, f"{path}.{name}", visit, seen)
    return thing


class Graph:
    """``steps`` calls of a step on some objects, compiled.

    Parameters
    ----------
    step : callable
        Changes tensors within ``things``, by replacing them; it is called some times eagerly first.
    things : sequence of objects
    steps : int
        Steps within one call of the graph.
    """

    def __init__(self, step: Callable[[], None], things: Sequence[Any], steps: int = 1) -> None:
        for _ in range(3):  # until all that is kept between steps is there
            step()
        self._things = list(things)
        before = tensors(self._things)
        step()
        after = tensors(self._things)
        if set(before) != set(after):
            raise ValueError(f"a step changes what is kept: {sorted(set(before) ^ set(after))[:3]}")
        self._kept = [path for path in after if after[path] is not before[path]]
        constants = {path: x for path, x in after.items() if after[path] is before[path]}

        def run(*values: torch.Tensor) -> tuple[torch.Tensor, ...]:
            put(self._things, constants | dict(zip(self._kept, values, strict=True)))
            for _ in range(steps):
                step()
            found = tensors(self._things)
            return tuple(found[path] for path in self._kept)

        self.values = [after[path].clone() for path in self._kept]
        recorded = make_fx(run)(*self.values)
        put(self._things, after)
        for part in recorded.modules():
            if isinstance(part, GraphModule):
                _shorten(part.graph)
        self._prune(recorded)
        self._compiled = torch.compile(recorded, dynamic=False)

    def _prune(self, recorded: Any) -> None:
        """Leave out what is kept but never read: what the next step computes anew."""
        graph = recorded.graph
        while True:
            graph.eliminate_dead_code()
            inputs = [node for node in graph.nodes if node.op == "placeholder"]
            (output,) = [node for node in graph.nodes if node.op == "output"]
            results = output.args[0]
            read = {k for k, node in enumerate(inputs) if any(user is not output for user in node.users)}
            handed = {inputs.index(results[k]) for k in read if results[k] in inputs}  # read a step later
            keep = sorted(read | handed)
            if len(keep) == len(inputs):
                break
            output.args = (tuple(results[k] for k in keep),)
            graph.eliminate_dead_code()
            for k in set(range(len(inputs))) - set(keep):
                graph.erase_node(inputs[k])
            self.values, self._kept = [self.values[k] for k in keep], [self._kept[k] for k in keep]
        recorded.recompile()

    def __call__(self) -> None:
        """Go on by ``steps``."""
        self.values = list(self._compiled(*self.values))

    def put_back(self) -> None:
        """Let the objects hold what the graph has come to; what it does not keep they compute in their next step."""
        put(self._things, tensors(self._things) | dict(zip(self._kept, self.values, strict=True)))


def _shorten(graph: fx.Graph) -> None:
    """Read the pieces themselves where they are joined and split again: it spares their way through memory."""
    for node in list(graph.nodes):
        if node.target is not aten.select.int or len(node.args) != 3:
            continue
        joined, axis, index = node.args
        if joined.target is aten.permute.default and joined.args[1] == [1, 0] and axis == 1:  # see join
            joined, axis = joined.args[0], 0
        if joined.target is aten.stack.default and axis == 0 and joined.args[1:] in ((), (0,)):
            node.replace_all_uses_with(joined.args[0][index])


def _own(x: Any) -> Any:
    """x in a piece of memory of its own, which a loop or a branch needs: inductor leaves a clone out (torch 2.13)."""
    return torch.maximum(x, x)


class AirWorld(BatchWorld):
    """The batched world above the ground. It has no contact: ``grounded`` says whether anyone has come near."""

    def _touch(self, state: State, v: Vector, w: Vector) -> tuple[Vector, Vector]:
        near = self._near(state)
        self.contact = torch.zeros_like(near)
        self.grounded = getattr(self, "grounded", near.any()) | near.any()
        return v, w


class GraphController(Controller):
    """The controller with torch's loop in place of Python's. Loops and branches take components, ``(N,)`` each."""

    def _repeat(self, improve: Callable[[Any], Any], thrust: Any) -> Any:
        def result(thrust: Any) -> Any:
            asked, estimate, better, settled = improve(thrust)
            parts = (*split(asked), *split(estimate), better, torch.where(settled, thrust, better))
            return settled.all(), *(_own(part) for part in parts)

        def unfinished(k: Any, done: Any, *parts: Any) -> Any:
            return (k <= self.iterations) & ~done

        def again(k: Any, done: Any, *parts: Any) -> Any:
            return k + 1, *result(parts[-1])

        first = torch.ones((), dtype=torch.int32, device=thrust.device)
        parts = while_loop(unfinished, again, (first, *result(thrust)))[2:]
        return parts[7], join(parts[4:7]), join(parts[:4])


class GraphAllocation(Allocation):
    """The allocation with torch's branch in place of Python's."""

    @cached_property
    def _columns(self) -> list[list[float]]:
        """u of each rotor per unit of T, tau_x, tau_y, tau_z."""
        thrust, moments = self._thrust_column.tolist(), self._moment_columns_T.T.tolist()
        return [[c, *row] for c, row in zip(thrust, moments, strict=True)]

    def __call__(self, thrust: Any, moment: Any, moment_part: Any = None) -> tuple[Any, Any]:
        """See :class:`~neural_lander.control.allocation.Allocation`."""
        x, y, z = (_own(part) for part in split(moment))
        u = [a * thrust + b * x + c * y + d * z for a, b, c, d in self._columns]
        saturated = (u[0] < 0.0) | (u[0] > self._u_max)
        for one in u[1:]:
            saturated = saturated | (one < 0.0) | (one > self._u_max)

        def some(saturated: Any, thrust: Any, x: Any, y: Any, z: Any, *u: Any) -> Any:
            limited = split(self._prioritised(thrust, join((x, y, z))))
            return tuple(torch.where(saturated, a, b).clone() for a, b in zip(limited, u, strict=True))

        def none(saturated: Any, thrust: Any, x: Any, y: Any, z: Any, *u: Any) -> Any:
            return tuple(one.clone() for one in u)

        return join(cond(saturated.any(), some, none, (saturated, thrust, x, y, z, *u))), saturated
