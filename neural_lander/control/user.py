"""A user's own controller, named as ``module:Class``: a force estimate, a whole law, or a :class:`Controller`.

What the loop keeps is lent to it, not given: code that writes into a state, a reference or a command is refused by
name. What it keeps itself is copied. Our own controllers need no such care, and do not pay for it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from neural_lander.arrays import Array
from neural_lander.control.certified import why_not_certified
from neural_lander.control.controller import Controller, Wanted
from neural_lander.control.kinds import EXAMPLE
from neural_lander.control.tracking import TrackingGains
from neural_lander.errors import FOREIGN, UserError
from neural_lander.extension import load_named
from neural_lander.state import Reference, State
from neural_lander.vehicle import Vehicle


def user_controller(name: str, vehicle: Vehicle, gains: TrackingGains) -> Controller:
    """Construct what ``name`` says from the vehicle alone; a force estimate flies in the law with these gains.

    Raises
    ------
    UserError
        If it cannot be found or constructed, or is none of the three.
    """
    try:
        found = load_named(name, "controller", EXAMPLE)(vehicle)
    except UserError:
        raise
    except FOREIGN as error:
        raise UserError(
            f"controller '{name}' must be constructible from the vehicle alone: {type(error).__name__}: {error}"
        ) from error
    if isinstance(found, Controller):
        return _watched(name, found)
    if all(hasattr(found, method) for method in ("reset", "observe", "update", "d_hat")):
        words = _uncertified(found)
        return Controller(vehicle, gains=gains, estimate=UserEstimate(name, found), uncertified=words)
    if callable(found) and hasattr(found, "reset"):
        return UserController(name, vehicle, found)
    raise UserError(
        f"controller '{name}' must have reset(moment_trim) and be callable as controller(t, state, reference) -> rotor "
        "speeds, or be a force estimate with reset, observe, update and d_hat (neural_lander.control.estimate)"
    )


def _uncertified(own: Any) -> str:
    """Why what a user wrote flies without a certificate, as its attribute ``uncertified`` says."""
    return str(getattr(own, "uncertified", ""))


class UserEstimate:
    """A user's force estimate, whose faults are named; see :class:`~neural_lander.control.estimate.ForceEstimate`."""

    def __init__(self, name: str, own: Any) -> None:
        self.name, self._own = name, own
        self.d_hat: Array = np.zeros(3)

    def reset(self, d_hat: Array | None = None) -> None:
        """See :class:`~neural_lander.control.estimate.ForceEstimate`."""
        with blamed(self.name, "reset"):
            self._own.reset(_copied(d_hat))
        self._take("reset", d_hat)

    def observe(self, t: float, state: State, rotor_thrust: Array, f_a_hat: Array) -> None:
        """See :class:`~neural_lander.control.estimate.ForceEstimate`."""
        with lent(self.name, "observe", state, rotor_thrust, f_a_hat) as (seen, thrust, force):
            self._own.observe(t, seen, thrust, force)
        self._take("observe", state.velocity)

    def update(self, t: float, s: Array, hold: bool | Array) -> None:
        """See :class:`~neural_lander.control.estimate.ForceEstimate`."""
        with lent(self.name, "update", s, hold) as (error, held):
            self._own.update(t, error, held)
        self._take("update", s)

    def _take(self, method: str, like: Array | None) -> None:
        with blamed(self.name, "d_hat"):
            self.d_hat = _copied(self._own.d_hat)
        shape = getattr(self.d_hat, "shape", None)
        if shape != (3,) and (shape is None or like is None or shape != like.shape):
            found = type(self.d_hat).__name__ if shape is None else f"of shape {tuple(shape)}"
            raise UserError(
                f"controller '{self.name}': d_hat is {found} after {method}: it must be an array of shape (3,), in N"
            )
        if shape == (3,) and not math.isfinite(sum(self.d_hat.tolist())):
            raise UserError(f"controller '{self.name}': d_hat = {self.d_hat.tolist()} N after {method}: not finite")


@contextmanager
def blamed(name: str, method: str = "") -> Iterator[None]:
    """Name the user's controller, and what of it was called, in whatever is raised meanwhile."""
    try:
        yield
    except UserError:
        raise
    except FOREIGN as error:
        where = f" in {method}" if method else ""
        remedy = "; what a controller is given is not its own to write to" if "read-only" in str(error) else ""
        raise UserError(f"controller '{name}' failed{where} with {type(error).__name__}: {error}{remedy}") from error


@contextmanager
def lent(name: str, method: str, *given: Any) -> Iterator[list[Any]]:
    """What a user's controller may read and not write: states and references, arrays; faults are named.

    NumPy refuses to write into such a view. torch has none, but counts how often a tensor was written to.
    """
    before = _writes(given)
    with blamed(name, method):
        yield [_read_only(one) for one in given]
    if _writes(given) != before:
        where = f" in {method}" if method else ""
        raise UserError(f"controller '{name}' writes{where} into what it is given: that is not its own, take a copy")


def _read_only(given: Any) -> Any:
    if isinstance(given, np.ndarray):
        view = given.view()
        view.flags.writeable = False
        return view
    if isinstance(given, State | Reference):
        twin = object.__new__(type(given))
        vars(twin).update({key: _read_only(value) for key, value in vars(given).items()})
        return twin
    return given


def _writes(given: Any) -> list[int]:
    """How often each tensor has been written to; nothing for NumPy's arrays."""
    held = [vars(one).values() if isinstance(one, State | Reference) else (one,) for one in given]
    return [value._version for values in held for value in values if hasattr(value, "_version")]


def _copied(values: Any) -> Any:
    """An array of one's own: whoever made it may write into it later."""
    return values.clone() if hasattr(values, "clone") else values.copy() if isinstance(values, np.ndarray) else values


def _watched(name: str, own: Controller) -> Controller:
    """The same controller, which is lent what it is called with."""
    kind = type(own)

    def call(self: Controller, t: float, state: State, reference: Reference) -> Array:
        with lent(name, "", state, reference) as (seen, wanted):
            return kind.__call__(self, t, seen, wanted)

    own.__class__ = type(kind.__name__, (kind,), {"__call__": call, "__module__": kind.__module__})
    return own


class UserController(Controller):
    """A user's whole law: ``reset(moment_trim)`` and ``(t, state, reference) -> rotor speeds (4,) in rad/s``.

    The moment trim ``(3,)`` in N m, body, is what every controller here subtracts; a law may leave it. What it does not
    tell (f_a_hat, d_hat) is written as zero.
    """

    def __init__(self, name: str, vehicle: Vehicle, law: Any) -> None:
        self.name, self._law = name, law
        super().__init__(vehicle, gains=TrackingGains.critically_damped(vehicle, Gamma=0.0))
        self.uncertified = _uncertified(law)
        missing = why_not_certified(law, vehicle)
        if missing and not self.uncertified:
            raise UserError(
                f"controller '{name}': the network in it must not fly: {missing}; say in its attribute uncertified = "
                "'...' why it flies all the same, which goes into every log"
            )

    def reset(self, moment_trim: Array | None = None) -> None:
        """See :class:`~neural_lander.control.controller.Controller`."""
        super().reset(moment_trim)
        with blamed(self.name, "reset"):
            self._law.reset(np.zeros(3) if moment_trim is None else _copied(moment_trim))

    def __call__(self, t: float, state: State, reference: Reference) -> Array:
        """See :class:`~neural_lander.control.controller.Controller`.

        Raises
        ------
        UserError
            If the law fails, or returns something other than four speeds that rotors can have.
        """
        rows = state.rows
        with lent(self.name, "", state, reference) as (seen, wanted):
            speeds = np.asarray(self._law(t, seen, wanted), dtype=np.float64)
        if speeds.shape != (4,) or not np.all(np.isfinite(speeds)) or np.any(speeds < 0):
            raise UserError(
                f"controller '{self.name}' returned {speeds.tolist()} at t = {t:.3f} s: it must be four speeds in "
                "rad/s, finite and not negative"
            )
        speeds = np.minimum(speeds, self.vehicle.rotor_speed_max)
        self.rotor_thrust = self.flown_thrust = self.vehicle.thrust_coefficient * speeds * speeds
        thrust = np.float64(self.rotor_thrust.sum())
        self.wanted = Wanted(thrust, rows, np.zeros(3), np.zeros(3), self.rotor_thrust)
        return speeds
