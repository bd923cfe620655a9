"""Links by the prefix of their address: ``mavlink:/dev/ttyACM0?baud=921600``, ``msp:socket://127.0.0.1:5761``.

What stands behind the colon is an address of :func:`firmware_bridge.port.open_port`, or a URI of cflib for
``crazyflie:``. A protocol's library is imported when its prefix is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from firmware_bridge.link import Link
from firmware_bridge.port import open_port
from neural_lander.errors import UserError
from neural_lander.vehicle import Vehicle


def _mavlink(address: str, vehicle: Vehicle, **options: Any) -> Link:
    from firmware_bridge.mavlink.link import MavlinkLink

    return MavlinkLink(open_port(address), vehicle, **options)


def _msp(address: str, vehicle: Vehicle, **options: Any) -> Link:
    from firmware_bridge.msp.link import guarded

    return guarded(open_port(address), vehicle, **options)


def _crazyflie(address: str, vehicle: Vehicle, **options: Any) -> Link:
    from firmware_bridge.crazyflie.link import open_crazyflie

    return open_crazyflie(address, vehicle, **options)


LINKS: Mapping[str, Callable[..., Link]] = {
    "mavlink": _mavlink,
    "msp": _msp,
    "crazyflie": _crazyflie,
}
"""Prefix -> what opens the rest of the address for a vehicle, with the link's own options by keyword."""
EXAMPLES = "mavlink:/dev/ttyACM0?baud=921600, msp:socket://127.0.0.1:5761, crazyflie:radio://0/80/2M"
OPTIONS: Mapping[str, frozenset[str]] = {
    "mavlink": frozenset({"rate", "system", "thrust_map", "order", "throttle_rate", "declared_floor"}),
    "msp": frozenset({"rate", "thrust_map", "order", "throttle_rate"}),
    "crazyflie": frozenset({"rate", "thrust_map"}),
}
"""Prefix -> what its link can be told."""
UNUSED = {("msp", "throttle_rate"), ("crazyflie", "rate")}
"""What a link need not be told: MSP polls the sticks in any case, a Crazyflie's logs come at their own rate."""
TELLS_POSITION = frozenset({"mavlink", "crazyflie"})
"""Links whose autopilot knows where it is; the others need motion capture."""
TELLS_HOVER = frozenset({"mavlink"})
"""Links whose autopilot tells the throttle at which it hovers; the others need a thrust map."""


def open_link(address: str, vehicle: Vehicle, **options: Any) -> Link:
    """Link at an address.

    Parameters
    ----------
    address : str
        Prefix, colon, and what the link of that prefix opens.
    vehicle : Vehicle
    **options
        Of the link: ``rate`` in Hz, ``thrust_map``, ``order`` of the motors, ``system`` id.

    Raises
    ------
    UserError
        Where the prefix or an option is not known, or a library is missing.
    LinkLost
        Where nothing answers to being opened.
    """
    prefix, rest = split_prefix(address)
    for name in options:
        if name not in OPTIONS[prefix]:
            raise UserError(f"link '{address}' has no {name}; it takes: {', '.join(sorted(OPTIONS[prefix]))}")
    used = {name: value for name, value in options.items() if (prefix, name) not in UNUSED}
    return LINKS[prefix](rest, vehicle, **used)


def split_prefix(address: str) -> tuple[str, str]:
    """Prefix of a link's address, and the rest.

    Raises
    ------
    UserError
        Where the prefix is not known, or nothing follows it.
    """
    prefix, colon, rest = address.partition(":")
    if not colon or prefix not in LINKS:
        raise UserError(
            f"link '{address}' does not begin with any of: {', '.join(f'{name}:' for name in LINKS)}; "
            f"write for instance {EXAMPLES}"
        )
    if not rest:
        raise UserError(f"link '{address}' names no port; write for instance {EXAMPLES}")
    return prefix, rest
