"""Plants that are not what the profile says: what a bundle that was learned on the nominal one must survive."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from neural_lander.errors import UserError
from sim.aerodynamics import BatterySag, Dryden, InWind
from sim.plant import Copy, Plant
from sim.rigid_body import TIME_STEP


@dataclass(frozen=True)
class Change:
    """One way in which a plant differs."""

    low: float
    high: float
    unit: str
    apply: Callable[[Plant, float], Plant]
    name: Callable[[float], str]
    """For tables."""


def _scale(what: str) -> Callable[[float], str]:
    return lambda scale: f"{what} {100 * (scale - 1):+.0f} %"


def _delayed(plant: Plant, delay: float) -> Plant:
    return replace(plant, noise=replace(plant.noise, delay=round(delay / TIME_STEP)))


CHANGES: Mapping[str, Change] = {
    "mass": Change(0.5, 2.0, "factor", lambda p, x: replace(p, mass_scale=x), _scale("mass")),
    "thrust": Change(0.5, 2.0, "factor", lambda p, x: replace(p, thrust_scale=x), _scale("thrust")),
    "com": Change(
        -0.3, 0.3, "of the arm, forward",
        lambda p, x: replace(p, airframe=p.airframe.unbalanced(p.vehicle, x)),
        lambda x: f"centre of mass {100 * x:+.0f} % of the arm",
    ),
    "wind": Change(
        0.1, 15.0, "m/s, with gusts",
        lambda p, x: replace(p, effects=(InWind(p.effects, Dryden(x)),)),
        lambda x: f"wind {x:g} m/s with gusts",
    ),
    "delay": Change(0.0, 0.2, "s, of the state, which tells its age", _delayed, lambda x: f"delay {1e3 * x:.0f} ms"),
    "lag": Change(
        0.0, 0.5, "s, of the motors", lambda p, x: replace(p, motor_time_constant=x),
        lambda x: f"motor lag {1e3 * x:.0f} ms",
    ),
    "dropout": Change(
        0.0, 0.9, "share of the time without a state",
        lambda p, x: replace(p, noise=replace(p.noise, dropout=x)),
        lambda x: f"dropouts {100 * x:.0f} %",
    ),
    "mismatch": Change(
        0.0, 0.3, "spread of the motors",
        lambda p, x: replace(p, airframe=p.airframe.mismatched(x)),
        lambda x: f"motors +-{100 * x:.0f} %",
    ),
    "drift": Change(
        0.0, 0.2, "m, of the estimated position",
        lambda p, x: replace(p, noise=replace(p.noise, drift=x)),
        lambda x: f"position drift {1e3 * x:.0f} mm",
    ),
    "charge": Change(
        0.0, 1.0, "left in a battery that sags",
        lambda p, x: replace(p, effects=(*p.effects, BatterySag(x))),
        lambda x: f"battery at {100 * x:.0f} %",
    ),
}  # fmt: skip
"""Key on the command line -> what it does. They are applied in this order."""


@dataclass(frozen=True)
class PlantChange:
    """A plant that is not what the profile says; the bundle stays as it was learned."""

    values: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    """Key of :data:`CHANGES` -> value."""

    def __post_init__(self) -> None:
        for key, value in self.values.items():
            if key not in CHANGES:
                raise UserError(f"plant: '{key}' is not known; use any of: {', '.join(CHANGES)}")
            change = CHANGES[key]
            if not change.low <= value <= change.high:
                raise UserError(
                    f"plant: {key} = {value!r} must be a number in {change.low:g}..{change.high:g} ({change.unit})"
                )

    @property
    def name(self) -> str:
        """For tables."""
        return ", ".join(CHANGES[key].name(self.values[key]) for key in CHANGES if key in self.values) or "nominal"

    def of_plant(self, plant: Plant) -> Plant:
        """The same airframe in the changed plant."""
        for key, change in CHANGES.items():
            if key in self.values:
                plant = change.apply(plant, self.values[key])
        return plant

    def of(self, copy: Copy) -> Copy:
        """The same airframe and bundle in the changed plant."""
        return replace(copy, plant=self.of_plant(copy.plant))

    @classmethod
    def parse(cls, text: str) -> PlantChange:
        """From ``mass=1.1,thrust=0.9``."""
        values = {}
        for part in text.split(","):
            key, _, value = part.partition("=")
            try:
                values[key.strip()] = float(value)
            except ValueError as error:
                example = "it must be written like mass=1.1,wind=2"
                raise UserError(f"plant '{text}': '{value.strip()}' is not a number; {example}") from error
        return cls(values)


ALONE = ("thrust=0.85", "mass=1.1", "com=0.05", "wind=2", "delay=0.03", "lag=0.05", "dropout=0.1")
STANDARD_ROBUSTNESS = tuple(PlantChange.parse(text) for text in (*ALONE, ",".join(ALONE)))
"""Each error alone, then all of them together."""
