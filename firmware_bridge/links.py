"""Links by the prefix of their address: ``mavlink:/dev/ttyACM0?baud=921600``, ``msp:socket://127.0.0.1:5761``.

What stands behind the colon is an address of :func:`firmware_bridge.port.open_port`, or a URI of cflib for
``crazyflie:``. A protocol's library is imported when its prefix is asked for. A link of your own is a
:class:`LinkKind` in a module of yours, and ``module:NAME`` is its prefix: ``my_link:KIND:/dev/ttyACM0``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from firmware_bridge.link import Link, LinkLost
from firmware_bridge.port import open_port
from neural_lander.errors import FOREIGN, UserError
from neural_lander.extension import load_named
from neural_lander.vehicle import Vehicle


@dataclass(frozen=True)
class LinkKind:
    """What is known of a kind of link before one is opened."""

    open: Callable[..., Link]
    """``(address, vehicle, **options)``: the address without its prefix, and options of ``options`` by keyword.

    Raises LinkLost where nothing answers, UserError where an address or a library is wrong.
    """
    options: frozenset[str] = frozenset()
    """What its link can be told, of ``rate`` in Hz, ``thrust_map``, ``order`` of the motors, ``system`` id,
    ``throttle_rate`` in Hz and ``declared_floor``."""
    needless: frozenset[str] = frozenset({"rate", "throttle_rate"})
    """Options that the program passes to every link and this one ignores."""
    tells_position: bool = True
    """Whether its autopilot knows where it is; without, motion capture is needed."""
    tells_hover: bool = False
    """Whether its autopilot tells the throttle at which it hovers; without, a thrust map is needed."""


def _mavlink(address: str, vehicle: Vehicle, **options: Any) -> Link:
    from firmware_bridge.mavlink.link import MavlinkLink

    return MavlinkLink(open_port(address), vehicle, **options)


def _msp(address: str, vehicle: Vehicle, **options: Any) -> Link:
    from firmware_bridge.msp.link import guarded

    return guarded(open_port(address), vehicle, **options)


def _crazyflie(address: str, vehicle: Vehicle, **options: Any) -> Link:
    from firmware_bridge.crazyflie.link import open_crazyflie

    return open_crazyflie(address, vehicle, **options)


LINKS: Mapping[str, LinkKind] = {
    "mavlink": LinkKind(
        _mavlink,
        frozenset({"rate", "system", "thrust_map", "order", "throttle_rate", "declared_floor"}),
        tells_hover=True,
    ),
    "msp": LinkKind(_msp, frozenset({"rate", "thrust_map", "order"}), tells_position=False),
    "crazyflie": LinkKind(
        _crazyflie,
        frozenset({"thrust_map"}),
        needless=frozenset({"rate"}),  # its logs come at their own rate
    ),
}
EXAMPLES = "mavlink:/dev/ttyACM0?baud=921600, msp:socket://127.0.0.1:5761, crazyflie:radio://0/80/2M"


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
    kind, rest = link_kind(address), split_prefix(address)[1]
    for name in sorted(options.keys() - kind.needless - kind.options):
        known = ", ".join(sorted(kind.options | kind.needless)) or "none"
        raise UserError(f"link '{address}' has no {name}; it takes: {known}")
    try:
        return kind.open(rest, vehicle, **{name: options[name] for name in options if name in kind.options})
    except (UserError, LinkLost):
        raise
    except FOREIGN as error:
        raise UserError(f"link '{address}' failed to open with {type(error).__name__}: {error}") from error


def link_kind(address: str) -> LinkKind:
    """Kind of the link that an address names.

    Raises
    ------
    UserError
        Where there is none.
    """
    prefix, _ = split_prefix(address)
    if prefix in LINKS:
        return LINKS[prefix]
    kind = load_named(prefix, "link", "my_link:KIND")
    if not isinstance(kind, LinkKind):
        raise UserError(f"link '{prefix}' is of type {type(kind).__name__}, not a firmware_bridge.links.LinkKind")
    return kind


def split_prefix(address: str) -> tuple[str, str]:
    """Prefix of a link's address, and the rest.

    Raises
    ------
    UserError
        Where the prefix cannot be one, or nothing follows it.
    """
    prefix, colon, rest = address.partition(":")
    if colon and prefix not in LINKS:
        name, colon, rest = rest.partition(":")
        known = name.isidentifier() and all(part.isidentifier() for part in prefix.split("."))
        prefix = f"{prefix}:{name}" if known and not rest.startswith("//") else ""  # a URL of a prefix mistyped
    if not colon or not prefix:
        raise UserError(
            f"link '{address}' does not begin with any of: {', '.join(f'{name}:' for name in LINKS)}; "
            f"write for instance {EXAMPLES}, or module:NAME:ADDRESS for a link of your own"
        )
    if not rest:
        raise UserError(f"link '{address}' names no port; write for instance {EXAMPLES}")
    return prefix, rest
