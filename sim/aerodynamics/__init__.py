"""What the nominal model misses: ground effect, rotor drag, turbulence. Each with its source, each switchable."""

from sim.aerodynamics.drag import RotorDrag
from sim.aerodynamics.effect import AerodynamicEffect, RandomEffect, known_part
from sim.aerodynamics.ground_effect import GroundEffect
from sim.aerodynamics.turbulence import NearGroundTurbulence

__all__ = ["AerodynamicEffect", "GroundEffect", "NearGroundTurbulence", "RandomEffect", "RotorDrag", "known_part"]
