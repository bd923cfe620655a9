"""Old and new model judged without a flight to spare: by pairs of models that stand in for them.

All flights are dealt into folds, new ones by blocks of 5 s. For each fold one model is fitted on what the old model was
fitted on, another on what the new one is, both without the fold, and both are judged on it: no sample is judged by a
model that saw it or its neighbours. So it is judged what the flights do to a model, not the very weights that go out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from neural_lander.residual.evaluation import Predictors
from neural_lander.residual.fit import GO_ON, Effort
from neural_lander.residual.options import TrainingOptions
from neural_lander.residual.retraining.gates import Compared, compare
from neural_lander.residual.samples import ResidualSamples
from neural_lander.residual.training import fit_predictors, held_out_blocks
from neural_lander.residual.trim import trim_height
from neural_lander.vehicle import Vehicle

FOLDS = 4  # a quarter of the flights judges at a time, as among many new flights


@dataclass(frozen=True)
class Dealt:
    """A flight in the game."""

    flight: ResidualSamples
    by_old: bool
    """Whether the old model was fitted on it, and so its stand-ins are."""
    by_new: bool
    judges: bool
    """Whether it is judged on."""


def compare_cross_fitted(
    dealt: Sequence[Dealt],
    vehicle: Vehicle,
    options: TrainingOptions,
    old: Predictors | None = None,
    progress: Callable[[float], None] = lambda fraction: None,
    efforts: Sequence[Effort] = GO_ON,
) -> tuple[list[Compared], int]:
    """Every judge with the errors of both stand-ins, each of its samples judged once, and the number of folds.

    Parameters
    ----------
    old
        The old model, to stand for itself where it is not known what it was fitted on; having seen what judges, it is
        then hard to beat.
    efforts
        How hard each stand-in may be trained.

    Raises
    ------
    UserError
        Where a fold leaves too little to fit on.
    """
    above, flights = trim_height(vehicle), [d.flight for d in dealt]
    order = sorted(range(len(dealt)), key=lambda k: not (dealt[k].by_old and dealt[k].by_new))
    turn = {k: i for i, k in enumerate(order)}  # those that both models know first, so that each fold leaves some
    both = sum(d.by_old and d.by_new for d in dealt)
    folds = min(FOLDS, both) if both > 1 else FOLDS
    found = {k: _nothing(d.flight) for k, d in enumerate(dealt) if d.judges}
    for fold in range(folds):
        # a flight that one of the two models knows is judged by blocks, or the two would not differ where it judges
        parts = [
            _whole(d.flight, turn[k] % folds == fold)
            if d.by_old == d.by_new and both > 1
            else held_out_blocks(len(d.flight), folds, fold)
            for k, d in enumerate(dealt)
        ]
        models = [] if old is None else [old]
        for use in ([d.by_old for d in dealt], [d.by_new for d in dealt])[len(models) :]:
            chosen = [rest & used for (_, rest), used in zip(parts, use, strict=True)]
            models.append(fit_predictors(flights, chosen, vehicle, options, efforts=efforts)[1])
            progress((fold + len(models) / 2) / folds)
        for k, before in found.items():
            here = compare(models[0], models[1], flights[k], parts[k][0], above)
            found[k] = before.with_part(here)
    return list(found.values()), folds


def _whole(flight: ResidualSamples, judges: bool) -> tuple[np.ndarray, np.ndarray]:
    mine = np.full(len(flight), judges)
    return mine, ~mine


def _nothing(flight: ResidualSamples) -> Compared:
    zero = np.zeros(len(flight))
    return Compared(flight, zero, zero, zero.astype(bool))
