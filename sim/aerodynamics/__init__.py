"""What the nominal model misses: ground effects, drag, wind, turbulence, a sagging battery. Each with its source."""

from sim.aerodynamics.battery import BatterySag
from sim.aerodynamics.cheeseman_bennett import CheesemanBennett
from sim.aerodynamics.drag import RotorDrag
from sim.aerodynamics.effect import (
    AerodynamicEffect,
    RandomEffect,
    known_part,
    name_of,
    ours,
    reset_random,
    unknown_to_oracle,
)
from sim.aerodynamics.ground_effect import GroundEffect
from sim.aerodynamics.lagged import Lagged, LaggedGroundEffect
from sim.aerodynamics.measured import MeasuredGroundEffect
from sim.aerodynamics.partial import PartialGroundEffect
from sim.aerodynamics.turbulence import NearGroundTurbulence
from sim.aerodynamics.wind import Dryden, InWind, Wind

__all__ = [
    "AerodynamicEffect",
    "BatterySag",
    "CheesemanBennett",
    "Dryden",
    "GroundEffect",
    "InWind",
    "Lagged",
    "LaggedGroundEffect",
    "MeasuredGroundEffect",
    "NearGroundTurbulence",
    "PartialGroundEffect",
    "RandomEffect",
    "RotorDrag",
    "Wind",
    "known_part",
    "name_of",
    "ours",
    "reset_random",
    "unknown_to_oracle",
]
