"""Terrain by name, as the command line has it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from neural_lander.errors import UserError
from sim.terrain.bumps import Bumps
from sim.terrain.deck import Deck
from sim.terrain.still import Flat, Platform, Slope
from sim.terrain.surface import Terrain

MAX_SLOPE = 30.0  # degrees, where rubber begins to slip

# name -> (terrain of its parameter, default, least, largest, what the parameter is)
_KINDS: Mapping[str, tuple[Callable[[float], Terrain], float, float, float, str]] = {
    "flat": (lambda _: Flat(), 0.0, 0.0, 0.0, "no parameter"),
    "platform": (lambda top: Platform(top=top), 0.5, 0.01, 10.0, "height in m"),
    "slope": (lambda angle: Slope(math.radians(angle)), 5.0, 0.0, MAX_SLOPE, "angle in degrees"),
    "bumps": (Bumps, 0.01, 0.0, 0.05, "amplitude in m"),
    "deck": (lambda heave: Deck(heave=heave), 0.05, 0.0, 0.5, "amplitude of heave in m"),
}
TERRAINS = tuple(_KINDS)


def terrain_named(text: str) -> Terrain:
    """Terrain from ``flat``, ``platform``, ``slope``, ``bumps`` or ``deck``, with a parameter like ``slope:5``.

    Raises
    ------
    UserError
        If there is no such terrain, or its parameter is not a number in its range.
    """
    name, colon, value = text.partition(":")
    if name not in _KINDS:
        raise UserError(f"terrain '{text}' is not known; use one of: {', '.join(TERRAINS)}, or slope:5")
    build, default, low, high, what = _KINDS[name]
    try:
        parameter = float(value) if colon else default
    except ValueError:
        parameter = math.nan
    if not low <= parameter <= high:
        raise UserError(f"terrain '{text}': {what} must be a number in {low:g}..{high:g}, as in {name}:{default:g}")
    return build(parameter)
