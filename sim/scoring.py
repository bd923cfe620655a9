"""How flights are scored: design.md's definitions, SI with the unit in the key, from the simulator's truth."""

from __future__ import annotations

import numpy as np

from neural_lander.control.touchdown import TIP_OVER
from neural_lander.trajectory import LANDING_HOLD, LANDING_SPEED, Landing, Riding, Trajectory
from sim.flight import Truth

HARD = 1.0  # m/s at the first contact, guess: three times the descent's, a fall from 5 cm
STRAYED = 1.0  # m off the reference, where none is landed: that is another task; guess, some ten times what PD is off
LOW_DESCENT = 0.2  # m: the part of a descent where the ground acts, of a vehicle of 0.3 m; guess
LOW_HOVER_HEIGHT = 0.05  # m
LOW_HOVER_TIME = 10.0  # s, of which the last 5 are scored


def score_landing(truth: Truth, trajectory: Trajectory) -> dict[str, float]:
    """Final error, drift, arrival error, lateness and touchdown speed of design.md.

    Heights are of the lowest gear point above what is under it. Where the vehicle never touches down, lateness is the
    time it was watched for: a lower bound. ``touchdown_speed_m_s`` is the rate at which the height fell at the first
    contact, NaN without one. ``low_descent_error_m`` is the mean of |h - h_ref| over the last ``LOW_DESCENT`` of the
    descent: a vehicle that swings through the reference just as it stops has no arrival error. A flight that was lost
    before the reference arrives has its last height for an arrival error. Success is a touchdown that lasts,
    no faster than ``HARD``, without tipping over, once the descent has begun: a vehicle that falls earlier is scored
    on the flight so far. One that tips over has not touched down: see ``_never_down``.
    """
    landing = _still(trajectory)
    arrives = landing.arrival
    after = _after(truth)
    t, height = truth.t[after], truth.height[after]
    offset = np.linalg.norm(truth.position[after, :2] - truth.reference[after, :2], axis=-1)
    last = t > t[-1] - 1.0
    landed = bool(np.isfinite(truth.landed_at))
    tipped = bool(np.max(truth.tilt[after]) > TIP_OVER)
    touches = np.flatnonzero(truth.contact[after])
    arrival = int(np.searchsorted(t, arrives))
    down = int(np.searchsorted(t, truth.landed_at)) if landed else -1
    speed = _fall(t, height, int(touches[0])) if len(touches) else float("nan")
    scores = {
        "final_error_m": 0.0 if landed else float(np.mean(np.abs(height[last]))),
        "hang_height_m": 0.0 if landed else float(np.mean(height[last])),
        "drift_m": float(offset[min(down, len(t) - 1)] if landed else np.mean(offset[last])),
        # negative where the gear has given way on the floor already: the definition has no clamp
        "arrival_error_m": 0.0 if landed and arrival >= len(t) else float(height[min(arrival, len(t) - 1)]),
        "low_descent_error_m": _low_descent_error(truth, landing),
        "lateness_s": float(truth.landed_at - arrives) if landed else LANDING_HOLD,
        "touchdown_speed_m_s": speed,
        "touchdown": float(landed),
        "tipped_over": float(tipped),
        "success": float(truth.landed_at >= 0 and not tipped and speed <= HARD),
    }
    return scores | _never_down(height, offset) if tipped else scores


def _after(truth: Truth) -> np.ndarray:
    """(N,) the descent and what follows; for a vehicle that fell before, what there is."""
    after = truth.t >= 0
    return np.asarray(after if np.any(after) else truth.t < 0)


def _never_down(height: np.ndarray, offset: np.ndarray) -> dict[str, float]:
    """Scores of a vehicle that tips over and lies on the floor without an error: as if still where the descent began.

    They are bounds and no measurements: whatever it did upright, it gains nothing by the fall. Drift is the furthest
    that it was off.
    """
    errors = ("final_error_m", "hang_height_m", "arrival_error_m", "low_descent_error_m")
    return {
        **dict.fromkeys(errors, float(height[0])),
        "drift_m": float(np.max(offset)),
        "lateness_s": LANDING_HOLD,
        "touchdown": 0.0,
    }


def _low_descent_error(truth: Truth, landing: Landing) -> float:
    """Mean |h - h_ref| in m while the reference goes down the last of its way; NaN of a flight that ended before."""
    low = (truth.t > landing.arrival - LOW_DESCENT / LANDING_SPEED) & (truth.t <= landing.arrival)
    height_ref = np.interp(truth.t[low], [0.0, landing.arrival], [landing.start[2] - landing.pad[2], 0.0])
    return float(np.mean(np.abs(truth.height[low] - height_ref))) if np.any(low) else float("nan")


def _fall(t: np.ndarray, height: np.ndarray, touch: int) -> float:
    """Rate in m/s at which the height fell over the last step in the air; it moves with the ground, if that moves."""
    k = max(touch - 1, 1)
    return float((height[k - 1] - height[k]) / (t[k] - t[k - 1]))


def _still(trajectory: Trajectory) -> Landing:
    """The reference as it is seen from the ground."""
    still = trajectory.still if isinstance(trajectory, Riding) else trajectory
    assert isinstance(still, Landing)
    return still


def score_low_hover(truth: Truth, trajectory: Trajectory) -> dict[str, float]:
    """Mean |h - h_ref| and horizontal offset over the last half; success is not to touch in it, nor tip nor stray."""
    del trajectory
    last = truth.t > truth.t[-1] - LOW_HOVER_TIME / 2
    offset = np.linalg.norm(truth.position[last, :2] - truth.reference[last, :2], axis=-1)
    touched, tipped = bool(np.any(truth.contact[last])), bool(np.max(truth.tilt) > TIP_OVER)
    return {
        "low_hover_error_m": float(np.mean(np.abs(truth.height[last] - LOW_HOVER_HEIGHT))),
        "drift_m": float(np.mean(offset)),
        "touched": float(touched),
        "tipped_over": float(tipped),
        "success": float(not touched and not tipped and not _strayed(truth)),
    }


def score_tracking(truth: Truth, trajectory: Trajectory) -> dict[str, float]:
    """Root of the mean square and worst of the tracking error p - p_d from time 0 on: whole, vertical and horizontal.

    Of the centre of mass, which is what the reference leads: over the edge of a table the height of the gear jumps, and
    a vehicle that passes it a centimetre late would be charged with the table's height.

    Success is to touch nothing, not to tip over and not to stray.
    """
    del trajectory
    after = truth.t >= 0
    error = truth.position[after] - truth.reference[after]
    vertical, horizontal = np.abs(error[:, 2]), np.linalg.norm(error[:, :2], axis=-1)
    touched, tipped = bool(np.any(truth.contact[after])), bool(np.max(truth.tilt[after]) > TIP_OVER)
    return {
        "tracking_rms_error_m": float(np.sqrt(np.mean(vertical**2 + horizontal**2))),
        "vertical_rms_error_m": float(np.sqrt(np.mean(vertical**2))),
        "vertical_worst_error_m": float(np.max(vertical)),
        "horizontal_rms_error_m": float(np.sqrt(np.mean(horizontal**2))),
        "horizontal_worst_error_m": float(np.max(horizontal)),
        "touched": float(touched),
        "tipped_over": float(tipped),
        "success": float(not touched and not tipped and not _strayed(truth)),
    }


def _strayed(truth: Truth) -> bool:
    """Whether it was ever further than ``STRAYED`` from the reference, from time 0 on."""
    after = truth.t >= 0
    off = np.linalg.norm(truth.position[after] - truth.reference[after], axis=-1)
    return bool(np.any(off > STRAYED))
