"""Training of the residual network in torch, its Lipschitz bounds held by construction.

Every layer is W = P diag(sum_i |P^T P|_ij)^(-1/2), whose spectral norm is at most 1 for any P (almost-orthogonal
layers: Prach and Lampert, ECCV 2022). The first layer has two such blocks, one for the state and one for the rotor
thrusts, each times its own share of the bound. So gamma (N per SI unit of the state) and the slope in the rotor
thrusts (N per N) hold at every step of training, and not only after a projection, which is there for comparison.
Two small penalties (``residual.tightness``) make it one that LipSDP bounds tightly.
Scaling is folded into the weights at export, and the bounds are verified there in float64 on the float32 weights.

This module and its optimiser import torch for more than arrays; what flies loads neither.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from neural_lander.residual.features import ROTORS, Features
from neural_lander.residual.input_range import input_range, sample_weights, state_scale
from neural_lander.residual.model import ReluNetwork
from neural_lander.residual.norms import network_bounds, product_bounds
from neural_lander.residual.optimiser import Adam, one_cycle
from neural_lander.residual.options import DEFAULT_EPOCHS, TrainingOptions
from neural_lander.residual.tightness import Tightness
from neural_lander.vehicle import Vehicle

FORCE_SCALE = 0.1  # of the weight: size of the effect near the ground, so that targets are of order one
THRUST_SCALE = 0.05  # of the weight per rotor: spread of a rotor's thrust in slow flight with dither
EXPORT_MARGIN = 1e-5  # relative; float32 rounding moves a spectral norm by less than 1e-6


@dataclass(frozen=True)
class Fitted:
    """A trained network and how its training went."""

    network: ReluNetwork
    loss: float
    """Mean weighted Huber loss over the last epoch, in units of (0.1 m g)^2."""
    optimisation_s: float
    options: TrainingOptions
    """That it was trained with, bounds and all."""


@dataclass(frozen=True, eq=False)
class TrainingData:
    """Samples of all training flights; SI."""

    zeta: np.ndarray  # (N, n)
    """State features."""
    rotor_thrust: np.ndarray  # (N, 4) N
    label: np.ndarray  # (N, 3) N, world


def train_network(
    data: TrainingData,
    features: Features,
    vehicle: Vehicle,
    options: TrainingOptions,
    progress: Callable[[float], None] = lambda fraction: None,
) -> Fitted:
    """Fit a network to the samples; the same seed, data and machine give the same weights.

    Parameters
    ----------
    progress
        Called with the fraction done in 0..1 after every epoch.
    """
    n, weight = features.size, vehicle.weight
    scale = np.concatenate([state_scale(data.zeta, features, options), np.full(ROTORS, THRUST_SCALE * weight)])
    inputs = np.concatenate([data.zeta, data.rotor_thrust], axis=-1)
    centre = inputs.mean(axis=0)
    force_scale = FORCE_SCALE * weight
    limits = _first_layer_limits(vehicle, options, scale, n, force_scale)
    low, high = input_range(data.zeta, features)
    thrusts = np.zeros(ROTORS), np.full(ROTORS, vehicle.full_rotor_thrust)
    ends = [(np.concatenate([end, T]) - centre) / scale for end, T in zip((low, high), thrusts, strict=True)]

    with _one_thread():
        x = torch.tensor((inputs - centre) / scale, dtype=torch.float32)
        y = torch.tensor(data.label / force_scale, dtype=torch.float32)
        w = torch.tensor(sample_weights(data.zeta[:, 0], vehicle, options), dtype=torch.float32)[:, None]
        started = time.perf_counter()
        layers = _Layers(n, options, limits, x, y)
        nothing = float(_loss(torch.zeros_like(y), y, w, options))  # loss that predicting nothing leaves
        bottom, top, per_unit = (torch.tensor(a, dtype=torch.float32) for a in (*ends, 1.0 / scale))
        tightness = Tightness(bottom, top, per_unit, n, nothing, options)
        loss = _optimise(layers, x, y, w, tightness, options, progress)
        took = time.perf_counter() - started
        weights, biases = layers.export(centre, scale, force_scale)

    weights = _shrink_to_bounds(weights, n, vehicle, options)
    network = ReluNetwork(
        tuple(W.astype(np.float32) for W in weights),
        tuple(b.astype(np.float32) for b in biases),
        features.name,
        low.astype(np.float32),
        high.astype(np.float32),
    )
    _verify(network, vehicle, options)
    return Fitted(network, loss, took, options)


def _first_layer_limits(
    vehicle: Vehicle, options: TrainingOptions, scale: np.ndarray, n: int, force_scale: float
) -> tuple[float, float]:
    """Norms of the scaled state and thrust blocks from which the bounds in physical units follow."""
    slope = options.rotor_thrust_lipschitz(vehicle)
    state = math.sqrt(options.lipschitz(vehicle) ** 2 - slope**2)  # |[A B]|^2 <= |A|^2 + |B|^2
    thrust = slope * float(scale[n]) / force_scale if options.thrust_input != "off" else 0.0
    return state * float(scale[:n].min()) / force_scale, thrust


def almost_orthogonal(P: Tensor) -> Tensor:
    """W = P diag(sum_i |P^T P|_ij)^(-1/2) per matrix ``(..., m, n)``: spectral norm at most 1 for any P.

    Prach and Lampert 2022, theorem 1. A column of zeros stays one.
    """
    return P / (P.mT @ P).abs().sum(-2, keepdim=True).clamp_min(1e-18).sqrt()


class _Layers:
    """The free parameters, and the bounded weights they stand for.

    The blocks of all layers are padded to one square size with zeros, which stay zeros: one batched product bounds
    them all, in a third of the time of one call per block.
    """

    def __init__(self, n: int, options: TrainingOptions, limits: tuple[float, float], x: Tensor, y: Tensor) -> None:
        generator = torch.Generator().manual_seed(options.seed)
        sizes = [x.shape[1], *options.hidden, 3]
        self.n, self.limits = n, limits
        self.projected, self.free_state = options.layers == "projection", options.bounded == "thrust"
        self.shapes = [(sizes[1], n), (sizes[1], ROTORS), *((b, a) for a, b in pairwise(sizes[1:]))]
        self.P = torch.zeros(len(self.shapes), max(sizes), max(sizes))
        for block, (rows, columns) in zip(self.P, self.shapes, strict=True):
            block[:rows, :columns] = torch.randn(rows, columns, generator=generator)
        if self.projected:
            self.P = almost_orthogonal(self.P)
        elif self.free_state:
            self.P[0] = almost_orthogonal(self.P[:1])[0]
        self.b = [torch.zeros(size) for size in sizes[1:]]
        # the first layer's kinks start where samples are, and the output at the mean label
        chosen = torch.randint(len(x), (sizes[1],), generator=generator)
        self.b[0] = -(self.weights()[0] * x[chosen]).sum(1)
        self.b[-1] = y.mean(0)
        for parameter in self.parameters():
            parameter.requires_grad_()

    def parameters(self) -> list[Tensor]:
        """All of them."""
        return [self.P, *self.b]

    def weights(self) -> list[Tensor]:
        """Bounded weights in scaled units."""
        bounded = self.P if self.projected else almost_orthogonal(self.P)
        state, thrust, *rest = (W[:rows, :columns] for W, (rows, columns) in zip(bounded, self.shapes, strict=True))
        if self.free_state:
            rows, columns = self.shapes[0]
            state = self.P[0, :rows, :columns]
        return [torch.cat([state * self.limits[0], thrust * self.limits[1]], dim=1), *rest]

    @torch.no_grad()
    def project(self) -> None:
        """Norms back into what is allowed after a step, where projection holds them."""
        if self.projected:
            norms = torch.linalg.matrix_norm(self.P, 2).clamp_min(1.0)
            if self.free_state:
                norms[0] = 1.0
            self.P /= norms[:, None, None]

    def output(self, W: list[Tensor], x: Tensor) -> Tensor:
        """Of these bounded weights, in scaled units."""
        *hidden, last = W
        for V, b in zip(hidden, self.b[:-1], strict=True):
            x = torch.relu(torch.addmm(b, x, V.T))
        return torch.addmm(self.b[-1], x, last.T)

    def export(
        self, centre: np.ndarray, scale: np.ndarray, force_scale: float
    ) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Weights and biases in physical units, float64: scaling folded in."""
        with torch.no_grad():
            W = [w.double().numpy() for w in self.weights()]
            b = [v.double().numpy() for v in self.b]
        W[0] = W[0] / scale
        b[0] = b[0] - W[0] @ centre
        W[-1], b[-1] = W[-1] * force_scale, b[-1] * force_scale
        return W, b


def _optimise(
    layers: _Layers,
    x: Tensor,
    y: Tensor,
    w: Tensor,
    tightness: Tightness,
    options: TrainingOptions,
    progress: Callable[[float], None],
) -> float:
    """Adam with one learning-rate cycle over minibatches; mean loss of the last epoch."""
    batch = math.ceil(len(x) / options.batches)
    epochs = options.epochs or DEFAULT_EPOCHS
    steps = epochs * math.ceil(len(x) / batch)
    adam = Adam(layers.parameters())
    shuffle = torch.Generator().manual_seed(options.seed + 1)
    total, step = torch.zeros(()), 0
    for epoch in range(epochs):
        order = torch.randperm(len(x), generator=shuffle)
        total = torch.zeros(())
        for chosen in order.split(batch):
            W = layers.weights()
            loss = _loss(layers.output(W, x[chosen]), y[chosen], w[chosen], options)
            cycle = one_cycle(step / steps)
            penalty = tightness(step, steps, cycle, W, layers.b)
            (loss if penalty is None else loss + penalty).backward()
            adam.step(options.learning_rate * cycle)
            layers.project()
            step += 1
            total += loss.detach() * len(chosen)
        progress((epoch + 1) / epochs)
    return float(total) / len(x)


def _loss(predicted: Tensor, y: Tensor, w: Tensor, options: TrainingOptions) -> Tensor:
    """Mean weighted Huber loss over samples and components."""
    error = torch.nn.functional.huber_loss(predicted, y, reduction="none", delta=options.huber)
    return (error * w).mean()


def _shrink_to_bounds(
    weights: list[np.ndarray], n: int, vehicle: Vehicle, options: TrainingOptions
) -> list[np.ndarray]:
    """Scale the first layer's blocks where exact norms exceed the bounds: by rounding only, after the construction."""
    first, *rest = weights
    first = first.copy()
    slope, gamma = options.rotor_thrust_lipschitz(vehicle), options.lipschitz(vehicle)
    blocks = [("rotor_thrust", first[:, n:], slope), ("total", first, gamma)]
    for name, block, limit in blocks if options.bounded == "all" else blocks[:1]:
        norm = getattr(product_bounds([first, *rest]), name)
        if norm > limit * (1 - EXPORT_MARGIN):
            block *= limit * (1 - EXPORT_MARGIN) / norm
    return [first, *rest]


def _verify(network: ReluNetwork, vehicle: Vehicle, options: TrainingOptions) -> None:
    """The bounds once more, on the weights as cast."""
    found = network_bounds(network)
    within = found.total <= options.lipschitz(vehicle) or options.bounded == "thrust"
    if not (found.rotor_thrust <= options.rotor_thrust_lipschitz(vehicle) and within):
        raise ArithmeticError(
            f"exported network exceeds its bounds: {found.rotor_thrust} N/N in the rotor thrusts, {found.total} in all"
        )


@contextmanager
def _one_thread() -> Iterator[None]:
    """Matrices this small lose time on more threads, and one thread sums in one order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
