"""Penalties that make a network one that LipSDP bounds tightly, in torch.

LipSDP knows no biases, nor which neurons can be on together, so that its bound meets the steepest of all patterns of
active neurons to some digits, whether or not an input has it (``python -m benchmarks certify``). What such a pattern is
steeper than any input's slope is lost to the proof and serves nothing that flies. Two small penalties keep it away:

- on the network's paths (:func:`path_slope`): without paths that cancel there is little for a pattern to gain;
- on what is left, the steepest pattern over the steepest input (:class:`UnreachedSlope`). It is a ratio: it asks for no
  flatter network, and the fit does not feel it. On its own it does not hold (up to 6 % were left).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from neural_lander.residual.options import TrainingOptions

PATH_EVERY = 4  # steps from one penalty on paths to the next, that much heavier: each costs half as much as a step
PATH_LEFT = 0.25  # share of that penalty that stays to the end: at 0 some paths cancel again, at 1 it biases the fit
UNREACHED_EVERY = 8  # steps from one penalty on unreached slopes to the next: each costs as much as five steps
UNREACHED_FROM = 0.5  # of the steps: before, patterns come and go
POPULATION = 60  # inputs that the search for the steepest is carried on with, from one penalty to the next
ANEW_EVERY = 4  # calls from one search for a pattern that begins at the steepest input to the next
MOST_FLIPS = 60  # in such a search
FLIPS_AT_ONCE = 3  # in one that goes on where it was
FLAT = 1e-10  # slope below which a network has none


class Tightness:
    """Both penalties, each at the steps where it is due.

    Parameters
    ----------
    low, high : (n + 4,) Tensor
        Ends of the inputs that occur, scaled: state and rotor thrusts.
    per_unit : (n + 4,) Tensor
        Scaled units per physical one.
    n
        Inputs of the state.
    weight
        Of both, in units of the loss.
    """

    def __init__(
        self, low: Tensor, high: Tensor, per_unit: Tensor, n: int, weight: float, options: TrainingOptions
    ) -> None:
        self._n, self._path_weight = n, options.path_weight * weight
        self._unreached_weight = options.unreached_weight * weight
        generator = torch.Generator().manual_seed(options.seed + 2)
        along = [torch.diag(per_unit)] + ([torch.diag(per_unit)[:, n:]] if options.thrust_input != "off" else [])
        self._unreached = [UnreachedSlope(low, high, inputs, generator) for inputs in along]

    def __call__(self, step: int, steps: int, cycle: float, W: list[Tensor], b: Sequence[Tensor]) -> Tensor | None:
        """What to add to the loss at this step of all, at the learning rate's share ``cycle`` of its peak."""
        due: list[Tensor] = []
        if self._path_weight and step % PATH_EVERY == 0:
            due.append(PATH_EVERY * max(cycle, PATH_LEFT) * self._path_weight * path_slope(W, self._n))
        if self._unreached_weight and step % UNREACHED_EVERY == 0 and step > UNREACHED_FROM * steps:
            by_turns = self._unreached[step // UNREACHED_EVERY % len(self._unreached)]
            due.append(UNREACHED_EVERY * self._unreached_weight * by_turns(W, b))
        return torch.stack(due).sum() if due else None


def path_slope(W: list[Tensor], n: int) -> Tensor:
    """How steep the layers would be if all neurons were on and no path cancelled another; inputs: n of state, thrusts.

    |W_L| ... |W_2| |W_1| elementwise (the path norm: Neyshabur, Tomioka and Srebro 2015), its Frobenius norms over the
    state, the rotor thrusts and collective thrust summed. A proof that knows neither biases nor which neurons can be on
    together has to allow for paths that cancel: in a network without such paths it gives nothing away.
    """
    paths = W[-1].abs()
    for V in W[-2:0:-1]:
        paths = paths @ V.abs()
    state, thrust = W[0][:, :n], W[0][:, n:]
    groups = (state, thrust, thrust.sum(1, keepdim=True))
    return torch.stack([torch.linalg.norm(paths @ F.abs()) for F in groups]).sum()


class UnreachedSlope:
    """Logarithm of the steepest pattern's slope over the steepest input's, as far as a search finds them; 0 or more.

    Parameters
    ----------
    low, high : (n + 4,) Tensor
        Ends of the inputs that occur, scaled.
    inputs : (n + 4, m) Tensor
        Those that the slope is along, in scaled units per physical one: slopes are compared in the latter.
    generator
        Of the search for the steepest input.
    """

    def __init__(self, low: Tensor, high: Tensor, inputs: Tensor, generator: torch.Generator) -> None:
        self._low, self._high, self._inputs, self._generator = low, high, inputs, generator
        self._x = self._anywhere()
        self._steepest: Tensor | None = None
        self._calls = 0

    def __call__(self, W: list[Tensor], b: Sequence[Tensor]) -> Tensor:
        """Of these layers, in scaled units; each call goes on searching where the last one ended."""
        with torch.no_grad():
            reached = self._search(W, b)
            ends = [] if self._steepest is None else [self._climb(W, self._steepest, FLIPS_AT_ONCE)]
            if self._calls % ANEW_EVERY == 0:
                ends.append(self._climb(W, reached, MOST_FLIPS))
            self._steepest = ends[int(self._slopes(W, torch.stack(ends)).argmax())]
            self._calls += 1
        steepest, slope = self._slopes(W, torch.stack([self._steepest, reached]))
        if slope <= 2 * FLAT:  # no input has any: nothing to compare with
            return torch.zeros(())
        return (steepest / slope).log().clamp_min(0.0)

    def _anywhere(self) -> Tensor:
        return self._low + (self._high - self._low) * torch.rand(POPULATION, len(self._low), generator=self._generator)

    def _search(self, W: list[Tensor], b: Sequence[Tensor]) -> Tensor:
        """Pattern of the steepest input: one round, each against one nearby and one anywhere."""
        step = 10 ** -(3 * torch.rand(POPULATION, 1, generator=self._generator)) * (self._high - self._low)
        near = self._x + step * torch.randn(self._x.shape, generator=self._generator)
        tried = torch.stack([self._x, near.clamp(self._low, self._high), self._anywhere()])
        patterns = active(tried.flatten(0, 1), W, b)
        found = self._slopes(W, patterns)
        self._x = tried[found.view(len(tried), -1).argmax(0), torch.arange(POPULATION)]
        return patterns[int(found.argmax())]

    def _climb(self, W: list[Tensor], pattern: Tensor, most: int) -> Tensor:
        """Pattern that no flip of one neuron makes steeper, or that some flips led to, from a pattern.

        Starts anywhere besides would cost as much again for little: L of the worst network 0.5 instead of 0.7 % above.
        """
        pattern = pattern.clone()
        for _ in range(most):
            found, now = self._flipped(W, pattern)
            k = int(found.argmax())
            if float(found[k]) <= now * (1 + 1e-5):
                break
            pattern[k] = ~pattern[k]
        return pattern

    def _flipped(self, W: list[Tensor], pattern: Tensor) -> tuple[Tensor, float]:
        """Slopes ``(neurons,)`` with one neuron flipped each, and the one without.

        A flip of neuron k changes the Jacobian J by plus or minus u v^T, v^T the slope of its input along the inputs
        and u that of the outputs along it.
        """
        first = W[0] @ self._inputs
        on = pattern.to(first.dtype).split([len(V) for V in W[:-1]])
        into, out = [first], [W[-1]]
        for V, D in zip(W[1:-1], on, strict=False):
            into.append(V @ (D[:, None] * into[-1]))
        for V, D in zip(W[-2:0:-1], on[::-1], strict=False):
            out.append((out[-1] * D) @ V)
        v, u = torch.cat(into), torch.cat([B.mT for B in reversed(out)])
        J = W[-1] @ (on[-1][:, None] * into[-1])
        cross = u[:, :, None] * (v @ J.mT)[:, None, :] * (1.0 - 2.0 * pattern.to(v.dtype))[:, None, None]
        square = (v * v).sum(1)[:, None, None] * u[:, :, None] * u[:, None, :]
        G = J @ J.mT
        values = _largest(torch.cat([G + cross + cross.mT + square, G[None]]))
        return values[:-1], float(values[-1])

    def _slopes(self, W: list[Tensor], patterns: Tensor) -> Tensor:
        """Spectral norm of the Jacobian per physical unit under each pattern, ``(K, neurons) bool -> (K,)``."""
        on, at = patterns.to(W[0].dtype), 0
        J = (W[0] @ self._inputs).expand(len(on), -1, -1)
        for V in W[1:]:
            J, at = V @ (on[:, at : at + V.shape[1], None] * J), at + V.shape[1]
        return _largest(J @ J.mT)


def _largest(G: Tensor) -> Tensor:
    """Roots of the largest eigenvalues of ``(K, outputs, outputs)``: spectral norms, ``(K,)``."""
    return torch.linalg.eigvalsh(G)[:, -1].clamp_min(FLAT**2).sqrt()


def active(x: Tensor, W: list[Tensor], b: Sequence[Tensor]) -> Tensor:
    """Which hidden neurons are on at each input, ``(K, n + 4) -> (K, neurons)`` bool."""
    found = []
    for V, c in zip(W[:-1], b[:-1], strict=True):
        z = torch.addmm(c, x, V.T)
        found.append(z > 0)
        x = z.relu()
    return torch.cat(found, dim=1)
