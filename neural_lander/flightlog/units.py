"""Units that other systems log in, and what turns them into ours."""

from __future__ import annotations

from collections.abc import Mapping

from neural_lander.errors import UserError
from neural_lander.flightlog.log import COLUMNS, ROTOR_COMMAND_UNITS
from neural_lander.units import DEGREE, RPM, STANDARD_GRAVITY

TO_SI: Mapping[str, Mapping[str, float]] = {
    "s": {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9},
    "m": {"m": 1.0, "cm": 1e-2, "mm": 1e-3, "ft": 0.3048},
    "m/s": {"m/s": 1.0, "cm/s": 1e-2, "mm/s": 1e-3, "ft/s": 0.3048},
    "m/s^2": {"m/s^2": 1.0, "mm/s^2": 1e-3, "g": STANDARD_GRAVITY},
    "rad/s": {"rad/s": 1.0, "mrad/s": 1e-3, "deg/s": DEGREE, "rpm": RPM, "rev/s": 60 * RPM},
    "rad": {"rad": 1.0, "mrad": 1e-3, "deg": DEGREE},
    "V": {"V": 1.0, "mV": 1e-3},
    "N": {"N": 1.0, "mN": 1e-3},
    "pwm": {"pwm": 1.0},
    "thrust": {"thrust": 1.0},
    "1": {"1": 1.0},
}
"""SI unit -> unit -> factor. ``pwm`` is the fraction of full scale, ``thrust`` that of the largest."""


UNITS: Mapping[str, str] = {
    **{field: unit for field, (_, unit, _) in COLUMNS.items()},
    "euler": "rad",
    "accelerometer": "m/s^2",
}
"""SI unit of a field, and of what a table may hold in the place of one."""


def si_unit(field: str, unit: str, where: str) -> tuple[str, float]:
    """SI unit of a ``FlightLog`` field given in ``unit``, and the factor to it.

    Raises
    ------
    UserError
        Where the unit does not fit the field; ``where`` begins the message.
    """
    candidates = ROTOR_COMMAND_UNITS if field == "rotor_command" else (UNITS[field],)
    for candidate in candidates:
        if unit in TO_SI[candidate]:
            return candidate, TO_SI[candidate][unit]
    known = ", ".join(u for candidate in candidates for u in TO_SI[candidate])
    raise UserError(f"{where}: unit '{unit}' does not fit {field}; use one of: {known}")
