"""What is flown: a vehicle that is not quite what the controller believes, in air that the model misses."""

from __future__ import annotations

import contextlib
import copy
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from neural_lander.control.learned import Learned
from neural_lander.errors import FOREIGN, NeuralLanderWarning, UserError
from neural_lander.extension import load_named
from neural_lander.vehicle import Vehicle, load_vehicle
from sim.aerodynamics import AerodynamicEffect, GroundEffect, NearGroundTurbulence, RotorDrag
from sim.aerodynamics.effect import RandomEffect, name_of, ours, reset_random
from sim.airframe import Airframe
from sim.oracle import Oracle, level_state
from sim.rigid_body import TIME_STEP
from sim.sensors import SensorNoise
from sim.terrain import Flat, Terrain, level_pad
from sim.world import PyBulletWorld

LARGEST_SCALE = 10.0  # of what is true over what is believed: beyond it is a wrong unit, not a wrong vehicle


def default_effects() -> tuple[AerodynamicEffect, ...]:
    """Ground effect with fountain, rotor drag, turbulence near the ground."""
    return (GroundEffect(), RotorDrag(), NearGroundTurbulence())


@dataclass(frozen=True)
class Plant:
    """One airframe and its surroundings, from which a world is built as often as needed."""

    vehicle: Vehicle
    """What controller and learner believe."""
    effects: tuple[AerodynamicEffect, ...] = field(default_factory=default_effects)
    airframe: Airframe = field(default_factory=Airframe.nominal)
    noise: SensorNoise = field(default_factory=SensorNoise)
    terrain: Terrain = field(default_factory=Flat)
    mass_scale: float = 1.0
    """True mass over believed mass."""
    thrust_scale: float = 1.0
    """True over believed thrust at the same rotor speed."""
    motor_time_constant: float | None = None  # s
    """The true one; None where it is as believed."""

    def __post_init__(self) -> None:
        for name in ("mass_scale", "thrust_scale"):
            if not 0.0 < getattr(self, name) <= LARGEST_SCALE:
                raise UserError(f"{name} = {getattr(self, name)!r} must lie in (0, {LARGEST_SCALE:g}]; 1 is as told")

    @property
    def true_vehicle(self) -> Vehicle:
        """The vehicle that flies."""
        believed, lag = self.vehicle, self.motor_time_constant
        if self.mass_scale == self.thrust_scale == 1.0 and lag is None:
            return believed
        return replace(  # without the checks of with_: a true vehicle may be too heavy to hover
            believed,
            text="",
            mass=believed.mass * self.mass_scale,
            thrust_coefficient=believed.thrust_coefficient * self.thrust_scale,
            motor_time_constant=believed.motor_time_constant if lag is None else lag,
        )

    def build(self) -> PyBulletWorld:
        """A world of this plant."""
        return PyBulletWorld(self.true_vehicle, self._own_effects(), self.airframe, self.terrain)

    def at_start(self) -> Plant:
        """The same plant with effects as a flight begins with them, whatever they went through before."""
        effects = self._own_effects()
        with contextlib.suppress(UserError):  # told where it is flown
            reset_random(effects, 0, TIME_STEP)
        return replace(self, effects=effects)

    def oracle(self) -> Oracle:
        """Residual model that knows everything about this plant but its turbulence."""
        return Oracle(self.vehicle, self.true_vehicle, self._own_effects(), self.airframe, self.terrain)

    def _own_effects(self) -> tuple[AerodynamicEffect, ...]:
        """Copies: what they keep while flying is one flight's alone."""
        try:
            return copy.deepcopy(self.effects)
        except FOREIGN as error:
            names = ", ".join(name_of(effect) for effect in self.effects)
            raise UserError(
                f"effects {names}: every flight has a copy of its own, and one of them cannot be copied "
                f"({type(error).__name__}: {error}); leave out what cannot, or give it a __deepcopy__"
            ) from error

    def with_airframe(self, seed: int) -> Plant:
        """The same plant with the asymmetries drawn from ``seed``."""
        return replace(self, airframe=Airframe.drawn(self.vehicle, seed))

    @property
    def pad(self) -> np.ndarray:
        """(3,) m: centre of mass of the level vehicle that touches the ground around the origin, on its mean."""
        return level_pad(self.vehicle, self.terrain.mean())


@dataclass(frozen=True)
class Copy:
    """One airframe and what was learned on it."""

    plant: Plant
    learned: Learned | None


def load_effects(names: Sequence[str]) -> tuple[AerodynamicEffect, ...]:
    """Effects named ``module:Class`` (called without arguments) or ``module:function``, the working folder included.

    Raises
    ------
    UserError
        If a name is malformed, cannot be imported, or is nothing that can be called.
    """
    if not names:
        return default_effects()
    return tuple(_load_effect(name) for name in names)


def _load_effect(name: str) -> AerodynamicEffect:
    found = load_named(name, "effect", "sim.aerodynamics:GroundEffect")
    try:
        effect = found() if isinstance(found, type) else found
    except FOREIGN as error:
        raise UserError(
            f"effect '{name}' must be constructible without arguments: {type(error).__name__}: {error}"
        ) from error
    if not callable(effect):
        raise UserError(
            f"effect '{name}' must be callable as effect(state, rotor_speeds, vehicle, terrain) -> (force, moment)"
        )
    if not isinstance(effect, RandomEffect) and not ours(effect) and _answers_differ(effect, name):
        warnings.warn(
            f"effect '{name}' answers the same question differently the second time: it has chance or a memory, and no "
            "reset(seed, dt) that a flight could begin with, so that its numbers depend on what was flown before",
            NeuralLanderWarning,
            stacklevel=4,
        )
    return effect


def _answers_differ(effect: AerodynamicEffect, name: str) -> bool:
    """Whether a state asked for again, after another one, gives another answer; what fails is named in flight.

    Raises
    ------
    UserError
        Where an answer is no pair.
    """
    vehicle, asked = load_vehicle("intel-aero"), copy.deepcopy(effect)
    speeds = np.full(4, vehicle.hover_speed)

    def answer(height: float, speed: float) -> list[np.ndarray]:
        state = replace(level_state(vehicle, height), velocity=np.full(3, speed))
        parts = asked(state, speeds.copy(), vehicle, Flat())
        if not isinstance(parts, (tuple, list)) or len(parts) != 2:
            raise UserError(
                f"effect '{name}' returned {parts!r}: it must return (force, moment), arrays of three numbers each, in "
                "N along the world's axes and N m along the body's"
            )
        return [np.array(part) for part in parts]

    try:
        first, _, again = (answer(*where) for where in ((0.05, -0.1), (0.3, 0.2), (0.05, -0.1)))
        return not all(np.array_equal(a, b, equal_nan=True) for a, b in zip(first, again, strict=True))
    except UserError:
        raise
    except FOREIGN:
        return False
