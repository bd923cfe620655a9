"""A link that raises nothing: what fails is told as a problem, and a port that has gone is opened anew."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from firmware_bridge.link import CheckResult, Link, LinkLost, Report, Setpoint
from firmware_bridge.supervisor.types import Decision
from neural_lander.errors import UserError

REOPEN_PERIOD = 1.0  # s between attempts to open a port that has gone


class KeptLink:
    """What the loop talks to. A link may be anybody's, and whatever it raises must not end a flight.

    Parameters
    ----------
    problems
        A list to tell what fails in, a line each.
    reopen : callable, optional
        Opens the link anew after it was lost; raises LinkLost where it cannot.
    """

    def __init__(self, link: Link, problems: list[str], reopen: Callable[[], Link] | None = None) -> None:
        self.link: Link | None = link
        """None while the port is gone."""
        self.problems = problems
        self.refused = False
        """Whether the last setpoint could not be sent for its own sake or the link's, and not for want of room."""
        self.came_back = False
        """Whether the link was opened anew; whoever looks puts it back."""
        self._reopen, self._tried = reopen, -math.inf

    def poll(self, now: float) -> Sequence[Report]:
        """What has come in by time ``now`` in s; nothing where the port is gone."""
        if self.link is None and self._reopen is not None and now - self._tried >= REOPEN_PERIOD:
            self._tried = now
            try:
                self.link = self._reopen()
                self.came_back = True
            except (LinkLost, OSError, UserError) as error:
                self.problems.append(str(error))
            except Exception as error:  # noqa: BLE001 - as below
                self._fail("opening the link", error)
        if self.link is None:
            return ()
        try:
            return list(self.link.poll(now))
        except LinkLost as error:
            self._lose(error, now)
        except UserError as error:
            self.problems.append(str(error))
        except Exception as error:  # noqa: BLE001 - it may come from outside; a state that does not come grows old
            self._fail("the link", error)
        return ()

    def send(self, setpoint: Setpoint, now: float) -> bool:
        """Whether the setpoint went out; not where the line had no room for it, or the port is gone."""
        self.refused = False
        if self.link is None:
            return False
        try:
            return self.link.send(setpoint, now)
        except UserError as error:
            self.refused = True
            self.problems.append(f"setpoint refused: {error}")
        except LinkLost as error:
            self._lose(error, now)
        except Exception as error:  # noqa: BLE001 - what cannot be sent now will hardly be sent in the next tick
            self.refused = True
            self._fail("sending", error)
        return False

    def request(self, decision: Decision, now: float) -> None:
        """Ask the autopilot for what the supervisor has decided, each of it whatever becomes of the others."""
        if self.link is None:
            return
        requests = (
            (decision.take_control, self.link.take_control),
            (decision.arm, self.link.arm),
            (decision.hand_back, self.link.hand_back),
            (decision.disarm, self.link.disarm),
        )
        for wanted, request in requests:
            if not wanted:
                continue
            try:
                request(now)
            except UserError as error:  # the supervisor asks again, and what it asks besides still goes out
                self.problems.append(str(error))
            except LinkLost as error:
                self._lose(error, now)
                return
            except Exception as error:  # noqa: BLE001 - the same
                self._fail("a request", error)

    def quality(self) -> tuple[str, str]:
        """See :meth:`firmware_bridge.link.Link.quality`."""
        if self.link is None:
            return "no port", ""
        try:
            much, well = self.link.quality()
            return much, well
        except Exception as error:  # noqa: BLE001 - a line on the screen
            self._fail("asking the link how well it hears", error)
            return "not known", ""

    def preflight(self) -> Sequence[CheckResult]:
        """See :meth:`firmware_bridge.link.Link.preflight`; a link that cannot say passes none."""
        if self.link is None:
            return ()
        try:
            return tuple(self.link.preflight())
        except Exception as error:  # noqa: BLE001 - before a flight: it does not begin
            return (CheckResult("autopilot parameters", False, failure("reading them", error)),)

    def close(self) -> None:
        """Release the port; it counts as gone, however badly it closes."""
        link, self.link = self.link, None
        if link is None:
            return
        try:
            link.close()
        except Exception as error:  # noqa: BLE001 - an unplugged port may not close, and can still come back
            self._fail("closing the link", error)

    def _lose(self, error: LinkLost, now: float) -> None:
        """It stays gone for a while, so that the next tick sees it: after that nothing is asked for any more."""
        self.problems.append(str(error))
        self.close()
        self._tried = now

    def _fail(self, what: str, error: Exception) -> None:
        self.problems.append(failure(what, error))


def failure(what: str, error: Exception) -> str:
    """One line that names what failed, and how."""
    return f"{what} failed: {type(error).__name__}: {error}"
