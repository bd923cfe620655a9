"""A world that costs nothing, for what a campaign does with its work: scores are drawn from the seed."""

import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sim.comparison.worlds import Part
from sim.plant import Copy
from sim.scenarios import Scenario


@dataclass(frozen=True)
class CheapWorld:
    """Scores of a landing from the seed alone."""

    slow: float = 0.0  # s, per shard
    deadly: Path | None = None
    """The first worker that flies while this file exists deletes it and is killed."""
    shard = 2
    exact = True

    def check(self, controller: str, scenario: Scenario, copy: Copy) -> None:
        """It flies everything."""

    def fly(
        self, parts: Sequence[Part], scenario: Scenario, omega_n: float, resting_share: float
    ) -> list[list[dict[str, float] | str]]:
        time.sleep(self.slow)
        if self.deadly is not None and self.deadly.exists():
            self.deadly.unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        return [[self.scores(part.controller, seed) for seed in part.seeds] for part in parts]

    def scores(self, controller: str, seed: int) -> dict[str, float] | str:
        error, late = np.random.default_rng([seed, len(controller)]).random(2)
        return {
            "arrival_error_m": error, "low_descent_error_m": error, "lateness_s": late,
            "touchdown_speed_m_s": float("nan"),
            "touchdown": 1.0, "tipped_over": 0.0, "success": 1.0,
        }  # fmt: skip
