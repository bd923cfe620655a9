"""Touchdown: contact that lasts and carries weight. One detector and one motor cut for every controller.

A vehicle that carries its whole weight on its rotors hops on the floor for as long as it holds its position there, so
that contact never lasts. Autopilots take thrust away as soon as they feel the ground; so does this. With contact the
share of the thrust that is left falls towards ``resting_share``, and further where the ground is seen to carry; without
contact it recovers, and once contact has lasted the motors stop. It acts on contact, never on the reference: a bump
costs a short dip of the thrust, and a vehicle that floats gains nothing.

A contact flag lies: it drops out on rough ground, and a shock or a broken wire raises it in the air, where stopping the
motors is the end. Two things are asked besides. Gaps shorter than ``GAP`` do not break a contact. And what is felt must
carry: with J the velocity per unit of time that something else than the rotors gives to the vehicle,

    J' = v_z' + g (1 - T / T_0) - J / tau,

T the thrust that rotors with their lag still give and T_0 what holds the vehicle in the air, J / (g tau) is the share
of the weight that the ground carries: 0.3 and more for a vehicle that stands there at 0.7 of its thrust, nothing for
one that falls. In the air what J says is taken for an error of T_0:

    T_0' = -T_0 J / (4 g tau^2),

critically damped with J. A gust is in J, too: under a flag that lies it deepens a dip. Contact that carries nothing is
not believed for a while. A vehicle on its side in contact stops its motors at once.

The law is written once, over floats for one vehicle and arrays for a batch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from neural_lander.arrays import Array
from neural_lander.components import Scalar, choose, finite, logical_not, maximum, minimum
from neural_lander.lag import share_after
from neural_lander.vehicle import GRAVITY

CONTACT_TIME = 0.2  # s, definition of touchdown in every table
RESTING_SHARE = 0.7  # of the thrust: with a third of the weight on the gear no controller hops, guess
LAID_SHARE = 0.4  # of the thrust where the ground has begun to carry; guess, 0.3 is no better
"""What ground effect carries rests on no gear, and slow motors take long to let go: with 0.7 alone a 32 g vehicle over
an effect of a third of its weight slid on for 0.8 s. In the air, where a flag lies, nothing carries: dips stay small.
"""
CARRYING = 0.05  # of the weight: 15 cm/s that the ground has taken off the descent; guess
"""With 6 cm/s a gust while a flag lies is taken for it: a vehicle over a metre lower, though it did not land."""
LAG_ERROR = 0.5  # of the rotors' lag that it may be longer than told without a fall being taken for ground; guess
"""Rotors four times as slow as told stop in the air where a flag is stuck for good."""
SPOOL_TIME = 0.02  # s of contact to the resting share
"""About the time constant of a motor. With 0.05 s a landing at 0.3 m/s hopped once by 0.2 mm and its contact began
anew: on the default plants touchdown came 0.08 s after the reference's arrival instead of 0.01 s, in every law."""
SPIKE_TIME = 0.1  # s, the same for a contact that the sample before did not feel: a spike costs little; guess
RECOVERY_TIME = 0.2  # s without contact from the resting share to all of the thrust, guess
RAISE_TIME = 0.05  # s without contact from the laid share to the resting share, guess
GAP = 0.025  # s without contact that do not end it: six steps of 240 Hz, in which one falls 3 mm; guess
SUPPORT = 0.12  # of the weight: half of what a vehicle at rest on its gear lays down within CONTACT_TIME, guess
SUPPORT_TIME = 0.3  # s, tau: as long as it takes to tell standing from falling, guess
STANDING = SUPPORT * GRAVITY * SUPPORT_TIME  # m/s, the J from which on a vehicle stands
PATIENCE = 0.2  # s beyond the contact time within which contact must have carried SUPPORT, guess
DOUBT_TIME = 1.0  # s for which contact is not believed after it carried nothing, guess
TIP_OVER = math.radians(60.0)  # of tilt, beyond which a vehicle in contact does not come up again
TIPPED = math.cos(TIP_OVER)
TIP_TIME = 0.05  # s of contact in that attitude, guess
TINY = 1e-9  # N, in place of no thrust where it divides


class Touch(NamedTuple):
    """What the detector remembers. Floats and bools for one vehicle, arrays for a batch."""

    since: Scalar
    """Start of the present contact in s, NaN in the air; once landed, of the contact that landed it."""
    felt: Scalar
    """When contact was felt last, s."""
    share: Scalar
    """Share of the thrust that the rotors may keep, 0..1."""
    doubt: Scalar
    """Until when contact is not believed, s."""
    air_thrust: Scalar
    """T_0, N; NaN or 0 before the first one."""
    given: Scalar
    """T times the cosine of the tilt, N; NaN before the first one."""
    q: Scalar
    """J - v_z of the module's equation, m/s; NaN before the first one."""
    landed: Scalar
    """Whether the motors are off for good."""


@dataclass(frozen=True)
class TouchdownLaw:
    """One step of the detector."""

    contact_time: float = CONTACT_TIME  # s
    resting_share: float = RESTING_SHARE
    """Share of the thrust kept in contact; 1 leaves the controller alone until contact has lasted."""
    rotor_lag: float = 0.0
    """Time constant in s with which rotors follow what is asked of them."""

    @property
    def laid_share(self) -> float:
        """The share where the ground is seen to carry."""
        return self.resting_share if self.resting_share == 1.0 else min(self.resting_share, LAID_SHARE)

    @property
    def carrying(self) -> float:
        """J in m/s from which on the ground has begun to carry: more than a fall by slower rotors looks like."""
        return GRAVITY * (CARRYING * SUPPORT_TIME + LAG_ERROR * (1 - self.resting_share) * self.rotor_lag)

    def start(self, like: Scalar = 0.0) -> Touch:
        """In the air; ``like`` gives library and shape of a batch."""
        zero = 0.0 * like
        none = zero + math.nan
        return Touch(none, zero - 1.0, zero + 1.0, zero - 1e9, none, none, none, zero > 0)

    def __call__(
        self,
        memory: Touch,
        t: float,
        dt: float,
        contact: bool | Array,
        thrust: Scalar | None = None,
        climb: Scalar = 0.0,
        upright: Scalar = 1.0,
    ) -> Touch:
        """The memory at time t in s, dt after the last.

        Parameters
        ----------
        contact
            Whether the gear is felt to touch.
        thrust
            Collective thrust in N that the controller asks for, before any of it is taken away; None leaves out the
            question whether the ground carries.
        climb
            Vertical velocity in m/s.
        upright
            Cosine of the tilt.
        """
        since, felt, share, doubt, air_thrust, given, q, landed = memory
        believed = contact & (doubt < t)
        again = t - felt < 1.5 * dt  # it was felt at the sample before, too
        felt = choose(believed, 0.0 * felt + t, felt)
        touching = believed | ((since == since) & (t - felt < GAP))  # not NaN
        begun = choose(touching, choose(since == since, since, 0.0 * felt + t), 0.0 * felt + math.nan)
        since = choose(landed, since, begun)  # a landed vehicle may bounce by micrometres as its rotors stop
        held = t - since
        taken, up = (1 - self.resting_share) * dt, (1 - self.resting_share) * dt / RECOVERY_TIME
        down = choose(again, taken / SPOOL_TIME, taken / SPIKE_TIME + 0.0 * share)
        rests = maximum(share - down, self.resting_share)
        lies = maximum(share - (1 - self.laid_share) * dt / SPOOL_TIME, self.laid_share)
        carries = again & (q + climb >= self.carrying)
        raised = minimum(share + (self.resting_share - self.laid_share) * dt / RAISE_TIME, self.resting_share)
        back = choose(share < self.resting_share, raised, minimum(share + up, 1.0))
        share = choose(believed, choose(carries, lies, rests), back)
        ready = believed & (held >= self.contact_time - 1e-9)
        if thrust is not None:
            asked = share * thrust * upright
            air_thrust, given, q, J = self._weigh(memory, touching, thrust, asked, climb, dt)
            stands, falls = J >= STANDING, STANDING > J  # NaN is neither
            hollow = touching & (held > self.contact_time + PATIENCE) & falls
            doubt = choose(hollow, 0.0 * doubt + t + DOUBT_TIME, doubt)
            ready = ready & stands
        tipped = (held >= TIP_TIME) & (upright < TIPPED)
        landed = landed | ready | tipped
        return Touch(since, felt, choose(landed, 0.0 * share, share), doubt, air_thrust, given, q, landed)

    def _weigh(
        self, memory: Touch, touching: bool | Array, thrust: Scalar, asked: Scalar, climb: Scalar, dt: float
    ) -> tuple[Scalar, Scalar, Scalar, Scalar]:
        """T_0, T and q a step on, and J before it; ``asked`` is what the rotors follow upwards, in N."""
        q = choose(memory.q == memory.q, memory.q, -climb + 0.0 * memory.share)  # not NaN
        given = choose(memory.given == memory.given, memory.given, asked)
        if dt > SUPPORT_TIME:  # too long a gap to tell what happened in it
            q, given, dt = -climb + 0.0 * q, asked + 0.0 * given, 0.0
        J = q + climb
        first = thrust + 0.0 * memory.share
        air_thrust = choose(memory.air_thrust > 0.0, memory.air_thrust, first)  # not NaN, nor of idle rotors
        followed = given + share_after(dt, self.rotor_lag) * (asked - given)
        given = choose(finite(asked), followed, given)
        gain = 1.0 - minimum(maximum(J / GRAVITY, -1.0), 1.0) * dt / (2 * SUPPORT_TIME) ** 2
        air_thrust = choose(touching | logical_not(finite(J)), air_thrust, air_thrust * gain)
        lack = maximum(1.0 - given / maximum(air_thrust, TINY), -1.0)  # after idle rotors T_0 is nothing
        moved = q + dt * (GRAVITY * lack - J / SUPPORT_TIME)
        return air_thrust, given, choose(finite(J, asked, air_thrust), moved, q), J  # NaN is no memory


class TouchdownDetector:
    """The law with its memory: lays weight on the gear while contact is felt, and says when contact has lasted."""

    def __init__(
        self, contact_time: float = CONTACT_TIME, resting_share: float = RESTING_SHARE, rotor_lag: float = 0.0
    ) -> None:
        self.law = TouchdownLaw(contact_time, resting_share, rotor_lag)
        self.reset()

    def reset(self, like: Scalar = 0.0) -> None:
        """Back in the air; ``like`` gives library and shape of a batch. A go-around begins with it.

        Contact that is still felt then begins anew, and is a landing where it lasts.
        """
        self._memory = self.law.start(like)
        self._updated: float | None = None

    @property
    def landed(self) -> bool | Array:
        """Whether contact has lasted; stays so until :meth:`reset`."""
        return self._memory.landed

    @property
    def share(self) -> Scalar:
        """Share of the thrust that the rotors may keep, 0..1; 0 means landed, motors off."""
        return self._memory.share

    @property
    def since(self) -> Scalar | None:
        """Start of the present contact in s; None in the air, in a batch NaN."""
        since = self._memory.since
        return None if isinstance(since, float) and math.isnan(since) else since

    def __call__(
        self,
        t: float,
        contact: bool | Array,
        thrust: Scalar | None = None,
        climb: Scalar = 0.0,
        upright: Scalar = 1.0,
    ) -> Scalar:
        """Share of the thrust that the rotors may keep at time t in s; arguments as in :class:`TouchdownLaw`."""
        dt = 0.0 if self._updated is None else max(t - self._updated, 0.0)
        self._updated = t
        if self._memory.landed is True:
            return 0.0
        self._memory = self.law(self._memory, t, dt, contact, thrust, climb, upright)
        return self._memory.share
