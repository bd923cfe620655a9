"""What is flown in a comparison: the tasks behind every table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from neural_lander.control.touchdown import CONTACT_TIME, RESTING_SHARE, TouchdownDetector
from neural_lander.errors import UserError
from neural_lander.trajectory import (
    LANDING_HOLD,
    LANDING_SPEED,
    LANDING_START_HEIGHT,
    Crossing,
    FigureEight,
    Hover,
    Landing,
    Riding,
    Trajectory,
)
from neural_lander.vehicle import Vehicle
from sim.flight import Truth
from sim.plant import Plant
from sim.scoring import LOW_HOVER_HEIGHT, LOW_HOVER_TIME, score_landing, score_low_hover, score_tracking
from sim.terrain import Deck, Platform, Terrain

WARM_UP = 3.0  # s of hover before the start: at the default gains trim has settled to 2 % after 2.7 s
START_SPREAD = 0.05  # m, standard deviation of the place where hover begins
GLIDE = np.array([0.8, 0.5])  # m, horizontal way of the 3-D landing

# The paper names the cross-table flight and tells no numbers of it; these are ours, fixed before anything was flown.
TABLE = Platform()
TABLE_REACH = 1.2  # m from the table's middle to start and end: the rotors are past its edge by more than their span
TABLE_SPEED = 0.5  # m/s: two seconds above the table
TABLE_HEIGHT = 0.05  # m of the gear above its top, that of the low hover

# Ours as well: about the height of the low hover, with room for the gear of a vehicle that tilts in the turns.
EIGHT_HEIGHT = 0.06  # m of the gear
EIGHT_LENGTH, EIGHT_WIDTH = 1.0, 0.5  # m
EIGHT_PERIOD, EIGHT_LAPS = 8.0, 2  # s; at most 0.56 m/s, where it crosses itself
DECK = Deck()
RAMP = 1.0  # s from rest to speed and back


@dataclass(frozen=True)
class Scenario:
    """A task that starts at time 0 from settled hover."""

    name: str
    definition: str
    """In one sentence, for people."""
    trajectory: Callable[[np.ndarray], Trajectory]
    """Pad position (3,) m -> reference."""
    duration: float  # s
    lands: bool
    score: Callable[[Truth, Trajectory], dict[str, float]]
    """Figures of one flight, SI with the unit in the key; ``success`` is 1 or 0."""
    terrain: Terrain | None = None
    """What it is flown over; None for the plant's own."""

    def over(self, plant: Plant) -> Plant:
        """The plant, over what this scenario needs."""
        return plant if self.terrain is None else replace(plant, terrain=self.terrain)

    def detector(self, vehicle: Vehicle, resting_share: float = RESTING_SHARE) -> TouchdownDetector | None:
        """What ends a landing, told of the vehicle as its profile has it; None where nothing lands."""
        return TouchdownDetector(CONTACT_TIME, resting_share, vehicle.motor_time_constant) if self.lands else None

    def drawn(self, seed: int | Sequence[int]) -> Scenario:
        """The task of one flight: where its ground moves, the seed says from when on; of several, side by side."""
        if not isinstance(self.terrain, Deck):
            return self
        deck = self.terrain.drawn(seed)
        return replace(self, terrain=deck, trajectory=_on(deck))


def _landing(offset: np.ndarray) -> Callable[[np.ndarray], Landing]:
    return lambda pad: Landing(pad + np.array([*offset, LANDING_START_HEIGHT]), pad)


def _crossing(pad: np.ndarray) -> Crossing:
    reach = np.array([TABLE_REACH, 0.0, 0.0])
    above = pad + np.array([0.0, 0.0, TABLE_HEIGHT])
    return Crossing(above - reach, above + reach, TABLE_SPEED, RAMP)


def _eight(pad: np.ndarray) -> FigureEight:
    above = pad + np.array([0.0, 0.0, EIGHT_HEIGHT])
    return FigureEight(above, EIGHT_LENGTH, EIGHT_WIDTH, EIGHT_PERIOD, EIGHT_LAPS, RAMP)


def _on(deck: Deck) -> Callable[[np.ndarray], Riding]:
    return lambda pad: Riding(_landing(np.zeros(2))(pad), deck.ride)


_LANDING_TIME = LANDING_START_HEIGHT / LANDING_SPEED + LANDING_HOLD  # s
_DESCENT = f"from {LANDING_START_HEIGHT:g} m down at {LANDING_SPEED:g} m/s, then {LANDING_HOLD:g} s at height 0"

SCENARIOS: Mapping[str, Scenario] = {
    s.name: s
    for s in (
        Scenario("land-1d", f"Straight {_DESCENT}.", _landing(np.zeros(2)), _LANDING_TIME, True, score_landing),
        Scenario(
            "land-3d",
            f"{_DESCENT.capitalize()}, from {GLIDE[0]:g} m and {GLIDE[1]:g} m aside.",
            _landing(GLIDE),
            _LANDING_TIME,
            True,
            score_landing,
        ),
        Scenario(
            "hover-low",
            f"Hover at {1e3 * LOW_HOVER_HEIGHT:g} mm; the last half of {LOW_HOVER_TIME:g} s counts.",
            lambda pad: Hover(pad + np.array([0.0, 0.0, LOW_HOVER_HEIGHT])),
            LOW_HOVER_TIME,
            False,
            score_low_hover,
        ),
        Scenario(
            "cross-table",
            f"Past both edges of a table of {TABLE.size:g} m, {1e3 * TABLE_HEIGHT:g} mm above it and {TABLE.top:g} m "
            f"above the floor around it, at {TABLE_SPEED:g} m/s.",
            _crossing,
            _crossing(np.zeros(3)).run.duration,
            False,
            score_tracking,
            TABLE,
        ),
        Scenario(
            "figure-8-low",
            f"{EIGHT_LAPS} figures of eight, {EIGHT_LENGTH:g} m by {EIGHT_WIDTH:g} m, {EIGHT_PERIOD:g} s each, "
            f"at {1e3 * EIGHT_HEIGHT:g} mm.",
            _eight,
            _eight(np.zeros(3)).run.duration,
            False,
            score_tracking,
        ),
        Scenario(
            "deck",
            f"{_DESCENT.capitalize()}, over the middle of a deck that heaves by {1e3 * DECK.heave:g} mm in "
            f"{DECK.heave_period:g} s and rolls by {np.rad2deg(DECK.roll):.0f} degrees, from where each seed draws it; "
            "the reference rides on it.",
            _on(DECK),
            _LANDING_TIME,
            True,
            score_landing,
            DECK,
        ),
    )
}


def scenario_named(name: str) -> Scenario:
    """Scenario by name, or an error that lists the known ones."""
    if name not in SCENARIOS:
        raise UserError(f"scenario '{name}' is not known; use one of: {', '.join(SCENARIOS)}")
    return SCENARIOS[name]
