"""What stands against flying, in words: each asks for another reaction, and empty means nothing.

A comparison is written so that a value that is not a number counts as over its limit.
"""

from __future__ import annotations

import math

from firmware_bridge.supervisor.limits import Limits
from firmware_bridge.supervisor.types import Memory, Situation


def obstacle(limits: Limits, memory: Memory, s: Situation) -> str:
    """What keeps a flight from beginning, in words; empty if nothing."""
    if s.now - memory.fresh > limits.stale_time:
        if math.isinf(s.position_age) and math.isinf(s.attitude_age):
            return "no fresh state: position and attitude have not both come"
        ages = f"position {_ms(s.position_age)}, attitude {_ms(s.attitude_age)}"
        return f"no fresh state: {ages} old, limit {_ms(limits.state_age)}"
    fault = "" if s.status is None else s.status.fault
    obstacles = (
        (not s.checks_passed, "a pre-flight check has not passed"),
        (not s.controller_alive, "the controller gives no setpoint that can be sent"),
        (not s.height_age <= limits.height_loss, "no height above the ground"),
        (s.battery_low, "battery low"),
        (bool(fault), f"the autopilot reports a fault: {fault}"),
        (not s.outside <= 0.0, "outside of the flight volume"),
        (not s.tilt <= limits.tilt, "tilted"),
        (s.stop, "the program ends"),
    )
    return next((text for applies, text in obstacles if applies), "")


def already_flying(s: Situation) -> str:
    """Armed and following setpoints when we come: whose, nobody knows, so the pilot has to switch."""
    if s.status is not None and s.status.armed and s.status.accepts_setpoints:
        return f"already armed in {s.status.mode}: switch to another mode and back to give control"
    return ""


def failure(limits: Limits, memory: Memory, s: Situation) -> str:
    """What our controller must not fly on with, in words."""
    if s.stop:
        return "the program ends"
    if not s.controller_alive:
        return "the controller gives no setpoint that can be sent"
    if s.now - memory.fresh > limits.stale_time:
        return f"no fresh state for {_ms(limits.stale_time)}"
    if not s.tilt <= limits.tilt:
        return f"tilt {s.tilt:.2f} rad over {limits.tilt:.2f} rad"
    if not s.conflict <= limits.conflict:
        off = f"{math.degrees(s.conflict):.0f} degrees"
        return f"pose and autopilot differ by {off} in attitude: look at the pose's axes and the order w, x, y, z"
    if s.battery_low:
        return "battery low"
    if s.status is not None and s.status.fault:
        return f"the autopilot reports a fault: {s.status.fault}"
    if s.stuck:
        return "it does not leave the ground: look at the thrust map, the battery and the propellers"
    if s.disobedience != 0.0:
        off = f"{s.disobedience:+.1f} m/s^2 off what was sent"
        return f"the vehicle does not do what it is told: its thrust is {off} (not heard, or the thrust map is wrong)"
    if not s.lateness <= limits.worst_lateness:
        return f"a tick {_ms(s.lateness)} late"
    return ""


def escape(limits: Limits, s: Situation) -> str:
    """What no hold has stopped, or would stop, in words: the state that it is held by may be what is wrong."""
    if not s.outside <= limits.outside:
        return f"outside of the flight volume by {s.outside:.1f} m"
    return f"leaves the flight volume at {s.leaving:.1f} m/s" if not s.leaving <= limits.leaving else ""


def breach(limits: Limits, s: Situation) -> str:
    """What makes the flight stop where it is, in words."""
    if not s.outside <= 0.0:
        return "outside of the flight volume"
    if not s.descent_speed <= limits.descent_speed:
        return f"descent at {s.descent_speed:.2f} m/s, limit {limits.descent_speed:g} m/s"
    if s.jumped:
        return "the estimator jumped"
    if not s.height_age <= limits.height_hold:
        return f"no height above the ground for {limits.height_hold:g} s"
    return "no touchdown long after the plan's end" if s.overdue else ""


def concern(limits: Limits, s: Situation) -> str:
    """What the network must not be trusted with, in words."""
    if not s.height_age <= limits.height_age:
        return "height above the ground is stale or none"
    if not s.domain_score <= limits.domain_score:
        return f"residual outside of its domain (score {s.domain_score:.2f})"
    return f"a tick {_ms(s.lateness)} late" if not s.lateness <= limits.lateness else ""


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.0f} ms"
