"""The worlds that a campaign can fly in, by name."""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from typing import Protocol

import numpy as np

from neural_lander.control.tracking import DEFAULT_NATURAL_FREQUENCY
from neural_lander.errors import FOREIGN, NeuralLanderWarning, UserError
from sim.controllers import build_controller, controller_named
from sim.landing import fly_once
from sim.plant import Copy, Plant
from sim.rigid_body import TIME_STEP
from sim.scenarios import WARM_UP, Scenario

ASKED = 8  # flights of a part that are asked why they fail, each at the cost of a flight or more; guess
TRIED = 3  # steps after which what is not written for arrays has failed
Scores = dict[str, float]


@dataclass(frozen=True)
class Part:
    """Flights of one controller on one airframe."""

    copy: Copy
    k: int
    """Which airframe."""
    controller: str
    indices: tuple[int, ...]
    seeds: tuple[int, ...]
    moment_trim: np.ndarray | str
    """(3,) N m, body; or why there is none."""
    tuned: Mapping[str, float] | None = None
    """Gains of its own; None for those that all have."""


class FlightWorld(Protocol):
    """Flies parts of a campaign."""

    exact: bool
    """Whether a flight has the same scores, to the last bit, whatever else is flown in the same call."""

    @property
    def shard(self) -> int:
        """Flights that are best flown in one call."""
        ...

    def require(self) -> None:
        """Raise UserError where this machine lacks what it flies on."""
        ...

    def check(self, controller: str, scenario: Scenario, copy: Copy) -> None:
        """Raise UserError where this world cannot fly it."""
        ...

    def fly(
        self, parts: Sequence[Part], scenario: Scenario, omega_n: float, resting_share: float
    ) -> list[list[Scores | str]]:
        """Scores of every seed of every part, or in words why that flight has none."""
        ...


class PyBullet:
    """One vehicle after the other, with contact and shapes; any effect."""

    shard = 10  # flights: some four seconds of a core between two savings
    exact = True

    def require(self) -> None:
        """See :class:`FlightWorld`: it says so itself when it is built."""

    def check(self, controller: str, scenario: Scenario, copy: Copy) -> None:
        """See :class:`FlightWorld`: it flies everything."""

    def fly(
        self, parts: Sequence[Part], scenario: Scenario, omega_n: float, resting_share: float
    ) -> list[list[Scores | str]]:
        """See :class:`FlightWorld`."""
        return [[_fly_alone(part, seed, scenario, omega_n, resting_share) for seed in part.seeds] for part in parts]


def _fly_alone(part: Part, seed: int, scenario: Scenario, omega_n: float, resting_share: float) -> Scores | str:
    plant, moment_trim = part.copy.plant, part.moment_trim
    assert not isinstance(moment_trim, str)
    controller = build_controller(controller_named(part.controller), plant, part.copy.learned, omega_n, part.tuned)
    try:
        with plant.build() as world:  # a new one for each: Bullet's contacts remember the flight before
            return fly_once(world, plant, controller, scenario, seed, moment_trim, resting_share=resting_share)[-1]
    except (UserError, ArithmeticError) as error:
        return str(error)
    except FOREIGN as error:
        if ":" not in part.controller:  # ours: a defect of ours
            raise
        return f"controller '{part.controller}' failed with {type(error).__name__}: {error}"


class _FailsAlone(UserError):
    """It fails in any world."""


@dataclass(frozen=True)
class Batched:
    """Thousands of vehicles at once in torch; an effect that does not take arrays is asked for each in turn."""

    single: bool = False
    """Whether it computes in float32 instead of float64: medians are the same (tests/test_batch_statistics.py)."""
    device: str = "cpu"
    shard: int = 3500  # a step costs 12 ms of a core for 1000 flights, and for 3000; lost ones cost a minute
    exact = False  # vector instructions and what is left over for scalar ones differ in the last bit

    def require(self) -> None:
        """See :class:`FlightWorld`."""
        if self.device == "cpu":
            return
        import torch

        if not torch.cuda.is_available():
            raise UserError(
                f"torch {torch.__version__} finds no CUDA device here: take --world batched, or install a torch that "
                "was built for CUDA on a machine that has one"
            )

    def check(self, controller: str, scenario: Scenario, copy: Copy) -> None:
        """See :class:`FlightWorld`: a controller may be written for one vehicle alone.

        One that fails alone as well is told so in its own words: the other world is no remedy.
        """
        from sim.batch.flight import Flights, Task

        brief = replace(scenario, duration=TRIED * TIME_STEP - WARM_UP)
        try:
            Flights([Task(copy, controller, (0, 1), np.zeros(3))], brief, DEFAULT_NATURAL_FREQUENCY, 1.0, None).fly()
        except FOREIGN as error:
            part = Part(copy, 0, controller, (0,), (0,), np.zeros(3))
            if find_spec("pybullet") is not None:
                unscored = replace(brief, score=lambda truth, trajectory: {})
                alone = _fly_alone(part, 0, unscored, DEFAULT_NATURAL_FREQUENCY, 1.0)
                if isinstance(alone, str):
                    raise _FailsAlone(alone) from error
            reason = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
            raise UserError(
                f"the batched world cannot fly '{controller}' in this plant: {reason}; a law of one vehicle, with "
                "arrays of 3 where a batch has tensors of N x 3, takes --world pybullet"
            ) from error

    def fly(
        self, parts: Sequence[Part], scenario: Scenario, omega_n: float, resting_share: float
    ) -> list[list[Scores | str]]:
        """See :class:`FlightWorld`."""
        self.require()
        return self._fly(parts, scenario, omega_n, resting_share, defaultdict(_Tried))

    def _fly(
        self,
        parts: Sequence[Part],
        scenario: Scenario,
        omega_n: float,
        resting_share: float,
        tried: dict[tuple[str, int], _Tried],
    ) -> list[list[Scores | str]]:
        """``tried`` is kept for each controller on each airframe: where one always fails, the others may fly."""
        known = [tried[part.controller, part.k] for part in parts]
        if all(one.in_vain for one in known):
            return [
                [f"not flown, since {one.like_the_others}"] * len(part.seeds)
                for one, part in zip(known, parts, strict=True)
            ]
        try:
            flown = _in_batch(parts, scenario, omega_n, resting_share, self)
        except UserError:  # of one flight, but of which?
            if len(parts) == len(parts[0].seeds) == 1:
                return [[known[0].why(parts[0], parts[0].seeds[0], scenario, omega_n, resting_share)]]
            first, second = (self._fly(half, scenario, omega_n, resting_share, tried) for half in _halves(parts))
            return [*first, *second] if len(parts) > 1 else [[*first[0], *second[0]]]
        for one in known:
            one.some_fly = True
        return [
            [
                one.why(part, seed, scenario, omega_n, resting_share) if "failed" in scores else scores
                for seed, scores in zip(part.seeds, rows, strict=True)
            ]
            for one, part, rows in zip(known, parts, flown, strict=True)
        ]


@dataclass
class _Tried:
    """What came of a part's flights so far: where an effect fails in all, it would take hours to ask each why."""

    failed: list[str] = field(default_factory=list)
    """Reasons of those that were asked."""
    some_fly: bool = False
    """Whether any have come through in a batch."""

    @property
    def in_vain(self) -> bool:
        """Whether enough have failed, each alone, and none has come through."""
        return len(self.failed) >= ASKED and not self.some_fly

    @property
    def like_the_others(self) -> str:
        """What is said of the rest."""
        return f"{ASKED} of these before it failed, the last by: {self.failed[-1]}"

    def why(self, part: Part, seed: int, scenario: Scenario, omega_n: float, resting_share: float) -> str:
        """Reason for a failure that a batch cannot tell: the other world names the effect."""
        if len(self.failed) >= ASKED:
            return f"it fails in the batched world; {self.like_the_others}"
        alone = _fly_alone(part, seed, scenario, omega_n, resting_share)
        self.failed.append(alone if isinstance(alone, str) else "it fails in the batched world, though not in PyBullet")
        return self.failed[-1]


def _in_batch(
    parts: Sequence[Part], scenario: Scenario, omega_n: float, resting_share: float, world: Batched
) -> list[list[Scores]]:
    import torch

    from sim.batch.flight import Task, fly_batch

    like = torch.zeros((), dtype=torch.float32 if world.single else torch.float64, device=world.device)
    tasks = [Task(p.copy, p.controller, p.seeds, np.asarray(p.moment_trim), p.tuned) for p in parts]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NeuralLanderWarning)  # what it says of failures is told in their rows
            return fly_batch(tasks, scenario.name, omega_n=omega_n, resting_share=resting_share, like=like)
    except FOREIGN as error:
        raise UserError(f"{type(error).__name__}: {error}") from error


def _halves(parts: Sequence[Part]) -> tuple[list[Part], list[Part]]:
    """About half of the parts each, or of the flights where there is one part alone."""
    if len(parts) > 1:
        return list(parts[: len(parts) // 2]), list(parts[len(parts) // 2 :])
    (part,), middle = parts, len(parts[0].seeds) // 2
    ends = (slice(None, middle), slice(middle, None))
    first, second = (replace(part, indices=part.indices[e], seeds=part.seeds[e]) for e in ends)
    return [first], [second]


WORLDS: Mapping[str, FlightWorld] = {
    "pybullet": PyBullet(),
    "batched": Batched(),
    "batched:single": Batched(single=True),
    "batched:cuda": Batched(device="cuda", shard=20_000),  # a landing's record takes 160 kB; guess, not tried on a GPU
    "batched:single:cuda": Batched(single=True, device="cuda", shard=20_000),
}


def world_named(name: str) -> FlightWorld:
    """World by name, or an error that lists the known ones."""
    if name not in WORLDS:
        raise UserError(f"world '{name}' is not known; use one of: {', '.join(WORLDS)}")
    return WORLDS[name]


def is_batched(name: str) -> bool:
    """Whether the world of this name flies many at once, in whichever precision and wherever."""
    return isinstance(WORLDS.get(name), Batched)


def fitting_world(
    controllers: Sequence[str], scenarios: Sequence[Scenario], copy: Copy, batched: str = "batched"
) -> str:
    """That batched world where it can fly all of that and gains by it, else PyBullet, and a warning says why."""
    if _one_by_one(copy.plant):
        return _one_at_a_time("an effect is not written for arrays of vehicles")
    try:
        for scenario in scenarios:
            for name in controllers:
                WORLDS[batched].check(name, scenario, replace(copy, plant=scenario.over(copy.plant)))
    except _FailsAlone:  # as its flights will say
        return "pybullet"
    except UserError as error:
        return _one_at_a_time(str(error))
    return batched


def _one_at_a_time(reason: str) -> str:
    warnings.warn(f"flown in PyBullet, one flight after the other: {reason}", NeuralLanderWarning, stacklevel=3)
    return "pybullet"


def _one_by_one(plant: Plant) -> bool:
    """Whether a batch would have to ask an effect for each of its vehicles in turn."""
    from sim.batch.effects import OneByOne, for_batch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NeuralLanderWarning)
        ready = [for_batch(e, plant.vehicle, plant.terrain.at(0.0), TIME_STEP) for e in plant.effects]
    return any(isinstance(effect, OneByOne) for effect in ready)
