"""What the controller knows and what it is asked to follow."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from neural_lander.arrays import Array
from neural_lander.components import Rows, Scalar, heading, quaternion_rows, split
from neural_lander.rotation import quaternion_to_matrix


class Oriented:
    """What follows from an attitude, each computed once."""

    attitude: Array  # (..., 4)
    """Unit quaternion (w, x, y, z), body to world."""

    @cached_property
    def rows(self) -> Rows:
        """Rotation matrix body to world as components: floats for one vehicle, arrays for a batch."""
        return quaternion_rows(split(self.attitude))

    @cached_property
    def heading(self) -> tuple[Scalar, Scalar]:
        """Cosine and sine of the yaw."""
        return heading(self.rows)


@dataclass(frozen=True, eq=False, init=False)
class State(Oriented):
    """Rigid-body state with any leading batch axes. World frame right-handed, z up; SI."""

    position: Array  # (..., 3) m
    """Centre of mass, world."""
    velocity: Array  # (..., 3) m/s
    """Of the centre of mass, world."""
    attitude: Array  # (..., 4)
    """Unit quaternion (w, x, y, z), body to world."""
    body_rates: Array  # (..., 3) rad/s
    """Angular velocity omega, body."""
    height: Array  # (...) m
    """Lowest point of the landing gear above the terrain under it."""
    contact: bool | Array = False  # (...)
    """Whether the gear is felt to touch."""
    battery: float | Array | None = None  # (...) V
    """At the terminals; None where it is not measured."""
    specific_force: Array | None = None  # (..., 3) m/s^2
    """Acceleration minus gravity, world: the accelerometer, turned by the attitude; None where it is not measured."""

    age: float | Array = 0.0  # (...) s
    """How old the measurement is that this is known from, where that is told."""

    def __init__(
        self,
        position: Array,
        velocity: Array,
        attitude: Array,
        body_rates: Array,
        height: Array,
        contact: bool | Array = False,
        battery: float | Array | None = None,
        specific_force: Array | None = None,
        age: float | Array = 0.0,
        *,
        rows: Rows | None = None,
    ) -> None:
        """``rows`` are those of the attitude, where they are known already: it spares computing them again."""
        vars(self).update(  # a frozen dataclass' own way takes twice as long, and a step makes two states or more
            position=position, velocity=velocity, attitude=attitude, body_rates=body_rates, height=height,
            contact=contact, battery=battery, specific_force=specific_force, age=age,
        )  # fmt: skip
        if rows is not None:
            vars(self)["rows"] = rows

    def given(self) -> dict[str, Any]:
        """The fields by name, without what was computed of them."""
        return {name: vars(self)[name] for name in self.__dataclass_fields__}

    def with_velocity(self, velocity: Array) -> State:
        """A copy that moves otherwise, ``(..., 3)`` m/s."""
        return State(**{**self.given(), "velocity": velocity}, rows=self.rows)

    @cached_property
    def R(self) -> Array:
        """Rotation matrix body to world, (..., 3, 3); computed once."""
        return quaternion_to_matrix(self.attitude)


@dataclass(frozen=True, eq=False, init=False)
class Reference:
    """Desired trajectory at one instant. World frame; SI."""

    position: Array  # (..., 3) m
    """p_d, of the centre of mass."""
    velocity: Array  # (..., 3) m/s
    """Time derivative of p_d."""
    acceleration: Array  # (..., 3) m/s^2
    """Second time derivative of p_d."""
    yaw: float = 0.0  # rad
    """Desired heading about world z."""
    jerk: Array | None = None  # (..., 3) m/s^3
    """Third time derivative of p_d; None where it is zero or not known."""

    def __init__(
        self, position: Array, velocity: Array, acceleration: Array, yaw: float = 0.0, jerk: Array | None = None
    ) -> None:
        vars(self).update(position=position, velocity=velocity, acceleration=acceleration, yaw=yaw, jerk=jerk)
