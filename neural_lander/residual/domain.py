"""Where a model was trained, how far a state is from there, and the fade-out of the model beyond it.

At each height the training samples span a range of vertical speed, lateral speed and tilt. Yaw has none: a network's
inputs are held at the ends of what was flown, and the air under a multirotor hardly knows where it points. Nor does
thrust fade anything, since a share that depends on it would add to the slope in thrust that is proved; that slope
itself bounds what the model can be off by beyond the thrusts flown, which are kept to be reported.

The score of a state is its largest deviation in units of these ranges: at most 1 inside. From 1 on the model is faded
out, linearly to ``rest`` at ``gone``, which is calibrated on samples that the model did not see (``domain_fit``):
nowhere may the faded model be worse than no model, both with a trim. ``rest`` is the bias that the training flights had
far from the ground, whatever the state was. A share in [0, 1] that does not depend on the rotor thrusts scales what is
above it, so that every bound on the slope in thrust still holds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from neural_lander.arrays import Array, constant, namespace
from neural_lander.components import split
from neural_lander.errors import UserError
from neural_lander.residual.features import Observed
from neural_lander.residual.model import ResidualModel
from neural_lander.state import State

TABLE_STEP = 0.01  # m of height
CONTACT_REACH = 0.02  # m below the lowest training sample that count as flown: contact hides them; guess
BELOW = 0.05  # m under these that count as one unit of score; the network is constant there: guess


def lowest_height(flown: float) -> float:
    """m of gear height down to which a network extrapolates, where the lowest training sample is at ``flown``."""
    return max(min(flown, 0.0), flown - CONTACT_REACH)


@dataclass(frozen=True, eq=False)
class Domain:
    """Ranges of the training samples by height, K knots."""

    height: np.ndarray  # (K,) m, increasing
    """Of the gear; the first and the last are the ends of what was flown, and of what contact hides below it."""
    v_z: np.ndarray  # (K, 2) m/s
    """Least and largest vertical speed, world."""
    lateral_speed: np.ndarray  # (K,) m/s
    tilt: np.ndarray  # (K,) sine of the angle between body z and the vertical
    gone: float
    """Score from which on nothing but ``rest`` is left of the model; above 1."""
    rest: np.ndarray  # (3,) N, world
    """Mean bias of the training flights far from the ground."""
    thrust: np.ndarray  # (2,) N
    """Least and largest collective thrust of the training samples."""

    def __post_init__(self) -> None:
        k = len(self.height)
        shapes = {"v_z": (k, 2), "lateral_speed": (k,), "tilt": (k,)}
        whole = k >= 2 and all(np.shape(getattr(self, name)) == shape for name, shape in shapes.items())
        if not whole or not all(np.all(np.isfinite(getattr(self, name))) for name in ("height", *shapes)):
            raise UserError("the domain's tables do not fit together or hold values that are not finite")
        if np.shape(self.rest) != (3,) or not np.all(np.isfinite(self.rest)):
            raise UserError("the domain's rest must be three finite forces in N")
        if np.shape(self.thrust) != (2,) or not 0 <= self.thrust[0] <= self.thrust[1] < np.inf:
            raise UserError("the domain's thrust must be a range of finite forces in N, none below 0")
        positive = np.all(self.v_z[:, 1] > self.v_z[:, 0]) and np.all(self.lateral_speed > 0) and np.all(self.tilt > 0)
        if not positive or not np.all(np.diff(self.height) > 0) or not 1 < self.gone < np.inf:
            raise UserError("the domain's ranges must be positive, its heights increase and 'gone' exceed 1")

    @cached_property
    def _table(self) -> np.ndarray:
        """(rows, 4) at every centimetre: middle and half width of v_z, lateral speed, sine of tilt; between, linear."""
        h = np.arange(self.height[0], self.height[-1] + TABLE_STEP, TABLE_STEP)
        middle, half = self.v_z.mean(axis=1), np.diff(self.v_z, axis=1)[:, 0] / 2
        return np.stack([np.interp(h, self.height, c) for c in (middle, half, self.lateral_speed, self.tilt)], axis=1)

    @cached_property
    def _rows(self) -> list[list[float]]:
        """(rows, 8): those of the table, and what is added to each on the way to the next."""
        onward = np.diff(self._table, axis=0, append=self._table[-1:])
        return [list(map(float, row)) for row in np.hstack([self._table, onward])]

    def _ranges_at(self, place: float) -> tuple[float, float, float, float]:
        """The table's numbers between two of its rows, for one vehicle."""
        if math.isnan(place):
            return place, place, place, place  # the score is NaN then, and what is faded by it
        place = min(max(place, 0.0), len(self._rows) - 1.0)
        k = int(place)
        part = place - k
        a, b, c, d, to_a, to_b, to_c, to_d = self._rows[k]
        return a + part * to_a, b + part * to_b, c + part * to_c, d + part * to_d

    def score(self, state: Observed) -> Any:
        """How far a state is from what was flown: at most 1 inside, ``(...)``."""
        vx, vy, vz = split(state.velocity)
        (_, _, axis_x), (_, _, axis_y), _ = state.rows
        lateral2, tilt2 = vx * vx + vy * vy, axis_x**2 + axis_y**2
        low, high = float(self.height[0]), float(self.height[-1])
        if isinstance(vx, float):
            if math.isnan(lateral2 + tilt2):  # which max() drops
                return math.nan
            h = float(state.height)
            middle, half, lateral, tilt = self._ranges_at((h - low) / TABLE_STEP)
            outside = 1 + max((low - h) / BELOW, (h - high) / (high - low))
            return max(abs(vz - middle) / half, lateral2**0.5 / lateral, tilt2**0.5 / tilt, outside)
        xp = namespace(state.velocity)
        h, table = state.height, constant(self._table, state.velocity)
        place = xp.clip((h - low) / TABLE_STEP, 0, len(self._table) - 1)
        k = xp.clip(xp.astype(place, xp.int64), 0, len(self._table) - 2)
        part, k = place - xp.astype(k, place.dtype), xp.reshape(k, (-1,))
        below, above = (xp.reshape(xp.take(table, i, axis=0), (*h.shape, 4)) for i in (k, k + 1))
        ranges = below + part[..., None] * (above - below)
        middle, half, lateral, tilt = (ranges[..., c] for c in range(4))
        worst = xp.maximum(xp.abs(vz - middle) / half, xp.sqrt(lateral2) / lateral)
        outside = 1 + xp.maximum((low - h) / BELOW, (h - high) / (high - low))
        return xp.maximum(xp.maximum(worst, xp.sqrt(tilt2) / tilt), outside)

    def thrust_beyond(self, thrust: np.ndarray) -> np.ndarray:
        """N by which collective thrusts in N lie outside of those flown, 0 within, ``(...)``."""
        return np.asarray(np.maximum(np.maximum(self.thrust[0] - thrust, thrust - self.thrust[1]), 0.0))

    def share(self, score: Any) -> Any:
        """Share of the model that is left at a score: 1 inside, 0 from ``gone`` on, ``(...)``."""
        left = (self.gone - score) / (self.gone - 1.0)
        if isinstance(left, float):
            return min(max(left, 0.0), 1.0)
        return namespace(left).clip(left, 0.0, 1.0)

    def to_json(self) -> dict[str, Any]:
        """For ``bundle.json``; SI, the unit in each key."""
        return {
            "height_m": self.height.tolist(),
            "v_z_m_s": self.v_z.tolist(),
            "lateral_speed_m_s": self.lateral_speed.tolist(),
            "sine_of_tilt": self.tilt.tolist(),
            "gone_at_score": self.gone,
            "rest_N": self.rest.tolist(),
            "collective_thrust_N": self.thrust.tolist(),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Domain:
        """Inverse of :meth:`to_json`.

        Raises
        ------
        UserError, KeyError, TypeError, ValueError
            Where it is not such an object.
        """
        names = ("height_m", "v_z_m_s", "lateral_speed_m_s", "sine_of_tilt")
        height, v_z, lateral_speed, tilt = (np.asarray(values[name], dtype=np.float64) for name in names)
        rest, thrust = (np.asarray(values[name], dtype=np.float64) for name in ("rest_N", "collective_thrust_N"))
        return cls(height, v_z, lateral_speed, tilt, float(values["gone_at_score"]), rest, thrust)


@dataclass(frozen=True)
class FadingResidual:
    """A model that ends where its domain does: what flies."""

    model: ResidualModel
    domain: Domain

    def at(self, state: State) -> Callable[[Array], Array]:
        """See :class:`~neural_lander.residual.model.ResidualModel`."""
        force, share = self.model.at(state), self.domain.share(self.domain.score(state))
        if isinstance(share, float) and share == 1.0:
            return force
        rest = constant(self.domain.rest, state.velocity)
        return lambda rotor_thrust: faded(force(rotor_thrust), share, rest)


def faded(force: Array, share: Any, rest: Array) -> Array:
    """rest + share (force - rest), ``(..., 3), (...), (3,) -> (..., 3)`` N."""
    return rest + (share if isinstance(share, float) else share[..., None]) * (force - rest)
