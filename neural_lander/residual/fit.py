"""Training that goes on until the network shows what its flights show.

The default training is short, which suits smooth effects and keeps the certificate tight; a narrow or steep one (a
layer of suction, the edge of a cushion) takes several times as long. The mean error by height tells them apart: on all
real flights and on the demo's plant it is within its uncertainty, and training on would change nothing but the
certificate.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from neural_lander.residual.features import Features
from neural_lander.residual.network import PLAIN, Effort, Fitted, TrainingData, train_network
from neural_lander.residual.options import DEFAULT_EPOCHS, TrainingOptions
from neural_lander.residual.shortfall import shortfall
from neural_lander.vehicle import Vehicle

GO_ON: Sequence[Effort] = (PLAIN, Effort(4, 1), Effort(8, 2))
"""Attempts. On a plant with suction of 20 % of the weight in a layer of 1 cm the worst mean error was 9, 2.9 and 0.9 %
of the weight; times 16 gained nothing more."""
WORTH = 0.8  # share of a shortfall that may be left after more training for it to be worth its looser bounds; guess


def train_to_fit(
    data: TrainingData,
    height: np.ndarray,
    features: Features,
    vehicle: Vehicle,
    options: TrainingOptions,
    gamma_free: bool,
    efforts: Sequence[Effort] = GO_ON,
    progress: Callable[[float], None] = lambda fraction: None,
) -> Fitted:
    """Train; where the epochs are left open, again and longer for as long as the fit falls short and that helps.

    Parameters
    ----------
    height
        (N,) m, of the gear, of each sample, in the order of time.
    gamma_free
        Whether the bound over the whole input may grow, too.
    efforts
        That may be tried, in this order.
    """
    if options.epochs is not None:
        efforts = efforts[:1]
    done, whole, took, best = 0, sum(effort.longer for effort in efforts), 0.0, None
    for effort in efforts:
        chosen = replace(options, epochs=options.epochs or effort.longer * DEFAULT_EPOCHS)
        if gamma_free and options.gamma is not None:
            chosen = replace(chosen, gamma=effort.steeper * options.gamma)

        def told(fraction: float, done: int = done, longer: int = effort.longer) -> None:
            progress((done + fraction * longer) / whole)

        fitted = train_network(data, features, vehicle, chosen, told)
        done, took = done + effort.longer, took + fitted.optimisation_s
        missed = data.label[:, 2] - fitted.network(data.zeta, data.rotor_thrust)[:, 2]
        fitted = replace(fitted, effort=effort, shortfall=shortfall(height, missed, vehicle), optimisation_s=took)
        if best is not None and fitted.shortfall.share > WORTH * best.shortfall.share:
            best = replace(best, optimisation_s=took)
            break  # what stands in the way is something else: a bound or an input
        best = fitted
        if not best.shortfall.matters:
            break
    assert best is not None
    progress(1.0)
    return best
