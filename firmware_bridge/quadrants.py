"""Which motor of an autopilot a rotor of the profile is, by the quadrant that it lies in."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from neural_lander.vehicle import Vehicle


def motors_by_quadrant(vehicle: Vehicle, quadrants: Sequence[tuple[int, int]]) -> tuple[int, ...] | None:
    """For each rotor of the profile the autopilot's motor, counted from 0; None where they lie in no X (a quad +).

    ``quadrants`` has the signs of body x (forward) and y (left) of the autopilot's motors 1 to 4.
    """
    signs = [(int(np.sign(x)), int(np.sign(y))) for x, y in vehicle.rotor_positions[:, :2]]
    return tuple(quadrants.index(sign) for sign in signs) if set(signs) == set(quadrants) else None
