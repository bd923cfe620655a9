"""Crazyflie µSD-deck logs, present version (0xBC): whatever log variables the user chose, in any number of events.

Units and frames as the firmware's log documentation has them (https://www.bitcraze.io, "Logging and parameter
frameworks"): stateEstimate in m, m/s, and g without gravity, world z up; stateEstimateZ in mm, mm/s, and mm/s^2 with
gravity; acc in g, body; gyro in deg/s, body x forward, y left, z up; motor and pwm 0..65535; rpm in 1/min.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from neural_lander.errors import UserError
from neural_lander.flightlog.crazyflie_usd import PWM_FULL_SCALE, decompress_quaternions
from neural_lander.flightlog.log import FlightLog
from neural_lander.flightlog.packed import as_float
from neural_lander.flightlog.rotor_source import COMMAND, SPEED, choose_rotors
from neural_lander.flightlog.streams import Stream, join, to_world
from neural_lander.flightlog.usd_events import TIME, Events, looks_like_events, read_events
from neural_lander.rotation import quaternion_from_euler
from neural_lander.rotor_order import CRAZYFLIE, QUADRANTS_KEY, as_json
from neural_lander.units import DEGREE, RPM
from neural_lander.vehicle import GRAVITY


@dataclass(frozen=True)
class Source:
    """Log variables that make up a field, and the factor to SI."""

    variables: tuple[str, ...]
    factor: float
    offset_z: float = 0.0  # added to the last component, after the factor


def _three(group: str, names: str, factor: float, offset_z: float = 0.0) -> Source:
    return Source(tuple(f"{group}.{name}" for name in names.split()), factor, offset_z)


FIELDS: Mapping[str, tuple[Source, ...]] = {
    "position": (_three("stateEstimateZ", "x y z", 1e-3), _three("stateEstimate", "x y z", 1.0)),
    "velocity": (_three("stateEstimateZ", "vx vy vz", 1e-3), _three("stateEstimate", "vx vy vz", 1.0)),
    "specific_force": (
        _three("stateEstimateZ", "ax ay az", 1e-3),
        _three("stateEstimate", "ax ay az", GRAVITY, GRAVITY),
    ),
    "body_rates": (_three("gyro", "x y z", DEGREE),),
    "rotor_speed": (_three("rpm", "m1 m2 m3 m4", RPM),),
    "rotor_command": (
        _three("pwm", "m1_pwm m2_pwm m3_pwm m4_pwm", 1 / PWM_FULL_SCALE),
        _three("motor", "m1 m2 m3 m4", 1 / PWM_FULL_SCALE),
    ),
    "battery_voltage": (Source(("pm.vbatMV",), 1e-3), Source(("pm.vbat",), 1.0)),
    "position_reference": (_three("ctrltargetZ", "x y z", 1e-3), _three("ctrltarget", "x y z", 1.0)),
}
"""In order of preference; motor.m1 is PWM only where it is stored as an integer."""
BODY_FORCE = _three("acc", "x y z", GRAVITY)
QUATERNION = tuple(f"stateEstimate.q{a}" for a in "wxyz")
COMPRESSED = "stateEstimateZ.quat"
EULER = tuple(f"stateEstimate.{a}" for a in ("roll", "pitch", "yaw"))
NEEDED = {
    "position": "stateEstimate.x, y and z",
    "velocity": "stateEstimate.vx, vy and vz",
    "attitude": "stateEstimateZ.quat, or stateEstimate.qw, qx, qy and qz",
}


class CrazyflieUsd2:
    """Log format: see the module and :mod:`neural_lander.flightlog.usd_events`."""

    name = "crazyflie-usd2"
    description = "Crazyflie µSD-deck log, present version"

    def recognises(self, head: bytes) -> bool:
        """0xBC and a version that is known."""
        return looks_like_events(head)

    def read(self, path: Path) -> FlightLog:
        """The flight at the times of its fastest event.

        Raises
        ------
        UserError
            On a damaged table of event types, or a missing pose.
        """
        source, data = str(path), path.read_bytes()
        events = read_events(data, source)
        streams = {field: s for field, of in FIELDS.items() if (s := _stream(events, field, of)) is not None}
        attitude = _attitude(events)
        if attitude is not None:
            streams["attitude"] = attitude
        for field, variables in NEEDED.items():
            if field not in streams:
                raise UserError(f"{source}: the log lacks {field}; add {variables} to the µSD deck's configuration")
        said = _account(events, len(data))
        rotors: dict[str, Stream] = {field: streams.pop(field) for field in (SPEED, COMMAND) if field in streams}
        chosen: dict[str, str] = {}
        if rotors:
            rotors, chosen = choose_rotors(rotors, said)
        in_body = "specific_force" not in streams
        force = _stream(events, "specific_force", (BODY_FORCE,)) if in_body else None
        streams |= rotors if force is None else rotors | {"specific_force": force}
        joined = join(streams, source)
        return FlightLog.from_arrays(
            joined.t,
            **(to_world(joined.fields) if in_body else joined.fields),
            rotor_command_unit="pwm",
            metadata={
                "format": self.name,
                "source": source,
                QUADRANTS_KEY: as_json(CRAZYFLIE),
                **joined.metadata,
                "rotor_command_is": "PWM ratio of each motor",
                **chosen,
            },
            warnings=(*(f"{source}: {text}" for text in said), *joined.warnings),
        )


def _account(events: Events, size: int) -> list[str]:
    if events.sound:
        return []
    said = ["the checksum over the whole file does not fit or was never written (power loss): values may be damaged"]
    if events.lost_bytes:
        said.append(f"damaged: {events.lost_bytes} of {size} bytes are no events and are lost")
    if events.left_over not in (0, 4):  # 4: the checksum
        said.append(f"cut short: the last {events.left_over} bytes are no whole event, and whatever came later is lost")
    return said


def _stream(events: Events, field: str, sources: tuple[Source, ...]) -> Stream | None:
    """The first of the sources that one event holds whole."""
    for source in sources:
        for records in events.by_name.values():
            names = set(records.dtype.names or ())
            if not names.issuperset(source.variables):
                continue
            if field == "rotor_command" and any(records.dtype[v].kind == "f" for v in source.variables):
                continue
            values = np.stack([as_float(records[v]) for v in source.variables], axis=-1) * source.factor
            values[:, -1] += source.offset_z
            return Stream(_time(events, records), values if values.shape[1] > 1 else values[:, 0])
    return None


def _attitude(events: Events) -> Stream | None:
    for records in events.by_name.values():
        names = records.dtype.names or ()
        t = _time(events, records)
        if set(QUATERNION) <= set(names):
            return Stream(t, np.stack([as_float(records[v]) for v in QUATERNION], axis=-1))
        if COMPRESSED in names and records.dtype[COMPRESSED] == np.dtype("<u4"):
            return Stream(t, decompress_quaternions(records[COMPRESSED]))
        if set(EULER) <= set(names):
            roll, pitch, yaw = (np.radians(as_float(records[v])) for v in EULER)
            return Stream(t, np.asarray(quaternion_from_euler(roll, -pitch, yaw)))
    return None


def _time(events: Events, records: np.ndarray) -> np.ndarray:
    return as_float(records[TIME]) * events.seconds_per_count
