"""Whether a log's frame is read as it was written: z up, upright in flight, heights in m."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from neural_lander.flightlog.log import FlightLog
from neural_lander.rotation import quaternion_to_matrix
from neural_lander.vehicle import Vehicle

UPRIGHT = 0.5  # cosine of the tilt: beyond 60 degrees at the end it crashed
MOST = 0.5  # of the flight: what is wrong for longer is no crash and no dip, but a frame that is misread
UNDER = 0.3  # m: a floor that is not at z = 0 by more than that holds no ground effect either; a guess
LEAST_TRAVEL = 0.1  # m, of the height's standard deviation: beyond noise and a rangefinder's steps; a guess
LEVEL = 0.9  # correlation of height and z from which the floor is level; a guess
LEVEL_RATIO = 2.0  # between how far they move over one: feet are 3.3; a guess
MOST_RATIO = 20.0  # the same over any other; a guess
OPPOSED = -0.5  # correlation of height and z: a floor with steps weakens it, and turns it round nowhere; a guess
Z_DOWN = 'does z point down? Then a column map says world = "NED"'


def misread_frame(log: FlightLog, vehicle: Vehicle | None, seconds: np.ndarray) -> Iterator[str]:
    """What shows that axes, signs or units of position and attitude are others than the log says.

    Parameters
    ----------
    vehicle
        With it comes the gear's height over a floor at z = 0.
    seconds
        ``(N,)`` of flight that each record stands for.
    """
    flight = float(seconds.sum()) or 1.0  # s
    z, R = log.position[:, 2], quaternion_to_matrix(log.attitude)
    tilted = float(seconds[R[:, 2, 2] < UPRIGHT].sum()) / flight
    if tilted > MOST:
        yield (
            f"the attitude is more than 60 degrees from upright for {100 * tilted:.0f} % of the flight: is the "
            "quaternion's order right (wxyz or xyzw), is it from body to world, and is the world's frame?"
        )
    if log.height is not None:
        yield from _height_against(log.height, z)
        return
    gear = z if vehicle is None else np.asarray(vehicle.lowest_point(log.position, R))
    under = float(seconds[gear < -UNDER].sum()) / flight
    if under > MOST:
        what = "position z" if vehicle is None else "the gear"
        share = f"{100 * under:.0f} % of the flight"
        yield f"{what} is more than {UNDER:g} m below the ground, z = 0, for {share}: {Z_DOWN}"


def _height_against(height: np.ndarray, z: np.ndarray) -> Iterator[str]:
    """Over a floor, be it with steps, height goes the same way as position z, and about as far."""
    spread, spread_z = float(np.std(height)), float(np.std(z))
    together = float(np.corrcoef(height, z)[0, 1]) if min(spread, spread_z) > LEAST_TRAVEL else 0.0
    if together < OPPOSED:
        yield f"height rises while position z falls (correlation {together:.2f}): {Z_DOWN}"
    ratio, most = spread / max(spread_z, LEAST_TRAVEL), LEVEL_RATIO if together > LEVEL else MOST_RATIO
    if ratio > most or (spread_z > LEAST_TRAVEL and ratio < 1 / most):
        yield f"height moves {ratio:.3g} times as far as position z: are both in m?"
