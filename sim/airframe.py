"""What no two airframes share: rotors tilted by a degree, a centre of mass off by millimetres."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from neural_lander.components import Vector, split
from neural_lander.rotation import cross
from neural_lander.vehicle import Vehicle

ROTOR_TILT = np.deg2rad(1.0)  # rad, standard deviation about each body axis; guess from hand-built frames
MISMATCH = np.array([1.0, -0.6, 0.3, -0.7])  # of a spread of the motors: no mean, and moments about all axes; a choice
CENTRE_OF_MASS = 0.01  # of the arm, standard deviation per axis (2 mm on a 0.18 m arm); guess


@dataclass(frozen=True, eq=False)
class Airframe:
    """One physical copy of a vehicle; the same in collection and landing."""

    rotor_axes: np.ndarray  # (4, 3)
    """Unit thrust directions, body."""
    centre_of_mass: np.ndarray  # (3,) m
    """Offset of the true from the nominal centre of mass, body. Hubs and gear stay where they are on the frame."""
    thrust_gains: np.ndarray = field(default_factory=lambda: np.ones(4))  # (4,)
    """True over nominal thrust of each rotor at the same speed."""
    lag_gains: np.ndarray = field(default_factory=lambda: np.ones(4))  # (4,)
    """True over nominal time constant of each motor."""

    @classmethod
    def nominal(cls) -> Airframe:
        """As drawn."""
        return cls(np.tile([0.0, 0.0, 1.0], (4, 1)), np.zeros(3))

    @classmethod
    def drawn(cls, vehicle: Vehicle, seed: int) -> Airframe:
        """As built: asymmetries drawn once from a seed."""
        rng = np.random.default_rng([seed, 0xA1F])
        tilt = rng.standard_normal((4, 2)) * ROTOR_TILT
        axes = np.concatenate([tilt, np.ones((4, 1))], axis=-1)
        offset = rng.standard_normal(3) * CENTRE_OF_MASS * arm_length(vehicle) * np.array([1.0, 1.0, 0.5])
        return cls(axes / np.linalg.norm(axes, axis=-1, keepdims=True), offset)

    def wrench_map(self, vehicle: Vehicle) -> np.ndarray:
        """(4, 6) map from rotor thrusts in N to (force in N, moment in N m about the true centre of mass), body."""
        arms = vehicle.rotor_positions - self.centre_of_mass
        reaction = -(vehicle.rotor_directions * vehicle.torque_ratio)[:, None] * self.rotor_axes
        wrench = np.concatenate([self.rotor_axes, cross(arms, self.rotor_axes) + reaction], axis=-1)
        return self.thrust_gains[:, None] * wrench

    @property
    def offset(self) -> Vector | None:
        """The centre of mass as components in m; None where it is where it should be, and nothing is to be moved."""
        return split(self.centre_of_mass) if np.any(self.centre_of_mass) else None

    def motor_time_constants(self, vehicle: Vehicle) -> float | np.ndarray:
        """s, one number where all motors are alike, else (4,)."""
        alike = bool(np.all(self.lag_gains == self.lag_gains[0]))
        gain = float(self.lag_gains[0]) if alike else self.lag_gains
        return vehicle.motor_time_constant * gain

    def unbalanced(self, vehicle: Vehicle, share: float) -> Airframe:
        """With the centre of mass further forward by a share of the arm."""
        ahead = np.array([share * arm_length(vehicle), 0.0, 0.0])
        return replace(self, centre_of_mass=self.centre_of_mass + ahead)

    def mismatched(self, spread: float) -> Airframe:
        """With motors that differ: thrust by up to +-spread, time constants by up to twice as much, the other way."""
        uneven = spread * MISMATCH
        return replace(self, thrust_gains=self.thrust_gains * (1 + uneven), lag_gains=self.lag_gains * (1 - 2 * uneven))


def arm_length(vehicle: Vehicle) -> float:
    """Mean horizontal distance in m of the rotor hubs from the nominal centre of mass."""
    return float(np.mean(np.linalg.norm(vehicle.rotor_positions[:, :2], axis=-1)))
