"""Composite adaptation of the network's last layer, within the bound that is certified for it.

    f_hat = W phi(zeta, u) + b + d_hat        W = W_0 + dW        x = (phi, 1)        A = (dW, d_hat)

    A' = -lambda A + (y - f_hat) (P x)^T / R + kappa s (P x)^T        y = m a - R (0, 0, T): the measured residual
    P' = -2 lambda P + Q - P x x^T P / R

O'Connell et al., "Neural-Fly enables rapid learning for agile flight in strong winds", Science Robotics 7(66), 2022,
eqs. 6 to 8: adaptation by the prediction error of f_a and by the tracking error s, under a covariance P that says what
has been excited. phi is the trained network up to its last hidden layer, W_0 its last layer, from which A starts and to
which it is drawn back; d_hat, the coefficient of the constant, is not, since a payload does not fade. All of it is in
the frame of the network's features.

**The certified bound holds while it adapts.** At a fixed state, phi is Lipschitz in the rotor thrusts u with the
product l of the norms of the first layer's thrust columns and of the layers up to the last; ReLU, the clipping of
state and thrusts, and a share in [0, 1] of the domain do not raise it. L_u by the product of norms is |W_0|_2 l. W is
held in the ball |W|_2 <= |W_0|_2, hence

    |W phi(zeta, u) - W phi(zeta, u')| <= |W|_2 l |u - u'| <= |W_0|_2 l |u - u'| = L_u |u - u'|

for every W that can occur, b and d_hat do not depend on u, and A moves once per step, before the thrust iteration and
never within it. So the iteration contracts by |c_T B0^-1 e_1| L_u as before, and the iterations counted for that factor
are enough. The argument is about products of norms: a certificate by LipSDP is smaller and speaks of W_0 alone, so that
the controller of an adapted network must be given the product's factor. W is scaled into the ball, which
shrinks all of its rows alike. The vertical row has most of the norm, so that a network may be weakened or turned but
hardly strengthened; what it lacks, d_hat takes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from neural_lander.arrays import Array, clip, constant, inner, namespace
from neural_lander.components import Scalar, join, maximum, minimum, split, sqrt
from neural_lander.control.estimate import DISTURBANCE_LIMIT, Clock, MotorLag, Repetition, held
from neural_lander.errors import UserError
from neural_lander.residual.features import to_heading, to_world
from neural_lander.residual.model import ReluNetwork
from neural_lander.rotation import apply
from neural_lander.state import State
from neural_lander.vehicle import Vehicle

ROUNDING = 1e-6  # relative, by which the ball is smaller: the closed form of the norm errs by some 1e-8


@dataclass(frozen=True)
class AdaptationGains:
    """Free parameters. R = (m noise)^2 is the density of the noise of y, N^2 s."""

    rate: float = 2.0  # 1/s
    """sqrt(Q / R): how fast a change of the force is learned from the measured one, once the start is forgotten."""
    prior: float = 0.05
    """How far the force may be off at first, standard deviation as a fraction of the weight; P(0)."""
    forget: float = 0.02  # 1/s
    """lambda: how fast the last layer returns to what was trained where nothing is excited."""
    noise: float = 0.03  # m/s^2 sqrt(s)
    """Of the measured acceleration, white: 0.2 m/s^2 at 240 Hz is 0.013, and gusts are not white; guess."""
    Gamma: float = 1.0  # 1/s
    """Of the tracking error, as in the trim, while P is what it was at first: kappa = Gamma K_v / P(0)."""
    limit: float = DISTURBANCE_LIMIT
    """Bound on every component of d_hat as a fraction of the weight."""

    def __post_init__(self) -> None:
        ranges = {
            "rate": (0.0, 100.0), "prior": (1e-4, 1.0), "forget": (0.0, 10.0), "noise": (1e-4, 10.0),
            "Gamma": (0.0, 10.0), "limit": (1e-6, 1.0),
        }  # fmt: skip
        for name, (low, high) in ranges.items():
            if not low <= getattr(self, name) <= high:
                raise UserError(f"adaptation {name} = {getattr(self, name)!r} must lie in [{low:g}, {high:g}]")


def whole(state: State) -> float:
    """Share of a network that is faded out nowhere."""
    return 1.0


class LastLayerAdaptation:
    """Residual model and force estimate in one: the network with its last layer adapted, and d_hat beside it.

    Held in contact, in saturation, and where a measurement is missing. Without an accelerometer it learns from the
    tracking error alone.

    Parameters
    ----------
    vehicle : Vehicle
    network : ReluNetwork
    K_v : ndarray
        ``(3,)`` kg/s of the tracking law.
    gains : AdaptationGains, optional
    share : callable, optional
        State -> share in [0, 1] of the network that is subtracted there, where the caller of :meth:`at` fades it out.
    thrusts : (float, float), optional
        N, per rotor, to which thrusts are clipped before the network sees them.
    """

    def __init__(
        self,
        vehicle: Vehicle,
        network: ReluNetwork,
        K_v: np.ndarray,
        gains: AdaptationGains | None = None,
        share: Callable[[State], Scalar] = whole,
        thrusts: tuple[float, float] = (0.0, math.inf),
    ) -> None:
        self.network, self.gains = network, gains or AdaptationGains()
        self.flown: Scalar = 1.0
        """Share in [0, 1] of all of it that is subtracted: the bridge sets it before each step."""
        self.thrusts = thrusts
        self._share, self._mass, self._limit = share, vehicle.mass, self.gains.limit * vehicle.weight
        self._W0 = np.array(network.weights[-1], dtype=np.float64)
        self._b = np.array(network.biases[-1], dtype=np.float64)
        self.radius = float(np.linalg.norm(self._W0, 2)) * (1 - ROUNDING)
        self._clock, self._lag, self._repeated = Clock(), MotorLag(vehicle), Repetition()
        zeta = 0.5 * (np.asarray(network.state_low, dtype=np.float64) + np.asarray(network.state_high))
        zeta[0] = network.state_low[0]  # on the floor, at the middle of what else was trained on
        phi = network.hidden_at_features(zeta)(np.full(4, vehicle.weight / 4))
        scale = max(float(phi @ phi), 1e-12)  # so that dW phi and d_hat have the same prior, in newtons
        variances = np.append(np.full(len(phi), 1.0 / scale), 1.0)
        self._R = (vehicle.mass * self.gains.noise) ** 2  # N^2 s
        self._P0 = (self.gains.prior * vehicle.weight) ** 2 * np.diag(variances)
        self._Q = self.gains.rate**2 * self._R * np.diag(variances)  # 1/s
        self._forget = np.append(np.full(len(phi), self.gains.forget), 0.0)  # 1/s
        self._kappa = self.gains.Gamma * K_v / (self.gains.prior * vehicle.weight) ** 2
        self.reset()

    def reset(self, d_hat: Array | None = None) -> None:
        """Back to the network as it was trained, with d_hat in N, world, of a level vehicle at heading 0."""
        self.d_hat: Array = np.zeros(3) if d_hat is None else d_hat  # (..., 3) N, world
        dW = np.zeros_like(self._W0)
        xp = namespace(self.d_hat)
        bias = self.d_hat[..., None]
        self.A: Array = xp.concat([constant(dW, bias) + 0 * bias, bias], axis=-1)
        """(..., 3, n + 1): change of the last layer in N per hidden unit, and d_hat in N, in the features' frame."""
        self.P: Array = self._P0  # (..., n + 1, n + 1)
        self._last_s: Array = np.zeros(3)
        self._hold: bool | Array = True
        for part in (self._clock, self._lag, self._repeated):
            part.reset()

    @property
    def W(self) -> Array:
        """(..., 3, n) N per hidden unit: the last layer as adapted, |W|_2 <= |W_0|_2."""
        return constant(self._W0, self.A) + self.A[..., :-1]

    def at(self, state: State) -> Callable[[Array], Array]:
        """See :class:`~neural_lander.residual.model.ResidualModel`; without d_hat."""
        hidden, (cosine, sine) = self._hidden(state), self._heading(state)
        W, b = constant(self.W, state.velocity), constant(self._b, state.velocity)
        return lambda rotor_thrust: join(to_world(split(apply(W, hidden(rotor_thrust)) + b), cosine, sine))

    def observe(self, t: float, state: State, rotor_thrust: Array, f_a_hat: Array) -> None:
        """One step of A and P: by the measured residual, and by the tracking error of the last step."""
        dt = self._clock(t)
        thrust = self._lag(dt, rotor_thrust)
        felt = state.specific_force
        frame = self._heading(state)
        missing = None if felt is None else self._missing(felt, state, thrust, f_a_hat)
        self._step(dt, state, thrust, missing, frame)
        v = state.velocity
        bias = constant(self.A[..., -1], v) + namespace(v).zeros_like(v)  # of the batch's shape from the first call on
        self.d_hat = join(to_world(split(bias), *frame))

    def update(self, t: float, s: Array, hold: bool | Array) -> None:
        """Keep the tracking error for the next step, except where ``hold``."""
        self._last_s, self._hold = s, hold

    def _missing(self, felt: Array, state: State, thrust: Array, f_a_hat: Array) -> Array:
        """y - f_hat in N, world: what neither thrust nor the present estimate explains."""
        T = sum(split(thrust))
        parts = zip(split(felt), state.rows, split(f_a_hat), split(self.d_hat), strict=True)
        return join([self._mass * a - T * row[2] - f - d for a, row, f, d in parts])

    def _step(
        self, dt: float, state: State, thrust: Array, missing: Array | None, frame: tuple[Scalar, Scalar]
    ) -> None:
        if dt == 0.0:
            return
        v, felt = state.velocity, state.specific_force
        xp, (A, P) = namespace(v), (constant(self.A, v), constant(self.P, v))
        share = self._share(state) * self.flown
        phi = self._hidden(state)(constant(thrust, v)) * (share if isinstance(share, float) else share[..., None])
        x = xp.concat([phi, xp.ones_like(phi[..., :1])], axis=-1)
        s = constant(self._last_s, v) + 0 * v
        push = join(to_heading(split(dt * constant(self._kappa, v) * s), *frame))
        kept = xp.exp(-dt * constant(self._forget, v))
        moved, spread = A * kept, P
        if missing is not None:
            error = join(to_heading(split(missing), *frame))
            spread = P * kept[:, None] * kept + dt * constant(self._Q, v)
            Px = apply(spread, x)
            gain = Px / (inner(x, Px) + self._R / dt)[..., None]
            moved = moved + error[..., :, None] * gain[..., None, :]
            spread = spread - Px[..., :, None] * gain[..., None, :]
        moved = moved + push[..., :, None] * apply(P, x)[..., None, :]
        known = inner(phi, phi), *split(s), *split(v), *(() if missing is None else split(missing))
        hold = held(state.contact, *known)
        hold = hold | self._repeated(*split(v), *(() if felt is None else split(felt)))
        hold = self._hold or hold if isinstance(self._hold, bool | np.bool_) else self._hold | hold
        self.A = _where(hold, A, self._bounded(moved))
        self.P = _where(hold, P, spread)

    def _bounded(self, A: Array) -> Array:
        """A with W = W_0 + dW scaled into the ball |W|_2 <= |W_0|_2, and d_hat clamped."""
        W0 = constant(self._W0, A)
        W = W0 + A[..., :-1]
        shrink = minimum(self.radius / maximum(largest_singular_value(W), 1e-300), 1.0)
        W = W * (shrink if isinstance(shrink, float) else shrink[..., None, None])
        bias = clip(A[..., -1:], -self._limit, self._limit)
        return namespace(A).concat([W - W0, bias], axis=-1)

    def _hidden(self, state: State) -> Callable[[Array], Array]:
        hidden, (low, high) = self.network.hidden_at_features(self.network.features.of(state)), self.thrusts
        if low <= 0 and math.isinf(high):
            return hidden
        return lambda rotor_thrust: hidden(clip(rotor_thrust, low, high))

    def _heading(self, state: State) -> tuple[Scalar, Scalar]:
        return state.heading if self.network.features.heading_frame else (1.0, 0.0)


def largest_singular_value(W: Array) -> Scalar:
    """|W|_2 of matrices of three rows, ``(..., 3, n) -> (...)``: the largest eigenvalue of W W^T in closed form.

    Smith, "Eigenvalues of a symmetric 3 x 3 matrix", Communications of the ACM 4(4), 1961.
    """
    G = namespace(W).matmul(W, namespace(W).matrix_transpose(W))
    if G.ndim == 2:
        G = G.tolist()
        a, b, c, d, e, f = G[0][0], G[1][1], G[2][2], G[0][1], G[0][2], G[1][2]
    else:
        a, b, c, d, e, f = (G[..., i, j] for i, j in ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2)))
    mean = (a + b + c) / 3
    a, b, c = a - mean, b - mean, c - mean
    p = sqrt((a * a + b * b + c * c + 2 * (d * d + e * e + f * f)) / 6)
    determinant = a * (b * c - f * f) - d * (d * c - f * e) + e * (d * f - b * e)
    r = minimum(maximum(determinant / (2 * maximum(p * p * p, 1e-300)), -1.0), 1.0)
    angle = math.acos(r) / 3 if isinstance(r, float) else namespace(r).acos(r) / 3
    largest = math.cos(angle) if isinstance(angle, float) else namespace(angle).cos(angle)
    return sqrt(maximum(mean + 2 * p * largest, 0.0))


def _where(hold: bool | Array, a: Array, b: Array) -> Array:
    """``(..., i, j)`` a where ``hold`` ``(...)``, else b."""
    if isinstance(hold, bool | np.bool_):
        return a if hold else b
    return namespace(b).where(hold[..., None, None], a, b)
