"""The supervisor: what must hold in every sequence of situations, and each reaction by name."""

import inspect
import math
import re
from collections.abc import Iterable
from dataclasses import fields, replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_bridge.link import StatusReport
from firmware_bridge.loop import FlightLoop
from firmware_bridge.supervisor.decide import decide
from firmware_bridge.supervisor.limits import Limits, Permission
from firmware_bridge.supervisor.types import IN_CONTROL, Decision, Memory, Output, Phase, Situation
from neural_lander.errors import UserError

LIMITS = Limits()
ALL = Permission(take_control=True, arm=True)
DT = 0.05


def status(t: float, armed: bool = False, accepts: bool = False, landed: bool | None = None) -> StatusReport:
    return StatusReport(t, armed, "GUIDED" if accepts else "LOITER", accepts, landed)


def leaves(memory: Memory, armed: bool, **told: object) -> Decision:
    """What is decided once the autopilot is in another mode, and tells this of it."""
    assert memory.updated is not None
    t = memory.updated + DT
    said = replace(status(t, armed), **told)  # type: ignore[arg-type]
    return decide(LIMITS, ALL, memory, replace(fresh(t), status=said))


def fresh(t: float, armed: bool = False, accepts: bool = False, **changes: object) -> Situation:
    ages = {"position_age": 0.01, "attitude_age": 0.01, "height_age": 0.01}
    return Situation(now=t, status=status(t, armed, accepts), **(ages | changes))  # type: ignore[arg-type]


def run(situations: Iterable[Situation], permission: Permission = ALL, memory: Memory | None = None) -> list[Decision]:
    memory, decisions = memory or Memory(), []
    for s in situations:
        decisions.append(decide(LIMITS, permission, memory, s))
        memory = decisions[-1].memory
    return decisions


def tracking(until: float = 3.0, **changes: object) -> Memory:
    """Memory of a flight under control whose share of the network has come up."""
    decisions = run(
        [fresh(0.0), fresh(DT), fresh(2 * DT, True, True)]
        + [fresh(t * DT, True, True) for t in range(3, round(until / DT) + 1)]
    )
    assert decisions[-1].phase is Phase.TRACKING
    assert decisions[-1].network_share == 1.0
    return replace(decisions[-1].memory, **changes)  # type: ignore[arg-type]


def react(seconds: float = 0.0, memory: Memory | None = None, **changes: object) -> list[Decision]:
    """Decisions from a flight under control in which something goes wrong for so long."""
    memory = memory or tracking()
    ticks = [memory.updated + DT * k for k in range(1, 2 + round(seconds / DT))]  # type: ignore[operator]
    return run([fresh(t, **({"armed": True, "accepts": True} | changes)) for t in ticks], memory=memory)  # type: ignore[arg-type]


# --- in every sequence ------------------------------------------------------------------------------------------------

ages = st.sampled_from([0.0, 0.01, 0.05, 0.0501, 0.2, 1.0, 5.0, math.inf, math.nan])
mostly_young = st.one_of(st.just(0.01), st.just(0.01), ages)
rarely = st.sampled_from([False] * 12 + [True])
mostly = st.sampled_from([True] * 12 + [False])
steps = st.builds(
    dict,
    dt=st.sampled_from([0.005, 0.02, 0.1, 0.5, 2.0]),
    connected=mostly,
    restarted=rarely,
    heard=mostly,
    armed=mostly,
    accepts=mostly,
    landed=st.sampled_from([None, False, True]),
    position_age=mostly_young,
    attitude_age=mostly_young,
    height_age=mostly_young,
    on_ground=st.booleans(),
    grounded=st.booleans(),
    domain_score=st.sampled_from([0.0, 0.5, 0.5, 1.5, math.nan]),
    tilt=st.sampled_from([0.0, 0.1, 0.1, 2.0, math.nan]),
    conflict=st.sampled_from([0.0, 0.0, 0.0, 0.1, math.nan]),
    descent_speed=st.sampled_from([0.0, 0.3, 0.3, 3.0, math.nan]),
    outside=st.sampled_from([0.0] * 12 + [0.2, 3.0]),
    leaving=st.sampled_from([0.0, 0.1, 0.1, 3.0]),
    jumped=rarely,
    battery_low=rarely,
    lateness=st.sampled_from([0.0, 0.001, 0.001, 0.03, 1.0]),
    abort=rarely,
    stop=rarely,
    checks_passed=mostly,
    controller_alive=mostly,
    touchdown=rarely,
    pilot_disarms=st.booleans(),
    overdue=rarely,
)
sequences = st.tuples(
    st.integers(0, 12),  # quiet ticks on the ground in which a flight may begin
    st.booleans(),  # whether it does
    st.lists(steps, min_size=1, max_size=40),
)
permissions = st.builds(Permission, observe=rarely, take_control=st.booleans(), arm=st.booleans())


def situations(sequence: tuple[int, bool, list[dict]]) -> list[Situation]:
    quiet, flies, rest = sequence
    made = [fresh(0.2 * k) for k in range(quiet)]
    t = 0.2 * quiet
    if flies:
        made += [fresh(t + 0.2 * k, True, True) for k in range(6)]
        t += 1.2
    heard = status(t, flies, flies)
    for step in rest:
        step = dict(step)
        t += step.pop("dt")
        armed, accepts, landed = step.pop("armed"), step.pop("accepts"), step.pop("landed")
        if step.pop("heard"):
            heard = status(t, armed, accepts, landed)
        made.append(Situation(now=t, status=heard, **step))
    return made


@settings(max_examples=1000)
@given(sequences, permissions)
def test_whatever_happens_these_hold(sequence: tuple[int, bool, list[dict]], permission: Permission) -> None:
    made = situations(sequence)
    decisions = run(made, permission)
    before, was_armed, voided, phases = Memory(), False, False, {Phase.DISCONNECTED}
    for s, d in zip(made, decisions, strict=True):
        sends = d.output is not Output.NOTHING
        state_is_young = s.position_age <= LIMITS.state_age and s.attitude_age <= LIMITS.state_age
        assert s.status is not None
        heard = s.connected and s.now - s.status.received <= LIMITS.status_age
        was_armed |= s.status.armed

        assert not sends or (state_is_young and heard and s.controller_alive and not s.restarted)
        assert not (sends or d.arm or d.take_control or d.hand_back or d.disarm) or not permission.observe
        assert not d.arm or (permission.arm and not was_armed)
        assert not d.take_control or (permission.take_control and not was_armed)
        assert not d.disarm or d.phase is Phase.LANDED
        assert 0.0 <= d.network_share <= 1.0
        assert d.network_share <= before.share or (
            d.phase in (Phase.TRACKING, Phase.FADING) and s.height_age <= LIMITS.height_age and s.domain_score <= 1.0
        )

        # the pilot's switch, a restart, a lost link: once they happened, nothing is sent or asked for again
        if before.phase in IN_CONTROL and not (s.status.armed and s.status.accepts_setpoints):
            assert not sends or (d.phase is Phase.LANDED and not d.memory.locked)
        voided |= d.phase is Phase.DISCONNECTED and before.phase is not Phase.DISCONNECTED
        voided |= s.restarted and before.phase is not Phase.DISCONNECTED
        voided |= before.phase in IN_CONTROL and not s.status.accepts_setpoints and s.status.armed
        if voided:
            assert d.memory.locked
            assert not (sends or d.arm or d.take_control or d.hand_back or d.disarm)
        assert not before.locked or d.memory.locked
        assert not (s.grounded and d.entered and d.phase is Phase.HOLDING)  # nothing that stands is made to climb

        assert d.phase is before.phase or (d.entered and d.reason)
        assert d.phase not in IN_CONTROL or before.phase in IN_CONTROL or before.phase is Phase.ARMED
        assert d.phase is not Phase.TRACKING or s.status.accepts_setpoints
        before = d.memory
        phases.add(d.phase)


@pytest.mark.slow
def test_random_sequences_reach_every_phase() -> None:
    """Otherwise the property above would be empty."""
    reached: set[Phase] = set()

    @settings(max_examples=1000, derandomize=True, database=None)
    @given(sequences, permissions)
    def collect(sequence: tuple[int, bool, list[dict]], permission: Permission) -> None:
        reached.update(d.phase for d in run(situations(sequence), permission))

    collect()
    assert reached == set(Phase)


# --- beginning --------------------------------------------------------------------------------------------------------


def test_the_way_to_the_air_asks_for_the_mode_first_and_for_arming_second() -> None:
    quiet = run([fresh(DT * k) for k in range(60)])
    asked = [k for k, d in enumerate(quiet) if d.take_control]
    assert asked[0] * DT >= LIMITS.lead_time  # of setpoints, which PX4 wants
    assert all(d.output is Output.IDLE for d in quiet[2:])
    assert not any(d.arm for d in quiet)
    guided = run([fresh(3.0 + DT * k, accepts=True) for k in range(60)], memory=quiet[-1].memory)
    assert sum(d.arm for d in guided) == 3  # once a second
    assert all(d.phase is Phase.READY for d in guided)


def test_without_the_permission_nothing_is_asked_for() -> None:
    decisions = run([fresh(DT * k, accepts=k > 30) for k in range(200)], Permission())
    assert decisions[-1].phase is Phase.READY
    assert not any(d.arm or d.take_control for d in decisions)


def test_nothing_is_asked_for_again_before_the_autopilot_has_told_its_mode_since() -> None:
    """It may have granted the mode, and the pilot taken it back, in between: once a second is rare."""

    def told(k: int) -> Situation:
        s, beat = fresh(DT * k), 2.5
        return replace(s, status=status(beat * math.floor(s.now / beat)))

    asked = [d.memory.updated for d in run(map(told, range(1000))) if d.take_control]
    assert len(asked) > 2 and all(b is not None and a is not None for a, b in pairwise(asked))
    assert all(math.floor(b / 2.5) > math.floor(a / 2.5) for a, b in pairwise(asked))  # type: ignore[operator]


def test_requests_that_are_not_granted_end() -> None:
    assert sum(d.take_control for d in run([fresh(DT * k) for k in range(1000)])) == LIMITS.request_repeats


def test_the_pilot_gives_control_in_the_air_with_his_switch() -> None:
    decisions = run([fresh(0.0, True, on_ground=False), fresh(DT, True, on_ground=False)], Permission())
    assert decisions[-1].phase is Phase.ARMED
    assert decisions[-1].output is Output.STAY  # so that the mode can be switched, and nothing jumps
    assert run([fresh(2 * DT, True, True)], memory=decisions[-1].memory)[0].phase is Phase.TRACKING


def test_an_autopilot_that_already_follows_somebody_is_left_alone() -> None:
    decisions = run([fresh(DT * k, True, True) for k in range(100)])
    assert {d.phase for d in decisions} == {Phase.OBSERVING}
    assert "switch to another mode and back" in decisions[-1].reason


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"checks_passed": False}, "pre-flight check"),
        ({"height_age": math.inf}, "no height above the ground"),
        ({"battery_low": True}, "battery low"),
        ({"position_age": math.inf}, "no fresh state: position inf ms, attitude 10 ms old, limit 50 ms"),
        ({"position_age": math.inf, "attitude_age": math.inf}, "no fresh state: position and attitude have not both"),
        ({"attitude_age": math.nan}, "no fresh state"),
        ({"tilt": 1.5}, "tilted"),
        ({"outside": 0.1}, "flight volume"),
    ],
)
def test_an_obstacle_keeps_it_observing_and_is_named(change: dict, reason: str) -> None:
    decisions = run([fresh(0.5 * k, **change) for k in range(20)])
    assert {d.phase for d in decisions} == {Phase.OBSERVING}
    assert {d.output for d in decisions} == {Output.NOTHING}
    assert reason in decisions[-1].reason


def test_a_mode_that_the_pilot_takes_back_before_arming_stays_his() -> None:
    ready = run([fresh(DT * k) for k in range(40)] + [fresh(2.0, accepts=True)])
    decisions = run([fresh(2.1 + DT * k, accepts=k > 100) for k in range(200)], memory=ready[-1].memory)
    assert decisions[0].reason == "the autopilot left our mode: LOITER"
    assert not any(d.take_control or d.arm or d.output is not Output.NOTHING for d in decisions)


def test_a_controller_that_fails_before_the_take_off_is_not_tried_again_and_again() -> None:
    """Its next setpoint would be refused just as well, a hundred times a second."""
    decisions = run([fresh(0.0), fresh(DT), fresh(2 * DT, True)])
    assert decisions[-1].phase is Phase.ARMED
    memory = decisions[-1].memory
    after = run(
        [fresh(3 * DT, True, controller_alive=False)] + [fresh(k * DT, True) for k in range(4, 10)], memory=memory
    )
    assert {d.phase for d in after} == {Phase.OBSERVING}
    assert "no setpoint that can be sent" in after[-1].memory.locked


def test_the_abort_key_before_the_take_off_ends_it() -> None:
    decisions = run(
        [fresh(0.0), fresh(DT), fresh(2 * DT, True), fresh(3 * DT, True, abort=True), fresh(1.0, True, True)]
    )
    assert decisions[-1].phase is Phase.OBSERVING
    assert decisions[-1].output is Output.NOTHING


# --- in flight --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "phase", "reason"),
    [
        ({"accepts": False}, Phase.OBSERVING, "the autopilot left our mode: LOITER"),
        ({"armed": False}, Phase.OBSERVING, "disarmed in the air"),
        ({"restarted": True}, Phase.OBSERVING, "booted anew"),
        ({"connected": False}, Phase.DISCONNECTED, "the port is gone"),
        ({"stop": True}, Phase.HANDING_BACK, "the program ends"),
        ({"controller_alive": False}, Phase.HANDING_BACK, "no setpoint that can be sent"),
        ({"tilt": 1.0}, Phase.HANDING_BACK, "tilt 1.00 rad"),
        ({"tilt": math.nan}, Phase.HANDING_BACK, "tilt"),
        ({"conflict": 0.2}, Phase.HANDING_BACK, "differ by 11 degrees in attitude"),
        ({"conflict": math.nan}, Phase.HANDING_BACK, "in attitude"),
        ({"battery_low": True}, Phase.HANDING_BACK, "battery low"),
        ({"lateness": 0.3}, Phase.HANDING_BACK, "a tick 300 ms late"),
        ({"touchdown": True}, Phase.LANDED, "touchdown"),
        ({"abort": True}, Phase.HOLDING, "going around"),
        ({"outside": 0.1}, Phase.HOLDING, "flight volume"),
        ({"outside": 0.2, "leaving": 1.0}, Phase.HOLDING, "flight volume"),
        ({"outside": 0.6}, Phase.HANDING_BACK, "outside of the flight volume by 0.6 m"),
        ({"outside": math.nan}, Phase.HANDING_BACK, "flight volume"),
        ({"outside": 0.1, "leaving": 2.0}, Phase.HANDING_BACK, "leaves the flight volume at 2.0 m/s"),
        ({"descent_speed": 1.5}, Phase.HOLDING, "descent at 1.50 m/s"),
        ({"jumped": True}, Phase.HOLDING, "jumped"),
        ({"overdue": True}, Phase.HOLDING, "no touchdown"),
        ({"domain_score": 1.2}, Phase.FADING, "score 1.20"),
        ({"height_age": 0.4}, Phase.FADING, "height"),
        ({"height_age": 3.1}, Phase.HOLDING, "no height above the ground for 3 s"),
        ({"height_age": math.inf}, Phase.HOLDING, "no height above the ground for 3 s"),
        ({"lateness": 0.03}, Phase.FADING, "a tick 30 ms late"),
    ],
)
def test_each_reaction_is_immediate_and_says_why(change: dict, phase: Phase, reason: str) -> None:
    decision = react(**change)[0]
    assert decision.phase is phase
    assert decision.entered
    assert reason in decision.reason


WHO = [
    ({"failsafe": False}, "the pilot took over: LOITER"),
    ({"failsafe": True}, "the autopilot's failsafe took over: LOITER"),
    ({"failsafe": True, "fault": "MAV_STATE_CRITICAL"}, "the autopilot's failsafe took over: LOITER"),
    ({}, "the autopilot left our mode: LOITER"),
    ({"fault": "MAV_STATE_FLIGHT_TERMINATION"}, "the autopilot left our mode: LOITER, MAV_STATE_FLIGHT_TERMINATION"),
]


@pytest.mark.parametrize(("told", "words"), WHO)
def test_who_left_our_mode_is_named_and_whoever_it_was_nothing_is_sent_or_asked(told: dict, words: str) -> None:
    ready = run([fresh(DT * k) for k in range(40)] + [fresh(2.0, accepts=True)])[-1].memory
    landed = react(touchdown=True)[-1].memory
    for memory, armed in ((tracking(), True), (ready, False), (landed, True)):
        left = leaves(memory, armed, **told)
        assert left.reason == left.memory.locked == words
        assert left.phase is Phase.OBSERVING and left.output is Output.NOTHING
        assert not (left.take_control or left.arm or left.hand_back or left.disarm)


def test_a_state_over_the_limit_is_not_answered_and_a_long_gap_hands_back() -> None:
    decisions = react(1.0, position_age=0.051)
    assert {d.output for d in decisions} == {Output.NOTHING}
    handed = next(k for k, d in enumerate(decisions) if d.phase is Phase.HANDING_BACK)
    assert handed * DT == pytest.approx(LIMITS.stale_time, abs=1.5 * DT)
    assert decisions[handed].hand_back


def test_a_short_gap_is_flown_through() -> None:
    gap = react(0.1, position_age=0.1)
    after = react(0.0, memory=gap[-1].memory)
    assert after[0].phase is Phase.TRACKING
    assert after[0].output is Output.FOLLOW


def test_the_network_fades_within_half_a_second_and_comes_back() -> None:
    fading = react(1.0, domain_score=2.0)
    shares = [d.network_share for d in fading]
    assert shares == sorted(shares, reverse=True)
    assert shares[round(LIMITS.share_time / DT)] == pytest.approx(0.0)
    assert all(d.output is Output.FOLLOW for d in fading)
    back = react(1.5, memory=fading[-1].memory)
    assert back[-1].phase is Phase.TRACKING
    assert back[-1].network_share == 1.0


def test_one_noisy_sample_at_the_edge_of_the_domain_costs_little_of_the_network() -> None:
    noisy = react(domain_score=1.1)
    after = react(1.0, memory=noisy[-1].memory)
    assert min(d.network_share for d in (*noisy, *after)) >= 1.0 - DT / LIMITS.share_time - 1e-9
    assert after[-1].phase is Phase.TRACKING


def test_a_fault_that_the_autopilot_reports_begins_no_flight_and_ends_one() -> None:
    faulty = [replace(fresh(DT * k), status=replace(status(DT * k), fault="a deck")) for k in range(20)]
    assert {d.phase for d in run(faulty)} == {Phase.OBSERVING}
    memory = tracking()
    now = (memory.updated or 0.0) + DT
    flown = replace(fresh(now), status=replace(status(now, True, True), fault="a deck"))
    (decision,) = run([flown], memory=memory)
    assert decision.phase is Phase.HANDING_BACK and decision.hand_back and "a deck" in decision.reason


def test_fade_hold_hand_back_in_this_order() -> None:
    memory = tracking()
    lost = memory.updated or 0.0
    ticks = [lost + DT * k for k in range(1, 200)]
    decisions = run([fresh(t, True, True, height_age=t - lost) for t in ticks], memory=memory)
    at = [(d.phase, t - lost) for d, t in zip(decisions, ticks, strict=True) if d.entered]
    assert [phase for phase, _ in at] == [Phase.FADING, Phase.HOLDING, Phase.HANDING_BACK]
    expected = [LIMITS.height_age, LIMITS.height_hold, LIMITS.height_hold + LIMITS.hold_time]
    assert [t for _, t in at] == pytest.approx(expected, abs=2 * DT)
    assert decisions[-1].output is Output.NOTHING


def test_outside_of_the_domain_the_plan_is_flown_on_without_the_network() -> None:
    decisions = react(60.0, domain_score=2.0)
    assert decisions[-1].phase is Phase.FADING
    assert decisions[-1].output is Output.FOLLOW
    assert decisions[-1].network_share == 0.0


def test_handing_back_is_asked_for_until_it_is_heard() -> None:
    decisions = react(10.0, memory=react(stop=True)[-1].memory)
    assert sum(d.hand_back for d in decisions) == 10
    heard = react(5.0, memory=decisions[-1].memory, accepts=False)
    assert heard[-1].phase is Phase.OBSERVING
    assert not any(d.hand_back for d in heard)


def test_the_abort_key_goes_around_and_pressed_again_hands_back() -> None:
    first = react(abort=True)[0]
    assert first.go_around and first.output is Output.HOLD
    assert react(memory=first.memory, abort=True)[0].phase is Phase.HANDING_BACK


def test_a_hold_that_does_not_hold_is_handed_back_at_once() -> None:
    held = react(1.0, outside=0.1, leaving=0.3)
    assert held[-1].phase is Phase.HOLDING
    for change in ({"outside": 0.6}, {"outside": 0.3, "leaving": 2.0}):
        decision = react(memory=held[-1].memory, **change)[0]
        assert decision.phase is Phase.HANDING_BACK and decision.hand_back
    assert react(1.0, memory=held[-1].memory)[-1].phase is Phase.HOLDING


@pytest.mark.parametrize("change", [{"abort": True}, {"outside": 0.1}, {"jumped": True}, {"overdue": True}])
def test_on_the_ground_an_abort_or_a_breach_hands_back_and_does_not_climb(change: dict) -> None:
    decision = react(grounded=True, **change)[0]
    assert decision.phase is Phase.HANDING_BACK and decision.hand_back
    assert decision.output is Output.NOTHING and not decision.go_around
    assert decision.reason.endswith("on the ground")
    assert react(grounded=True, touchdown=True, **change)[0].phase is Phase.LANDED


def test_after_touchdown_it_disarms_and_never_flies_again() -> None:
    landed = react(touchdown=True)
    assert landed[0].disarm and landed[0].output is Output.IDLE
    disarmed = react(1.0, memory=landed[-1].memory, armed=False)
    assert disarmed[-1].phase is Phase.LANDED and not disarmed[-1].disarm
    again = react(5.0, memory=disarmed[-1].memory)
    assert {d.output for d in again} == {Output.NOTHING}


def test_a_vehicle_that_does_not_disarm_after_touchdown_is_handed_back() -> None:
    decisions = react(LIMITS.disarm_time + 1.0, memory=react(touchdown=True)[-1].memory)
    assert decisions[-1].phase is Phase.HANDING_BACK


def test_where_the_pilots_switch_alone_disarms_it_waits_for_him_with_idle_motors() -> None:
    landed = react(60.0, touchdown=True, pilot_disarms=True)
    assert landed[0].reason == "touchdown, disarm with your switch"
    assert {d.phase for d in landed} == {Phase.LANDED} and {d.output for d in landed} == {Output.IDLE}
    disarmed = react(1.0, memory=landed[-1].memory, armed=False, pilot_disarms=True)
    assert disarmed[0].memory.locked == "landed and disarmed"


@pytest.mark.parametrize("event", [{"connected": False}, {"restarted": True}, {"accepts": False}, {"armed": False}])
def test_nothing_comes_back_by_itself(event: dict) -> None:
    after = react(10.0, memory=react(**event)[-1].memory)
    on_the_ground = react(10.0, memory=after[-1].memory, armed=False)
    for d in (*after, *on_the_ground):
        assert d.memory.locked
        assert d.output is Output.NOTHING
        assert not (d.arm or d.take_control or d.hand_back or d.disarm)


def test_silence_of_the_status_is_a_lost_connection() -> None:
    memory = tracking()
    heard = status(memory.updated or 0.0, True, True)
    decisions = run([replace(fresh(3.0 + DT * k), status=heard) for k in range(80)], memory=memory)
    assert decisions[-1].phase is Phase.DISCONNECTED
    assert "no status for 3 s" in next(d.reason for d in decisions if d.phase is Phase.DISCONNECTED)


def test_a_limit_must_be_a_positive_number() -> None:
    with pytest.raises(UserError, match="limit state_age = -1"):
        Limits(state_age=-1)


def test_the_loop_tells_all_that_a_rule_asks_for() -> None:
    """A field that nobody sets is a safety rule that never fires."""
    told = set(re.findall(r"^ {12}(\w+)=", inspect.getsource(FlightLoop._situation), re.M))
    assert told == {field.name for field in fields(Situation)}
