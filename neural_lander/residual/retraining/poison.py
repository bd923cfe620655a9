"""Whether a new log can be trusted beside the flights that a bundle was learned from.

``plausibility`` holds a log to units and to a vehicle, ``flightlog.fitness`` to itself. Here it is held to the old
flights, since one vehicle hovers at one thrust. Limits were set where all 31 Neural-Swarm2 flights of two vehicles pass
with room to spare; their figures stand beside each.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from neural_lander.errors import UserError
from neural_lander.flightlog.fitness import fit_for_learning
from neural_lander.flightlog.log import FlightLog
from neural_lander.residual.analytic import CheesemanBennett
from neural_lander.residual.plausibility import check_units
from neural_lander.residual.resample import MIN_DURATION, SAMPLE_PERIOD, interpolate
from neural_lander.residual.samples import ResidualSamples
from neural_lander.residual.trim import LEAST_SAMPLES, trim_height, trim_reference
from neural_lander.vehicle import Vehicle

MOVING = 0.05  # m/s: a vehicle at rest repeats its records
MOST_REPEATED = 0.05  # of the moving records; 0.0007 at most
MASS_TOLERANCE = 0.05  # of the profile's mass; a guess: a scale reads better, a battery of another make differs less
BIAS_TOLERANCE = (0.08, 0.12)  # of the weight, about the old flights' median: 0.045 at most over six months and five
# airframes; 20 % of thrust scale is 0.19 and more, so that 0.12 tells it from the oddest good flight
BIAS_DEVIATIONS = 4.0  # robust standard deviations of the old flights' biases
LEAST_FLIGHTS = 3  # old flights from which their spread is taken; below, the wide tolerance holds
SAME_POSITION, SAME_VELOCITY = 5e-4, 5e-3  # m and m/s rms between two logs of one flight: rounding and resampling
SAME_DURATION = 0.02  # of the duration
MOST_SHARED = 0.05  # of the moving records in common with another log


def check_itself(log: FlightLog, vehicle: Vehicle) -> None:
    """Refuse a log of another vehicle, or one whose columns contradict each other.

    Raises
    ------
    UserError
        Naming what contradicts what, by how much, and the likely cause.
    """
    where = f"log {log.source or '(unnamed)'}"
    check_vehicle(log, vehicle)
    check_units(log, vehicle)
    _check_repetition(log, where)
    if wrong := fit_for_learning(log, vehicle).wrong:
        raise UserError(f"{where}: {'; '.join(wrong)}")


def hover_bias(samples: ResidualSamples, vehicle: Vehicle, law: CheesemanBennett) -> float:
    """Lift beyond the nominal thrust out of ground effect, as a fraction of the weight; NaN without a scored sample.

    A flight with less than a second out of ground effect is judged by all of it, with the ground effect of the law
    taken off. The network would not do: what it makes of thrust follows a wrong thrust.

    Parameters
    ----------
    law
        Of the bundle, fitted on the old flights.
    """
    high = trim_reference(samples, trim_height(vehicle))
    chosen = high if high.sum() >= LEAST_SAMPLES else samples.scored
    if not chosen.any():
        return float("nan")
    ground = law.f_az(samples.centre_height, samples.rotor_thrust.sum(-1)) - law.c
    return float((samples.label[:, 2] - ground)[chosen].mean()) / vehicle.weight


def check_bias(source: str, bias: float, old: Sequence[float]) -> None:
    """Refuse a flight that hovers at another thrust than the old flights do.

    A thrust scale, a payload and another vehicle look alike here: only thrust over mass can be seen in hover.

    Raises
    ------
    UserError
        Naming the ratio of thrusts, and what may be behind it; or that there is nothing to judge the flight by.
    """
    if not np.isfinite(bias):
        raise UserError(f"log {source or '(unnamed)'} holds no scored sample to judge its thrust by")
    if not old:
        return
    usual, allowed = float(np.median(old)), bias_tolerance(old)
    if not abs(bias - usual) <= allowed:  # also where an old one is no number
        raise UserError(
            f"log {source or '(unnamed)'} does not fit the old flights ({len(old)}): its thrust in hover reads "
            f"{(1 - bias) / (1 - usual):.2f} times theirs (residual {100 * bias:+.1f} % of the weight, theirs "
            f"{100 * usual:+.1f} %, {100 * allowed:.0f} % allowed): check the thrust scale (curve, unit of the rotor "
            "signal, battery), the payload, and that this is the vehicle"
        )


def bias_tolerance(old: Sequence[float]) -> float:
    """How far a flight's bias may lie from the old flights' median, as a fraction of the weight."""
    narrow, wide = BIAS_TOLERANCE
    if len(old) < LEAST_FLIGHTS:
        return wide
    spread = 1.4826 * float(np.median(np.abs(np.asarray(old) - np.median(old))))
    return float(np.clip(BIAS_DEVIATIONS * spread, narrow, wide))


def same_flight(a: FlightLog, b: FlightLog) -> bool:
    """Whether two logs are of one flight though their numbers differ: a copy rounded, resampled or cut."""
    mine, other = _moving_rows(a), _moving_rows(b)
    shared = np.isin(mine, other).sum() / max(min(len(mine), len(other)), 1)
    if shared > MOST_SHARED:
        return True
    both = min(a.duration, b.duration)
    if both < MIN_DURATION or abs(a.duration - b.duration) > SAME_DURATION * max(a.duration, b.duration):
        return False
    t = np.arange(0.0, both, SAMPLE_PERIOD)
    for name, limit in (("position", SAME_POSITION), ("velocity", SAME_VELOCITY)):
        difference = interpolate(t, a.t, getattr(a, name)) - interpolate(t, b.t, getattr(b, name))
        if float(np.sqrt(np.mean(np.sum(difference**2, axis=-1)))) > limit:
            return False
    return True


def check_vehicle(log: FlightLog, vehicle: Vehicle) -> None:
    """Refuse a log that says it is of another vehicle or mass.

    Raises
    ------
    UserError
        Naming both.
    """
    where = f"log {log.source or '(unnamed)'}"
    name, mass = log.metadata.get("vehicle"), log.metadata.get("mass_kg")
    if isinstance(name, str) and name != vehicle.name:
        raise UserError(f"{where} is of vehicle '{name}', the bundle is of '{vehicle.name}': retrain that one's bundle")
    if isinstance(mass, (int, float)) and not abs(mass / vehicle.mass - 1) <= MASS_TOLERANCE:
        raise UserError(
            f"{where}: its mass is {mass:.4g} kg, the bundle's vehicle has {vehicle.mass:.4g} kg "
            f"({100 * MASS_TOLERANCE:.0f} % allowed): train another bundle with a profile of that mass"
        )


def _check_repetition(log: FlightLog, where: str) -> None:
    rows = _moving_rows(log)
    repeated = 1 - len(np.unique(rows)) / len(rows) if len(rows) else 0.0
    if repeated > MOST_REPEATED:
        raise UserError(
            f"{where}: {100 * repeated:.0f} % of the moving records repeat another one's position and velocity exactly "
            f"(at most {100 * MOST_REPEATED:.0f} % may): frames are duplicated; log the estimate at its own rate, once"
        )


def _moving_rows(log: FlightLog) -> np.ndarray:
    """Position and velocity of each moving record as one value that compares."""
    values = np.column_stack([log.position, log.velocity])[np.linalg.norm(log.velocity, axis=-1) > MOVING]
    rounded = np.ascontiguousarray(np.rint(values / 1e-6).astype("<i8"))
    return rounded.view(np.dtype((np.void, rounded.shape[1] * 8))).ravel()
