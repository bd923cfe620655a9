"""``neural-lander fly``: runs in simulated time behind a fake link, its checks, its questions and its ends."""

import contextlib
import gc
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
import warnings
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast, get_args, get_type_hints

import numpy as np
import pytest
from fake_link import CAPABILITIES, FakeLink, SimulatedClock
from mcap.reader import make_reader
from rich.console import Console, ConsoleDimensions
from scipy.spatial.transform import Rotation
from test_bridge_loop import RATE, VEHICLE, Knows, lift

import neural_lander.cli.fly_run as fly_module
from firmware_bridge.display import Display, table
from firmware_bridge.estimation.height import DeclaredFloor, Rangefinder
from firmware_bridge.guidance.flight_plan import FlightPlan
from firmware_bridge.guidance.guidance import Guidance
from firmware_bridge.link import CheckResult, StatusReport, TextReport
from firmware_bridge.loop import FlightLoop
from firmware_bridge.preflight import TiltCheck, check_vehicle
from firmware_bridge.realtime import run, undisturbed
from firmware_bridge.recording.recorder import Recorder
from firmware_bridge.session import CHECK_TIME, LAST_WORDS, LONGEST_LIST, Histogram, Session, Wishes
from firmware_bridge.supervisor.limits import Permission
from firmware_bridge.supervisor.types import Phase
from neural_lander.cli.fly import fly as fly_verb
from neural_lander.cli.fly_prepare import Options
from neural_lander.cli.main import main
from neural_lander.control.controller import Controller
from neural_lander.errors import NeuralLanderWarning, UserError
from neural_lander.flightlog import read_log
from neural_lander.residual.model import NoResidual

ROOT = Path(__file__).parents[1]
CLEAR = "\x1b[2J"


def session(link: FakeLink, permission: Permission | None = None, dry_run: bool = False, **options: object) -> Session:
    guidance = Guidance(Controller(VEHICLE, Knows()), FlightPlan(VEHICLE, settle_time=1.0))
    permission = permission or Permission(take_control=True)
    loop = FlightLoop(link, guidance, Rangefinder(), permission=permission, dry_run=dry_run, checks_passed=False)
    return Session(loop, SimulatedClock(), Wishes(), **options)  # type: ignore[arg-type]


def fly(s: Session, seconds: float = 60.0, each: Callable[[float], None] = lambda t: None) -> str:
    begin = s.clock.now()

    def tick(now: float, lateness: float) -> bool:
        each(now - begin)
        return s.tick(now, lateness) and now - begin < seconds

    run(tick, RATE, s.clock)
    s.clock.sleep_until(s.clock.now() + 1 / RATE)
    return s.outcome


def phases(s: Session) -> list[str]:
    return [phase for _, phase, _ in s.transitions]


# --- a run ------------------------------------------------------------------------------------------------------------


def test_the_pilot_arms_and_the_run_ends_after_the_landing() -> None:
    link = FakeLink(VEHICLE)
    s = session(link)

    def pilot(t: float) -> None:
        link.armed |= 3.0 < t < 4.0

    assert fly(s, each=pilot) == "landed and disarmed"
    assert phases(s)[-2:] == ["landed", "landed"]
    assert [r for _, r in link.requests] == ["take control", "disarm"]
    assert s.setpoints == len(link.sent)


def test_the_flag_alone_does_not_arm() -> None:
    link = FakeLink(VEHICLE)
    lines: list[str] = []
    s = session(link, arm=True, say=lines.append)
    fly(s, 10.0)
    assert any("type 'arm'" in line for line in lines)
    s.type("ar")
    fly(s, 2.0)
    assert link.requests == []
    streamed = len(link.sent)
    s.type("m\n")
    assert fly(s) == "landed and disarmed"
    assert [r for _, r in link.requests] == ["take control", "arm", "disarm"]
    assert streamed > 5 * RATE  # PX4 wants setpoints before its mode is asked for


@pytest.mark.parametrize("typed", ["q", "no\n", ""])
def test_a_question_to_arm_that_gets_no_yes_leaves_the_autopilot_as_it_was(typed: str) -> None:
    link, lines = FakeLink(VEHICLE), []
    s = session(link, Permission(take_control=True, arm=True), arm=True, duration=5.0, say=lines.append)
    fly(s, 3.0)
    assert s.asking
    s.type(typed)
    fly(s)
    s.close()
    assert s.outcome and link.requests == []
    assert not s.left_in_mode and not any("switch to another mode" in line for line in lines)


def ended_disarmed(
    link: FakeLink, each: Callable[[float], None] = lambda t: None, **options: object
) -> tuple[str, str]:
    """What screen and log say of the mode, of a run that the user ends after 5 s."""
    lines: list[str] = []
    noted: dict = {}
    s = session(link, say=lines.append, note=noted.update, **options)
    s.wishes.arm = True
    fly(s, 5.0, each)
    s.wishes.stop = True
    fly(s)
    s.close()
    assert not link.armed
    return "".join(line for line in lines if "switch to another mode" in line), noted.get("left_in_mode", "")


@pytest.mark.parametrize("arm", [True, False], ids=["--arm", "--take-control"])
def test_a_vehicle_left_disarmed_in_the_mode_that_was_asked_for_is_told(arm: bool) -> None:
    said, noted = ended_disarmed(FakeLink(VEHICLE, grants_arming=False), arm=arm)
    assert said.startswith("The vehicle is disarmed, in OFFBOARD, which was asked for here")
    assert noted == "OFFBOARD, which was asked for here"


@pytest.mark.slow
def test_a_mode_whose_answer_is_not_heard_yet_is_told_and_one_that_was_refused_is_not() -> None:
    link = FakeLink(VEHICLE, grants_mode=False)
    said, noted = ended_disarmed(link, arm=True)
    assert "in POSCTL, or in the mode that was asked for here just now" in said and noted
    link = FakeLink(VEHICLE, grants_mode=False)
    s = session(link, arm=True)
    s.wishes.arm = True
    fly(s, 15.0)
    s.wishes.stop = True
    fly(s)
    s.close()
    assert [r for _, r in link.requests] == ["take control"] * 5 and not s.left_in_mode


@pytest.mark.parametrize("whose", ["his from the start", "his again", "ends with the program", "dry run"])
def test_a_mode_that_is_the_pilots_is_not_told_as_ours(whose: str) -> None:
    link = FakeLink(VEHICLE, grants_arming=False, accepts=whose == "his from the start")
    if whose == "ends with the program":
        link.capabilities = replace(CAPABILITIES, keeps_mode=False)

    def switch(t: float) -> None:
        if whose == "his again" and t > 4.0:
            link.accepts = t > 4.5

    dry = whose == "dry run"
    assert ended_disarmed(link, switch, arm=True, dry_run=dry) == ("", "")


@pytest.mark.slow
def test_after_our_landing_the_mode_that_was_asked_for_is_told_too() -> None:
    s = session(FakeLink(VEHICLE), arm=True)
    s.wishes.arm = True
    assert fly(s) == "landed and disarmed"
    s.close()
    assert s.left_in_mode == "OFFBOARD, which was asked for here"


def test_the_confirmation_alone_does_not_arm_either() -> None:
    link = FakeLink(VEHICLE)
    s = session(link)
    s.wishes.arm = True
    fly(s, 10.0)
    assert "arm" not in [r for _, r in link.requests]


@pytest.mark.parametrize("answer", ["no\n", "\n", "ARM\n", "arm please\n"])
def test_another_answer_ends_the_run_unarmed(answer: str) -> None:
    link = FakeLink(VEHICLE)
    s = session(link, arm=True)
    s.type(answer)
    assert fly(s, 10.0) == "arming was not confirmed"
    assert not link.armed


def test_a_link_that_fails_at_what_is_only_shown_ends_no_flight() -> None:
    link = FakeLink(VEHICLE)

    def fail() -> Any:
        raise RuntimeError("a defect of somebody else's link")

    s = session(link)
    assert not fly(s, 2.0)
    link.quality = fail  # type: ignore[method-assign]
    assert not fly(s, 2.0)
    assert s.link_quality == ("not known", "")
    assert any("how well it hears failed: RuntimeError" in problem for problem in s.problems)


def test_a_link_that_cannot_say_how_it_is_set_up_passes_no_check() -> None:
    link = FakeLink(VEHICLE)

    def fail() -> Any:
        raise RuntimeError("a defect of somebody else's link")

    link.preflight = fail  # type: ignore[method-assign]
    s = session(link, arm=True)
    s.wishes.arm = True
    assert "reading them failed: RuntimeError" in fly(s)
    assert link.sent == [] and link.requests == []


@pytest.mark.slow
def test_a_check_that_does_not_pass_ends_the_run_with_its_finding() -> None:
    link = FakeLink(VEHICLE, checks=[CheckResult("GUID_OPTIONS", False, "is 0; set it to 8")])
    lines: list[str] = []
    s = session(link, arm=True, say=lines.append)
    s.wishes.arm = True
    assert fly(s) == "check not passed: GUID_OPTIONS: is 0; set it to 8"
    assert s.clock.now() - 100.0 == pytest.approx(CHECK_TIME, abs=0.1)
    assert link.sent == [] and link.requests == []
    assert any("not passed  GUID_OPTIONS" in line for line in lines)


@pytest.mark.slow
def test_body_rates_are_refused_over_a_link_that_takes_none() -> None:
    link = FakeLink(VEHICLE, capabilities=replace(CAPABILITIES, rates_setpoints=False))
    s = session(link, arm=True)
    s.loop.guidance.rates = True
    s.wishes.arm = True
    assert fly(s) == "check not passed: body rates: this link takes attitudes alone: leave --body-rates out"
    assert link.sent == [] and link.requests == []


def test_arming_is_refused_where_the_pilots_radio_alone_can_arm() -> None:
    link = FakeLink(VEHICLE, capabilities=replace(CAPABILITIES, arming=False))
    s = session(link, arm=True)
    s.wishes.arm = True
    assert "check not passed: arming by us: the pilot's radio alone arms" in fly(s)
    assert link.requests == []


def test_a_full_list_of_problems_silences_no_text_of_the_autopilot() -> None:
    lines: list[str] = []
    s = session(FakeLink(VEHICLE), say=lines.append)
    fly(s, 0.1)
    assert s.latest is not None
    s.problems = {f"problem {k}": 1 for k in range(LONGEST_LIST)}
    s._tell(replace(s.latest, problems=("problem 0", "one more"), messages=("Battery critical",)), 1.0)
    assert "autopilot: Battery critical" in lines[-1]
    assert s.problems["problem 0"] == 2 and len(s.problems) == LONGEST_LIST


@pytest.mark.slow
def test_checks_that_pass_after_the_pilot_took_off_let_him_give_control() -> None:
    link = FakeLink(VEHICLE, position=[0.0, 0.0, 1.0], checks=[CheckResult("TIMESYNC", False, "not answered")])
    link.armed, link.thrust = True, VEHICLE.weight
    s = session(link)
    fly(s, 30.0)
    assert set(phases(s)) == {"observing"}
    link.checks = [CheckResult("TIMESYNC", True, "4 ms")]
    fly(s, 1.0)
    link.accepts = True
    assert fly(s) == "landed and disarmed"
    assert [check.name for check in s.checks] == ["TIMESYNC", "state", "height", "arming"]


@pytest.mark.slow
def test_checks_that_pass_late_are_waited_for() -> None:
    link = FakeLink(VEHICLE, checks=[CheckResult("TIMESYNC", False, "not answered")])
    s = session(link, arm=True)
    s.wishes.arm = True

    def each(t: float) -> None:
        if t > 6.0:
            link.checks = [CheckResult("TIMESYNC", True, "4 ms")]

    assert fly(s, each=each) == "landed and disarmed"
    assert link.requests[0][0] > 106.0


def test_ctrl_c_in_flight_hands_back_and_then_ends() -> None:
    link = FakeLink(VEHICLE)
    s = session(link, arm=True)
    s.wishes.arm = True
    fly(s, 7.0)
    assert s.latest is not None and s.latest.decision.phase is Phase.TRACKING
    s.wishes.stop = True
    fly(s)
    assert s.outcome.startswith("handed back")
    assert link.requests[-1][1] == "hand back" and not link.accepts
    assert link.sent[-1][0] <= link.requests[-1][0]


def test_an_autopilot_that_does_not_take_over_does_not_keep_the_program_for_ever() -> None:
    link = FakeLink(VEHICLE, landing_mode=False)
    s = session(link, arm=True)
    s.wishes.arm = True
    fly(s, 7.0)
    s.wishes.stop = True
    before = s.clock.now()
    assert fly(s) == "ended by the user"
    assert s.clock.now() - before < 6.0
    assert [r for _, r in link.requests].count("hand back") >= 5


def test_the_time_limit_hands_back_as_well() -> None:
    link = FakeLink(VEHICLE)
    s = session(link, arm=True, duration=7.0)
    s.wishes.arm = True
    assert fly(s).startswith("handed back")
    assert 7.0 <= s.clock.now() - 100.0 < 8.0


@pytest.mark.slow
def test_after_the_pilot_took_over_the_log_goes_on_until_he_has_landed() -> None:
    link = FakeLink(VEHICLE)
    s = session(link, arm=True)
    s.wishes.arm = True
    fly(s, 7.0)
    link.accepts = False
    assert fly(s, 20.0) == ""
    link.armed = False
    assert fly(s).startswith("the pilot took over")
    assert s.clock.now() - 100.0 < 30.0


@pytest.mark.slow
def test_observing_goes_on_whatever_the_checks_say_and_sends_nothing() -> None:
    link = FakeLink(VEHICLE, checks=[CheckResult("GUID_OPTIONS", False, "is 0")])
    s = session(link, Permission(observe=True), duration=40.0)
    link.armed = True
    assert fly(s, 100.0) == "the duration is over"
    assert s.clock.now() - 100.0 == pytest.approx(40.0, abs=0.1)
    assert link.sent == [] and link.requests == []


def armed_by_radio(typed: str = "", landing_mode: bool = True, lines: list[str] | None = None) -> Session:
    """A run with --arm whose question is not answered: after ``typed`` the pilot arms and gives control; it flies."""
    link = FakeLink(VEHICLE, landing_mode=landing_mode, ground_effect=lift)
    s = session(link, arm=True, say=[].append if lines is None else lines.append)
    fly(s, 3.0)
    assert s.asking
    s.type(typed)
    fly(s, 0.1)
    link.armed = True
    fly(s, 0.5)
    link.accepts = True
    fly(s, 5.0)
    assert s.latest is not None and s.latest.decision.phase is Phase.TRACKING and link.height > 0.5
    return s


def bring_to(s: Session, phase: Phase) -> None:
    """From tracking to another phase in the air."""
    link = cast(FakeLink, s.loop.link)
    if phase is Phase.FADING:
        link.range_period = None
        fly(s, 0.4)
    elif phase is not Phase.TRACKING:
        s.wishes.abort = True
        fly(s, 0.1)
        s.wishes.abort = phase is Phase.HANDING_BACK
        fly(s, 0.1)
    assert s.latest is not None and s.latest.decision.phase is phase


IN_THE_AIR = (Phase.TRACKING, Phase.FADING, Phase.HOLDING, Phase.HANDING_BACK)


@pytest.mark.parametrize("phase", IN_THE_AIR)
@pytest.mark.parametrize("typed", ["ar", *(pytest.param(text, marks=pytest.mark.slow) for text in ("", "no"))])
def test_a_question_that_was_not_answered_lapses_once_the_vehicle_is_armed(typed: str, phase: Phase) -> None:
    s = armed_by_radio(typed, landing_mode=False)
    bring_to(s, phase)
    assert not s.asking
    s.type("\n")
    assert s.outcome == "" and fly(s, 0.1) == ""
    s.type("a")
    assert s.wishes.abort
    s.type("q")
    assert s.wishes.stop
    assert fly(s) == "ended by the user"
    assert {r for _, r in cast(FakeLink, s.loop.link).requests} == {"hand back"}


@pytest.mark.parametrize("phase", IN_THE_AIR)
def test_an_answer_against_arming_hands_back_before_it_ends_a_run_in_the_air(phase: Phase) -> None:
    s = armed_by_radio(landing_mode=False)
    bring_to(s, phase)
    link, s.wishes.arm = cast(FakeLink, s.loop.link), False
    before = s.clock.now()
    assert fly(s) == "ended by the user"
    assert link.requests[-1][1] == "hand back" and s.clock.now() - before > 4.0


@pytest.mark.parametrize("typed", ["", "ar"])
def test_the_abort_key_goes_around_where_the_pilot_armed_instead_of_answering(typed: str) -> None:
    lines: list[str] = []
    s = armed_by_radio(typed, lines=lines)
    assert any("nothing is asked any more" in line for line in lines)
    s.type("a")
    fly(s, 0.1)
    assert s.latest is not None and s.latest.decision.phase is Phase.HOLDING
    s.type("q")
    assert fly(s, 1.0) == "handed back, mode POSCTL"


def test_an_armed_vehicle_is_not_asked_for_and_an_answer_given_before_is_void() -> None:
    link = FakeLink(VEHICLE, checks=[CheckResult("TIMESYNC", False, "not answered")])
    lines: list[str] = []
    s = session(link, arm=True, say=lines.append)
    s.type("no\n")
    fly(s, 1.0)
    link.armed = True
    fly(s, 1.0)
    link.checks = []
    assert fly(s, 5.0) == ""
    assert not any("type 'arm'" in line for line in lines)
    link.armed = False
    fly(s, 5.0)
    assert "arm" not in [r for _, r in link.requests]


def test_keys_abort_and_end() -> None:
    wishes = Wishes()
    wishes.type("x", asked=False)
    assert not wishes.abort and not wishes.stop
    wishes.type("a", asked=False)
    wishes.type("q", asked=False)
    assert wishes.abort and wishes.stop


def test_a_histogram_gives_the_quantiles_of_its_times() -> None:
    rng = np.random.default_rng(0)
    times = rng.exponential(2e-3, 20_000)
    histogram = Histogram()
    for t in times:
        histogram.add(float(t))
    for share in (0.5, 0.9, 0.99, 0.999):
        assert histogram.quantile(share) == pytest.approx(np.quantile(times, share), abs=2e-4)
    assert histogram.worst == times.max()
    histogram.add(3.0)
    assert histogram.quantile(1.0) == 3.0


# --- the end of a run in flight, whatever ended it --------------------------------------------------------------------


class Bug(Exception):
    """What nobody foresaw."""


def in_flight(phase: Phase, lines: list[str] | None = None, **options: object) -> tuple[Session, FakeLink]:
    """A run in that phase, with no request on record yet."""
    link = FakeLink(VEHICLE, ground_effect=lift, **options)  # type: ignore[arg-type]
    s = session(link, arm=True, say=[].append if lines is None else lines.append)
    s.wishes.arm = True
    fly(s, 7.0)
    bring_to(s, phase)
    link.requests.clear()
    return s, link


def go_on(s: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the command does, to the end."""
    monkeypatch.setattr(fly_module, "keys", lambda even_piped: contextlib.nullcontext(lambda: ""))
    options = SimpleNamespace(arm=True, rate=RATE, follow_state=False, cpu=None, priority=None)
    fly_module._run(s, cast(Options, options))


def broken(*arguments: object, **more: object) -> None:
    raise Bug("of ours")


SPOILT = {
    "tick": lambda s: setattr(s.loop, "tick", broken),
    "decision": lambda s: setattr(s.loop, "_situation", broken),
    "record": lambda s: setattr(s.loop, "_record", broken),
    "screen": lambda s: setattr(s, "_tell", broken),
    "reports": lambda s: setattr(s.loop.heard, "take", broken),
}


@pytest.mark.parametrize(
    "phase", [Phase.TRACKING, *(pytest.param(p, marks=pytest.mark.slow) for p in (Phase.HOLDING, Phase.HANDING_BACK))]
)
@pytest.mark.parametrize("what", SPOILT)
def test_an_error_in_the_air_hands_back_and_then_goes_on_its_way(
    what: str, phase: Phase, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []
    s, link = in_flight(phase, lines, landing_mode=phase is not Phase.HANDING_BACK)
    link.landing_mode, before = True, s.clock.now()
    SPOILT[what](s)
    with pytest.raises(Bug, match="of ours"):
        go_on(s, monkeypatch)
    assert {r for _, r in link.requests} == {"hand back"} and not link.accepts
    assert s.clock.now() - before < 0.5  # it has left the mode, and nobody waits on
    assert "the autopilot has taken over" in lines[-1]


@pytest.mark.slow
def test_the_command_hands_back_closes_the_port_and_leaves_a_whole_log_whatever_fails(
    links: list[FakeLink], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(Wishes, "type", lambda self, text, asked: setattr(self, "arm", True))
    tick, log = FlightLoop.tick, tmp_path / "log.mcap"
    monkeypatch.setattr(
        FlightLoop, "tick", lambda self, now, *more: tick(self, now, *more) if now < 107.0 else broken()
    )
    arguments = ["fly", "--link", "mavlink:fake", "--vehicle", "intel-aero", "--arm", "--rate", "100", "--hover", "1"]
    with pytest.raises(Bug, match="of ours"):
        main([*arguments, "--log", str(log)])
    (link,) = links
    assert [r for _, r in link.requests] == ["take control", "arm", "hand back"] and not link.accepts and link.closed
    assert "the autopilot has taken over" in capsys.readouterr().err
    assert read_log(log).t[-1] > 4.5


def test_ctrl_c_that_python_raises_itself_hands_back_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    s, link = in_flight(Phase.TRACKING)
    monkeypatch.setattr(s.loop, "tick", lambda *_: signal.default_int_handler(signal.SIGINT, None))
    with pytest.raises(KeyboardInterrupt):
        go_on(s, monkeypatch)
    assert not link.accepts


def test_an_autopilot_that_does_not_take_over_is_asked_again_and_the_user_told(monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    s, link = in_flight(Phase.TRACKING, lines, landing_mode=False)
    monkeypatch.setattr(s.loop, "tick", broken)
    before = s.clock.now()
    with pytest.raises(Bug):
        go_on(s, monkeypatch)
    assert [r for _, r in link.requests] == 5 * ["hand back"]
    assert s.clock.now() - before == pytest.approx(LAST_WORDS, abs=0.1)
    assert "use the transmitter" in lines[-1]


@pytest.mark.slow
def test_a_user_who_ends_the_program_waits_once_for_an_autopilot_that_does_not_take_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lines: list[str] = []
    s, _ = in_flight(Phase.TRACKING, lines, landing_mode=False)
    s.wishes.stop, before = True, s.clock.now()
    go_on(s, monkeypatch)
    assert s.outcome == "ended by the user" and s.clock.now() - before == pytest.approx(LAST_WORDS, abs=0.1)
    assert "use the transmitter" in lines[-1]


def test_a_link_that_fails_in_the_end_as_well_is_asked_on(monkeypatch: pytest.MonkeyPatch) -> None:
    s, link = in_flight(Phase.TRACKING)
    hand_back, poll, begun = link.hand_back, link.poll, s.clock.now()
    monkeypatch.setattr(s.loop, "tick", broken)
    monkeypatch.setattr(link, "poll", lambda now: poll(now) if now > begun + 0.5 else broken())
    monkeypatch.setattr(link, "hand_back", lambda now: hand_back(now) if now > begun + 1.5 else broken())
    with pytest.raises(Bug):
        go_on(s, monkeypatch)
    assert not link.accepts and s.clock.now() - begun < LAST_WORDS


@pytest.mark.slow
@pytest.mark.parametrize("ended", ["by an error", "by the user"])
def test_a_run_that_ends_after_the_touchdown_leaves_nothing_armed(ended: str, monkeypatch: pytest.MonkeyPatch) -> None:
    link = FakeLink(VEHICLE, ground_effect=lift)
    disarm, lost = link.disarm, [True]
    monkeypatch.setattr(link, "disarm", lambda now: None if lost and lost.pop() else disarm(now))
    s = session(link, arm=True)
    s.wishes.arm = True

    def end(t: float) -> None:
        if s.loop.memory.phase is Phase.LANDED and not lost:
            s.wishes.stop = ended == "by the user"
            if ended == "by an error":
                raise Bug

    with contextlib.suppress(Bug):
        fly(s, each=end)
    assert link.armed or ended == "by the user"
    s.close()
    assert not link.armed and link.requests[-1][1] == "disarm"


@pytest.mark.parametrize("how", ["took over", "disarmed", "dry run", "before", "unplugged"])
def test_an_error_asks_for_nothing_where_the_autopilot_does_not_follow_us(
    how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    s, link = in_flight(Phase.TRACKING)
    status = s.loop.heard.status
    assert status is not None
    link.accepts, link.armed = how != "took over", how != "disarmed"
    s.loop.heard.status = replace(status, accepts_setpoints=link.accepts, armed=link.armed)
    s.loop.dry_run, link.lost = how == "dry run", how == "unplugged"
    if how == "before":
        s.loop.memory = replace(s.loop.memory, phase=Phase.ARMED)
    monkeypatch.setattr(s.loop, "tick", broken)
    with pytest.raises(Bug):
        go_on(s, monkeypatch)
    assert link.requests == []


# --- checks -----------------------------------------------------------------------------------------------------------


def verdicts(link: FakeLink, floor: float | None = None) -> dict[str, CheckResult]:
    source = Rangefinder() if floor is None else DeclaredFloor(floor)
    loop = FlightLoop(
        link, Guidance(Controller(VEHICLE, Knows()), FlightPlan(VEHICLE)), source, permission=Permission(True)
    )
    for k in range(100):
        loop.tick(100.0 + 0.01 * k)
    return {check.name: check for check in check_vehicle(loop.heard, loop.limits, 100.99)}


def test_a_vehicle_that_stands_well_passes() -> None:
    found = verdicts(FakeLink(VEHICLE, floor=-0.4))
    assert set(found) == {"state", "height", "standing", "frames", "arming"}
    assert all(check.passed for check in found.values())


def test_what_the_autopilot_has_against_arming_is_said_also_where_it_tells_no_position(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    link = FakeLink(VEHICLE)
    status = StatusReport(100.0, False, "ACRO", False, arming_refusals=("RXLOSS", "ARMSWITCH"))
    monkeypatch.setattr(link, "poll", lambda now: [status])
    found = verdicts(link)
    assert set(found) == {"state", "arming"} and not found["arming"].passed
    assert found["arming"].finding == "the autopilot says: RXLOSS, ARMSWITCH"


def test_a_wrong_floor_is_found_on_the_ground() -> None:
    check = verdicts(FakeLink(VEHICLE, floor=-0.4), floor=0.0)["standing"]
    assert not check.passed
    assert "gear -40.0 cm above the ground" in check.finding


def test_a_barometer_alone_is_no_height() -> None:
    check = verdicts(FakeLink(VEHICLE, range_period=None))["height"]
    assert not check.passed
    assert "never came" in check.finding and "DISTANCE_SENSOR" in check.finding


def test_an_attitude_that_does_not_fit_the_accelerometer_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    link = FakeLink(VEHICLE, floor=-0.4)
    poll = link.poll

    def rolled(now: float) -> object:
        reports = poll(now)
        for report in reports:
            if hasattr(report, "specific_force"):
                report.specific_force[:] = [0.0, 9.81, 0.0]
        return reports

    monkeypatch.setattr(link, "poll", rolled)
    assert not verdicts(link)["frames"].passed


def tilted(axis: str, degrees: float) -> np.ndarray:
    return Rotation.from_euler(axis, degrees, degrees=True).as_quat(scalar_first=True)


def test_tilting_by_hand_passes_where_nose_and_left_side_go_up_as_asked() -> None:
    check = TiltCheck()
    for attitude in (tilted("y", 0), tilted("y", -30), tilted("y", 0), tilted("x", 30)):  # x forward, y left
        assert not check.result().passed
        check.take(attitude)
    assert check.passed and check.result().passed


@pytest.mark.slow
def test_tilting_by_hand_is_asked_for_step_by_step_before_the_flight() -> None:
    link = FakeLink(VEHICLE)
    lines: list[str] = []
    s = session(link, tilt_check=TiltCheck(), say=lines.append)
    fly(s, 30.0)
    assert not s.passed
    for attitude in (tilted("y", -30), tilted("y", -5), tilted("x", 30)):
        link.q = attitude
        fly(s, 1.0)
    link.q = tilted("x", 0)
    fly(s, 2.0)
    assert s.passed
    text = "\n".join(lines)
    assert text.index("please lift the nose") < text.index("then lift the left side") < text.index("as they should")


@pytest.mark.parametrize(
    ("attitude", "words"),
    [
        (tilted("y", 30), "the nose goes down"),
        (tilted("x", 30), "the left side moves"),
        (tilted("x", -30), "left side moves"),
    ],
)
def test_tilting_by_hand_finds_an_axis_that_is_wrong(attitude: np.ndarray, words: str) -> None:
    check = TiltCheck()
    check.take(tilted("x", 5))
    check.take(attitude)
    assert words in check.result().finding
    assert not check.result().passed


# --- the command ------------------------------------------------------------------------------------------------------


@pytest.fixture
def links(monkeypatch: pytest.MonkeyPatch) -> list[FakeLink]:
    """The command opens fakes, and its clock runs as fast as it can."""
    opened: list[FakeLink] = []

    def open_fake(address: str, vehicle: object, rate: float) -> FakeLink:
        opened.append(FakeLink(VEHICLE, rotors=True))
        return opened[-1]

    monkeypatch.setattr(fly_module, "open_link", open_fake)
    monkeypatch.setattr(fly_module, "MonotonicClock", SimulatedClock)
    return opened


def test_the_command_lands_prints_one_json_object_and_leaves_a_log(
    links: list[FakeLink], tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Wishes, "type", lambda self, text, asked: setattr(self, "arm", True))
    log = tmp_path / "log.mcap"
    arguments = ["fly", "--link", "mavlink:fake", "--vehicle", "intel-aero", "--arm", "--rate", "100", "--hover", "1"]
    assert main([*arguments, "--log", str(log), "--json"]) == 0
    captured = capsys.readouterr()
    result = json.loads(captured.out)
    assert captured.err == ""
    assert result["outcome"] == "landed and disarmed" and result["landed"]
    assert result["setpoints_sent"] == len(links[0].sent)
    assert links[0].closed
    assert all(check["passed"] for check in result["checks"])
    read = read_log(log)
    assert len(read.t) == result["log_records"]
    assert read.metadata["height_source"] == "rangefinder"
    assert read.metadata["bundle_sha256"] is None
    told = {check["name"]: check["passed"] for check in read.metadata["checks"]}
    assert told == {check["name"]: True for check in result["checks"]}


@pytest.mark.slow
def test_a_flight_that_does_not_end_in_our_landing_has_another_exit_code(
    links: list[FakeLink], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    arguments = ["fly", "--link", "mavlink:fake", "--vehicle", "intel-aero", "--duration", "3", "--json"]
    assert main([*arguments, "--log", str(tmp_path / "log")]) == 1
    assert json.loads(capsys.readouterr().out)["outcome"] == "the duration is over"


def test_without_json_people_get_lines_and_a_table(
    links: list[FakeLink], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    arguments = ["fly", "--link", "mavlink:fake", "--vehicle", "intel-aero", "--observe", "--duration", "3"]
    assert main([*arguments, "--log", str(tmp_path / "log")]) == 0
    captured = capsys.readouterr()
    assert "the duration is over" in captured.out
    assert links[0].sent == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--vehicle", "intel-aero", "--rate", "20"], "between 50 and 500 Hz"),
        (["--vehicle", "intel-aero", "--height", "0"], "flight plan: height"),
        (["--vehicle", "intel-aero", "--range-offset", "1,x"], "--range-offset '1,x'"),
        (["--vehicle", "intel-aero", "--range-direction", "-1,0,0"], "'-1,0,0' is 90 degrees from down"),
        (["--vehicle", "intel-aero", "--max-age", "0"], "limit state_age"),
        (["--vehicle", "intel-aero", "--max-age", "0.2"], "more than the 0.1 s"),
        (["--vehicle", "intel-aero", "--observe", "--dry-run"], "leave out --dry-run"),
        (["--vehicle", "intel-aero", "--observe", "--arm"], "leave out --arm"),
        (["--vehicle", "intel-aero", "--floor", "nan"], "--floor"),
        (["--vehicle", "intel-aero", "--radius", "-1"], "radius = -1.0 m"),
        (["--vehicle", "intel-aero", "--ceiling", "nan"], "ceiling = nan m"),
        (["--vehicle", "intel-aero", "--height", "10"], "--height 10 m is not below --ceiling 3 m"),
        (["--vehicle", "intel-aero", "--range-offset", "0,0"], "--range-offset '0,0' must be three numbers"),
        (["--vehicle", "intel-aero", "--battery", "nan"], "battery voltage = nan V"),
        (["--vehicle", "no-such"], "vehicle 'no-such'"),
        (["--bundle", "no-such"], "there is no such folder"),
        ([], "neither --bundle nor --vehicle"),
    ],
)
def test_wrong_input_is_refused_in_one_line(
    links: list[FakeLink], tmp_path: Path, capsys: pytest.CaptureFixture, arguments: list[str], words: str
) -> None:
    assert main(["fly", "--link", "mavlink:fake", "--log", str(tmp_path / "log"), *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert words in captured.err
    assert captured.err.count("\n") == 1
    assert not links and not (tmp_path / "log").exists()


def test_a_link_that_cannot_be_opened_is_refused_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    arguments = ["--vehicle", "intel-aero", "--log", str(tmp_path / "log")]
    assert main(["fly", "--link", "mavlink:/dev/no-such-port", *arguments]) == 2
    assert "/dev/no-such-port" in capsys.readouterr().err
    assert main(["fly", "--link", "smoke:signals", *arguments]) == 2
    assert "does not begin with any of" in capsys.readouterr().err
    assert not (tmp_path / "log").exists()


def test_a_log_that_cannot_be_written_leaves_no_port_open(
    links: list[FakeLink], tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object, **options: object) -> None:
        raise UserError("log.mcap: 0 MiB are free")

    monkeypatch.setattr(fly_module, "Recorder", full)
    arguments = ["--vehicle", "intel-aero", "--log", str(tmp_path / "log")]
    assert main(["fly", "--link", "mavlink:fake", *arguments]) == 2
    assert "0 MiB are free" in capsys.readouterr().err
    assert len(links) == 1 and links[0].closed


def test_the_help_has_every_option_in_a_group_and_says_it_in_a_sentence() -> None:
    hints = get_type_hints(fly_verb, include_extras=True)
    options = {name: get_args(hint)[1] for name, hint in hints.items() if name != "return"}
    groups = {option.rich_help_panel for option in options.values()}
    assert {"Vehicle and bundle", "Controller", "Safety", "Link", "Real time", "Log"} <= groups and None not in groups
    for name, option in options.items():
        assert re.match(r"[A-Z].*\.$", option.help), name
        assert ".py" not in option.help, name  # a user has no source


def test_signals_become_the_wish_to_end_and_are_put_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    wishes = Wishes()
    with fly_module._signals(wishes):
        signal.raise_signal(signal.SIGTERM)
        assert wishes.stop
    assert signal.getsignal(signal.SIGTERM) is before


def test_the_table_shows_a_flight_and_a_blank_start() -> None:
    link = FakeLink(VEHICLE)
    s = session(link, arm=True)
    s.wishes.arm = True
    console = Console(width=150, record=True, force_terminal=True)
    for seconds in (2.0, 6.0):
        fly(s, seconds)
        assert s.latest is not None
        console.print(table(s.latest, s, None))
    text = console.export_text()
    for words in ("ready", "tracking", "domain score", "f_a, N", "% of the network", "late by", "OFFBOARD"):
        assert words in text


def shown(s: Session) -> str:
    console = Console(width=150, record=True, force_terminal=True)
    assert s.latest is not None
    console.print(table(s.latest, s, None))
    return console.export_text()


def test_the_table_gives_the_height_and_where_it_shall_be_from_one_ground() -> None:
    """Of the gear both: of the centre of mass the setpoint would be 11 cm above the height that it asks for."""
    s = session(FakeLink(VEHICLE), arm=True)
    s.wishes.arm = True
    fly(s, 10.0)
    (height,) = re.findall(r"height, m +([0-9.]+)", shown(s))
    (aim,) = re.findall(r"to .*, height ([0-9.]+)", shown(s))
    assert 0.5 < float(height) == pytest.approx(float(aim), abs=0.1)


def test_the_table_tells_how_well_the_link_is_and_takes_a_bracket_as_it_is() -> None:
    s = session(FakeLink(VEHICLE))
    fly(s, 2.0)
    assert re.search(r"link +200 messages/s +no \[round\] trip", shown(s))


def test_without_a_bundle_the_table_claims_no_network() -> None:
    s = session(FakeLink(VEHICLE), arm=True)
    s.loop.guidance = Guidance(Controller(VEHICLE, NoResidual()), FlightPlan(VEHICLE, settle_time=1.0))
    s.wishes.arm = True
    fly(s, 7.0)
    assert "no network" in shown(s)
    assert "% of the network" not in shown(s) and "domain score" not in shown(s)


def test_the_table_shows_the_answer_as_it_is_typed_and_the_keys_after_it() -> None:
    s = session(FakeLink(VEHICLE), arm=True)
    fly(s, 3.0)
    s.wishes.type("aa\x7fr", asked=True)
    assert "type arm and Enter: ar_" in shown(s) and "go around" not in shown(s)
    s.wishes.type("m\n", asked=True)
    assert s.wishes.arm
    assert "a: abort, go around" in shown(s)


def test_q_ends_the_program_also_where_an_answer_is_asked_for() -> None:
    wishes = Wishes()
    wishes.type("q", asked=True)
    assert wishes.stop and wishes.arm is None


def test_a_port_that_goes_in_flight_says_what_the_pilot_must_do() -> None:
    link = FakeLink(VEHICLE)
    lines: list[str] = []
    s = session(link, arm=True, say=lines.append)
    s.wishes.arm = True
    fly(s, 7.0)
    link.lost = True
    fly(s, 1.0)
    assert sum("take over with the transmitter" in line for line in lines) == 1
    assert re.search(r"autopilot +OFFBOARD, armed +as last heard", shown(s))
    assert s.latest is not None
    assert "position" in shown(s) and re.search(r"position, m .* [0-9.]+ m?s old", shown(s))


def test_an_autopilot_that_repeats_itself_is_shown_once(monkeypatch: pytest.MonkeyPatch) -> None:
    link = FakeLink(VEHICLE)
    lines: list[str] = []
    s = session(link, say=lines.append)
    poll = link.poll
    monkeypatch.setattr(link, "poll", lambda now: [*poll(now), TextReport(now, 4, "Not landed")])
    fly(s, 5.0)
    assert sum("Not landed" in line for line in lines) == 1
    fly(s, 10.0)
    assert sum("Not landed" in line for line in lines) == 2


ESSENTIAL = (
    "phase tracking", "no height above the ground for 3 s, and more of it that makes the line a long one",
    "link 1203 messages/s, 120 poses/s round trip 11.3 ms, 12 damaged", "f_a, N +0.100 -0.020 +1.234",
    "43 % of the network in the control law", "domain score 1.24", "late by 0.00 ms", "p99 0.0 ms, worst 0.0 ms",
)  # fmt: skip
KEYS = {False: ("a: abort, go around", "q: hand back and end"), True: ("to arm, type arm and Enter: ar_", "q: end")}


def crowded(monkeypatch: pytest.MonkeyPatch, asking: bool) -> Session:
    """A flight with long words in every row of its table."""
    s, _ = in_flight(Phase.TRACKING)
    fly(s, 1.2)
    assert s.latest is not None
    reason = "no height above the ground for 3 s, and more of it that makes the line a long one"
    decision = replace(s.latest.decision, reason=reason, network_share=0.43)
    vectors = {"f_a_predicted": np.array([0.1, -0.02, 1.234]), "guard_force": np.array([0.1, -0.2, -1.2])}
    s.latest = replace(s.latest, decision=decision, domain_score=1.24, **vectors)
    s.link_quality, s.wishes.line = ("1203 messages/s, 120 poses/s", "round trip 11.3 ms, 12 damaged"), "ar"
    monkeypatch.setattr(Session, "asking", asking)
    return s


RECORDER = cast(Recorder, SimpleNamespace(problem="", dropped=0, flight_records=123_456))


@pytest.mark.parametrize("asking", [False, True])
@pytest.mark.parametrize(("width", "height"), [(60, 20), (80, 20), (80, 24), (120, 40), (60, 14)])
def test_what_matters_is_on_a_small_screen_too(
    monkeypatch: pytest.MonkeyPatch, asking: bool, width: int, height: int
) -> None:
    s = crowded(monkeypatch, asking)
    console = Console(record=True, file=io.StringIO(), width=width, height=height)
    assert s.latest is not None
    console.print(table(s.latest, s, RECORDER))
    printed = console.export_text()
    assert len(printed.splitlines()) <= height - 2
    assert max(map(len, printed.splitlines())) <= width
    if width < 80:  # in columns a cell's lines are torn apart
        said = " ".join(printed.split())
        assert [words for words in (*ESSENTIAL, *KEYS[asking]) if words not in said] == []
    else:
        words = " ".join((*ESSENTIAL, *KEYS[asking])).split()
        assert [word for word in words if word not in printed] == []
    assert ("velocity" in printed) is (width >= 80)
    assert ("battery" in printed) is ("log" in printed) is (height > 14)


@pytest.mark.slow
@pytest.mark.parametrize("asking", [False, True])
def test_the_display_cuts_nothing_off_at_60_columns_and_20_lines(monkeypatch: pytest.MonkeyPatch, asking: bool) -> None:
    s = crowded(monkeypatch, asking)
    console = Console(file=io.StringIO(), width=60, height=20, force_terminal=True)
    written = cast(io.StringIO, console.file)
    display = Display(console)
    display.show(s, RECORDER)
    wait_until(lambda: "phase" in written.getvalue())
    display.close()
    plain = re.sub(r"\x1b\[[?0-9;]*[A-Za-z]", "", written.getvalue())
    assert "..." not in plain and "…" not in plain
    assert all(key in plain for key in KEYS[asking])


def test_another_width_of_the_terminal_draws_the_screen_afresh() -> None:
    """The old table, wrapped by the terminal, is where nobody can erase it line by line."""
    s = session(FakeLink(VEHICLE))
    fly(s, 2.0)
    console = Console(file=io.StringIO(), width=100, height=30, force_terminal=True)
    written = cast(io.StringIO, console.file)
    display = Display(console)
    display.show(s, None)
    display.say("height: [gone] 1.0 m")
    wait_until(lambda: "phase" in written.getvalue())
    assert CLEAR not in written.getvalue()
    console.size = ConsoleDimensions(60, 30)
    wait_until(lambda: "phase" in written.getvalue().partition(CLEAR)[2])
    display.close()
    assert "height: [gone] 1.0 m" in written.getvalue().partition(CLEAR)[2].partition("phase")[0]


def test_a_long_line_is_cut_between_words_on_a_terminal_and_nowhere_in_a_file() -> None:
    text = "thirty characters and a word"
    for terminal, expected in ((True, ["thirty characters and a", "word"]), (False, [text])):
        console = Console(file=io.StringIO(), width=25, height=30, force_terminal=terminal)
        display = Display(console)
        display.say(text)
        display.close()
        plain = re.sub(r"\x1b\[[?0-9;]*[A-Za-z]", "", cast(io.StringIO, console.file).getvalue())
        assert [line.strip() for line in plain.splitlines() if line.strip()] == expected


def wait_until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 10.0
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_the_display_shows_what_was_said_without_a_terminal(capsys: pytest.CaptureFixture) -> None:
    display = Display(Console(stderr=True))
    display.say("height: [gone] 1.0 m")
    display.close()
    assert capsys.readouterr().err == "height: [gone] 1.0 m\n"


def test_real_time_wishes_that_are_refused_are_warnings_and_all_is_put_back() -> None:
    interval = sys.getswitchinterval()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with undisturbed(cpu=9999):
            assert not gc.isenabled()
            assert sys.getswitchinterval() < interval
    assert [str(w.message).startswith("not pinned to CPU 9999") for w in caught] == [True]
    assert caught[0].category is NeuralLanderWarning
    assert gc.isenabled()
    assert sys.getswitchinterval() == interval


def test_flying_needs_no_training_library() -> None:
    script = (
        "import sys; import neural_lander.cli.fly;"
        "print([m for m in ('torch', 'scipy', 'pandas', 'cvxpy', 'pybullet', 'cflib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.slow
def test_memory_stays_flat_over_a_simulated_hour() -> None:
    """Without the garbage collector, as in flight: what is not freed at once, or kept, would show."""
    link = FakeLink(VEHICLE)
    link.armed = True
    s = session(link, Permission(observe=True))
    s.loop._record = None
    blocks = []
    with undisturbed():
        for _ in range(6):
            begin = s.clock.now()
            run(lambda now, lateness, begin=begin: s.tick(now, lateness) and now - begin < 600.0, 50.0, s.clock)  # type: ignore[misc]
            blocks.append(sys.getallocatedblocks())
    assert s.ticks > 179_000
    assert max(blocks[1:]) - blocks[0] < 500


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


INDEX = 14, 1000  # objects and bytes of a chunk in the index that MCAP's writer keeps for the end of the file: 13, 750


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_memory_stays_flat_over_an_hour_of_hover_that_is_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In control nothing collects garbage. What grows is the index of the log: 5 chunks a second, 14 MB an hour.

    Beside it 2 MB are allowed: what the allocator may hold more of at one moment than at another.
    """
    monkeypatch.setattr("fake_link.STEP", 0.02)
    link = FakeLink(VEHICLE, ground_effect=lift)
    link.sent = deque(maxlen=1)  # type: ignore[assignment]
    recorder = Recorder(tmp_path / "log.mcap", {}, commands=True)
    guidance = Guidance(Controller(VEHICLE, Knows()), FlightPlan(VEHICLE, settle_time=4000.0))
    permission = Permission(take_control=True)
    loop = FlightLoop(link, guidance, Rangefinder(), permission=permission, record=recorder.put, checks_passed=False)
    s = Session(loop, SimulatedClock(), Wishes(), note=recorder.note)

    def tick(now: float, lateness: float) -> bool:
        link.armed |= now > begin + 3.0
        while len(recorder._queue) > 100:  # nobody waits in simulated time
            time.sleep(0.001)
        return s.tick(now, lateness) and now - begin < 600.0

    blocks, sizes = [], []
    with undisturbed():
        for _ in range(6):
            begin = s.clock.now()
            run(tick, 50.0, s.clock)
            while recorder._queue:
                time.sleep(0.01)
            assert s.latest is not None and s.latest.decision.phase is Phase.TRACKING
            blocks.append(sys.getallocatedblocks())
            sizes.append(resident())
    recorder.close()
    assert s.ticks > 179_000 and recorder.dropped == 0 and not recorder.problem and not s.problems
    with recorder.path.open("rb") as file:
        summary = make_reader(file).get_summary()
    assert summary is not None
    written = [chunk.message_start_time for chunk in summary.chunk_indexes]
    chunks = sum(t - written[0] > 600e9 for t in written)
    assert 5000 < chunks < 30_000
    assert max(blocks[1:]) - blocks[0] < 1000 + INDEX[0] * chunks, blocks
    assert max(sizes[1:]) - sizes[0] < 2e6 + INDEX[1] * chunks, sizes
