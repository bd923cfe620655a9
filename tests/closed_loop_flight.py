"""Vertical flights in closed loop with a known lag, delay, damping and thrust scale, integrated at 500 Hz."""

from typing import Any

import numpy as np
from scipy.signal import butter, sosfilt

from neural_lander.flightlog import FlightLog
from neural_lander.rotation import quaternion_exp
from neural_lander.vehicle import GRAVITY, Vehicle

STEP = 0.002  # s
FINE = 5  # steps per record of 10 ms; the command is held between records


def smooth(rng: np.random.Generator, n: int, high: float, rms: float) -> np.ndarray:
    """Noise up to ``high`` Hz, ``(n,)``."""
    noise = sosfilt(butter(6, high, fs=1 / STEP, output="sos"), rng.normal(size=n))
    return np.asarray(rms * noise / noise.std())


def closed_loop_flight(
    vehicle: Vehicle,
    seconds: float = 60.0,
    seed: int = 0,
    *,
    time_constant: float = 0.06,
    delay: float = 0.02,
    scale: float = 1.0,
    damping: float = 0.5,
    battery_slope: float = 0.0,
    motion: float = 0.25,
    disturbance: float = 0.02,
    dither: float = 0.0,
    accelerometer_bias: tuple[float, float, float] = (0.0, 0.0, 0.0),
    tilt_error: tuple[float, float] = (0.0, 0.0),
    yaw_rate: float = 0.0,
    **changes: Any,
) -> FlightLog:
    """Around 1.8 m, following a smooth reference.

    Parameters
    ----------
    time_constant, delay
        From the commanded to the produced thrust, s.
    scale, battery_slope
        Produced over nominal thrust; and N per V of a battery that falls from 16.4 to 14.8 V.
    damping
        N per m/s of climb.
    motion
        Rms of the reference about its mean, m.
    disturbance
        Rms of a force up to 3 Hz, share of the weight: what feedback answers.
    dither
        Rms of thrust that is added from outside up to 4 Hz, share of the weight.
    accelerometer_bias, tilt_error, yaw_rate
        Body, m/s^2; fixed in the world's horizontal plane, m/s^2; rad/s.
    """
    rng = np.random.default_rng(seed)
    m, weight, n = vehicle.mass, vehicle.weight, round(seconds / STEP)
    reference = 1.8 + smooth(rng, n, 0.5, motion)
    rate = np.gradient(reference, STEP)
    push, shake = smooth(rng, n, 3.0, disturbance * weight), smooth(rng, n, 4.0, dither * weight)
    volts = np.linspace(16.4, 14.8, n)
    line = [weight] * round(delay / STEP)
    share = 1.0 - np.exp(-STEP / time_constant)
    z, v, thrust = reference[0], 0.0, weight
    height, speed, force, command = np.empty(n), np.empty(n), np.empty(n), np.empty(n)
    for k in range(n):
        if k % FINE == 0:
            asked = weight + m * (9.0 * (reference[k] - z) + 6.0 * (rate[k] - v)) + shake[k]
        line.append(asked)
        thrust += share * (line.pop(0) - thrust)
        lift = scale * thrust + battery_slope * (volts[k] - volts.mean()) - damping * v
        height[k], speed[k], force[k], command[k] = z, v, lift + push[k], asked
        v += STEP * (force[k] / m - GRAVITY)
        z += STEP * v
    at = slice(0, n, FINE)
    t = STEP * np.arange(n)[at]
    rows, zero = len(t), np.zeros(len(t))
    yaw = yaw_rate * t
    bias = np.asarray(accelerometer_bias)
    world_bias = np.column_stack([np.cos(yaw) * bias[0] - np.sin(yaw) * bias[1],
                                  np.sin(yaw) * bias[0] + np.cos(yaw) * bias[1], zero + bias[2]])  # fmt: skip
    specific = np.column_stack([zero + tilt_error[0], zero + tilt_error[1], force[at] / m]) + world_bias
    fields: dict[str, Any] = {
        "t": t,
        "position": np.column_stack([zero, zero, height[at]]),
        "velocity": np.column_stack([zero, zero, speed[at]]),
        "attitude": quaternion_exp(np.column_stack([zero, zero, yaw])),
        "specific_force": specific + 0.02 * rng.normal(size=(rows, 3)),
        "rotor_command": np.sqrt(np.repeat(command[at, None] / 4, 4, axis=1) / vehicle.thrust_coefficient),
        "battery_voltage": volts[at],
        "position_reference": np.column_stack([zero, zero, reference[at]]),
        "metadata": {"source": f"closed-loop-{seed}"},
    }
    return FlightLog.from_arrays(**(fields | changes))
