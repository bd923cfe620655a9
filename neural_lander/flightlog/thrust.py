"""Thrust that a log stands for, as far as it can be had."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from neural_lander.errors import UserError
from neural_lander.flightlog.log import FlightLog
from neural_lander.vehicle import Vehicle

NO_SIGNAL = (
    "rotor commands are fractions of the largest thrust before the autopilot's thrust model, to which no motor curve "
    "applies: log the rotor speed, the outputs to the motors, or PX4's THR_MDL_FAC"
)


Curve = Callable[[np.ndarray, Any], np.ndarray]
"""Rotor commands ``(N, 4)`` in the log's unit and battery voltage ``(N,)`` in V, or None -> static thrust in N."""


def command_curve(log: FlightLog, vehicle: Vehicle) -> tuple[Curve, str]:
    """What the log's rotor commands give in static thrust, and where that is from, in words.

    Raises
    ------
    UserError
        Where the log or the profile lacks what it takes.
    """
    c_T, curve, where = vehicle.thrust_coefficient, vehicle.motor_curve, f"log {log.source or '(unnamed)'}"
    if log.rotor_command is None:
        raise UserError(f"{where} holds neither rotor_speed nor rotor_command: thrust cannot be had")
    if log.rotor_command_unit == "rad/s":
        return lambda command, volts: np.asarray(c_T * command**2), "c_T n^2 of commanded rotor speed"
    if log.rotor_command_unit == "thrust":
        raise UserError(f"{where}: {NO_SIGNAL}")
    if curve is None:
        raise UserError(f"{where} holds PWM, and vehicle '{vehicle.name}' has no [motor_curve]: add one to its profile")
    if log.battery_voltage is None:
        raise UserError(f"{where} lacks battery_voltage, which the motor curve of '{vehicle.name}' needs")
    return curve.thrust, "motor curve of PWM and battery voltage"


def rotor_static_thrust(log: FlightLog, vehicle: Vehicle) -> np.ndarray | None:
    """Static thrust of each rotor in N, ``(N, 4)``, without the motors' lag; None where log or profile lacks it."""
    if log.rotor_speed is not None:
        return np.asarray(vehicle.thrust_coefficient * log.rotor_speed**2)
    try:
        curve, _ = command_curve(log, vehicle)
    except UserError:
        return None
    assert log.rotor_command is not None
    return curve(log.rotor_command, log.battery_voltage)


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
