"""Attitude, yaw rate and throttle to stick positions: the firmware's own curves, inverted.

In angle mode a stick asks for an angle. Betaflight since 4.5 bends that by the axis' rate curve, INAV by its expo; both
take a deadband off first. What the firmware is set to is read back from it, so a stick means what we mean by it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from neural_lander.units import DEGREE

CHANNELS = 16  # all of them, always: a channel left out becomes zero
AETR = (0, 1, 3, 2)
"""Where SET_RAW_RC holds roll, pitch, yaw and throttle, the order in which MSP_RC returns them."""
HALF_TRAVEL = 500  # us
HIGHEST = 2000  # us
RATES_BETAFLIGHT, RATES_ACTUAL = 0, 3  # rates_type of Betaflight; the others are refused
BENT_ANGLE_API = 46  # minor version of the API (Betaflight 4.5) from which the rate curve bends the angle too

_GRID = np.linspace(0.0, 1.0, HALF_TRAVEL + 1)


def actual_rates(x: np.ndarray, centre: float, full: float, expo: float) -> np.ndarray:
    """Betaflight's "actual" rates: rate at deflections x in 0..1, in the unit of both rates; expo 0..1."""
    return centre * x + max(0.0, full - centre) * x * (expo * x**5 + (1 - expo) * x)


def betaflight_rates(x: np.ndarray, rc_rate: float, super_rate: float, expo: float) -> np.ndarray:
    """Betaflight's older rates in deg/s at deflections x in 0..1; all three as fractions."""
    bent = expo * x**4 + (1 - expo) * x
    gain = rc_rate if rc_rate <= 2 else rc_rate + 14.54 * (rc_rate - 2)
    return 200 * gain * bent / np.clip(1 - super_rate * x, 0.01, 1)


def inav_expo(x: np.ndarray, expo: float) -> np.ndarray:
    """INAV's bent deflection, 0..1, at deflections x in 0..1; expo 0..1."""
    return x * (1 + expo * (x**2 - 1))


@dataclass(frozen=True, eq=False)
class StickCurve:
    """What one stick asks for; odd in the deflection."""

    effect: np.ndarray  # (501,) rad or rad/s at deflections 0, 0.002 .. 1, increasing
    deadband: int = 0  # us

    def pulse(self, wanted: float, centre: int) -> int:
        """Pulse in us that asks for an angle in rad or a rate in rad/s, the nearest within reach."""
        deflection = float(np.interp(abs(wanted), self.effect, _GRID))
        off_centre = self.deadband + deflection * (HALF_TRAVEL - self.deadband)
        return centre + round(math.copysign(off_centre, wanted)) if deflection else centre

    def asked(self, pulse: float, centre: int) -> float:
        """Inverse of :meth:`pulse`: what the firmware makes of a pulse in us."""
        off_centre = min(abs(pulse - centre), HALF_TRAVEL)
        deflection = max(off_centre - self.deadband, 0) / (HALF_TRAVEL - self.deadband)
        return math.copysign(float(np.interp(deflection, _GRID, self.effect)), pulse - centre)


@dataclass(frozen=True)
class Sticks:
    """How a firmware reads its four sticks."""

    roll: StickCurve  # rad
    pitch: StickCurve  # rad, nose down
    yaw: StickCurve  # rad/s, clockwise from above
    centre: int = 1500  # us
    lowest: int = 1050  # us, up to which the throttle is zero

    def throttle(self, fraction: float) -> int:
        """Pulse in us of a throttle fraction, which is cut to 0..1; zero is below ``lowest``, so that arming works."""
        if not fraction > 0:
            return 1000
        return round(self.lowest + min(fraction, 1.0) * (HIGHEST - self.lowest))

    def fraction(self, pulse: float) -> float:
        """Inverse of :meth:`throttle`."""
        return min(max((pulse - self.lowest) / (HIGHEST - self.lowest), 0.0), 1.0)

    def frame(self, roll: float, pitch: float, yaw_rate: float, fraction: float, aux: list[int]) -> list[int]:
        """All channels in us for angles in rad (body FLU), a yaw rate in rad/s (counter-clockwise) and a throttle."""
        logical = (
            self.roll.pulse(roll, self.centre),
            self.pitch.pulse(pitch, self.centre),
            self.yaw.pulse(-yaw_rate, self.centre),
            self.throttle(fraction),
        )
        channels = [0] * 4
        for place, pulse in zip(AETR, logical, strict=True):
            channels[place] = pulse
        return channels + aux


def betaflight_sticks(api_minor: int, replies: dict[str, bytes]) -> Sticks:
    """From MSP_RC_TUNING, MSP_PID_ADVANCED, MSP_RC_DEADBAND and MSP_RX_CONFIG, by these names.

    Raises
    ------
    ValueError
        Where the firmware uses rates of another type than "actual" or "betaflight".
    """
    tuning, deadband = replies["rc_tuning"], replies["deadband"]
    centre, lowest = _receiver(replies["rx_config"])
    limit = replies["pid_advanced"][17] * DEGREE
    rates = (  # rc rate, super rate, expo, limit in deg/s; roll, pitch, yaw
        (tuning[0], tuning[2], tuning[1], _word(tuning, 16)),
        (tuning[12], tuning[3], tuning[13], _word(tuning, 18)),
        (tuning[11], tuning[4], tuning[10], _word(tuning, 20)),
    )
    kind = tuning[22] if len(tuning) > 22 else RATES_BETAFLIGHT
    curves = [_rate_curve(kind, *axis) for axis in rates]
    if api_minor < BENT_ANGLE_API:
        angles = [limit * _GRID, limit * _GRID]
    else:
        angles = [
            limit * curve / _rate_curve(kind, *axis[:3], 10**6)[-1]
            for curve, axis in zip(curves, rates[:2], strict=False)
        ]
    return Sticks(
        StickCurve(angles[0], deadband[0]),
        StickCurve(angles[1], deadband[0]),
        StickCurve(curves[2] * DEGREE, deadband[1]),
        centre,
        lowest,
    )


def _rate_curve(kind: int, rc_rate: int, super_rate: int, expo: int, limit: int) -> np.ndarray:
    """Rate in deg/s over the grid."""
    if kind == RATES_ACTUAL:
        curve = actual_rates(_GRID, 10.0 * rc_rate, 10.0 * super_rate, expo / 100)
    elif kind == RATES_BETAFLIGHT:
        curve = betaflight_rates(_GRID, rc_rate / 100, super_rate / 100, expo / 100)
    else:
        raise ValueError(f"rates_type = {kind}")
    return np.minimum(curve, limit)


def inav_sticks(replies: dict[str, bytes]) -> Sticks:
    """From MSP_RC_TUNING, MSP_RC_DEADBAND, MSP_RX_CONFIG and the settings max_angle_inclination_rll and _pit."""
    tuning, deadband = replies["rc_tuning"], replies["deadband"]
    centre, lowest = _receiver(replies["rx_config"])
    bent = inav_expo(_GRID, tuning[1] / 100)
    roll, pitch = (_word(replies[name], 0) / 10 * DEGREE for name in ("max_roll", "max_pitch"))
    yaw = 10 * tuning[4] * DEGREE * inav_expo(_GRID, tuning[10] / 100)
    return Sticks(
        StickCurve(roll * bent, deadband[0]),
        StickCurve(pitch * bent, deadband[0]),
        StickCurve(yaw, deadband[1]),
        centre,
        lowest,
    )


def throttle_is_straight(tuning: bytes) -> bool:
    """Whether a throttle fraction reaches the motors as it is: no expo, no limit (MSP_RC_TUNING)."""
    limited = len(tuning) > 15 and tuning[14] != 0 and tuning[15] < 100
    return tuning[7] == 0 and not limited


def _receiver(payload: bytes) -> tuple[int, int]:
    """Centre and lowest throttle in us, MSP_RX_CONFIG."""
    return _word(payload, 3), _word(payload, 5)


def _word(payload: bytes, at: int) -> int:
    return int.from_bytes(payload[at : at + 2], "little") if len(payload) >= at + 2 else 10**6
