"""Whether a log's rotors turn the vehicle as their order says: moments of thrust against angular acceleration.

J omega' = B0 u is what a rotor's place means. Collective thrust does not depend on the order, so that nothing else in a
log shows a wrong one; the network sees each rotor.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations

import numpy as np

from neural_lander.flightlog.log import FlightLog
from neural_lander.flightlog.resampling import PERIOD, first_order_lag, linear, zero_phase
from neural_lander.flightlog.thrust import rotor_static_thrust
from neural_lander.rotor_order import QUADRANTS_KEY, motors_by_quadrant
from neural_lander.vehicle import Vehicle

BAND = (1.0, 8.0)  # Hz: of manoeuvres; below drift an offset centre of mass and drag, above the gyroscope's noise
LEAST_TURNING = 0.3  # rad/s^2 rms of roll and pitch within the band; 0.6 to 4 on the Neural-Swarm2 flights
LEAST_TIME = 5.0  # s in flight
FOLLOWS = (
    0.2  # correlation that roll and pitch have at the least in the order that flew: 0.28 to 0.6 in 31 real flights
)
# of two Crazyflies (PWM, whose gyroscopes hear the motors), 0.35 to 0.98 in simulated ones
CLEARLY = 0.4  # by which the three correlations of another order must exceed those of the log's together; a guess: in
# those flights no order exceeded the right one's, and of all wrong ones 99 % were told


@dataclass(frozen=True)
class RotorOrder:
    """How well moments and angular accelerations go together, as the log has its rotors and in the best order."""

    correlation: tuple[float, float, float]
    """Of roll, pitch and yaw."""
    best: tuple[int, ...]
    """For each rotor of the profile the column of the log, from 0, with which they go together best."""
    best_correlation: tuple[float, float, float]

    @property
    def wrong(self) -> bool:
        """Whether another order than the log's is what flew."""
        clearly = sum(self.best_correlation) - sum(self.correlation) > CLEARLY
        return clearly and min(self.best_correlation[:2]) > FOLLOWS


def rotor_order_shown(log: FlightLog, vehicle: Vehicle, airborne: np.ndarray) -> RotorOrder | None:
    """None where it cannot be told: without body rates or thrust, or where the vehicle hardly turns.

    Parameters
    ----------
    airborne
        ``(N,)`` bool per record: in flight, where the ground exerts no moment.
    """
    thrust = rotor_static_thrust(log, vehicle)
    if thrust is None or log.body_rates is None:
        return None
    columns: tuple[int, ...] = (0, 1, 2, 3)
    if quadrants := log.metadata.get(QUADRANTS_KEY):
        try:
            columns = motors_by_quadrant(vehicle, quadrants) or columns
        except (TypeError, ValueError):
            return None  # refused by name where samples are made
    t = np.arange(log.t[0], log.t[-1], PERIOD)
    thrust = linear(t, log.t, thrust)
    if log.rotor_speed is None:
        thrust = first_order_lag(thrust, PERIOD, vehicle.motor_time_constant)
    rates = linear(t, log.t, log.body_rates)
    inside = _settled(linear(t, log.t, airborne.astype(float)) > 0.99)
    if inside.sum() * PERIOD < LEAST_TIME:
        return None
    turning = zero_phase(np.gradient(rates, PERIOD, axis=0), BAND)[inside]
    if np.sqrt(np.mean(turning[:, :2] ** 2, axis=0)).min() < LEAST_TURNING:
        return None
    moved = zero_phase(thrust, BAND)[inside]

    def correlations(order: tuple[int, ...]) -> tuple[float, float, float]:
        moments = moved[:, order] @ vehicle.B0[1:].T
        norms = np.linalg.norm(moments, axis=0) * np.linalg.norm(turning, axis=0)
        x, y, z = (np.sum(moments * turning, axis=0) / np.maximum(norms, 1e-12)).tolist()
        return x, y, z

    found = {order: correlations(order) for order in permutations(range(4))}
    best = max(found, key=lambda order: sum(found[order]))
    return RotorOrder(found[columns], best, found[best])


def _settled(airborne: np.ndarray) -> np.ndarray:
    """In flight with half a second of flight on either side: the filter's memory."""
    window = np.ones(round(1.0 / PERIOD) + 1)
    return np.asarray(np.convolve(~airborne, window, "same") < 0.5)
