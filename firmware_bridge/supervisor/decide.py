"""Who flies, and what is sent: a written state machine, pure, asked once per tick.

====================  ====================  ============================================================================
from                  to                    when
====================  ====================  ============================================================================
any                   disconnected, locked  the port is gone or no status has come for ``status_age``
any but disconnected  observing, locked     the autopilot booted anew
disconnected          observing             status comes in
observing, locked     landed, locked        disarmed after our touchdown, by the autopilot's land mode
observing             observing, locked     the mode that was granted while ready is gone: the pilot, or a failsafe
observing             ready                 not locked, more than observing is allowed, no obstacle, disarmed
observing             armed                 the same, but the pilot flies in a mode of his own
ready, armed          observing, locked     aborted or stopped by the user
ready                 observing, locked     the mode that was granted is gone: the pilot, or a failsafe
armed                 observing, locked     disarmed before the take-off
ready, armed          observing             an obstacle (see ``reasons``); locked if the controller failed while armed
ready                 armed                 the status says armed
armed                 tracking              the autopilot follows setpoints
in control            landed                disarmed after touchdown, or where the autopilot says landed
in control            observing, locked     disarmed in the air; the mode was left: the pilot, or a failsafe
in control            handing back          stopped by the user; controller failed; no fresh state for ``stale_time``;
                                            tilt; pose and autopilot differ in attitude; battery; a fault that the
                                            autopilot reports; stuck on the ground; thrust felt that was not sent;
                                            a tick later than ``worst_lateness``
in control            landed                touchdown
in control            handing back          outside of the flight volume by ``outside``, or leaving it at ``leaving``
holding               handing back          the abort key, or ``hold_time`` is over
tracking, fading      handing back          the abort key, or what holding is for in the air, on the ground
tracking, fading      holding, going round  the abort key
tracking, fading      holding               outside of the flight volume; descent too fast; estimator jump; overdue; no
                                            height for ``height_hold``
tracking              fading                residual out of its domain; height stale or none;
                                            a tick later than ``lateness``
fading                tracking              nothing of that for ``recovery_time``
handing back          landed, locked        disarmed after our touchdown
handing back          observing, locked     disarmed, or the autopilot has left the mode
landed                landed, locked        disarmed
landed                observing, locked     armed again; the mode was left while armed
landed                handing back          not disarmed after ``disarm_time``, unless only the pilot's switch disarms
====================  ====================  ============================================================================

A certificate is no reason here: it is about weights, vehicle and factor, which no flight changes. Without a valid one
a network is not even built into a controller (``control.certified``); pre-flight looks once more at what will fly, and
nothing begins where that fails; ``--uncertified`` flies by the user's word, which stands on the screen and in the log.

*In control* is tracking, fading and holding; in fading the plan is flown on by the controller without the network,
which needs no domain. *On the ground* is before the lift-off, and while the ground is asked at the landing whether it
carries, and low above it where the landing is overdue: nothing climbs from there, since nobody who aborts wants what
stands to take off. *Locked* lasts until the program is started again: nothing is asked for and nothing is sent, so that
after a reconnect, a restart or a pilot's takeover nothing re-arms or takes control by itself. The rows of a phase are
tried from top to bottom, and the first that applies wins.

Whatever the phase, nothing is sent from a state older than ``state_age`` or without a living controller. The mode and
arming are asked for only in *ready*, only with the user's permission, and only as long as the vehicle has not been
armed once. In the air it is the pilot's switch alone that gives control.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from firmware_bridge.link import StatusReport
from firmware_bridge.supervisor import reasons
from firmware_bridge.supervisor.limits import Limits, Permission
from firmware_bridge.supervisor.types import IN_CONTROL, Decision, Memory, Output, Phase, Situation


@dataclass(frozen=True)
class _Move:
    """To another phase, and why; a lock where ``lock``."""

    to: Phase
    reason: str
    lock: bool = False
    go_around: bool = False


def decide(limits: Limits, permission: Permission, memory: Memory, s: Situation) -> Decision:
    """One tick: from what was and what is to what is done. Pure."""
    fresh = _is_fresh(limits, s)
    concern = reasons.concern(limits, s)
    memory = replace(
        memory,
        fresh=s.now if fresh else memory.fresh,
        calm=s.now if concern else memory.calm,
        granted=memory.granted or (memory.phase is Phase.READY and s.status is not None and s.status.accepts_setpoints),
        was_armed=memory.was_armed or (s.status is not None and s.status.armed),
    )
    move = _move(limits, permission, memory, s, concern)
    if move is not None:
        locked = memory.locked or (move.reason if move.lock else "")
        locked = move.reason if move.to is Phase.LANDED and move.lock else locked
        touched = memory.touched_down or move.to is Phase.LANDED
        memory = replace(memory, phase=move.to, since=s.now, locked=locked, asked=float("-inf"), requests=0)
        memory = replace(memory, touched_down=touched)
    share = _share(limits, memory, s, concern)
    memory = replace(memory, share=share, updated=s.now)
    output = _output(memory, s) if fresh and s.controller_alive else Output.NOTHING
    reason = move.reason if move else ""
    if memory.phase is Phase.OBSERVING and not reason:
        reason = memory.locked or reasons.obstacle(limits, memory, s) or reasons.already_flying(s)
    memory, request = _request(limits, permission, memory, s)
    return Decision(
        memory,
        output,
        share,
        take_control=request == "take control",
        arm=request == "arm",
        hand_back=request == "hand back",
        disarm=request == "disarm",
        go_around=move is not None and move.go_around,
        entered=move is not None,
        reason=reason,
    )


def _is_fresh(limits: Limits, s: Situation) -> bool:
    young = s.position_age <= limits.state_age and s.attitude_age <= limits.state_age
    return _heard(limits, s) and not s.restarted and young


def _heard(limits: Limits, s: Situation) -> bool:
    return s.connected and s.status is not None and s.now - s.status.received <= limits.status_age


def _move(limits: Limits, permission: Permission, memory: Memory, s: Situation, concern: str) -> _Move | None:
    """The transition that applies, or None."""
    phase, status = memory.phase, s.status
    if not _heard(limits, s) or status is None:
        if phase is Phase.DISCONNECTED:
            return None
        why = "the port is gone" if not s.connected else f"no status for {limits.status_age:g} s"
        return _Move(Phase.DISCONNECTED, why, lock=True)
    if s.restarted and phase is not Phase.DISCONNECTED:
        return _Move(Phase.OBSERVING, "the autopilot booted anew", lock=True)
    if phase is Phase.DISCONNECTED:
        return _Move(Phase.OBSERVING, f"connected, mode {status.mode}")
    if phase is Phase.OBSERVING:
        return _from_observing(limits, permission, memory, s, status)
    if phase in (Phase.READY, Phase.ARMED):
        return _before_flight(limits, memory, s, status)
    if phase in IN_CONTROL:
        return _in_control(limits, memory, s, status, concern)
    if phase is Phase.HANDING_BACK:
        if not status.armed and memory.touched_down:
            return _Move(Phase.LANDED, "landed and disarmed", lock=True)
        if not status.armed:
            return _Move(Phase.OBSERVING, "handed back and disarmed", lock=True)
        if not status.accepts_setpoints:
            return _Move(Phase.OBSERVING, f"handed back, mode {status.mode}", lock=True)
        return None
    return _from_landed(limits, memory, s, status)


def _from_observing(
    limits: Limits, permission: Permission, memory: Memory, s: Situation, status: StatusReport
) -> _Move | None:
    if memory.locked and memory.touched_down and not status.armed:
        return _Move(Phase.LANDED, "landed and disarmed", lock=True)
    if memory.locked or permission.observe:
        return None
    if _mode_withdrawn(memory, status):
        return _Move(Phase.OBSERVING, _left(status), lock=True)
    if reasons.obstacle(limits, memory, s) or reasons.already_flying(s):
        return None
    if status.armed:
        return _Move(Phase.ARMED, f"the pilot flies in {status.mode}")
    return _Move(Phase.READY, "all checks passed")


def _mode_withdrawn(memory: Memory, status: StatusReport) -> bool:
    return memory.granted and not status.accepts_setpoints


def _left(status: StatusReport) -> str:
    """Who has left our mode, in words."""
    if status.failsafe is None:
        return f"the autopilot left our mode: {status.mode}" + (f", {status.fault}" if status.fault else "")
    who = "the autopilot's failsafe" if status.failsafe else "the pilot"
    return f"{who} took over: {status.mode}"


def _before_flight(limits: Limits, memory: Memory, s: Situation, status: StatusReport) -> _Move | None:
    armed = memory.phase is Phase.ARMED
    if s.abort:
        return _Move(Phase.OBSERVING, "aborted by the user before setpoints were followed", lock=True)
    if s.stop:
        return _Move(Phase.OBSERVING, "the program ends before setpoints were followed", lock=True)
    if armed and not status.armed:
        return _Move(Phase.OBSERVING, "disarmed before the take-off", lock=True)
    if not armed and _mode_withdrawn(memory, status):
        return _Move(Phase.OBSERVING, _left(status), lock=True)
    obstacle = reasons.obstacle(limits, memory, s)
    if obstacle:  # while armed a failing controller is not tried again: it would fail in every tick
        return _Move(Phase.OBSERVING, obstacle, lock=armed and not s.controller_alive)
    if not armed:
        return _Move(Phase.ARMED, "armed") if status.armed else None
    return _Move(Phase.TRACKING, f"setpoints are followed, mode {status.mode}") if status.accepts_setpoints else None


def _in_control(limits: Limits, memory: Memory, s: Situation, status: StatusReport, concern: str) -> _Move | None:
    phase = memory.phase
    if not status.armed:
        if s.touchdown or status.landed:
            return _Move(Phase.LANDED, "the autopilot has landed and disarmed")
        return _Move(Phase.OBSERVING, "disarmed in the air, not by us", lock=True)
    if not status.accepts_setpoints:
        return _Move(Phase.OBSERVING, _left(status), lock=True)
    failure = reasons.failure(limits, memory, s)
    if failure:
        return _Move(Phase.HANDING_BACK, failure)
    if s.touchdown:
        return _Move(Phase.LANDED, "touchdown, disarm with your switch" if s.pilot_disarms else "touchdown")
    escape = reasons.escape(limits, s)
    if escape:
        return _Move(Phase.HANDING_BACK, f"{escape}: on the ground" if s.grounded else escape)
    if phase is Phase.HOLDING:
        if s.abort:
            return _Move(Phase.HANDING_BACK, "aborted again")
        over = s.now - memory.since > limits.hold_time
        return _Move(Phase.HANDING_BACK, f"held for {limits.hold_time:g} s") if over else None
    breach = reasons.breach(limits, s)
    if s.grounded and (s.abort or breach):
        return _Move(Phase.HANDING_BACK, f"{'aborted' if s.abort else breach}: on the ground")
    if s.abort:
        return _Move(Phase.HOLDING, "aborted: going around", go_around=True)
    if breach:
        return _Move(Phase.HOLDING, breach)
    if phase is Phase.TRACKING:
        return _Move(Phase.FADING, concern) if concern else None
    calm = not concern and s.now - memory.calm > limits.recovery_time
    return _Move(Phase.TRACKING, "the reason to fade is gone") if calm else None


def _from_landed(limits: Limits, memory: Memory, s: Situation, status: StatusReport) -> _Move | None:
    if not status.armed:
        return None if memory.locked else _Move(Phase.LANDED, "landed and disarmed", lock=True)
    if memory.locked:
        return _Move(Phase.OBSERVING, "armed again after the landing, not by us", lock=True)
    if not status.accepts_setpoints:
        return _Move(Phase.OBSERVING, _left(status), lock=True)
    if not s.pilot_disarms and s.now - memory.since > limits.disarm_time:
        return _Move(Phase.HANDING_BACK, f"not disarmed {limits.disarm_time:g} s after touchdown: its land mode has to")
    return None


def _share(limits: Limits, memory: Memory, s: Situation, concern: str) -> float:
    """Of the network: towards 1 while the plan is flown and nothing speaks against it, at most 1 per ``share_time``.

    It does not wait for ``recovery_time``: one noisy sample at the edge of the domain costs a hundredth of the network.
    """
    target = 1.0 if memory.phase in (Phase.TRACKING, Phase.FADING) and not concern else 0.0
    dt = 0.0 if memory.updated is None else max(s.now - memory.updated, 0.0)
    step = dt / limits.share_time
    return min(max(target, memory.share - step), memory.share + step)


def _output(memory: Memory, s: Situation) -> Output:
    if memory.locked:
        return Output.NOTHING
    if memory.phase is Phase.ARMED:
        return Output.IDLE if s.on_ground else Output.STAY
    return _OUTPUTS.get(memory.phase, Output.NOTHING)


_OUTPUTS = {
    Phase.READY: Output.IDLE,
    Phase.TRACKING: Output.FOLLOW,
    Phase.FADING: Output.FOLLOW,
    Phase.HOLDING: Output.HOLD,
    Phase.LANDED: Output.IDLE,
}


def _request(limits: Limits, permission: Permission, memory: Memory, s: Situation) -> tuple[Memory, str]:
    """What is asked of the autopilot in this tick, in words; requests are repeated, since they may be lost.

    Not before a status has come since: the one before it may have granted what the pilot has taken back by now.
    """
    status = s.status
    if status is None or not s.connected or permission.observe:
        return memory, ""
    request, repeats, first = "", float(limits.request_repeats), not memory.was_armed
    if memory.phase is Phase.HANDING_BACK:
        request, repeats = "hand back", math.inf
    elif memory.phase is Phase.LANDED and not memory.locked:
        request = "disarm"
    elif memory.phase is Phase.READY and first and not status.accepts_setpoints and permission.take_control:
        request = "take control" if s.now - memory.since >= limits.lead_time else ""
    elif memory.phase is Phase.READY and first and status.accepts_setpoints and permission.arm:
        request = "arm"
    if not request or memory.requests >= repeats or s.now - memory.asked < limits.request_period:
        return memory, ""
    if status.received <= memory.asked:
        return memory, ""
    return replace(memory, asked=s.now, requests=memory.requests + 1), request
