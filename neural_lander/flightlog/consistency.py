"""A log held to itself: its columns say the same motion in several ways, whatever vehicle flew.

Limits were set where all 31 Neural-Swarm2 flights of two vehicles pass with room to spare; their figures stand beside.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from neural_lander.flightlog.frame import UPRIGHT
from neural_lander.flightlog.gaps import longest_run
from neural_lander.flightlog.jumps import jump_words
from neural_lander.flightlog.log import FlightLog
from neural_lander.flightlog.resampling import PERIOD, linear, zero_phase
from neural_lander.rotation import normalise, quaternion_conjugate, quaternion_multiply, quaternion_to_matrix
from neural_lander.vehicle import GRAVITY

SHORTEST, LONGEST = 2.0, 4 * 3600.0  # s, of a log that is judged: too short for the filter, or its clock jumped
CUT_OFF = 2.0  # Hz, below which two columns that say one motion are compared: noise is left out, manoeuvres are not
EDGE = 50  # samples at either end, where the filter settles
LEAST_SPEED = 0.1  # m/s rms along an axis; below it estimators disagree by drift (correlation 0.03 in a landing)
LEAST_RATE = 0.1  # rad/s rms
LEAST_ACCELERATION = 0.2  # m/s^2 rms
LEAST_CORRELATION = 0.5  # position with velocity: 0.99; attitude with body rates: 0.77 at least
GAINS = (0.5, 2.0)  # of one against the other ...
CLOSE, CLOSE_GAINS = 0.9, (0.75, 1.33)  # ... and where they go together that well: 0.90 to 1.02 for velocity, 0.94 to
# 1.03 for acceleration; a simulated ArduPilot has 1.21
TURN_GAINS = (0.2, 5.0)  # of body rates, whose attitude may be smoothed; degrees for radians are 57; a guess
LEAST_MOVING = 1.0  # s
HEIGHT_JUMP, LEAST_ALIKE = 0.1, 3  # m from record to record, and how often to one number: an edge of the terrain is
# crossed at another height each time; a guess
LONGEST_STUCK = 0.5  # s; a guess: range finders give ten readings a second or more
LEAST_SUPPORT = 0.5  # of g that an accelerometer feels on average, on the floor or in the air
LEAST_PUSH = 0.12  # m/s^2 rms, sideways along an axis; a landing straight down has 0.05
GROUND_LENGTHS = (0.05, 0.15, 0.4)  # m, in which a force of the ground's air may decay; guesses
LEAST_THRUST_CORRELATION = 0.6  # of what moves it sideways with where its thrust points; 0.90 at least, from 0.2 m/s^2
SHIFTS = range(-50, 51, 2)  # samples by which one may follow the other
MOST_LATE = 0.1  # s that an estimator's outputs may lie apart; a guess
CLEARLY = 0.02  # of the correlation that shifting gains, from where it says something; a guess
CLEAR_CORRELATION = 0.7  # of acceleration with velocity, from where their ratio means anything
LEAST_FELT = 0.15  # of that correlation; 0.35 at least in real landings, whose shocks blur it; a dead sensor has 0
MOST_LATE_FORCE = 0.08  # s, where the two are close: none in real flights, 0.06 by the shock of a simulated landing

Gains = tuple[float, float]


def contradictions(log: FlightLog) -> Iterator[str]:
    """What contradicts what, by how much, and the likely cause; nothing of a log that is whole."""
    if not SHORTEST < log.duration < LONGEST:
        return
    t = np.arange(log.t[0], log.t[-1], PERIOD)
    position, velocity = (_smooth(linear(t, log.t, x)) for x in (log.position, log.velocity))
    moved = np.gradient(position, PERIOD, axis=0)
    moving_apart = list(_apart("position", moved, "velocity", velocity, LEAST_SPEED, GAINS, CLOSE_GAINS))
    yield from moving_apart or jump_words(log)
    if log.height is not None:
        rise = np.gradient(_smooth(linear(t, log.t, log.height)), PERIOD)
        yield from _height_apart(rise, velocity[:, 2])
        yield from _no_readings(log)
    attitude = normalise(_smooth(linear(t, log.t, log.attitude)))
    if log.body_rates is not None:
        rates = _smooth(linear(t, log.t, log.body_rates))
        yield from _apart("attitude", _turn_rate(attitude), "body_rates", rates, LEAST_RATE, TURN_GAINS, TURN_GAINS)
    up = quaternion_to_matrix(attitude)[:, :, 2]
    moving = np.gradient(velocity, PERIOD, axis=0) + np.array([0.0, 0.0, GRAVITY])
    others = _other_forces(position, velocity)
    sideways = list(_pushed_elsewhere("velocity", moving, up, others))
    yield from sideways
    if log.specific_force is None:
        return
    felt = _smooth(linear(t, log.t, log.specific_force))
    mean = float(felt[:, 2].mean())
    if mean < LEAST_SUPPORT * GRAVITY:
        yield (
            f"specific_force averages {mean:.3g} m/s^2 in z, and what flies feels {GRAVITY:g}: it is in g, gravity was "
            "taken off, or z points down"
        )
        return
    yield from _force_apart(felt[:, 2] - GRAVITY, velocity[:, 2])
    if not sideways:
        yield from _pushed_elsewhere("specific_force", felt, up, others)


def _apart(
    first: str, a: np.ndarray, second: str, b: np.ndarray, least: float, gains: Gains, close_gains: Gains
) -> Iterator[str]:
    """The derivative of one column (N, 3) against the column that says it, on the axes that move.

    Their ratio must lie within ``gains``, and within ``close_gains`` where the two go together well.
    """
    more = ", the quaternion's order (wxyz or xyzw)" if first == "attitude" else ""
    for axis, x, y in zip("xyz", a.T, b.T, strict=True):
        if max(_rms(_inner(x)), _rms(_inner(y))) < least:
            continue
        correlation = _correlation(x, y)
        if correlation < -LEAST_CORRELATION:
            yield (
                f"{first} changes against {second} (correlation {correlation:.2f} in {axis}): the records are in "
                "reverse order of time, or the sign of one of the two is wrong"
            )
            return
        gain = float(x @ y) / (float(y @ y) + 1e-12)
        low, high = close_gains if correlation > CLOSE else gains
        if correlation < LEAST_CORRELATION or not low < gain < high:
            yield (
                f"{first} and {second} contradict each other in {axis} (correlation {correlation:.2f}, at least "
                f"{LEAST_CORRELATION:g} is expected; ratio {gain:.3g}, 1 is expected): check units, axes{more}, and "
                "that both are of one time base"
            )
            return
        late, _ = _late(x, y)
        if abs(late) > MOST_LATE:
            behind = (first, second) if late < 0 else (second, first)
            yield f"{behind[0]} follows {behind[1]} by {1e3 * abs(late):.0f} ms: have both by one clock"
            return


def _late(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """s by which y follows x where that is clear, 0 otherwise; and their correlation then."""
    n = len(x) - SHIFTS[-1]
    if n < SHIFTS[-1]:
        return 0.0, 0.0
    found = {k: _correlation(x[max(-k, 0) : n + min(-k, 0)], y[max(k, 0) : n + min(k, 0)]) for k in SHIFTS}
    best = max(found, key=lambda k: found[k])
    return (best * PERIOD, found[best]) if found[best] > found[0] + CLEARLY else (0.0, found[0])


def _height_apart(rise: np.ndarray, climb: np.ndarray) -> Iterator[str]:
    """The terrain may step, so that it is counted how often they agree, not how well."""
    moving = np.abs(climb) > LEAST_SPEED
    if moving.sum() * PERIOD < LEAST_MOVING:
        return
    ratio = rise[moving] / climb[moving]
    agreeing = float(np.mean((ratio > GAINS[0]) & (ratio < GAINS[1])))
    if agreeing < LEAST_CORRELATION:
        yield (
            f"height rises {np.median(ratio):.3g} times as fast as velocity says: check that it is in m, and that both "
            "are of one time base"
        )


def _no_readings(log: FlightLog) -> Iterator[str]:
    """Heights that jump and come back, as where 0 or -1 is written for no reading, or that stick while others move."""
    assert log.height is not None
    fallen = log.height[1:][np.diff(log.height - log.position[:, 2]) < -HEIGHT_JUMP]
    values, counts = np.unique(fallen, return_counts=True)
    if len(fallen) and counts.max() >= LEAST_ALIKE:
        yield (
            f"height falls to {values[counts.argmax()]:g} m at once {counts.max()} times, where position z does not: "
            "what stands for no reading belongs left out"
        )
    periods = np.minimum(np.diff(log.t), PERIOD * EDGE)
    stuck = (np.diff(log.height) == 0.0) & (np.abs(log.velocity[1:, 2]) > LEAST_SPEED)
    longest = longest_run(stuck, periods)
    if longest > LONGEST_STUCK:
        yield (
            f"height stands still for {longest:.2g} s while the vehicle climbs or sinks: beyond what its sensor "
            "measures, or repeated where none came; leave such records out"
        )


def _force_apart(force: np.ndarray, climb: np.ndarray) -> Iterator[str]:
    """Vertical specific force less gravity against differentiated velocity; contact shocks blur a landing's (0.39)."""
    slope = np.gradient(climb, PERIOD)
    force = force - force.mean()  # an offset is the bias' matter
    if _rms(_inner(slope)) < LEAST_ACCELERATION:
        return
    correlation, gain = _correlation(force, slope), float(force @ slope) / float(slope @ slope)
    low, high = CLOSE_GAINS if correlation > CLOSE else GAINS
    if correlation < LEAST_FELT or (correlation > CLEAR_CORRELATION and not low < gain < high):
        yield (
            f"specific_force and velocity contradict each other in z (correlation {correlation:.2f}, ratio {gain:.3g}, "
            "1 is expected): check the sign of z, units, clocks, the order of the records, and that the sensor lives"
        )
        return
    late, together = _late(slope, force)
    if abs(late) > MOST_LATE_FORCE and together > CLOSE:
        behind = "follows" if late > 0 else "comes before"
        yield f"specific_force {behind} what velocity does by {1e3 * abs(late):.0f} ms: have both by one clock"


def _pushed_elsewhere(said: str, felt: np.ndarray, up: np.ndarray, others: np.ndarray) -> Iterator[str]:
    """What moves a multirotor sideways is its thrust, along the body's z axis ``up``.

    And ``others`` (N, k): what goes with velocity, as drag does, or with the place, as the ground's air and walls do.
    """
    thrust = felt[:, 2:] * up / np.maximum(up[:, 2:], UPRIGHT)
    near_fall = np.convolve(up[:, 2] < UPRIGHT, np.ones(2 * EDGE + 1), "same") > 0  # one who lies there does not fly
    judged = np.flatnonzero(~near_fall)[EDGE:-EDGE]
    axes = ""
    if said == "specific_force":
        axes = ", that it is turned into the world's axes (a column map does so with what it calls accelerometer)"
    for k, axis in enumerate("xy"):
        if len(judged) * PERIOD < LEAST_MOVING:
            return
        x, y = (_without(v[judged, k], others[judged]) for v in (felt, thrust))
        if max(_rms(x), _rms(y)) < LEAST_PUSH:
            continue
        correlation, gain = _correlation(x, y), float(x @ y) / (float(y @ y) + 1e-12)
        if correlation < LEAST_THRUST_CORRELATION or not GAINS[0] < gain < GAINS[1]:
            yield (
                f"attitude and {said} contradict each other in {axis}: with its thrust along the body's z axis the "
                f"vehicle would be pushed elsewhere (correlation {correlation:.2f}, at least "
                f"{LEAST_THRUST_CORRELATION:g} is expected; ratio {gain:.3g}, 1 is expected): check the quaternion's "
                f"order (wxyz or xyzw) and that it goes from body to world, axes and units{axes}"
            )
            return


def _other_forces(position: np.ndarray, velocity: np.ndarray) -> np.ndarray:
    """What forces beside thrust go with, ``(N, k)``: a constant, velocity, the place, and heights of three lengths."""
    height = position[:, 2:] - position[:, 2].min()
    near = np.exp(-height / np.array(GROUND_LENGTHS))
    return np.concatenate([np.ones_like(height), velocity, position[:, :2], near], axis=1)


def _without(values: np.ndarray, others: np.ndarray) -> np.ndarray:
    """What of a signal the columns ``(N, k)`` do not explain."""
    return np.asarray(values - others @ np.linalg.lstsq(others, values, rcond=None)[0])


def _turn_rate(attitude: np.ndarray) -> np.ndarray:
    """Body rates in rad/s, ``(N, 3)``, from attitudes ``(N, 4)`` on the grid."""
    step = quaternion_multiply(quaternion_conjugate(attitude[:-2]), attitude[2:])
    middle = 2 * step[:, 1:] * np.sign(step[:, :1]) / (2 * PERIOD)
    return np.concatenate([middle[:1], middle, middle[-1:]])


def _correlation(x: np.ndarray, y: np.ndarray) -> float:
    return float(x @ y) / (float(np.linalg.norm(x) * np.linalg.norm(y)) + 1e-12)


def _smooth(values: np.ndarray) -> np.ndarray:
    return zero_phase(values, CUT_OFF)


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(values**2))) if len(values) else 0.0


def _inner(values: np.ndarray) -> np.ndarray:
    """Without the ends, where the filter settles."""
    return values[EDGE:-EDGE]
