"""Where a log stands on the ground: there the vehicle shows the zero of its height itself."""

from __future__ import annotations

import numpy as np

from neural_lander.flightlog.log import FlightLog
from neural_lander.flightlog.thrust import relative_thrust
from neural_lander.rotation import quaternion_to_matrix
from neural_lander.vehicle import Vehicle

RESTING = 0.05  # m/s: slower than this over the ground, a log without thrust may be standing
LEAST_STANDING = 0.3  # s at rest before the first or after the last flight; a guess
WRONG_ZERO = 0.04  # m of gear height at rest: two real landings have -3 and 0 mm, estimators drift by 1 to 2 cm; guess


def gear_height(log: FlightLog, vehicle: Vehicle | None) -> np.ndarray | None:
    """Of the lowest gear point above the ground in m, ``(N,)``; None where it is not known."""
    if log.height is not None:
        return log.height
    if vehicle is None:
        return None
    return np.asarray(vehicle.lowest_point(log.position, quaternion_to_matrix(log.attitude)))


def wrong_zero(log: FlightLog, vehicle: Vehicle, airborne: np.ndarray) -> str:
    """What a rest with little thrust before or after the flight says against the log's heights; empty if nothing.

    ``airborne`` (N,) bool is by thrust: without one a rest is not told from a hover, and nothing is said.
    """
    heights = gear_height(log, vehicle)
    if heights is None or relative_thrust(log, vehicle) is None or not airborne.any():
        return ""
    first, last = np.flatnonzero(airborne)[[0, -1]]
    still = np.linalg.norm(log.velocity, axis=1) < RESTING
    for what, rows in (("begins", slice(0, first)), ("ends", slice(last + 1, None))):
        standing = heights[rows][still[rows]]
        if len(standing) < LEAST_STANDING / float(np.median(np.diff(log.t))):
            continue
        zero = float(np.median(standing))
        if abs(zero) > WRONG_ZERO:
            return (
                f"it {what} at rest with little thrust, and its gear {1e2 * zero:+.0f} cm above the ground: its zero "
                "of height is wrong by as much, or it stands on something; correct the height, or cut that part off"
            )
    return ""
