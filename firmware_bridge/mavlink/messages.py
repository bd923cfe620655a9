"""Payloads of MAVLink messages as named fields, with the layouts that pymavlink carries, and messages to send.

Fields keep MAVLink's own names, units and frames; :mod:`firmware_bridge.mavlink.reports` turns them into ours.
"""

from __future__ import annotations

import struct
from collections import namedtuple
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from pymavlink.dialects.v20 import ardupilotmega as dialect

from firmware_bridge.mavlink.framing import ESC_STATUS, Frame

ONBOARD_COMPUTER = dialect.MAV_COMP_ID_ONBOARD_COMPUTER
AUTOPILOT = dialect.MAV_COMP_ID_AUTOPILOT1


class Packable(Protocol):
    """A message of pymavlink."""

    def pack(self, mav: Any) -> bytes:
        """Its frame."""
        ...


class Sender:
    """Frames of our own, as the onboard computer of a system, with their running number."""

    def __init__(self) -> None:
        self._mav = dialect.MAVLink(None, srcSystem=1, srcComponent=ONBOARD_COMPUTER)

    @property
    def system(self) -> int:
        """System id that we speak as: that of the vehicle we ride on."""
        return int(self._mav.srcSystem)

    @system.setter
    def system(self, system: int) -> None:
        self._mav.srcSystem = system

    def frame(self, message: Packable) -> bytes:
        """The frame of a message of pymavlink."""
        data = message.pack(self._mav)
        self._mav.seq = (self._mav.seq + 1) % 256
        return data


def heartbeat() -> Packable:
    """That an onboard controller is alive."""
    return dialect.MAVLink_heartbeat_message(
        dialect.MAV_TYPE_ONBOARD_CONTROLLER, dialect.MAV_AUTOPILOT_INVALID, 0, 0, dialect.MAV_STATE_ACTIVE, 3
    )


def timesync(tc1: int, ts1: int) -> Packable:
    """Request (tc1 = 0) or answer, ns."""
    return dialect.MAVLink_timesync_message(tc1, ts1)


def command(system: int, number: int, confirmation: int, parameters: tuple[float, ...]) -> Packable:
    """COMMAND_LONG to the autopilot of a system; parameters left out are 0."""
    values = (*parameters, *(0.0,) * (7 - len(parameters)))
    return dialect.MAVLink_command_long_message(system, AUTOPILOT, number, confirmation, *values)


def parameter_request(system: int, name: str) -> Packable:
    """Ask for one parameter by its name."""
    return dialect.MAVLink_param_request_read_message(system, AUTOPILOT, name.encode("ascii"), -1)


def _decoder(name: str, layout: struct.Struct, fields: list[tuple[str, int]]) -> Callable[[bytes], Any]:
    """From payload to a named tuple; an array of n numbers is one field, a tuple."""
    kind = namedtuple(name, [field for field, _ in fields])  # type: ignore[misc]
    slices: list[int | slice] = []
    at = 0
    for _, count in fields:
        slices.append(slice(at, at + count) if count > 1 else at)
        at += max(count, 1)
    plain = all(isinstance(part, int) for part in slices)

    def decode(payload: bytes) -> Any:
        values = layout.unpack(payload.ljust(layout.size, b"\0")[: layout.size])
        return kind._make(values if plain else [values[part] for part in slices])

    return decode


def _of_pymavlink(kind: Any) -> Callable[[bytes], Any]:
    counts = [
        1 if spec == "char" else n
        for spec, n in zip(
            (kind.fieldtypes[kind.fieldnames.index(name)] for name in kind.ordered_fieldnames),
            kind.array_lengths,
            strict=True,
        )
    ]
    return _decoder(kind.msgname, kind.unpacker, list(zip(kind.ordered_fieldnames, counts, strict=True)))


READ = (
    dialect.MAVLINK_MSG_ID_HEARTBEAT,
    dialect.MAVLINK_MSG_ID_SYS_STATUS,
    dialect.MAVLINK_MSG_ID_SYSTEM_TIME,
    dialect.MAVLINK_MSG_ID_SCALED_IMU,
    dialect.MAVLINK_MSG_ID_RAW_IMU,
    dialect.MAVLINK_MSG_ID_ATTITUDE,
    dialect.MAVLINK_MSG_ID_ATTITUDE_QUATERNION,
    dialect.MAVLINK_MSG_ID_LOCAL_POSITION_NED,
    dialect.MAVLINK_MSG_ID_ATTITUDE_TARGET,
    dialect.MAVLINK_MSG_ID_COMMAND_ACK,
    dialect.MAVLINK_MSG_ID_HIGHRES_IMU,
    dialect.MAVLINK_MSG_ID_TIMESYNC,
    dialect.MAVLINK_MSG_ID_DISTANCE_SENSOR,
    dialect.MAVLINK_MSG_ID_BATTERY_STATUS,
    dialect.MAVLINK_MSG_ID_EXTENDED_SYS_STATE,
    dialect.MAVLINK_MSG_ID_STATUSTEXT,
    dialect.MAVLINK_MSG_ID_ESC_TELEMETRY_1_TO_4,
)

_DECODERS: Mapping[int, Callable[[bytes], Any]] = {
    **{number: _of_pymavlink(dialect.mavlink_map[number]) for number in READ},
    # Integers of PX4 lie bit by bit in the float's place: as a float, a negative one is a NaN and is lost.
    dialect.MAVLINK_MSG_ID_PARAM_VALUE: _decoder(
        "PARAM_VALUE",
        struct.Struct("<4sHH16sB"),
        [("value", 1), ("param_count", 1), ("param_index", 1), ("param_id", 1), ("param_type", 1)],
    ),
    ESC_STATUS: _decoder(
        "ESC_STATUS",
        struct.Struct("<Q4i4f4fB"),
        [("time_usec", 1), ("rpm", 4), ("voltage", 4), ("current", 4), ("index", 1)],
    ),
}


def is_read(message: int) -> bool:
    """Whether :func:`decode` knows a message id."""
    return message in _DECODERS


def decode(frame: Frame) -> Any:
    """Fields of a frame by name; only for messages that :func:`is_read` names."""
    return _DECODERS[frame.message](frame.payload)
