"""The controllers by name: which residual model and which force estimate each flies with, and which gains it has.

Tracking law, gains, attitude loop and touchdown detector are the same for all. ``pd`` has neither model nor estimate;
the ablation is none, Cheeseman-Bennett and network, each with trim and without.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from neural_lander.control.adaptation import AdaptationGains
from neural_lander.control.indi import IndiGains
from neural_lander.control.l1 import L1Gains
from neural_lander.control.tracking import DEFAULT_NATURAL_FREQUENCY, DEFAULT_TRIM_RATE
from neural_lander.errors import UserError
from neural_lander.extension import load_named

GUARD = "+guard"  # after any controller's name: the same within the guard's limits
EXAMPLE = "my_laws:MyController"


@dataclass(frozen=True)
class ControllerKind:
    """One controller that can be named."""

    name: str
    label: str
    residual: str
    """``none``, ``cheeseman-bennett``, ``network``, or a model that the caller brings."""
    estimate: str
    """``none``, ``trim``, ``indi``, ``l1``, ``adaptive``, or ``user`` for what ``name`` says as ``module:Class``."""
    guarded: bool = False
    """Whether it flies within the guard's limits."""

    @property
    def trim(self) -> bool:
        """Whether it has integral action by the trim."""
        return self.estimate == "trim"

    @property
    def bare(self) -> ControllerKind:
        """The same without the guard."""
        if not self.guarded:
            return self
        label = self.label.removesuffix(", guarded")
        return replace(self, name=self.name.removesuffix(GUARD), label=label, guarded=False)

    @property
    def within_guard(self) -> ControllerKind:
        """The same within the guard's limits."""
        bare = self.bare
        return replace(bare, name=bare.name + GUARD, label=f"{bare.label}, guarded", guarded=True)


CONTROLLERS: Mapping[str, ControllerKind] = {
    kind.name: kind
    for kind in (
        ControllerKind("pd", "PD", "none", "none"),
        ControllerKind("pd-trim", "PD + trim", "none", "trim"),
        ControllerKind("pd-cb", "PD + Cheeseman-Bennett", "cheeseman-bennett", "none"),
        ControllerKind("pd-cb-trim", "PD + Cheeseman-Bennett + trim", "cheeseman-bennett", "trim"),
        ControllerKind("indi", "INDI", "none", "indi"),
        ControllerKind("l1", "L1 adaptive", "none", "l1"),
        ControllerKind("neural-lander", "Neural-Lander", "network", "none"),
        ControllerKind("neural-lander-trim", "Neural-Lander + trim", "network", "trim"),
        ControllerKind("neural-lander-l1", "Neural-Lander + L1", "network", "l1"),
        ControllerKind("neural-lander-adaptive", "Neural-Lander + adaptation", "network", "adaptive"),
    )
}
"""All that needs nothing but what flies."""


@dataclass(frozen=True)
class Parameter:
    """A gain that tuning may choose, on a logarithmic scale."""

    key: str
    """Name with the unit."""
    low: float
    high: float


POSITION = (Parameter("Lambda_1_s", 1.0, 12.0), Parameter("K_v_over_m_1_s", 1.0, 12.0))
"""Every controller's. Above, position meets the attitude loop's 17 rad/s."""
OWN: Mapping[str, tuple[Parameter, ...]] = {
    "none": (),
    "trim": (Parameter("Gamma_1_s", 0.2, 6.0),),
    "indi": (Parameter("cut_off_rad_s", 3.0, 150.0),),
    "l1": (Parameter("bandwidth_rad_s", 1.0, 60.0),),
    "adaptive": (Parameter("rate_1_s", 0.1, 20.0), Parameter("adaptive_Gamma_1_s", 0.05, 6.0)),
    "user": (),
}
"""Each estimate's."""


def free_parameters(kind: ControllerKind) -> tuple[Parameter, ...]:
    """What tuning may choose of a controller."""
    return POSITION + OWN[kind.estimate]


def default_parameters(kind: ControllerKind, omega_n: float = DEFAULT_NATURAL_FREQUENCY) -> dict[str, float]:
    """Their values where nothing is tuned: both poles of the position loop at ``omega_n`` in rad/s."""
    values = {
        "Lambda_1_s": omega_n,
        "K_v_over_m_1_s": omega_n,
        "Gamma_1_s": DEFAULT_TRIM_RATE,
        "cut_off_rad_s": IndiGains().cut_off,
        "bandwidth_rad_s": L1Gains().bandwidth,
        "rate_1_s": AdaptationGains().rate,
        "adaptive_Gamma_1_s": AdaptationGains().Gamma,
    }
    return {p.key: values[p.key] for p in free_parameters(kind)}


def chosen_parameters(
    kind: ControllerKind, omega_n: float = DEFAULT_NATURAL_FREQUENCY, tuned: Mapping[str, float] | None = None
) -> dict[str, float]:
    """The defaults, with the tuned values in their place.

    Raises
    ------
    UserError
        If a tuned value is none of the controller's, or is no finite number.
    """
    known, tuned = default_parameters(kind, omega_n), tuned or {}
    for key, value in tuned.items():
        if key not in known:
            raise UserError(f"controller '{kind.name}' has no gain '{key}'; tuned may be: {', '.join(sorted(known))}")
        if not isinstance(value, int | float) or not math.isfinite(value):
            raise UserError(f"tuned {key} = {value!r} of controller '{kind.name}' must be a finite number")
    return known | {key: float(value) for key, value in tuned.items()}


def controller_named(name: str, known: Mapping[str, ControllerKind] = CONTROLLERS) -> ControllerKind:
    """Controller kind by name or by ``module:Class``, or an error that lists the known ones.

    ``pd-trim+guard`` is ``pd-trim`` within the guard's limits, and so with every other.
    """
    if name.endswith(GUARD):
        return controller_named(name.removesuffix(GUARD), known).within_guard
    if ":" in name:
        load_named(name, "controller", EXAMPLE)
        return ControllerKind(name, name.rpartition(":")[2], "none", "user")
    if name not in known:
        raise UserError(
            f"controller '{name}' is not known; use any of: {', '.join(known)}, or your own as module:Class"
        )
    return known[name]
