"""The signals of one flight that identification needs, on the 100 Hz grid of its samples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neural_lander.flightlog.log import FlightLog
from neural_lander.flightlog.thrust import static_thrust
from neural_lander.residual.options import DEFAULT_CUT_OFF
from neural_lander.residual.resample import interpolate, specific_force_from_velocity, zero_phase
from neural_lander.residual.samples import ResidualSamples
from neural_lander.residual.trim import trim_height
from neural_lander.rotation import quaternion_to_matrix
from neural_lander.vehicle import Vehicle

MOVES = 0.01  # m rms: a reference that moves less is held


@dataclass(frozen=True, eq=False)
class FlightSignals:
    """N samples, 10 ms apart; SI."""

    source: str
    t: np.ndarray  # (N,) s
    thrust: np.ndarray  # (N,) N
    """Static collective thrust of the rotor signal, before any lag."""
    rotor_signal: str
    """``command`` or ``measured speed``."""
    force: np.ndarray  # (N,) N
    """m times the specific force along the body's z axis: what the thrust does."""
    speed: np.ndarray  # (N,) m/s
    """Velocity along the body's z axis."""
    velocity: np.ndarray  # (N, 3) m/s
    """World."""
    specific_force: np.ndarray  # (N, 3) m/s^2
    """World."""
    accelerometer: bool
    """Whether it was logged; else it is differentiated velocity."""
    rotation: np.ndarray  # (N, 3, 3)
    """Body to world."""
    battery: np.ndarray | None  # (N,) V
    reference: np.ndarray | None  # (N,) m
    """World z of what the controller was asked to follow, where that moves."""
    high: np.ndarray  # (N,) bool
    """In free flight above the height at which the trim is taken: no ground effect."""
    aloft: np.ndarray  # (N,) bool
    """In free flight above half that height: little ground effect, and longer stretches."""


def flight_signals(log: FlightLog, samples: ResidualSamples, vehicle: Vehicle) -> FlightSignals:
    """Signals of the log that ``samples`` were made of.

    Where velocity had to be differentiated all signals pass the same filter, as in the samples.
    """
    t = samples.t
    static = static_thrust(log, vehicle)
    assert static is not None  # the samples would not exist
    velocity, thrust = interpolate(t, log.t, log.velocity), interpolate(t, log.t, static)
    R = quaternion_to_matrix(samples.attitude)
    if log.specific_force is not None:
        specific_force = interpolate(t, log.t, log.specific_force)
    else:
        specific_force, _ = specific_force_from_velocity(velocity, DEFAULT_CUT_OFF)
        velocity, thrust = zero_phase(velocity, DEFAULT_CUT_OFF), zero_phase(thrust, DEFAULT_CUT_OFF)
    up = R[:, :, 2]
    reference = None if log.position_reference is None else interpolate(t, log.t, log.position_reference[:, 2])
    free = samples.usable
    above = trim_height(vehicle)
    return FlightSignals(
        source=samples.source,
        t=t,
        thrust=thrust,
        rotor_signal="measured speed" if log.rotor_speed is not None else "command",
        force=vehicle.mass * np.sum(specific_force * up, axis=1),
        speed=np.sum(velocity * up, axis=1),
        velocity=velocity,
        specific_force=specific_force,
        accelerometer=log.specific_force is not None,
        rotation=R,
        battery=None if log.battery_voltage is None else interpolate(t, log.t, log.battery_voltage),
        reference=reference if reference is not None and reference[free].std() > MOVES else None,
        high=free & (samples.centre_height > above),
        aloft=free & (samples.centre_height > vehicle.gear_clearance + 0.5 * (above - vehicle.gear_clearance)),
    )
