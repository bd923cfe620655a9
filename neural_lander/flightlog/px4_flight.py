"""A flight from PX4's topics, whether a ULog or a ROS bag holds them.

Topics are PX4's uORB messages: world NED, body FRD, microseconds. Of several instances of a topic the one with the
most records is read. Position steps that the estimator reports by its reset counters are taken out: what came before
is moved to fit what comes after. Nothing is interpolated across a reset of position, velocity, heading or attitude.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from neural_lander.errors import UserError
from neural_lander.flightlog.log import FlightLog
from neural_lander.flightlog.px4_topics import DOWNWARD, RANGEFINDER, Topic, Topics
from neural_lander.flightlog.rangefinder import Readings, Standing, gear_height
from neural_lander.flightlog.rotor_source import choose_rotors
from neural_lander.flightlog.streams import Stream, join, remove_steps, to_world
from neural_lander.frames import swap_attitude, swap_body, swap_world
from neural_lander.rotor_order import AUTOPILOT_X, QUADRANTS_KEY, as_json
from neural_lander.units import RPM

POSE, ATTITUDE = "vehicle_local_position", "vehicle_attitude"
TOPICS = (
    POSE, ATTITUDE, "sensor_combined", "vehicle_acceleration", "vehicle_angular_velocity", "actuator_motors",
    "actuator_outputs", "esc_status", "battery_status", "vehicle_status", "estimator_sensor_bias", RANGEFINDER,
    "vehicle_land_detected",
)  # fmt: skip
ROTORS = 4
HEIGHT_SOURCES = {0: "barometer", 1: "GPS", 2: "range finder", 3: "external vision or motion capture"}
"""Of EKF2_HGT_REF, and of EKF2_HGT_MODE before version 1.14."""
ROTARY_WING = 1  # vehicle_status.vehicle_type
MOTOR_FUNCTION = 101  # esc_status.actuator_function of motor 1
MOST_ESCS = 8
STANDING_RANGE = "EKF2_MIN_RNG"  # m, "expected range finder reading when on ground"
USUAL_STANDING_RANGE = 0.1  # m, PX4's default of it
LEAST_BATTERY = 2.0  # V, one flat cell: below it no battery is connected


def px4_flight(loaded: Topics, name: str, source: str) -> FlightLog:
    """The flight at the times of its fastest source of motion.

    Parameters
    ----------
    loaded
        Topics of ``TOPICS``, as far as they are there, and parameters.
    name, source
        Of the log format, and of the file.

    Raises
    ------
    UserError
        Where the topics are of no multirotor with four motors, or lack pose or velocity.
    """
    topics, said = loaded.by_name, list(loaded.warnings)
    _require_quadrotor(topics.get("vehicle_status"), source)
    for needed in (POSE, ATTITUDE):
        if needed not in topics:
            raise UserError(f"{source}: the log lacks the topic '{needed}', so there is no pose; log it in PX4")
    pose, attitude = topics[POSE], topics[ATTITUDE]
    streams = {
        "position": Stream(pose.t, _position(pose, said)),
        "velocity": Stream(pose.t, np.asarray(swap_world(pose.columns(("vx", "vy", "vz"))))),
        "attitude": Stream(attitude.t, np.asarray(swap_attitude(attitude.array("q", 4)))),
        **_inertial(topics),
        **_battery(topics.get("battery_status"), said),
    }
    command, unit, described = _rotor_command(loaded, source)
    rotors, chosen = choose_rotors(command | _rotor_speed(topics.get("esc_status"), said), said)
    streams |= rotors
    said += _validity(pose)
    reference = loaded.parameters.get("EKF2_HGT_REF", loaded.parameters.get("EKF2_HGT_MODE"))
    height, measured = _height(loaded, streams, said)
    joined = join(streams | height, source, _resets(pose, attitude, said))
    estimated = {"height_source": HEIGHT_SOURCES[reference]} if reference in HEIGHT_SOURCES else {}
    return FlightLog.from_arrays(
        joined.t,
        **to_world(joined.fields),
        rotor_command_unit=unit,
        metadata={
            "format": name,
            "source": source,
            **joined.metadata,
            **estimated,
            **(measured if "height" in joined.fields else {}),
            **described,
            **chosen,
            QUADRANTS_KEY: _quadrants(loaded.parameters),
        },
        warnings=(*(f"{source}: {text}" for text in said), *joined.warnings),
    )


def _require_quadrotor(status: Topic | None, source: str) -> None:
    if status is None:
        return
    rotary = [
        status[name] == one for name, one in (("vehicle_type", ROTARY_WING), ("is_rotary_wing", 1)) if name in status
    ]
    if rotary and not rotary[0].any():
        raise UserError(f"{source} is of no multirotor: vehicle_status never says rotary wing")


def _position(pose: Topic, said: list[str]) -> np.ndarray:
    """Position in our world without the steps of the estimator's resets."""
    values = pose.columns(("x", "y", "z"))
    for axes, name, deltas in (([0, 1], "xy", ("delta_xy[0]", "delta_xy[1]")), ([2], "z", ("delta_z",))):
        after = pose.changes(f"{name}_reset_counter")
        if len(after):
            steps = np.zeros((len(after), 3))
            steps[:, axes] = pose.columns(deltas)[after]
            values = remove_steps(values, after, steps)
            said.append(f"position {name}: {len(after)} resets of up to {np.abs(steps).max():.3g} m are taken out")
    return np.asarray(swap_world(values))


def _resets(pose: Topic, attitude: Topic, said: list[str]) -> list[tuple[float, float]]:
    """Times of the records before and after each reset of position, velocity, heading or attitude."""
    counters = [(pose, name) for name in ("xy", "z", "vxy", "vz", "heading")] + [(attitude, "quat")]
    spans: set[tuple[float, float]] = set()
    found = []
    for topic, name in counters:
        after = topic.changes(f"{name}_reset_counter")
        spans |= {(topic.t[k - 1], topic.t[k]) for k in after}
        if len(after):
            found.append(f"{name} {len(after)}")
    if found:
        said.append(f"resets of the estimator: {', '.join(found)}; records across them are left out")
    return sorted(spans)


def _validity(pose: Topic) -> list[str]:
    """Shares of the flight in which the estimator did not vouch for position or velocity."""
    said = []
    for name, what in (("xy_valid", "horizontal position"), ("z_valid", "height"), ("v_xy_valid", "velocity")):
        if name in pose and not pose[name].all():
            share = 100 * float(np.mean(pose[name] == 0))
            said.append(f"{what} is not valid in {share:.0f} % of the records, by the estimator's own word")
    return said


def _inertial(topics: Mapping[str, Topic]) -> dict[str, Stream]:
    """Body rates, and specific force in the body frame; each from its fastest source, less the estimated bias."""
    sources = {
        "body_rates": (("sensor_combined", "gyro_rad", "gyro_bias"), ("vehicle_angular_velocity", "xyz", "")),
        "specific_force": (
            ("sensor_combined", "accelerometer_m_s2", "accel_bias"),
            ("vehicle_acceleration", "xyz", ""),
        ),
    }
    streams: dict[str, Stream] = {}
    for field, candidates in sources.items():
        present = [(topics[n], key, b) for n, key, b in candidates if n in topics and f"{key}[2]" in topics[n]]
        if not present:
            continue
        topic, key, bias_name = max(present, key=lambda p: len(p[0].t))
        values, bias = topic.array(key, 3), topics.get("estimator_sensor_bias")
        if bias is not None and f"{bias_name}[2]" in bias:
            values = values - np.median(np.nan_to_num(bias.array(bias_name, 3)), axis=0)
        streams[field] = Stream(topic.t, np.asarray(swap_body(values)))
    return streams


def _battery(battery: Topic | None, said: list[str]) -> dict[str, Stream]:
    if battery is None or "voltage_v" not in battery:
        return {}
    voltage = battery["voltage_v"]
    if np.nan_to_num(voltage).max() >= LEAST_BATTERY:
        return {"battery_voltage": Stream(battery.t, voltage)}
    said.append(f"battery_voltage stays below {LEAST_BATTERY:g} V, no battery is measured: left out")
    return {}


def _rotor_command(loaded: Topics, source: str) -> tuple[dict[str, Stream], str, dict[str, str]]:
    """Command to the rotors, its unit, and in words what it is."""
    motors, outputs = (loaded.by_name.get(name) for name in ("actuator_motors", "actuator_outputs"))
    if motors is not None and "control[0]" in motors:
        names = sorted((n for n in motors.data if n.startswith("control[")), key=lambda n: int(n[8:-1]))
        used = [name for name in names if np.isfinite(motors[name]).any()]
        if len(used) != ROTORS:
            raise UserError(f"{source} commands {len(used)} motors; a vehicle with {ROTORS} is needed")
        factor = loaded.parameters.get("THR_MDL_FAC")
        words, asked = "actuator_motors: thrust asked of each motor as a fraction of the largest", motors.columns(used)
        if factor is None:
            words += ", before PX4's thrust model (THR_MDL_FAC is not in the log)"
            return {"rotor_command": Stream(motors.t, asked)}, "thrust", {"rotor_command_is": words}
        words += f", as the output signal by PX4's thrust model (THR_MDL_FAC = {factor:g})"
        return {"rotor_command": Stream(motors.t, output_signal(asked, factor))}, "pwm", {"rotor_command_is": words}
    low, high = (float(loaded.parameters.get(name, usual)) for name, usual in (("PWM_MIN", 1000), ("PWM_MAX", 2000)))
    if outputs is None or "output[3]" not in outputs or not high > low:
        return {}, "pwm", {}
    command = np.clip((outputs.array("output", ROTORS) - low) / (high - low), 0.0, 1.0)
    words = f"actuator_outputs 1 to 4: pulse width from {low:g} to {high:g} us as 0 to 1"
    return {"rotor_command": Stream(outputs.t, command)}, "pwm", {"rotor_command_is": words}


def output_signal(thrust: np.ndarray, factor: float) -> np.ndarray:
    """Output signal x of PX4's thrust model, thrust = f x^2 + (1 - f) x, of fractions in 0..1.

    https://docs.px4.io/main/en/config_mc/pid_tuning_guide_multicopter.html#thrust-curve
    """
    if not 0 < factor <= 1:
        return thrust
    half = (1 - factor) / (2 * factor)
    return np.asarray(np.sqrt(half**2 + np.maximum(thrust, 0.0) / factor) - half)


def _quadrants(parameters: Mapping[str, float]) -> list[list[int]]:
    """Signs of body x and y of motors 1 to 4: by the geometry (FRD) in the parameters, else PX4's quad X."""
    hubs = [(parameters.get(f"CA_ROTOR{k}_PX", 0.0), -parameters.get(f"CA_ROTOR{k}_PY", 0.0)) for k in range(ROTORS)]
    signs = [[int(np.sign(x)), int(np.sign(y))] for x, y in hubs]
    return signs if any(any(hub) for hub in hubs) else as_json(AUTOPILOT_X)


def _rotor_speed(esc: Topic | None, said: list[str]) -> dict[str, Stream]:
    """Measured rotor speed in rad/s, by motor."""
    if esc is None or f"esc[{ROTORS - 1}].esc_rpm" not in esc:
        return {}
    order = list(range(ROTORS))
    for k in range(MOST_ESCS):  # newer firmware says which motor an ESC drives
        name = f"esc[{k}].actuator_function"
        motor = int(np.median(esc[name])) - MOTOR_FUNCTION if name in esc else -1
        if 0 <= motor < ROTORS:
            order[motor] = k
    speed = RPM * np.abs(esc.columns(f"esc[{k}].esc_rpm" for k in order))
    if speed.any():
        return {"rotor_speed": Stream(esc.t, speed)}
    said.append("esc_status reports no rotor speed: left out")
    return {}


def _height(loaded: Topics, streams: Mapping[str, Stream], said: list[str]) -> tuple[dict[str, Stream], dict[str, Any]]:
    """Gear height from a downward rangefinder, else from the estimator's distance to the ground, and what it is."""
    readings = _beam(loaded.by_name.get(RANGEFINDER), streams["attitude"]) or _estimated_distance(loaded.by_name[POSE])
    if readings is None:
        return {}, {}
    landed = loaded.by_name.get("vehicle_land_detected")
    stated = loaded.parameters.get(STANDING_RANGE)
    usual = f"PX4's default of {STANDING_RANGE}, which the log does not hold"
    standing = Standing(
        np.zeros(0) if landed is None else landed.t,
        np.zeros(0) if landed is None or "landed" not in landed else landed["landed"],
        USUAL_STANDING_RANGE if stated is None else float(stated),
        usual if stated is None else STANDING_RANGE,
    )
    return gear_height(readings, standing, streams["position"], said)


def _beam(sensor: Topic | None, attitude: Stream) -> Readings | None:
    if sensor is None or "current_distance" not in sensor:
        return None
    distance = sensor["current_distance"]
    valid = np.isfinite(distance) & (distance > 0)
    if "orientation" in sensor:
        valid &= sensor["orientation"] == DOWNWARD
    if "signal_quality" in sensor:  # in percent, -1 where it is not known
        valid &= sensor["signal_quality"] != 0
    if "min_distance" in sensor and "max_distance" in sensor:
        valid &= (distance >= sensor["min_distance"]) & (distance <= sensor["max_distance"])
    return Readings.along_beam(sensor.t, distance, valid, attitude, RANGEFINDER) if valid.any() else None


def _estimated_distance(pose: Topic) -> Readings | None:
    if "dist_bottom" not in pose or "dist_bottom_valid" not in pose:
        return None
    valid = (pose["dist_bottom_valid"] > 0) & np.isfinite(pose["dist_bottom"])
    if "dist_bottom_sensor_bitfield" in pose:  # 0: neither a rangefinder nor optical flow has measured it
        valid &= pose["dist_bottom_sensor_bitfield"] > 0
    if not valid.any():
        return None
    return Readings(pose.t, pose["dist_bottom"], valid, f"{POSE}.dist_bottom, the estimator's")
