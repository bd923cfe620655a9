"""The loops of an emulated autopilot: attitude, rates, climb rate, and one position law with three references."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from firmware_bridge.emulator.estimator import EmulatedEstimator
from firmware_bridge.emulator.modes import TICK
from neural_lander.components import Vector, columns, dot, quaternion_rows, split, yaw_of
from neural_lander.control.allocation import Allocation
from neural_lander.control.attitude import AttitudeLaw, desired_attitude
from neural_lander.control.tracking import TrackingGains, TrackingLaw
from neural_lander.state import Reference
from neural_lander.vehicle import GRAVITY, Vehicle

TAKEOFF_SPEED = 0.5  # m/s, guess: below the default of either autopilot, for rooms
LAND_SPEED = 0.5  # m/s, LAND_SPEED of ArduCopter
LAND_LEAD = 0.3  # m that the reference may run ahead below the vehicle
ARRIVED = 0.1  # m from the height of the take-off, guess
CLIMB_GAIN = 3.0  # 1/s, of the climb-rate loop, guess


class FlightLoops:
    """Each method is one tick and returns rotor speeds ``(4,)`` in rad/s; what they lift is in :attr:`thrust`."""

    def __init__(self, vehicle: Vehicle, estimator: EmulatedEstimator) -> None:
        self.thrust = 0.0  # N, as commanded last
        self._mass, self._weight, self._estimator = vehicle.mass, vehicle.weight, estimator
        self._attitude, self._allocation = AttitudeLaw(vehicle), Allocation(vehicle)
        self._tracking = TrackingLaw(vehicle, TrackingGains.critically_damped(vehicle))
        self._reference = Reference(np.zeros(3), np.zeros(3), np.zeros(3))

    def start_here(self) -> None:
        """Take the present place and heading as the reference."""
        state = self._estimator.state
        self._reference = Reference(state.position.copy(), np.zeros(3), np.zeros(3), yaw_of(state.rows))

    def forget_trim(self) -> None:
        """Forget what was learned of mass and battery."""
        self._tracking.reset()

    def fly(self, attitude: Vector | None, rates: Vector | None, thrust: float) -> np.ndarray:
        """An attitude or body rates, level without either, and thrust in N."""
        state = self._estimator.state
        omega, R = split(state.body_rates), state.rows
        if rates is not None:
            return self._allocate(thrust, self._attitude(R, [w - r for w, r in zip(omega, rates, strict=True)], R))
        R_d = (
            desired_attitude((0.0, 0.0, self._weight), self._reference.yaw, self._weight)
            if attitude is None
            else quaternion_rows(attitude)
        )
        return self._allocate(thrust, self._attitude(R, omega, R_d))

    def climb(self, rate: float) -> float:
        """Thrust in N for a climb rate in m/s."""
        state = self._estimator.state
        lift = self._mass * (GRAVITY + CLIMB_GAIN * (rate - float(state.velocity[2])))
        return lift / max(state.rows[2][2], 0.5)

    def hold(self, now: float, contact: bool) -> np.ndarray:
        """Stay at the reference."""
        return self._track(now, contact, 1.0)

    def ascend(self, now: float, contact: bool, height: float) -> tuple[np.ndarray, bool]:
        """Climb to ``height`` in m, and whether it is reached."""
        z = min(self._reference.position[2] + TAKEOFF_SPEED * TICK, height)
        self._move(z, TAKEOFF_SPEED if z < height else 0.0)
        arrived = z >= height and abs(float(self._estimator.state.position[2]) - z) < ARRIVED
        return self._track(now, contact, 1.0), arrived

    def descend(self, now: float, contact: bool, share: float) -> np.ndarray:
        """Sink without end, with a share 0..1 of the thrust."""
        z = max(self._reference.position[2] - LAND_SPEED * TICK, float(self._estimator.state.position[2]) - LAND_LEAD)
        self._move(z, -LAND_SPEED)
        return self._track(now, contact, share)

    def _move(self, z: float, speed: float) -> None:
        """Put the reference at height ``z`` in m, moving at ``speed`` in m/s."""
        position = self._reference.position.copy()
        position[2] = z
        self._reference = replace(self._reference, position=position, velocity=np.array([0.0, 0.0, speed]))

    def _track(self, now: float, contact: bool, share: float) -> np.ndarray:
        state, reference = self._estimator.state, self._reference
        force = self._tracking(state, reference)
        self._tracking.update(now, contact)
        R_d = desired_attitude(force, reference.yaw, self._weight)
        thrust = share * dot(force, columns(state.rows)[2])
        return self._allocate(thrust, self._attitude(state.rows, split(state.body_rates), R_d))

    def _allocate(self, thrust: float, moment: np.ndarray) -> np.ndarray:
        self.thrust = thrust
        u, _ = self._allocation(np.float64(max(thrust, 0.0)), moment)
        return np.sqrt(u)
