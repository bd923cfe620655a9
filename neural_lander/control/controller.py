"""The landing controller: tracking law, scalar fixed point for the thrust, attitude law, allocation."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from neural_lander.arrays import Array, along, clip, constant, namespace
from neural_lander.components import (
    Rows,
    Scalar,
    Vector,
    choose,
    choose_rows,
    columns,
    dot,
    finite,
    minus,
    scaled,
    split,
)
from neural_lander.control.allocation import Allocation
from neural_lander.control.attitude import AttitudeGains, AttitudeLaw, desired_attitude, desired_rates
from neural_lander.control.certified import why_not_certified
from neural_lander.control.estimate import ForceEstimate
from neural_lander.control.tracking import TrackingGains, TrackingLaw
from neural_lander.errors import UserError
from neural_lander.residual.model import NoResidual, ResidualModel
from neural_lander.state import Reference, State
from neural_lander.vehicle import Vehicle

LEAST_FACTOR = 1e-6  # a model that does not see the rotor thrusts has 0, and one iteration
FIXED_POINT_TOLERANCE = 1e-4  # of the weight: a tenth of the accelerometer's noise, guess


class Wanted(NamedTuple):
    """What the controller asked for: for links that command attitude and thrust rather than rotors."""

    thrust: Scalar  # (...) N, collective, along body z
    R_d: Rows  # desired attitude, body to world: rows of components
    moment: Array  # (..., 3) N m, body
    f_a_hat: Array  # (..., 3) N, world: the residual estimate that was subtracted
    f_a_hat_at: Array  # (..., 4) N: the rotor thrusts that it was asked for


class Controller:
    """Neural-Lander with trim; with :class:`~neural_lander.residual.model.NoResidual` it is PD with trim.

    Parameters
    ----------
    vehicle : Vehicle
    residual : ResidualModel
        f_a_hat(zeta, u). The default is zero. A network must have a certificate that was checked: one out of a bundle.
    gains : TrackingGains, optional
        Default: critically damped at 3 rad/s, trim on. ``Gamma = 0`` is the law of the paper.
    attitude_gains : AttitudeGains, optional
    contraction_factor : float
        Certified bound on the contraction of the thrust iteration; it turns the last step into a bound on the
        remaining error, |T_k - T*| <= factor / (1 - factor) |T_k - T_(k-1)| (Banach).
    estimate : ForceEstimate, optional
        Of the force that f_a_hat leaves. The default is the trim, by the gains' ``Gamma``.
    iterations : int, optional
        The most passes of the thrust iteration after its first; default: so many that any start ends within the
        tolerance. A certificate knows better how far off it can start, and fewer than it counts are refused.
    uncertified : str
        Why a network flies without a certificate, for research; goes into every log.

    Raises
    ------
    UserError
        For a network without a certificate that matches it, the vehicle, factor and iterations, unless
        ``uncertified`` says why it flies all the same.
    """

    def __init__(
        self,
        vehicle: Vehicle,
        residual: ResidualModel | None = None,
        gains: TrackingGains | None = None,
        attitude_gains: AttitudeGains | None = None,
        contraction_factor: float = 0.5,
        estimate: ForceEstimate | None = None,
        iterations: int | None = None,
        uncertified: str = "",
    ) -> None:
        self.vehicle, self.uncertified = vehicle, uncertified
        self.contraction_factor = contraction_factor
        self.residual: ResidualModel = residual or NoResidual()
        self.tracking = TrackingLaw(vehicle, gains or TrackingGains.critically_damped(vehicle), estimate)
        self.attitude = AttitudeLaw(vehicle, attitude_gains)
        self.allocation = Allocation(vehicle)
        self.wanted: Wanted | None = None
        if not 0 <= contraction_factor < 1:
            raise UserError(
                f"contraction_factor = {contraction_factor!r} must lie in [0, 1): the thrust would not converge"
            )
        factor = max(contraction_factor, LEAST_FACTOR)
        start = vehicle.full_thrust  # N: it begins no further off than full thrust
        tolerance = FIXED_POINT_TOLERANCE * vehicle.weight
        if iterations is None:
            iterations = math.ceil(math.log(tolerance * (1 - factor) / start) / math.log(factor))
        self.iterations = iterations
        missing = why_not_certified(self.residual, vehicle, contraction_factor, self.iterations)
        missing = missing or why_not_certified(estimate, vehicle)
        if missing and not uncertified:
            raise UserError(
                f"the network must not fly: {missing}; take 'flying', 'flown_factor' and 'iterations' of a bundle from "
                "load_bundle, or say in uncertified='...' why it flies all the same, which goes into every log"
            )
        self._step_tolerance = tolerance * (1 - factor) / factor
        # arrays without dimension: NumPy converts a Python number at every use
        self._c_T: Array = np.asarray(vehicle.thrust_coefficient)
        self._thrust_min: Array = np.zeros(())
        self._thrust_max: Array = np.asarray(vehicle.full_rotor_thrust)
        self._direction = vehicle.thrust_direction
        self.reset()

    def reset(self, moment_trim: Array | None = None) -> None:
        """Forget the past; ``moment_trim`` in N m, body: the disturbing moment that hover above 1 m found."""
        self.tracking.reset()
        self.attitude.tau_hat = np.zeros(3) if moment_trim is None else moment_trim
        self.wanted = None
        self.rotor_thrust: Array = np.full(4, self.vehicle.weight / 4)  # (..., 4) N, as commanded last
        self.flown_thrust: Array = self.rotor_thrust
        """(..., 4) N, what the rotors were really told; set by what changes the command behind the controller."""
        self._f_a_hat: Array = np.zeros(3)

    def __call__(self, t: float, state: State, reference: Reference) -> Array:
        """Rotor speeds in rad/s, ``(..., 4)``, at time t in s. What was asked for is in :attr:`wanted`.

        NaN in what the law reads of state or reference gives speeds that are NaN, and nothing of it is remembered: the
        next whole state is flown as if it had not been. Whoever sends the speeds on has to look.
        """
        R = state.rows
        self.tracking.estimate.observe(t, state, self.flown_thrust, self._f_a_hat)
        f_a_hat = self.residual.at(state)
        f_bar_d = self.tracking(state, reference)
        f_d = minus(f_bar_d, split(constant(self._f_a_hat, state.velocity)))
        R_d = desired_attitude(f_d, reference.yaw, self.vehicle.weight)
        tau_d = self.attitude(R, split(state.body_rates), R_d, self._omega_d(f_d, R_d, reference))
        moment_part = self.allocation.moment_part(tau_d)
        thrust, estimate, asked = self._solve_thrust(f_bar_d, f_a_hat, f_d, columns(R)[2], moment_part)
        u, saturated = self.allocation(thrust, tau_d, moment_part)
        self.tracking.update(t, saturated, state.contact)
        whole = self.remember(constant(self._c_T, u) * u)
        self._f_a_hat = choose_rows(whole, estimate, self._f_a_hat)
        self.wanted = Wanted(thrust, R_d, tau_d, estimate, asked)
        return namespace(u).sqrt(u)

    def _omega_d(self, f_d: Vector, R_d: Rows, reference: Reference) -> Vector | None:
        """What the reference's jerk turns R_d by, rad/s, world; None where it has none."""
        if reference.jerk is None:
            return None
        turning = scaled(self.vehicle.mass, split(reference.jerk))
        return desired_rates(f_d, R_d, turning, reference.yaw, self.vehicle.weight)

    def remember(self, rotor_thrust: Array) -> bool | Array:
        """Keep what the rotors are told, ``(..., 4)`` N, where it is finite; and where that is, ``(...)``."""
        whole = finite(*split(rotor_thrust))
        self.rotor_thrust = self.flown_thrust = choose_rows(whole, rotor_thrust, self.rotor_thrust)
        return whole

    def _solve_thrust(
        self, f_bar_d: Vector, f_a_hat: Callable[[Array], Array], f_d: Vector, k: Vector, moment_part: Array
    ) -> tuple[Scalar, Array, Array]:
        """Fixed point of T = (f_bar_d - f_a_hat(u(T))) . k, u(T) = clip(B0^-1 (T, tau_d), 0, u_max).

        R_d and tau_d are held, so that u enters through the scalar T alone (design: a map of contraction
        factor |B0^-1 e_1| L_u); started from f_d with f_a_hat of the step before. k is the body's z axis,
        ``moment_part`` B0^-1 (0, tau_d).
        """
        moments, direction = constant(self._c_T, moment_part) * moment_part, constant(self._direction, moment_part)
        low, high = constant(self._thrust_min, moment_part), constant(self._thrust_max, moment_part)

        def improve(thrust: Scalar) -> tuple[Array, Array, Scalar, bool | Array]:
            rotor_thrust = clip(moments + along(thrust, direction), low, high)
            estimate = f_a_hat(rotor_thrust)
            better = dot(minus(f_bar_d, split(estimate)), k)
            return rotor_thrust, estimate, better, abs(better - thrust) <= self._step_tolerance

        return self._repeat(improve, dot(f_d, k))

    def _repeat(self, improve: Callable[[Scalar], tuple[Any, ...]], thrust: Scalar) -> tuple[Scalar, Array, Array]:
        """Until settled: each vehicle of a batch then keeps the thrust that its iteration has settled at.

        Once more than ``iterations``: these count from a thrust that this state's f_a_hat gave.
        """
        for _ in range(1 + self.iterations):
            rotor_thrust, estimate, better, settled = improve(thrust)
            if settled if isinstance(settled, bool) else settled.all():
                break
            thrust = choose(settled, thrust, better)
        return better, estimate, rotor_thrust
