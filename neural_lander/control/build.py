"""From a controller's name to the controller, for the simulator and for flight alike."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import cast

import numpy as np

from neural_lander.certificate.contraction import contraction_factor
from neural_lander.control.adaptation import AdaptationGains, LastLayerAdaptation, whole
from neural_lander.control.controller import Controller
from neural_lander.control.estimate import ForceEstimate
from neural_lander.control.guard import Guarded
from neural_lander.control.indi import Indi, IndiGains
from neural_lander.control.kinds import ControllerKind, chosen_parameters
from neural_lander.control.l1 import L1, L1Gains
from neural_lander.control.learned import Learned
from neural_lander.control.tracking import DEFAULT_NATURAL_FREQUENCY, TrackingGains
from neural_lander.control.user import user_controller
from neural_lander.errors import UserError
from neural_lander.residual.domain import FadingResidual
from neural_lander.residual.model import NoResidual, ReluNetwork, ResidualModel, WithinThrusts
from neural_lander.residual.norms import network_bounds
from neural_lander.vehicle import Vehicle

DEFAULT_FACTOR = 0.5  # of models that are not certified: Cheeseman-Bennett has at most so much on the floor


def build_controller(
    kind: ControllerKind,
    vehicle: Vehicle,
    learned: Learned | None = None,
    omega_n: float = DEFAULT_NATURAL_FREQUENCY,
    tuned: Mapping[str, float] | None = None,
    models: Mapping[str, ResidualModel] | None = None,
) -> Controller:
    """Controller of the kind: attitude loop and detector are the same for all.

    Parameters
    ----------
    omega_n
        Natural frequency of the position loop in rad/s, the same for all in a paired comparison.
    tuned
        Values of :func:`~neural_lander.control.kinds.free_parameters`, as
        :func:`~neural_lander.control.tuned.load_tuned` reads them for each controller; they override ``omega_n`` and
        the defaults.
    models
        By the name in ``kind.residual``, besides what was learned: a simulator's oracle.

    Raises
    ------
    UserError
        If the kind needs a learned model and none is given, the network has no certificate, or a tuned value is unknown
        or out of its range.
    """
    if kind.guarded:
        inner = build_controller(kind.bare, vehicle, learned, omega_n, tuned, models)
        return cast(Controller, Guarded(inner))  # which has all that a controller has
    values = chosen_parameters(kind, omega_n, tuned)
    if not omega_n > 0:
        raise UserError(f"natural_frequency = {omega_n!r} rad/s must be positive")
    ones = np.ones(3)
    gains = TrackingGains(
        values["Lambda_1_s"] * ones, vehicle.mass * values["K_v_over_m_1_s"] * ones, values.get("Gamma_1_s", 0.0)
    )
    if kind.estimate == "user":
        return user_controller(kind.name, vehicle, gains)
    if kind.residual in ("network", "cheeseman-bennett") and learned is None:
        raise UserError(f"controller '{kind.name}' needs a bundle: pass --bundle, or take one that needs none")
    if kind.estimate == "adaptive":
        assert learned is not None
        return _adaptive(vehicle, learned, gains, values)
    estimate: ForceEstimate | None = None  # the trim, by Gamma
    if kind.estimate == "indi":
        estimate = Indi(vehicle, IndiGains(values["cut_off_rad_s"]))
    elif kind.estimate == "l1":
        estimate = L1(vehicle, L1Gains(values["bandwidth_rad_s"]))
    if kind.residual == "network" and learned is not None:
        return Controller(
            vehicle,
            learned.network,
            gains,
            contraction_factor=learned.contraction_factor,
            estimate=estimate,
            iterations=learned.iterations,
            uncertified=learned.uncertified,
        )
    model = {"none": NoResidual(), **(models or {})} | (
        {} if learned is None else {"cheeseman-bennett": learned.cheeseman_bennett}
    )
    return Controller(vehicle, model[kind.residual], gains, contraction_factor=DEFAULT_FACTOR, estimate=estimate)


def _adaptive(vehicle: Vehicle, learned: Learned, gains: TrackingGains, values: Mapping[str, float]) -> Controller:
    """The network with its last layer adapted; the factor is the product of norms, which holds while it adapts.

    What is asked within a range of thrusts alone is adapted within it too: clipping raises no norm.
    """
    fading = learned.network if isinstance(learned.network, FadingResidual) else None
    asked = learned.network if fading is None else fading.model
    within = asked if isinstance(asked, WithinThrusts) else None
    network = asked if within is None else within.model
    if not isinstance(network, ReluNetwork):
        raise UserError("controller 'neural-lander-adaptive' needs a bundle's network, whose last layer it adapts")
    factor = max(learned.contraction_factor, contraction_factor(network_bounds(network), vehicle))
    if factor >= 1:
        raise UserError(
            f"controller 'neural-lander-adaptive' needs a bound for every last layer that it may reach: the product of "
            f"the network's norms gives a contraction factor of {factor:.3g}, below 1 is needed; train with a smaller "
            "--thrust-slope, or fly 'neural-lander-trim'"
        )
    own = AdaptationGains(rate=values["rate_1_s"], Gamma=values["adaptive_Gamma_1_s"])
    share = whole if fading is None else lambda state: fading.domain.share(fading.domain.score(state))
    limits = (0.0, math.inf) if within is None else (within.low, within.high)
    adaptation = LastLayerAdaptation(vehicle, network, gains.K_v, own, share, limits)
    residual: ResidualModel = adaptation if within is None else replace(within, model=adaptation)
    residual = residual if fading is None else replace(fading, model=residual)
    return Controller(
        vehicle, residual, gains, contraction_factor=factor, estimate=adaptation, uncertified=learned.uncertified
    )
