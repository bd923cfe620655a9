"""What lies under the vehicle: flat, platform, slope, bumps, a moving deck. Height is asked for, place by place."""

from sim.terrain.bumps import Bumps
from sim.terrain.deck import Deck, DeckSurface
from sim.terrain.named import TERRAINS, terrain_named
from sim.terrain.still import Flat, Platform, Slope, Still
from sim.terrain.surface import Lifted, Surface, Terrain, clearance, level_pad

__all__ = [
    "TERRAINS",
    "Bumps",
    "Deck",
    "DeckSurface",
    "Flat",
    "Lifted",
    "Platform",
    "Slope",
    "Still",
    "Surface",
    "Terrain",
    "clearance",
    "level_pad",
    "terrain_named",
]
