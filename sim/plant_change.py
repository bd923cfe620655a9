"""Plants that are not what the profile says: what a bundle that was learned on the nominal one must survive."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from neural_lander.errors import UserError
from sim.aerodynamics import BatterySag, Dryden, InWind
from sim.plant import Copy, Plant
from sim.rigid_body import TIME_STEP
from sim.sensors import SensorNoise

LEAST_DELAY = SensorNoise().delay * TIME_STEP  # s: a plant that sees earlier than the nominal one is no harder


@dataclass(frozen=True)
class Change:
    """One way in which a plant differs."""

    low: float
    high: float
    unit: str
    apply: Callable[[Plant, float], Plant]
    name: Callable[[float], str]
    """For tables."""


def _exact(number: float) -> str:
    """Every digit that was typed, and none that binary arithmetic adds: no two changes share a name."""
    return f"{number:.12g}"


def _percent(share: float) -> str:
    return f"{100 * share:+.12g} %"


def _scale(what: str) -> Callable[[float], str]:
    return lambda scale: f"{what} {_percent(scale - 1)}"


def _delayed(plant: Plant, delay: float) -> Plant:
    if delay < plant.noise.delay * TIME_STEP:
        raise UserError(
            f"plant: delay = {delay!r} s is less than the {plant.noise.delay * TIME_STEP:.3g} s of the plant that it "
            "changes: it is the whole age of the state, not what is added"
        )
    return replace(plant, noise=replace(plant.noise, delay=_steps(delay)))


def _steps(delay: float) -> int:
    return round(delay / TIME_STEP)


def _delay_name(delay: float) -> str:
    """What was asked for, and what it comes to."""
    steps = _steps(delay)
    in_effect = "1 step" if steps == 1 else f"{steps} steps"
    return f"delay {_exact(1e3 * delay)} ms ({in_effect}, {1e3 * steps * TIME_STEP:.1f} ms)"


CHANGES: Mapping[str, Change] = {
    "mass": Change(0.5, 2.0, "factor", lambda p, x: replace(p, mass_scale=x), _scale("mass")),
    "thrust": Change(0.5, 2.0, "factor", lambda p, x: replace(p, thrust_scale=x), _scale("thrust")),
    "com": Change(
        -0.3, 0.3, "of the arm, forward",
        lambda p, x: replace(p, airframe=p.airframe.unbalanced(p.vehicle, x)),
        lambda x: f"centre of mass {_percent(x)} of the arm",
    ),
    "wind": Change(
        0.1, 15.0, "m/s, with gusts",
        lambda p, x: replace(p, effects=(InWind(p.effects, Dryden(x)),)),
        lambda x: f"wind {_exact(x)} m/s with gusts",
    ),
    "delay": Change(LEAST_DELAY, 0.2, "s, the whole age of the state, which tells it", _delayed, _delay_name),
    "lag": Change(
        0.0, 0.5, "s, of the motors", lambda p, x: replace(p, motor_time_constant=x),
        lambda x: f"motor lag {_exact(1e3 * x)} ms",
    ),
    "dropout": Change(
        0.0, 0.9, "share of the time without a state",
        lambda p, x: replace(p, noise=replace(p.noise, dropout=x)),
        lambda x: f"dropouts {_exact(100 * x)} %",
    ),
    "mismatch": Change(
        0.0, 0.3, "spread of the motors",
        lambda p, x: replace(p, airframe=p.airframe.mismatched(x)),
        lambda x: f"motors +-{_exact(100 * x)} %",
    ),
    "drift": Change(
        0.0, 0.2, "m, of the estimated position",
        lambda p, x: replace(p, noise=replace(p.noise, drift=x)),
        lambda x: f"position drift {_exact(1e3 * x)} mm",
    ),
    "charge": Change(
        0.0, 1.0, "left in a battery that sags",
        lambda p, x: replace(p, effects=(*p.effects, BatterySag(x))),
        lambda x: f"battery at {_exact(100 * x)} %",
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
        values: dict[str, float] = {}
        for part in text.split(","):
            key, _, value = part.partition("=")
            if key.strip() in values:
                raise UserError(f"plant '{text}': {key.strip()} is given twice; give it once, or --plant twice")
            try:
                values[key.strip()] = float(value)
            except ValueError as error:
                example = "it must be written like mass=1.1,wind=2"
                raise UserError(f"plant '{text}': '{value.strip()}' is not a number; {example}") from error
        return cls(values)


def parse_changes(texts: Sequence[str]) -> list[PlantChange]:
    """One plant for each text, no two alike: tables and folders go by their names.

    Raises
    ------
    UserError
        Where a text cannot be read, or one is there already.
    """
    changes = [PlantChange.parse(text) for text in texts]
    refuse_repeated(changes, texts)
    return changes


def refuse_repeated(changes: Sequence[PlantChange], texts: Sequence[str] = ()) -> None:
    """A UserError where two are one plant, in the words in which it was asked for where these are known."""
    names = [change.name for change in changes]
    for k, name in enumerate(names):
        if name in names[:k]:
            asked = texts[k] if texts else name
            raise UserError(f"plant '{asked}' is given twice ({name}): leave one out")


ALONE = ("thrust=0.85", "mass=1.1", "com=0.05", "wind=2", "delay=0.03", "lag=0.05", "dropout=0.1")
STANDARD_ROBUSTNESS = tuple(PlantChange.parse(text) for text in (*ALONE, ",".join(ALONE)))
"""Each error alone, then all of them together."""
