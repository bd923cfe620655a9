"""From what a flight controller commands to the thrust that a rotor produces."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from neural_lander.errors import UserError
from neural_lander.profile_values import array, entries, scalar
from neural_lander.units import GRAM_FORCE

MOST_FORCE, MOST_VOLTS = 1e6, 1000.0  # gram-force and V, of one rotor: beyond, it is another unit; guesses


@dataclass(frozen=True)
class PwmVoltageCurve:
    """Static thrust of one rotor from PWM and battery voltage, a polynomial of second degree.

    T = C00 + C10 p + C01 v + C20 p^2 + C11 p v with p the PWM as a fraction of full scale and v the battery
    voltage over ``voltage_scale`` (Shi et al., Neural-Swarm2, T-RO 2021). The polynomial is not monotone: it
    holds for p >= ``pwm_min`` and is zero at PWM 0.
    """

    coefficients: tuple[float, float, float, float, float]  # N
    """C00, C10, C01, C20, C11."""
    voltage_scale: float  # V
    pwm_min: float  # fraction of full scale
    """Below it the polynomial is not to be trusted."""

    def thrust(self, pwm: np.ndarray, battery_voltage: np.ndarray) -> np.ndarray:
        """Thrust in N of rotors at ``pwm`` (fraction, ``(..., 4)``) and voltage in V (``(...)``)."""
        c00, c10, c01, c20, c11 = self.coefficients
        v = np.asarray(battery_voltage)[..., None] / self.voltage_scale
        polynomial = c00 + c10 * pwm + c01 * v + c20 * pwm**2 + c11 * pwm * v
        return np.where(pwm > 0, polynomial, 0.0)

    def pwm(self, thrust: np.ndarray, battery_voltage: np.ndarray) -> np.ndarray:
        """Inverse of :meth:`thrust` on the rising branch, clipped to ``pwm_min``..1; 0 for no thrust."""
        c00, c10, c01, c20, c11 = self.coefficients
        v = np.asarray(battery_voltage)[..., None] / self.voltage_scale
        b = c10 + c11 * v
        discriminant = np.maximum(b * b - 4 * c20 * (c00 + c01 * v - thrust), 0.0)
        rising = (-b + np.sqrt(discriminant)) / (2 * c20)
        return np.where(np.asarray(thrust) > 0, np.clip(rising, self.pwm_min, 1.0), 0.0)

    @classmethod
    def from_profile(cls, table: Mapping[str, Any], source: str) -> PwmVoltageCurve:
        """Curve from the ``[motor_curve]`` table of a vehicle profile.

        Raises
        ------
        UserError
            On a missing or unknown key, another unit, or values that are no numbers.
        """
        where = f"vehicle file {source}: motor_curve"
        named = entries(table, "motor_curve", ("kind", "coefficients", "voltage_scale", "pwm_min"), source)
        if table["kind"] != "pwm-voltage":
            raise UserError(f"{where}.kind = {table['kind']!r} is not known; use 'pwm-voltage'")
        C = array(named, "motor_curve.coefficients", "gram-force", (5,), MOST_FORCE, source)
        if C[3] <= 0:
            raise UserError(f"{where}.coefficients = {C.tolist()} must be C00, C10, C01, C20 > 0, C11")
        scale = scalar(named, "motor_curve.voltage_scale", "V", 0.0, MOST_VOLTS, source)
        pwm_min = scalar(named, "motor_curve.pwm_min", "1", -1e-9, 0.99, source)
        newton = [GRAM_FORCE * float(c) for c in C]
        return cls((newton[0], newton[1], newton[2], newton[3], newton[4]), scale, pwm_min)
