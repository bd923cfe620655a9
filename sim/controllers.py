"""The columns of a comparison: every controller that flies, and beside them those that know the simulator's truth."""

from __future__ import annotations

from collections.abc import Mapping

from neural_lander.control import kinds
from neural_lander.control.build import build_controller as build
from neural_lander.control.controller import Controller
from neural_lander.control.kinds import ControllerKind
from neural_lander.control.learned import Learned
from neural_lander.control.tracking import DEFAULT_NATURAL_FREQUENCY
from neural_lander.errors import UserError
from sim.plant import Plant

CONTROLLERS: Mapping[str, ControllerKind] = {
    **kinds.CONTROLLERS,
    "oracle": ControllerKind("oracle", "Oracle", "oracle", "none"),
    "oracle-trim": ControllerKind("oracle-trim", "Oracle + trim", "oracle", "trim"),
}


def controller_named(name: str) -> ControllerKind:
    """Controller kind by name, oracles included; see :func:`neural_lander.control.kinds.controller_named`."""
    return kinds.controller_named(name, CONTROLLERS)


def controllers_in(text: str) -> list[str]:
    """Names in a comma-separated list, each once: flown twice, the same flights would count twice.

    Raises
    ------
    UserError
        If one is not known, or there is none.
    """
    names = [controller_named(name.strip()).name for name in text.split(",") if name.strip()]
    if not names:
        raise UserError(f"--controllers '{text}' names none; use any of: {', '.join(CONTROLLERS)}")
    return list(dict.fromkeys(names))


def build_controller(
    kind: ControllerKind,
    plant: Plant,
    learned: Learned | None,
    omega_n: float = DEFAULT_NATURAL_FREQUENCY,
    tuned: Mapping[str, float] | None = None,
) -> Controller:
    """Controller of the kind for a plant; see :func:`neural_lander.control.build.build_controller`."""
    return build(kind, plant.vehicle, learned, omega_n, tuned, {"oracle": plant.oracle()})
