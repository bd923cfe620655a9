"""Whether it looks as if the gear stood on the ground: no vehicle here has a contact sensor.

Three signs count, and only while landing: the autopilot's own landed flag; a height below ``CONTACT_HEIGHT`` at rest;
and, below ``HOVER_HEIGHT``, thrust well below what hover took, while nothing moves: with a quarter of the weight
missing a vehicle in the air gains 0.1 m/s within 40 ms. The last two must last for ``SIGN_TIME``. An estimator's speed
may be off by more than a vehicle at rest has: a vehicle whose mean height stays within ``STILL`` for ``STILL_TIME``
rests as well, unless its speed is that of a descent (``NOT_A_BIAS``). Higher up, little thrust without motion means
that our setpoints are not heard. A sign is no contact: a vehicle that hangs at two centimetres gives it too, and a flag
may be wrong. It is the reason to ask the ground itself, which ``ground_probe`` does.
"""

from __future__ import annotations

from dataclasses import dataclass

CONTACT_HEIGHT = 0.02  # m: as good as a rangefinder or motion capture with an estimated gear offset, guess
AT_REST = 0.1  # m/s of vertical speed: a third of the landing's, guess
STILL = 0.015  # m: a step of a rangefinder that counts in centimetres, and some noise, guess
STILL_TIME = 0.5  # s: at ``AT_REST`` one moves by 50 mm in it, guess
NOT_A_BIAS = 0.2  # m/s of vertical speed that is never rest: two thirds of the landing's, guess
SPEED_TIME = 0.1  # s, time constant of the means of speed and height: single reports are noisy by some cm/s, guess
RESTING_THRUST = 0.75  # of the thrust in hover, guess: ground effect alone makes up for some 20 % at the ground
SIGN_TIME = 0.2  # s, guess: five times what a vehicle in the air needs to leave ``AT_REST``
HOVER_TIME = 1.0  # s, time constant of the mean of the thrust in hover, guess
HOVER_HEIGHT = 0.3  # m: above it the thrust is learned, out of most of the ground effect


@dataclass
class GroundContact:
    """One landing."""

    hover_thrust: float
    """N; the weight to begin with, then the mean of what was commanded in hover: errors of mass, battery and thrust
    curve are in it."""
    _since: float | None = None
    _updated: float | None = None
    _felt: float | None = None
    _climb: float = 0.0
    _height: float = 0.0
    _still: tuple[float, float] | None = None
    """Mean height, and since when it has stayed there."""

    def learn(self, now: float, height: float, thrust: float) -> None:
        """Take in the thrust in N that was commanded in the air at ``height`` in m."""
        dt = 0.0 if self._updated is None else min(max(now - self._updated, 0.0), HOVER_TIME)
        self._updated = now
        if height > HOVER_HEIGHT:
            self.hover_thrust += dt / HOVER_TIME * (thrust - self.hover_thrust)

    def __call__(self, now: float, height: float, climb: float, thrust: float, landed: bool | None) -> bool:
        """A sign at time ``now`` in s, from height in m, vertical speed in m/s, commanded thrust in N and the flag."""
        if self._felt is None:
            self._climb, self._height = climb, height
        else:
            blend = min(max(now - self._felt, 0.0), SPEED_TIME) / SPEED_TIME
            self._climb += blend * (climb - self._climb)
            self._height += blend * (height - self._height)
        self._felt = now
        light = thrust <= RESTING_THRUST * self.hover_thrust and height <= HOVER_HEIGHT
        sign = height <= CONTACT_HEIGHT or light
        if not (self._rests(now) and sign):
            self._since = None
            return landed is True
        self._since = now if self._since is None else self._since
        return landed is True or now - self._since >= SIGN_TIME

    def _rests(self, now: float) -> bool:
        if self._still is None or abs(self._height - self._still[0]) > STILL:
            self._still = self._height, now
        still = now - self._still[1] >= STILL_TIME and abs(self._climb) <= NOT_A_BIAS
        return still or abs(self._climb) <= AT_REST
