"""Flights with a residual that is known exactly: a vertical loop with thrust dither, flown by a crude PD."""

from typing import Any

import numpy as np
from scipy.signal import butter, sosfilt

from neural_lander.flightlog import FlightLog
from neural_lander.rotation import quaternion_exp, quaternion_to_matrix
from neural_lander.vehicle import GRAVITY, Vehicle

GAIN = 0.19  # of the thrust at height 0: 2.7 N for 1.47 kg
DECAY = 0.115  # m: half of it is left at 8 cm
DRAG = 0.1  # N per m/s
PERIOD = 0.01  # s


def true_residual(height: np.ndarray, velocity: np.ndarray, thrust: np.ndarray) -> np.ndarray:
    """f_a in N, world, for level rotors."""
    f_a = -DRAG * velocity
    f_a[..., 2] += GAIN * np.exp(-height / DECAY) * thrust
    return f_a


def smooth(rng: np.random.Generator, n: int, low: float, high: float, rms: float, columns: int = 1) -> np.ndarray:
    """Band-limited noise between two frequencies in Hz, ``(n, columns)``."""
    noise = sosfilt(butter(2, [low, high], "band", fs=1 / PERIOD, output="sos"), rng.normal(size=(n, columns)), axis=0)
    return np.asarray(rms * noise / noise.std(axis=0))


def pushed(force: np.ndarray, mass: float) -> np.ndarray:
    """Velocity (N, 2) in m/s that a horizontal force in N gives against drag; it begins so that none is left over."""
    velocity = np.zeros_like(force)
    for k in range(len(force) - 1):
        velocity[k + 1] = velocity[k] + PERIOD * (force[k] - DRAG * velocity[k]) / mass
    return np.asarray(velocity - velocity.mean(axis=0))


def flight(
    vehicle: Vehicle,
    seconds: float = 60.0,
    seed: int = 0,
    noise: float = 0.1,
    top: float = 1.0,
    low_share: float = 0.6,
    tilt: float = 0.03,
    known: float = 1.0,
    **changes: Any,
) -> FlightLog:
    """Sweeps between the ground and ``top`` m with 10 % thrust dither; ``noise`` in N on the label, ``tilt`` in rad.

    ``known``: the share of the ground effect that the controller compensates.
    """
    rng = np.random.default_rng(seed)
    n, m, weight = round(seconds / PERIOD), vehicle.mass, vehicle.weight
    t = PERIOD * np.arange(n)
    knots = np.arange(0.0, seconds + 4.0, 2.0)
    targets = np.where(
        rng.random(len(knots)) < low_share, rng.uniform(0.0, 0.2, len(knots)), rng.uniform(0.0, top, len(knots))
    )
    reference = np.interp(t, knots, targets)
    dither = smooth(rng, n, 0.5, 4.0, 0.1 * weight)[:, 0]
    rotors = smooth(rng, n, 0.5, 4.0, 0.02 * weight, 4)
    rotors -= rotors.mean(axis=1, keepdims=True)
    attitude = quaternion_exp(smooth(rng, n, 0.1, 1.0, 1.0, 3) * tilt)
    up = quaternion_to_matrix(attitude)[:, :, 2]
    upright = up[:, 2]
    height, speed, thrust = np.empty(n), np.empty(n), np.empty(n)
    h, v, a_before = float(reference[0]), 0.0, 0.0
    for k in range(n):
        ground = GAIN * np.exp(-max(h, 0.0) / DECAY)
        T = (m * GRAVITY + m * (16.0 * (reference[k] - h) - 8.0 * v)) / (upright[k] + known * ground) + dither[k]
        height[k], speed[k], thrust[k] = h, v, T
        a = (T * (upright[k] + ground) - DRAG * v) / m - GRAVITY
        h += PERIOD * (v + PERIOD * a / 2)
        v += PERIOD * (1.5 * a - 0.5 * a_before)  # Adams-Bashforth: differences of v are a to second order
        a_before = a
        if h < 0.0:
            h, v = 0.0, abs(v)
    rotor_thrust = np.maximum(thrust[:, None] / 4 + rotors, 1e-3)
    thrust = rotor_thrust.sum(axis=1)
    velocity = np.column_stack([pushed(up[:, :2] * thrust[:, None], m), speed])
    force = up * thrust[:, None] + true_residual(height, velocity, thrust)
    position = np.column_stack([np.cumsum(velocity[:, :2], axis=0) * PERIOD, height])
    position[:, 2] -= vehicle.lowest_point(position, quaternion_to_matrix(attitude)) - height
    fields: dict[str, Any] = {
        "t": t,
        "position": position,
        "velocity": velocity,
        "attitude": attitude,
        "specific_force": (force + noise * rng.normal(size=(n, 3))) / m,
        "rotor_speed": np.sqrt(rotor_thrust / vehicle.thrust_coefficient),
        "height": height,
        "metadata": {"source": f"synthetic-{seed}"},
    }
    return FlightLog.from_arrays(**(fields | changes))
