"""What a flight has to stay within, beside the supervisor's limits."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from firmware_bridge.link import BatteryReport
from neural_lander.errors import UserError
from neural_lander.state import State

BATTERY_AGE = 10.0
"""s after which a report of the battery tells nothing any more; a guess: links report twice a second or more, and where
MAVLink's BATTERY_STATUS falls silent SYS_STATUS stands in after 5 s."""


@dataclass(frozen=True)
class Volume:
    """Where the flight has to stay: a cylinder over the place where control was taken. Guesses for a room."""

    radius: float = 3.0  # m
    ceiling: float = 3.0  # m of gear height

    def __post_init__(self) -> None:
        if not (0 < self.radius < math.inf and 0 < self.ceiling < math.inf):
            raise UserError(
                f"flight volume: radius = {self.radius} m and ceiling = {self.ceiling} m must be positive and finite"
            )

    def outside(self, home: np.ndarray | None, state: State) -> tuple[float, float]:
        """By how much ``state`` is outside of it around ``home`` (3,) in m, and how fast it goes further, in m/s.

        Inside both are 0, and without a home all is inside.
        """
        if home is None:
            return 0.0, 0.0
        (x, y), (v_x, v_y, v_z) = (state.position[:2] - home[:2]).tolist(), state.velocity.tolist()
        away = math.hypot(x, y)
        sideways = away - self.radius, (x * v_x + y * v_y) / max(away, 1e-9)
        upwards = float(state.height) - self.ceiling, v_z
        left = [way for way in (sideways, upwards) if not way[0] <= 0.0]
        if not left:
            return 0.0, 0.0
        return max(distance for distance, _ in left), max(0.0, *(speed for _, speed in left))


@dataclass(frozen=True)
class Bounds:
    """Volume and battery."""

    volume: Volume = field(default_factory=Volume)
    battery_remaining: float = 0.15  # 0..1, guess
    battery_voltage: float = 0.0  # V, under load; 0 where it is not watched

    def __post_init__(self) -> None:
        if not 0 <= self.battery_voltage < math.inf:
            raise UserError(f"lowest battery voltage = {self.battery_voltage} V must be finite and not negative")

    def battery_low(self, battery: BatteryReport | None, now: float) -> bool:
        """Whether it is time to land at ``now`` in s; a voltage that is watched and does not come counts as low."""
        if battery is None or not now - battery.received <= BATTERY_AGE:
            return self.battery_voltage > 0.0
        empty = battery.remaining is not None and battery.remaining < self.battery_remaining
        return empty or not battery.voltage >= self.battery_voltage
