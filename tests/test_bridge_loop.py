"""Whole flights in simulated time: loop, supervisor, controller and a point-mass vehicle behind a fake link."""

import math
import struct
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import cache

import numpy as np
import pytest
from fake_link import FakeLink, SimulatedClock
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from firmware_bridge.bounds import BATTERY_AGE, Bounds, Volume
from firmware_bridge.estimation.height import DeclaredFloor, HeightSource, Rangefinder
from firmware_bridge.guidance.flight_plan import FlightPlan
from firmware_bridge.guidance.guidance import FadedResidual, Guidance, quaternion_of
from firmware_bridge.heard import Heard
from firmware_bridge.link import (
    AttitudeSetpoint,
    BatteryReport,
    CheckResult,
    LinkLost,
    PositionReport,
    RatesSetpoint,
    RestartReport,
    StatusReport,
)
from firmware_bridge.loop import FlightLoop
from firmware_bridge.realtime import run
from firmware_bridge.recording.tick_record import COMMANDED, MEASURED, STOPPED, TickRecord
from firmware_bridge.setpoint_check import check_setpoint
from firmware_bridge.supervisor.limits import Limits, Permission, lateness_at
from firmware_bridge.supervisor.types import Output, Phase
from neural_lander.control.controller import Controller
from neural_lander.errors import UserError
from neural_lander.residual.model import NoResidual, ResidualModel
from neural_lander.rotation import quaternion_to_matrix
from neural_lander.state import State
from neural_lander.vehicle import load_vehicle

VEHICLE = load_vehicle("intel-aero")
ALL = Permission(take_control=True, arm=True)
RATE = 100.0
LEANING = Rotation.from_rotvec([0.0, 0.15, 0.0]).as_quat(scalar_first=True)


def lift(height: float) -> float:
    """Of a strong ground effect, as a share of the thrust."""
    return 0.2 * math.exp(-height / 0.115)


class Knows:
    """A residual that knows the ground effect."""

    def at(self, state: State) -> Callable[[np.ndarray], np.ndarray]:
        share = lift(max(float(state.height), 0.0))
        return lambda rotor_thrust: np.array([0.0, 0.0, share * float(rotor_thrust.sum())])


@dataclass
class Flight:
    """A loop and what it left behind."""

    link: FakeLink
    loop: FlightLoop
    records: list[TickRecord] = field(default_factory=list)
    heights: list[float] = field(default_factory=list)
    clock: SimulatedClock = field(default_factory=SimulatedClock)

    def fly(self, seconds: float, each: Callable[[float], None] = lambda t: None, **keys: bool) -> list[TickRecord]:
        """Go on for so long; ``each`` is called before every tick, keys are pressed at the first."""
        begin, first = self.clock.now(), len(self.records)

        def tick(now: float, lateness: float) -> bool:
            each(now - begin)
            pressed = keys if len(self.records) == first else {}
            self.records.append(self.loop.tick(now, lateness, **pressed))
            self.heights.append(self.link.height)
            return now - begin < seconds - 0.5 / RATE

        run(tick, RATE, self.clock)
        self.clock.t += 1 / RATE
        return self.records[first:]

    def until(self, stage: str) -> None:
        """Go on until that part of the plan has gone on for a second."""
        while self.fly(0.1)[-1].stage != stage:
            assert self.clock.now() < 200.0, f"no {stage}"
        self.fly(1.0)

    @property
    def phases(self) -> list[Phase]:
        return [r.decision.phase for r in self.records if r.decision.entered]


def flight(
    model: ResidualModel | None = None,
    permission: Permission = ALL,
    height: HeightSource | None = None,
    link: dict | None = None,
    rates: bool = False,
    **options: object,
) -> Flight:
    fake = FakeLink(VEHICLE, **({"floor": -0.4, "ground_effect": lift} | (link or {})))
    guidance = Guidance(Controller(VEHICLE, model or NoResidual()), FlightPlan(VEHICLE), rates=rates)
    source = Rangefinder() if height is None else height
    return Flight(fake, FlightLoop(fake, guidance, source, permission=permission, **options))  # type: ignore[arg-type]


def last_sent(f: Flight) -> float:
    return f.link.sent[-1][0]


# --- landing ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def landing() -> Flight:
    f = flight(Knows())
    f.fly(20.0)
    return f


def test_it_takes_off_hovers_lands_and_disarms(landing: Flight) -> None:
    assert landing.phases == [
        Phase.OBSERVING, Phase.READY, Phase.ARMED, Phase.TRACKING, Phase.LANDED, Phase.LANDED,
    ]  # fmt: skip
    assert max(landing.heights) == pytest.approx(1.0, abs=0.12)
    assert landing.heights[-1] == pytest.approx(0.0, abs=1e-9)
    assert not landing.link.armed
    assert [r for _, r in landing.link.requests] == ["take control", "arm", "disarm"]
    assert not any(r.problems for r in landing.records)


@pytest.mark.slow
def test_the_network_makes_it_arrive_on_time_and_without_it_the_vehicle_floats(landing: Flight) -> None:
    def arrival(f: Flight) -> float:
        """Height when the reference has come down."""
        down = VEHICLE.gear_clearance + 1e-9
        landed = (r.stage == "land" and r.reference is not None and r.reference.position[2] < down for r in f.records)
        return f.heights[list(landed).index(True)]

    without = flight()
    without.fly(25.0)
    assert Phase.LANDED in without.phases
    assert arrival(landing) < 0.01
    assert arrival(without) > 3 * max(arrival(landing), 0.003)


def test_setpoints_are_unit_finite_within_the_thrust_and_one_a_tick(landing: Flight) -> None:
    sent = [s for _, s in landing.link.sent]
    assert all(isinstance(s, AttitudeSetpoint) for s in sent)
    q = np.array([s.attitude for s in sent])  # type: ignore[union-attr]
    np.testing.assert_allclose(np.linalg.norm(q, axis=1), 1.0, atol=1e-6)
    thrust = np.array([s.thrust for s in sent])
    assert np.all((thrust >= 0) & (thrust <= 4 * VEHICLE.thrust_coefficient * VEHICLE.u_max))
    times = [t for t, _ in landing.link.sent]
    np.testing.assert_allclose(np.diff(times), 1 / RATE, atol=1e-9)


def test_the_record_tells_what_was_subtracted_who_flew_and_where_u_came_from(landing: Flight) -> None:
    flown = [
        r
        for r in landing.records
        if r.decision.phase is Phase.TRACKING and r.decision.network_share == 1.0 and r.stage == "hover"
    ]
    for r in flown:
        np.testing.assert_allclose(r.f_a_applied, r.f_a_predicted, atol=0.02)  # both at the thrust that was sent
        assert r.in_control == "companion"
        assert r.rotor_speed_source == COMMANDED
        assert r.rotor_speed is not None and r.setpoint is not None
        assert VEHICLE.thrust_coefficient * np.sum(r.rotor_speed**2) == pytest.approx(r.setpoint.thrust)
    assert landing.records[-1].in_control == "nobody"
    assert landing.records[-1].rotor_speed_source == STOPPED


def test_measured_rotor_speed_comes_before_the_commanded() -> None:
    f = flight(link={"rotors": True})
    assert f.fly(8.0)[-1].rotor_speed_source == MEASURED


@pytest.mark.slow
def test_an_error_of_ten_percent_in_thrust_is_trimmed_and_still_lands() -> None:
    f = flight(Knows(), link={"thrust_scale": 0.9})
    f.fly(30.0)
    assert Phase.LANDED in f.phases
    assert f.heights[-1] == pytest.approx(0.0, abs=1e-9)


@pytest.mark.slow
def test_a_range_that_reads_too_much_still_ends_in_touchdown() -> None:
    """The gear never seems to reach the floor: thrust without motion gives it away."""
    f = flight(Knows(), height=DeclaredFloor(-0.45))  # 5 cm below the true one
    f.fly(30.0)
    assert Phase.LANDED in f.phases
    assert f.heights[-1] == pytest.approx(0.0, abs=1e-9)


@pytest.mark.slow
def test_an_autopilot_that_says_landed_in_the_air_costs_no_fall(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its flag is a reason to ask the ground, which does not carry there: the vehicle is let down, and lands."""
    f = flight(Knows())
    f.until("land")
    poll, begun = f.link.poll, f.clock.now()
    monkeypatch.setattr(
        f.link, "poll", lambda now: [replace(r, landed=True) if isinstance(r, StatusReport) else r for r in poll(now)]
    )
    assert f.heights[-1] > 0.5
    f.fly(15.0)
    landed = next(r.t for r in f.records if r.decision.phase is Phase.LANDED)
    falls = -np.diff(f.heights) * RATE
    assert falls[len(falls) - 1500 :].max() < 0.5  # m/s: no drop from 0.5 m, which ends at 3 m/s
    assert landed - begun > 1.0
    assert f.heights[-1] == pytest.approx(0.0, abs=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("bias, noise", [(-0.085, 0.0), (-0.1, 0.0), (-0.13, 0.0), (-0.07, 0.03)])
def test_a_speed_that_is_off_on_the_ground_does_not_take_off_again(
    bias: float, noise: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An estimator that goes on sinking once the vehicle stands, and the autopilot's flag."""
    f, rng, since = flight(Knows()), np.random.default_rng(0), []
    f.until("land")
    poll = f.link.poll

    def off(now: float) -> list:
        reports = list(poll(now))
        if f.link.height < 1e-6:
            since.append(now)
        for k, r in enumerate(reports if since else []):
            if isinstance(r, PositionReport):
                away = np.array([0.0, 0.0, noise * rng.standard_normal()])
                reports[k] = replace(r, position=r.position + away, velocity=r.velocity + [0.0, 0.0, bias])
            elif isinstance(r, StatusReport):
                reports[k] = replace(r, landed=True)
        return reports

    monkeypatch.setattr(f.link, "poll", off)
    f.fly(12.0)
    found = next(r.t for r in f.records if r.decision.phase is Phase.LANDED)
    assert found - since[0] < 4.0
    assert Phase.HOLDING not in f.phases and f.heights[-1] == pytest.approx(0.0, abs=1e-9)


def with_a_speed_that_is_off(bias: float, below: float, monkeypatch: pytest.MonkeyPatch) -> tuple[Flight, int]:
    """A landing without the autopilot's flag, whose vertical speed is off by ``bias`` in m/s from ``below`` m on.

    The flight, 13 s later, and the record where that began.
    """
    f, off = flight(Knows()), np.zeros(3)
    f.until("land")
    poll = f.link.poll

    def told(report: object) -> object:
        if isinstance(report, StatusReport):
            return replace(report, landed=None)
        return replace(report, velocity=report.velocity + off) if isinstance(report, PositionReport) else report

    def polled(now: float) -> list:
        off[2] = bias if f.link.height < below else off[2]
        return [told(report) for report in poll(now)]

    monkeypatch.setattr(f.link, "poll", polled)
    begun = len(f.heights)
    f.fly(13.0)
    return f, begun + int(np.flatnonzero(np.array(f.heights[begun:]) < below)[0])


@pytest.mark.parametrize("below", [0.001, pytest.param(0.3, marks=pytest.mark.slow)])
@pytest.mark.parametrize("bias", [-0.07, *(pytest.param(v, marks=pytest.mark.slow) for v in (-0.1, -0.13)), -0.2, 0.1])
def test_who_is_held_up_by_a_speed_that_is_off_finds_out_and_lands(
    bias: float, below: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The controller believes that it sinks, and hangs some centimetres up, until the positions tell otherwise."""
    f, began = with_a_speed_that_is_off(bias, below, monkeypatch)
    landed = next(r.t for r in f.records if r.decision.phase is Phase.LANDED)
    assert landed - f.records[began].t < 3.5
    assert max(f.heights[began:]) < max(below, 0.1) and f.heights[-1] == pytest.approx(0.0, abs=1e-9)


@pytest.mark.slow
def test_who_is_held_up_low_by_a_speed_that_nobody_believes_is_handed_back(monkeypatch: pytest.MonkeyPatch) -> None:
    f, began = with_a_speed_that_is_off(-0.3, 0.001, monkeypatch)
    assert Phase.HOLDING not in f.phases and f.phases[-1] is Phase.OBSERVING
    assert max(f.heights[began:]) < 0.15
    assert [r for _, r in f.link.requests][-1] == "hand back"
    assert "plan's end: on the ground" in " ".join(r.decision.reason for r in f.records)


@pytest.mark.slow
def test_no_touchdown_is_seen_in_the_air() -> None:
    f = flight(Knows())
    f.fly(20.0)
    landed = next(k for k, r in enumerate(f.records) if r.decision.phase is Phase.LANDED)
    assert all(h < 0.003 for h in f.heights[landed - round(0.3 * RATE) : landed])


@pytest.mark.slow
def test_in_the_air_the_pilot_gives_control_and_it_lands_from_there() -> None:
    f = flight(Knows(), Permission(), link={"position": [0.5, 0.2, 1.3]})
    f.link.armed, f.link.thrust = True, VEHICLE.weight
    f.fly(2.0)
    assert f.records[-1].decision.output is Output.STAY
    assert f.link.requests == []
    f.link.accepts = True
    f.fly(20.0)
    assert f.phases[-3:] == [Phase.TRACKING, Phase.LANDED, Phase.LANDED]
    assert [r for _, r in f.link.requests] == ["disarm"]
    np.testing.assert_allclose(f.link.p[:2], [0.5, 0.2], atol=0.01)


def test_the_heading_at_the_start_is_kept() -> None:
    f = flight(permission=Permission(), link={"position": [0.0, 0.0, 0.8]})
    f.link.armed, f.link.thrust = True, VEHICLE.weight
    f.link.q = np.array([math.cos(0.6), 0.0, 0.0, math.sin(0.6)])
    f.fly(1.0)
    f.link.accepts = True
    f.fly(4.0)
    R = quaternion_to_matrix(f.link.q)
    assert math.atan2(R[1, 0], R[0, 0]) == pytest.approx(1.2, abs=1e-6)


def test_a_link_that_carries_rates_gets_rates() -> None:
    f = flight(rates=True)
    f.fly(1.0)
    assert all(isinstance(s, RatesSetpoint) for _, s in f.link.sent)


# --- what is not sent -------------------------------------------------------------------------------------------------


def test_observing_sends_nothing_whatever_the_pilot_does() -> None:
    f = flight(Knows(), Permission(observe=True, take_control=True, arm=True))
    f.fly(1.0)
    f.link.armed = f.link.accepts = True
    f.fly(2.0)
    assert f.link.sent == [] and f.link.requests == []
    assert f.records[-1].f_a_predicted is not None


def test_a_dry_run_goes_through_it_all_and_sends_nothing() -> None:
    f = flight(dry_run=True, link={"position": [0.0, 0.0, 0.8]})
    f.link.armed, f.link.thrust = True, VEHICLE.weight
    f.fly(1.0)
    f.link.accepts = True
    assert f.fly(1.0)[-1].setpoint is not None
    assert f.link.sent == [] and f.link.requests == []
    assert f.records[-1].in_control == "autopilot"
    assert f.records[-1].rotor_speed is None  # what another commands is not known
    assert not any(np.any(r.f_a_applied) for r in f.records)


def test_without_a_height_above_the_ground_nothing_begins() -> None:
    f = flight(link={"range_period": None})
    f.fly(5.0)
    assert {r.decision.phase for r in f.records} == {Phase.OBSERVING}
    assert f.records[-1].decision.reason == "no height above the ground"
    assert f.link.sent == []


def test_a_failed_check_or_a_bad_battery_keeps_it_on_the_ground() -> None:
    f = flight(checks_passed=False)
    assert "pre-flight check" in f.fly(3.0)[-1].decision.reason
    f = flight(bounds=Bounds(battery_voltage=16.0))
    assert "battery" in f.fly(3.0)[-1].decision.reason
    assert f.link.sent == []


def test_a_battery_that_is_watched_and_falls_silent_counts_as_low_and_a_restart_forgets_it() -> None:
    report = BatteryReport(received=100.0, voltage=16.0)
    assert not Bounds(battery_voltage=14.0).battery_low(report, 100.0 + BATTERY_AGE)
    assert Bounds(battery_voltage=14.0).battery_low(report, 100.1 + BATTERY_AGE)
    assert not Bounds().battery_low(report, 1000.0)
    heard = Heard(VEHICLE, None)
    heard.take([report], 100.0)
    assert heard.battery is report
    heard.take([RestartReport(101.0, "booted anew")], 101.0)
    assert heard.battery is None


# --- faults in flight -------------------------------------------------------------------------------------------------


class Fails(Knows):
    """A residual that knows the ground effect until ``broken`` is set."""

    broken: Callable[[], np.ndarray] | None = None

    def at(self, state: State) -> Callable[[np.ndarray], np.ndarray]:
        broken = self.broken
        return super().at(state) if broken is None else lambda rotor_thrust: broken()


@cache
def _hovering() -> Flight:
    f = flight(Fails())
    f.until("hover")
    assert f.records[-1].decision.phase is Phase.TRACKING
    f.records, f.heights = [], []
    return f


def airborne() -> Flight:
    """A copy of one flight that hovers under our control."""
    return deepcopy(_hovering())


def _raise() -> np.ndarray:
    raise KeyError("weights")


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (_raise, "the controller failed: KeyError"),
        (lambda: np.full(3, np.nan), "not finite"),
        (lambda: np.array([0.0, np.inf, 0.0]), "not finite"),
    ],
)
def test_a_controller_that_fails_sends_nothing_more_and_hands_back(broken: Callable, words: str) -> None:
    f = airborne()
    before = f.clock.now()
    f.loop.guidance.residual.model.broken = broken  # type: ignore[attr-defined]
    with np.errstate(invalid="ignore"):
        after = f.fly(2.0)
    assert last_sent(f) <= before
    assert words in " ".join(after[0].problems)
    assert after[0].setpoint is None
    assert Phase.HANDING_BACK in f.phases
    assert ("hand back" in [r for _, r in f.link.requests]) and not f.link.accepts


def test_a_state_that_halts_while_its_stamps_run_on_is_flown_from_no_longer_than_an_old_one() -> None:
    f = airborne()
    begin = f.clock.now()
    f.link.halted = True
    f.fly(2.0)
    assert begin < last_sent(f) < begin + f.loop.limits.state_age + 0.06  # four repeats are let pass
    assert Phase.HANDING_BACK in f.phases and "hand back" in [r for _, r in f.link.requests]


def test_a_controller_that_has_failed_is_not_asked_again_once_control_is_gone() -> None:
    f = airborne()
    asked = []

    def broken() -> np.ndarray:
        asked.append(f.clock.now())
        raise KeyError("weights")

    f.loop.guidance.residual.model.broken = broken  # type: ignore[attr-defined]
    f.fly(1.0)
    before = len(asked)
    f.fly(3.0)
    assert f.phases[-1] is Phase.OBSERVING and before <= len(asked) <= before + 1


def test_what_was_heard_of_the_mode_before_the_port_went_does_not_count_after() -> None:
    f = airborne()
    silent = FakeLink(VEHICLE, floor=-0.4)
    f.loop._kept._reopen = lambda: silent
    f.link.lost = True
    f.fly(0.1)
    assert f.loop.heard.status is not None  # it flies on, as far as is known
    silent.poll = lambda now: ()  # type: ignore[method-assign]
    f.loop._kept._tried = -math.inf
    f.fly(0.05)
    assert f.loop.link is silent and f.loop.heard.status is None


def test_a_setpoint_that_the_link_refuses_hands_back(monkeypatch: pytest.MonkeyPatch) -> None:
    f = airborne()

    def refuse(setpoint: object, now: float) -> None:
        raise UserError("thrust = 99 N is out of range")

    monkeypatch.setattr(f.link, "send", refuse)
    after = f.fly(0.5)
    assert "setpoint refused: thrust = 99 N" in after[0].problems[0]
    assert after[0].setpoint is None
    assert Phase.HANDING_BACK in f.phases


def test_a_request_or_a_look_that_the_link_refuses_is_told_and_the_loop_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    f = airborne()

    def refuse(now: float) -> None:
        raise UserError("the sticks and switches are not read yet")

    with monkeypatch.context() as patch:
        patch.setattr(f.link, "hand_back", refuse)
        after = f.fly(0.5, stop=True)
        assert any("not read yet" in problem for r in after for problem in r.problems)
        assert f.link.accepts and f.loop.link is f.link
    f.fly(2.0)
    assert f.link.requests[-1][1] == "hand back" and not f.link.accepts
    monkeypatch.setattr(f.link, "poll", refuse)
    assert "not read yet" in f.fly(0.01)[0].problems[0]


@pytest.mark.slow
def test_a_link_that_fails_in_one_look_is_told_and_the_flight_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    f = airborne()
    with monkeypatch.context() as patch:
        patch.setattr(f.link, "poll", lambda now: struct.unpack("<I", b"cut"))
        assert "the link failed: error: unpack requires a buffer of 4 bytes" in f.fly(0.01)[0].problems[0]
    f.fly(20.0)
    assert Phase.LANDED in f.phases and Phase.HANDING_BACK not in f.phases


def test_a_link_that_fails_in_every_look_ages_the_state_and_control_is_handed_back() -> None:
    f = airborne()
    before = f.clock.now()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(f.link, "poll", lambda now: int("no number"))
        f.fly(1.0)
    asked, request = f.link.requests[-1]
    assert request == "hand back" and asked - before < f.loop.limits.stale_time + 0.05
    assert last_sent(f) - before < f.loop.limits.state_age + 0.01
    f.fly(1.0)
    assert f.records[-1].decision.memory.locked.startswith("handed back")


def test_a_link_that_fails_in_sending_or_asking_hands_back_and_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    f = airborne()

    def broken(*arguments: object) -> None:
        raise KeyError("no such channel")

    monkeypatch.setattr(f.link, "send", broken)
    with monkeypatch.context() as patch:
        patch.setattr(f.link, "hand_back", broken)
        problems = " ".join(problem for r in f.fly(0.5) for problem in r.problems)
    assert "sending failed: KeyError: 'no such channel'" in problems and "a request failed: KeyError" in problems
    f.fly(2.0)
    assert f.link.requests[-1][1] == "hand back" and not f.link.accepts


def test_a_setpoint_for_which_the_line_had_no_room_is_not_told_as_flown() -> None:
    f = airborne()
    assert f.fly(0.1)[-1].rotor_speed_source == COMMANDED
    f.link.full, before = True, len(f.link.sent)
    for record in f.fly(0.1):
        assert record.setpoint is None and record.rotor_speed is None
        assert not record.f_a_applied.any()
    assert len(f.link.sent) == before
    f.link.full = False
    assert f.fly(0.1)[-1].setpoint is not None


def test_nan_in_the_state_is_refused_and_no_setpoint_comes_of_it() -> None:
    f = airborne()
    f.link.poison = True
    after = f.fly(1.0)
    poisoned = f.clock.now() - 1.0
    assert "position is not finite" in after[0].problems
    assert last_sent(f) <= poisoned + f.loop.limits.state_age
    assert f.phases[-2:] == [Phase.HANDING_BACK, Phase.OBSERVING]


@pytest.mark.parametrize("fault", ["silent", "frozen"])
@pytest.mark.parametrize("seconds", [0.05, 0.2, 1.0])
def test_no_setpoint_is_made_from_a_state_over_the_limit(fault: str, seconds: float) -> None:
    f = airborne()
    begin = f.clock.now()
    setattr(f.link, fault, True)
    f.fly(seconds)
    setattr(f.link, fault, False)
    end = f.clock.now()
    f.fly(1.0)
    during = [t for t, _ in f.link.sent if begin < t < end]
    assert all(t - begin <= f.loop.limits.state_age for t in during)
    resumed = [t for t, _ in f.link.sent if t >= end]
    assert bool(resumed) is (seconds < f.loop.limits.stale_time)
    assert (Phase.HANDING_BACK in f.phases) is (seconds > f.loop.limits.stale_time)


def test_a_tick_that_was_held_up_sends_nothing_from_the_state_that_has_grown_old() -> None:
    f = airborne()
    begin, held_up = f.clock.now(), 0.04
    f.loop._clock = lambda: f.clock.now() + held_up
    assert f.fly(0.001)[0].setpoint is not None
    assert f.link.sent[-1][0] == pytest.approx(begin + held_up)
    held_up = 0.06
    record = f.fly(0.001)[0]
    assert record.setpoint is None and "too old" in record.problems[0]
    assert f.link.sent[-1][0] < begin + 0.05
    f.fly(0.5)
    assert f.phases == [Phase.HANDING_BACK, Phase.OBSERVING]


@pytest.mark.parametrize("closes", [True, False])
def test_unplugged_and_plugged_in_again_it_only_watches(closes: bool) -> None:
    def fail() -> None:
        f.link.closed = True
        raise OSError("input/output error")

    f = airborne()
    reopened = FakeLink(VEHICLE, floor=-0.4)
    f.loop._kept._reopen = lambda: reopened
    f.link.lost = True
    if not closes:  # as a port may, whose device is gone
        f.link.close = fail  # type: ignore[method-assign]
    after = f.fly(0.5)
    assert "unplugged" in after[0].problems[0]
    assert f.phases[-1] is Phase.DISCONNECTED
    assert f.link.closed
    reopened.p = f.link.p
    reopened.armed = reopened.accepts = True
    f.fly(5.0)
    assert f.phases[-1] is Phase.OBSERVING
    reopened.armed = False
    f.fly(5.0)
    assert reopened.sent == [] and reopened.requests == []


@pytest.mark.parametrize("how", ["listen", "send", "request"])
@pytest.mark.parametrize("airborne_before", [False, True])
def test_a_port_that_is_lost_between_two_ticks_or_within_one_is_seen_and_locks(how: str, airborne_before: bool) -> None:
    """However soon it could be opened again: nothing is asked for on the one that is back."""
    f = airborne() if airborne_before else flight(link={"grants_mode": False})
    if not airborne_before:
        f.fly(1.0)
    old, back = f.loop.link, FakeLink(VEHICLE, floor=-0.4)
    assert isinstance(old, FakeLink)
    f.loop._kept._reopen = lambda: back

    def gone(*arguments: object) -> None:
        raise LinkLost("unplugged")

    for name in {"listen": ("poll",), "send": ("send",), "request": ("take_control", "hand_back")}[how]:
        setattr(old, name, gone)
    back.p, back.v, back.armed, back.accepts = old.p, old.v, old.armed, old.accepts

    def tick(now: float, lateness: float) -> bool:
        if how == "request" and airborne_before:
            f.loop.tick(now, lateness, stop=True)
        else:
            f.loop.tick(now, lateness)
        return now < begin + 8.0

    begin = f.clock.now()
    run(tick, RATE, f.clock, f.loop.listen)
    assert f.loop.link is back and f.loop.memory.locked
    assert back.requests == [] and back.sent == []


def test_a_port_that_stays_away_is_tried_once_a_second() -> None:
    tries = []

    def reopen() -> FakeLink:
        tries.append(f.clock.now())
        raise LinkLost("no such port")

    f = flight(reopen=reopen)
    f.fly(1.0)
    f.link.lost = True
    f.fly(5.0)
    assert 5 <= len(tries) <= 6


def test_after_a_restart_of_the_autopilot_nothing_is_sent() -> None:
    f = airborne()
    f.link.restarted = True
    f.fly(0.01)
    before = f.clock.now()
    f.link.armed = f.link.accepts = False
    f.fly(5.0)
    f.link.armed = f.link.accepts = True
    f.fly(5.0)
    assert last_sent(f) < before
    assert f.phases[-1] is Phase.OBSERVING
    assert [r for _, r in f.link.requests] == ["take control", "arm"]


@pytest.mark.parametrize("switch", ["accepts", "armed"])
def test_the_pilots_switch_wins_at_once_and_for_good(switch: str) -> None:
    f = airborne()
    setattr(f.link, switch, False)
    f.fly(0.25)  # the status says so every 0.2 s
    noticed = f.clock.now()
    f.fly(2.0)
    setattr(f.link, switch, True)
    f.fly(3.0)
    assert last_sent(f) <= noticed
    assert f.phases[-1] is Phase.OBSERVING
    assert [r for _, r in f.link.requests] == ["take control", "arm"]


@pytest.mark.slow
def test_the_abort_key_in_the_descent_goes_around_and_then_hands_back() -> None:
    f = flight(Knows())
    f.until("land")
    f.fly(1.5)
    low = f.heights[-1]
    f.fly(4.0, abort=True)
    assert low < 0.5
    assert f.heights[-1] == pytest.approx(1.0, abs=0.1)
    assert f.records[-1].stage == "go around"
    assert f.records[-1].decision.network_share == 0.0
    f.fly(3.0)
    assert not f.link.accepts and "hand back" in [r for _, r in f.link.requests]


@pytest.mark.slow
@pytest.mark.parametrize("height", [0.6, 0.15, 0.05])
def test_a_go_around_begins_where_the_vehicle_is_with_the_speed_that_it_has(height: float) -> None:
    """No step in position or velocity, a limited acceleration, and the sink arrested within half the height left."""
    f = flight(Knows())
    f.until("land")
    while f.heights[-1] > height:
        f.fly(0.01)
    before = f.records[-1].reference
    after = [r.reference for r in f.fly(4.0, abort=True)]
    assert before is not None and all(r is not None for r in after)
    z, v, a = (np.array([getattr(r, name)[2] for r in after]) for name in ("position", "velocity", "acceleration"))
    assert z[0] == pytest.approx(before.position[2], abs=0.02) and v[0] == pytest.approx(-0.3, abs=0.06)
    assert np.abs(np.diff(v)).max() < 0.07  # 6 m/s^2 over a tick, beyond which the thrust would jump
    assert 2.9 < a[0] < 6.1
    assert min(z) - VEHICLE.gear_clearance > 0.4 * height
    assert min(f.heights[-400:]) > 0.2 * height  # and so does the vehicle
    assert f.records[-1].stage == "go around" and f.heights[-1] == pytest.approx(1.0, abs=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["spooling", "on the gear"])
@pytest.mark.parametrize("breach", [False, True])
def test_who_stands_is_not_launched_by_an_abort_or_a_breach(moment: str, breach: bool) -> None:
    """Before the lift-off, and while the ground is asked: the autopilot gets control, and thrust does not rise."""
    f = flight(Knows(), bounds=Bounds(Volume(radius=2.0)) if breach else None)
    if moment == "spooling":
        while f.link.thrust < 0.5 * VEHICLE.weight:
            f.fly(0.01)
        assert f.loop.guidance.plan.standing
    else:
        f.until("land")
        while f.loop.guidance.probe.share > 0.9:
            f.fly(0.01)
    assert f.heights[-1] < 0.01
    if breach:
        f.link.p = f.link.p + [3.0, 0.0, 0.0]
    most, sent = f.link.thrust, len(f.link.sent)
    after = f.fly(6.0, abort=not breach)
    assert max((s.thrust for _, s in f.link.sent[sent:]), default=0.0) <= most  # type: ignore[union-attr]
    assert Phase.HOLDING not in f.phases and Phase.HANDING_BACK in f.phases
    assert "on the ground" in " ".join(r.decision.reason for r in after)
    assert [r for _, r in f.link.requests][-1] == "hand back"


def test_a_hold_comes_to_rest_from_the_motion_it_began_in() -> None:
    plan = FlightPlan(VEHICLE)
    level = np.array([1.0, 0, 0, 0])
    p, v = np.array([0.0, 0.0, 0.9 + VEHICLE.gear_clearance]), np.array([0.6, 0.0, -0.9])
    plan.hold(5.0, State(p, v, level, np.zeros(3), np.float64(0.9)))
    np.testing.assert_allclose(plan.reference(5.0).position, p)
    np.testing.assert_allclose(plan.reference(5.0).velocity, v)
    rest = plan.reference(9.0)
    np.testing.assert_allclose(rest.velocity, 0.0)
    np.testing.assert_allclose(rest.position, [0.06, 0.0, p[2]], atol=1e-9)


def test_the_end_of_the_program_hands_back_first() -> None:
    f = airborne()
    f.fly(1.0, stop=True)
    assert f.phases[-2:] == [Phase.HANDING_BACK, Phase.OBSERVING]
    assert [r for _, r in f.link.requests][-1] == "hand back"


@pytest.mark.slow
def test_a_height_that_goes_stale_fades_the_network_visibly_and_the_landing_goes_on() -> None:
    f = flight(Knows())
    f.until("land")
    f.link.range_period = None
    after = f.fly(2.0)
    assert "height above the ground is stale" in " ".join(r.decision.reason for r in after)
    assert after[-1].decision.phase is Phase.FADING
    assert after[-1].decision.network_share == 0.0
    np.testing.assert_array_equal(after[-1].f_a_applied, 0.0)
    assert after[-1].setpoint is not None


def test_out_of_its_domain_the_network_fades_and_the_landing_goes_on_without_it() -> None:
    f = airborne()
    f.loop._score = lambda state: 1.4
    f.fly(15.0)
    assert f.phases == [Phase.FADING, Phase.LANDED, Phase.LANDED]
    assert max(r.domain_score for r in f.records) == 1.4
    assert all(not np.any(r.f_a_applied) for r in f.records[60:])


def test_a_domain_score_that_fails_counts_as_outside() -> None:
    f = airborne()
    f.loop._score = lambda state: 1.0 / 0.0
    after = f.fly(1.0)
    assert f.phases == [Phase.FADING]
    assert "the domain score failed: ZeroDivisionError" in after[0].problems[0]


def test_a_height_that_stays_away_in_the_air_ends_in_a_hold_and_the_autopilots_landing() -> None:
    f = airborne()
    f.link.range_period = None
    f.fly(12.0)
    assert f.phases == [Phase.FADING, Phase.HOLDING, Phase.HANDING_BACK, Phase.OBSERVING]


def test_leaving_the_flight_volume_stops_the_flight_there() -> None:
    f = airborne()
    f.loop.bounds = Bounds(Volume(radius=0.01))
    f.link.v = np.array([0.2, 0.0, 0.0])  # a gust
    f.fly(2.0)
    assert Phase.HOLDING in f.phases
    assert any("flight volume" in r.decision.reason for r in f.records)


def test_a_vehicle_that_a_hold_does_not_stop_is_handed_back_half_a_metre_outside() -> None:
    f = airborne()
    f.loop.bounds = Bounds(Volume(radius=0.3))
    f.loop.guidance._setpoint = lambda state, attitude, thrust: AttitudeSetpoint(LEANING, thrust)  # type: ignore[method-assign]
    f.fly(3.0)
    assert f.phases[:2] == [Phase.HOLDING, Phase.HANDING_BACK]
    ended = next(r for r in f.records if r.decision.phase is Phase.HANDING_BACK)
    assert "flight volume" in ended.decision.reason and ended.estimate is not None
    assert np.linalg.norm(ended.estimate.position[:2]) < 0.9


def test_the_flight_volume_tells_how_far_and_how_fast_it_was_left() -> None:
    volume, home = Volume(radius=2.0, ceiling=3.0), np.array([1.0, 0.0, 5.0])

    def at(position: list[float], velocity: list[float], height: float = 1.0) -> tuple[float, float]:
        p, v = np.array(position), np.array(velocity)
        return volume.outside(home, State(p, v, np.array([1.0, 0, 0, 0]), np.zeros(3), np.float64(height)))

    assert at([2.9, 0.0, 0.0], [9.0, 0.0, 9.0]) == (0.0, 0.0)
    assert at([1.0, -2.5, 0.0], [9.0, -0.4, 9.0]) == pytest.approx((0.5, 0.4))
    assert at([1.0, -2.5, 0.0], [0.0, 0.4, 0.0]) == pytest.approx((0.5, 0.0))
    assert at([1.0, 0.0, 0.0], [9.0, 0.0, 1.2], 3.5) == pytest.approx((0.5, 1.2))
    assert at([4.0, 0.0, 0.0], [0.1, 0.0, 1.2], 3.5) == pytest.approx((1.0, 1.2))
    assert Volume().outside(None, State(home, home, np.array([1.0, 0, 0, 0]), home, np.float64(99.0))) == (0.0, 0.0)


def test_a_jump_of_the_estimator_is_held_at_the_new_place() -> None:
    f = airborne()
    f.link.p = f.link.p + [0.6, 0.0, 0.0]
    f.fly(2.0)
    assert f.phases[-1] is Phase.HOLDING
    assert f.link.p[0] == pytest.approx(0.6, abs=0.05)


def test_ticks_that_come_late_fade_the_network() -> None:
    f = airborne()
    record = f.loop.tick(f.clock.now() + 0.03, lateness=0.03)
    assert record.decision.phase is Phase.FADING
    assert "late" in record.decision.reason


@pytest.mark.parametrize(("rate", "missed"), [(50.0, 1), (200.0, 3)])
def test_the_ticks_that_a_stall_within_the_limit_costs_do_not_take_the_network_away(rate: float, missed: int) -> None:
    f = airborne()
    f.loop.limits = Limits(lateness=lateness_at(rate))
    late = missed / rate + 0.002
    assert f.loop.tick(f.clock.now() + late, lateness=late).decision.phase is Phase.TRACKING


# --- parts ------------------------------------------------------------------------------------------------------------


@given(st.tuples(*[st.floats(-1.0, 1.0)] * 4).filter(lambda q: math.hypot(*q) > 0.1))
def test_the_quaternion_of_a_rotation_is_scipys(q: tuple[float, ...]) -> None:
    rotation = Rotation.from_quat(q, scalar_first=True)
    got = quaternion_of(rotation.as_matrix().tolist())
    assert got[0] >= 0 and np.linalg.norm(got) == pytest.approx(1.0, abs=1e-12)
    assert (Rotation.from_quat(got, scalar_first=True).inv() * rotation).magnitude() < 1e-7


def test_a_faded_residual_is_its_share_and_at_zero_the_network_is_not_asked() -> None:
    state = State(np.zeros(3), np.zeros(3), np.array([1.0, 0, 0, 0]), np.zeros(3), np.float64(0.1))
    thrust = np.full(4, 3.0)
    whole = Knows().at(state)(thrust)
    np.testing.assert_allclose(FadedResidual(Knows(), 0.3).at(state)(thrust), 0.3 * whole)
    broken = Fails()
    broken.broken = _raise
    np.testing.assert_array_equal(FadedResidual(broken, 0.0).at(state)(thrust), np.zeros(3))


@pytest.mark.parametrize(
    "change", [{"height": 0.0}, {"height": math.nan}, {"landing_speed": 2.0}, {"settle_time": -1.0}]
)
def test_a_flight_plan_that_cannot_be_flown_is_refused(change: dict) -> None:
    with pytest.raises(UserError, match="flight plan"):
        FlightPlan(VEHICLE, **change)


def test_the_plan_has_no_jump_in_position_from_stage_to_stage() -> None:
    plan = FlightPlan(VEHICLE)
    start = np.array([0.3, -0.2, VEHICLE.gear_clearance])
    plan.begin(8.0, start, 0.5, on_ground=True)
    assert plan.standing and not plan.has_lifted(start + [0, 0, 0.03]) and plan.has_lifted(start + [0, 0, 0.06])
    plan.lift(10.0, start)
    positions = np.array([plan.reference(10.0 + 0.01 * k).position for k in range(2000)])
    assert np.abs(np.diff(positions, axis=0)).max() < 0.0051  # 0.5 m/s
    np.testing.assert_allclose(positions[0], start)
    np.testing.assert_allclose(positions[-1], start)
    assert positions[:, 2].max() == pytest.approx(VEHICLE.gear_clearance + 1.0)
    assert plan.reference(12.0).yaw == 0.5
    assert not plan.overdue(20.0) and plan.overdue(40.0)


@pytest.mark.parametrize("thrust_to_weight", [1.45, 1.6])
@pytest.mark.parametrize("thrust_scale", [0.85, 0.9])
def test_the_surplus_of_the_take_off_asks_for_no_more_than_the_rotors_give(
    thrust_to_weight: float, thrust_scale: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    weak = replace(VEHICLE, rotor_speed_max=VEHICLE.hover_speed * math.sqrt(thrust_to_weight))
    link = FakeLink(weak, thrust_scale=thrust_scale)
    guidance = Guidance(Controller(weak, NoResidual()), FlightPlan(weak))
    f = Flight(link, FlightLoop(link, guidance, Rangefinder(), permission=ALL))
    send = link.send
    monkeypatch.setattr(link, "send", lambda setpoint, now: check_setpoint(setpoint, weak) or send(setpoint, now))
    f.fly(12.0)
    assert max(f.heights) > 0.9
    assert not any(r.problems for r in f.records) and Phase.HANDING_BACK not in f.phases


def test_thrust_grows_slowly_beyond_the_weight_until_the_vehicle_lifts_and_not_for_ever() -> None:
    plan = FlightPlan(VEHICLE)
    plan.begin(10.0, np.zeros(3), 0.0, on_ground=True)
    assert [plan.thrust_share(t) for t in (10.0, 10.5, 11.0)] == pytest.approx([0.0, 0.5, 1.0])
    assert plan.thrust_share(13.0) == pytest.approx(1.1) and plan.thrust_share(60.0) == pytest.approx(1.3)
    assert not plan.stuck(19.0) and plan.stuck(21.0)
    plan.lift(12.0, np.zeros(3))
    assert [plan.thrust_share(t) for t in (12.0, 12.5, 13.0)] == pytest.approx([1.05, 1.025, 1.0])
    assert not plan.stuck(60.0)


def test_ticks_stay_on_their_grid_and_lateness_is_measured() -> None:
    clock, seen = SimulatedClock(0.0), []

    def tick(now: float, lateness: float) -> bool:
        seen.append((now, lateness))
        if len(seen) == 3:
            clock.t += 0.027  # works for too long
        return len(seen) < 6

    assert run(tick, 100.0, clock) == 2
    times, late = zip(*seen, strict=True)
    np.testing.assert_allclose(times, [0.0, 0.01, 0.02, 0.05, 0.06, 0.07], atol=1e-12)
    np.testing.assert_allclose(late, [0.0, 0.0, 0.0, 0.02, 0.0, 0.0], atol=1e-12)


@pytest.mark.parametrize("listen", [None, lambda now: True])
@pytest.mark.parametrize("within", [False, True])
def test_a_stall_within_a_tick_or_between_two_is_told_once(listen: Callable | None, within: bool) -> None:
    clock, seen = SimulatedClock(0.0), []
    wait = clock.sleep_until

    def sleep_until(t: float) -> None:
        wait(t)
        if not within and len(seen) == 3 and clock.t < 0.4:
            clock.t += 0.5

    def tick(now: float, lateness: float) -> bool:
        seen.append(lateness)
        clock.t += 0.501 if within and len(seen) == 3 else 0.001
        return len(seen) < 6

    clock.sleep_until = sleep_until  # type: ignore[method-assign]
    assert run(tick, 100.0, clock, listen) == pytest.approx(50, abs=1)
    assert seen[3] == pytest.approx(0.5, abs=0.016)  # a tick, and half a period
    assert [k for k, late in enumerate(seen) if late > 0.001] == [3]


def test_ticks_move_to_where_states_come_and_stay_there() -> None:
    """States every 10 ms from 4 ms on: the first tick waits for one, the others meet them."""
    clock, seen = SimulatedClock(0.0), []
    run(
        lambda now, lateness: not seen.append(now) and len(seen) < 8,  # type: ignore[func-returns-value]
        100.0,
        clock,
        listen=lambda now: now >= 0.004 and (now - 0.004) % 0.01 < 0.001,
    )
    assert all((t - 0.004) % 0.01 < 0.001 for t in seen)
    np.testing.assert_allclose(np.diff(seen), 0.01, atol=0.001)


def test_states_that_come_unevenly_are_answered_at_once() -> None:
    """Up to a quarter of a period early or late, seeded; hardly one waits longer than for the loop's look."""
    rng = np.random.default_rng(4)
    come = list(0.01 * np.arange(1, 400) + rng.uniform(-0.0025, 0.0025, 399))
    clock, waited, last = SimulatedClock(0.0), [], [0.0]

    def listen(now: float) -> bool:
        return any(last[0] < t <= now for t in come)

    def tick(now: float, lateness: float) -> bool:
        waited.extend(now - t for t in come if last[0] < t <= now)
        last[0] = now
        return now < 3.9

    run(tick, 100.0, clock, listen)
    assert len(waited) > 380
    assert np.percentile(waited[50:], 98) < 0.0005


@pytest.mark.parametrize("of_states", [80.0, 99.0, 101.0, 120.0, 1000.0])
@pytest.mark.parametrize("work", [0.001, 0.006])
def test_ticks_follow_states_of_another_rate_and_are_never_much_faster_than_asked_for(
    of_states: float, work: float
) -> None:
    clock, seen, taken = SimulatedClock(0.0), [], [-1]

    def tick(now: float, lateness: float) -> bool:
        taken[0] = math.floor(now * of_states)
        seen.append((now, now - taken[0] / of_states, lateness))
        clock.t += work
        return now < 10.0

    assert run(tick, 100.0, clock, lambda now: math.floor(now * of_states) > taken[0]) == 0
    _, age, late = np.array(seen[50:]).T
    assert len(seen) / 10.0 == pytest.approx(min(of_states, 125.0), rel=0.01)
    assert age.mean() < 0.001 and late.max() < 0.001


def test_without_a_state_ticks_go_on_half_a_period_late() -> None:
    clock, seen = SimulatedClock(0.0), []
    run(
        lambda now, lateness: not seen.append((now, lateness)) and len(seen) < 8,  # type: ignore[func-returns-value]
        100.0,
        clock,
        listen=lambda now: False,
    )
    times, late = zip(*seen, strict=True)
    np.testing.assert_allclose(np.diff(times), 0.01, atol=1e-9)
    np.testing.assert_allclose(late, 0.005, atol=1e-9)


def test_what_was_heard_between_ticks_counts_in_the_next() -> None:
    f = airborne()
    before = f.clock.now()
    assert f.loop.listen(before)
    f.link.silent = True
    record = f.loop.tick(before + 0.002)
    assert record.estimate is not None
    assert record.estimate.position_age == pytest.approx(0.002 + f.link.delay)
    f.link.lost = True
    assert not f.loop.listen(before + 0.01)
    assert "unplugged" in f.loop.tick(before + 0.012).problems[0]


@pytest.mark.parametrize("rate", [10.0, 1000.0, math.nan])
def test_a_rate_out_of_range_is_refused(rate: float) -> None:
    with pytest.raises(UserError, match="between 50 and 500 Hz"):
        run(lambda now, lateness: False, rate, SimulatedClock())


def test_a_check_result_of_the_link_is_passed_on_as_it_is() -> None:
    check = CheckResult("GUID_OPTIONS", False, "is 0; set it to 8")
    assert flight(link={"checks": [check]}).link.preflight() == [check]
