"""Options that ``fly`` and ``calibrate`` share: files and lists that a link is opened with."""

from __future__ import annotations

import math
import shlex
from pathlib import Path
from typing import Any

import numpy as np

from firmware_bridge.estimation.height import MAX_MOUNTING, DeclaredFloor, HeightSource, Mounting, Rangefinder
from firmware_bridge.estimation.pose import PoseReceiver
from firmware_bridge.link import Link
from firmware_bridge.links import link_kind, split_prefix
from firmware_bridge.mavlink.link import MavlinkLink
from firmware_bridge.posed_link import PosedLink
from firmware_bridge.thrust import KEYS, ThrustMap, thrust_map_from_json
from neural_lander.errors import UserError, why_unread

CRAZYFLIE_BY_HAND = (
    "a Crazyflie has one link, and the program that a pilot hovers it by holds it, so that nobody can listen and "
    f"calibrate; write a rough thrust map by hand: JSON with {', '.join(KEYS)}; the fraction is of full PWM, 65535. "
    "Fly a hover by it (fly --arm --height 1.5 --hover 25 --thrust-map rough.json), and make the right one from that "
    "log: calibrate --flight LOG"
)


def link_options(thrust_map: Path | None, system: int | None, order: str | None) -> dict[str, Any]:
    """What was given of a link's options, checked.

    Raises
    ------
    UserError
        Where the file is missing or no calibration, or the order is not 0, 1, 2 and 3 once each.
    """
    options: dict[str, Any] = {}
    if thrust_map is not None:
        options["thrust_map"] = read_thrust_map(thrust_map)
    if system is not None:
        options["system"] = system
    if order is not None:
        options["order"] = motor_order(order)
    return options


def read_thrust_map(path: Path) -> ThrustMap:
    """The calibration in a file of ``calibrate``."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise UserError(
            f"--thrust-map {path} cannot be read: {why_unread(error)}; write one by 'neural-lander calibrate'"
        ) from error
    return thrust_map_from_json(text, str(path))


def motor_order(text: str) -> tuple[int, ...]:
    """For each rotor of the profile the autopilot's motor, from 0: ``0,1,2,3``."""
    parts = text.split(",")
    if sorted(part.strip() for part in parts) != ["0", "1", "2", "3"]:
        raise UserError(
            f"--rotor-order '{text}' must hold 0, 1, 2 and 3 once each: for each rotor of the profile the autopilot's "
            "motor, counted from 0"
        )
    return tuple(int(part) for part in parts)


def require_thrust_map(address: str, vehicle: str, given: bool) -> None:
    """Refuse to send over a link that tells no hover throttle without a calibration; ``vehicle`` is a name or file."""
    if split_prefix(address)[0] == "crazyflie" and not given:
        raise UserError(f"link '{address}' needs --thrust-map (or --observe): {CRAZYFLIE_BY_HAND}")
    if not link_kind(address).tells_hover and not given:
        raise UserError(
            f"link '{address}' does not tell the throttle that hovers: run `neural-lander calibrate --link "
            f"{shlex.quote(address)} --vehicle {shlex.quote(vehicle)} --out thrust.json` while the pilot hovers, then "
            "pass --thrust-map thrust.json (or only watch, with --observe)"
        )


def require_position(address: str, given: bool) -> None:
    """Refuse to send over a link that tells no position without motion capture."""
    if not link_kind(address).tells_position and not given:
        raise UserError(
            f"link '{address}' tells no position: pass --pose udp://:PORT with the poses of motion capture "
            "(or only watch, with --observe)"
        )


def check_forward(address: str, pose: str | None, forward: bool) -> None:
    """Refuse to forward a pose that is not there, or to whom it means nothing."""
    if forward and (pose is None or split_prefix(address)[0] != "mavlink"):
        raise UserError(f"--forward-pose needs --pose and a mavlink: link, not '{address}'; leave it out")


def with_pose(link: Link, poses: PoseReceiver | None, forward: bool) -> Link:
    """The link itself, or with its position from motion capture, which a MAVLink autopilot is told if wanted."""
    if poses is None:
        return link
    return PosedLink(link, poses, link.forward_pose if forward and isinstance(link, MavlinkLink) else None)


def pose_result(poses: PoseReceiver | None) -> dict[str, Any]:
    """Poses taken and dropped, for the result."""
    return {} if poses is None else {"poses_taken": poses.taken, "poses_dropped": dict(poses.dropped)}


RANGE_OFFSET, RANGE_DIRECTION = "0,0,0", "0,0,-1"
RANGE_OFFSET_HELP = "Where the rangefinder sits: forward,left,up of the centre of mass, in m, in the body frame."
RANGE_DIRECTION_HELP = "Where it looks: forward,left,up in the body frame, of any length; at most 45 degrees from down."


def height_source(floor: float | None, offset: str = RANGE_OFFSET, direction: str = RANGE_DIRECTION) -> HeightSource:
    """The ground under a rangefinder, or a declared one."""
    if floor is not None:
        if not np.isfinite(floor):
            raise UserError(f"--floor = {floor} m must be a finite number")
        return DeclaredFloor(floor)
    return Rangefinder(Mounting(_body_vector("--range-offset", offset, " in m"), _direction(direction)))


def _direction(text: str) -> np.ndarray:
    """Unit vector (3,), body, that a rangefinder looks along."""
    vector = _body_vector("--range-direction", text, ", such as 0,0,-1 for down")
    length = math.hypot(*vector.tolist())
    if not 0.0 < length < math.inf:
        raise UserError(f"--range-direction '{text}' has no direction; 0,0,-1 is down")
    unit = vector / length
    off = math.acos(min(max(-float(unit[2]), -1.0), 1.0))
    if off > MAX_MOUNTING + 1e-9:
        raise UserError(
            f"--range-direction '{text}' is {math.degrees(off):.0f} degrees from down, at most "
            f"{math.degrees(MAX_MOUNTING):.0f} measures a height: forward,left,up, and up is negative; turn the sensor"
        )
    return unit


def _body_vector(option: str, text: str, more: str) -> np.ndarray:
    """Three finite numbers of an option, (3,)."""
    try:
        vector = np.array([float(part) for part in text.split(",")])
    except ValueError:
        vector = np.zeros(0)
    if vector.shape != (3,) or not np.all(np.isfinite(vector)):
        raise UserError(f"{option} '{text}' must be three numbers, forward,left,up{more}")
    return vector
