"""The landing gear as both worlds have it: feet and hubs as small spheres, on springs with dampers."""

from __future__ import annotations

import math

import numpy as np

from neural_lander.vehicle import Vehicle

FOOT_RADIUS = 0.1  # of the gear's height: spheres as feet
GEAR_SAG = 0.0015  # m, how far legs and rubber feet give way under the weight, guess
GEAR_DAMPING_RATIO = 0.5  # of the vehicle on its gear, guess: rubber


def contact_spheres(vehicle: Vehicle) -> tuple[np.ndarray, float]:
    """Middles (K, 3) of feet and hubs in m, body, and their radius in m."""
    radius = FOOT_RADIUS * vehicle.gear_clearance
    return np.concatenate([vehicle.gear_points + [0.0, 0.0, radius], vehicle.rotor_positions]), radius


def foot_spring(vehicle: Vehicle) -> tuple[float, float]:
    """Stiffness in N/m and damping in N s/m of one foot."""
    feet, whole = len(vehicle.gear_points), vehicle.weight / GEAR_SAG
    return whole / feet, 2 * GEAR_DAMPING_RATIO * math.sqrt(whole * vehicle.mass) / feet
