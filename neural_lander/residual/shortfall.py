"""Where a network falls short of what its own flights show: the mean error by height, beyond its uncertainty."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neural_lander.vehicle import Vehicle

BIN = 0.005  # m of height, over which errors are averaged; guess
REACH = 2.0  # rotor radii above the ground, where the effect is
DOUBT = 3.0  # standard errors that are taken off: the worst of some fifty heights is looked for; guess
VISIT = 100  # samples, 1 s: a return within this counts as the same visit; guess
LEAST_VISITS = 10  # to a height, for the spread of their mean errors to say anything; guess
ALLOWED = 0.005
"""Of the weight: a law of 3 rad/s without trim stands 5 mm off by it. All real flights stay below 0.3 %."""


@dataclass(frozen=True)
class Shortfall:
    """The worst mean error of a fit over a few millimetres of height."""

    low: float  # m, gear height, lower edge of the range
    high: float  # m, upper edge
    share: float  # of the weight, beyond its uncertainty; 0 where nothing is missed

    @property
    def matters(self) -> bool:
        """Whether a vehicle would show it."""
        return self.share > ALLOWED

    def to_json(self) -> dict[str, float]:
        """JSON values, with units in their names."""
        return {"from_m": self.low, "to_m": self.high, "share_of_weight": self.share}

    def __str__(self) -> str:
        return f"{self.share:.1%} of the weight between {1e3 * self.low:.0f} and {1e3 * self.high:.0f} mm"


NONE = Shortfall(0.0, 0.0, 0.0)


def shortfall(height: np.ndarray, error: np.ndarray, vehicle: Vehicle) -> Shortfall:
    """Where the mean error is largest, less ``DOUBT`` standard errors.

    What errs alike is not the sample but the visit: within a flight the thrust sags, and a hover of seconds has one
    error. So each visit to a height counts once, and the standard error is that of the visits' means.

    Parameters
    ----------
    height
        (N,) m, of the gear above the terrain, in the order of time; below 0 counts as 0.
    error
        (N,) N, label minus prediction of f_a,z, of the samples that were trained on.
    """
    worst, height = NONE, np.maximum(height, 0.0)
    for low in np.arange(0.0, REACH * vehicle.rotor_radius, BIN):
        (at,) = np.nonzero((height >= low) & (height < low + BIN))
        starts = np.concatenate([[0], np.flatnonzero(np.diff(at) > VISIT) + 1])
        if len(at) == 0 or len(starts) < LEAST_VISITS:
            continue
        means = np.add.reduceat(error[at], starts) / np.diff([*starts, len(at)])
        doubt = float(means.std(ddof=1)) / np.sqrt(len(means))
        share = (abs(float(means.mean())) - DOUBT * doubt) / vehicle.weight
        if share > worst.share:
            worst = Shortfall(float(low), float(low + BIN), share)
    return worst
