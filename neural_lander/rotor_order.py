"""Which rotor of a log or of an autopilot a rotor of the profile is, by the quadrant that it lies in."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from neural_lander.vehicle import Vehicle

QUADRANTS_KEY = "rotor_quadrants"
"""In a log's metadata: the quadrants of its rotors 1 to 4, null where they are not known. Without the key they are in
the profile's order."""
Quadrants = Sequence[Sequence[int]]
"""Signs of body x (forward) and y (left) of rotors 1 to 4."""

AUTOPILOT_X: tuple[tuple[int, int], ...] = ((1, -1), (-1, 1), (1, 1), (-1, -1))
"""Front right, rear left, front left, rear right, both in PX4 (quad X, airframe reference) and in ArduPilot
(FRAME_CLASS 1, FRAME_TYPE 1)."""
CRAZYFLIE: tuple[tuple[int, int], ...] = ((1, -1), (-1, -1), (-1, 1), (1, 1))
"""M1 to M4, clockwise from front right (Bitcraze)."""


def as_json(quadrants: Quadrants) -> list[list[int]]:
    """For a log's metadata."""
    return [list(quadrant) for quadrant in quadrants]


def motors_by_quadrant(vehicle: Vehicle, quadrants: Quadrants) -> tuple[int, ...] | None:
    """For each rotor of the profile the one of ``quadrants``, from 0; None where they lie in no X (a quad +)."""
    signs = [(int(np.sign(x)), int(np.sign(y))) for x, y in vehicle.rotor_positions[:, :2]]
    known = [(int(x), int(y)) for x, y in quadrants]
    return tuple(known.index(sign) for sign in signs) if set(signs) == set(known) else None
