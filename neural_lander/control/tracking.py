"""The tracking law of Shi et al. 2019, section III, with an estimate d_hat: from errors to the force that is wanted.

    p~ = p - p_d      v_r = p_d' - Lambda p~      s = v - v_r
    f_bar_d = m v_r' - K_v s - m g - d_hat        f_d = f_bar_d - f_a_hat(zeta, u)

PD is this law with f_a_hat = 0 and d_hat = 0: k_p = K_v Lambda, k_d = m Lambda + K_v.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from neural_lander.arrays import Array, constant
from neural_lander.components import Scalar, Vector, choose_rows, join, minimum, minus, plus, scaled, split, times
from neural_lander.control.estimate import DISTURBANCE_LIMIT, ForceEstimate
from neural_lander.control.trim import Trim
from neural_lander.errors import UserError
from neural_lander.state import Reference, State
from neural_lander.vehicle import G_VECTOR, Vehicle

LIFT_OFF = 0.01  # m that the reference must be above a standing vehicle before it is asked to lift off: more than the
# gear gives way and the sensors err; a guess
DEFAULT_NATURAL_FREQUENCY = 3.0  # rad/s, fixed before any landing was run
DEFAULT_TRIM_RATE = 1.5  # 1/s, Gamma; 1 to 2 is useful: slower waits, faster rings with the position loop


@dataclass(frozen=True, eq=False)
class TrackingGains:
    """Diagonal gains of the tracking law."""

    Lambda: np.ndarray  # (3,) 1/s
    K_v: np.ndarray  # (3,) kg/s
    Gamma: float = DEFAULT_TRIM_RATE  # 1/s
    """Rate of the trim d_hat' = Gamma K_v s; 0 switches it off."""
    trim_limit: float = DISTURBANCE_LIMIT
    """Bound on every component of d_hat as a fraction of the weight."""

    def __post_init__(self) -> None:
        for name in ("Lambda", "K_v"):
            values = getattr(self, name)
            if np.shape(values) != (3,) or not np.all(np.isfinite(values)) or not np.all(np.asarray(values) > 0):
                raise UserError(f"gain {name} = {values!r} must be three positive numbers")
        if not 0 <= self.Gamma <= 10 or not 0 <= self.trim_limit <= 1:
            raise UserError(
                f"Gamma = {self.Gamma!r} 1/s must lie in [0, 10] and trim_limit = {self.trim_limit!r} in [0, 1]"
            )

    @cached_property
    def diagonals(self) -> tuple[Vector, Vector]:
        """Lambda and K_v as components."""
        return split(self.Lambda), split(self.K_v)

    @classmethod
    def critically_damped(
        cls, vehicle: Vehicle, natural_frequency: float = DEFAULT_NATURAL_FREQUENCY, Gamma: float = DEFAULT_TRIM_RATE
    ) -> TrackingGains:
        """Lambda = omega_n, K_v = m omega_n: both poles of the translation at omega_n in rad/s."""
        if not natural_frequency > 0:
            raise UserError(f"natural_frequency = {natural_frequency!r} rad/s must be positive")
        ones = np.ones(3)
        return cls(natural_frequency * ones, vehicle.mass * natural_frequency * ones, Gamma)


class TrackingLaw:
    """f_bar_d of the tracking law.

    Parameters
    ----------
    vehicle : Vehicle
    gains : TrackingGains
    estimate : ForceEstimate, optional
        Of the force that is missing from the model. Default: the trim with the rate and limit of the gains.
    """

    def __init__(self, vehicle: Vehicle, gains: TrackingGains, estimate: ForceEstimate | None = None) -> None:
        self.gains = gains
        self.estimate: ForceEstimate = estimate or Trim(gains.Gamma * gains.K_v, gains.trim_limit * vehicle.weight)
        self._mass = vehicle.mass
        self._mg: list[float] = (vehicle.mass * G_VECTOR).tolist()
        self.s: Array = np.zeros(3)  # (..., 3) m/s
        self.patient = False
        """Whether the next update waits for :meth:`learn`: set by a guard, which may yet overrule the law."""
        self._below: Scalar = 0.0  # m, that the vehicle is below the reference
        self._due: tuple[float, bool | Array, bool | Array] | None = None

    @property
    def d_hat(self) -> Array:
        """(..., 3) N, world: what is subtracted besides f_a_hat."""
        return self.estimate.d_hat

    def reset(self, d_hat: Array | None = None) -> None:
        """Forget the estimate, or start from a known force in N."""
        self.estimate.reset(d_hat)
        self.s, self._due = np.zeros(3), None

    def __call__(self, state: State, reference: Reference) -> Vector:
        """f_bar_d in N, world, as components: everything but the learned part."""
        Lambda, K_v = self.gains.diagonals
        position_error = minus(split(state.position), split(reference.position))
        velocity_error = minus(split(state.velocity), split(reference.velocity))
        s = plus(velocity_error, times(Lambda, position_error))
        self.s = join(s)
        v_r_dot = minus(split(reference.acceleration), times(Lambda, velocity_error))
        self._below = -position_error[2]
        d_hat = split(constant(self.estimate.d_hat, state.velocity))
        return minus(minus(minus(scaled(self._mass, v_r_dot), times(K_v, s)), self._mg), d_hat)

    def update(self, t: float, hold: bool | Array, contact: bool | Array = False) -> None:
        """Let the estimate learn from s at time t in s, except in saturation (``hold``) and in ``contact``, ``(...)``.

        On the ground with the reference above it the vertical error counts all the same, where it asks for more thrust:
        so a vehicle that an unmodelled force holds down still gets off the ground.
        """
        self._due = t, hold, contact
        if not self.patient:
            self.learn()

    def learn(self, overruled: bool | Array = False) -> None:
        """The update that is due, if one is; held where the law was ``overruled``, ``(...)``."""
        self.patient = False
        if self._due is None:
            return
        (t, hold, contact), self._due = self._due, None
        s = self.s
        if contact is not False:
            hold = hold | (contact & (self._below < LIFT_OFF))
            x, _, z = split(s)
            s = choose_rows(contact, join([0.0 * x, 0.0 * x, minimum(z, 0.0 * z)]), s)
        self.estimate.update(t, s, hold | overruled)
