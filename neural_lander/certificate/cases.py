"""Tighter slopes by cases: neurons of the first layer on or off, where LipSDP alone leaves too much.

LipSDP lets every slope lie anywhere between 0 and 1, and knows neither biases nor the range of inputs. Of the cases so
far the one with the largest bound is split at the neuron whose other sign costs most, until the
bound is near what a search reached. A case that has no input is settled by a linear programme. What comes out is a
proof for ``certificate.check``, so that nothing rests on this file.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from neural_lander.certificate.cells import clearest_input
from neural_lander.certificate.check import Case, impossible
from neural_lander.certificate.lipsdp import DIGITS, lipschitz_bound
from neural_lander.certificate.patterns import ascend, random_patterns


@dataclass
class _Node:
    """A case: split in two, or settled by multipliers or a contradiction."""

    case: Case
    bound: float
    proof: Any
    parts: list[_Node] = field(default_factory=list)
    neuron: int = -1

    def to_json(self) -> Any:
        if not self.parts:
            return self.proof
        on, off = self.parts
        return {"neuron": self.neuron, "on": on.to_json(), "off": off.to_json()}


def splits_of(proof: Any) -> int:
    """How often a proof splits a case in two."""
    split = isinstance(proof, dict) and "neuron" in proof
    return 1 + splits_of(proof["on"]) + splits_of(proof["off"]) if split else 0


def bound_by_cases(
    case: Case, E: np.ndarray, bound: float, multipliers: Any, goal: float, most: int
) -> tuple[float, Any]:
    """A bound on |df_a/dx E|, at most ``goal`` where few cases suffice, and its proof.

    Parameters
    ----------
    case
        All inputs.
    E : (inputs, m)
        Inputs that the bound is about.
    bound, multipliers
        What LipSDP proves without cases; without multipliers it is left as it is.
    goal
        Where to stop.
    most
        Splits, of some 0.15 s each at the default size.
    """
    root = _Node(case, bound, multipliers)
    nodes = [root]
    while len(nodes) <= most:
        worst = max(nodes, key=lambda node: node.bound)
        if worst.bound <= goal or worst.proof is None or len(worst.case.signs) == len(worst.case.W[0]):
            break
        worst.neuron = _where_to_split(worst.case, E)
        worst.parts = [_solved(worst.case.part(worst.neuron, on), E) for on in (True, False)]
        nodes = [*(node for node in nodes if node is not worst), *worst.parts]
    least = max(node.bound for node in nodes)
    return (least, root.to_json()) if least < bound else (bound, multipliers)


def _solved(case: Case, E: np.ndarray) -> _Node:
    """One case: impossible, or what LipSDP proves of it; no bound where it proves none."""
    weights = _contradiction(case)
    if weights is not None:
        return _Node(case, 0.0, {"never": weights.tolist()})
    bound, t = lipschitz_bound(case.W[0] @ E, case.W[1:], case.signs)
    return _Node(case, np.inf, None) if t is None else _Node(case, bound, t.tolist())


def _contradiction(case: Case) -> np.ndarray | None:
    """Weights of signs that no input has, or None: the dual of the input that has them most clearly."""
    neurons, side = list(case.signs), np.where(list(case.signs.values()), 1.0, -1.0)
    found = clearest_input(side[:, None] * case.W[0][neurons], side * case.b[0][neurons], case.low, case.high)
    if found.status != 0 or found.fun < 0:
        return None
    weights = np.array([float(f"{max(-w, 0.0):.{DIGITS}g}") for w in found.ineqlin.marginals])
    return weights if impossible(weights, case) else None


def _where_to_split(case: Case, E: np.ndarray) -> int:
    """The neuron whose other sign costs the steepest pattern of the case most."""
    sizes = [len(W) for W in case.W[:-1]]
    P = random_patterns(np.random.default_rng(len(case.signs)), 6, sum(sizes))
    held = np.zeros(P.shape, dtype=bool)
    for i, on in case.signs.items():
        P[:, i], held[:, i] = on, True
    value, P = ascend(case.W, E, P, held)
    top = P[value.argmax()]
    free = [i for i in range(sizes[0]) if i not in case.signs]
    P, held = np.repeat(top[None], len(free), axis=0), np.repeat(held[:1], len(free), axis=0)
    rows = np.arange(len(free))
    P[rows, free], held[rows, free] = ~P[rows, free], True
    value, _ = ascend(case.W, E, P, held)
    return free[int(value.argmin())]
