"""Rotors and rangefinder of an ArduPilot DataFlash log.

https://ardupilot.org/copter/docs/logmessages.html
"""

from __future__ import annotations

from typing import Any

import numpy as np

from neural_lander.flightlog.dataflash_records import Records
from neural_lander.flightlog.rangefinder import Readings, Standing, gear_height
from neural_lander.flightlog.streams import Stream
from neural_lander.units import RPM

ROTORS = 4
FIRST_MOTOR_FUNCTION = 33  # SERVOn_FUNCTION of motor 1
DOWNWARD = 25  # RFND.Orient: ROTATION_PITCH_270
GOOD = 4  # RFND.Stat
STANDING_RANGE = "RNGFND1_GNDCLEAR"  # the sensor's distance to the ground when the vehicle stands
USUAL_STANDING_RANGE = 0.1  # m, ArduPilot's default of it
STOPPED = 0.02  # of full scale: below it no motor of an armed vehicle turns (MOT_SPIN_ARM is 0.1), a guess


def rotor_speed(records: Records, parameters: dict[str, float], said: list[str]) -> dict[str, Stream]:
    """Measured rotor speed in rad/s at the times of one motor's telemetry, which has its output's number."""
    column = "Instance" if records.has("ESC", "Instance") else "I"
    if not records.has("ESC", "TimeUS", column, "RPM"):
        return {}
    t, instance, speed = (
        records.time("ESC"),
        records.column("ESC", column),
        RPM * records.column("ESC", "RPM"),
    )
    told = [_channel(parameters, motor) - 1 for motor in range(ROTORS)]  # outputs are counted from 1, instances from 0
    if not set(told) <= set(instance.tolist()):
        told = list(range(ROTORS))
    parts = [(t[instance == k], speed[instance == k]) for k in told]
    if any(len(part[0]) < 2 for part in parts) or not speed.any():
        said.append("ESC telemetry reports no rotor speed: left out")
        return {}
    base = min((at for at, _ in parts), key=lambda at: float(at[0]))
    columns = []
    for at, values in parts:
        order = np.argsort(at, kind="stable")
        columns.append(np.interp(base, at[order], np.abs(values[order])))
    return {"rotor_speed": Stream(base, np.stack(columns, axis=-1))}


def rotor_command(records: Records, parameters: dict[str, float]) -> tuple[dict[str, Stream], dict[str, str]]:
    """Pulse width of the motors as a fraction of full scale, and in words what it is."""
    channels = [_channel(parameters, motor) for motor in range(ROTORS)]
    names = tuple(f"C{channel}" for channel in channels)
    low, high = parameters.get("MOT_PWM_MIN", 1000.0), parameters.get("MOT_PWM_MAX", 2000.0)
    if not records.has("RCOU", "TimeUS", *names) or not high > low:
        return {}, {}
    command = np.clip((records.columns("RCOU", names) - low) / (high - low), 0.0, 1.0)
    words = (
        f"RCOU {', '.join(names)}: pulse width from {low:g} to {high:g} us as 0 to 1, after ArduPilot's thrust curve"
    )
    if "MOT_THST_EXPO" in parameters:
        words += f" (MOT_THST_EXPO = {parameters['MOT_THST_EXPO']:.3g})"
    return {"rotor_command": Stream(records.time("RCOU"), command)}, {"rotor_command_is": words}


def rangefinder_height(
    records: Records,
    parameters: dict[str, float],
    streams: dict[str, Stream],
    command: dict[str, Stream],
    said: list[str],
) -> tuple[dict[str, Stream], dict[str, Any]]:
    """Gear height from the first downward rangefinder, and what it is."""
    if not records.has("RFND", "TimeUS", "Dist", "Stat", "Orient"):
        return {}, {}
    down = records.column("RFND", "Orient") == DOWNWARD
    if records.has("RFND", "Instance") and down.any():
        instances = records.column("RFND", "Instance")
        down &= instances == instances[down].min()
    if not down.any():
        return {}, {}
    distance, good = records.column("RFND", "Dist")[down], records.column("RFND", "Stat")[down] == GOOD
    readings = Readings.along_beam(records.time("RFND")[down], distance, good, streams["attitude"], "RFND")
    motors = command.get("rotor_command", Stream(np.zeros(0), np.zeros((0, ROTORS))))
    stated = parameters.get(STANDING_RANGE)
    usual = f"ArduPilot's default of {STANDING_RANGE}, which the log does not hold"
    centimetres = stated is not None and stated >= 1.0  # before version 4.7 it was in cm
    standing = Standing(
        motors.t,
        np.all(motors.values <= STOPPED, axis=1),
        USUAL_STANDING_RANGE if stated is None else stated / (100.0 if centimetres else 1.0),
        usual if stated is None else STANDING_RANGE,
    )
    return gear_height(readings, standing, streams["position"], said)


def _channel(parameters: dict[str, float], motor: int) -> int:
    """Output channel of a motor, counted from 1; its own number unless a parameter says otherwise."""
    function = FIRST_MOTOR_FUNCTION + motor
    return next((k for k in range(1, 15) if parameters.get(f"SERVO{k}_FUNCTION") == function), motor + 1)
