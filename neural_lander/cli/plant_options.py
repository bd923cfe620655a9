"""Options that several verbs have about the plant that is flown: written once, the same words everywhere."""

from __future__ import annotations

from typing import Annotated

import typer

from sim.terrain import TERRAINS

MAX_SEED = 2**31 - 1  # of what training takes

Effects = Annotated[
    list[str] | None,
    typer.Option(help="Aerodynamic effect module:Class, repeatable; replaces the default ones."),
]
Ground = Annotated[str, typer.Option(help=f"What it is flown over: {', '.join(TERRAINS)}; slope:8 in degrees.")]
ProfileOfBundle = Annotated[str | None, typer.Option(help="Profile; default: the bundle's, else intel-aero.")]
FirstAirframe = Annotated[int, typer.Option(min=0, help="The first copy of the vehicle; as in collect.")]
