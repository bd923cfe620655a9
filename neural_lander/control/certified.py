"""Whether a network may fly: a certificate that was checked must be about it, the vehicle, and how it is asked."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import partial
from types import CellType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

from neural_lander.residual.model import ReluNetwork, WithinThrusts
from neural_lander.vehicle import Vehicle

ROUNDING = 1e-9


def why_not_certified(model: Any, vehicle: Vehicle, contraction_factor: float, iterations: int | None = None) -> str:
    """Why no certificate lets a residual model fly; empty where one does, or where there is no network in it.

    A certificate is about the network. What stands between it and the controller must not be steeper than it: of a
    model that multiplies a network's force by ten this sees the network alone.

    Parameters
    ----------
    model
        A network, or what fades, clips or adapts one: it is found behind whatever attribute it stands, in containers
        and tables, and in what a function closes over or is called with; not in its module or in a class.
    contraction_factor
        That the thrust iteration reckons with.
    iterations
        The most passes that it makes; None where they are counted from the factor alone.
    """
    whole = (0.0, vehicle.thrust_coefficient * vehicle.u_max)
    reasons = (_why_not(*found, vehicle, contraction_factor, iterations) for found in _networks(model, *whole))
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
    if isinstance(found, (str, bytes, type, ModuleType)):
        return ()
    if isinstance(found, MethodType):
        return found.__self__, found.__func__
    if isinstance(found, partial):
        return found.func, *found.args, *found.keywords.values()
    if isinstance(found, FunctionType):
        defaults = (*(found.__defaults__ or ()), *(found.__kwdefaults__ or {}).values())
        return *map(_content, found.__closure__ or ()), *defaults, *vars(found).values()
    if isinstance(found, np.ndarray):
        return found.ravel().tolist() if found.dtype == object else ()
    inside = found.values() if isinstance(found, Mapping) else _listed(found)
    slots = (_slot(kind, name) for kind in type(found).__mro__ for name in _names(kind.__dict__.get("__slots__", ())))
    return *inside, *getattr(found, "__dict__", {}).values(), *(getattr(found, name, None) for name in slots)


def _listed(found: Any) -> Iterable[Any]:
    """What a container holds; of numbers that a library keeps, as torch does, nothing."""
    return found if isinstance(found, Collection) and not hasattr(found, "dtype") else ()


def _content(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not filled yet
        return None


def _names(slots: str | Iterable[str]) -> Iterable[str]:
    return (slots,) if isinstance(slots, str) else slots


def _slot(kind: type, name: str) -> str:
    """A slot's name as the compiler writes it."""
    private = name.startswith("__") and not name.endswith("__")
    return f"_{kind.__name__.lstrip('_')}{name}" if private else name


def _why_not(
    model: ReluNetwork, low: float, high: float, vehicle: Vehicle, contraction_factor: float, iterations: int | None
) -> str:
    known = model.certified
    if known is None or known.network_sha256 != model.sha256:
        return "no certificate of this network was checked"
    if known.vehicle_sha256 != vehicle.sha256:
        return f"the network's certificate is about another vehicle than '{vehicle.name}' as it is"
    if contraction_factor < known.contraction_factor * (1 - ROUNDING):
        return f"contraction factor {contraction_factor:.3g} is below the proved {known.contraction_factor:.3g}"
    if iterations is not None and iterations < known.iterations:
        return f"{iterations} iterations are fewer than the {known.iterations} of its certificate"
    if low < known.low - ROUNDING * high or high > known.high * (1 + ROUNDING):
        return f"its certificate holds for rotor thrusts from {known.low:.3g} to {known.high:.3g} N alone"
    return ""
