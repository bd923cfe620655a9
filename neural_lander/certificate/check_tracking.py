"""The tracking bound of a certificate, from its measured numbers and gains: NumPy and the standard library alone.

The sampled loop, with p~+ = p~ + dt v~+ and s = v~ + Lambda p~ (``certificate.tracking``):

    s+ = s + dt (-lambda s - D / m + w / m)    D+ = D + dt Gamma m lambda s    p~+ = (p~ + dt s+) / (1 + dt Lambda)
"""

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from neural_lander.certificate.check_files import SCHEMA, labels, numbers, strange_entries
from neural_lander.certificate.check_slopes import ROTORS

FILTERS = (3.0, 1.0, 0.3, 0.1)
"""s, time constants that a disturbance may be split by."""
DECAYED = 1e-13  # relative: where the recursion stops; two equal poles leave some 30 times as much, and it is added
LEFT = 1e-9  # relative, added to sums for what comes after and for rounding
ROUNDING = 1e-9
ENTRIES = SCHEMA["$defs"]["tracking"]["properties"]["entries"]
LABELS = labels(ENTRIES)
"""Unit, norm and status of every number of a tracking bound. What follows from a measured number counts as measured."""
VERIFIED = {name for name in LABELS if name.startswith("verified")}
AT_MOST = {
    "start_s_vertical": "start_s",
    "disturbance_vertical": "start_level",
    "disturbance_quantile": "disturbance",
    "verified_violations": "verified_flights",
    "verified_height_violations": "verified_flights",
    "verified_outside_domain": "verified_flights",
    "verified_time_above_disturbance": "verified_time_above_quantile",
}
"""Number -> another that it is part of."""


def asked_sha256(document: Mapping[str, Any], domain: Any) -> str:
    """Hash of what was subtracted while a bound was measured.

    That is a certificate's network, asked within its range of rotor thrusts, faded out by the ``domain`` of
    ``bundle.json``.
    """
    low, high = (document["entries"][f"rotor_thrust_{end}"]["value"] for end in ("low", "high"))
    asked = json.dumps([document["network_sha256"], low, high, domain], sort_keys=True)
    return hashlib.sha256(asked.encode()).hexdigest()


def gains_sha256(Lambda: float, K_v: float, Gamma: float) -> str:
    """Hash of the gains that a bound holds for, in 1/s, kg/s, 1/s."""
    return hashlib.sha256(np.array([Lambda, K_v, Gamma], dtype="<f8").tobytes()).hexdigest()


def responses(lam: float, Lam: float, Gamma: float, dt: float, least: int = 1) -> dict[str, np.ndarray]:
    """After s(0) = 1: s, p~ in s and v~ at the steps; ``step``: s after a unit step of w / m, in s.

    ``p_kicked`` and ``v_kicked`` are after a kick that brings s to 1, as w does: p~ moves within that step already.
    ``left`` is p~ after p~(0) = 1, with s = 0.
    """
    kept = 1 / (1 + dt * Lam)
    s_next = np.array([1 - dt * lam, -dt, 0.0])
    A = np.array([s_next, [dt * Gamma * lam, 1.0, 0.0], kept * (dt * s_next + [0.0, 0.0, 1.0])])  # s, D / m, p~
    if Gamma == 0:
        A = A[np.ix_([0, 2], [0, 2])]
    slowest = float(np.max(np.abs(np.linalg.eigvals(A))))
    if not (0 < dt * lam < 1 and 0 < dt * Lam < 1 and slowest < 1 - 1e-4):
        raise ValueError("the sampled loop is not stable")
    n = max(least, math.ceil(math.log(DECAYED) / math.log(slowest)) + 1)
    x, states = np.eye(len(A))[0], np.empty((n, len(A)))
    for k in range(n):
        states[k] = x
        x = A @ x
    s, p, left = states[:, 0], states[:, -1], kept ** np.arange(n)
    p_kicked = p + dt * kept * left
    return {
        "s": s, "p": p, "v": s - Lam * p, "p_kicked": p_kicked, "v_kicked": s - Lam * p_kicked, "left": left,
        "step": dt * np.concatenate([[0.0], np.cumsum(s)[:-1]]),
    }  # fmt: skip


def decay_rate(lam: float, Lam: float, Gamma: float, dt: float) -> float:
    """Of s, p~ and the trim in 1/s: exp(-rate dt) is the size of the sampled loop's slowest pole.

    The poles are 1 / (1 + dt Lambda), by which p~ follows s, and the roots of z^2 - (2 - a) z + 1 - a + b, with
    a = dt lambda and b = dt^2 Gamma lambda.
    """
    a, b = dt * lam, dt * dt * Gamma * lam
    apart = a * a - 4 * b
    size = (2 - a + math.sqrt(apart)) / 2 if apart > 0 else math.sqrt(1 - a + b)
    return -math.log(max(size if Gamma > 0 else 1 - a, 1 / (1 + dt * Lam))) / dt


def kicked(response: np.ndarray, last: int) -> np.ndarray:
    """Largest |response| since a kick of size 1 at any of the first ``last`` steps, at each step."""
    size = np.concatenate([[0.0], np.abs(response[:-1])])  # a kick at step j acts from j + 1 on
    blocks = np.concatenate([np.zeros(last - 1), size, np.zeros(-(len(size) + last - 1) % last)]).reshape(-1, last)
    before, after = np.maximum.accumulate(blocks, axis=1), np.maximum.accumulate(blocks[:, ::-1], axis=1)[:, ::-1]
    n = len(size)  # a window of ``last`` steps is the end of a block and the beginning of the next
    return np.maximum(after.ravel()[:n], before.ravel()[last - 1 : last - 1 + n])


def envelopes(
    value: Mapping[str, float], mass: float, steps: int = 1, start: Mapping[str, float] | None = None
) -> dict[str, np.ndarray]:
    """Bounds on |s|, |height error| and |vertical speed error| at each step after a start, by name; SI.

    Parameters
    ----------
    value
        Gains and measured sizes by the names of ``LABELS``.
    start
        ``start_s``, ``start_s_vertical``, ``start_height_error``; default: the largest that were measured.
    """
    start = start or value
    lam, Lam, dt = value["K_v"] / mass, value["Lambda"], value["controller_step"]
    window = max(1, round(value["start_time"] / dt))
    of = responses(lam, Lam, value["Gamma"], dt, max(steps, window + 1, round(value["settled_time"] / dt) + 1))
    ball = _balls(value, of, mass, dt)
    impulse, vertical = value["start_impulse"] / mass, value["start_impulse_vertical"] / mass
    p_0, s_z = start["start_height_error"], start["start_s_vertical"]
    return {
        "s": np.abs(of["s"]) * start["start_s"] + impulse * kicked(of["s"], window) + ball["s_ball"],
        "height": np.abs(of["p"]) * s_z
        + p_0 * of["left"]
        + vertical * kicked(of["p_kicked"], window)
        + ball["height_ball"],
        "vertical_speed": np.abs(of["v"]) * s_z
        + Lam * p_0 * of["left"]
        + vertical * kicked(of["v_kicked"], window)
        + ball["vertical_speed_ball"],
    }


def _balls(value: Mapping[str, float], of: Mapping[str, np.ndarray], mass: float, dt: float) -> dict[str, float]:
    """Where errors end once the start has died out, and the gains from w to them.

    w is measured from s, so that f_a_hat asked for other rotor thrusts than those commanded is in it: at most L_u times
    the gap between them, which is not to be added again.
    """
    s, p, v, rate = (dt * float(np.abs(of[name]).sum()) * (1 + LEFT) for name in ("s", "p_kicked", "v_kicked", "step"))
    slow = value["disturbance_rate"] * rate if "split_time_constant" in value else 0.0
    vertical = value["disturbance_vertical"]
    s_ball = (value["disturbance"] * s + slow) / mass
    return {
        "gain_of_size": s,
        **({"gain_of_rate": rate} if value["Gamma"] > 0 else {}),
        "s_ball": s_ball,
        "p_ball": s_ball / value["Lambda"],
        "height_ball": vertical * p / mass,
        "vertical_speed_ball": vertical * v / mass,
    }


def tracking_numbers(value: Mapping[str, float], mass: float) -> dict[str, float]:
    """What follows from gains and measured sizes by the names of ``LABELS``: decay, gains, balls and worst cases."""
    lam, Gamma, dt = value["K_v"] / mass, value["Gamma"], value["controller_step"]
    bounds, settled = envelopes(value, mass), round(value["settled_time"] / dt)
    of = responses(lam, value["Lambda"], Gamma, dt)
    return {
        "decay_rate": decay_rate(lam, value["Lambda"], Gamma, dt),
        **_balls(value, of, mass, dt),
        "s_worst": float(bounds["s"].max()),
        "height_worst": float(bounds["height"].max()),
        "height_settled": float(bounds["height"][settled:].max()),
        "vertical_speed_settled": float(bounds["vertical_speed"][settled:].max()),
    }


def tracking_problems(tracking: Mapping[str, Any], profile: Mapping[str, Any], asked: str) -> Iterator[str]:
    """Claims of a certificate's ``tracking`` that do not follow from its own measured numbers and gains.

    ``profile`` is that of the vehicle, ``asked`` the :func:`asked_sha256` of what flies.
    """
    mass, c_T, n_max = (profile[name]["value"] for name in ("mass", "thrust_coefficient", "rotor_speed_max"))
    entries = tracking["entries"]
    if strange := list(strange_entries(entries, ENTRIES, "tracking.")):
        yield from strange
        return
    value = {name: entry["value"] for name, entry in entries.items()}
    Lam, K_v, Gamma = value["Lambda"], value["K_v"], value["Gamma"]
    times = [value["start_time"], value["settled_time"]]
    if not min(Lam, K_v, value["controller_step"]) > 0 or not all(
        1 <= t / value["controller_step"] <= 1e5 for t in times
    ):
        yield "tracking: Lambda, K_v and controller_step must be positive, start and settled_time 1 to 1e5 such steps"
        return
    if tracking["gains_sha256"] != gains_sha256(Lam, K_v, Gamma):
        yield "tracking was made for other gains: gains_sha256 differs"
    if value.get("split_time_constant", FILTERS[0]) not in FILTERS:
        yield f"tracking.split_time_constant = {value['split_time_constant']!r} is not one of {FILTERS}"
    for name in ({"split_time_constant", "gain_of_rate"} & value.keys()) if Gamma == 0 else ():
        yield f"tracking.{name} stands beside Gamma = 0: only a trim keeps what is slow from adding up"
    if value["input_gap_per_s"] != 0:
        yield f"tracking.input_gap_per_s = {value['input_gap_per_s']!r}: all of the gap stands in input_gap"
    if not value["quantile"] < 1 or value.get("verified_time_above_quantile", 0) > 1:
        yield "tracking.quantile or tracking.verified_time_above_quantile is no share"
    if VERIFIED & value.keys() and not value.keys() >= VERIFIED:
        yield f"tracking.{min(VERIFIED - value.keys())} is missing, beside {min(VERIFIED & value.keys())}"
        return
    for part, whole in (
        AT_MOST if "split_time_constant" in value else AT_MOST | {"start_level": "disturbance"}
    ).items():
        if value.get(part, 0) > value.get(whole, 0) * (1 + ROUNDING):
            yield f"tracking.{part} = {value[part]!r} exceeds tracking.{whole} = {value[whole]!r}"
        if whole == "verified_flights" and (value.get(part, 0) % 1 or value.get(whole, 0) % 1):
            yield f"tracking.{part} or tracking.{whole} is no count"
    if value.get("verified_flights", 1) < 1 or (
        value.get("verified_violations") == 0
        and not min(value[f"verified_envelope_over_worst_s{end}"] for end in ("", "_settled")) >= 1 - ROUNDING
    ):
        yield "tracking: verified_violations of verified_flights contradict the room that the envelope left them"
    if value["input_gap"] > math.sqrt(ROTORS) * c_T * n_max**2 * (1 + ROUNDING):
        yield f"tracking.input_gap = {value['input_gap']!r} is more than the rotors can differ by"
    on, assumed = tracking["measured_on"], tracking["assumed"]
    said = [on["what"], on["seeds_sha256"], *assumed]
    if not assumed or not all(isinstance(words, str) and words.strip() for words in said):
        yield f"tracking: measured_on or assumed says nothing: {said!r}"
    if not np.all(numbers([on["flights"], on["seconds"]]) > 0):
        yield f"tracking was measured on {on['flights']!r} flights in {on['seconds']!r} s"
    if on["asked_sha256"] != asked:
        yield "tracking was measured with another network, range of thrusts or domain: asked_sha256 differs"
    for name, true in tracking_numbers(value, mass).items():
        claimed = value[name]
        if not (claimed <= true if name == "decay_rate" else claimed >= true):
            yield f"tracking.{name} = {claimed!r} does not follow from measured numbers and gains ({true!r})"
