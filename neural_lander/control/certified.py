"""Whether a network may fly: a certificate that was checked must be about it, the vehicle, and how it is asked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import MethodType, ModuleType
from typing import Any

from neural_lander.residual.model import ReluNetwork, WithinThrusts
from neural_lander.vehicle import Vehicle

ROUNDING = 1e-9


def why_not_certified(model: Any, vehicle: Vehicle, contraction_factor: float) -> str:
    """Why no certificate lets a residual model fly; empty where one does, or where there is no network in it.

    Parameters
    ----------
    model
        A network, or what fades, clips or adapts one: it is found behind whatever attribute it stands, and in lists and
        tables; not in what a function closes over.
    contraction_factor
        That the thrust iteration reckons with.
    """
    whole = (0.0, vehicle.thrust_coefficient * vehicle.u_max)
    reasons = (_why_not(*found, vehicle, contraction_factor) for found in _networks(model, *whole))
    return next(filter(None, reasons), "")


def _networks(model: Any, low: float, high: float) -> Iterator[tuple[ReluNetwork, float, float]]:
    """Networks within a model, each with the range of rotor thrusts in N in which it is asked."""
    pending, seen = [(model, low, high)], set()
    while pending:
        found, low, high = pending.pop()
        if (id(found), low, high) in seen:
            continue
        seen.add((id(found), low, high))
        if isinstance(found, ReluNetwork):
            yield found, low, high
            continue
        if isinstance(found, WithinThrusts):
            low, high = max(low, found.low), min(high, found.high)
        pending += [(held, low, high) for held in _held(found)]


def _held(found: Any) -> Iterable[Any]:
    """What an object holds."""
    if isinstance(found, Mapping):
        return found.values()
    if isinstance(found, (list, tuple, set, frozenset)):
        return found
    if isinstance(found, MethodType):
        return (found.__self__,)
    if isinstance(found, (type, ModuleType)):
        return ()
    slots = (name for kind in type(found).__mro__ for name in _names(kind.__dict__.get("__slots__", ())))
    return [*getattr(found, "__dict__", {}).values(), *(getattr(found, name, None) for name in slots)]


def _names(slots: str | Iterable[str]) -> Iterable[str]:
    return (slots,) if isinstance(slots, str) else slots


def _why_not(model: ReluNetwork, low: float, high: float, vehicle: Vehicle, contraction_factor: float) -> str:
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
