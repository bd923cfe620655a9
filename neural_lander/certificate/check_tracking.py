"""The tracking bound of a certificate, from its measured numbers and gains: NumPy and the standard library alone.

The sampled loop: s+ = s + dt (-lambda s - D / m + w / m), D+ = D + dt Gamma m lambda s (``certificate.tracking``).
"""

import hashlib
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

FILTERS = (math.inf, 3.0, 1.0, 0.3, 0.1)
"""s, time constants that a disturbance may be split by; infinite: all of it counts by its size."""
DECAYED = 1e-9  # relative: where the recursion may stop; what is left is bounded by the last slope, and added
ROUNDING = 1e-9


def gains_sha256(Lambda: float, K_v: float, Gamma: float) -> str:
    """Hash of the gains that a bound holds for, in 1/s, kg/s, 1/s."""
    return hashlib.sha256(np.array([Lambda, K_v, Gamma], dtype="<f8").tobytes()).hexdigest()


def responses(lam: float, Lam: float, Gamma: float, dt: float, least: int = 1) -> dict[str, np.ndarray]:
    """After s(0) = 1: s, p~ in s and p~' at the steps; ``step``: s after a unit step of w / m, in s.

    The sampled loop is that of the module, with p~+ = p~ + dt (s - Lambda p~).
    """
    A = np.array([[1 - dt * lam, -dt, 0.0], [dt * Gamma * lam, 1.0, 0.0], [dt, 0.0, 1 - dt * Lam]])  # s, D / m, p~
    if Gamma == 0:
        A = A[np.ix_([0, 2], [0, 2])]
    slowest = float(np.max(np.abs(np.linalg.eigvals(A))))
    if not (0 < dt * lam < 1 and 0 < dt * Lam < 1 and slowest < 1):
        raise ValueError("the sampled loop is not stable")
    n = max(least, math.ceil(math.log(DECAYED) / math.log(slowest)) + 1)
    x, states = np.eye(len(A))[0], np.empty((n, len(A)))
    for k in range(n):
        states[k] = x
        x = A @ x
    s, p = states[:, 0], states[:, -1]
    return {"s": s, "p": p, "v": s - Lam * p, "step": dt * np.concatenate([[0.0], np.cumsum(s)[:-1]])}


def tracking_numbers(
    measured: Mapping[str, Any], mass: float, lam: float, Lam: float, Gamma: float, L_u: float, dt: float
) -> dict[str, float]:
    """What follows: decay, gains and balls; SI, the unit in each key."""
    of = responses(lam, Lam, Gamma, dt)
    s, p, v, rate = (dt * float(np.abs(of[name]).sum()) * (1 + 10 * DECAYED) for name in ("s", "p", "v", "step"))
    gap = L_u * measured["input_gap_N"]
    slow = measured["disturbance_rate_N_s"] * rate if measured["split_time_constant_s"] is not None else 0.0
    vertical = measured["disturbance_vertical_N"] + gap
    return {
        "decay_rate_1_s": lam if Gamma == 0 else (lam - math.sqrt(max(lam * lam - 4 * Gamma * lam, 0.0))) / 2,
        "gain_of_size_s": s,
        "gain_of_rate_s2": rate if Gamma > 0 else 0.0,
        "s_ball_m_s": ((measured["disturbance_N"] + gap) * s + slow) / mass,
        "height_ball_m": vertical * p / mass,
        "vertical_speed_ball_m_s": vertical * v / mass,
    }


def tracking_problems(tracking: Mapping[str, Any], mass: float, L_u: float) -> Iterator[str]:
    """Claims of a certificate's ``tracking`` that do not follow from its own measured numbers and gains."""
    gains, measured, numbers, dt = tracking["gains"], tracking["measured"], tracking["numbers"], tracking["step_s"]
    Lam, K_v, Gamma = gains["Lambda_1_s"], gains["K_v_kg_s"], gains["Gamma_1_s"]
    values = [Lam, K_v, dt, *(v for v in measured.values() if v is not None), *numbers.values()]
    if (
        not all(isinstance(v, (int, float)) and math.isfinite(v) and v >= 0 for v in values)
        or not min(Lam, K_v, dt) > 0
    ):
        yield "tracking holds a number that is negative or not finite"
        return
    if tracking["gains_sha256"] != gains_sha256(Lam, K_v, Gamma):
        yield "tracking was made for other gains: gains_sha256 differs"
    if measured["split_time_constant_s"] is not None and measured["split_time_constant_s"] not in FILTERS:
        yield f"tracking.split_time_constant_s = {measured['split_time_constant_s']!r} is not one of {FILTERS[1:]}"
        return
    true = tracking_numbers(measured, mass, K_v / mass, Lam, Gamma, L_u, dt)
    for name, value in true.items():
        claimed = numbers[name]
        holds = claimed <= value * (1 + ROUNDING) if name == "decay_rate_1_s" else claimed >= value * (1 - ROUNDING)
        if not holds:
            yield f"tracking.{name} = {claimed!r} does not follow from the measured numbers and the gains ({value!r})"
