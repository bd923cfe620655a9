"""Training that goes on until the network shows what its flights show.

The default training is short, which suits smooth effects and keeps the certificate tight; a narrow or steep one (a
layer of suction, the edge of a cushion) takes several times as long. The mean error by height tells them apart: on all
real flights and on the demo's plant it is within its uncertainty, and training on would change nothing but the
certificate.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from neural_lander.residual.features import Features
from neural_lander.residual.network import Fitted, TrainingData, train_network
from neural_lander.residual.options import DEFAULT_EPOCHS, TrainingOptions
from neural_lander.residual.shortfall import Shortfall, shortfall
from neural_lander.vehicle import Vehicle


class Effort(NamedTuple):
    """How hard a network is trained."""

    longer: int
    """Times the default epochs."""
    steeper: int
    """Times the bound gamma that the flights ask for."""


@dataclass(frozen=True)
class Fit(Fitted):
    """The network that is kept, and what it took; ``optimisation_s`` is that of all attempts."""

    effort: Effort
    shortfall: Shortfall
    """Where its mean error is largest."""


GO_ON: Sequence[Effort] = (Effort(1, 1), Effort(4, 1), Effort(8, 2))
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
) -> Fit:
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
    done, whole, took = 0, sum(effort.longer for effort in efforts), 0.0
    best: Fit | None = None
    for effort in efforts:
        chosen = replace(options, epochs=options.epochs or effort.longer * DEFAULT_EPOCHS)
        if gamma_free and options.gamma is not None:
            chosen = replace(chosen, gamma=effort.steeper * options.gamma)

        def told(fraction: float, done: int = done, longer: int = effort.longer) -> None:
            progress((done + fraction * longer) / whole)

        fitted = train_network(data, features, vehicle, chosen, told)
        done, took = done + effort.longer, took + fitted.optimisation_s
        missed = data.label[:, 2] - fitted.network(data.zeta, data.rotor_thrust)[:, 2]
        fit = Fit(**vars(fitted), effort=effort, shortfall=shortfall(height, missed, vehicle))
        if best is not None and fit.shortfall.share > WORTH * best.shortfall.share:
            break  # what stands in the way is something else: a bound or an input
        best = fit
        if not best.shortfall.matters:
            break
    assert best is not None
    progress(1.0)
    return replace(best, optimisation_s=took)
