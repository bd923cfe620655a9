"""Motion capture from a socket: what is taken, when it was true, how fast it moves, and a flight by it."""

import math
import socket
import struct
from itertools import pairwise

import numpy as np
import pytest
from fake_link import FakeLink
from mavlink_script import px4
from numpy.testing import assert_allclose
from scipy.spatial.transform import Rotation
from test_bridge_loop import Knows

from firmware_bridge.emulator.line import Line, LinePort
from firmware_bridge.emulator.modes import TICK
from firmware_bridge.emulator.msp import MspAutopilot
from firmware_bridge.emulator.pilot import SwitchPilot
from firmware_bridge.emulator.sticks import StickAutopilot
from firmware_bridge.emulator.world import RigidBodyWorld
from firmware_bridge.estimation.height import DeclaredFloor
from firmware_bridge.estimation.pose import Pose, SenderClock, encode, open_pose
from firmware_bridge.estimation.pose_filter import SETTLING, PoseFilter
from firmware_bridge.guidance.flight_plan import FlightPlan
from firmware_bridge.guidance.guidance import Guidance
from firmware_bridge.link import AttitudeReport, AttitudeSetpoint, CheckResult, PositionReport, RestartReport
from firmware_bridge.loop import FlightLoop
from firmware_bridge.mavlink.setpoints import vision_position
from firmware_bridge.msp.link import MspLink
from firmware_bridge.posed_link import PosedLink
from firmware_bridge.supervisor.types import IN_CONTROL, Phase
from firmware_bridge.thrust import ThrustMap
from neural_lander.cli.main import main
from neural_lander.control.controller import Controller
from neural_lander.errors import UserError
from neural_lander.frames import FRD_FROM_FLU, NED_FROM_ENU
from neural_lander.rotation import quaternion_multiply
from neural_lander.vehicle import load_vehicle

VEHICLE = load_vehicle("intel-aero")
LEVEL = np.array([1.0, 0.0, 0.0, 0.0])


@pytest.fixture
def wire():
    """A receiver on a free port, and how to send to it."""
    receiver = open_pose("udp://127.0.0.1:0")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        port = int(receiver.address.rsplit(":", 1)[1])
        yield receiver, lambda data: sender.sendto(data, ("127.0.0.1", port))
    receiver.close()


# --- datagrams --------------------------------------------------------------------------------------------------------


def test_a_pose_has_the_stated_layout_and_comes_through(wire):
    receiver, send = wire
    data = struct.pack("<4s8d", b"NLP1", 7.0, 1.0, 2.0, 3.0, 0.5, 0.5, 0.5, 0.5)
    assert data == encode(7.0, [1, 2, 3], [0.5] * 4) and len(data) == 68
    send(data)
    (pose,) = receiver.take(100.0)
    assert_allclose(pose.position, [1, 2, 3])
    assert_allclose(pose.attitude, [0.5] * 4)
    assert pose.t == pose.received == 100.0
    assert receiver.take(100.1) == []


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "wrong size"),
        (encode(1.0, [0, 0, 1], LEVEL)[:-1], "wrong size"),
        (encode(1.0, [0, 0, 1], LEVEL) + b"\0", "wrong size"),
        (bytes(60_000), "wrong size"),
        (b"NLP2" + encode(1.0, [0, 0, 1], LEVEL)[4:], "wrong first bytes"),
        (encode(math.nan, [0, 0, 1], LEVEL), "not finite"),
        (encode(1.0, [0, math.inf, 1], LEVEL), "not finite"),
        (encode(1.0, [0, 0, 1], [math.nan, 0, 0, 0]), "not finite"),
        (encode(1.0, [0, 0, 1], [0.9, 0, 0, 0]), "no unit quaternion"),
        (encode(1.0, [0, 0, 1], [0, 0, 0, 0]), "no unit quaternion"),
        (encode(1.0, [0, 0, 1e5], LEVEL), "too far away"),
    ],
)
def test_what_is_no_pose_is_dropped_and_counted(wire, data, why):
    receiver, send = wire
    send(data)
    assert receiver.take(100.0) == []
    assert receiver.dropped == {why: 1}
    send(encode(1.1, [0, 0, 1], LEVEL))
    assert len(receiver.take(100.1)) == 1


def test_random_bytes_never_raise_and_are_never_taken(wire):
    receiver, send = wire
    rng = np.random.default_rng(0)
    for k in range(500):
        size = 68 if k % 2 else int(rng.integers(0, 200))
        send(rng.bytes(size) if k % 4 else b"NLP1" + rng.bytes(64))
        receiver.take(100.0 + k)
    assert receiver.taken == 0 and sum(receiver.dropped.values()) == 500


def test_a_pose_that_is_older_repeated_or_of_another_sender_is_dropped(wire):
    receiver, send = wire
    for now, k in enumerate((1, 3, 2, 3)):
        send(encode(10.0 + 0.01 * k, [0.001 * k, 0, 1], LEVEL))
        assert len(receiver.take(100.0 + 0.01 * now)) == (now < 2)
    send(encode(10.05, [0.003, 0, 1], LEVEL))  # newer, but not a bit of it moved
    assert receiver.take(100.1) == []
    assert receiver.dropped == {"not newer than the one before": 2, "the same pose again": 1}
    receiver._sender = "192.0.2.1"
    send(encode(10.06, [0.004, 0, 1], LEVEL))
    assert receiver.take(100.2) == [] and receiver.dropped["of another sender"] == 1


def test_a_flood_is_taken_in_bounded_portions(wire):
    receiver, send = wire
    for k in range(300):
        send(encode(1.0 + 0.001 * k, [0, 0, 1 + 1e-4 * k], LEVEL))
    assert len(receiver.take(100.0)) <= 256


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("tcp://127.0.0.1:5005", "is no address"),
        ("udp://127.0.0.1", "is no address"),
        ("udp://127.0.0.1:99999", "Port out of range"),
        ("udp://:5005?baud=1", "option 'baud'"),
        ("udp://:5005?latency=2", "between 0 and 0.2"),
        ("udp://:5005?latency=x", "between 0 and 0.2"),
        ("udp://192.0.2.1:5005", "cannot be listened to"),
    ],
)
def test_wrong_addresses_are_refused_in_one_line(address, words):
    with pytest.raises(UserError, match=words):
        open_pose(address)


def test_it_listens_to_this_computer_alone_unless_told_otherwise():
    receiver = open_pose("udp://:0")
    assert receiver.address.startswith("udp://127.0.0.1:")
    with pytest.raises(UserError, match="cannot be listened to"):
        open_pose(receiver.address)  # taken
    receiver.close()


# --- time -------------------------------------------------------------------------------------------------------------


def test_times_are_those_of_the_least_delay_less_the_latency():
    rng = np.random.default_rng(1)
    clock, offset = SenderClock(latency=0.004), 12345.6
    errors = []
    for k in range(2000):
        true = 100.0 + 0.01 * k
        arrival = true + 0.004 + rng.exponential(0.003)
        t = clock.to_ours((true - offset) * (1 + 30e-6), arrival)
        errors.append(t - true)
    assert np.abs(errors[200:]).max() < 1.5e-3  # the jitter's mean is 3 ms
    assert clock.restarts == 0


def test_a_clock_that_begins_anew_is_noticed_and_followed():
    clock = SenderClock()
    for k in range(100):
        clock.to_ours(500.0 + 0.01 * k, 100.0 + 0.01 * k)
    times = [clock.to_ours(3.0 + 0.01 * k, 102.0 + 0.01 * k) for k in range(20)]
    assert times[:4] == [None] * 4
    assert clock.restarts == 1
    assert times[-1] == pytest.approx(102.19)


@pytest.mark.parametrize("step", [0.2, 5.0, 1e6])
def test_a_clock_that_jumps_ahead_is_followed_at_once(step):
    clock = SenderClock()
    for k in range(100):
        clock.to_ours(500.0 + 0.01 * k, 100.0 + 0.01 * k)
    assert clock.to_ours(501.0 + step, 101.0) == pytest.approx(101.0)


def test_one_stamp_from_the_far_future_does_not_stop_the_poses_for_long(wire):
    receiver, send = wire
    taken = 0
    for k in range(100):
        stamp = 1e9 if k == 50 else 0.01 * k
        send(encode(stamp, [0.001 * k, 0, 1], LEVEL))
        taken += len(receiver.take(100.0 + 0.01 * k))
    assert taken >= 95


def test_poses_that_waited_together_are_all_taken_in_their_order(wire):
    """Each has a smaller delay than the one before, so that all of them are put at the time of arrival."""
    receiver, send = wire
    for k in range(5):
        send(encode(5.0 + 0.01 * k, [0.001 * k, 0, 1], LEVEL))
    poses = receiver.take(100.0)
    send(encode(5.05, [0.005, 0, 1], LEVEL))
    poses += receiver.take(100.01)
    assert len(poses) == 6 and not receiver.dropped
    assert all(b.t > a.t for a, b in pairwise(poses))
    assert [pose.t for pose in poses] == pytest.approx([100.0] * 5 + [100.01], abs=1e-5)


@pytest.mark.parametrize(("scale", "words"), [(1.0, ""), (1000.0, "1000 times"), (1e-3, "times"), (1.1, "1.1 times")])
def test_a_sender_whose_time_is_not_in_seconds_is_refused(wire, scale, words):
    receiver, send = wire
    link, rng = PosedLink(FakeLink(VEHICLE), receiver), np.random.default_rng(4)
    for k in range(400):
        send(encode(scale * (50.0 + 0.01 * k), [1e-4 * np.sin(k), 0, 0.2], LEVEL))
        link.poll(100.0 + 0.01 * k + float(rng.uniform(0.0, 0.009)))
    checks = {check.name: check for check in link.preflight()}
    assert checks["pose clock"].passed == (scale == 1.0)
    assert scale == 1.0 or f"{words} as fast as ours: is t in seconds?" in checks["pose clock"].finding


def test_the_rate_of_the_poses_is_told_once_a_whole_second_of_them_has_come(wire):
    receiver, send = wire
    link = PosedLink(FakeLink(VEHICLE), receiver)
    seen = {}
    for k in range(250):
        now = 100.0 + 0.01 * k
        send(encode(now, [1e-4 * np.sin(k), 0, 0.2], LEVEL))
        link.poll(now)
        check = next(check for check in link.preflight() if check.name == "pose")
        seen.setdefault(check.passed, check.finding)
    assert "only begun" in seen[False]
    assert 99 <= int(seen[True].split()[0]) <= 101


# --- velocity ---------------------------------------------------------------------------------------------------------


def test_velocity_follows_a_flight_closer_than_differences_do():
    rng = np.random.default_rng(2)
    f, dt, noise, bias = PoseFilter(), 0.01, 1e-3, np.array([0.1, -0.1, 0.1])
    errors, differences, last = [], [], np.zeros(3)
    for k in range(1500):
        t = dt * k
        p = np.array([0.5 * np.sin(2 * t), 0.3 * np.cos(3 * t), 1 + 0.3 * np.sin(t)])
        v = np.array([np.cos(2 * t), -0.9 * np.sin(3 * t), 0.3 * np.cos(t)])
        mid = t - dt / 2
        a = np.array([-2 * np.sin(2 * mid), -2.7 * np.cos(3 * mid), -0.3 * np.sin(mid)])
        z = p + rng.normal(0, noise, 3)
        f.update(t, z, a + bias)
        if k > 100:
            errors.append(f.state[1] - v)
            differences.append((z - last) / dt - v)
        last = z
    rms = np.sqrt(np.mean(np.square(errors)))
    assert rms < 0.025
    assert rms < 0.2 * np.sqrt(np.mean(np.square(differences)))


def test_nothing_is_told_before_the_velocity_has_settled():
    f = PoseFilter()
    for k in range(200):
        f.update(0.01 * k, np.array([0.02 * k, 0.0, 1.0]), np.zeros(3))  # 2 m/s from the begin
        if f.state is not None:
            break
    assert 0.01 * k == pytest.approx(SETTLING, abs=0.011)
    assert_allclose(f.state[1], [2.0, 0, 0], atol=0.05)


def test_a_pose_that_is_no_newer_changes_nothing_and_one_that_is_far_back_begins_anew():
    poses = PoseFilter()
    for k in range(100):
        poses.update(0.01 * k, np.array([0.005 * k, 0.0, 1.0]), np.zeros(3))
    before, velocity = poses.state
    for t in (0.99, 0.98):
        poses.update(t, np.array([0.5, 0.0, 1.0]), np.zeros(3))
        np.testing.assert_array_equal(poses.state, (before, velocity))
    poses.update(-9.0, np.zeros(3), np.zeros(3))
    assert poses.state is None and poses.resets == 1


def test_a_jump_moves_the_position_and_is_no_speed():
    f = PoseFilter()
    for k in range(100):
        f.update(0.01 * k, np.array([0.0, 0.0, 1.0]), np.zeros(3))
    f.update(1.0, np.array([0.5, 0.0, 1.0]), np.zeros(3))
    assert_allclose(f.state[0], [0.5, 0, 1])
    assert_allclose(f.state[1], 0.0, atol=1e-9)
    assert f.resets == 1
    f.update(2.0, np.array([0.5, 0.0, 1.0]), np.zeros(3))
    assert f.state is None and f.resets == 2  # a gap


# --- a link with poses ------------------------------------------------------------------------------------------------


class Mocap:
    """Poses of a vehicle in a frame that is turned and moved against the vehicle's own, over the real socket."""

    def __init__(self, send, turn=1.2, shift=(3.0, -2.0, 0.5), rate=100.0, noise=3e-4):
        self._send, self._shift, self._period, self._noise = send, np.array(shift), 1 / rate, noise
        self._rotation = Rotation.from_rotvec([0, 0, turn])
        self._q = np.array([np.cos(turn / 2), 0, 0, np.sin(turn / 2)])
        self._rng, self._due = np.random.default_rng(3), -math.inf
        self.silent, self.offset, self.order = False, np.zeros(3), [0, 1, 2, 3]

    def __call__(self, now, position, attitude):
        if now + 1e-9 < self._due or self.silent:
            return
        self._due = now + self._period
        p = self._rotation.apply(position) + self._shift + self._rng.normal(0, self._noise, 3) + self.offset
        self._send(encode(now + 5000.0, p, np.asarray(quaternion_multiply(self._q, attitude))[self.order]))


def fly_betaflight(wire, each=lambda t, mocap: None, seconds=60.0, turn=1.2):
    """From the ground to the ground, by poses alone: records, the world, the autopilot, checks by name."""
    receiver, send = wire
    world = RigidBodyWorld(VEHICLE)
    autopilot = StickAutopilot(VEHICLE, world)
    line = Line(MspAutopilot(autopilot))
    mocap = Mocap(send, turn=turn)
    battery = autopilot.power.battery
    thrust = ThrustMap(autopilot.hover_throttle, VEHICLE.weight, battery.start - battery.sag, motor_curve=1.0)
    now = 0.0
    inner = MspLink(LinePort(line, lambda: now), VEHICLE, thrust_map=thrust)
    link = PosedLink(inner, receiver)
    plan = FlightPlan(VEHICLE, settle_time=1.0)
    loop = FlightLoop(link, Guidance(Controller(VEHICLE, Knows()), plan), DeclaredFloor(0.5))
    pilot, records, checks = SwitchPilot(autopilot), [], ()
    for k in range(1, round(seconds / TICK)):
        now = k * TICK
        each(now, mocap)
        line.step(now)
        mocap(now, world.state.position, world.state.attitude)
        if now > 4.0:
            pilot.step(now)
        if k % 2 == 0:
            records.append(loop.tick(now))
            if not checks and records[-1].decision.phase is Phase.TRACKING:
                checks, (much, _) = link.preflight(), link.quality()
                assert 95 <= int(much.removesuffix(" poses/s").rpartition(" ")[2]) <= 105, much
            if loop.memory.locked:
                break
    return records, world, autopilot, {check.name: check for check in checks}


@pytest.mark.slow
def test_betaflight_takes_off_and_lands_by_poses_in_a_turned_frame(wire):
    records, world, autopilot, checks = fly_betaflight(wire)
    phases = [r.decision.phase for r in records]
    assert Phase.TRACKING in phases and Phase.LANDED in phases, records[-1].decision
    landed = [r.decision.reason for r in records if r.decision.entered and r.decision.phase is Phase.LANDED]
    assert landed == ["touchdown, disarm with your switch", "landed and disarmed"], landed
    assert not any("refused" in problem for r in records for problem in r.problems)
    assert autopilot.events[-1][1] == "disarmed by switch" and autopilot.channels[2] == 1000
    assert max(r.height for r in records if r.height is not None) == pytest.approx(1.0, abs=0.15)
    assert float(world.state.height) < 0.01
    assert np.linalg.norm(world.state.position[:2]) < 0.15
    assert checks["pose"].passed and checks["pose attitude"].passed, checks
    assert "69" in checks["pose attitude"].finding or "68" in checks["pose attitude"].finding  # 1.2 rad


@pytest.mark.slow
def test_poses_that_stop_in_flight_end_it_without_a_setpoint_from_the_past(wire):
    stopped = 12.0

    def each(t, mocap):
        mocap.silent = t >= stopped

    records, *_ = fly_betaflight(wire, each, seconds=16.0)
    before = [r for r in records if r.t < stopped]
    assert before[-1].decision.phase in IN_CONTROL
    after = [r for r in records if r.t > stopped + 0.12]
    assert all(r.setpoint is None or r.estimate.position_age <= 0.06 for r in after)
    assert after[-1].decision.phase not in IN_CONTROL


@pytest.mark.slow
def test_poses_that_jump_in_flight_are_a_jump_of_the_state(wire):
    def each(t, mocap):
        mocap.offset = np.array([0.6, 0.0, 0.0]) if t >= 12.0 else np.zeros(3)

    records, *_ = fly_betaflight(wire, each, seconds=14.0)
    assert next(r for r in records if r.t < 11.99 and r.decision.phase is Phase.TRACKING)
    jumped = [r for r in records if r.estimate is not None and r.estimate.jumped]
    assert len(jumped) == 1 and jumped[0].t == pytest.approx(12.0, abs=0.03)


@pytest.mark.slow
def test_a_quaternion_in_another_order_that_no_check_found_is_handed_back_before_it_gets_far(wire):
    """Level and facing x, it reads as a half turn: all corrections go the wrong way, and only a tilt shows it."""

    def each(t, mocap):
        mocap.order = [1, 2, 3, 0]

    records, *_ = fly_betaflight(wire, each, seconds=20.0, turn=0.0)
    flown = [r for r in records if r.decision.phase in IN_CONTROL]
    ended = next(r for r in records if r.t > flown[-1].t)
    assert ended.decision.phase is Phase.HANDING_BACK and "order w, x, y, z" in ended.decision.reason
    assert np.linalg.norm(flown[-1].estimate.velocity[:2]) < 1.0
    assert np.linalg.norm(flown[-1].estimate.position[:2] - flown[0].estimate.position[:2]) < 0.6


@pytest.mark.slow
def test_a_body_that_is_found_the_other_way_round_in_flight_is_handed_back_at_once(wire):
    """Markers of a symmetric body: its heading is off by a half turn from one pose to the next, its tilt is right."""

    def each(t, mocap):
        mocap.order = [3, 2, 1, 0] if t >= 12.0 else [0, 1, 2, 3]

    records, *_ = fly_betaflight(wire, each, seconds=13.0, turn=0.0)
    assert [r for r in records if r.t < 12.0][-1].decision.phase in IN_CONTROL
    ended = next(r for r in records if r.t >= 12.0 and r.decision.phase not in IN_CONTROL)
    assert "in attitude" in ended.decision.reason and ended.t < 12.15


@pytest.mark.slow
def test_one_pose_of_another_attitude_ends_no_flight(wire):
    def each(t, mocap):
        mocap.order = [3, 2, 1, 0] if 12.0 <= t < 12.01 else [0, 1, 2, 3]

    records, *_ = fly_betaflight(wire, each, seconds=13.0, turn=0.0)
    assert records[-1].decision.phase in IN_CONTROL


def test_a_quaternion_in_another_order_is_found_before_the_flight(wire):
    receiver, send = wire
    link = PosedLink(FakeLink(VEHICLE), receiver)
    for k in range(100):
        now = 100.0 + 0.01 * k
        send(encode(now, [1e-4 * np.sin(k), 0, 0.2], [0.0, 0.0, 0.0, 1.0][::-1]))
        link.poll(now)
    checks = {check.name: check for check in link.preflight()}
    assert checks["pose attitude"].passed
    for k in range(100, 400):
        now = 100.0 + 0.01 * k
        send(encode(now, [1e-4 * np.sin(k), 0, 0.2], [0.0, 1.0, 0.0, 0.0]))  # x, y, z, w of no turn would be 0, 0, 0, 1
        link.poll(now)
    checks = {check.name: check for check in link.preflight()}
    assert not checks["pose attitude"].passed
    assert "quaternion's order" in checks["pose attitude"].finding


@pytest.mark.parametrize("by_hand", [Rotation.from_rotvec([0, 0, 0.8]), Rotation.from_rotvec([0.55, 0, 0])])
@pytest.mark.parametrize("order", [[0, 1, 2, 3], [1, 2, 3, 0]])
def test_a_half_turn_asks_for_the_order_until_a_movement_by_hand_tells_it(wire, by_hand, order):
    """Facing -x in the right order and facing x in the other one are the same numbers while it is level."""
    receiver, send = wire
    inner = FakeLink(VEHICLE)
    link = PosedLink(inner, receiver)
    facing = Rotation.from_rotvec([0, 0, np.pi if order[0] == 0 else 0.0])
    begin = 100.0

    def check(moved: Rotation) -> CheckResult:
        nonlocal begin
        inner.q = moved.as_quat(scalar_first=True)
        attitude = (facing * moved).as_quat(scalar_first=True)[order]
        for k in range(300):
            send(encode(begin + 0.01 * k, [1e-4 * np.sin(k), 0, 0.2], attitude))
            link.poll(begin + 0.01 * k)
        begin += 3.0
        return next(check for check in link.preflight() if check.name == "pose attitude")

    asked = check(Rotation.identity())
    assert not asked.passed and "turned by" in asked.finding and "180" in asked.finding
    assert "is the order w, x, y, z?" in asked.finding and "--tilt-check" in asked.finding
    assert check(by_hand).passed == (order[0] == 0)
    assert check(Rotation.identity()).passed == (order[0] == 0)


def test_before_a_pose_comes_there_is_neither_attitude_nor_position_and_nothing_is_sent(wire):
    receiver, send = wire
    inner = FakeLink(VEHICLE)
    link = PosedLink(inner, receiver)
    for k in range(20):
        reports = link.poll(100.0 + 0.01 * k)
        assert not [r for r in reports if isinstance(r, AttitudeReport | PositionReport)]
    with pytest.raises(UserError, match="no pose"):
        link.send(AttitudeSetpoint(LEVEL, VEHICLE.weight), 100.2)
    assert inner.sent == []
    (check,) = link.preflight()
    assert not check.passed and "look at the sender" in check.finding
    send(b"hello")
    link.poll(100.3)
    assert "1 wrong size" in link.preflight()[0].finding


def test_a_restart_of_the_autopilot_forgets_its_heading(wire):
    receiver, send = wire
    inner = FakeLink(VEHICLE)
    link = PosedLink(inner, receiver)
    turned = Rotation.from_rotvec([0, 0, 0.8]).as_quat(scalar_first=True)
    for k in range(50):
        send(encode(k * 0.01, [0, 1e-4 * k, 0.2], turned))
        reports = link.poll(100.0 + 0.01 * k)
    assert next(r.attitude for r in reports if isinstance(r, AttitudeReport)) == pytest.approx(turned, abs=1e-6)
    inner.restarted = True
    reports = link.poll(100.5)
    assert [r for r in reports if isinstance(r, RestartReport)]
    assert not [r for r in reports if isinstance(r, AttitudeReport)]


def test_a_setpoint_is_turned_back_into_the_autopilots_world(wire):
    receiver, send = wire
    inner = FakeLink(VEHICLE)
    link = PosedLink(inner, receiver)
    for k in range(3):
        send(encode(k * 0.01, [0, 1e-4 * k, 0.2], Rotation.from_rotvec([0, 0, 0.8]).as_quat(scalar_first=True)))
        link.poll(100.0 + 0.01 * k)
    wanted = Rotation.from_euler("ZYX", [0.3, 0.1, -0.2])
    link.send(AttitudeSetpoint(wanted.as_quat(scalar_first=True), VEHICLE.weight), 100.0)
    sent = Rotation.from_quat(inner.sent[0][1].attitude, scalar_first=True)
    expected = Rotation.from_rotvec([0, 0, -0.8]) * wanted
    assert (sent * expected.inv()).magnitude() < 1e-6


# --- to the autopilot -------------------------------------------------------------------------------------------------


def test_a_pose_goes_out_in_the_autopilots_frames_and_our_clock():
    attitude = Rotation.from_euler("ZYX", [0.4, -0.2, 0.1])
    pose = Pose(12.345678, 12.35, np.array([1.0, 2.0, 3.0]), attitude.as_quat(scalar_first=True))
    m = vision_position(pose, 259)
    assert (m.usec, m.x, m.y, m.z) == (12345678, 2.0, 1.0, -3.0)
    ned = NED_FROM_ENU @ attitude.as_matrix() @ FRD_FROM_FLU
    yaw, pitch, roll = Rotation.from_matrix(ned).as_euler("ZYX")
    assert_allclose([m.roll, m.pitch, m.yaw], [roll, pitch, yaw], atol=1e-12)
    assert math.isnan(m.covariance[0]) and m.reset_counter == 3


def test_poses_are_forwarded_at_no_more_than_50_hz_and_only_if_wanted(wire):
    receiver, send = wire
    script = px4().connect()
    for forward, count in ((None, 0), (script.link.forward_pose, 50)):
        link = PosedLink(script.link, receiver, forward)
        script.heard()
        for k in range(200):
            script.now += 0.005
            send(encode(script.now, [0, 1e-4 * k, 0.2 + 1e-6 * script.now], LEVEL))
            link.poll(script.now)
        heard = script.heard("VISION_POSITION_ESTIMATE")
        assert len(heard) == pytest.approx(count, abs=2)
        assert all(m.get_srcComponent() == 191 for m in heard)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--link", "mavlink:loop://", "--forward-pose"], "--forward-pose needs --pose"),
        (["--link", "msp:loop://", "--observe", "--pose", "udp://:0", "--forward-pose"], "--forward-pose needs"),
        (["--link", "mavlink:loop://", "--pose", "udp://nowhere"], "is no address"),
    ],
)
def test_fly_refuses_wrong_poses_in_one_line(arguments, words, tmp_path, capsys):
    assert main(["fly", "--vehicle", "intel-aero", "--log", str(tmp_path / "log"), *arguments]) == 2
    captured = capsys.readouterr()
    assert words in captured.err and captured.err.count("\n") == 1
    assert not (tmp_path / "log").exists()
