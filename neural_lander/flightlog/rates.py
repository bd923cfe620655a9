"""How often what is behind a log's records came, by how often its values change in flight."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from neural_lander.flightlog.broken_signals import LONGEST_STILL, still_for
from neural_lander.flightlog.consistency import LEAST_MOVING
from neural_lander.flightlog.differentiate import VELOCITY_FROM
from neural_lander.flightlog.excitation import BAND
from neural_lander.flightlog.log import FlightLog

LEAST_RATE = 10 * BAND[1]  # Hz: ten records per period of the band's upper end; a guess
LEAST_HEIGHT_RATE = 20.0  # Hz, of position and height, which change slowly where velocity is faster: a landing at
# 0.5 m/s goes 2.5 cm from one to the next; a guess
STEPS_MOVED = 3.0  # of its resolution that a column moves from record to record, from where a repeated one is seen
HERTZ = "Hz are needed"


def told_rates(log: FlightLog, airborne: np.ndarray) -> tuple[dict[str, float], list[str]]:
    """Rates in Hz of position, attitude and thrust, and what is too slow or stood still.

    On the ground they stand still; that of the attitude is taken from the records, since a compressed quaternion of ten
    bits changes in every other record of a hover. One that never changes at all is that of a simulated climb straight
    up; of a vehicle that moves sideways it contradicts its velocity. ``airborne`` (N,) bool.
    """
    own = 1 / float(np.median(np.diff(log.t)))
    flying = airborne if airborne[1:].any() else np.ones(len(log.t), dtype=bool)
    steps = np.diff(log.t)[flying[1:]]
    rotors = "rotor_speed" if log.rotor_speed is not None else "rotor_command"
    told = {
        "position": [log.position] if VELOCITY_FROM in log.metadata else [log.position, log.velocity],
        "attitude": [log.attitude],
        "thrust": [x for x in (getattr(log, rotors),) if x is not None],
    }
    stated = log.metadata.get("source_rates_Hz", {})
    rates, reasons = {}, []
    for name, key in (("position", "position"), ("attitude", "attitude"), ("thrust", rotors)):
        if not told[name]:
            continue
        values = np.concatenate(told[name], axis=1)
        changes = float(np.any(np.diff(values, axis=0) != 0, axis=1)[flying[1:]].sum()) / float(steps.sum())
        rates[name] = own if name == "attitude" or (name == "thrust" and not airborne.any()) else min(own, changes)
        if isinstance(stated.get(key), (int, float)):
            rates[name] = min(rates[name], float(stated[key]))
        if name == "position" and not np.any(np.diff(log.position, axis=0)):
            continue
        held = still_for(log, values, flying)
        if rates[name] < LEAST_RATE:
            reasons.append(f"{name} comes at {rates[name]:.3g} Hz; at least {LEAST_RATE:g} {HERTZ}")
        elif held > LONGEST_STILL and (name != "attitude" or np.any(np.diff(log.attitude, axis=0))):
            reasons.append(
                f"{name} stands still for {held:.3g} s in flight, to the last digit: its last value was repeated where "
                "none came; leave such records out"
            )
        elif name == "position":
            reasons += _slow_places(log, flying, own)
    return rates, reasons


def _slow_places(log: FlightLog, flying: np.ndarray, own: float) -> Iterator[str]:
    """Where position or height is repeated while velocity changes, and moves by more than their resolution."""
    steps = np.diff(log.t)
    columns = {"position": (log.position, log.velocity), "height": (log.height, log.velocity[:, 2:])}
    for name, (values, velocity) in columns.items():
        if values is None:
            continue
        moved = np.abs(np.diff(values.reshape(len(log.t), -1), axis=0))
        resolution = np.array([column[column > 0].min(initial=np.inf) for column in moved.T])
        far = np.abs(velocity[1:]) * steps[:, None] > STEPS_MOVED * resolution
        moving = np.any(far, axis=1) & flying[1:]
        if float(steps[moving].sum()) < LEAST_MOVING:
            continue
        rate = own * float(np.mean(np.any(moved > 0, axis=1)[moving]))
        if rate < LEAST_HEIGHT_RATE <= own:
            yield f"{name} alone comes at {rate:.3g} Hz; at least {LEAST_HEIGHT_RATE:g} {HERTZ}"
