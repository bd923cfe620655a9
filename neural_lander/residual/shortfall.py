"""Where a network falls short of what its own flights show: the mean error by height, beyond its uncertainty."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neural_lander.residual.steepness import ALIKE, LEAST_SAMPLES
from neural_lander.vehicle import Vehicle

BIN = 0.005  # m of height, over which errors are averaged; guess
REACH = 4.0  # rotor radii above the ground, where the effect is
ALLOWED = 0.003
"""Of the weight: a law of 3 rad/s without trim stands 3 mm off by it, the least that counts (design, *Definitions*)."""


@dataclass(frozen=True)
class Shortfall:
    """The worst mean error of a fit over a few millimetres of height."""

    low: float  # m, gear height, lower edge of the range
    high: float  # m, upper edge
    share: float  # of the weight, beyond twice its standard error; 0 where nothing is missed

    @property
    def matters(self) -> bool:
        """Whether a vehicle would show it."""
        return self.share > ALLOWED

    def __str__(self) -> str:
        return f"{self.share:.1%} of the weight between {1e3 * self.low:.0f} and {1e3 * self.high:.0f} mm"


NONE = Shortfall(0.0, 0.0, 0.0)


def shortfall(height: np.ndarray, error: np.ndarray, vehicle: Vehicle) -> Shortfall:
    """Where the mean error is largest, less two standard errors.

    Parameters
    ----------
    height
        (N,) m, of the gear above the terrain.
    error
        (N,) N, label minus prediction of f_a,z, of the samples that were trained on.
    """
    worst = NONE
    for low in np.arange(0.0, REACH * vehicle.rotor_radius, BIN):
        some = error[(height >= low) & (height < low + BIN)]
        if len(some) >= LEAST_SAMPLES:
            doubt = float(some.std()) * np.sqrt(ALIKE / len(some))
            share = (abs(float(some.mean())) - 2 * doubt) / vehicle.weight
            if share > worst.share:
                worst = Shortfall(float(low), float(low + BIN), share)
    return worst
