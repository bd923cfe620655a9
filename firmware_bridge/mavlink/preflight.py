"""Verdicts of the MAVLink link on what it measured and was told, beside those of each autopilot's parameters."""

from __future__ import annotations

from firmware_bridge.estimation.time_sync import TimeSync
from firmware_bridge.link import CheckResult
from firmware_bridge.mavlink.autopilot import Autopilot, Values
from firmware_bridge.thrust import ThrustMap
from neural_lander.errors import UserError
from neural_lander.vehicle import Vehicle

LONGEST_TRIP = 0.05  # s there and back; a guess: beyond it a state is too old to land by
SAME_CURVE = 1e-3  # of MOT_THST_EXPO or THR_MDL_FAC, as 32-bit floats come back


def clock_check(sync: TimeSync) -> CheckResult:
    """Whether the age of a state is known, and short."""
    name, trip = "TIMESYNC", sync.round_trip
    if not sync.ready or trip is None:
        return CheckResult(name, False, "not answered: the age of a state is unknown; look at the line")
    words, good = f"round trip {1e3 * trip:.1f} ms", trip <= LONGEST_TRIP
    return CheckResult(name, good, words + ("" if good else f", more than {1e3 * LONGEST_TRIP:.0f}; use a faster line"))


def thrust_check(kind: Autopilot, values: Values, vehicle: Vehicle, calibrated: ThrustMap | None) -> CheckResult:
    """Whether newtons can be turned into the autopilot's fraction, and a calibration is of its present settings."""
    try:
        read = kind.thrust_map(values, vehicle)
    except UserError as error:
        return CheckResult("thrust", False, str(error))
    used = calibrated or read
    source = "a calibration" if calibrated else "the autopilot's parameters"
    words = f"{used.hover_thrust:.3g} N is the fraction {used.hover_fraction:.3g}, from {source}"
    same = abs(used.autopilot_curve - read.autopilot_curve) < SAME_CURVE
    remedy = (
        f", made with the thrust curve {used.autopilot_curve:g}; it is {read.autopilot_curve:g} now: calibrate anew"
    )
    return CheckResult("thrust", same, words + ("" if same else remedy))


def floor_check(kind: Autopilot, values: Values) -> CheckResult:
    """Whether a floor that the user has declared stays where it is in the autopilot's frame."""
    reference = kind.height
    name, value = reference.parameter, values.get(reference.parameter)
    remedy = f"set {name} to {reference.good}, or leave out --floor and use a rangefinder"
    if value is None:
        return CheckResult("declared floor", False, f"{name} could not be read, so the floor may drift away; {remedy}")
    words = f"{name} = {value:g}: height is that of {reference.sources.get(value, 'an unknown sensor')}"
    if value != reference.good:
        return CheckResult("declared floor", False, f"{words}, which the floor drifts against; {remedy}")
    if reference.fusion is not None:
        name, bit = reference.fusion
        value = values.get(name)
        words += f", {name} = {value}"
        if value is None or not int(value) & bit:
            remedy = f"add {bit} to {name}, or leave out --floor and use a rangefinder"
            return CheckResult("declared floor", False, f"{words}: its height is not taken in; {remedy}")
    return CheckResult("declared floor", True, words)
