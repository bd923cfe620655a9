"""What is flown in a comparison, and how it is scored: the definitions behind every table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from neural_lander.errors import UserError
from neural_lander.trajectory import LANDING_HOLD, LANDING_START_HEIGHT, Hover, Landing, Trajectory
from sim.flight import Truth

WARM_UP = 3.0  # s of hover before the start: at the default gains trim has settled to 2 % after 2.7 s
TIP_OVER = np.deg2rad(60.0)  # rad
START_SPREAD = 0.05  # m, standard deviation of the place where hover begins
GLIDE = np.array([0.8, 0.5])  # m, horizontal way of the 3-D landing
LOW_HOVER_HEIGHT = 0.05  # m
LOW_HOVER_TIME = 10.0  # s, of which the last 5 are scored


@dataclass(frozen=True)
class Scenario:
    """A task that starts at time 0 from settled hover."""

    name: str
    trajectory: Callable[[np.ndarray], Trajectory]
    """Pad position (3,) m -> reference."""
    duration: float  # s
    lands: bool
    score: Callable[[Truth, Trajectory], dict[str, float]]
    """Figures of one flight, SI with the unit in the key."""


def _landing(offset: np.ndarray) -> Callable[[np.ndarray], Landing]:
    return lambda pad: Landing(pad + np.array([*offset, LANDING_START_HEIGHT]), pad)


def score_landing(truth: Truth, trajectory: Trajectory) -> dict[str, float]:
    """Final error, drift, arrival error, lateness and touchdown speed of design.md.

    Heights are of the lowest gear point. Where the vehicle never touches down, lateness is the time it was watched
    for: a lower bound. ``touchdown_speed_m_s`` is the downward speed at the first contact, NaN without one.
    """
    assert isinstance(trajectory, Landing)
    after = truth.t >= 0
    t, height = truth.t[after], truth.height[after]
    offset = np.linalg.norm(truth.position[after, :2] - truth.reference[after, :2], axis=-1)
    last = t > t[-1] - 1.0
    landed = bool(np.isfinite(truth.landed_at))
    touches = np.flatnonzero(truth.contact[after])
    first = max(int(touches[0]) - 1, 0) if len(touches) else None
    arrival = int(np.searchsorted(t, trajectory.arrival))
    down = int(np.searchsorted(t, truth.landed_at)) if landed else -1
    return {
        "final_error_m": 0.0 if landed else float(np.mean(np.abs(height[last]))),
        "hang_height_m": 0.0 if landed else float(np.mean(height[last])),
        "drift_m": float(offset[min(down, len(t) - 1)] if landed else np.mean(offset[last])),
        # negative where the gear has given way on the floor already: the definition has no clamp
        "arrival_error_m": float(height[arrival]) if arrival < len(t) else 0.0,
        "lateness_s": float(truth.landed_at - trajectory.arrival) if landed else LANDING_HOLD,
        "touchdown_speed_m_s": float(-truth.velocity[after][first, 2]) if first is not None else float("nan"),
        "touchdown": float(landed),
        "tipped_over": float(np.max(truth.tilt[after]) > TIP_OVER),
    }


def score_low_hover(truth: Truth, trajectory: Trajectory) -> dict[str, float]:
    """Mean |h - h_ref| and horizontal offset over the last half."""
    del trajectory
    last = truth.t > truth.t[-1] - LOW_HOVER_TIME / 2
    offset = np.linalg.norm(truth.position[last, :2] - truth.reference[last, :2], axis=-1)
    return {
        "low_hover_error_m": float(np.mean(np.abs(truth.height[last] - LOW_HOVER_HEIGHT))),
        "drift_m": float(np.mean(offset)),
        "tipped_over": float(np.max(truth.tilt) > TIP_OVER),
    }


_LANDING_TIME = LANDING_START_HEIGHT / 0.3 + LANDING_HOLD  # s

SCENARIOS: Mapping[str, Scenario] = {
    s.name: s
    for s in (
        Scenario("land-1d", _landing(np.zeros(2)), _LANDING_TIME, True, score_landing),
        Scenario("land-3d", _landing(GLIDE), _LANDING_TIME, True, score_landing),
        Scenario(
            "hover-low",
            lambda pad: Hover(pad + np.array([0.0, 0.0, LOW_HOVER_HEIGHT])),
            LOW_HOVER_TIME,
            False,
            score_low_hover,
        ),
    )
}


def scenario_named(name: str) -> Scenario:
    """Scenario by name, or an error that lists the known ones."""
    if name not in SCENARIOS:
        raise UserError(f"scenario '{name}' is not known; use one of: {', '.join(SCENARIOS)}")
    return SCENARIOS[name]
