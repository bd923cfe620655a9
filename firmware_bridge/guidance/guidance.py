"""From the state at a tick to the setpoint: flight plan, controller with a faded network, touchdown."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from firmware_bridge.guidance.flight_plan import FlightPlan
from firmware_bridge.guidance.ground_contact import GroundContact
from firmware_bridge.guidance.ground_probe import GroundProbe
from firmware_bridge.link import AttitudeSetpoint, RatesSetpoint, Setpoint
from firmware_bridge.supervisor.types import Output
from neural_lander.arrays import Array
from neural_lander.components import Rows, euler_quaternion, quaternion_rows, split, yaw_of
from neural_lander.control.adaptation import LastLayerAdaptation
from neural_lander.control.attitude import AttitudeGains, AttitudeLaw, attitude_error
from neural_lander.control.controller import Controller, Wanted
from neural_lander.control.guard import Guarded
from neural_lander.control.indi import Indi
from neural_lander.control.touchdown import TouchdownDetector
from neural_lander.control.user import UserController
from neural_lander.errors import UserError
from neural_lander.residual.model import NoResidual, ResidualModel
from neural_lander.state import Reference, State

RATE_GAIN = 6.0  # 1/s from attitude error to body rate, for links that carry rates only: PX4's default is 6.5, guess
_NO_MOMENTS = AttitudeGains(np.zeros(3), np.zeros(3))


@dataclass
class FadedResidual:
    """share * f_a_hat: a Lipschitz bound of f_a_hat holds for every share in 0..1, so that the certificate does too."""

    model: ResidualModel
    share: float = 0.0

    def at(self, state: State) -> Callable[[Array], Array]:
        """See :class:`~neural_lander.residual.model.ResidualModel`."""
        if self.share == 0.0:
            return NoResidual().at(state)
        force, share = self.model.at(state), self.share
        return lambda rotor_thrust: share * force(rotor_thrust)


@dataclass(frozen=True, eq=False)
class Step:
    """What the controller made of one tick."""

    setpoint: Setpoint
    reference: Reference  # over the ground
    f_a_hat: np.ndarray  # (3,) N, world: what was subtracted
    d_hat: np.ndarray  # (3,) N, world: the estimate beside it, the trim for one
    guard_force: np.ndarray | None  # (3,) N, world: what the guard added to the force; None without a guard
    stage: str

    @property
    def finite(self) -> bool:
        """Whether every number that goes out is one."""
        s = self.setpoint
        numbers = s.attitude.tolist() if isinstance(s, AttitudeSetpoint) else s.body_rates.tolist()
        return math.isfinite(sum(numbers) + s.thrust)


class Guidance:
    """A controller of :mod:`neural_lander.control`, guarded or not, for an autopilot that keeps the attitude itself.

    The moments are the autopilot's, so that u_i = T / 4c_T in the thrust iteration: the attitude law here has no gains.
    The controller is this object's from now on: its residual is faded by the supervisor's share.

    Raises
    ------
    UserError
        For a user's law that gives rotor speeds: there is no attitude in them that the autopilot could be told.
    """

    def __init__(
        self, controller: Controller | Guarded, plan: FlightPlan, *, rates: bool = False, name: str = ""
    ) -> None:
        law = controller.controller if isinstance(controller, Guarded) else controller
        if isinstance(law, UserController):
            raise UserError(
                f"controller '{law.name}' gives rotor speeds, and an autopilot is told attitude and thrust: write it "
                "as a force estimate (neural_lander.control.estimate) or as a Controller"
            )
        self.controller, self.plan, self.vehicle = controller, plan, law.vehicle
        self.name = name or type(law).__name__
        law.residual = self.residual = FadedResidual(law.residual)
        law.attitude = AttitudeLaw(self.vehicle, _NO_MOMENTS)
        self._law, self._estimate = law, law.tracking.estimate
        self.touchdown = TouchdownDetector()
        self.contact, self.probe = GroundContact(self.vehicle.weight), GroundProbe()
        self.rates = rates
        self._thrust_max = self.vehicle.full_thrust
        self._thrust = 0.0
        self._touching = False

    @property
    def guarded(self) -> bool:
        """Whether the guard flies along."""
        return isinstance(self.controller, Guarded)

    @property
    def network(self) -> ResidualModel | None:
        """The model of the residual in it, unfaded; None where there is none."""
        return None if isinstance(self.residual.model, NoResidual) else self.residual.model

    @property
    def misses_accelerometer(self) -> bool | None:
        """Whether the controller needs an accelerometer that was never heard; None where it needs none."""
        return not self._estimate.felt if isinstance(self._estimate, Indi) else None

    def begin(self, now: float, state: State, on_ground: bool) -> None:
        """Start the flight plan at ``state``, over the ground."""
        self.controller.reset()
        self._leave_ground()
        self.contact = GroundContact(self.vehicle.weight)
        self.plan.begin(now, state.position, yaw_of(state.rows), on_ground)

    def hold(self, now: float, state: State) -> None:
        """Stay where it is, but not in ground effect."""
        self._leave_ground()
        self.plan.hold(now, state)

    def go_around(self, now: float, state: State) -> None:
        """Climb to where the landing began, and stay."""
        self._leave_ground()
        self.plan.go_around(now, state)

    def _leave_ground(self) -> None:
        self.touchdown.reset()
        self.probe = GroundProbe()
        self._touching = False

    @property
    def grounded(self) -> bool:
        """Whether it has not lifted yet, or the ground is asked whether it carries: nothing must climb from there."""
        return self.plan.standing or self._touching or self.probe.share < 1.0

    def step(self, now: float, state: State, output: Output, share: float, landed: bool | None) -> Step:
        """Setpoint at time ``now`` in s for what the supervisor wants.

        Parameters
        ----------
        now
            Of the tick.
        state
            Position over the ground.
        output
            Idle and nothing are answered with level attitude and no thrust; the controller runs all the same, so that
            its failure shows before a flight.
        share
            Of the network.
        landed
            The autopilot's own flag.
        """
        flying = output in (Output.FOLLOW, Output.HOLD)
        self.residual.share = share
        if isinstance(self._estimate, LastLayerAdaptation):
            self._estimate.flown = share
        if flying:
            if self.plan.has_lifted(state.position):
                self.plan.lift(now, state.position)
            self._feel(now, state, landed)
            standing = self._touching or self.plan.standing  # holds the trim
            reference, state = self.plan.reference(now), replace(state, contact=standing)
        else:
            self.controller.reset()
            reference = Reference(state.position, _ZERO, _ZERO, yaw_of(state.rows))
        self.controller(now, state, reference)
        wanted = self._wanted()
        attitude = quaternion_of(wanted.R_d)
        thrust = min(max(float(wanted.thrust), 0.0), self._thrust_max)
        if flying:
            part = self.plan.thrust_share(now) * min(self.probe.share, self.touchdown.share)
            thrust = min(part * thrust, self._thrust_max)  # the take-off's surplus may want more than there is
            self.controller.flown_thrust = np.full(4, thrust / 4)
            self.contact.learn(now, float(state.height), thrust)
        elif output is not Output.STAY:
            thrust, attitude = 0.0, np.array(euler_quaternion(0.0, 0.0, yaw_of(state.rows)))
        self._thrust = thrust
        return Step(
            self._setpoint(state, attitude, thrust),
            reference,
            wanted.f_a_hat,
            self.controller.tracking.d_hat,
            self._guard_force(),
            self.plan.stage(now) if flying else "",
        )

    def _feel(self, now: float, state: State, landed: bool | None) -> None:
        """Contact and touchdown: they count only while landing, since the take-off begins on the ground."""
        landing = self.plan.stage(now) == "land"
        climb = float(state.velocity[2])
        height, upright = float(state.height), state.rows[2][2]
        self._touching = landing and self.contact(now, height, climb, self._thrust, landed)
        carried = self.probe(now, self._touching, height, climb, self._thrust)
        self.touchdown(now, carried, upright=upright)

    def _wanted(self) -> Wanted:
        """What is to be sent: where the controller gives no numbers just that, and not what a guard would fly instead.

        It is at its end then: the supervisor has to see that and hand back, rather than fly on without it.
        """
        asked, wanted = self._law.wanted, self.controller.wanted
        assert asked is not None and wanted is not None
        numbers = sum(sum(row) for row in asked.R_d) + float(asked.thrust)
        return wanted if math.isfinite(numbers) else asked

    def _guard_force(self) -> np.ndarray | None:
        if not isinstance(self.controller, Guarded):
            return None
        intervention = self.controller.intervention
        assert intervention is not None
        return np.asarray(intervention.force)

    def _setpoint(self, state: State, attitude: np.ndarray, thrust: float) -> Setpoint:
        if not self.rates:
            return AttitudeSetpoint(attitude, thrust)
        error = attitude_error(state.rows, quaternion_rows(split(attitude)))
        return RatesSetpoint(np.array([-RATE_GAIN * e for e in error]), thrust)


def quaternion_of(rows: Rows) -> np.ndarray:
    """Unit quaternion (4,) with w >= 0 of a rotation in rows of floats, by the largest divisor (Shepperd 1978)."""
    (a, b, c), (d, e, f), (g, h, i) = rows
    candidates = (
        (1.0 + a + e + i, h - f, c - g, d - b),
        (h - f, 1.0 + a - e - i, b + d, c + g),
        (c - g, b + d, 1.0 - a + e - i, f + h),
        (d - b, c + g, f + h, 1.0 - a - e + i),
    )
    q = max(enumerate(candidates), key=lambda row: row[1][row[0]])[1]
    scale = math.copysign(1.0 / math.sqrt(sum(x * x for x in q)), q[0])
    return np.array([scale * x for x in q])


_ZERO = np.zeros(3)
