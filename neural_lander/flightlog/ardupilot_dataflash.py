"""ArduPilot DataFlash logs of quadrotors.

World NED, body FRD, microseconds since boot. Pose and velocity come from the EKF's primary core (XKF1 with XKQ, or
NKF1 with NKQ; where quaternions are missing, ATT's Euler angles), inertial data from IMU, less the EKF's gyro bias.
ArduPilot does not log how far a reset moved the position: a step that velocity does not explain is one.

https://ardupilot.org/copter/docs/logmessages.html
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from neural_lander.errors import UserError
from neural_lander.flightlog.ardupilot_outputs import rangefinder_height, rotor_command, rotor_speed
from neural_lander.flightlog.dataflash_records import Records, looks_like_dataflash, read_records
from neural_lander.flightlog.log import FlightLog
from neural_lander.flightlog.rotor_source import choose_rotors
from neural_lander.flightlog.streams import Stream, join, position_steps, remove_steps, to_world
from neural_lander.frames import swap_attitude, swap_body, swap_world
from neural_lander.rotation import quaternion_from_euler
from neural_lander.rotor_order import AUTOPILOT_X, QUADRANTS_KEY, as_json

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
QUAD = 1  # FRAME_CLASS
HEIGHT_SOURCES = {1: "barometer", 2: "range finder", 3: "GPS", 4: "beacon", 6: "external vision or motion capture"}
"""Of EK3_SRC1_POSZ."""
OLD_HEIGHT_SOURCES = {0: "barometer", 1: "range finder", 2: "GPS", 3: "beacon"}
"""Of EK2_ALT_SOURCE."""
X, V, H = 1, 2, 3  # FRAME_TYPE
SAME_MOTORS = (X, V, H)
"""Of these motors 1 to 4 are in the same quadrants; of others they are numbered otherwise, or in no X."""
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
        t = records.time(f"{ekf}1")[rows]
        position = records.columns(f"{ekf}1", ("PN", "PE", "PD"))[rows]
        velocity = records.columns(f"{ekf}1", ("VN", "VE", "VD"))[rows]
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
        command, described = rotor_command(records, parameters)
        rotors, chosen = choose_rotors(command | rotor_speed(records, parameters, said), said)
        height, measured = rangefinder_height(records, parameters, streams, command, said)
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
                QUADRANTS_KEY: as_json(AUTOPILOT_X) if parameters.get("FRAME_TYPE", X) in SAME_MOTORS else None,
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


def _attitude(records: Records, ekf: str, core: float, source: str) -> dict[str, Stream]:
    name = f"{ekf[0]}KQ" if records.has(f"{ekf[0]}KQ", "TimeUS", "Q1", "Q2", "Q3", "Q4") else "ATT"
    if name != "ATT":
        rows = _instance(records, name, "C", core)
        q = records.columns(name, ("Q1", "Q2", "Q3", "Q4"))[rows]
        return {"attitude": Stream(records.time(name)[rows], np.asarray(swap_attitude(q)))}
    if not records.has("ATT", "TimeUS", "Roll", "Pitch", "Yaw"):
        raise UserError(f"{source}: no attitude ({ekf[0]}KQ or ATT) is readable in it")
    angles = np.radians(records.columns("ATT", ("Roll", "Pitch", "Yaw")))
    return {"attitude": Stream(records.time("ATT"), np.asarray(swap_attitude(quaternion_from_euler(*angles.T))))}


def _inertial(records: Records, ekf: str, core: float) -> dict[str, Stream]:
    """Body rates, and specific force in the body frame."""
    gyro, accelerometer = ("GyrX", "GyrY", "GyrZ"), ("AccX", "AccY", "AccZ")
    if not records.has("IMU", "TimeUS", *gyro, *accelerometer):
        return {}
    rows = _instance(records, "IMU", "I", core)
    t = records.time("IMU")[rows]
    rates = records.columns("IMU", gyro)[rows]
    if records.has(f"{ekf}1", "GX", "GY", "GZ"):  # in degrees per second
        mine = _instance(records, f"{ekf}1", "C", core)
        rates = rates - np.radians(np.median(records.columns(f"{ekf}1", ("GX", "GY", "GZ"))[mine], axis=0))
    return {
        "body_rates": Stream(t, np.asarray(swap_body(rates))),
        "specific_force": Stream(t, np.asarray(swap_body(records.columns("IMU", accelerometer)[rows]))),
    }


def _battery(records: Records) -> dict[str, Stream]:
    for name in ("BAT", "CURR"):
        if records.has(name, "TimeUS", "Volt"):
            instance = "Inst" if records.has(name, "Inst") else "Instance"
            for k in np.unique(records.column(name, instance)) if records.has(name, instance) else (0.0,):
                rows = _instance(records, name, instance, float(k))
                volts = records.column(name, "Volt")[rows]
                if volts.any():  # one that is not connected reads 0
                    return {"battery_voltage": Stream(records.time(name)[rows], volts)}
    return {}


def _height_source(parameters: dict[str, float]) -> dict[str, str]:
    if "EK3_SRC1_POSZ" in parameters:
        found = HEIGHT_SOURCES.get(round(parameters["EK3_SRC1_POSZ"]))
    else:
        found = OLD_HEIGHT_SOURCES.get(round(parameters.get("EK2_ALT_SOURCE", -1.0)))
    return {"height_source": found} if found else {}
