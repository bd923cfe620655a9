"""What the recorder writes on ``/bridge``: one JSON message per tick, described by a schema."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from firmware_bridge.link import AttitudeSetpoint
from firmware_bridge.recording.tick_record import TickRecord

BRIDGE_TOPIC = "/bridge"
BRIDGE_SCHEMA_NAME = "neural_lander.BridgeTick"

# key -> (components, None for a single value; unit and frame, or what the text says)
_FIELDS: Mapping[str, tuple[str, str]] = {
    "t": ("number", "s since the log's begin"),
    "lateness": ("number", "s"),
    "phase": ("string", "of the supervisor"),
    "entered": ("boolean", "a transition in this tick"),
    "reason": ("string", "of the transition, or what stands in the way"),
    "output": ("string", "what was sent: nothing, idle, stay, follow, hold"),
    "stage": ("string", "of the flight plan"),
    "in_control": ("string", "companion, autopilot or nobody"),
    "mode": ("string", "of the autopilot"),
    "armed": ("boolean", ""),
    "network_share": ("number", "0..1"),
    "domain_score": ("number", "1 at the edge of the residual's data"),
    "height": ("number", "m, gear above the ground"),
    "height_age": ("number", "s"),
    "ground": ("number", "m, in the frame of the position"),
    "position": ("xyz", "m, world"),
    "velocity": ("xyz", "m/s, world"),
    "attitude": ("wxyz", "body to world"),
    "body_rates": ("xyz", "rad/s, body"),
    "position_age": ("number", "s"),
    "attitude_age": ("number", "s"),
    "reference_position": ("xyz", "m, over the ground"),
    "reference_velocity": ("xyz", "m/s"),
    "setpoint_attitude": ("wxyz", "body to world"),
    "setpoint_rates": ("xyz", "rad/s, body"),
    "setpoint_thrust": ("number", "N"),
    "f_a_applied": ("xyz", "N, world"),
    "f_a_predicted": ("xyz", "N, world, of the whole network"),
    "d_hat": ("xyz", "N, world"),
    "guard_force": ("xyz", "N, world, what the guard added; null without a guard"),
    "rotor_speed": ("1234", "rad/s"),
    "rotor_speed_source": ("string", "measured, commanded thrust / 4, or disarmed"),
    "battery_voltage": ("number", "V"),
    "problems": ("array", "in words"),
    "messages": ("array", "of the autopilot"),
}
_PLAIN = ("number", "string", "boolean", "array")


def _property(kind: str, text: str) -> dict[str, Any]:
    if kind in _PLAIN:
        inner: dict[str, Any] = {"items": {"type": "string"}} if kind == "array" else {}
        return {"type": [kind, "null"] if kind == "number" else kind, "description": text, **inner}
    return {
        "type": ["object", "null"],
        "description": text,
        "properties": {component: {"type": "number"} for component in kind},
    }


BRIDGE_SCHEMA = {
    "title": BRIDGE_SCHEMA_NAME,
    "type": "object",
    "properties": {name: _property(*field) for name, field in _FIELDS.items()},
    "required": list(_FIELDS),
}


def bridge_message(t: float, record: TickRecord) -> bytes:
    """JSON of one tick at time ``t`` in s; what is not known, or not finite, is null."""
    estimate, setpoint, reference, decision = record.estimate, record.setpoint, record.reference, record.decision
    attitude = setpoint.attitude if isinstance(setpoint, AttitudeSetpoint) else None
    rates = None if setpoint is None or attitude is not None else setpoint.body_rates  # type: ignore[union-attr]
    values: dict[str, Any] = {
        "t": t,
        "lateness": record.lateness,
        "phase": str(decision.phase),
        "entered": decision.entered,
        "reason": decision.reason,
        "output": "nothing" if setpoint is None else str(decision.output),
        "stage": record.stage,
        "in_control": record.in_control,
        "mode": record.mode,
        "armed": record.armed,
        "network_share": decision.network_share,
        "domain_score": record.domain_score,
        "height": record.height,
        "height_age": record.height_age,
        "ground": record.ground,
        "position": estimate and estimate.position,
        "velocity": estimate and estimate.velocity,
        "attitude": estimate and estimate.attitude,
        "body_rates": estimate and estimate.body_rates,
        "position_age": estimate and estimate.position_age,
        "attitude_age": estimate and estimate.attitude_age,
        "reference_position": reference and reference.position,
        "reference_velocity": reference and reference.velocity,
        "setpoint_attitude": attitude,
        "setpoint_rates": rates,
        "setpoint_thrust": setpoint and setpoint.thrust,
        "f_a_applied": record.f_a_applied,
        "f_a_predicted": record.f_a_predicted,
        "d_hat": record.d_hat,
        "guard_force": record.guard_force,
        "rotor_speed": record.rotor_speed,
        "rotor_speed_source": record.rotor_speed_source,
        "battery_voltage": record.battery_voltage,
        "problems": record.problems,
        "messages": record.messages,
    }
    return json.dumps({name: _json(_FIELDS[name][0], value) for name, value in values.items()}).encode()


def _json(kind: str, value: Any) -> Any:
    if value is None or kind in ("string", "boolean", "array"):
        return value
    if kind == "number":
        return float(value) if math.isfinite(value) else None
    numbers = value.tolist()
    return dict(zip(kind, numbers, strict=True)) if math.isfinite(sum(numbers)) else None
