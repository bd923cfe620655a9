"""Inference of the residual force f_a: what the flight path evaluates. NumPy or torch, no training code."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import numpy as np

from neural_lander.arrays import Array, clip, constant, namespace, relu, rows_times
from neural_lander.components import join, split
from neural_lander.residual.features import Features, Observed, features_named, to_world
from neural_lander.state import State


class ResidualModel(Protocol):
    """Estimate f_a_hat(zeta, u) of the force in N, world, that the nominal model misses."""

    def at(self, state: State) -> Callable[[Array], Array]:
        """f_a_hat at one state as a function of the rotor thrusts, ``(..., 4) N -> (..., 3) N``.

        The state part is evaluated once, since the fixed point of the control law asks for many thrusts.
        """
        ...


@dataclass(frozen=True)
class Certified:
    """What a certificate that was checked says of a network; no controller flies one without."""

    network_sha256: str
    vehicle_sha256: str
    contraction_factor: float
    low: float  # N, of each rotor's thrust
    high: float  # N, of each rotor's thrust
    iterations: int = 0
    """Fewest passes of the thrust iteration that it promises its tolerance for."""


@dataclass(frozen=True, eq=False)
class ReluNetwork:
    """ReLU network f_a_hat in physical units: scaling is folded into the weights before export.

    The state inputs are clipped to the range seen in training. Clipping is 1-Lipschitz, so that no bound on the
    weights is weakened by it, and outside its data the network continues as a constant, not as a slope.
    """

    weights: tuple[Array, ...]
    """W_l of shape (n_l, n_{l-1}); the first reads (zeta in SI, rotor thrusts in N), the last gives N, world."""
    biases: tuple[Array, ...]
    feature_name: str
    state_low: Array  # (n,) in the units of the features
    state_high: Array  # (n,) in the units of the features
    certified: Certified | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        """Weights stay what was hashed: arrays that could be changed in place are copied, and the copies cannot."""
        for name in ("weights", "biases"):
            object.__setattr__(self, name, tuple(_fixed(values) for values in getattr(self, name)))
        for name in ("state_low", "state_high"):
            object.__setattr__(self, name, _fixed(getattr(self, name)))

    @cached_property
    def sha256(self) -> str:
        """Hash of the input's name, every weight and bias, and the clipping range, with their shapes."""
        digest = hashlib.sha256(self.feature_name.encode())
        for values in (*self.weights, *self.biases, self.state_low, self.state_high):
            array = np.ascontiguousarray(values, dtype="<f4")
            digest.update(repr(array.shape).encode())
            digest.update(array.tobytes())
        return digest.hexdigest()

    @cached_property
    def features(self) -> Features:
        """The state part of the input."""
        return features_named(self.feature_name)

    def at(self, state: Observed) -> Callable[[Array], Array]:
        """See :class:`ResidualModel`; takes samples of a log as well."""
        force = self.at_features(self.features.of(state))
        if not self.features.heading_frame:
            return force
        cosine, sine = state.heading
        return lambda rotor_thrust: join(to_world(split(force(rotor_thrust)), cosine, sine))

    def at_features(self, zeta: Array) -> Callable[[Array], Array]:
        """f_a_hat at the state features ``(..., n)`` as a function of the rotor thrusts, in the features' frame."""
        head, layers = self._first_layer(zeta)

        def force(rotor_thrust: Array) -> Array:
            x = head(rotor_thrust)
            for W in layers:
                x = rows_times(relu(x), W)
            return x

        return force

    def hidden_at_features(self, zeta: Array) -> Callable[[Array], Array]:
        """What the last layer reads, ``(..., n_(L-1))``, as a function of the rotor thrusts, for laws that adapt it."""
        head, layers = self._first_layer(zeta)

        def hidden(rotor_thrust: Array) -> Array:
            x = head(rotor_thrust)
            for W in layers[:-1]:
                x = rows_times(relu(x), W)
            return relu(x)[..., :-1]

        return hidden

    def _first_layer(self, zeta: Array) -> tuple[Callable[[Array], Array], list[Array]]:
        """The first layer before its ReLU as a function of the rotor thrusts, and the later ones.

        Between layers goes (x, 1), so that a layer's bias is a row of its matrix: for one vehicle an addition costs as
        much as a product of this size.
        """
        xp = namespace(zeta)
        (low, high), (state_columns, bias), thrust_columns, layers = self._inference(zeta)
        # minimum/maximum: xp.clip costs five times as much for one vehicle
        state_part = rows_times(xp.minimum(xp.maximum(zeta, low), high), state_columns) + bias
        return lambda rotor_thrust: state_part + rows_times(rotor_thrust, thrust_columns), layers

    def __call__(self, zeta: Array, rotor_thrust: Array) -> Array:
        """f_a_hat in N, in the frame of the features, ``(..., n), (..., 4) -> (..., 3)``."""
        return self.at_features(zeta)(rotor_thrust)

    def _inference(self, like: Array) -> _Inference:
        if type(like) is np.ndarray:
            return self._numpy
        (low, high), (state, bias), thrust, layers = self._numpy
        limits, first = (constant(low, like), constant(high, like)), (constant(state, like), constant(bias, like))
        return limits, first, constant(thrust, like), [constant(W, like) for W in layers]

    @cached_property
    def _numpy(self) -> _Inference:
        """Made once in float64, transposed: clipping range, state columns and bias, thrust columns, later layers."""
        low, high = (np.array(v, dtype=np.float64) for v in (self.state_low, self.state_high))  # torch may write
        n = len(low)
        layers = [_homogeneous(W, b) for W, b in zip(self.weights, self.biases, strict=True)]
        layers[-1] = np.ascontiguousarray(layers[-1][:, :-1])  # whose 1 nobody reads
        state, thrust, bias = layers[0][:n], layers[0][n:-1], layers[0][-1]
        return (low, high), (state, bias), thrust, layers[1:]


_Inference = tuple[tuple[Array, Array], tuple[Array, Array], Array, list[Array]]


def _fixed(values: Array) -> Array:
    if not isinstance(values, np.ndarray) or not values.flags.writeable:
        return values
    copy = values.copy(order="K")
    copy.setflags(write=False)
    return copy


def _homogeneous(W: Array, b: Array) -> np.ndarray:
    """(n + 1, m + 1): the matrix M with (x, 1) M = (W x + b, 1)."""
    m, n = W.shape
    M = np.zeros((n + 1, m + 1))
    M[:n, :m], M[n, :m], M[n, m] = np.asarray(W, dtype=np.float64).T, np.asarray(b, dtype=np.float64), 1.0
    return M


@dataclass(frozen=True)
class WithinThrusts:
    """A model that is asked within a range of rotor thrusts alone: clipping is 1-Lipschitz, as for the state.

    A bound on its slope that holds in that range then holds for whatever the rotors do.
    """

    model: ResidualModel
    low: float  # N, per rotor
    high: float  # N, per rotor

    def at(self, state: State) -> Callable[[Array], Array]:
        """See :class:`ResidualModel`."""
        force = self.model.at(state)
        return lambda rotor_thrust: force(clip(rotor_thrust, self.low, self.high))


@dataclass(frozen=True)
class NoResidual:
    """f_a_hat = 0: with it the control law is PD."""

    def at(self, state: State) -> Callable[[Array], Array]:
        """See :class:`ResidualModel`."""
        zero = namespace(state.velocity).zeros_like(state.velocity)
        return lambda rotor_thrust: zero
