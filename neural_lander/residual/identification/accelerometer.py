"""Errors of accelerometer and attitude: the logged specific force held against the change of velocity.

Over a second, the integral of the specific force in the world plus gravity is the change of velocity. What is left:

    e = R b + (tilt error) x g

with b the accelerometer's bias in the body. Neither is a force on the vehicle, yet the label f_a = m a - T R e_z takes
in all of it: the lateral mean of f_a in a hover is mostly this. The two come apart only where the vehicle yaws.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from neural_lander.residual.identification.signals import FlightSignals
from neural_lander.residual.resample import SAMPLE_PERIOD
from neural_lander.residual.samples import ResidualSamples
from neural_lander.vehicle import G_VECTOR, GRAVITY, Vehicle

WINDOW = 100  # samples, 1 s
LEAST_WINDOWS = 8
LEAST_YAW_SPREAD = np.radians(30.0)  # circular sd: below it body and world turn together; a guess


def accelerometer_report(signals: FlightSignals, samples: ResidualSamples, vehicle: Vehicle) -> dict[str, Any]:
    """Error of the specific force, world and where possible body; lateral mean of the label; JSON values."""
    lateral = samples.label[signals.high, :2].mean(axis=0) if signals.high.any() else None
    report: dict[str, Any] = {
        "lateral_bias_x_N": None if lateral is None else float(lateral[0]),
        "lateral_bias_y_N": None if lateral is None else float(lateral[1]),
    }
    if not signals.accelerometer:
        return {**report, "reason": "no specific force in the log: velocity is differentiated, and nothing compares"}
    starts = _windows(samples.usable)
    if len(starts) < LEAST_WINDOWS:
        return {**report, "reason": f"{len(starts)} s of whole seconds in free flight; {LEAST_WINDOWS} are needed"}
    error = np.array([_mean(signals.specific_force, k) + G_VECTOR - _slope(signals.velocity, k) for k in starts])
    R = np.array([signals.rotation[k : k + WINDOW + 1].mean(axis=0) for k in starts])
    mean, se = error.mean(axis=0), error.std(axis=0, ddof=1) / np.sqrt(len(error))
    report |= {
        "windows": len(starts),
        "error_world_m_s2": mean.tolist(),
        "error_world_se_m_s2": se.tolist(),
        "error_as_force_N": (vehicle.mass * mean).tolist(),
        "error_as_tilt_deg": float(np.degrees(np.hypot(mean[0], mean[1]) / GRAVITY)),
    }
    if lateral is not None:
        left = lateral - vehicle.mass * mean[:2]
        report["share_of_lateral_bias_explained"] = 1 - float(left @ left) / max(float(lateral @ lateral), 1e-12)
    yaw = np.arctan2(R[:, 1, 0], R[:, 0, 0])
    concentration = float(np.hypot(np.cos(yaw).mean(), np.sin(yaw).mean()))
    spread = float(np.sqrt(max(0.0, -2 * np.log(max(concentration, 1e-12)))))
    report["yaw_spread_deg"] = float(np.degrees(spread))
    if spread < LEAST_YAW_SPREAD:
        report["remark"] = "yaw hardly changes: accelerometer bias and tilt error cannot be told apart"
        return report
    return report | _apart(error, R)


def _apart(error: np.ndarray, R: np.ndarray) -> dict[str, Any]:
    """Bias of the accelerometer in the body, and what stays fixed in the world's horizontal plane."""
    n = len(error)
    world = np.broadcast_to(np.eye(3)[:, :2], (n, 3, 2))
    X = np.concatenate([R, world], axis=2).reshape(3 * n, 5)
    beta, *_ = np.linalg.lstsq(X, error.ravel(), rcond=None)
    rest = error.ravel() - X @ beta
    se = np.sqrt(np.diag(np.linalg.inv(X.T @ X)) * (rest @ rest) / (len(rest) - 5))
    return {
        "accelerometer_bias_body_m_s2": beta[:3].tolist(),
        "accelerometer_bias_body_se_m_s2": se[:3].tolist(),
        "error_fixed_in_world_m_s2": beta[3:].tolist(),
        "error_fixed_in_world_se_m_s2": se[3:].tolist(),
    }


def _windows(free: np.ndarray) -> list[int]:
    """First samples of whole seconds in free flight."""
    return [k for k in range(0, len(free) - WINDOW, WINDOW) if free[k : k + WINDOW + 1].all()]


def _mean(values: np.ndarray, k: int) -> np.ndarray:
    return np.asarray(np.trapezoid(values[k : k + WINDOW + 1], dx=SAMPLE_PERIOD, axis=0) / (WINDOW * SAMPLE_PERIOD))


def _slope(values: np.ndarray, k: int) -> np.ndarray:
    return np.asarray((values[k + WINDOW] - values[k]) / (WINDOW * SAMPLE_PERIOD))
