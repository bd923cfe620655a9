"""Height of the landing gear from a rangefinder's distance.

A rangefinder measures along its beam, from where it sits: the distance times the cosine of the tilt is the sensor's
height over ground that is level under the vehicle, and what it reads while the vehicle stands on its gear is to be
taken off. That standing distance is, in this order: the median of what was read while the vehicle stood; what the
autopilot's parameter says. The metadata states which, so that it can be put right. A sensor away from the centre of
mass reads wrongly by its lever arm times the sine of the tilt, which no log tells: 2 mm at 5 cm and 2 degrees.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from neural_lander.flightlog.streams import Stream
from neural_lander.rotation import normalise, quaternion_to_matrix

MOST_TILT = np.cos(np.radians(30.0))  # cosine; beyond it the beam's foot wanders off, a guess
FEWEST_STANDING = 5  # readings
LEAST_VALID = 0.5  # of the readings; a guess
MEDIAN_OF = 5  # readings: two outliers in a row do no harm; a guess, as in flight
MOST_STANDING = 0.5  # m: more is no reading of a small vehicle on its gear; a guess


@dataclass(frozen=True, eq=False)
class Readings:
    """Vertical distances to the ground."""

    t: np.ndarray  # (N,) s
    distance: np.ndarray  # (N,) m
    valid: np.ndarray  # (N,) bool
    name: str
    """Of the source."""

    @classmethod
    def along_beam(
        cls, t: np.ndarray, distance: np.ndarray, valid: np.ndarray, attitude: Stream, name: str
    ) -> Readings:
        """Distances along the body's downward axis, made vertical by the attitude; none beyond a tilt of 30 degrees."""
        sound = (np.abs(np.linalg.norm(attitude.values, axis=1) - 1) < 0.1) & np.isfinite(attitude.t)  # no NaN passes
        if not sound.any():
            return cls(t, distance, np.zeros(len(t), dtype=bool), name)
        order = np.argsort(attitude.t[sound], kind="stable")
        up = quaternion_to_matrix(normalise(attitude.values[sound][order]))[:, 2, 2]
        cosine = np.interp(t, attitude.t[sound][order], up)
        return cls(t, distance * cosine, valid & (cosine > MOST_TILT), name)


@dataclass(frozen=True, eq=False)
class Standing:
    """When the vehicle stood on its gear, and what the rangefinder should read there."""

    t: np.ndarray  # (K,) s
    stands: np.ndarray  # (K,), not 0 from each time to the next while it stands
    assumed: float
    """Reading on the ground in m, where none was taken."""
    assumed_from: str
    """Where that is from."""


def gear_height(
    readings: Readings, standing: Standing, position: Stream, said: list[str]
) -> tuple[dict[str, Stream], dict[str, Any]]:
    """Height of the gear over the ground at the times of the position, and metadata that state what was taken off.

    What the readings give is the ground's level in the frame of the position ``(K, 3)``: it stands still, so that its
    running median does not lag. Where no reading is valid, as below a sensor's shortest range or beyond its longest,
    the last level holds, and the height follows the estimator's z. Nothing is returned where fewer than half of the
    readings are valid. ``said`` takes how many are not.
    """
    order = np.argsort(position.t, kind="stable")
    z = position.values[order, 2]
    sound = np.isfinite(z) & np.isfinite(position.t[order])
    valid = readings.valid & np.isfinite(readings.distance) & np.isfinite(readings.t)
    share = float(np.mean(valid))
    if share < LEAST_VALID or not sound.any():
        if valid.any():
            said.append(f"height: {100 * share:.0f} % of the readings of {readings.name} are valid: left out")
        return {}, {}
    t, distance = readings.t[valid], readings.distance[valid]
    on_ground = distance[_stood(t, standing)]
    assumed = len(on_ground) < FEWEST_STANDING or not float(np.median(on_ground)) < MOST_STANDING
    if not assumed:
        offset, where = float(np.median(on_ground)), f"median of {len(on_ground)} readings while standing"
    else:
        offset, where = standing.assumed, f"assumed: {standing.assumed_from}"
    rows = np.argsort(t, kind="stable")
    t, above = t[rows], distance[rows] - offset
    base = position.t[order][sound]
    ground = _running_median(np.interp(t, base, z[sound]) - above)
    height = Stream(base, z[sound] - np.interp(base, t, ground))
    if not valid.all():
        said.append(
            f"height: {100 * (1 - share):.0f} % of the readings of {readings.name} are not valid; there it follows the "
            f"estimator's z, for up to {_longest_without(t, base):.2g} s"
        )
    words = f"{readings.name}: vertical distance less {offset:.3f} m, its reading on the ground ({where})"
    return {"height": height}, {
        "height_source": "rangefinder",
        "height_is": words,
        "height_offset_m": round(offset, 4),
        "height_zero_assumed": assumed,
        "height_valid_share": round(share, 3),
    }


def _running_median(values: np.ndarray) -> np.ndarray:
    """Of ``MEDIAN_OF`` values about each, ``(N,)``; the ends repeat."""
    padded = np.pad(values, MEDIAN_OF // 2, mode="edge")
    return np.asarray(np.median(np.lib.stride_tricks.sliding_window_view(padded, MEDIAN_OF), axis=1))


def _longest_without(t: np.ndarray, base: np.ndarray) -> float:
    """Longest time in s within ``base`` without a reading."""
    return float(np.max(np.diff(np.concatenate([[min(base[0], t[0])], t, [max(base[-1], t[-1])]]))))


def _stood(t: np.ndarray, standing: Standing) -> np.ndarray:
    """Whether the vehicle stood at each time, ``(N,)``."""
    if not len(standing.stands):
        return np.zeros(len(t), dtype=bool)
    order = np.argsort(standing.t, kind="stable")
    index = np.searchsorted(standing.t[order], t, "right") - 1
    return np.asarray((index >= 0) & (standing.stands[order][np.maximum(index, 0)] != 0))
