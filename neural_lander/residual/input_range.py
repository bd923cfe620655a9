"""What training takes from the spread of its inputs: their scale, their range, and what each sample weighs."""

from __future__ import annotations

import numpy as np

from neural_lander.residual.domain import lowest_height
from neural_lander.residual.features import Features
from neural_lander.residual.options import TrainingOptions
from neural_lander.vehicle import Vehicle


def state_scale(zeta: np.ndarray, features: Features, options: TrainingOptions) -> np.ndarray:
    """Spread with a floor; height has a scale of its own: that of ground effect, not of the flight."""
    scale = np.maximum(zeta.std(axis=0), features.scale_floor)
    if features.labels[0] == "h":
        scale[0] = options.height_scale
    return scale


def input_range(zeta: np.ndarray, features: Features) -> tuple[np.ndarray, np.ndarray]:
    """Least and largest of each input, ``(n,)``, height down to the ground.

    One that never changed, as level is in a climb straight up, has a range too.
    """
    low, high = zeta.min(axis=0), zeta.max(axis=0)
    room = np.where(high - low > 0.0, 0.0, 0.5 * np.array(features.scale_floor))
    low, high = low - room, high + room
    if features.labels[0] == "h":
        low[0] = lowest_height(float(low[0]))
    return low, high


def sample_weights(height: np.ndarray, vehicle: Vehicle, options: TrainingOptions) -> np.ndarray:
    """More weight within a rotor radius of the ground, where the effect is and samples are few; mean 1."""
    weights = 1.0 + (options.near_ground_weight - 1.0) * np.exp(-np.maximum(height, 0.0) / vehicle.rotor_radius)
    return np.asarray(weights / weights.mean())
