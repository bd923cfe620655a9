"""What a controller takes from learning: models of the residual, and the numbers that its thrust iteration needs."""

from __future__ import annotations

from dataclasses import dataclass

from neural_lander.residual.model import ResidualModel


@dataclass(frozen=True)
class Learned:
    """What was learned for one airframe, from its logs alone."""

    network: ResidualModel
    cheeseman_bennett: ResidualModel
    contraction_factor: float
    """Certified bound on the contraction of the thrust iteration under the network."""
    iterations: int | None = None
    """Passes that the certificate counts; None: as many as the factor alone asks for."""
    uncertified: str = ""
    """Why no certificate lets the network fly, where it flies for research all the same."""
