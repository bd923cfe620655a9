"""What a Crazyflie's log packets and the bits of its supervisor say, as reports; pure functions.

World and body are ours already; body rates are in degrees per second, acceleration is in g.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from firmware_bridge.crazyflie.logs import BLOCKS, LogClock
from firmware_bridge.link import (
    AttitudeReport,
    BatteryReport,
    ImuReport,
    PositionReport,
    RangeReport,
    Report,
    RotorReport,
    StatusReport,
)
from neural_lander.rotation import normalise
from neural_lander.units import DEGREE, RPM, STANDARD_GRAVITY

LARGEST = 3.5e38  # just above all floats of 32 bits
RANGE_LIMIT_MM = 4000  # of the VL53L1x on the Z-ranger deck
CAN_BE_ARMED, ARMED, ARMS_ITSELF, CAN_FLY, FLYING = 1, 2, 4, 8, 16  # bits of supervisor.info
REFUSALS = {32: "tumbled", 64: "locked: restart it", 128: "crashed", 2048: "a deck reports a fault"}


def number(value: object) -> float:
    """NaN of what is none that the firmware could send: what calls us back is not ours."""
    try:
        read = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return math.nan
    return read if abs(read) <= LARGEST else math.nan


def report_of(block: str, values: Mapping[str, object], clock: LogClock, now: float) -> Report | None:
    """What a packet of a log block says, received at ``now`` in s; None of a quaternion that is none."""
    v, t = [number(values.get(name)) for name, _ in BLOCKS[block][1]], clock.to_ours()
    match block:
        case "position":
            return PositionReport(t, now, np.array(v[:3]), np.array(v[3:]), clock.error)
        case "attitude" if 0.9 < math.hypot(*v[:4]) < 1.1:
            return AttitudeReport(t, now, normalise(np.array(v[:4])), DEGREE * np.array(v[4:]), clock.error)
        case "inertial":
            return ImuReport(t, now, STANDARD_GRAVITY * np.array(v[:3]), DEGREE * np.array(v[3:]))
        case "range":
            return RangeReport(t, now, v[0] / 1000, 0 < v[0] < RANGE_LIMIT_MM)
        case "rotors":
            return RotorReport(t, now, RPM * np.array(v))
        case "battery":
            return BatteryReport(now, v[0], v[1] / 100)
    return None


def status_of(info: int, now: float, unlocked: bool, taken: bool) -> StatusReport:
    """What the supervisor's bits say.

    Parameters
    ----------
    unlocked
        Whether arming was asked for: what arms itself counts as armed only then.
    taken
        Whether our setpoints go out.
    """
    flying = bool(info & FLYING)
    refusals = tuple(why for bit, why in REFUSALS.items() if info & bit)
    ready = flying or (bool(info & (CAN_BE_ARMED | ARMED | CAN_FLY)) and not refusals)
    if not ready and not refusals:
        refusals = ("its supervisor does not say that it can be armed",)
    armed = flying or (bool(info & ARMED) and (unlocked or not info & ARMS_ITSELF))
    mode = "flying" if flying else "can fly" if info & CAN_FLY else "armed" if armed else "disarmed"
    mode = refusals[0] if refusals else mode
    fault = ", ".join(refusals) if flying else ""
    return StatusReport(now, armed, mode, ready and taken, not flying, () if armed else refusals, fault)
