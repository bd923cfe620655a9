"""Whether a network may fly: a certificate that was checked must be about it, the vehicle, and how it is asked."""

from __future__ import annotations

from typing import Any

from neural_lander.residual.model import ReluNetwork, WithinThrusts
from neural_lander.vehicle import Vehicle

ROUNDING = 1e-9


def why_not_certified(model: Any, vehicle: Vehicle, contraction_factor: float) -> str:
    """Why no certificate lets a residual model fly; empty where one does, or where there is no network in it.

    Parameters
    ----------
    model
        A network, or what fades, clips or adapts one: it stands in ``model`` or ``network`` there.
    contraction_factor
        That the thrust iteration reckons with.
    """
    low, high = 0.0, vehicle.thrust_coefficient * vehicle.u_max
    while not isinstance(model, ReluNetwork):
        if isinstance(model, WithinThrusts):
            low, high = max(low, model.low), min(high, model.high)
        model = getattr(model, "model", None) or getattr(model, "network", None)
        if model is None:
            return ""
    known = model.certified
    if known is None or known.network_sha256 != model.sha256:
        return "no certificate of this network was checked"
    if known.vehicle_sha256 != vehicle.sha256:
        return f"the network's certificate is about another vehicle than '{vehicle.name}' as it is"
    if contraction_factor < known.contraction_factor * (1 - ROUNDING):
        return f"contraction factor {contraction_factor:.3g} is below the proved {known.contraction_factor:.3g}"
    if low < known.low - ROUNDING * high or high > known.high * (1 + ROUNDING):
        return f"its certificate holds for rotor thrusts from {known.low:.3g} to {known.high:.3g} N alone"
    return ""
