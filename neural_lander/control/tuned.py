"""Tuned gains, from the file that ``neural-lander tune`` writes."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from pathlib import Path

from neural_lander.control.kinds import GUARD
from neural_lander.errors import NeuralLanderWarning, UserError, why_unread
from neural_lander.vehicle import Vehicle

FORMAT, FORMAT_VERSION = "neural-lander-tuned", 1

Tuned = dict[str, dict[str, float]]
"""Controller -> value of each of its free gains."""


def load_tuned(path: Path, vehicle: Vehicle, controllers: Sequence[str] = ()) -> Tuned:
    """Gains of every controller in the file, for ``build_controller(..., tuned=gains[name])``.

    Parameters
    ----------
    vehicle
        The file must have been made for it.
    controllers
        These must be in the file; one within the guard as what it guards, since the guard adds no gain to tune.

    Raises
    ------
    UserError
        If it is no such file, was made for another vehicle, or lacks a controller.

    Warns
    -----
    NeuralLanderWarning
        Where the tuning was cut short, so that one of ``controllers`` had less than the budget.
    """
    try:
        document = json.loads(path.read_text("utf-8"))
        if document["format"] != FORMAT or document["format_version"] != FORMAT_VERSION:
            raise ValueError("another format")
        sha256, rows = document["vehicle_sha256"], document["controllers"]
        budget = int(document["candidates_per_controller"])
        tried = {str(name): len(row["candidates"]) for name, row in rows.items()}
        gains = {str(name): {str(k): float(v) for k, v in row["parameters"].items()} for name, row in rows.items()}
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"tuned gains {path} cannot be read: {why_unread(error)}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        wanted = f"a file of tuned gains of version {FORMAT_VERSION}"
        raise UserError(f"{path} is not {wanted}: write one with 'neural-lander tune'") from error
    if sha256 != vehicle.sha256:
        raise UserError(f"{path} was tuned for another vehicle ('{document['vehicle']}') than '{vehicle.name}'")
    bare = {name: name.removesuffix(GUARD) for name in controllers}
    missing = [name for name in bare.values() if name not in gains]
    if missing:
        has = ", ".join(gains) or "none"
        raise UserError(f"{path} holds no gains of '{missing[0]}' (it has: {has}): tune it, or leave it out")
    short = [f"'{name}' {tried[name]}" for name in dict.fromkeys(bare.values()) if tried[name] < budget]
    if short:
        warnings.warn(
            f"{path}: this tuning was cut short. Of {budget} candidates each, {', '.join(short)} were tried: what is "
            "compared with these gains did not have the same budget; tune again for a table",
            NeuralLanderWarning,
            stacklevel=2,
        )
    return gains | {name: gains[inner] for name, inner in bare.items()}
