"""Training that goes on until the network shows what its flights show.

The default training is short, which suits smooth effects and keeps the certificate tight; a narrow or steep one (a
layer of suction, the edge of a cushion) takes several times as long. The mean error by height tells them apart: on all
real flights and on the demo's plant it is within its uncertainty, and training on would change nothing but the
certificate.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from neural_lander.residual.features import Features
from neural_lander.residual.network import Fitted, TrainingData, train_network
from neural_lander.residual.options import DEFAULT_EPOCHS, TrainingOptions
from neural_lander.residual.shortfall import shortfall
from neural_lander.vehicle import Vehicle

GO_ON = ((1, 1), (4, 1), (8, 2))
"""Attempts: times the default epochs, and times the bound gamma that the flights ask for. On a plant with suction of
20 % of the weight in a layer of 1 cm the worst mean error was 9, 2.9 and 0.9 % of the weight; times 16 gained nothing
more."""


WORTH = 0.8  # share of a shortfall that may be left after four times the training for still more to be tried; guess


def _no_better(later: Fitted, earlier: Fitted) -> bool:
    """Whether longer training did not help: what stands in the way is something else, a bound or an input."""
    return later.shortfall.share > WORTH * earlier.shortfall.share


def train_to_fit(
    data: TrainingData,
    height: np.ndarray,
    features: Features,
    vehicle: Vehicle,
    options: TrainingOptions,
    gamma_free: bool,
    progress: Callable[[float], None] = lambda fraction: None,
) -> Fitted:
    """Train; where the epochs are left open, again and longer for as long as the fit falls short. The best is returned.

    Parameters
    ----------
    height
        (N,) m, of the gear, of each sample.
    gamma_free
        Whether the bound over the whole input may grow, too.
    """
    found: list[Fitted] = []
    for longer, steeper in ((1, 1),) if options.epochs is not None else GO_ON:
        chosen = replace(options, epochs=options.epochs or longer * DEFAULT_EPOCHS)
        if gamma_free and options.gamma is not None:
            chosen = replace(chosen, gamma=steeper * options.gamma)
        before = len(found)

        def told(fraction: float, before: int = before) -> None:
            progress((before + fraction) / (before + 1))

        fitted = train_network(data, features, vehicle, chosen, told)
        missed = data.label[:, 2] - fitted.network(data.zeta, data.rotor_thrust)[:, 2]
        found.append(replace(fitted, shortfall=shortfall(height, missed, vehicle)))
        if not found[-1].shortfall.matters or (before and _no_better(found[-1], found[-2])):
            break
    return min(found, key=lambda fitted: fitted.shortfall.share)
