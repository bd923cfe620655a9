"""Whether a network may fly: a certificate that was checked must be about it, the vehicle, and how it is asked."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import partial
from types import CellType, FunctionType, MethodType, ModuleType
from typing import Any, NamedTuple

import numpy as np

from neural_lander.certificate.contraction import contraction_factor
from neural_lander.control.adaptation import LastLayerAdaptation
from neural_lander.residual.model import ReluNetwork, WithinThrusts
from neural_lander.residual.norms import network_bounds
from neural_lander.vehicle import Vehicle

ROUNDING = 1e-9


def why_not_certified(model: Any, vehicle: Vehicle, factor: float | None = None, iterations: int | None = None) -> str:
    """Why no certificate lets a residual model fly; empty where one does, or where there is no network in it.

    A certificate is about the network. What stands between it and the controller must not be steeper than it: of a
    model that multiplies a network's force by ten this sees the network alone.

    Parameters
    ----------
    model
        A network, or what fades, clips or adapts one: it is found behind whatever attribute it stands, in containers
        and tables, and in what a function closes over or is called with; not in its module or in a class.
    factor
        Of the contraction, that the thrust iteration reckons with; None where the model stands outside of it.
    iterations
        The most passes that it makes.
    """
    whole = Asked(0.0, vehicle.full_rotor_thrust)
    reasons = (_why_not(network, asked, vehicle, factor, iterations) for network, asked in _networks(model, whole))
    return next(filter(None, reasons), "")


class Asked(NamedTuple):
    """How a network is asked."""

    low: float  # N
    high: float  # N
    """Range of rotor thrusts."""
    adapted: bool = False
    """Whether its last layer moves, so that the product of norms alone bounds it."""

    def within(self, low: float, high: float) -> Asked:
        """Where thrusts are clipped to these as well."""
        return self._replace(low=max(self.low, low), high=min(self.high, high))


def _networks(model: Any, asked: Asked) -> Iterator[tuple[ReluNetwork, Asked]]:
    """Networks within a model, each with how it is asked."""
    pending, seen = [(model, asked)], set()
    while pending:
        found, asked = pending.pop()
        if (id(found), asked) in seen:
            continue
        seen.add((id(found), asked))
        if isinstance(found, ReluNetwork):
            yield found, asked
            continue
        if isinstance(found, WithinThrusts):
            asked = asked.within(found.low, found.high)
        if isinstance(found, LastLayerAdaptation):
            asked = asked.within(*found.thrusts)._replace(adapted=True)
        pending += [(held, asked) for held in _held(found)]


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


def _why_not(model: ReluNetwork, asked: Asked, vehicle: Vehicle, factor: float | None, iterations: int | None) -> str:
    known = model.certified
    if known is None or known.network_sha256 != model.sha256:
        return "no certificate of this network was checked"
    if known.vehicle_sha256 != vehicle.sha256:
        return f"the network's certificate is about another vehicle than '{vehicle.name}' as it is"
    if known.contraction_factor >= 1:
        return f"its thrust iteration is not shown to contract (factor {known.contraction_factor:.3g})"
    proved = known.contraction_factor
    if asked.adapted:
        proved = max(proved, contraction_factor(network_bounds(model), vehicle))
    if factor is not None and factor < proved * (1 - ROUNDING):
        return f"contraction factor {factor:.3g} is below the proved {proved:.3g}"
    if iterations is not None and iterations < known.iterations:
        return f"{iterations} iterations are fewer than the {known.iterations} of its certificate"
    if asked.low < known.low - ROUNDING * asked.high or asked.high > known.high * (1 + ROUNDING):
        return f"its certificate holds for rotor thrusts from {known.low:.3g} to {known.high:.3g} N alone"
    return ""
