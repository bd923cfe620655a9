"""An external motion-capture record joined to a flight log: its clock's offset is estimated and reported.

The offset is the lag at which angular speed and vertical speed correlate best, by the mean of both: that of the
cameras' attitude with the gyroscopes' (the norm needs no common frame), and vertical speed with vertical speed. Where
the log lacks body rates, or nothing climbs, the other one decides alone. Then position, velocity and attitude come from
motion capture; rotors, battery, inertial data and what the controller asked for from the flight log.
"""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np

from neural_lander.errors import UserError
from neural_lander.flightlog.column_map import ColumnMap
from neural_lander.flightlog.csv_columns import read_table
from neural_lander.flightlog.differentiate import VELOCITY_FROM
from neural_lander.flightlog.log import DERIVED_FROM, FlightLog
from neural_lander.flightlog.streams import Stream, join
from neural_lander.rotation import quaternion_conjugate, quaternion_multiply, quaternion_to_matrix

RATE = 200.0  # Hz, of the grid that is correlated on
SMOOTH = 0.05  # s, of both signals: a tracked marker set jitters
CLIP = 0.98  # quantile of the angular speed: one reset of an estimator's heading correlates with any other spike
LEAST_CORRELATION = 0.6  # at the best lag; a guess, real pairs reach 0.75 to 0.95, others 0.4
LEAST_VERTICAL = 0.5  # of the vertical speeds there, where both move; a guess, real pairs reach 0.95
LEAST_CLIMB = 0.05  # m/s, standard deviation of a vertical speed that tells anything; a guess
LEAST_OVERLAP, LEAST_SHARE = 5.0, 0.5  # s, and of the shorter one; the latter a guess
PROMINENCE = 0.1  # by which the best lag must beat all that are more than ``APART`` away
APART = 1.0  # s
MOCAP_FIELDS = ("position", "velocity", "attitude")
ROTORS = ("rotor_speed", "rotor_command")
KEPT = ("body_rates", *ROTORS, "battery_voltage")
REFERENCE = "position_reference"
TURNED = ("specific_force", "f_a_applied", "guard_force", REFERENCE)
"""Vectors in the log's world, which is another one than that of the cameras: they go through the body's frame, the
reference as its way from the position."""
REMEDY = "if it is the same flight, say with --mocap-offset when it begins on the log's clock"


def join_motion_capture(
    log: FlightLog,
    path: str | os.PathLike[str],
    column_map: ColumnMap | None = None,
    offset: float | None = None,
) -> FlightLog:
    """The flight with pose and velocity from a motion-capture CSV.

    Parameters
    ----------
    log
        The flight log, with body rates or velocity.
    path, column_map
        The record, see :func:`read_motion_capture`.
    offset
        Time in s after the log's first record at which the motion capture begins; by default it is found.

    Returns
    -------
    FlightLog
        At the times of the faster of the two; ``metadata["motion_capture"]`` holds the offset in s that was added to
        the record's time, the correlation that it rests on, and the log's time at which the result begins.

    Raises
    ------
    UserError
        Where the two cannot be aligned for certain, or what the log knows of the rotors would be lost.
    """
    mocap = read_motion_capture(path, column_map)
    correlation, by = None, "given"
    if offset is None:
        offset, correlation, by = clock_offset(log, mocap)
    t = mocap.t + offset
    streams = {name: Stream(t, getattr(mocap, name)) for name in MOCAP_FIELDS}
    streams |= {name: Stream(log.t, values) for name in KEPT if (values := getattr(log, name)) is not None}
    out_of_world = quaternion_to_matrix(log.attitude).swapaxes(1, 2)
    for name in TURNED:
        if (values := getattr(log, name)) is not None:
            vector = values - log.position if name == REFERENCE else values
            streams[name] = Stream(log.t, _rotated(out_of_world, vector))
    joined = join(streams, f"{log.source} with {path}")
    fields = dict(joined.fields)
    lost = [name for name in ROTORS if name in streams and name not in fields]
    if lost and not any(name in fields for name in ROTORS):
        raise UserError(
            f"{path}: beginning at t = {offset:.3f} s of {log.source} ({by}), less than half of it has {lost[0]}: no "
            f"thrust would be left; {REMEDY}"
        )
    attitude = fields["attitude"] / np.linalg.norm(fields["attitude"], axis=1, keepdims=True)
    for name in set(TURNED) & fields.keys():
        fields[name] = _rotated(quaternion_to_matrix(attitude), fields[name])
    if REFERENCE in fields:
        fields[REFERENCE] = fields["position"] + fields[REFERENCE]
    starts = round(float(joined.t[0]), 4)
    aligned = {
        "source": str(path),
        "offset_s": round(offset, 4),
        "correlation": None if correlation is None else round(correlation, 3),
        "by": by,
        "starts_at_s": starts,
    }
    gone = {key for key in log.metadata if key == VELOCITY_FROM or key.startswith("height_")}
    kept_words = {key: value for key, value in log.metadata.items() if key not in gone}
    metadata = {
        **kept_words,
        **joined.metadata,
        DERIVED_FROM: log.source,
        "height_source": "motion capture",
        "motion_capture": aligned,
    }
    metadata |= {key: value for key, value in mocap.metadata.items() if key == VELOCITY_FROM}
    said = (*log.warnings, *mocap.warnings, *joined.warnings)
    result = FlightLog.from_arrays(joined.t, **fields, rotor_command_unit=log.rotor_command_unit, metadata=metadata)
    return replace(result, warnings=said)


def read_motion_capture(path: str | os.PathLike[str], column_map: ColumnMap | None = None) -> FlightLog:
    """Position and attitude from CSV; velocity too, differentiated where the table has none.

    Parameters
    ----------
    path, column_map
        As :func:`neural_lander.flightlog.read_csv` takes them; z up, the tracked body's frame that of the vehicle.
    """
    table = read_table(path, column_map)
    kept = {name: values for name, values in table.fields.items() if name in ("t", *MOCAP_FIELDS)}
    metadata = {"format": "motion-capture", "source": str(path), **table.metadata}
    return FlightLog.from_arrays(**kept, metadata=metadata, warnings=table.warnings)


def clock_offset(log: FlightLog, mocap: FlightLog) -> tuple[float, float, str]:
    """Seconds to add to the record's time to have the log's, the correlation there, and what was correlated.

    Raises
    ------
    UserError
        Where no lag correlates well, or another one does almost as well.
    """
    climbs = _resampled(log.t, log.velocity[:, 2]), _resampled(mocap.t, mocap.velocity[:, 2])
    lags, vertical = _correlation(*climbs)
    if not len(lags):
        raise UserError(f"{mocap.source}: motion capture and flight log are shorter than {LEAST_OVERLAP:g} s")
    moves = min(float(np.std(climb)) for climb in climbs) > LEAST_CLIMB
    by, score = "vertical speed", vertical
    if log.body_rates is not None:
        turns = _clipped(np.linalg.norm(log.body_rates, axis=1)), _clipped(_angular_speed(mocap))
        _, angular = _correlation(_resampled(log.t, turns[0]), _resampled(mocap.t, turns[1]))
        by, score = ("angular and vertical speed", (angular + vertical) / 2) if moves else ("angular speed", angular)
    best = int(np.argmax(score))
    far = np.abs(lags - lags[best]) > APART * RATE
    rival = float(score[far].max()) if far.any() else -1.0
    peak, climb = float(score[best]), float(vertical[best])
    if peak < LEAST_CORRELATION or peak - rival < PROMINENCE or (moves and climb < LEAST_VERTICAL):
        raise UserError(
            f"{mocap.source} cannot be aligned with {log.source}: the {by} of both correlates by {peak:.2f} at best "
            f"(vertical speed by {climb:.2f}), by {rival:.2f} elsewhere; at least {LEAST_CORRELATION:g} "
            f"({LEAST_VERTICAL:g}) and {PROMINENCE:g} more than elsewhere are needed: is it the same flight, and z up "
            f"in both? Turn the vehicle by hand before take-off; {REMEDY}"
        )
    return float(_vertex(lags, score, best) / RATE), peak, by


def _rotated(R: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """R v of each record."""
    return np.einsum("nij,nj->ni", R, vectors)


def _clipped(speed: np.ndarray) -> np.ndarray:
    """Without what jumps beyond nearly all of it."""
    return np.minimum(speed, np.quantile(speed, CLIP))


def _angular_speed(log: FlightLog) -> np.ndarray:
    """Norm of the angular velocity of a log's attitude in rad/s, ``(N,)``."""
    turned = np.asarray(quaternion_multiply(quaternion_conjugate(log.attitude[:-2]), log.attitude[2:]))
    angle = 2 * np.arctan2(np.linalg.norm(turned[:, 1:], axis=1), np.abs(turned[:, 0]))
    speed = angle / (log.t[2:] - log.t[:-2])
    return np.concatenate([speed[:1], speed, speed[-1:]])


def _resampled(t: np.ndarray, values: np.ndarray) -> np.ndarray:
    """On a uniform grid from the first record, smoothed."""
    grid = np.arange(t[0], t[-1], 1 / RATE)
    width = max(1, round(SMOOTH * RATE))
    return np.convolve(np.interp(grid, t, values), np.full(width, 1 / width), mode="same")


def _correlation(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pearson's correlation over the overlap at every lag (samples that b is moved by) with enough of it."""
    n = len(a) + len(b)
    lags = np.arange(-len(b) + 1, len(a))
    spectrum = [np.fft.rfft(x, n) for x in (a, a * a, np.ones_like(a), b, b * b, np.ones_like(b))]

    def at_lags(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Sum over k of x[k + lag] y[k]."""
        return np.asarray(np.fft.irfft(x * np.conj(y), n)[lags])

    A, AA, one_a, B, BB, one_b = spectrum
    count = np.maximum(at_lags(one_a, one_b), 1.0)
    sum_a, sum_b = at_lags(A, one_b), at_lags(one_a, B)
    covariance = at_lags(A, B) - sum_a * sum_b / count
    variances = (at_lags(AA, one_b) - sum_a**2 / count) * (at_lags(one_a, BB) - sum_b**2 / count)
    correlation = covariance / np.sqrt(np.maximum(variances, 1e-12 * float(np.max(np.abs(variances)) + 1e-300)))
    enough = count >= max(LEAST_OVERLAP * RATE, LEAST_SHARE * min(len(a), len(b)))
    return lags[enough], correlation[enough]


def _vertex(lags: np.ndarray, values: np.ndarray, best: int) -> float:
    """The best lag to a fraction of a sample, by the parabola through its neighbours."""
    if not 0 < best < len(values) - 1:
        return float(lags[best])
    left, mid, right = values[best - 1 : best + 2]
    bend = left - 2 * mid + right
    return float(lags[best] + (0.5 * (left - right) / bend if bend < 0 else 0.0))
