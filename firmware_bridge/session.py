"""One run of ``fly``: check, ask, fly, end. Ticks are the loop's; what happens around them is here."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from firmware_bridge.last_words import let_go
from firmware_bridge.link import CheckResult
from firmware_bridge.loop import FlightLoop
from firmware_bridge.preflight import BY_HAND, TiltCheck, check_controller, check_request, check_vehicle
from firmware_bridge.realtime import Clock, collect_garbage
from firmware_bridge.recording.tick_record import TickRecord
from firmware_bridge.supervisor.types import IN_CONTROL, Phase

CHECK_PERIOD = 0.5  # s
MODE_TOLD = 1.5  # s after which a mode that was asked for has been told, by one HEARTBEAT a second at worst; a guess
CHECK_TIME = 20.0  # s until a check that does not pass ends the run: parameters and streams have come by then, guess
TILT_TIME = 60.0  # s more for tilting by hand, guess
SETTLING = 5.0  # s in which checks that do not pass yet are not shown, guess
SETTLED = 1.0  # s from the end of a flight to the end of the run, so that the log holds it
QUALITY_PERIOD = 1.0  # s between looks at how well the link is
REPEAT = 10.0  # s in which a line of the autopilot is not shown again, guess: it answers each of our requests alike
LAST_WORDS = 5.0  # s for the autopilot to take over after the user, or an error, has ended the program
BACKSPACE = "\x7f\b"
LONGEST_ANSWER = 20  # characters
LONGEST_LIST = 1000  # of transitions and kinds of problems: a run may last for hours


class Histogram:
    """Times in s, by tenths of a millisecond, so that hours of ticks take no memory."""

    def __init__(self) -> None:
        self._bins = [0] * 1001
        self.worst = 0.0

    def add(self, value: float) -> None:
        """Count one time in s; what is beyond 100 ms is in the last bin, and in ``worst``."""
        self._bins[min(max(int(value * 1e4), 0), 1000)] += 1
        self.worst = max(self.worst, value)

    def quantile(self, share: float) -> float:
        """Upper edge in s of the bin below which that share lies; the worst for the last bin."""
        left = share * sum(self._bins)
        for k, count in enumerate(self._bins[:-1]):
            left -= count
            if left <= 0:
                return min((k + 1) * 1e-4, self.worst)
        return self.worst


@dataclass
class Wishes:
    """What the user wants, set from signals and keys; read once per tick."""

    stop: bool = False
    abort: bool = False
    """Go around; taken back once it is read."""
    arm: bool | None = None
    """Answer to the question whether to arm; None while there is none."""
    line: str = ""
    """What has been typed of that answer."""

    def type(self, text: str, asked: bool) -> None:
        """Take what was typed: where arming is asked for, first a line that must be 'arm'; then single keys.

        Such a line can be corrected, and one that begins with q ends the program as the key does.
        """
        for key in text:
            if asked and self.arm is None:
                if key == "\n":
                    self.arm = self.line.strip() == "arm"
                elif key in BACKSPACE:
                    self.line = self.line[:-1]
                else:
                    self.line = (self.line + key)[:LONGEST_ANSWER]
                self.stop |= self.line == "q"
            else:
                self.abort |= key in "a "
                self.stop |= key == "q"


@dataclass
class Session:
    """From the first tick to the last."""

    loop: FlightLoop
    clock: Clock
    wishes: Wishes
    fixed_checks: Sequence[CheckResult] = ()
    """What was found before the link was opened: bundle and certificate."""
    tilt_check: TiltCheck | None = None
    arm: bool = False
    """Whether arming was asked for on the command line; it needs ``Wishes.arm`` as well, and nothing is asked of the
    autopilot before."""
    duration: float | None = None  # s
    say: Callable[[str], None] = lambda text: None
    """Shows a line; must not block."""
    note: Callable[[Mapping[str, Any]], None] = lambda metadata: None
    """Keeps what belongs to the whole flight in its log: the checks, whenever a verdict changes; must not block."""
    latest: TickRecord | None = None
    outcome: str = ""
    """Why the run ended; empty while it goes on."""
    checks: list[CheckResult] = field(default_factory=list)
    transitions: list[tuple[float, str, str]] = field(default_factory=list)
    """Time since the begin in s, phase, reason."""
    problems: dict[str, int] = field(default_factory=dict)
    ticks: int = 0
    setpoints: int = 0
    lateness: Histogram = field(default_factory=Histogram)
    work: Histogram = field(default_factory=Histogram)
    """From the tick's begin to the setpoint sent and the record handed over."""
    link_quality: tuple[str, str] = ("-", "")
    """As the link tells it, looked up now and then."""
    left_in_mode: str = ""
    """The mode that a disarmed vehicle was left in, where it is one that was asked for here."""
    _looked: float = float("-inf")
    _told: dict[str, float] = field(default_factory=dict)
    """Line of the autopilot -> when it was shown, s."""
    _begin: float | None = None
    _checked: float = float("-inf")
    _ended: float | None = None
    _stopped: float | None = None
    _over: str = ""
    """Why it stops, where that is not the user's doing."""
    _asked: bool = False
    _settled: bool = False
    _flown: bool = False
    _mode_asked: float | None = None
    """When the mode was asked for that has not been left since, s."""
    _mode_given: bool = False

    def __post_init__(self) -> None:
        """With ``arm`` the mode is asked for once arming is confirmed, not before."""
        if self.arm:
            self.loop.permission = replace(self.loop.permission, take_control=False, arm=False)

    def tick(self, now: float, lateness: float) -> bool:
        """One tick at time ``now`` in s; False at the end of the run."""
        self._begin = now if self._begin is None else self._begin
        abort, self.wishes.abort = self.wishes.abort, False
        asking = self.asking
        record = self.latest = self.loop.tick(now, lateness, abort, self.wishes.stop)
        if asking and self._lapsed:
            self.say("The vehicle is armed, and nothing is asked any more: a goes around, q hands back.")
        self.work.add(self.clock.now() - now)
        self.lateness.add(lateness)
        self.ticks += 1
        self.setpoints += record.setpoint is not None and not self.loop.dry_run
        self._tell(record, now - self._begin)
        self._follow_mode(record, now)
        if now - self._looked >= QUALITY_PERIOD:
            self._looked = now
            self.link_quality = self.loop.link_quality()
        self._flown |= record.decision.phase in IN_CONTROL
        if record.decision.phase not in IN_CONTROL and now - self._checked >= CHECK_PERIOD:
            self._checked = now
            self._check(now, record)
            collect_garbage()
        self.outcome = self._end(record, now, now - self._begin)
        return not self.outcome

    def close(self) -> None:
        """Whatever ended the run: what the autopilot may still follow has to come to an end."""
        loop, now = self.loop, self.clock.now()
        if loop.link is None or loop.dry_run:
            return
        if not loop.memory.followed:
            self._tell_mode(now)
            return
        until = (now if self._stopped is None else self._stopped) + LAST_WORDS
        gone = let_go(loop.link, loop.memory, loop.heard.status, loop.limits, self.clock, until)
        words = "the autopilot has taken over" if gone else "the autopilot does NOT take over, use the transmitter"
        self.say(f"The run is at its end: {words}.")

    def type(self, text: str) -> None:
        """Take what was typed: the answer to the question whether to arm as long as it may be given, else keys."""
        self.wishes.type(text, asked=self.arm and not self._lapsed)

    @property
    def passed(self) -> bool:
        """Whether every check has, the last time that they were made."""
        return bool(self.checks) and all(check.passed for check in self.checks)

    @property
    def asking(self) -> bool:
        """Whether the question to arm stands."""
        return self._asked and self.wishes.arm is None and not self._lapsed

    @property
    def _lapsed(self) -> bool:
        """Whether the vehicle has been armed, by whomever: then there is no question to arm, and keys are keys."""
        return self.loop.memory.was_armed

    def _follow_mode(self, record: TickRecord, now: float) -> None:
        """Keep in mind whether the mode is the one that we asked for, until it is left by whomever."""
        status = self.loop.heard.status
        follows = status is not None and status.accepts_setpoints
        if record.decision.take_control and not self.loop.dry_run:
            self._mode_asked, self._mode_given = now, False
        elif self._mode_asked is not None and self._mode_given and not follows:
            self._mode_asked = None
        self._mode_given = self._mode_asked is not None and follows

    def _tell_mode(self, now: float) -> None:
        """Say that the vehicle is left disarmed in the mode that we asked for.

        To put back the one from before could overrule a pilot who has moved the switch since.
        """
        link, status, asked = self.loop.link, self.loop.heard.status, self._mode_asked
        if asked is None or link is None or not link.capabilities.keeps_mode or status is None or status.armed:
            return
        if self._mode_given:
            self.left_in_mode = f"{status.mode}, which was asked for here"
        elif now - asked < MODE_TOLD:
            self.left_in_mode = f"{status.mode}, or in the mode that was asked for here just now"
        else:
            return
        self.note({"left_in_mode": self.left_in_mode})
        self.say(f"The vehicle is disarmed, in {self.left_in_mode}: switch to another mode before anybody arms it.")

    def _tell(self, record: TickRecord, t: float) -> None:
        if record.decision.entered and len(self.transitions) < LONGEST_LIST:
            phase, reason = str(record.decision.phase), record.decision.reason
            self.transitions.append((t, phase, reason))
            self.say(f"{t:8.2f} s  {phase}: {reason}")
            if record.decision.phase is Phase.DISCONNECTED and record.armed:
                self.say("Nothing reaches the vehicle, and its autopilot flies it: take over with the transmitter.")
        for problem in record.problems:
            if problem not in self.problems:
                if len(self.problems) >= LONGEST_LIST:
                    continue
                self.say(f"{t:8.2f} s  {problem}")
            self.problems[problem] = self.problems.get(problem, 0) + 1
        for message in record.messages:
            if t - self._told.get(message, -math.inf) >= REPEAT:
                if len(self._told) >= LONGEST_LIST:
                    self._told.clear()
                self._told[message] = t
                self.say(f"{t:8.2f} s  autopilot: {message}")

    def _check(self, now: float, record: TickRecord) -> None:
        """Checks are made until control is taken for the first time; what they found then stands."""
        if self._flown:
            return
        link = self.loop.link
        checks = list(self.fixed_checks)
        if link is not None:
            checks += [*self.loop.preflight(), *check_request(link.capabilities, self.arm, self.loop.guidance.rates)]
        checks += check_vehicle(self.loop.heard, self.loop.limits, now)
        checks += check_controller(self.loop.guidance)
        if self.tilt_check is not None:
            if record.estimate is not None:
                self.tilt_check.take(record.estimate.attitude)
            checks.append(self.tilt_check.result())
        before = {check.name: check for check in self.checks}
        settled = self._begin is not None and now - self._begin > SETTLING  # before, most has simply not come yet
        for check in checks:
            last = before.get(check.name)
            changed = last is None or last.passed != check.passed
            if check.name == BY_HAND and last is not None and last.finding != check.finding:
                self.say(f"{check.name}: {check.finding}")  # the next thing to do
            if (changed and (check.passed or settled)) or (not check.passed and settled and not self._settled):
                self.say(f"{'passed' if check.passed else 'not passed':>10}  {check.name}: {check.finding}")
        if settled and not self._settled and self.loop.permission.observe and self.loop.heard.rotors is None:
            self.say("No rotor speeds come in: while another flies, the log holds no thrust to learn from.")
        if {c.name: c.passed for c in checks} != {name: c.passed for name, c in before.items()}:
            self.note({"checks": [{"name": c.name, "passed": c.passed, "finding": c.finding} for c in checks]})
        self._settled, self.checks = settled, checks
        self.loop.checks_passed = self.passed
        if self.passed and self.arm and not self._asked and not self._lapsed:
            self._asked = True
            self.say("The vehicle will be ARMED and take off. Clear the room, then type 'arm' and Enter to go on.")
        if self._asked and self.wishes.arm:
            self.loop.permission = replace(self.loop.permission, take_control=True, arm=True)

    def _end(self, record: TickRecord, now: float, t: float) -> str:
        """Why the run ends now, or nothing."""
        phase, locked, permission = record.decision.phase, record.decision.memory.locked, self.loop.permission
        if self.wishes.stop:
            self._stopped = now if self._stopped is None else self._stopped
            over = not record.decision.memory.followed or now - self._stopped > LAST_WORDS
            why = locked or self._over if self._flown else self._over or locked
            return (why or "ended by the user") if over else ""
        if self.duration is not None and t >= self.duration:
            self.wishes.stop, self._over = True, "the duration is over"
        only_looking = permission.observe or self.loop.dry_run
        patience = CHECK_TIME + (TILT_TIME if self.tilt_check is not None else 0.0)
        if t > patience and not only_looking and not self.passed and not record.armed and not self._flown:
            failed = next((check for check in self.checks if not check.passed), None)
            return f"check not passed: {failed.name}: {failed.finding}" if failed else "nothing was heard"
        if self._asked and self.wishes.arm is False:
            if not record.decision.memory.followed:
                return "arming was not confirmed"
            self.wishes.stop = True
        over = bool(locked) and not record.armed and not permission.observe and phase is not Phase.DISCONNECTED
        self._ended = (self._ended or now) if over else None
        return locked if self._ended is not None and now - self._ended >= SETTLED else ""
