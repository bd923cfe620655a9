"""The columns of a comparison: which residual model and which force estimate a controller flies with, by name.

Tracking law, gains, attitude loop and touchdown detector are the same for all. ``pd`` has neither model nor estimate;
the ablation is none, Cheeseman-Bennett and network, each with trim and without.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np

from neural_lander.arrays import Array
from neural_lander.certificate.contraction import contraction_factor
from neural_lander.certificate.norms import network_bounds
from neural_lander.control.adaptation import AdaptationGains, LastLayerAdaptation
from neural_lander.control.controller import Controller, Wanted
from neural_lander.control.estimate import ForceEstimate
from neural_lander.control.guard import Guarded
from neural_lander.control.indi import Indi, IndiGains
from neural_lander.control.l1 import L1, L1Gains
from neural_lander.control.tracking import DEFAULT_NATURAL_FREQUENCY, DEFAULT_TRIM_RATE, TrackingGains
from neural_lander.errors import UserError
from neural_lander.residual.domain import FadingResidual
from neural_lander.residual.model import NoResidual, ReluNetwork, ResidualModel
from neural_lander.state import Reference, State
from neural_lander.vehicle import Vehicle
from sim.extension import load_named
from sim.plant import Plant

GUARD = "+guard"  # after any controller's name: the same within the guard's limits
EXAMPLE = "my_laws:MyController"
DEFAULT_FACTOR = 0.5  # of models that are not certified: Cheeseman-Bennett has 0.1 to 0.3 on the floor


@dataclass(frozen=True)
class ControllerKind:
    """One column of the comparison."""

    name: str
    label: str
    residual: str
    """``none``, ``cheeseman-bennett``, ``network`` or ``oracle``."""
    estimate: str
    """``none``, ``trim``, ``indi``, ``l1``, ``adaptive``, or ``user`` for what ``name`` says as ``module:Class``."""
    guarded: bool = False
    """Whether it flies within the guard's limits."""

    @property
    def trim(self) -> bool:
        """Whether it has integral action by the trim."""
        return self.estimate == "trim"


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
        ControllerKind("oracle", "Oracle", "oracle", "none"),
        ControllerKind("oracle-trim", "Oracle + trim", "oracle", "trim"),
    )
}


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


def controller_named(name: str) -> ControllerKind:
    """Controller kind by name or by ``module:Class``, or an error that lists the known ones.

    ``pd-trim+guard`` is ``pd-trim`` within the guard's limits, and so with every other.
    """
    if name.endswith(GUARD):
        bare = controller_named(name.removesuffix(GUARD))
        return replace(bare, name=name, label=f"{bare.label}, guarded", guarded=True)
    if ":" in name:
        load_named(name, "controller", EXAMPLE)
        return ControllerKind(name, name.rpartition(":")[2], "none", "user")
    if name not in CONTROLLERS:
        raise UserError(
            f"controller '{name}' is not known; use any of: {', '.join(CONTROLLERS)}, or your own as module:Class"
        )
    return CONTROLLERS[name]


@dataclass(frozen=True)
class Learned:
    """What was learned for one airframe, from its logs alone."""

    network: ResidualModel
    cheeseman_bennett: ResidualModel
    contraction_factor: float
    """Certified bound on the contraction of the thrust iteration under the network."""
    iterations: int | None = None
    """Passes that the certificate counts; None: as many as the factor alone asks for."""
    uncertified: str = ""
    """Why no certificate lets the network fly, where it flies for research all the same."""


def build_controller(
    kind: ControllerKind,
    plant: Plant,
    learned: Learned | None,
    omega_n: float = DEFAULT_NATURAL_FREQUENCY,
    tuned: Mapping[str, float] | None = None,
) -> Controller:
    """Controller of the kind: attitude loop and detector are the same for all.

    Parameters
    ----------
    omega_n
        Natural frequency of the position loop in rad/s, the same for all in a paired comparison.
    tuned
        Values of :func:`free_parameters`, as ``sim.tuning.load_tuned`` reads them for each controller; they override
        ``omega_n`` and the defaults.

    Raises
    ------
    UserError
        If the kind needs a learned model and none is given, or a tuned value is unknown or out of its range.
    """
    if kind.guarded:
        bare = replace(kind, name=kind.name.removesuffix(GUARD), guarded=False)
        inner = build_controller(bare, plant, learned, omega_n, tuned)
        return cast(Controller, Guarded(inner))  # which has all that a controller has
    values = default_parameters(kind, omega_n) | _checked(kind, tuned or {})
    vehicle, ones = plant.vehicle, np.ones(3)
    if not omega_n > 0:
        raise UserError(f"natural_frequency = {omega_n!r} rad/s must be positive")
    gains = TrackingGains(
        values["Lambda_1_s"] * ones, vehicle.mass * values["K_v_over_m_1_s"] * ones, values.get("Gamma_1_s", 0.0)
    )
    if kind.estimate == "user":
        return _user_controller(kind.name, vehicle, gains)
    if kind.residual in ("network", "cheeseman-bennett") and learned is None:
        raise UserError(f"controller '{kind.name}' needs a bundle: pass --bundle, or leave it out of --controllers")
    if kind.estimate == "adaptive":
        assert learned is not None
        return _adaptive(vehicle, learned, gains, values)
    models: dict[str, ResidualModel] = {"none": NoResidual(), "oracle": plant.oracle()}
    if learned is not None:
        models |= {"network": learned.network, "cheeseman-bennett": learned.cheeseman_bennett}
    estimate: ForceEstimate | None = None  # the trim, by Gamma
    if kind.estimate == "indi":
        estimate = Indi(vehicle, IndiGains(values["cut_off_rad_s"]))
    elif kind.estimate == "l1":
        estimate = L1(vehicle, L1Gains(values["bandwidth_rad_s"]))
    if learned is None or kind.residual != "network":
        return Controller(vehicle, models[kind.residual], gains, contraction_factor=DEFAULT_FACTOR, estimate=estimate)
    return Controller(
        vehicle,
        learned.network,
        gains,
        contraction_factor=learned.contraction_factor,
        estimate=estimate,
        iterations=learned.iterations,
        uncertified=learned.uncertified,
    )


def _checked(kind: ControllerKind, tuned: Mapping[str, float]) -> dict[str, float]:
    known = {p.key for p in free_parameters(kind)}
    for key, value in tuned.items():
        if key not in known:
            raise UserError(f"controller '{kind.name}' has no gain '{key}'; tuned may be: {', '.join(sorted(known))}")
        if not isinstance(value, int | float) or not math.isfinite(value):
            raise UserError(f"tuned {key} = {value!r} of controller '{kind.name}' must be a finite number")
    return {key: float(value) for key, value in tuned.items()}


def _adaptive(vehicle: Vehicle, learned: Learned, gains: TrackingGains, values: Mapping[str, float]) -> Controller:
    """The network with its last layer adapted; the factor is the product of norms, which holds while it adapts."""
    fading = learned.network if isinstance(learned.network, FadingResidual) else None
    network = learned.network if fading is None else fading.model
    if not isinstance(network, ReluNetwork):
        raise UserError("controller 'neural-lander-adaptive' needs a bundle's network, whose last layer it adapts")
    factor = max(learned.contraction_factor, contraction_factor(network_bounds(network), vehicle))
    own = AdaptationGains(rate=values["rate_1_s"], Gamma=values["adaptive_Gamma_1_s"])
    if fading is None:
        adaptation = LastLayerAdaptation(vehicle, network, gains.K_v, own)
        return Controller(
            vehicle, adaptation, gains, contraction_factor=factor, estimate=adaptation, uncertified=learned.uncertified
        )
    domain = fading.domain
    adaptation = LastLayerAdaptation(vehicle, network, gains.K_v, own, lambda state: domain.share(domain.score(state)))
    residual = replace(fading, model=adaptation)
    return Controller(
        vehicle, residual, gains, contraction_factor=factor, estimate=adaptation, uncertified=learned.uncertified
    )


def _user_controller(name: str, vehicle: Vehicle, gains: TrackingGains) -> Controller:
    try:
        found = load_named(name, "controller", EXAMPLE)(vehicle)
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"controller '{name}' must be constructible from the vehicle alone: {error}") from error
    if isinstance(found, Controller):
        return found
    if all(hasattr(found, method) for method in ("reset", "observe", "update", "d_hat")):
        return Controller(vehicle, gains=gains, estimate=found)
    if callable(found) and hasattr(found, "reset"):
        return UserController(name, vehicle, found)
    raise UserError(
        f"controller '{name}' must have reset(moment_trim) and be callable as controller(t, state, reference) -> rotor "
        "speeds, or be a force estimate with reset, observe, update and d_hat (neural_lander.control.estimate)"
    )


class UserController(Controller):
    """A user's whole law: ``reset(moment_trim)`` and ``(t, state, reference) -> rotor speeds (4,) in rad/s``.

    The moment trim ``(3,)`` in N m, body, is what every controller here subtracts; a law may leave it. What it does not
    tell (f_a_hat, d_hat) is written as zero.
    """

    def __init__(self, name: str, vehicle: Vehicle, law: Any) -> None:
        self._name, self._law = name, law
        super().__init__(vehicle, gains=TrackingGains.critically_damped(vehicle, Gamma=0.0))

    def reset(self, moment_trim: Array | None = None) -> None:
        """See :class:`~neural_lander.control.controller.Controller`."""
        super().reset(moment_trim)
        self._law.reset(np.zeros(3) if moment_trim is None else moment_trim)

    def __call__(self, t: float, state: State, reference: Reference) -> Array:
        """See :class:`~neural_lander.control.controller.Controller`.

        Raises
        ------
        UserError
            If the law fails, or returns something other than four speeds that rotors can have.
        """
        try:
            speeds = np.asarray(self._law(t, state, reference), dtype=np.float64)
        except Exception as error:
            raise UserError(f"controller '{self._name}' failed with {type(error).__name__}: {error}") from error
        if speeds.shape != (4,) or not np.all(np.isfinite(speeds)) or np.any(speeds < 0):
            raise UserError(
                f"controller '{self._name}' returned {speeds.tolist()} at t = {t:.3f} s: it must be four speeds in "
                "rad/s, finite and not negative"
            )
        speeds = np.minimum(speeds, self.vehicle.rotor_speed_max)
        self.rotor_thrust = self.flown_thrust = self.vehicle.thrust_coefficient * speeds * speeds
        thrust = np.float64(self.rotor_thrust.sum())
        self.wanted = Wanted(thrust, state.rows, np.zeros(3), np.zeros(3), self.rotor_thrust)
        return speeds
