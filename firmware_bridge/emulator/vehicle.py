"""What an emulated autopilot flies: any world that can be asked for its state and told its rotor speeds."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from neural_lander.state import State


class EmulatedVehicle(Protocol):
    """A vehicle in some world; PyBullet's, or a point in a test. Frames and units are the project's own."""

    def step(self, rotor_speeds: np.ndarray, dt: float) -> None:
        """Move on by ``dt`` s with the rotor speeds ``(4,)`` in rad/s that the autopilot commands."""
        ...

    @property
    def state(self) -> State:
        """The truth; the autopilot adds what its estimator would."""
        ...

    @property
    def rotor_speed(self) -> np.ndarray:
        """(4,) rad/s, as the motors turn."""
        ...

    @property
    def specific_force(self) -> np.ndarray:
        """(3,) m/s^2, body, of the last step: +9.81 along z at rest."""
        ...


class FlightWatch:
    """Whether a vehicle has flown, and how fast it came down."""

    FLOWN = 0.1  # m of height that are no bounce, guess

    def __init__(self, vehicle: EmulatedVehicle) -> None:
        self._vehicle = vehicle
        self.flown = False
        self.touchdown_speed: float | None = None  # m/s
        """At the first contact after it was last above 0.1 m."""
        self._sinking = 0.0  # m/s, without contact

    def look(self) -> None:
        """Once per step."""
        state = self._vehicle.state
        if float(state.height) > self.FLOWN:
            self.flown, self.touchdown_speed = True, None
        if not state.contact:
            self._sinking = -float(state.velocity[2])
        elif self.flown and self.touchdown_speed is None:
            self.touchdown_speed = self._sinking
