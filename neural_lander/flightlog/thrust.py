"""Thrust that a log stands for, as far as it can be had."""

from __future__ import annotations

import numpy as np

from neural_lander.flightlog.log import FlightLog
from neural_lander.vehicle import Vehicle

NO_SIGNAL = (
    "rotor commands are fractions of the largest thrust before the autopilot's thrust model, to which no motor curve "
    "applies: log the rotor speed, the outputs to the motors, or PX4's THR_MDL_FAC"
)


def rotor_static_thrust(log: FlightLog, vehicle: Vehicle) -> np.ndarray | None:
    """Static thrust of each rotor in N, ``(N, 4)``, without the motors' lag; None where log or profile lacks it."""
    if log.rotor_speed is not None:
        return np.asarray(vehicle.thrust_coefficient * log.rotor_speed**2)
    if log.rotor_command is None:
        return None
    if log.rotor_command_unit == "rad/s":
        return np.asarray(vehicle.thrust_coefficient * log.rotor_command**2)
    if log.rotor_command_unit == "thrust" or vehicle.motor_curve is None or log.battery_voltage is None:
        return None
    return np.asarray(vehicle.motor_curve.thrust(log.rotor_command, log.battery_voltage))


def static_thrust(log: FlightLog, vehicle: Vehicle) -> np.ndarray | None:
    """Static collective thrust in N, ``(N,)``; None where the log or the profile lacks it."""
    each = rotor_static_thrust(log, vehicle)
    return None if each is None else np.sum(each, axis=1)


def relative_thrust(log: FlightLog, vehicle: Vehicle | None) -> np.ndarray | None:
    """Collective thrust in any unit, ``(N,)``; without a thrust curve it goes with the square of the signal.

    A command that is a thrust is one.
    """
    known = static_thrust(log, vehicle) if vehicle is not None else None
    signal = log.rotor_speed if log.rotor_speed is not None else log.rotor_command
    if known is not None or signal is None:
        return known
    asked = log.rotor_speed is None and log.rotor_command_unit == "thrust"
    return np.sum(signal if asked else signal**2, axis=1)
