"""What a new model has to pass before it takes an old one's place; each gate with its name and its numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from neural_lander.residual import slope
from neural_lander.residual.evaluation import Predictors, trimmed
from neural_lander.residual.resample import SAMPLE_PERIOD
from neural_lander.residual.samples import ResidualSamples
from neural_lander.residual.scoring import GRAM
from neural_lander.residual.trim import flight_trim

DATA, NEAR_GROUND, CERTIFIED = "data", "near ground", "certified"
MOST_WORSE = 0.03  # of the old model's RMSE near the ground, at the upper end of the 95 % interval
BLOCK = round(slope.BLOCK / SAMPLE_PERIOD)  # samples: errors are correlated over a manoeuvre of one or two seconds
FEW_FLIGHTS = 10  # below it blocks are resampled within flights too: so few flights alone do not show their spread
LEAST_BLOCKS = 4  # that hold samples near the ground; a guess
RESAMPLES = 2000
INTERVAL = (0.025, 0.975)


@dataclass(frozen=True)
class Gate:
    """One condition, and whether it holds."""

    name: str
    passed: bool
    reason: str
    """In one line: what was found against what is asked."""
    figures: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Name, verdict, reason and figures."""
        return {"gate": self.name, "passed": self.passed, "reason": self.reason, **self.figures}


@dataclass(frozen=True, eq=False)
class Compared:
    """One flight, N samples, as an old and a new model predict it."""

    flight: ResidualSamples
    old: np.ndarray  # (N,) N^2
    """Squared error in f_a,z of a model that did not see the sample."""
    new: np.ndarray  # (N,) N^2
    judging: np.ndarray  # (N,) bool
    """Samples that neither model saw."""

    def with_part(self, other: Compared) -> Compared:
        """Joined with what another comparison of the flight judged."""
        old, new = (np.where(other.judging, b, a) for a, b in ((self.old, other.old), (self.new, other.new)))
        return Compared(self.flight, old, new, self.judging | other.judging)

    @property
    def blocks(self) -> np.ndarray:
        """Per 5 s: squared errors of old and new and samples, near the ground, then at all heights; ``(B, 6)``."""
        starts, scored = np.arange(0, len(self.flight), BLOCK), self.flight.scored & self.judging
        values = (self.old, self.new, np.ones_like(self.old))
        columns = [np.where(m, x, 0.0) for m in (scored & self.flight.low, scored) for x in values]
        return np.add.reduceat(np.stack(columns, axis=-1), starts, axis=0)


def compare(old: Predictors, new: Predictors, flight: ResidualSamples, judging: np.ndarray, above: float) -> Compared:
    """Both with the trim of the flight, as in ``evaluate --trim flight``, from samples above a height in m."""
    return Compared(flight, _square_errors(old, flight, above), _square_errors(new, flight, above), judging)


def blocks_near_ground(flights: Sequence[ResidualSamples], masks: Sequence[np.ndarray]) -> int:
    """Blocks of 5 s that hold chosen samples near the ground, ``(N,)`` bool per flight."""
    return sum(
        int((np.add.reduceat(f.scored & f.low & m, np.arange(0, len(f), BLOCK)) > 0).sum())
        for f, m in zip(flights, masks, strict=True)
    )


def no_worse_near_ground(compared: Sequence[Compared], seed: int) -> Gate:
    """Whether RMSE of f_a,z near the ground is at most 3 % above the old model's, with 95 % confidence."""
    blocks = [c.blocks for c in compared]
    near = [b[b[:, 2] > 0, :3] for b in blocks]
    everywhere = [b[b[:, 5] > 0, 3:] for b in blocks]
    figures = {
        "limit": MOST_WORSE,
        "flights": sum(len(b) > 0 for b in near),
        "blocks": sum(len(b) for b in near),
        **_compared(near, "_low", seed),
        **_compared(everywhere, "", seed),
    }
    if figures["blocks"] < LEAST_BLOCKS:
        return Gate(
            NEAR_GROUND,
            False,
            f"flights that neither model saw hold {figures['blocks']} blocks of 5 s near the ground, {LEAST_BLOCKS} "
            "are needed to compare there: give a flight that spends longer near the ground",
            figures,
        )
    low, high = figures["difference_low_95"]
    verdict = f"RMSE {100 * figures['difference_low']:+.1f} %, 95 % interval {100 * low:+.1f} to {100 * high:+.2f} %"
    return Gate(
        NEAR_GROUND,
        high <= MOST_WORSE,
        f"{verdict}; at most {100 * MOST_WORSE:+.0f} % is allowed at its upper end",
        figures,
    )


def difference_interval(blocks: Sequence[np.ndarray], seed: int) -> tuple[float, float]:
    """95 % interval of RMSE_new / RMSE_old - 1 by a bootstrap of flights, and of blocks within few flights.

    Parameters
    ----------
    blocks
        Per flight ``(B, 3)``: sums of squared errors of old and new, and the samples, of each block of 5 s.
    """
    rng = np.random.default_rng(seed)
    flights = [b for b in blocks if len(b)]
    k, within = len(flights), len(flights) < FEW_FLIGHTS
    picked = rng.integers(k, size=(RESAMPLES, k))
    sums = np.empty((RESAMPLES, k, 3))
    for i, b in enumerate(flights):
        mine = picked == i
        again = rng.integers(len(b), size=(int(mine.sum()), len(b)))
        sums[mine] = b[again].sum(axis=1) if within else b.sum(axis=0)
    total = sums.sum(axis=1)
    ratios = np.sqrt(total[:, 1] / total[:, 0])
    low, high = np.quantile(ratios - 1, INTERVAL)
    return float(low), float(high)


def _square_errors(predictors: Predictors, flight: ResidualSamples, trim_above: float) -> np.ndarray:
    prediction = trimmed(predictors, flight, flight_trim, trim_above)["network"]
    return np.asarray((prediction - flight.label)[:, 2] ** 2)


def _compared(blocks: Sequence[np.ndarray], suffix: str, seed: int) -> dict[str, Any]:
    total = sum((b.sum(axis=0) for b in blocks), np.zeros(3))
    keys = [f"{name}{suffix}" for name in ("rmse_old_fa_z", "rmse_new_fa_z")]
    if not total[2]:
        nothing = dict.fromkeys(f"{key}_{unit}" for key in keys for unit in ("N", "g"))
        return {**nothing, f"difference{suffix}": None, f"difference{suffix}_95": None, f"samples{suffix}": 0}
    old, new = np.sqrt(total[:2] / total[2])
    return {
        **{f"{key}_N": float(value) for key, value in zip(keys, (old, new), strict=True)},
        **{f"{key}_g": float(value / GRAM) for key, value in zip(keys, (old, new), strict=True)},
        f"difference{suffix}": float(new / old - 1),
        f"difference{suffix}_95": list(difference_interval(blocks, seed)),
        f"samples{suffix}": int(total[2]),
    }
