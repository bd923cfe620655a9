"""The worlds that a campaign can fly in, by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from neural_lander.errors import UserError
from sim.landing import build_controller, controller_named, fly_once
from sim.scenarios import Scenario

if TYPE_CHECKING:
    from sim.campaign import Copy

Scores = dict[str, float]


class FlightWorld(Protocol):
    """Flies the seeds of one controller on one airframe."""

    shard: int
    """Flights that are flown together."""

    def check(self, controller: str, scenario: Scenario, copy: Copy) -> None:
        """Raise UserError where this world cannot fly it."""
        ...

    def fly_shard(
        self,
        copy: Copy,
        controller: str,
        scenario: Scenario,
        seeds: Sequence[int],
        omega_n: float,
        resting_share: float,
        moment_trim: np.ndarray,
    ) -> list[Scores | str]:
        """Scores of every seed, or in words why that flight has none."""
        ...


class PyBullet:
    """One vehicle after the other, with contact and shapes; any effect."""

    shard = 10  # flights: some four seconds of a core between two savings

    def check(self, controller: str, scenario: Scenario, copy: Copy) -> None:
        """See :class:`FlightWorld`: it flies everything."""

    def fly_shard(
        self,
        copy: Copy,
        controller: str,
        scenario: Scenario,
        seeds: Sequence[int],
        omega_n: float,
        resting_share: float,
        moment_trim: np.ndarray,
    ) -> list[Scores | str]:
        """See :class:`FlightWorld`."""
        flown = build_controller(controller_named(controller), copy.plant, copy.learned, omega_n)
        found: list[Scores | str] = []
        for seed in seeds:
            try:
                with copy.plant.build() as world:  # a new one each: Bullet's contacts remember the flight before
                    *_, scores = fly_once(
                        world, copy.plant, flown, scenario, seed, moment_trim, resting_share=resting_share
                    )
                found.append(scores)
            except (UserError, ArithmeticError) as error:
                found.append(str(error))
        return found


WORLDS: Mapping[str, FlightWorld] = {"pybullet": PyBullet()}


def world_named(name: str) -> FlightWorld:
    """World by name, or an error that lists the known ones."""
    if name not in WORLDS:
        raise UserError(f"world '{name}' is not known; use one of: {', '.join(WORLDS)}")
    return WORLDS[name]
