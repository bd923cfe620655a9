"""Touchdown: contact that lasts. One detector and one motor cut for every controller."""

from __future__ import annotations

from dataclasses import dataclass

CONTACT_TIME = 0.2  # s, definition of touchdown in every table
RESTING_SHARE = 0.7  # of the thrust: with a third of the weight on the gear no controller hops, guess
SPOOL_TIME = 0.05  # s of contact to the resting share: about two time constants of a motor, guess
RECOVERY_TIME = 0.2  # s without contact from the resting share to all of the thrust, guess


@dataclass
class TouchdownDetector:
    """Lays weight on the gear while contact is felt, and says when contact has lasted.

    A vehicle that carries its whole weight on its rotors hops on the floor for as long as it holds its position
    there, so that contact never lasts. Autopilots take thrust away as soon as they feel the ground; so does
    this. With contact the share of thrust that is left falls towards ``resting_share``, without it it recovers,
    and once contact has lasted ``contact_time`` the motors stop. It acts on contact, never on the reference: a
    bump costs a short dip of the thrust, and a vehicle that floats gains nothing.
    """

    contact_time: float = CONTACT_TIME  # s
    resting_share: float = RESTING_SHARE
    """Share of the thrust kept in contact; 1 leaves the controller alone until contact has lasted."""
    since: float | None = None
    """Start of the present contact in s, None in the air."""
    landed: bool = False
    """Whether contact has lasted; stays so until :meth:`reset`."""
    share: float = 1.0
    """Share of the thrust that the rotors may keep, 0..1."""
    _updated: float | None = None

    def reset(self) -> None:
        """Back in the air."""
        self.since, self.landed, self.share, self._updated = None, False, 1.0, None

    def __call__(self, t: float, contact: bool) -> float:
        """Share of the thrust that the rotors may keep at time t in s; 0 means landed, motors off."""
        dt = 0.0 if self._updated is None else max(t - self._updated, 0.0)
        self._updated = t
        if self.landed:
            return 0.0
        if contact:
            self.since = t if self.since is None else self.since
            self.landed = t - self.since >= self.contact_time - 1e-9
            self.share = max(self.share - (1 - self.resting_share) / SPOOL_TIME * dt, self.resting_share)
        else:
            self.since = None
            self.share = min(self.share + (1 - self.resting_share) / RECOVERY_TIME * dt, 1.0)
        return 0.0 if self.landed else self.share
