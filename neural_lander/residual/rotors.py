"""A log's rotors in the order of the vehicle's profile: where log and vehicle meet, and nowhere else."""

from __future__ import annotations

import warnings
from dataclasses import replace

from neural_lander.errors import NeuralLanderWarning, UserError
from neural_lander.flightlog.log import FlightLog
from neural_lander.rotor_order import QUADRANTS_KEY, motors_by_quadrant
from neural_lander.vehicle import Vehicle


def in_profile_order(log: FlightLog, vehicle: Vehicle) -> FlightLog:
    """The log with its rotors as the profile has them; a warning where only an assumption says which is which.

    Raises
    ------
    UserError
        Where the quadrants in its metadata are none.
    """
    if QUADRANTS_KEY not in log.metadata or (log.rotor_speed is None and log.rotor_command is None):
        return log
    quadrants, where = log.metadata[QUADRANTS_KEY], f"log {log.source or '(unnamed)'}"
    assumed = f"they are taken in the order of profile '{vehicle.name}'"
    if quadrants is None:
        _warn(f"{where} does not say which of its rotors is which: {assumed}")
        return log
    try:
        order = motors_by_quadrant(vehicle, quadrants)
    except (TypeError, ValueError) as error:
        raise UserError(
            f"{where}: {QUADRANTS_KEY} = {quadrants!r} in its metadata must be four pairs of signs"
        ) from error
    if order is None:
        _warn(f"{where} names its rotors by quadrant, and they or the profile's lie in no X: {assumed}")
        return log
    speed, command = (None if x is None else x[:, list(order)] for x in (log.rotor_speed, log.rotor_command))
    metadata = {name: value for name, value in log.metadata.items() if name != QUADRANTS_KEY}
    return replace(log, rotor_speed=speed, rotor_command=command, metadata=metadata)


def _warn(text: str) -> None:
    warnings.warn(text, NeuralLanderWarning, stacklevel=4)
