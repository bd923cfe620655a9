"""What no link may ever send."""

from __future__ import annotations

import math

import numpy as np

from firmware_bridge.link import AttitudeSetpoint, RatesSetpoint, Setpoint
from neural_lander.errors import UserError
from neural_lander.vehicle import Vehicle

NORM = 1e-3  # by which a quaternion's norm may miss 1; ArduPilot drops what misses it by more, without a word


def check_setpoint(setpoint: Setpoint, vehicle: Vehicle) -> None:
    """Refuse what must never be sent.

    Raises
    ------
    UserError
        Not finite, a quaternion off unit norm, or a thrust that is negative or above what the rotors can give.
    """
    if isinstance(setpoint, AttitudeSetpoint):
        _finite("attitude", setpoint.attitude, 4)
        _finite("yaw_rate", np.array([setpoint.yaw_rate]), 1)
        norm = math.sqrt(sum(float(x) ** 2 for x in setpoint.attitude))
        if abs(norm - 1) > NORM:
            raise UserError(f"setpoint: attitude has the norm {norm:.6g}; it must be a unit quaternion, to {NORM:g}")
    elif isinstance(setpoint, RatesSetpoint):
        _finite("body_rates", setpoint.body_rates, 3)
    else:
        raise UserError(f"setpoint of type {type(setpoint).__name__} is not known; send attitude or rates with thrust")
    most = vehicle.full_thrust
    if not 0 <= setpoint.thrust <= most:
        raise UserError(
            f"setpoint: thrust = {setpoint.thrust:.6g} N must be in [0, {most:.4g}], what four rotors can give"
        )


def _finite(name: str, values: np.ndarray, count: int) -> None:
    if np.shape(values) != (count,) or not all(math.isfinite(x) for x in values):
        raise UserError(f"setpoint: {name} = {np.asarray(values).tolist()} must be {count} finite numbers")
