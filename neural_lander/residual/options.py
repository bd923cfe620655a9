"""What a user may choose about training; no torch here, so that it can be read and stored anywhere."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from neural_lander.errors import UserError
from neural_lander.residual.features import features_named
from neural_lander.vehicle import Vehicle

DEFAULT_CUT_OFF = 8.0  # Hz, guess: above the 0.5 to 4 Hz of thrust dither, below structural vibration
DEFAULT_GAMMA = 4.0
"""Weights per metre. Ground effect rises by 1 to 2 weights per metre in its last centimetres, and a product of layer
norms exceeds the slope that a network really has; more gave worse fits near the ground (measured), not better."""
LARGEST_GAMMA = 32.0  # weights per metre, whatever flights show; twice that where the fit falls short; guess
STEEP = DEFAULT_GAMMA / 1.5  # weights per metre that flights may show before the default bound is too tight for them
ROOM_FOR_STATE = 2.0  # least gamma over the bound in the rotor thrusts, N/m over N/N: it matters below 30 g
GAMMA_OVER_SLOPE = 4.0
"""Over what steeper flights show: a network falls short of its product of norms. Where they showed 3.7 weights/m, the
force at the floor was missed by 4 % of the weight under a bound of 4 weights/m, by 2.4 % under 8 and by 2 % under 16
(simulated plants). On the Crazyflies, with 2.5, a bound of 8 was no better than 4."""
DEFAULT_THRUST_SLOPE = 0.3
"""Logs without thrust excitation teach the identity f_a = m g - T, slope -1; aerodynamics has 0 to +0.2. This bound
keeps what they can teach small: between 0.2 and 0.45 the held-out error near the ground moves by under 2 %."""

UNIDENTIFIED_THRUST_SLOPE = 0.1
"""The bound where flights do not identify df_a/dT: no further from any aerodynamic slope (0 to +0.2) than 0.3."""
DEFAULT_PATH_WEIGHT = 1.25e-3
"""A trade, as a share of the loss that predicting nothing leaves (1.2e-4 in units of the loss on the large Crazyflie,
0.4e-4 on the small one, 2.5e-4 on the demo's flights). Without, the contraction factor is proved up to 7 % above what a
search reaches; 4e-4 leaves L up to 1.2 %; 5e-4 in units of the loss costs the small one's landing 7 %.
"""
DEFAULT_UNREACHED_WEIGHT = 2e-2
"""As a share of the same loss. L and L_u are proved 0 to 0.4 % above what a search reaches, over one to three seeds of
each vehicle, at the same errors to 0.3 %; without it L up to 5 % and L_u up to 1.7 %. Half of it leaves L up to 1.1 %.
"""
DEFAULT_EPOCHS = 30
CHOICES = {"thrust_input": ("auto", "on", "off"), "bounded": ("all", "thrust"), "layers": ("aol", "projection")}


@dataclass(frozen=True)
class TrainingOptions:
    """Choices of ``train_residual``; every one is stored in the bundle, as asked for and as used."""

    hidden: tuple[int, ...] = (25, 30, 15)
    """Sizes of the hidden layers (Shi et al. 2019)."""
    features: str = "heading"
    """State part of the input, a name in ``residual.features``: the paper's, seen from the vehicle. The air does not
    know where north is, and a network that sees the paper's quaternion learns that it does from the headings that were
    flown; on landings of the Crazyflies it is also the better one, by 0.5 and 2 % near the ground."""
    gamma: float | None = None
    """Lipschitz bound of the network over its whole input as a multiple of the vehicle's weight per metre: the norm is
    the Euclidean one over (m, m/s, 1, N), so gamma m g is in N per SI unit of any one input. None: 4, or more where
    the flights show f_a,z to be steep (``residual.steepness``)."""
    thrust_slope: float = DEFAULT_THRUST_SLOPE
    """Bound on the contraction factor |B0^-1 e_1| L_u of the thrust iteration, in thrust units; in (0, 1)."""
    seed: int = 0
    epochs: int | None = None
    """Passes over the samples. None: 30, or more where the network falls short of the flights
    (``residual.shortfall``)."""
    batches: int = 60
    """Per epoch, whatever the number of samples: training time then hardly depends on it."""
    learning_rate: float = 0.05
    """Peak of the cycle."""
    huber: float = 1.0
    """Where the loss turns from square to linear, in tenths of the weight."""
    flight_trim: bool = True
    """Whether each flight's own bias is removed before fitting, and the mean of them put back: battery, mass and thrust
    scale differ from flight to flight, and a network that may explain them by its inputs learns calibration."""
    thrust_input: str = "auto"
    """``on``: the bound on the slope is ``thrust_slope``; ``off``: the network does not see the rotor thrusts;
    ``auto``: where the flights do not identify df_a/dT (``residual.slope``), the bound is at most 0.1."""
    bounded: str = "all"
    """``all``: gamma holds over the whole input; ``thrust``: only the rotor thrusts' columns are bounded."""
    layers: str = "aol"
    """How norms are held: ``aol`` (almost-orthogonal layers) or ``projection`` (onto the ball after every step)."""
    path_weight: float = DEFAULT_PATH_WEIGHT
    """Of the penalty on ``tightness.path_slope``, as a share of the loss that predicting nothing leaves, where the
    learning rate is highest; it falls with that to a quarter. 0 for none. The penalty is linear in the size of the
    force, the loss quadratic: one number for all would weigh most where the effect is small."""
    unreached_weight: float = DEFAULT_UNREACHED_WEIGHT
    """Of the penalty on ``tightness.UnreachedSlope``, as a share of the same loss; 0 for none."""
    height_scale: float = 0.1
    """m, what height is divided by: with gamma it bounds the slope in height against that in the other inputs."""
    near_ground_weight: float = 4.0
    """Weight of a sample at height 0 over one far away."""
    held_out: float = 0.2
    """Share of the flights that the fit report is made on."""
    cut_off: float = DEFAULT_CUT_OFF
    """Hz, of the filter where acceleration must be differentiated."""

    def __post_init__(self) -> None:
        features_named(self.features)
        for name, allowed in CHOICES.items():
            if getattr(self, name) not in allowed:
                raise UserError(f"{name} = {getattr(self, name)!r} is not known; use one of: {', '.join(allowed)}")
        if not 1 <= len(self.hidden) <= 10 or not all(1 <= size <= 2048 for size in self.hidden):
            raise UserError(f"hidden = {self.hidden} must be 1 to 10 layer sizes in 1..2048")
        ranges = {
            "gamma": (1e-3, 1e3), "thrust_slope": (1e-3, 0.95), "epochs": (1, 10_000), "batches": (1, 100_000),
            "learning_rate": (1e-6, 1.0), "huber": (1e-3, 1e3), "near_ground_weight": (1.0, 1e3),
            "held_out": (0.0, 0.5), "seed": (0, 2**31), "height_scale": (1e-3, 10.0),
            "path_weight": (0.0, 1.0), "unreached_weight": (0.0, 1.0),
        }  # fmt: skip
        for name, (low, high) in ranges.items():
            if getattr(self, name) is not None and not low <= getattr(self, name) <= high:
                raise UserError(f"{name} = {getattr(self, name)!r} must lie in [{low:g}, {high:g}]")

    def with_evidence(self, identified: bool, steepest: float, vehicle: Vehicle) -> TrainingOptions:
        """The options that a network is trained with, once it is known what the flights show.

        Parameters
        ----------
        identified
            Whether they identify df_a/dT.
        steepest
            Largest |d f_a,z / d h| in N/m.
        """
        options = self
        if self.gamma is None:
            shown = steepest / vehicle.weight
            steep = min(GAMMA_OVER_SLOPE * shown, LARGEST_GAMMA)
            usual = self._usual_gamma(vehicle)
            options = replace(options, gamma=usual if shown <= STEEP else max(steep, usual))
        if self.thrust_input == "auto" and not identified:
            options = replace(options, thrust_slope=min(self.thrust_slope, UNIDENTIFIED_THRUST_SLOPE))
        return options

    def lipschitz(self, vehicle: Vehicle) -> float:
        """gamma in N per SI unit of the input.

        Raises
        ------
        UserError
            Where the whole bound is smaller than the share that the rotor thrusts need.
        """
        weights_per_metre = self._usual_gamma(vehicle) if self.gamma is None else self.gamma
        gamma, slope = weights_per_metre * vehicle.weight, self.rotor_thrust_lipschitz(vehicle)
        if gamma <= slope:
            raise UserError(
                f"gamma = {weights_per_metre:g} weights per metre is {gamma:.3g} N/m for '{vehicle.name}' and must "
                f"exceed the bound of {slope:.3g} N/N in the rotor thrusts: raise --gamma or lower --thrust-slope"
            )
        return gamma

    def _usual_gamma(self, vehicle: Vehicle) -> float:
        """Weights per metre where the flights ask for no more: of the lightest vehicles the thrusts need their part."""
        return max(DEFAULT_GAMMA, ROOM_FOR_STATE * self.rotor_thrust_lipschitz(vehicle) / vehicle.weight)

    def rotor_thrust_lipschitz(self, vehicle: Vehicle) -> float:
        """L_u: bound on |d f_a / d (T_1..T_4)| in N/N that gives the contraction factor ``thrust_slope``."""
        return float(self.thrust_slope / np.linalg.norm(vehicle.thrust_direction))

    def to_json(self) -> dict[str, Any]:
        """All fields as JSON values."""
        return {**asdict(self), "hidden": list(self.hidden)}
