"""Descents of many vehicles at once, as the certificate's tracking bound wants them (``sim.descents``)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from neural_lander.control.touchdown import RESTING_SHARE
from neural_lander.control.tracking import DEFAULT_NATURAL_FREQUENCY
from neural_lander.residual.domain import Domain
from sim.batch.flight import Flights, Task
from sim.flight import Truth
from sim.scenarios import scenario_named


class Descents(Flights):
    """Flights of one controller on one airframe, with what the tracking bound asks of the controller."""

    def __init__(self, task: Task, scenario: str, domain: Domain) -> None:
        super().__init__([task], scenario_named(scenario), DEFAULT_NATURAL_FREQUENCY, RESTING_SHARE, None)
        self.domain = domain
        self.gaps = torch.empty((self.steps, self.world.size), dtype=torch.float64)
        self.scores = torch.empty_like(self.gaps)

    def _command(self, k: int, t: float, seen: Any) -> torch.Tensor:
        command = super()._command(k, t, seen)
        ((_, controller),) = self.controllers
        self.gaps[k] = torch.linalg.norm(controller.wanted.f_a_hat_at - controller.rotor_thrust, dim=-1)
        self.scores[k] = self.domain.score(seen)
        return command

    def flown(self) -> list[tuple[Truth, np.ndarray, np.ndarray]]:
        """Of each seed, once flown: truth, distance in N of the thrusts asked for and commanded, domain score."""
        found, columns = [], {name: c.numpy() for name, c in self.seen.items()}
        for i, cut in enumerate(self.cut.tolist()):
            truth = self._truth(i, {n: c[:cut, i] for n, c in columns.items()}, self.contact[:cut, i].numpy(), np.nan)
            found.append((truth, self.gaps[:cut, i].numpy(), self.scores[:cut, i].numpy()))
        return found


def fly_descents_batch(task: Task, scenario: str, domain: Domain) -> list[tuple[Truth, np.ndarray, np.ndarray]]:
    """See :meth:`Descents.flown`."""
    with torch.no_grad():
        flights = Descents(task, scenario, domain)
        flights.fly()
        return flights.flown()
