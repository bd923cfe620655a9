"""Whether a log can be what it says: units, and mass and thrust of the vehicle it is read with."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from neural_lander.errors import UserError
from neural_lander.flightlog.log import FlightLog
from neural_lander.vehicle import GRAVITY, Vehicle

MAX_SPEED = 60.0  # m/s, 99 % quantile: no quadrotor; 0.06 m/s in mm/s
MAX_HEIGHT = 2000.0  # m above the take-off point
SPEED_RATIO = 10.0  # between differentiated position and velocity: far from 1, near the 1000 of a wrong prefix
MOTION_TIME = 0.2  # s over which position is differentiated: a millimetre of noise is then no motion
MIN_MOTION = 0.02  # m/s, below it that ratio is noise
BATTERY_RANGE = (2.0, 100.0)  # V, one flat cell to 24 of them
HOVER_TOLERANCE = 0.25  # of the weight: battery, payload and thrust scale together stay below it
AT_HEIGHT = 0.1  # m above the lowest flying height: most of the ground effect is gone there


def check_units(log: FlightLog, vehicle: Vehicle) -> None:
    """Refuse magnitudes that only another unit explains.

    Raises
    ------
    UserError
        Naming the field, what was found and the expected unit.
    """
    where = f"log {log.source or '(unnamed)'}"
    speed = np.linalg.norm(log.velocity, axis=-1)
    fast = float(np.quantile(speed, 0.99))
    if fast > MAX_SPEED:
        raise UserError(f"{where}: velocity reaches {fast:.3g} m/s; is it in mm/s? m/s is expected")
    if float(np.max(np.abs(log.position[:, 2]))) > MAX_HEIGHT:
        raise UserError(
            f"{where}: position z reaches {np.max(np.abs(log.position[:, 2])):.3g} m; is it in mm? m is expected"
        )
    apart = max(1, round(MOTION_TIME * (len(log.t) - 1) / log.duration))
    way = np.linalg.norm(log.position[apart:] - log.position[:-apart], axis=-1)
    step = float(np.mean(way / (log.t[apart:] - log.t[:-apart]))) if len(way) else 0.0
    mean = float(np.mean(speed))
    if max(step, mean) > MIN_MOTION and not 1 / SPEED_RATIO < step / max(mean, 1e-9) < SPEED_RATIO:
        raise UserError(
            f"{where}: position moves at {step:.3g} m/s, velocity says {mean:.3g} m/s; check the units m and m/s"
        )
    if log.specific_force is not None:
        norm = float(np.median(np.linalg.norm(log.specific_force, axis=-1)))
        if not 0.5 * GRAVITY < norm < 2 * GRAVITY:
            raise UserError(
                f"{where}: specific_force has a median of {norm:.3g} m/s^2, 9.81 is expected: m/s^2, with gravity"
            )
    _check_actuation(log, vehicle, where)
    _check_stated_mass(log, vehicle, where)


def _check_stated_mass(log: FlightLog, vehicle: Vehicle, where: str) -> None:
    """Two vehicles can hover at one PWM, as the two Crazyflies do: what the log says of mass and thrust decides."""
    stated = {"mass_kg": vehicle.mass, "controller_thrust_N": vehicle.weight}
    for key, expected in stated.items():
        value = log.metadata.get(key)
        if isinstance(value, (int, float)) and not abs(value / expected - 1) <= HOVER_TOLERANCE:
            raise UserError(
                f"{where} does not fit vehicle '{vehicle.name}': its {key} is {value:.4g}, the profile's mass of "
                f"{vehicle.mass:g} kg asks for {expected:.4g}; choose the vehicle that flew"
            )


def _check_actuation(log: FlightLog, vehicle: Vehicle, where: str) -> None:
    for name in ("rotor_speed", "rotor_command"):
        values = getattr(log, name)
        if values is None:
            continue
        fraction = name == "rotor_command" and log.rotor_command_unit in ("pwm", "thrust")
        limit, unit, remedy = (
            (1.0, "of full scale", "0..1") if fraction else (1.5 * vehicle.rotor_speed_max, "rad/s", "rad/s, not rpm,")
        )
        if np.min(values) < 0 or np.max(values) > limit:
            raise UserError(
                f"{where}: {name} spans {np.min(values):.4g} to {np.max(values):.4g} {unit}; {remedy} is expected, "
                f"at most {limit:.4g} for vehicle '{vehicle.name}'"
            )
    if log.battery_voltage is not None:
        volts = float(np.median(log.battery_voltage))
        if not BATTERY_RANGE[0] <= volts <= BATTERY_RANGE[1]:
            raise UserError(f"{where}: battery_voltage has a median of {volts:.4g} V; is it in mV? V is expected")


def check_fits_vehicle(
    source: str,
    vehicle: Vehicle,
    lift: np.ndarray,
    specific_force_z: np.ndarray,
    centre_height: np.ndarray,
    reasons: Mapping[str, np.ndarray],
) -> None:
    """Refuse a log whose thrust and the vehicle's mass disagree by more than hover can explain.

    Parameters
    ----------
    lift, specific_force_z, centre_height
        World z of the thrust in N, of the specific force in m/s^2, and height of the centre of mass in m, ``(N,)``.
    reasons
        Exclusions by name. Those that depend on thrust and label are ignored here, since a wrong vehicle trips them.

    Raises
    ------
    UserError
        Naming mass and thrust; or that the log never flies.
    """
    flies = ~(reasons["start_or_end"] | reasons["gap_in_log"] | reasons["tilted_over_60_deg"] | reasons["contact"])
    where = f"log {source or '(unnamed)'}"
    if not flies.any():
        raise UserError(f"{where} holds no sample in free flight: nothing to learn from or to judge")
    high = flies & (centre_height > centre_height[flies].min() + AT_HEIGHT)
    chosen = high if high.sum() >= 100 else flies
    carried, thrust = vehicle.mass * float(np.mean(specific_force_z[chosen])), float(np.mean(lift[chosen]))
    excess = (carried - thrust) / vehicle.weight
    if not abs(excess) <= HOVER_TOLERANCE:
        raise UserError(
            f"{where} does not fit vehicle '{vehicle.name}': mass {vehicle.mass:g} kg needs {carried:.3g} N, thrust is "
            f"{thrust:.3g} N (residual {100 * excess:+.0f} % of the weight, beyond {100 * HOVER_TOLERANCE:.0f} %); "
            "check mass, thrust curve and the choice of vehicle"
        )
