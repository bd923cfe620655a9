"""The Crazyflie link against a stand-in for cflib and the firmware: no hardware and no cflib is touched."""

import math
from typing import Any

import numpy as np
import pytest
from fake_crazyflie import FakeCrazyflie, FakeLogConfig
from numpy.testing import assert_allclose
from scipy.spatial.transform import Rotation

from firmware_bridge.crazyflie import link as crazyflie
from firmware_bridge.crazyflie.logs import BLOCKS
from firmware_bridge.link import (
    AttitudeReport,
    AttitudeSetpoint,
    BatteryReport,
    ImuReport,
    LinkLost,
    PositionReport,
    RangeReport,
    RatesSetpoint,
    RestartReport,
    RotorReport,
    StatusReport,
)
from firmware_bridge.supervisor.decide import decide
from firmware_bridge.supervisor.limits import Limits, Permission
from firmware_bridge.supervisor.types import Memory, Phase, Situation
from firmware_bridge.thrust import ThrustMap
from neural_lander.errors import UserError
from neural_lander.vehicle import load_vehicle

VEHICLE = load_vehicle("crazyflie-21")
LEVEL = np.array([1.0, 0.0, 0.0, 0.0])
THRUST = ThrustMap(0.6, VEHICLE.weight)
ROUND_TRIP = 8.0  # ms


def connected(
    lacks: tuple[str, ...] = (), arms_itself: bool = False, **options: Any
) -> tuple[FakeCrazyflie, crazyflie.CrazyflieLink]:
    fake = FakeCrazyflie(lacks, arms_itself)
    link = crazyflie.CrazyflieLink(fake, FakeLogConfig, "radio://0/80/2M", VEHICLE, **{"thrust_map": THRUST} | options)
    fake.connected.call("radio://0/80/2M")
    fake.link_statistics.latency_updated.call(ROUND_TRIP)
    assert link.poll(0.0) == []
    return fake, link


def told(fake: FakeCrazyflie, link: crazyflie.CrazyflieLink, height: float = 0.05) -> StatusReport:
    """What the link says of the firmware as it is now, and its attitude, which a setpoint needs."""
    stamp = round(1000 * fake.time)
    fake.tell("position", stamp, 0.0, 0.0, height, 0.0, 0.0, 0.0)
    fake.tell("attitude", stamp, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    fake.tell("status", stamp, fake.info)
    status = link.poll(fake.time)[-1]
    assert isinstance(status, StatusReport)
    return status


def flying(arms_itself: bool = False) -> tuple[FakeCrazyflie, crazyflie.CrazyflieLink]:
    """Control taken, armed, and half the weight given for 0.1 s."""
    fake, link = connected(arms_itself=arms_itself)
    told(fake, link)
    link.take_control(0.0)
    link.arm(0.0)
    told(fake, link)
    link.send(AttitudeSetpoint(LEVEL, 0.5 * VEHICLE.weight), fake.time)
    fake.elapse(0.1)
    assert fake.state == "flying" and fake.thrust > 0
    told(fake, link, height=0.9)
    return fake, link


def test_log_blocks_fit_their_packets() -> None:
    size = {"float": 4, "FP16": 2, "uint8_t": 1, "uint16_t": 2}
    for _, variables in BLOCKS.values():
        assert sum(size[kind] for _, kind in variables) <= 26  # cflib's LogConfig.MAX_LEN


def test_log_blocks_become_reports_in_our_units() -> None:
    fake, link = connected()
    fake.tell("position", 1000, 1.0, 2.0, 3.0, 0.1, 0.2, 0.3)
    fake.tell("attitude", 1010, 0.0, 0.0, 0.0, 1.0, 90.0, -90.0, 180.0)
    fake.tell("inertial", 1020, 0.0, 0.0, 1.0, 0.0, 0.0, 90.0)
    fake.tell("range", 1020, 523)
    fake.tell("rotors", 1020, 60_000 / (2 * math.pi), 0, 0, 0)
    fake.tell("battery", 1020, 3.9, 70)
    fake.tell("status", 1020, 2 | 8)
    position, attitude, imu, distance, rotors, battery, status = link.poll(5.0)
    assert isinstance(position, PositionReport) and position.position.tolist() == [1, 2, 3]
    assert position.velocity.tolist() == [0.1, 0.2, 0.3]
    assert isinstance(attitude, AttitudeReport) and attitude.attitude.tolist() == [0, 0, 0, 1]
    assert_allclose(attitude.body_rates, [math.pi / 2, -math.pi / 2, math.pi])
    assert isinstance(imu, ImuReport) and imu.specific_force.tolist() == [0, 0, 9.80665]
    assert isinstance(distance, RangeReport) and distance.distance == 0.523 and distance.valid
    assert isinstance(rotors, RotorReport) and rotors.rotor_speed[0] == pytest.approx(1000)
    assert isinstance(battery, BatteryReport) and (battery.voltage, battery.remaining) == (3.9, 0.7)
    assert isinstance(status, StatusReport) and status.armed and status.mode == "can fly"
    assert not status.accepts_setpoints  # before control is taken


def test_reports_are_dated_by_the_firmwares_clock_and_the_fastest_packet() -> None:
    fake, link = connected()
    times = []
    for k, delay in enumerate((0.012, 0.008, 0.030, 0.009)):
        fake.tell("range", 10 * k, 100)
        (report,) = link.poll(10.0 + 0.01 * k + delay)
        assert isinstance(report, RangeReport)
        times.append(report.t)
    assert_allclose(np.diff(times[1:]), 0.01, atol=1e-5)


@pytest.mark.parametrize("drift", [-5e-5, 5e-5])
def test_a_clock_that_drifts_is_followed(drift: float) -> None:
    """Two crystals 50 ppm apart are 90 ms apart in half an hour; states of that age would not be answered."""
    fake, link = connected()
    late = []
    for k in range(18_000):
        t = 0.1 * k
        fake.tell("range", round(1000 * t * (1 + drift)), 100)
        (report,) = link.poll(t + (0.004 if k % 7 else 0.002))
        assert isinstance(report, RangeReport)
        late.append(report.t - t)
    assert max(late) - min(late) < 0.004  # stamps are in whole milliseconds


def test_how_long_a_packet_was_under_way_is_half_a_round_trip_and_unknown_before_one() -> None:
    fake = FakeCrazyflie()
    link = crazyflie.CrazyflieLink(fake, FakeLogConfig, "radio://0/80/2M", VEHICLE)
    fake.connected.call("radio://0/80/2M")
    errors = []
    link.poll(0.0)
    for k in range(2):
        fake.tell("attitude", 10 * k, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
        (report,) = link.poll(0.01 * k)
        assert isinstance(report, AttitudeReport)
        assert type(report.error) is float  # a check's verdict follows from it, and goes into the log
        errors.append(report.error)
        fake.link_statistics.latency_updated.call(np.float64(ROUND_TRIP))  # as cflib's percentile is
    assert errors == [math.inf, 0.004]


def test_time_stamps_come_round_after_hours() -> None:
    fake, link = connected()
    times = []
    for k in range(10):
        fake.tell("range", (2**24 - 50 + 10 * k) % 2**24, 100)
        (report,) = link.poll(0.01 * k)
        assert isinstance(report, RangeReport)
        times.append(report.t)
    assert_allclose(np.diff(times), 0.01, atol=1e-5)


def test_an_invalid_range_says_so() -> None:
    fake, link = connected()
    for value in (0, 8190, 32767):
        fake.tell("range", 1000, value)
        (report,) = link.poll(1.0)
        assert isinstance(report, RangeReport) and not report.valid


def test_decks_and_variables_that_are_missing_are_named() -> None:
    fake, link = connected(lacks=("rpm", "range", "pm"))
    assert set(fake.blocks) == {"position", "attitude", "inertial", "status"}
    assert all(block.started for block in fake.blocks.values())
    check = link.preflight()[1]
    assert check.passed and "rotors (Variable rpm.m1 not in TOC)" in check.finding
    _, blind = connected(lacks=("stateEstimate",))
    assert not blind.preflight()[1].passed


def test_a_block_that_stays_silent_is_started_again_and_named() -> None:
    """A request is lost now and then; the firmware in software missed one in its second run."""
    fake, link = connected(lacks=("rpm", "range", "pm"))
    for _ in range(130):
        fake.elapse(0.02)
        told(fake, link)
    assert fake.blocks["position"].started == 1
    assert fake.blocks["inertial"].started == 3
    check = link.preflight()[1]
    assert not check.passed and "silent: inertial" in check.finding
    fake.tell("inertial", round(1000 * fake.time), 0.0, 0.0, 1.0, 0.0, 0.0, 0.0)
    link.poll(fake.time)
    assert link.preflight()[1].passed


def test_setpoints_become_degrees_and_pwm_turned_into_the_heading() -> None:
    fake, link = connected()
    w, z = math.sqrt(0.5), math.sqrt(0.5)
    link.take_control(1.0)
    link.arm(1.0)
    fake.tell("attitude", 1000, w, 0.0, 0.0, z, 0.0, 0.0, 0.0)  # its nose points along world y
    link.poll(1.0)
    x, y, z_, w_ = Rotation.from_euler("ZYX", [math.pi / 2, 0.1, -0.2]).as_quat()
    link.send(AttitudeSetpoint(np.array([w_, x, y, z_]), VEHICLE.weight, 0.5), 1.0)
    assert_allclose(fake.flown, np.degrees([-0.2, 0.1, 0.5]), atol=1e-6)
    assert fake.thrust == round(0.6 * 65535)


def test_a_heading_is_turned_to_and_not_away_from() -> None:
    """The yaw rate of this setpoint is clockwise: 40 degrees per second sent were flown as -41."""
    fake, link = connected()
    link.take_control(1.0)
    fake.tell("attitude", 1000, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    link.poll(1.0)
    left = np.array([math.cos(0.1), 0.0, 0.0, math.sin(0.1)])
    link.send(AttitudeSetpoint(left, VEHICLE.weight), 1.0)
    assert fake.flown[2] > 0 and fake.told[-1][3] < 0


def test_pwm_stays_below_what_the_firmware_cuts() -> None:
    fake, link = connected(thrust_map=ThrustMap(0.99, VEHICLE.weight))
    link.take_control(1.0)
    fake.tell("attitude", 1000, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    link.poll(1.0)
    link.send(AttitudeSetpoint(LEVEL, 1.2 * VEHICLE.weight), 1.0)
    assert fake.told[-1][-1] == 60_000


@pytest.mark.parametrize(
    "setpoint, message",
    [
        (AttitudeSetpoint(LEVEL, math.nan), "thrust"),
        (AttitudeSetpoint(2 * LEVEL, 0.1), "norm"),
        (RatesSetpoint(np.zeros(3), 0.1), "not sent to a Crazyflie"),
    ],
)
def test_what_must_never_be_sent_is_refused(setpoint: Any, message: str) -> None:
    fake, link = connected()
    with pytest.raises(UserError, match=message):
        link.send(setpoint, 0.0)
    assert fake.told == []


def test_no_setpoint_without_a_recent_attitude_or_a_thrust_map() -> None:
    fake, link = connected(thrust_map=None)
    with pytest.raises(UserError, match="no attitude"):
        link.send(AttitudeSetpoint(LEVEL, 0.1), 0.0)
    fake.tell("attitude", 1000, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    link.poll(1.0)
    with pytest.raises(UserError, match="no thrust map"):
        link.send(AttitudeSetpoint(LEVEL, 0.1), 1.0)
    assert fake.told == []


def test_nothing_goes_out_before_control_is_taken() -> None:
    """The firmware has no modes: it would follow, whoever flies it."""
    fake, link = connected(arms_itself=True)
    assert not told(fake, link).accepts_setpoints
    assert not link.send(AttitudeSetpoint(LEVEL, 0.0), 0.0)
    assert not link.send(AttitudeSetpoint(LEVEL, 0.1), 0.0)
    assert fake.told == [] and fake.thrust == 0
    link.take_control(0.0)
    assert told(fake, link).accepts_setpoints


def test_what_arms_itself_counts_as_disarmed_until_arming_was_asked_for() -> None:
    fake, link = connected(arms_itself=True)
    link.take_control(0.0)
    assert not told(fake, link).armed and "only --arm takes off" in link.preflight()[0].finding
    link.arm(0.0)
    assert told(fake, link).armed
    assert ("send_arming_request", True) not in fake.told


def test_what_others_fly_is_armed() -> None:
    fake, link = connected(arms_itself=True)
    fake.state = "flying"
    status = told(fake, link)
    assert status.armed and not status.accepts_setpoints and status.landed is False


def test_what_has_to_be_armed_is_asked_to() -> None:
    fake, link = connected()
    link.take_control(0.0)
    status = told(fake, link)
    assert status.accepts_setpoints and not status.armed
    link.arm(0.0)
    assert fake.told[-1] == ("send_arming_request", True) and told(fake, link).armed


def test_control_is_handed_back_by_landing_below_where_it_stood() -> None:
    fake, link = flying()
    fake.told.clear()
    link.hand_back(1.0)
    down = pytest.approx(0.05 - 0.05)
    assert fake.told == 2 * [("land", down, pytest.approx(0.9 / 0.3)), ("send_notify_setpoint_stop",)]
    with pytest.raises(UserError, match="take control again"):
        link.send(AttitudeSetpoint(LEVEL, 0.1), fake.time)
    assert not told(fake, link).accepts_setpoints
    fake.elapse(3.0)
    assert fake.state == "flying"  # by its high-level commander, which needs nobody


@pytest.mark.parametrize("lost", range(4))
def test_handing_back_survives_a_lost_packet(lost: int) -> None:
    fake, link = flying()
    fake.lose = lost
    link.hand_back(fake.time)
    fake.elapse(3.0)
    assert fake.state == "flying" and fake.landing


def test_closing_sends_nothing_to_what_is_landing() -> None:
    """cflib's own closing sends a setpoint without thrust, so that it falls."""
    fake, link = flying()
    link.hand_back(fake.time)
    fake.told.clear()
    link.close()
    assert fake.told == [("link closed",), ("close",)]
    fake.elapse(1.0)
    assert fake.state == "flying"


@pytest.mark.parametrize("arms_itself", [False, True])
def test_it_is_disarmed_after_touchdown_without_being_locked(arms_itself: bool) -> None:
    """It believes to fly for 2 s after the last thrust, and locks where it is disarmed or left alone meanwhile."""
    fake, link = flying(arms_itself)
    fake.told.clear()
    began = fake.time
    while told(fake, link).armed and fake.time < began + 5.0:
        if fake.told.count(("send_stop_setpoint",)) < 1 + (fake.time - began) // 1.0:
            link.disarm(fake.time)  # asked for once a second
        link.send(AttitudeSetpoint(LEVEL, 0.0), fake.time)
        fake.elapse(0.1)
    assert fake.thrust == 0 and 1.8 < fake.time - began < 2.5
    assert (("send_arming_request", False) in fake.told) is not arms_itself
    fake.elapse(10.0)
    assert fake.state == "on the ground" and not told(fake, link).armed
    assert not told(fake, link).arming_refusals


def test_silence_levels_then_stops_and_locks_the_firmware() -> None:
    fake, link = flying()
    link.send(AttitudeSetpoint(np.array([math.cos(0.1), math.sin(0.1), 0.0, 0.0]), 0.3), fake.time)
    fake.elapse(0.4)
    assert fake.flown[0] == pytest.approx(math.degrees(0.2))
    fake.elapse(0.2)
    assert fake.flown == (0, 0, 0) and fake.thrust > 0
    fake.elapse(1.5)
    status = told(fake, link)
    assert fake.thrust == 0 and not status.armed and not status.accepts_setpoints
    assert status.arming_refusals == ("locked: restart it",)
    link.arm(fake.time)
    link.send(AttitudeSetpoint(LEVEL, 0.3), fake.time)
    assert fake.thrust == 0


@pytest.mark.parametrize("before", [60_000, 10_000_000])
def test_a_clock_that_begins_again_is_a_restart_after_which_nothing_is_sent(before: int) -> None:
    """Also after hours, when the new stamp is nearer ahead than behind."""
    fake, link = connected(arms_itself=True)
    link.take_control(0.0)
    link.arm(0.0)
    fake.tell("attitude", before, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    link.poll(1.0)
    fake.tell("attitude", 500, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    restart, attitude = link.poll(2.0)
    assert isinstance(restart, RestartReport) and isinstance(attitude, AttitudeReport)
    assert attitude.t == pytest.approx(2.0)
    with pytest.raises(UserError, match="take control again"):
        link.send(AttitudeSetpoint(LEVEL, 0.1), 2.0)
    fake.tell("status", 600, fake.info)
    (status,) = link.poll(2.1)
    assert isinstance(status, StatusReport) and not status.armed


def test_how_well_it_is_heard_is_told_in_words() -> None:
    fake, link = connected()
    for k in range(1, 101):
        fake.tell("attitude", 1000 + 20 * k, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
        link.poll(0.02 * k)
    assert link.quality() == ("50 log blocks/s", "0 kinds missing")


def test_why_it_does_not_arm_is_named() -> None:
    fake, link = connected()
    for info, words in ((32, "tumbled"), (64, "locked"), (2048, "deck"), (0, "can be armed")):
        fake.tell("status", 1000, info)
        (status,) = link.poll(1.0)
        assert isinstance(status, StatusReport) and not status.armed and words in status.arming_refusals[0]


@pytest.mark.parametrize("bit", [32, 64, 128, 2048])
def test_a_fault_in_flight_hands_back_instead_of_looking_like_a_pilot(bit: int) -> None:
    """Else nothing would be sent any more, and the firmware would stop the motors in the air."""
    fake, link = flying()
    before = told(fake, link, height=0.9)
    assert before.accepts_setpoints and not before.fault
    fake.tell("status", round(1000 * fake.time), fake.info | bit)
    (status,) = link.poll(fake.time)
    assert isinstance(status, StatusReport)
    assert status.armed and status.accepts_setpoints and status.fault in status.mode

    s = Situation(fake.time, status=status, position_age=0.01, attitude_age=0.01, height_age=0.01)
    memory = Memory(Phase.TRACKING, since=s.now, fresh=s.now, was_armed=True)
    decision = decide(Limits(), Permission(take_control=True, arm=True), memory, s)
    assert decision.phase is Phase.HANDING_BACK and decision.hand_back and not decision.memory.locked
    assert status.fault in decision.reason
    link.hand_back(fake.time)
    fake.elapse(3.0)
    assert fake.state == "flying" and fake.landing


def test_a_fault_on_the_ground_blocks_the_start() -> None:
    fake, link = connected()
    link.take_control(0.0)
    fake.tell("status", 1000, fake.info | 2048)
    (status,) = link.poll(1.0)
    assert isinstance(status, StatusReport)
    assert not status.accepts_setpoints and not status.fault and status.arming_refusals


def test_a_connection_that_falls_silent_half_way_is_given_up_to_be_tried_anew() -> None:
    """Over UDP cflib waits for a lost answer for ever."""
    fake = FakeCrazyflie()
    link = crazyflie.CrazyflieLink(fake, FakeLogConfig, "udp://127.0.0.1:19850", VEHICLE)
    for k in range(200):  # tables of contents may take long over a radio
        fake.packet_received.call(object())
        link.poll(100.0 + 0.1 * k)
    link.poll(124.0)
    with pytest.raises(LinkLost, match="does not answer"):
        link.poll(126.0)


@pytest.mark.parametrize("event", ["connection_failed", "connection_lost"])
def test_a_lost_connection_is_told_with_its_reason(event: str) -> None:
    fake, link = connected()
    getattr(fake, event).call("radio://0/80/2M", "too many packets lost")
    with pytest.raises(LinkLost, match="too many packets lost"):
        link.poll(1.0)
