"""Where a position jumps and the velocity beside it does not: an estimator's reset, a camera's, or another flight."""

from __future__ import annotations

import numpy as np

from neural_lander.flightlog.excitation import GAP
from neural_lander.flightlog.log import FlightLog
from neural_lander.flightlog.resampling import PERIOD, linear

SPAN = 10  # samples that are averaged before a place and behind it: 0.1 s, so that noise is small and drift is
LIMIT = 0.04  # m, along any axis: a wrong zero of height as large is refused. 31 real flights of two Crazyflies have
# 2 cm at the most, a simulated PX4 on GPS 4 cm
SHARE = 0.2  # of the way flown in a span, which is allowed besides: velocities of those flights are 8 % too large


def position_jumps(log: FlightLog) -> list[tuple[float, np.ndarray]]:
    """Time in s and step ``(3,)`` in m of each jump that velocity does not explain; the largest of a neighbourhood.

    Compared is the mean of position less the integral of velocity over 0.1 s on either side, so that noise makes none;
    nothing is said across holes. A reader that takes resets out goes record by record instead (``position_steps``).
    """
    t = np.arange(log.t[0], log.t[-1], PERIOD)
    if len(t) < 2 * SPAN + 1:
        return []
    velocity = linear(t, log.t, log.velocity)
    flown = np.concatenate([np.zeros((1, 3)), np.cumsum(0.5 * (velocity[1:] + velocity[:-1]) * PERIOD, axis=0)])
    apart = linear(t, log.t, log.position) - flown
    sums = np.concatenate([np.zeros((1, 3)), np.cumsum(apart, axis=0)])
    mean = (sums[SPAN:] - sums[:-SPAN]) / SPAN
    step = mean[SPAN:] - mean[:-SPAN]  # (M, 3), about sample k + SPAN
    way = np.linalg.norm(velocity[SPAN : SPAN + len(step)], axis=1) * SPAN * PERIOD
    size = np.abs(step).max(axis=1) - SHARE * way
    size[_across_holes(log.t, t)[: len(size)]] = 0.0
    found = []
    while size.size and size[k := int(size.argmax())] > LIMIT:
        found.append((float(t[k + SPAN]), step[k]))
        size[max(k - 2 * SPAN, 0) : k + 2 * SPAN] = 0.0
    return sorted(found, key=lambda jump: jump[0])


def jump_words(log: FlightLog) -> list[str]:
    """The sentence about them; none where there are none."""
    found = position_jumps(log)
    if not found:
        return []
    at, step = max(found, key=lambda jump: float(np.abs(jump[1]).max()))
    axis = int(np.abs(step).argmax())
    places = "once" if len(found) == 1 else f"at {len(found)} places"
    return [
        f"position jumps {places} where velocity does not, by {100 * step[axis]:+.0f} cm in {'xyz'[axis]} at t = "
        f"{at:.2f} s at the most: the estimator or its cameras were reset, or another flight begins; cut the log there"
    ]


def _across_holes(t_log: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Whether a hole between records lies within the two spans that begin at each sample, ``(N,)``."""
    inside = np.zeros(len(t) + 1)
    for k in np.flatnonzero(np.diff(t_log) > max(GAP, 2 * float(np.median(np.diff(t_log))))):
        first, last = np.searchsorted(t, [t_log[k], t_log[k + 1]])
        inside[max(first - 2 * SPAN, 0)] += 1
        inside[last] -= 1
    return np.cumsum(inside)[:-1] > 0
