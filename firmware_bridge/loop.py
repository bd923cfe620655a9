"""One tick: poll the link, bring the state to now, let the supervisor decide, control, send, record.

The loop is its own dead-man: a setpoint is made anew from a fresh state in every tick, or there is none. Nothing
repeats an old one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from firmware_bridge import account
from firmware_bridge.bounds import Bounds
from firmware_bridge.estimation.estimator import Estimate
from firmware_bridge.estimation.height import HeightSource
from firmware_bridge.guidance.guidance import Guidance, Step
from firmware_bridge.guidance.obedience import Obedience
from firmware_bridge.heard import Heard, View
from firmware_bridge.kept_link import KeptLink, failure
from firmware_bridge.link import AttitudeReport, CheckResult, Link, PositionReport, Report
from firmware_bridge.recording.tick_record import MEASURED, TickRecord
from firmware_bridge.supervisor.decide import decide
from firmware_bridge.supervisor.limits import Limits, Permission
from firmware_bridge.supervisor.types import IN_CONTROL, Decision, Memory, Output, Phase, Situation
from neural_lander.components import dot
from neural_lander.residual.model import NoResidual
from neural_lander.state import State

JUST_NOW = 5e-4  # s since the link was listened to, within which a tick does not do so again: it costs 0.05 ms
GROUND_HEIGHT = 0.1  # m of gear height below which a vehicle that is armed is taken to stand, guess


class FlightLoop:
    """All that has a memory, between a link and a recorder. Times are seconds of the clock that ``tick`` is called by.

    Parameters
    ----------
    link : Link
    guidance : Guidance
    height : HeightSource, optional
        Without one there is no height above the ground, and no flight.
    permission, limits, bounds
        Of the supervisor.
    dry_run : bool
        Everything but sending: neither setpoints nor requests.
    checks_passed : bool
        Verdict of the pre-flight checks; may be set later.
    record : callable, optional
        Takes each :class:`TickRecord`; must not block.
    domain_score : callable, optional
        0 inside the residual's data, 1 at their edge, more outside.
    reopen : callable, optional
        Opens the link anew after it was lost; raises LinkLost where it cannot.
    clock : callable, optional
        Seconds now: read again before a setpoint goes out, since the tick itself may have been held up. Without one a
        tick takes no time.
    """

    def __init__(
        self,
        link: Link,
        guidance: Guidance,
        height: HeightSource | None,
        *,
        permission: Permission | None = None,
        limits: Limits | None = None,
        bounds: Bounds | None = None,
        dry_run: bool = False,
        checks_passed: bool = True,
        record: Callable[[TickRecord], None] | None = None,
        domain_score: Callable[[State], float] | None = None,
        reopen: Callable[[], Link] | None = None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._problems: list[str] = []
        self.guidance, self._kept = guidance, KeptLink(link, self._problems, reopen)
        self.permission, self.limits, self.bounds = permission or Permission(), limits or Limits(), bounds or Bounds()
        self.dry_run, self.checks_passed = dry_run, checks_passed
        self.heard, self.memory = Heard(guidance.vehicle, height), Memory()
        self._record, self._score, self._clock = record, domain_score, clock
        self._controller_alive, self._outdated = True, False
        self._obedience = Obedience()
        self._home: np.ndarray | None = None
        self._pending: list[Report] = []
        self._listened = -math.inf  # s, when a state was heard that no tick has answered yet
        self._start: Callable[[float, State], None] | None = None

    @property
    def link(self) -> Link | None:
        """None while the port is gone."""
        return self._kept.link

    def link_quality(self) -> tuple[str, str]:
        """How well the autopilot is heard, in words for the display."""
        return self._kept.quality()

    def preflight(self) -> Sequence[CheckResult]:
        """What the link finds of the autopilot's parameters; nothing while the port is gone."""
        return self._kept.preflight()

    def tick(self, now: float, lateness: float = 0.0, abort: bool = False, stop: bool = False) -> TickRecord:
        """One tick at time ``now`` in s; ``abort`` is the key, ``stop`` the user's wish to end."""
        heard = self.heard
        if now - self._listened > JUST_NOW:
            self._pending += self._poll(now)
        self._problems += heard.take(self._pending, now)
        self._pending, self._listened = [], -math.inf
        view = heard.view(now)
        situation = self._situation(view, lateness, abort, stop)
        before = self.memory
        decision = decide(self.limits, self.permission, self.memory, situation)
        self.memory = decision.memory
        self._note_start(decision, before.phase)
        step = self._control(now, view.state, decision)
        sent = self._send_young(step if decision.output is not Output.NOTHING else None, view, before.fresh)
        if not self.dry_run:
            self._kept.request(decision, now)
        ours = account.is_ours(decision) and not self.dry_run
        self._feel(view, sent if ours and decision.phase in IN_CONTROL else None)
        thrust = sent.setpoint.thrust if sent and ours else None
        rotor_speed, source = account.rotor_speed(heard, now, thrust)
        model = self.guidance.residual.model if self._controller_alive else NoResidual()
        predicted, failed = account.predict(model, view.state, rotor_speed, heard.vehicle)
        self._problems += [failed] if failed else []
        status, flown = heard.status, None if self.dry_run else sent
        record = TickRecord(
            t=now,
            lateness=lateness,
            decision=decision,
            estimate=view.estimate,
            ground=view.ground,
            height=None if view.state is None else float(view.state.height),
            height_age=view.height_age,
            setpoint=sent.setpoint if sent else None,
            reference=sent.reference if sent else None,
            stage=step.stage if step else "",
            f_a_applied=flown.f_a_hat if flown else _ZERO,
            f_a_predicted=predicted,
            d_hat=step.d_hat if step else _ZERO,
            guard_force=(flown.guard_force if flown else _ZERO) if self.guidance.guarded else None,
            rotor_speed=rotor_speed,
            rotor_speed_source=source,
            rotor_speed_age=now - heard.rotors.t if source == MEASURED and heard.rotors else 0.0,
            domain_score=situation.domain_score,
            battery_voltage=heard.battery.voltage if heard.battery else None,
            mode=status.mode if status else "",
            armed=bool(status and status.armed),
            in_control=account.in_control(status, ours),
            problems=tuple(self._problems),
            messages=tuple(heard.messages),
        )
        self._problems.clear()
        if self._record is not None:
            self._record(record)
        return record

    def listen(self, now: float) -> bool:
        """Whether a new state has come since the last tick, by time ``now`` in s; see :func:`realtime.run`."""
        self._pending += self._poll(now)
        kinds = {type(report) for report in self._pending}
        came = AttitudeReport in kinds and (PositionReport in kinds or not self.heard.estimator.has_position)
        self._listened = now if came else -math.inf
        return came

    def close(self) -> None:
        """Release the port."""
        self._kept.close()

    def _poll(self, now: float) -> Sequence[Report]:
        reports = self._kept.poll(now)
        if self._kept.came_back:
            self._kept.came_back = False
            self._pending.clear()
            self.heard.status = None  # what answers on the port that is back may be in another mode
        return reports

    def _situation(self, view: View, lateness: float, abort: bool, stop: bool) -> Situation:
        controlled, state, estimate = self.memory.phase in IN_CONTROL, view.state, view.estimate
        lost = estimate is None or (controlled and state is None)  # without the ground there is nothing to fly over
        lost |= self._outdated and view.now - self.memory.fresh > self.limits.stale_time
        airborne = self.heard.landed is False
        home = self._home if controlled else None
        outside, leaving = (0.0, 0.0) if state is None else self.bounds.volume.outside(home, state)
        return Situation(
            now=view.now,
            connected=self.link is not None,
            restarted=view.restarted,
            status=self.heard.status,
            position_age=math.inf if lost or estimate is None else estimate.position_age_at_most,
            attitude_age=math.inf if estimate is None else estimate.attitude_age_at_most,
            height_age=view.height_age,
            on_ground=state is not None and float(state.height) < GROUND_HEIGHT and not airborne,
            grounded=controlled and self._grounded(view.now, state),
            domain_score=self._domain(state),
            tilt=_tilt(estimate),
            conflict=0.0 if estimate is None else estimate.conflict,
            descent_speed=0.0 if estimate is None else -float(estimate.velocity[2]),
            outside=outside,
            leaving=leaving,
            jumped=estimate is not None and estimate.jumped,
            battery_low=self.bounds.battery_low(self.heard.battery, view.now),
            lateness=lateness,
            abort=abort,
            stop=stop,
            checks_passed=self.checks_passed,
            controller_alive=self._controller_alive,
            disobedience=self._obedience.mismatch,
            touchdown=self.guidance.touchdown.landed,
            pilot_disarms=self.link is not None and not self.link.capabilities.arming,
            overdue=self.guidance.plan.overdue(view.now),
            stuck=controlled and self.guidance.plan.stuck(view.now),
        )

    def _grounded(self, now: float, state: State | None) -> bool:
        """Whether nothing must climb; also where the landing is overdue low above the ground: the autopilot ends it."""
        low = state is not None and float(state.height) < GROUND_HEIGHT
        return self._start == self._begin or self.guidance.grounded or (low and self.guidance.plan.overdue(now))

    def _domain(self, state: State | None) -> float:
        if state is None or self._score is None:
            return 0.0
        try:
            return float(self._score(state))
        except Exception as error:  # noqa: BLE001 - it may come from outside, and must not stop the loop
            self._problems.append(failure("the domain score", error))
            return math.nan

    def _feel(self, view: View, sent: Step | None) -> None:
        """Compare the thrust that was sent with the one that is felt, in the air."""
        force = None if view.estimate is None else view.estimate.specific_force
        if sent is None or force is None or view.state is None or not view.state.height >= GROUND_HEIGHT:
            self._obedience.reset()
            return
        z = [row[2] for row in view.state.rows]
        expected = sent.setpoint.thrust + dot(z, (sent.f_a_hat + sent.d_hat).tolist())
        self._obedience(view.now, dot(z, force.tolist()), expected / self.guidance.vehicle.mass)

    def _note_start(self, decision: Decision, before: Phase) -> None:
        """Which part of the plan has to begin at the next state that there is: a jump may leave none in this tick."""
        if decision.phase is Phase.TRACKING and before is Phase.ARMED:
            self._start = self._begin
        elif decision.entered and decision.phase is Phase.HOLDING:
            self._start = self._go_around if decision.go_around else self._hold

    def _begin(self, now: float, state: State) -> None:
        self._home = state.position
        self.guidance.begin(now, state, bool(state.height < GROUND_HEIGHT) and self.heard.landed is not False)

    def _hold(self, now: float, state: State) -> None:
        self.guidance.hold(now, state)

    def _go_around(self, now: float, state: State) -> None:
        self.guidance.go_around(now, state)

    def _control(self, now: float, state: State | None, decision: Decision) -> Step | None:
        """The controller's step, or None where it failed: then nothing goes out, and the supervisor hands back."""
        if state is None or (decision.output is Output.NOTHING and not self._controller_alive):
            return None  # one that has failed is not asked again: it may hang
        try:
            if self._start is not None:
                self._start(now, state)
                self._start = None
            step = self.guidance.step(now, state, decision.output, decision.network_share, self.heard.landed)
        except Exception as error:  # noqa: BLE001 - whatever fails in there, the loop must live to hand back
            self._controller_alive = False
            self._problems.append(failure("the controller", error))
            return None
        self._controller_alive = step.finite
        if not step.finite:
            self._problems.append("the controller gave a setpoint that is not finite; nothing was sent")
            return None
        return step

    def _send_young(self, step: Step | None, view: View, fresh: float) -> Step | None:
        """The step if its setpoint went out: not where the state has grown too old while the tick worked.

        The newest fresh state is then still that of ``fresh`` in s, so that the supervisor hands back if this goes on.
        """
        self._outdated = False
        if step is None:
            return None
        now = view.now if self._clock is None else max(self._clock(), view.now)
        estimate = view.estimate
        ages = (0.0,) if estimate is None else (estimate.position_age_at_most, estimate.attitude_age_at_most)
        if now > view.now and not max(ages) + now - view.now <= self.limits.state_age:
            self._problems.append("the state grew too old while the tick worked; nothing was sent")
            self._outdated, self.memory = True, replace(self.memory, fresh=fresh)
            return None
        return step if self._send(step, now) else None

    def _send(self, step: Step, now: float) -> bool:
        """Whether the setpoint went out, or would have in a dry run; not where the line had no room for it."""
        if self.dry_run:
            return True
        sent = self._kept.send(step.setpoint, now)
        self._controller_alive &= not self._kept.refused
        return sent


def _tilt(estimate: Estimate | None) -> float:
    if estimate is None:
        return 0.0
    _, x, y, _ = estimate.attitude.tolist()
    return math.acos(max(1.0 - 2.0 * (x * x + y * y), -1.0))


_ZERO = np.zeros(3)
