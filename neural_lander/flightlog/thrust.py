"""Thrust that a log stands for, as far as it can be had."""

from __future__ import annotations

import numpy as np

from neural_lander.flightlog.log import FlightLog
from neural_lander.vehicle import Vehicle


def static_thrust(log: FlightLog, vehicle: Vehicle) -> np.ndarray | None:
    """Static collective thrust in N, ``(N,)``, without the motors' lag; None where the log or the profile lacks it."""
    if log.rotor_speed is not None:
        return vehicle.thrust_coefficient * np.sum(log.rotor_speed**2, axis=1)
    if log.rotor_command is None:
        return None
    if log.rotor_command_unit == "rad/s":
        return vehicle.thrust_coefficient * np.sum(log.rotor_command**2, axis=1)
    if vehicle.motor_curve is None or log.battery_voltage is None:
        return None
    return np.sum(vehicle.motor_curve.thrust(log.rotor_command, log.battery_voltage), axis=1)


def relative_thrust(log: FlightLog, vehicle: Vehicle | None) -> np.ndarray | None:
    """Collective thrust in any unit, ``(N,)``; without a thrust curve it goes with the square of the signal."""
    known = static_thrust(log, vehicle) if vehicle is not None else None
    signal = log.rotor_speed if log.rotor_speed is not None else log.rotor_command
    return known if known is not None or signal is None else np.sum(signal**2, axis=1)
