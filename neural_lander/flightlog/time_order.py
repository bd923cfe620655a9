"""Whether motion follows thrust in a log as motors answer, or not: records in reverse order of time, or a wrong clock.

A film that runs backwards shows positions, velocities (negated), attitudes and accelerations that agree with each
other: mechanics does not know which way time goes. The motors do: they answer a command, and never the other way round.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neural_lander.flightlog.log import FlightLog
from neural_lander.flightlog.resampling import PERIOD, linear, zero_phase
from neural_lander.flightlog.thrust import rotor_static_thrust
from neural_lander.rotation import quaternion_to_matrix
from neural_lander.vehicle import Vehicle

BAND = (0.5, 10.0)  # Hz: above the battery and the bias, below the frame's vibration
LONGEST = 20  # steps that either may lead by
LEAST_TIME = 5.0  # s in flight
EARLY = -0.04  # s beyond the motors' lag: clocks of a log differ by as much at the most; a guess. In 31 real flights
# of two Crazyflies the force follows the command by 50 to 110 ms, with a correlation of 0.78 to 0.93 ...
CLEARLY = 0.1  # ... and by that much less where it would lead by as much: 0.15 to 0.49 in those flights
LATE = 0.07  # s beyond the motors' lag; up to 53 ms beyond it in those flights, 0 behind simulated telemetry
FOLLOWS = 0.5  # correlation below which nothing is said


@dataclass(frozen=True)
class ThrustAnswer:
    """How the force along the rotors' axis goes together with what the rotors were told."""

    lag: float
    """s by which the force follows, where they go together best; negative where it leads."""
    correlation: float
    """There."""
    mirrored: float
    """The correlation where the force leads by as much."""
    expected: float
    """s by which it should follow: the motors' lag behind a command, none behind a measured speed."""
    there: float
    """The correlation where it follows by that."""

    @property
    def reversed(self) -> bool:
        """Whether the force clearly comes before what causes it."""
        return self.lag < self.expected + EARLY and self.correlation > max(FOLLOWS, self.mirrored + CLEARLY)

    @property
    def late(self) -> bool:
        """Whether it clearly comes later than motors take to answer."""
        return self.lag > self.expected + LATE and self.correlation > max(FOLLOWS, self.there + CLEARLY)


def thrust_answer(log: FlightLog, vehicle: Vehicle, aloft: np.ndarray) -> ThrustAnswer | None:
    """None where it cannot be told: without thrust, or with under 5 s aloft.

    Parameters
    ----------
    aloft
        ``(N,)`` bool per record: in flight, where neither the floor nor its air carries anything.
    """
    thrust = rotor_static_thrust(log, vehicle)
    if thrust is None:
        return None
    t = np.arange(log.t[0], log.t[-1], PERIOD)
    inside = linear(t, log.t, aloft.astype(float)) > 0.99
    inside[:LONGEST] = inside[-LONGEST:] = False
    if inside.sum() * PERIOD < LEAST_TIME:
        return None
    if log.specific_force is not None:
        force = linear(t, log.t, log.specific_force)
    else:
        force = np.gradient(linear(t, log.t, log.velocity), PERIOD, axis=0)
    up = linear(t, log.t, quaternion_to_matrix(log.attitude)[:, :, 2])
    caused = zero_phase(linear(t, log.t, thrust).sum(axis=1), BAND)
    felt = zero_phase(np.sum(force * up, axis=1), BAND)[inside]
    at = np.flatnonzero(inside)
    steps = range(-LONGEST, LONGEST + 1)
    found = {k: float(np.corrcoef(caused[at - k], felt)[0, 1]) for k in steps}
    best = max(found, key=lambda k: found[k])
    expected = 0.0 if log.rotor_speed is not None else vehicle.motor_time_constant
    there = found[min(round(expected / PERIOD), LONGEST)]
    return ThrustAnswer(best * PERIOD, found[best], found[-best], expected, there)
