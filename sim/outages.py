"""What happens to a state on its way to the controller: it wanders off with the estimator, or does not arrive."""

from __future__ import annotations

import math
from dataclasses import replace
from statistics import NormalDist

from neural_lander.arrays import Array
from neural_lander.components import Scalar, choose, join
from neural_lander.state import State
from sim.draws import GaussMarkov, WhiteNoise

OUTAGE_STREAM, DRIFT_STREAM = 0x0D7, 0xD51F  # of the random numbers


class Outages:
    """Times without a state: a two-state Markov chain (Gilbert 1960), for one flight or a batch.

    Parameters
    ----------
    share : float
        Of the time, in 0..1.
    length : float
        Mean length of an outage in s; at least one step.
    """

    def __init__(self, share: float, length: float, seeds: int | Array, dt: float) -> None:
        self._noise = WhiteNoise(seeds, OUTAGE_STREAM, 1)
        end = min(dt / length, 1.0)
        begin = min(end * share / (1.0 - share), 1.0)
        normal = NormalDist()
        self._begins, self._lasts = (_quantile(normal, p) for p in (begin, 1.0 - end))
        self._dt = dt
        self._out: bool | Array = False
        self._seen: State | None = None

    def __call__(self, arriving: State) -> State:
        """What the controller sees: the arriving state, or the last one that arrived, with its age."""
        (e,) = self._noise(arriving.velocity)
        if self._seen is None:  # the first one always arrives
            self._out = 0.0 * e > 0.0
            self._seen = arriving
            return arriving
        self._out = e < choose(self._out, self._lasts + 0.0 * e, self._begins + 0.0 * e)
        self._seen = _held(self._out, self._seen, arriving, self._dt)
        return self._seen


def _quantile(normal: NormalDist, p: float) -> float:
    return normal.inv_cdf(p) if 0.0 < p < 1.0 else math.copysign(math.inf, p - 0.5)


def _held(out: bool | Array, last: State, arriving: State, dt: float) -> State:
    if isinstance(out, bool):
        return replace(last, age=last.age + dt) if out else arriving
    fields = {}
    for name, new in vars(arriving).items():
        if name not in State.__dataclass_fields__:  # what was computed from them
            continue
        old = getattr(last, name)
        if name == "age":
            fields[name] = choose(out, old + dt + 0.0 * arriving.height, new + 0.0 * arriving.height)
        elif new is None or old is None:
            fields[name] = None
        else:
            fields[name] = choose(out if new.ndim == out.ndim else out[..., None], old, new)
    return State(**fields)


class Drift:
    """A bias of the estimated position that wanders: first-order Gauss-Markov per axis, for one flight or a batch."""

    def __init__(self, deviation: float, correlation_time: float, seeds: int | Array, dt: float) -> None:
        self._wander = GaussMarkov(seeds, DRIFT_STREAM, 3, dt / correlation_time)
        self._deviation = deviation  # m

    def __call__(self, state: State) -> State:
        """The state with the bias of the next step."""
        bias: list[Scalar] = [self._deviation * x for x in self._wander(state.velocity)]
        return replace(state, position=state.position + join(bias), height=state.height + bias[2])
