"""The ``[scoring]`` table of a vehicle profile: by which rule a data set of that vehicle is scored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from neural_lander.profile_values import entries, scalar
from neural_lander.units import GRAM_FORCE

# key -> (unit, upper bound); all are above 0
_KEYS: Mapping[str, tuple[str, float]] = {
    "walk_floor": ("m", 10.0),
    "landing_floor": ("m", 10.0),
    "low_below": ("m", 10.0),
    "outlier_above": ("gram-force", 1e6),
    "outlier_above_when_high": ("gram-force", 1e6),
    "high_above": ("m", 100.0),
    "longest_gap": ("s", 60.0),
    "trim_above": ("m", 100.0),
}


@dataclass(frozen=True)
class ScoringTable:
    """Thresholds that others have scored flights of this vehicle with; heights are of the centre of mass."""

    walk_floor: float  # m
    """Logs that stay in the air: samples at or below it may touch the floor."""
    landing_floor: float  # m
    """The same for logs that begin or end on the ground."""
    low_below: float  # m
    """Near the ground, in tables."""
    outlier_above: float  # N
    """|f_a,z| that is no aerodynamics."""
    outlier_above_when_high: float  # N
    """f_a,z that is none far from the ground."""
    high_above: float  # m
    longest_gap: float  # s
    """Between two records: samples inside a longer one are not scored."""
    trim_above: float  # m
    """Far from the ground: a flight's trim is estimated from samples there."""

    @classmethod
    def from_profile(cls, table: Any, source: str) -> ScoringTable:
        """Rule from the table of a profile.

        Raises
        ------
        UserError
            On a missing or unknown key, another unit, or a value out of range.
        """
        named = entries(table, "scoring", _KEYS, source)
        values = {
            key: scalar(named, f"scoring.{key}", unit, 0.0, high, source) * (GRAM_FORCE if unit == "gram-force" else 1)
            for key, (unit, high) in _KEYS.items()
        }
        return cls(**values)
