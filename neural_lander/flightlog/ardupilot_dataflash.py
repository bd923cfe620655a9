"""ArduPilot DataFlash logs of quadrotors.

World NED, body FRD, microseconds since boot. Pose and velocity come from the EKF's primary core (XKF1 with XKQ, or
NKF1 with NKQ; where quaternions are missing, ATT's Euler angles), inertial data from IMU, less the EKF's gyro bias.
ArduPilot does not log how far a reset moved the position: a step that velocity does not explain is one.

https://ardupilot.org/copter/docs/logmessages.html
"""

from __future__ import annotations

from math import pi
from pathlib import Path
from typing import Any

import numpy as np

from neural_lander.errors import UserError
from neural_lander.flightlog.dataflash_records import Records, looks_like_dataflash, read_records
from neural_lander.flightlog.log import FlightLog
from neural_lander.flightlog.rangefinder import Readings, Standing, gear_height
from neural_lander.flightlog.rotor_source import choose_rotors
from neural_lander.flightlog.streams import Stream, join, position_steps, remove_steps, to_world
from neural_lander.frames import swap_attitude, swap_body, swap_world
from neural_lander.rotation import quaternion_exp, quaternion_multiply

WANTED = frozenset(
    {
        "XKF1",
        "XKQ",
        "XKF4",
        "NKF1",
        "NKQ",
        "NKF4",
        "ATT",
        "IMU",
        "RCOU",
        "ESC",
        "BAT",
        "CURR",
        "MSG",
        "PARM",
        "RFND",
        "DSF",
    }
)
ROTORS = 4
FIRST_MOTOR_FUNCTION = 33  # SERVOn_FUNCTION of motor 1
QUAD = 1  # FRAME_CLASS
HEIGHT_SOURCES = {1: "barometer", 2: "range finder", 3: "GPS", 4: "beacon", 6: "external vision or motion capture"}
"""Of EK3_SRC1_POSZ."""
OLD_HEIGHT_SOURCES = {0: "barometer", 1: "range finder", 2: "GPS", 3: "beacon"}
"""Of EK2_ALT_SOURCE."""
DOWNWARD = 25  # RFND.Orient: ROTATION_PITCH_270
GOOD = 4  # RFND.Stat
STANDING_RANGE = "RNGFND1_GNDCLEAR"  # the sensor's distance to the ground when the vehicle stands
USUAL_STANDING_RANGE = 0.1  # m, ArduPilot's default of it
STOPPED = 0.02  # of full scale: below it no motor of an armed vehicle turns (MOT_SPIN_ARM is 0.1), a guess
ROTOR_ORDER = "ArduPilot motors 1 to 4 (quad X: front right, rear left, front left, rear right)"
OTHER_VEHICLES = ("ArduPlane", "ArduRover", "Rover", "ArduSub", "AntennaTracker", "Blimp")


class ArduPilotDataflash:
    """Log format: see the module."""

    name = "ardupilot-dataflash"
    description = "ArduPilot DataFlash (.BIN)"

    def recognises(self, head: bytes) -> bool:
        """An FMT message that describes FMT."""
        return looks_like_dataflash(head)

    def read(self, path: Path) -> FlightLog:
        """The flight at the times of its fastest source of motion.

        Raises
        ------
        UserError
            Where the log is of no quadrotor, or lacks pose or velocity.
        """
        source, data = str(path), path.read_bytes()
        records = read_records(data, WANTED)
        said = _account(records, len(data))
        parameters = _parameters(records)
        _require_quadrotor(records, parameters, source)
        ekf = next(
            (f for f in ("XKF", "NKF") if records.has(f"{f}1", "TimeUS", "PN", "PE", "PD", "VN", "VE", "VD")), None
        )
        if ekf is None:
            raise UserError(f"{source}: no EKF estimate (XKF1 or NKF1) is readable in it, so there is no pose")
        core = _primary_core(records, ekf)
        rows = _instance(records, f"{ekf}1", "C", core)
        t = _time(records, f"{ekf}1")[rows]
        position = _columns(records, f"{ekf}1", ("PN", "PE", "PD"))[rows]
        velocity = _columns(records, f"{ekf}1", ("VN", "VE", "VD"))[rows]
        after, steps = position_steps(t, position, velocity)
        if len(after):
            said.append(f"position: {len(after)} steps of up to {np.abs(steps).max():.3g} m (EKF resets) are taken out")
        streams = {
            "position": Stream(t, np.asarray(swap_world(remove_steps(position, after, steps)))),
            "velocity": Stream(t, np.asarray(swap_world(velocity))),
            **_attitude(records, ekf, core, source),
            **_inertial(records, ekf, core),
            **_battery(records),
        }
        command, described = _rotor_command(records, parameters)
        rotors, chosen = choose_rotors(command | _rotor_speed(records, said), said)
        height, measured = _height(records, parameters, streams, command, said)
        joined = join(streams | rotors | height, source, [(t[k - 1], t[k]) for k in after])
        return FlightLog.from_arrays(
            joined.t,
            **to_world(joined.fields),
            rotor_command_unit="pwm",
            metadata={
                "format": self.name,
                "source": source,
                **joined.metadata,
                **_height_source(parameters),
                **(measured if "height" in joined.fields else {}),
                **described,
                **chosen,
                "rotor_order": ROTOR_ORDER,
            },
            warnings=(*(f"{source}: {text}" for text in said), *joined.warnings),
        )


def _account(records: Records, size: int) -> list[str]:
    said = []
    if records.lost_places:
        said.append(
            f"damaged at {records.lost_places} places, the first at byte {records.first_lost}: {records.lost_bytes} of "
            f"{size} bytes belong to no message and are lost"
        )
    if records.cut_bytes:
        said.append(
            f"cut short: the last {records.cut_bytes} bytes are no whole message, and whatever came later is lost"
        )
    if records.has("DSF", "Dp") and (dropped := int(records.column("DSF", "Dp").max())):
        said.append(f"the logger fell behind and dropped {dropped} messages, by its own count (DSF)")
    return said


def _parameters(records: Records) -> dict[str, float]:
    """Last value of each parameter."""
    if not records.has("PARM", "Name", "Value"):
        return {}
    names = [name.decode("ascii", "replace") for name in records.messages["PARM"]["Name"].tolist()]
    return dict(zip(names, records.column("PARM", "Value").tolist(), strict=True))


def _require_quadrotor(records: Records, parameters: dict[str, float], source: str) -> None:
    texts = records.messages["MSG"]["Message"].tolist() if records.has("MSG", "Message") else []
    words = " ".join(text.decode("utf-8", "replace") for text in texts)
    other = next((name for name in OTHER_VEHICLES if f"{name} V" in words), None)
    if other is not None and not parameters.get("Q_ENABLE"):
        raise UserError(f"{source} is a log of {other}, no multirotor: only quadrotors can be learned from")
    frame = parameters.get("FRAME_CLASS", QUAD)
    if frame != QUAD:
        raise UserError(f"{source}: FRAME_CLASS = {frame:g} is no quadrotor (FRAME_CLASS = {QUAD})")


def _primary_core(records: Records, ekf: str) -> float:
    """The core that flew most of the time."""
    if not records.has(f"{ekf}4", "PI"):
        return 0.0
    cores, counts = np.unique(records.column(f"{ekf}4", "PI"), return_counts=True)
    return max(float(cores[np.argmax(counts)]), 0.0)


def _instance(records: Records, name: str, column: str, instance: float) -> np.ndarray:
    """Rows of one instance; all where the message has no such column, the first instance where that one is missing."""
    if not records.has(name, column):
        return np.ones(len(records.messages[name]), dtype=bool)
    instances = records.column(name, column)
    return np.asarray(instances == (instance if (instances == instance).any() else instances.min()))


def _time(records: Records, name: str) -> np.ndarray:
    return records.column(name, "TimeUS") / 1e6


def _columns(records: Records, name: str, columns: tuple[str, ...]) -> np.ndarray:
    return np.stack([records.column(name, column) for column in columns], axis=-1)


def _attitude(records: Records, ekf: str, core: float, source: str) -> dict[str, Stream]:
    name = f"{ekf[0]}KQ" if records.has(f"{ekf[0]}KQ", "TimeUS", "Q1", "Q2", "Q3", "Q4") else "ATT"
    if name != "ATT":
        rows = _instance(records, name, "C", core)
        q = _columns(records, name, ("Q1", "Q2", "Q3", "Q4"))[rows]
        return {"attitude": Stream(_time(records, name)[rows], np.asarray(swap_attitude(q)))}
    if not records.has("ATT", "TimeUS", "Roll", "Pitch", "Yaw"):
        raise UserError(f"{source}: no attitude ({ekf[0]}KQ or ATT) is readable in it")
    angles = np.radians(_columns(records, "ATT", ("Roll", "Pitch", "Yaw")))
    about = np.eye(3)
    roll, pitch, yaw = (np.asarray(quaternion_exp(angles[:, k, None] * about[k])) for k in range(3))
    q = quaternion_multiply(quaternion_multiply(yaw, pitch), roll)
    return {"attitude": Stream(_time(records, "ATT"), np.asarray(swap_attitude(q)))}


def _inertial(records: Records, ekf: str, core: float) -> dict[str, Stream]:
    """Body rates, and specific force in the body frame."""
    gyro, accelerometer = ("GyrX", "GyrY", "GyrZ"), ("AccX", "AccY", "AccZ")
    if not records.has("IMU", "TimeUS", *gyro, *accelerometer):
        return {}
    rows = _instance(records, "IMU", "I", core)
    t = _time(records, "IMU")[rows]
    rates = _columns(records, "IMU", gyro)[rows]
    if records.has(f"{ekf}1", "GX", "GY", "GZ"):  # in degrees per second
        mine = _instance(records, f"{ekf}1", "C", core)
        rates = rates - np.radians(np.median(_columns(records, f"{ekf}1", ("GX", "GY", "GZ"))[mine], axis=0))
    return {
        "body_rates": Stream(t, np.asarray(swap_body(rates))),
        "specific_force": Stream(t, np.asarray(swap_body(_columns(records, "IMU", accelerometer)[rows]))),
    }


def _battery(records: Records) -> dict[str, Stream]:
    for name in ("BAT", "CURR"):
        if records.has(name, "TimeUS", "Volt"):
            instance = "Inst" if records.has(name, "Inst") else "Instance"
            rows = _instance(records, name, instance, 0.0)
            volts = records.column(name, "Volt")[rows]
            if volts.any():
                return {"battery_voltage": Stream(_time(records, name)[rows], volts)}
    return {}


def _rotor_speed(records: Records, said: list[str]) -> dict[str, Stream]:
    """Measured rotor speed in rad/s at the times of the first motor's telemetry."""
    column = "Instance" if records.has("ESC", "Instance") else "I"
    if not records.has("ESC", "TimeUS", column, "RPM"):
        return {}
    t, instance, speed = (
        _time(records, "ESC"),
        records.column("ESC", column),
        records.column("ESC", "RPM") * 2 * pi / 60,
    )
    parts = [(t[instance == k], speed[instance == k]) for k in range(ROTORS)]
    if any(len(part[0]) < 2 for part in parts) or not speed.any():
        said.append("ESC telemetry reports no rotor speed: left out")
        return {}
    base = parts[0][0]
    columns = []
    for at, values in parts:
        order = np.argsort(at, kind="stable")
        columns.append(np.interp(base, at[order], np.abs(values[order])))
    return {"rotor_speed": Stream(base, np.stack(columns, axis=-1))}


def _rotor_command(records: Records, parameters: dict[str, float]) -> tuple[dict[str, Stream], dict[str, str]]:
    """Pulse width of the motors as a fraction of full scale, and in words what it is."""
    channels = [_channel(parameters, motor) for motor in range(ROTORS)]
    names = tuple(f"C{channel}" for channel in channels)
    low, high = parameters.get("MOT_PWM_MIN", 1000.0), parameters.get("MOT_PWM_MAX", 2000.0)
    if not records.has("RCOU", "TimeUS", *names) or not high > low:
        return {}, {}
    command = np.clip((_columns(records, "RCOU", names) - low) / (high - low), 0.0, 1.0)
    words = (
        f"RCOU {', '.join(names)}: pulse width from {low:g} to {high:g} us as 0 to 1, after ArduPilot's thrust curve"
    )
    if "MOT_THST_EXPO" in parameters:
        words += f" (MOT_THST_EXPO = {parameters['MOT_THST_EXPO']:.3g})"
    return {"rotor_command": Stream(_time(records, "RCOU"), command)}, {"rotor_command_is": words}


def _height(
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
    readings = Readings.along_beam(_time(records, "RFND")[down], distance, good, streams["attitude"], "RFND")
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


def _height_source(parameters: dict[str, float]) -> dict[str, str]:
    if "EK3_SRC1_POSZ" in parameters:
        found = HEIGHT_SOURCES.get(round(parameters["EK3_SRC1_POSZ"]))
    else:
        found = OLD_HEIGHT_SOURCES.get(round(parameters.get("EK2_ALT_SOURCE", -1.0)))
    return {"height_source": found} if found else {}
