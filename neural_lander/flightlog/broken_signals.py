"""Columns that by themselves show a sensor that is dead, a wire that is loose or a map that names one column twice."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np

from neural_lander.flightlog.excitation import GAP
from neural_lander.flightlog.gaps import longest_run
from neural_lander.flightlog.log import FlightLog
from neural_lander.rotation import apply, quaternion_to_matrix

LONGEST_STILL = 1.0  # s of flight without a change to the last digit; a guess: a hover shakes and its sensors are noisy
DROPPED = 0.1  # of what is before and behind; a rotor alone is told to stop for a moment in real flights, not all four
LOST = 0.5  # of the median voltage
LEVEL = 0.03  # rad: who tilts by more has turned, and rotors that are all alike turn nobody; a guess
MOST_DROPPED = 3  # records in flight; a guess


def broken_signals(log: FlightLog, airborne: np.ndarray) -> Iterator[str]:
    """What is broken, by how much, and the likely cause; ``airborne`` (N,) bool."""
    if airborne.sum() > 1:
        yield from _accelerometer(log, airborne)
        yield from _rotors(log, airborne)
    yield from _battery(log)


def still_for(log: FlightLog, columns: np.ndarray, airborne: np.ndarray) -> float:
    """Longest time in s of flight in which columns ``(N, k)`` do not change to the last digit."""
    changed = np.any(np.diff(columns, axis=0) != 0, axis=1)
    return longest_run(airborne[1:] & ~changed, np.minimum(np.diff(log.t), GAP))


def _accelerometer(log: FlightLog, airborne: np.ndarray) -> Iterator[str]:
    if log.specific_force is None:
        return
    to_body = np.swapaxes(quaternion_to_matrix(log.attitude), -1, -2)
    still = still_for(log, np.asarray(apply(to_body, log.specific_force)).round(9), airborne)
    if still > LONGEST_STILL:
        yield f"specific_force stands still in the body for {still:.3g} s of flight: no accelerometer does"


def _rotors(log: FlightLog, airborne: np.ndarray) -> Iterator[str]:
    name = "rotor_speed" if log.rotor_speed is not None else "rotor_command"
    rotors = getattr(log, name)
    if rotors is None:
        return
    flown = rotors[airborne]
    moves = np.ptp(flown, axis=0) > 0
    if moves.any() and not moves.all():
        rotor = int(np.argmin(moves))
        yield f"{name} {rotor + 1} is {flown[0, rotor]:.4g} all the flight long, and others move: it is of no motor"
    same = [(a, b) for a, b in combinations(range(4), 2) if moves[a] and np.array_equal(flown[:, a], flown[:, b])]
    alike = len(same) == 6 and _tilts(log, airborne) < LEVEL  # a simulated climb straight up needs no moment
    if same and not alike:
        a, b = same[0]
        yield f"{name} {a + 1} and {b + 1} are the same to the last digit: one column was taken for two motors"
    told = rotors.sum(axis=1)
    dropped = (told[1:-1] < DROPPED * np.minimum(told[:-2], told[2:])) & airborne[:-2] & airborne[2:]
    if (count := int(dropped.sum())) > MOST_DROPPED:
        yield f"{name} falls away in {count} single records of flight: what stands for no reading belongs left out"


def _tilts(log: FlightLog, airborne: np.ndarray) -> float:
    """Range of the tilt in flight, rad."""
    up = quaternion_to_matrix(log.attitude[airborne])[:, 2, 2]
    return float(np.ptp(np.arccos(np.clip(up, -1.0, 1.0))))


def _battery(log: FlightLog) -> Iterator[str]:
    if log.battery_voltage is None:
        return
    median, least = float(np.median(log.battery_voltage)), float(log.battery_voltage.min())
    if (count := int((log.battery_voltage < LOST * median).sum())) > 0:
        yield (
            f"battery_voltage falls from {median:.3g} V to {least:.3g} V in {count} records: what stands for no "
            "reading belongs left out"
        )
