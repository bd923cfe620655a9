"""What a flight log holds, in a few figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from neural_lander.flightlog.fitness import fit_for_learning
from neural_lander.flightlog.log import COLUMNS, FlightLog
from neural_lander.flightlog.standing import gear_height
from neural_lander.flightlog.thrust import static_thrust
from neural_lander.rotation import quaternion_to_matrix
from neural_lander.vehicle import Vehicle

GAP = 2.0  # times the median period: at least one record is missing
AIRBORNE = 0.05  # m of gear height above which the ratio of thrust to weight is taken; a guess, clear of the floor


def summary(log: FlightLog, vehicle: Vehicle | None = None) -> dict[str, Any]:
    """Figures of one log; SI with the unit in the key.

    Parameters
    ----------
    log
        The flight.
    vehicle
        With it come the height of the landing gear, as logged or else over a floor at z = 0, and thrust over weight:
        about 1 in flight.
    """
    periods = np.diff(log.t)
    period = float(np.median(periods))
    z = log.position[:, 2]
    figures: dict[str, Any] = {
        "log": Path(log.source).name,
        "path": log.path,
        "format": log.metadata.get("format"),
        "records": len(log.t),
        "duration_s": log.duration,
        "rate_Hz": 1 / period,
        "gaps": int((periods > GAP * period).sum()),
        "longest_gap_s": float(periods.max()),
        "z_min_m": float(z.min()),
        "z_max_m": float(z.max()),
        "tilt_max_deg": float(tilt_degrees(log).max()),
        "fields": {
            name: {"unit": log.rotor_command_unit if name == "rotor_command" else unit, "frame": frame}
            for name, (_, unit, frame) in COLUMNS.items()
            if getattr(log, name) is not None
        },
        "metadata": {key: value for key, value in log.metadata.items() if key not in ("format", "source")},
        "warnings": list(log.warnings),
        "fit_for_learning": fit_for_learning(log, vehicle).as_json(),
    }
    if vehicle is not None:
        gear = gear_height(log, vehicle)
        assert gear is not None
        figures |= {"vehicle": vehicle.name, "gear_height_min_m": float(gear.min())}
        thrust = static_thrust(log, vehicle)
        if thrust is not None and (gear > AIRBORNE).any():
            figures["thrust_to_weight"] = float(np.median(thrust[gear > AIRBORNE])) / vehicle.weight
    return figures


def tilt_degrees(log: FlightLog) -> np.ndarray:
    """Angle between the body's and the world's z axis, ``(N,)`` degrees."""
    return np.degrees(np.arccos(np.clip(quaternion_to_matrix(log.attitude)[:, 2, 2], -1.0, 1.0)))
