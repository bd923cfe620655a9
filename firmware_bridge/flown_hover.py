"""A thrust calibration from the log of a flight of ours: what was sent against what was felt, in its hover.

For where nobody else can hover while we listen (a Crazyflie), and a first flight is made by a rough map.
"""

from __future__ import annotations

import json

import numpy as np

from firmware_bridge.hover import GAP, Calibration, Row, calibration_of
from firmware_bridge.thrust import HOVER_HEIGHT, HOVER_SPEED, ThrustMap, thrust_map_from_json
from neural_lander.errors import UserError
from neural_lander.flightlog import FlightLog
from neural_lander.rotation import quaternion_to_matrix
from neural_lander.vehicle import Vehicle

FLOWN_BY = "thrust_map"
"""Of the log's metadata: the map that turned newtons into the fractions that were sent, as in its file."""
PERIOD = 0.05  # s that records are averaged over, as the 20 Hz of a calibration that listens
REMEDY = "fly a hover of 25 s at 1.5 m (fly --height 1.5 --hover 25 --thrust-map) and take its log"


def from_flight(log: FlightLog, vehicle: Vehicle, seconds: float) -> Calibration:
    """The map of the longest hover in a flight; curves and exponent are those of the map that it was flown by.

    Raises
    ------
    UserError
        Where the log does not tell what was sent or felt, is another profile's, or holds no hover of ``seconds`` s.
    """
    flown_by = _flown_by(log, vehicle)
    command, felt, height = log.rotor_command, log.specific_force, log.height
    if command is None or log.rotor_command_unit != "rad/s":
        crazyflie = str(log.metadata.get("link", "")).startswith("crazyflie:")
        remedy = "take off its rpm deck and fly it again" if crazyflie else "calibrate with --link while a pilot hovers"
        raise UserError(
            f"{log.source} does not hold the thrust that was sent: rotor speeds were measured in its place, or it was "
            f"no flight of 'fly'; {remedy}"
        )
    if felt is None or height is None:
        lacking = "specific_force" if felt is None else "height"
        raise UserError(f"{log.source} holds no {lacking}; {REMEDY}")
    sent = vehicle.thrust_coefficient * (command**2).sum(axis=1)
    speed = np.linalg.norm(log.velocity, axis=1)
    hovering = np.flatnonzero((sent > 0) & (height >= HOVER_HEIGHT) & (speed <= HOVER_SPEED))
    runs = np.split(hovering, np.flatnonzero(np.diff(log.t[hovering]) > GAP) + 1)
    longest = max(runs, key=lambda run: float(np.ptp(log.t[run])) if len(run) else 0.0)
    held = float(np.ptp(log.t[longest])) if len(longest) else 0.0
    if held < seconds:
        raise UserError(
            f"{log.source}: its longest hover above {HOVER_HEIGHT:g} m is {held:.1f} s, {seconds:g} s are asked for; "
            f"{REMEDY}"
        )
    body = np.einsum("nji,nj->ni", quaternion_to_matrix(log.attitude[longest]), felt[longest])
    parts = np.split(np.arange(len(longest)), np.flatnonzero(np.diff((log.t[longest] / PERIOD).astype(int))) + 1)
    rows = []
    for part in parts:
        of = longest[part]
        volts = None if log.battery_voltage is None else float(log.battery_voltage[of].mean())
        rows.append(
            Row(
                t=float(log.t[of].mean()),
                fraction=flown_by.fraction(float(sent[of].mean()), volts),
                force=body[part].mean(axis=0),
                velocity=log.velocity[of].mean(axis=0),
                height=float(height[of].mean()),
                voltage=volts,
            )
        )
    return calibration_of(rows, vehicle, flown_by, str(log.metadata.get("height_source", "the log")))


def _flown_by(log: FlightLog, vehicle: Vehicle) -> ThrustMap:
    told = log.metadata.get(FLOWN_BY)
    if told is None:
        raise UserError(f"{log.source} was not flown with --thrust-map, so the fractions sent are not known; {REMEDY}")
    if log.metadata.get("vehicle_sha256") != vehicle.sha256:
        raise UserError(
            f"{log.source} was flown with another profile than '{vehicle.name}' as it is now; pass that one, by whose "
            "thrust coefficient newtons were logged; its mass must be right"
        )
    return thrust_map_from_json(json.dumps(told), str(log.source))
