"""Residual samples from a flight log: what the nominal model missed, on a uniform 100 Hz grid.

f_a = m a - R (0, 0, T) with a the specific force in the world frame (Shi et al. 2019, eq. 3, solved for f_a). T is the
thrust that was produced. Where a controller subtracted an estimate f_a_hat, it asked for that much less thrust, and T
holds it already: the label is the whole f_a whatever was flown, and ``f_a_applied`` is not taken off it again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from neural_lander.flightlog.log import FlightLog
from neural_lander.flightlog.resampling import first_order_lag, linear
from neural_lander.flightlog.thrust import command_curve
from neural_lander.residual.options import DEFAULT_CUT_OFF
from neural_lander.residual.plausibility import check_fits_vehicle, check_units
from neural_lander.residual.resample import (
    SAMPLE_PERIOD,
    finer,
    gaps,
    interpolate,
    specific_force_from_velocity,
    thinned,
    uniform_grid,
    zero_phase,
)
from neural_lander.residual.rotors import in_profile_order
from neural_lander.residual.scoring import gear_floor, scoring_rule
from neural_lander.rotation import normalise, quaternion_to_matrix
from neural_lander.state import Oriented
from neural_lander.vehicle import Vehicle

MAX_TILT_COSINE = 0.5  # 60 deg: beyond it no landing flight; a flip or a crash
RATE_OVER = 0.02  # s: two samples of the grid
MIN_FLIGHT_THRUST = 0.6  # of the weight: below it the rotors idle or stop; the data set's rule for landings


@dataclass(frozen=True, eq=False)
class ResidualSamples(Oriented):
    """One flight's samples, N of them, 10 ms apart. World frame right-handed, z up; SI."""

    source: str
    """Where the log came from, for messages."""
    t: np.ndarray  # (N,) s
    """Since the log's first record."""
    height: np.ndarray  # (N,) m
    """Lowest gear point above the terrain: the network's input."""
    centre_height: np.ndarray  # (N,) m
    """Of the centre of mass above the terrain: what thresholds and Cheeseman-Bennett's z are measured at."""
    velocity: np.ndarray  # (N, 3) m/s
    """World."""
    attitude: np.ndarray  # (N, 4)
    """Unit quaternion (w, x, y, z), body to world."""
    battery: np.ndarray | None  # (N,) V
    """Where it is logged."""
    thrust_rate: np.ndarray  # (N,) N/s
    """Of the collective thrust, over the last 20 ms."""
    rotor_thrust: np.ndarray  # (N, 4) N
    """Produced thrust: the command after the motors' lag, or from measured rotor speed."""
    label: np.ndarray  # (N, 3) N
    """f_a, world: the total residual, whatever was subtracted in flight."""
    usable: np.ndarray  # (N,) bool
    """For training."""
    scored: np.ndarray  # (N,) bool
    """For judging: the data set's own rule where there is one."""
    contact: np.ndarray  # (N,) bool
    """What may touch the ground: neither learned from nor judged."""
    floor: float  # m
    """Height at or below which samples count as contact, so that none can be had there."""
    low: np.ndarray  # (N,) bool
    """Near the ground by the rule's threshold."""
    exclusions: Mapping[str, int]
    """Reason -> samples kept from training by it; a sample counts under the first reason that applies."""
    acceleration: str
    """``logged``, or how it was differentiated and filtered."""
    thrust: str
    """Where the rotor thrust came from."""
    lands: bool
    """Whether the log begins or ends on the ground with the motors idle."""

    def __len__(self) -> int:
        return len(self.t)


def residual_samples(log: FlightLog, vehicle: Vehicle, *, cut_off: float = DEFAULT_CUT_OFF) -> ResidualSamples:
    """Label and inputs of one flight.

    Parameters
    ----------
    log
        With thrust information: ``rotor_speed``, or ``rotor_command`` in rad/s, or in PWM together with
        ``battery_voltage`` and a vehicle that has a motor curve.
    vehicle
        The one that flew.
    cut_off
        Of the zero-phase low-pass filter in Hz. It is used only where the log holds no specific force and velocity
        has to be differentiated; thrust and inputs then pass the same filter, so that nothing is misaligned.

    Raises
    ------
    UserError
        Where thrust cannot be had from the log, units look wrong, or mass and thrust do not fit the vehicle.

    Warns
    -----
    NeuralLanderWarning
        Where it is not known which of the log's rotors is which of the vehicle's.
    """
    check_units(log, vehicle)
    log = in_profile_order(log, vehicle)
    t = uniform_grid(log)
    position, velocity = interpolate(t, log.t, log.position), interpolate(t, log.t, log.velocity)
    attitude = normalise(interpolate(t, log.t, log.attitude))  # a log's quaternions are sign-continuous
    rotor_thrust, thrust_source = _rotor_thrust(log, vehicle, t)
    logged_height = None if log.height is None else interpolate(t, log.t, log.height)

    if log.specific_force is not None:
        specific_force, acceleration = interpolate(t, log.t, log.specific_force), "logged"
    else:
        specific_force, acceleration = specific_force_from_velocity(velocity, cut_off)
        position, velocity, rotor_thrust = (zero_phase(x, cut_off) for x in (position, velocity, rotor_thrust))
        attitude = normalise(zero_phase(attitude, cut_off))
        logged_height = None if logged_height is None else zero_phase(logged_height, cut_off)

    R = quaternion_to_matrix(attitude)
    drop = position[:, 2] - vehicle.lowest_point(position, R)  # centre of mass above the lowest gear point
    height = position[:, 2] - drop if logged_height is None else logged_height
    label = vehicle.mass * specific_force - R[..., :, 2] * rotor_thrust.sum(-1, keepdims=True)

    rule = scoring_rule(vehicle)
    total = rotor_thrust.sum(-1)
    idle = total < MIN_FLIGHT_THRUST * vehicle.weight
    lands = bool(idle[0] or idle[-1])
    if logged_height is None:
        contact = rule.contact(height, height + drop, lands)
        floor = rule.floor(vehicle.gear_clearance, lands)
    else:  # thresholds on the centre of mass are for logs that lack it
        floor = gear_floor(log.metadata.get("height_error_m"))
        contact = height <= floor
    outlier = rule.outlier(height + drop, label[:, 2])
    reasons = {  # in the order in which samples are counted
        "start_or_end": rule.edges(len(t)) & (not lands),
        "gap_in_log": gaps(t, log.t),
        "motors_idle": idle,
        "tilted_over_60_deg": R[:, 2, 2] < MAX_TILT_COSINE,
        "contact": contact,
        "outlier": outlier,
    }
    check_fits_vehicle(log.source, vehicle, total * R[:, 2, 2], specific_force[:, 2], height + drop, reasons)
    return ResidualSamples(
        source=log.source,
        t=t,
        height=height,
        centre_height=height + drop,
        velocity=velocity,
        attitude=attitude,
        battery=None if log.battery_voltage is None else interpolate(t, log.t, log.battery_voltage),
        thrust_rate=_rate(total),
        rotor_thrust=rotor_thrust,
        label=label,
        usable=~np.logical_or.reduce(list(reasons.values())),
        scored=rule.scored(contact, outlier, gaps(t, log.t, rule.longest_gap), total, lands),
        contact=contact,
        floor=floor,
        low=height + drop < rule.low_below,
        exclusions=_first_reason_counts(reasons),
        acceleration=acceleration,
        thrust=thrust_source,
        lands=lands,
    )


def _rate(thrust: np.ndarray) -> np.ndarray:
    """Backward difference over ``RATE_OVER``, ``(N,)``; 0 before there is one."""
    k = round(RATE_OVER / SAMPLE_PERIOD)
    rate = np.zeros_like(thrust)
    rate[k:] = (thrust[k:] - thrust[:-k]) / RATE_OVER
    return rate


def _first_reason_counts(reasons: Mapping[str, np.ndarray]) -> dict[str, int]:
    counts: dict[str, int] = {}
    taken = np.zeros_like(next(iter(reasons.values())))
    for name, mask in reasons.items():
        counts[name] = int(np.sum(mask & ~taken))
        taken = taken | mask
    return counts


def _rotor_thrust(log: FlightLog, vehicle: Vehicle, t: np.ndarray) -> tuple[np.ndarray, str]:
    """Produced thrust per rotor in N on the grid, and where it came from."""
    if log.rotor_speed is not None:
        speed = interpolate(t, log.t, log.rotor_speed)
        return vehicle.thrust_coefficient * speed**2, "c_T n^2 of measured rotor speed"
    curve, words = command_curve(log, vehicle)
    assert log.rotor_command is not None
    fine, factor = finer(t, log.t)  # the motors answer to each command, also where several come in a sample
    volts = None if log.battery_voltage is None else linear(fine, log.t, log.battery_voltage)
    static, tau = curve(linear(fine, log.t, log.rotor_command), volts), vehicle.motor_time_constant
    return thinned(first_order_lag(static, SAMPLE_PERIOD / factor, tau), factor), f"{words}, lag {tau:g} s"
