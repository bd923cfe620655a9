"""Which samples count: contact, outliers and thresholds of the data sets that the project is judged on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neural_lander.residual.resample import MAX_GAP
from neural_lander.scoring_table import ScoringTable
from neural_lander.units import GRAM_FORCE
from neural_lander.vehicle import Vehicle

GRAM = GRAM_FORCE  # N
MIN_LANDING_THRUST = 0.6  # of the weight, in logs that begin or end on the ground
EDGE_SAMPLES = 50  # 0.5 s at either end of a walk: estimator and lag settle
CONTACT_MARGIN = 0.005  # m, gear above ground that counts as contact: estimator noise, guess
MARGIN_OVER_ERROR = 2.0
"""Standard deviations of the height, where the log states it, that count as contact. Ground effect may rise steeply in
its last millimetres: of one that has 25 weights/m in its last centimetre a network learned 61 % at the floor from 2 mm
on, 46 % from 5 mm on, and landed 24 times of 24 instead of 18 (simulated)."""
NEAR_GROUND_RADII = 2.0  # a rotor's ground effect is a few per cent at z = 2 R (Cheeseman and Bennett 1955)
TRIM_RADII = 8.0  # rotor radii above the ground, as much as 0.28 m is for the larger vehicle of Neural-Swarm2
OUTLIER = 0.75  # of the weight; half a g and a half of vehicle weight is a collision, not aerodynamics


@dataclass(frozen=True)
class ScoringRule(ScoringTable):
    """Which samples count: thresholds on height and f_a,z of the table, and what follows from the vehicle."""

    weight: float  # N
    gear_margin: float  # m
    """Lowest gear point at or below it: contact."""

    def outlier(self, centre_height: np.ndarray, f_az: np.ndarray) -> np.ndarray:
        """Samples whose label is no aerodynamic force."""
        high = (f_az > self.outlier_above_when_high) & (centre_height > self.high_above)
        return (np.abs(f_az) >= self.outlier_above) | high

    def edges(self, n: int) -> np.ndarray:
        """True for the first and last half second of n samples."""
        k = np.arange(n)
        return (k < EDGE_SAMPLES) | (k >= n - EDGE_SAMPLES)

    def contact(self, height: np.ndarray, centre_height: np.ndarray, lands: bool) -> np.ndarray:
        """Samples that may touch the ground: by the gear, or where the log's own height says so."""
        return (height <= self.gear_margin) | (centre_height <= (self.landing_floor if lands else self.walk_floor))

    def floor(self, gear_clearance: float, lands: bool) -> float:
        """Height of the gear in m at or below which a level vehicle is in contact by this rule."""
        return max(self.gear_margin, (self.landing_floor if lands else self.walk_floor) - gear_clearance)

    def scored(
        self, contact: np.ndarray, outlier: np.ndarray, gap: np.ndarray, thrust: np.ndarray, lands: bool
    ) -> np.ndarray:
        """Samples that a model is judged on; ``thrust`` is the lagged sum in N."""
        if lands:
            return (thrust > MIN_LANDING_THRUST * self.weight) & ~contact & ~gap
        return ~contact & ~outlier & ~gap & ~self.edges(len(thrust))


def gear_floor(error: float | None) -> float:
    """The same in m where the gear's own height is logged; ``error`` is its standard deviation in m, where known."""
    return CONTACT_MARGIN if error is None else MARGIN_OVER_ERROR * error


def scoring_rule(vehicle: Vehicle) -> ScoringRule:
    """The rule of the profile's ``[scoring]`` table, where it has one, else one from geometry and weight."""
    if vehicle.scoring is not None:
        return ScoringRule(**vars(vehicle.scoring), weight=vehicle.weight, gear_margin=-np.inf)
    floor, bound = vehicle.contact_height, OUTLIER * vehicle.weight
    return ScoringRule(
        walk_floor=floor,
        landing_floor=floor,
        low_below=vehicle.gear_clearance + NEAR_GROUND_RADII * vehicle.rotor_radius,
        outlier_above=bound,
        outlier_above_when_high=bound,
        high_above=np.inf,
        longest_gap=MAX_GAP,
        trim_above=vehicle.gear_clearance + TRIM_RADII * vehicle.rotor_radius,
        weight=vehicle.weight,
        gear_margin=CONTACT_MARGIN,
    )
