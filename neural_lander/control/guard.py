"""Safety around any controller: how fast it may sink at its height, how far it may tilt, what its rotors can give.

The safe set is b(h, v) = v_z + v_max(h) >= 0; v_max(h) = sqrt(v_0^2 + 2 a h) is the speed from which constant braking
at a arrives at the ground with v_0. It stays so where the vertical acceleration keeps the barrier condition (Ames et
al., "Control Barrier Functions: Theory and Applications", ECC 2019)

    b' >= -gamma b,  that is  v_z' >= -gamma b - v_max'(h) v_z,

which is a lower bound on the vertical force f_z = m (g + v_z') - f_a,z - d_z, with what the controller itself believes
of f_a and d. With a cone for the tilt, narrower near the ground, and what the rotors can give, the force is

    min |f - f_d|^2   such that   low <= f_z <= high,   |f_xy| <= tan(tilt(h)) f_z,

a projection on a truncated cone, solved in closed form in its meridian plane. While f_d is inside, nothing is touched:
what the controller commands passes bit for bit.

The ground is taken to rest: no state holds its velocity. On a deck that comes up at v_d the vehicle may meet it faster
by v_d than v_0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from neural_lander.arrays import Array, constant, namespace
from neural_lander.components import (
    Scalar,
    Vector,
    choose,
    dot,
    finite,
    join,
    logical_not,
    maximum,
    minimum,
    split,
    sqrt,
)
from neural_lander.control.attitude import MAX_TILT, desired_attitude
from neural_lander.control.controller import Controller, Wanted
from neural_lander.errors import UserError
from neural_lander.state import Reference, State
from neural_lander.vehicle import GRAVITY

LEAST_UPRIGHT = 0.3  # least cosine of the tilt to divide thrust by: beyond it more thrust mostly pushes sideways
TOUCHED = 1e-9  # of the weight: a change of the force below it is rounding


@dataclass(frozen=True)
class Limits:
    """What is safe. Choices, not measurements: they leave the landing of the tables (0.3 m/s) untouched."""

    touch_speed: float = 0.5  # m/s, v_0: a drop from 13 mm
    brake: float = 2.0  # m/s^2, a: a fifth of g, which a thrust 15 % too low still has
    gamma: float = 10.0  # 1/s: a third of the motors' bandwidth at 30 ms
    tilt: float = MAX_TILT  # rad, from ``tilt_height`` up
    tilt_low: float = math.radians(15.0)  # rad, at the ground: the outer rotors stay above the gear
    tilt_height: float = 0.3  # m
    reserve: float = 0.1  # of the largest thrust, left to the moments

    def __post_init__(self) -> None:
        for name in ("touch_speed", "brake", "gamma", "tilt", "tilt_low", "tilt_height"):
            if not 0 < getattr(self, name) < math.inf:
                raise UserError(f"guard: {name} = {getattr(self, name)!r} must be a positive number")
        if not self.tilt_low <= self.tilt < math.pi / 2 or not 0 <= self.reserve < 1:
            raise UserError(
                f"guard: tilt_low = {self.tilt_low!r} must not exceed tilt = {self.tilt!r} < pi/2 rad, and reserve = "
                f"{self.reserve!r} must lie in [0, 1)"
            )

    def sink_speed(self, height: Scalar) -> Scalar:
        """v_max in m/s at a height in m."""
        return sqrt(self.touch_speed**2 + 2 * self.brake * maximum(height, 0.0))

    def least_acceleration(self, height: Scalar, climb: Scalar) -> Scalar:
        """Least vertical acceleration in m/s^2 that keeps the barrier condition, at a vertical velocity in m/s."""
        v_max = self.sink_speed(height)
        slope = choose(height > 0.0, self.brake / v_max, 0.0 * v_max)
        return -self.gamma * (climb + v_max) - slope * climb

    def steepest(self, height: Scalar) -> Scalar:
        """Tangent of the largest tilt at a height in m."""
        share = minimum(maximum(height / self.tilt_height, 0.0), 1.0)
        return math.tan(self.tilt_low) + share * (math.tan(self.tilt) - math.tan(self.tilt_low))


def nearest_force(force: Vector, low: Scalar, high: Scalar, slope: Scalar) -> Vector:
    """The force nearest to a wanted one with low <= f_z <= high and |f_xy| <= slope f_z; 0 <= low <= high, N."""
    x, y, z = force
    side = sqrt(x * x + y * y)
    level = _between(z, low, high)
    edge = _between((z + slope * side) / (1.0 + slope * slope), low, high)  # along the cone's line
    inside = side <= slope * level
    z = choose(inside, level, edge)
    shrink = choose(inside, 1.0 + 0.0 * side, slope * edge / choose(inside, 1.0 + 0.0 * side, side))
    return x * shrink, y * shrink, z


def _between(x: Scalar, low: Scalar, high: Scalar) -> Scalar:
    return choose(x < low, low, choose(x > high, high, x))


@dataclass(frozen=True, eq=False)
class Intervention:
    """What the guard did at one step, for logs."""

    force: Array  # (..., 3) N, world
    """Added to the force that the controller asked for; 0 where it was let pass."""
    active: bool | Array  # (...)
    barrier: Scalar  # (...) m/s
    """b: how much faster it might sink; negative outside of the safe set."""
    saturated: bool | Array  # (...)
    """Where the rotors cannot give what the barrier asks for."""
    network_share: Scalar = field(default=1.0)  # (...)
    """What the domain leaves of the network here."""


class Guarded:
    """A controller within limits; everything it does not have itself is the controller's.

    The network's own domain fades it out (``residual.domain``); the guard reports its share. A force that is not finite
    is replaced by the weight, upright. While the guard acts no estimate learns from the tracking error: it is told of
    the step afterwards, as of one to be held. One that compares what is felt with what the rotors were told, INDI or
    L1, is told of the guard's thrust and has nothing to be held from.
    """

    def __init__(self, controller: Controller, limits: Limits | None = None) -> None:
        self.controller, self.limits = controller, limits or Limits()
        vehicle = controller.vehicle
        self._c_T = vehicle.thrust_coefficient
        self._thrust_max = (1.0 - self.limits.reserve) * vehicle.full_thrust
        self.intervention: Intervention | None = None
        self.wanted: Wanted | None = None

    def __getattr__(self, name: str) -> Any:
        if name == "controller":  # not there yet: while it is unpickled
            raise AttributeError(name)
        return getattr(self.controller, name)

    @property
    def flown_thrust(self) -> Array:
        """(..., 4) N: what the rotors were really told."""
        return self.controller.flown_thrust

    @flown_thrust.setter
    def flown_thrust(self, rotor_thrust: Array) -> None:
        self.controller.flown_thrust = rotor_thrust

    def reset(self, moment_trim: Array | None = None) -> None:
        """See :meth:`Controller.reset <neural_lander.control.controller.Controller.reset>`."""
        self.controller.reset(moment_trim)
        self.intervention = self.wanted = None

    def __call__(self, t: float, state: State, reference: Reference) -> Array:
        """Rotor speeds in rad/s, ``(..., 4)``, at time t in s."""
        tracking = self.controller.tracking
        d_before, tracking.patient = tracking.d_hat, True
        speeds = self.controller(t, state, reference)
        wanted = self.wanted = self.controller.wanted
        assert wanted is not None
        asked, whole = self._force(wanted, state)
        low, infeasible = self._least_lift(wanted, state, d_before)
        safe = nearest_force(asked, low, self._thrust_max + 0.0 * low, self.limits.steepest(_height(state)))
        touched = TOUCHED * self.controller.vehicle.weight
        changed = _differ(safe, asked, touched) | logical_not(whole)
        thrust = self._thrust(wanted, state, changed, safe, low)
        active = (abs(thrust - _scalar(wanted.thrust)) > touched) | changed
        self._report(state, asked, safe, active, infeasible)
        tracking.learn(active)
        if not (active if isinstance(active, bool) else bool(active.any())):
            return speeds
        return self._act(state, reference, speeds, wanted, safe, thrust, active)

    def _force(self, wanted: Wanted, state: State) -> tuple[Vector, bool | Array]:
        """f_d in N, world, by T = f_d . k and the desired direction, and whether all that is wanted is finite."""
        direction, k = [row[2] for row in wanted.R_d], [row[2] for row in state.rows]
        T = _scalar(wanted.thrust)
        along = T / maximum(dot(direction, k), LEAST_UPRIGHT)
        whole = finite(T, *direction, *split(wanted.moment))
        weight = self.controller.vehicle.weight
        x, y, z = (choose(whole & (T > 0.0), along * d, 0.0 * k[2]) for d in direction)
        return (x, y, choose(whole, choose(T > 0.0, z, T), weight + 0.0 * k[2])), whole

    def _least_lift(self, wanted: Wanted, state: State, d_hat: Array) -> tuple[Scalar, bool | Array]:
        """Lower bound on f_z in N, and where it exceeds what the rotors give."""
        climb = split(state.velocity)[2]
        vehicle = self.controller.vehicle
        believed = split(wanted.f_a_hat)[2] + split(constant(d_hat, state.velocity))[2]
        believed = choose(finite(believed), believed, 0.0 * climb)
        low = vehicle.mass * (GRAVITY + self.limits.least_acceleration(_height(state), climb)) - believed
        low = maximum(low, 0.0)
        return minimum(low, self._thrust_max), low > self._thrust_max

    def _thrust(self, wanted: Wanted, state: State, changed: bool | Array, safe: Vector, low: Scalar) -> Scalar:
        """T = f . k, and enough that its vertical part keeps the barrier while the attitude is on its way."""
        k = [row[2] for row in state.rows]
        T, upright = _scalar(wanted.thrust), maximum(k[2], LEAST_UPRIGHT)
        T = choose(changed, dot(safe, k), T)
        short = (T * k[2] < low) & (k[2] > 0.0)
        return choose(short, minimum(low / upright, self._thrust_max), T)

    def _act(
        self,
        state: State,
        reference: Reference,
        speeds: Array,
        wanted: Wanted,
        safe: Vector,
        thrust: Scalar,
        active: bool | Array,
    ) -> Array:
        inner = self.controller
        R_d = desired_attitude(safe, reference.yaw, inner.vehicle.weight)
        moment = inner.attitude(state.rows, split(state.body_rates), R_d)
        u, _ = inner.allocation(_array(thrust, moment), moment)
        chosen = namespace(u).sqrt(u)
        if not isinstance(active, bool):
            chosen = namespace(u).where(active[..., None], chosen, speeds)
            u = chosen * chosen
        inner.remember(self._c_T * u)
        self.wanted = Wanted(_array(thrust, moment), R_d, moment, wanted.f_a_hat, wanted.f_a_hat_at)
        return chosen

    def _report(
        self, state: State, asked: Vector, safe: Vector, active: bool | Array, infeasible: bool | Array
    ) -> None:
        barrier = split(state.velocity)[2] + self.limits.sink_speed(_height(state))
        domain = getattr(self.controller.residual, "domain", None)
        share = 1.0 if domain is None else domain.share(domain.score(state))
        change = join([choose(active, s - a, 0.0 * a) for s, a in zip(safe, asked, strict=True)])
        self.intervention = Intervention(change, active, barrier, infeasible, share)


def _height(state: State) -> Scalar:
    return float(state.height) if state.velocity.ndim == 1 else state.height


def _scalar(x: Array) -> Scalar:
    return float(x) if isinstance(x, np.floating) else x


def _array(x: Scalar, like: Array) -> Array:
    return np.float64(x) if isinstance(x, float) and like.ndim == 1 else x


def _differ(a: Vector, b: Vector, least: float) -> bool | Array:
    return (abs(a[0] - b[0]) > least) | (abs(a[1] - b[1]) > least) | (abs(a[2] - b[2]) > least)
