"""The MAVLink link against the emulated autopilots: in simulated time over a paced line, and over a real terminal."""

import threading
import time

import numpy as np
import pytest
from pymavlink.dialects.v20 import ardupilotmega as dialect
from scipy.spatial.transform import Rotation

from firmware_bridge.emulator.autopilot import Autopilot, Mode
from firmware_bridge.emulator.estimator import EstimatorNoise
from firmware_bridge.emulator.faults import Dropped, Flipped, Garbage, Split
from firmware_bridge.emulator.line import Line
from firmware_bridge.emulator.mavlink import MavlinkAutopilot
from firmware_bridge.emulator.mavlink_firmware import ARDUPILOT, FIRMWARES, PX4
from firmware_bridge.emulator.pty import PseudoTerminal, Server
from firmware_bridge.emulator.world import RigidBodyWorld
from firmware_bridge.link import (
    AttitudeReport,
    AttitudeSetpoint,
    ImuReport,
    PositionReport,
    RangeReport,
    RatesSetpoint,
    RestartReport,
    RotorReport,
    StatusReport,
)
from firmware_bridge.mavlink.link import MavlinkLink
from firmware_bridge.port import open_port
from firmware_bridge.thrust import HoverSamples, calibrate
from neural_lander.errors import UserError
from neural_lander.vehicle import load_vehicle

VEHICLE = load_vehicle("intel-aero")
BOTH = pytest.mark.parametrize("firmware", FIRMWARES.values(), ids=FIRMWARES)
STEP = 1 / 400  # s
UPRIGHT = np.array([1.0, 0.0, 0.0, 0.0])
HOVER = AttitudeSetpoint(UPRIGHT, VEHICLE.weight)


class LinePort:
    """The companion's end of an emulated line; the bench moves its time."""

    def __init__(self, line):
        self.line, self.now = line, 0.0

    def read(self):
        return self.line.arrived()

    def write(self, data):
        self.line.to_autopilot.write(self.now, data)
        return True

    def close(self):
        pass


class Bench:
    """Link, line, autopilot and vehicle on one clock."""

    def __init__(self, firmware, height=0.0, baud=921_600, rate=200.0, noise=None, settings=None, **options):
        self.world = RigidBodyWorld(VEHICLE, height)
        self.pilot = Autopilot(
            VEHICLE,
            self.world,
            settings or firmware.settings(),
            noise=noise or EstimatorNoise.none(),
            motor_curve=firmware.settings().thrust_curve,
        )
        if height:
            self.world.hover()
            self.pilot.begin_airborne(0.0)
        self.origin = self.world.state.position.copy()
        """Where the autopilot's own frame begins."""
        self.emulator = MavlinkAutopilot(self.pilot, firmware, **options)
        self.line = Line(self.emulator, baud)
        self.port = LinePort(self.line)
        self.link = MavlinkLink(self.port, VEHICLE, rate=rate)
        self.now, self.reports = 0.0, []

    def run(self, seconds, setpoint=None, every=4):
        """Reports of that time."""
        before = len(self.reports)
        for k in range(round(seconds / STEP)):
            self.now += STEP
            self.port.now = self.now
            self.line.step(self.now)
            self.reports += self.link.poll(self.now)
            if setpoint is not None and k % every == 0:
                self.link.send(setpoint, self.now)
        return self.reports[before:]

    def of(self, kind, seconds, setpoint=None):
        return [r for r in self.run(seconds, setpoint) if isinstance(r, kind)]

    def take_control(self, setpoint=HOVER):
        self.run(2.0)
        self.run(1.5, setpoint)
        self.link.take_control(self.now)
        self.run(1.2, setpoint)


@BOTH
def test_all_checks_pass_within_a_few_seconds_and_streams_come_at_their_rates(firmware) -> None:
    bench = Bench(firmware)
    bench.run(4.0)
    failed = [check for check in bench.link.preflight() if not check.passed]
    assert failed == []
    reports = bench.run(2.0)
    for kind in (PositionReport, AttitudeReport, ImuReport):
        assert len([r for r in reports if isinstance(r, kind)]) == pytest.approx(400, abs=4)
    assert len([r for r in reports if isinstance(r, RangeReport)]) == pytest.approx(100, abs=2)
    beats = 20 if firmware is ARDUPILOT else 14  # PX4 streams one a second; for the others it is asked, one by one
    assert len([r for r in reports if isinstance(r, StatusReport)]) == pytest.approx(beats, abs=1)


@pytest.mark.slow
@BOTH
def test_reports_are_the_truth_at_their_time(firmware) -> None:
    """A vehicle that falls over: position, attitude and rates as the world had them at t, to a millisecond."""
    bench, truth, speeds = Bench(firmware, height=20.0), [], []
    bench.run(4.0)
    for _ in range(400):
        bench.run(STEP, RatesSetpoint(np.array([0.4, -0.3, 0.2]), 0.9 * VEHICLE.weight), every=1)
        truth.append((bench.pilot.now, bench.world.state))
        speeds.append(bench.world.rotor_speed)
    times = np.array([t for t, _ in truth])
    seen = {PositionReport: 0, AttitudeReport: 0, ImuReport: 0, RotorReport: 0}
    for report in bench.reports:
        if type(report) in seen and times[10] < report.t < times[-10]:
            assert report.t <= report.received
            k = int(np.argmin(abs(times - report.t)))
            state, allowed = truth[k][1], 0.005  # s: a tick, whole milliseconds, half a round trip's asymmetry
            if isinstance(report, PositionReport):
                np.testing.assert_allclose(report.position, state.position - bench.origin, atol=allowed * 4.0)
                np.testing.assert_allclose(report.velocity, state.velocity, atol=allowed * 10.0)
            elif isinstance(report, AttitudeReport):
                apart = Rotation.from_quat(report.attitude, scalar_first=True).inv()
                apart *= Rotation.from_quat(state.attitude, scalar_first=True)
                assert apart.magnitude() < allowed * 2.0
            elif isinstance(report, RotorReport):
                np.testing.assert_allclose(report.rotor_speed, speeds[k], rtol=0.03)
            seen[type(report)] += 1
    assert min(seen.values()) > 30, seen


@pytest.mark.slow
@BOTH
def test_the_rangefinder_is_right_on_average(firmware) -> None:
    """Centimetres are cut off on the way; over a slow descent nothing of it is left but noise."""
    bench, errors = Bench(firmware, height=1.2), []
    bench.take_control()
    for _ in range(400):
        reports = bench.run(STEP, AttitudeSetpoint(UPRIGHT, 0.985 * VEHICLE.weight), every=1)
        height = float(bench.world.state.position[2])  # of the centre of mass, where the sensor sits
        errors += [report.distance - height for report in reports if isinstance(report, RangeReport)]
    assert len(errors) > 30 and abs(np.mean(errors)) < 0.003


@BOTH
def test_control_is_taken_and_believed_from_the_heartbeat(firmware) -> None:
    bench = Bench(firmware, height=2.0)
    before = bench.of(StatusReport, 3.0)
    bench.link.take_control(bench.now)
    after = bench.of(StatusReport, 2.8, HOVER)
    assert not before[-1].accepts_setpoints and after[-1].accepts_setpoints and after[-1].armed
    assert bench.pilot.mode is Mode.COMPANION
    bench.link.hand_back(bench.now)
    assert not bench.of(StatusReport, 1.5)[-1].accepts_setpoints and bench.pilot.mode is Mode.LAND


@pytest.mark.slow
@pytest.mark.parametrize("whose", ["failsafe", "pilot"])
def test_px4_says_whether_a_failsafe_or_the_pilot_left_offboard(whose) -> None:
    bench = Bench(PX4, height=2.0)
    bench.take_control()
    if whose == "pilot":
        bench.pilot.switch(Mode.HOLD, "pilot")
    told = bench.of(StatusReport, 2.0)[-1]  # without setpoints: longer than COM_OF_LOSS_T and a heartbeat
    assert (told.mode, told.accepts_setpoints, told.failsafe) == ("POSCTL", False, whose == "failsafe")


def held(bench, seconds):
    """Hover by a height law of our own; what a calibration is made from."""
    rows, position = [], bench.world.state.position[2]
    for _ in range(round(seconds / STEP)):
        state = bench.world.state
        lift = VEHICLE.mass * (4.0 * (position - state.position[2]) - 3.0 * state.velocity[2])
        bench.run(STEP, AttitudeSetpoint(UPRIGHT, VEHICLE.weight + float(lift)), every=1)
        rows.append(
            (bench.now, bench.link.fraction, bench.world.specific_force, state.velocity, 5.0, bench.link.voltage)
        )
    return HoverSamples(*(np.array(column) for column in zip(*rows, strict=True)))


@pytest.mark.slow
@BOTH
def test_newtons_that_we_send_are_newtons_that_the_vehicle_gets(firmware) -> None:
    """Level and leaning by 0.3 rad, on a battery that falls by a volt; ArduPilot's boost of tilt is taken back."""
    bench = Bench(firmware, height=30.0)
    bench.take_control()
    held(bench, 3.0)
    thrust_map = calibrate(held(bench, 4.0), VEHICLE, bench.link.thrust_map)
    bench.link = MavlinkLink(bench.port, VEHICLE, thrust_map=thrust_map)
    bench.take_control()
    held(bench, 2.0)
    for drawn in (0.0, 1.0):
        bench.pilot.power.drawn += drawn
        held(bench, 5.0)
        for lean in (0.0, 0.3):
            for share in (0.9, 1.1):
                attitude = Rotation.from_euler("x", lean).as_quat(scalar_first=True)
                bench.run(0.4, AttitudeSetpoint(attitude, share * VEHICLE.weight))
                assert VEHICLE.mass * bench.world.specific_force[2] == pytest.approx(share * VEHICLE.weight, rel=0.02)
                held(bench, 1.0)


def test_ardupilot_that_reads_a_climb_rate_gets_nothing() -> None:
    bench = Bench(ARDUPILOT, height=2.0)
    bench.emulator.set_parameter("GUID_OPTIONS", 0)
    bench.run(1.5)
    with pytest.raises(UserError, match="climb rate"):
        bench.link.send(HOVER, bench.now)
    assert not {check.name: check.passed for check in bench.link.preflight()}["GUID_OPTIONS"]
    assert bench.emulator.received["SET_ATTITUDE_TARGET"] == 0


@pytest.mark.slow
@BOTH
def test_every_setpoint_arrives_and_is_taken(firmware) -> None:
    bench = Bench(firmware, height=30.0)
    bench.take_control()
    before = bench.emulator.taken
    bench.run(0.5, RatesSetpoint(np.zeros(3), VEHICLE.weight))
    bench.run(0.5, HOVER)
    assert bench.emulator.taken - before == pytest.approx(100, abs=2) and not bench.emulator.dropped["quaternion"]


@BOTH
def test_denied_intervals_are_replaced_or_named(firmware) -> None:
    denied = (dialect.MAVLINK_MSG_ID_HIGHRES_IMU, dialect.MAVLINK_MSG_ID_DISTANCE_SENSOR)
    bench = Bench(firmware, denied=denied)
    bench.run(4.0)
    checks = {check.name: check for check in bench.link.preflight()}
    assert checks["message intervals"].passed
    named = checks["message intervals"].finding.partition(": ")[2].split(", ")
    assert set(named) == {"HIGHRES_IMU", "DISTANCE_SENSOR"}
    assert checks["RAW_IMU" if firmware is ARDUPILOT else "SCALED_IMU"].passed
    assert len(bench.of(ImuReport, 1.0)) > 190


@pytest.mark.slow
@BOTH
def test_a_reboot_is_noticed_and_streams_come_back_and_nothing_arms(firmware) -> None:
    bench = Bench(firmware, height=2.0)
    bench.take_control()
    bench.pilot.reboot()
    reports = bench.run(4.0)
    assert len([r for r in reports if isinstance(r, RestartReport)]) == 1
    assert not bench.pilot.armed and bench.pilot.mode is Mode.LEVEL
    assert len(bench.of(PositionReport, 1.0)) > 190
    assert bench.of(StatusReport, 1.2)[-1].armed is False


@pytest.mark.slow
@BOTH
def test_others_on_the_line_change_nothing(firmware) -> None:
    bench = Bench(firmware, height=2.0)
    bench.take_control()
    bench.emulator.foreign = True
    reports = bench.run(1.5, HOVER)
    assert all(r.accepts_setpoints and r.armed for r in reports if isinstance(r, StatusReport))
    assert all(np.linalg.norm(r.position) < 10 for r in reports if isinstance(r, PositionReport))
    assert not [r for r in reports if isinstance(r, RestartReport)]


@pytest.mark.slow
@pytest.mark.parametrize("fault", [Dropped, Flipped, Garbage, Split])
def test_a_bad_line_costs_frames_and_neither_truth_nor_sense(fault) -> None:
    bench = Bench(ARDUPILOT, height=2.0)
    bench.run(3.0)
    for seed, wire in enumerate((bench.line.to_companion, bench.line.to_autopilot)):
        wire.fault = fault() if fault is Split else fault(np.random.default_rng(seed))
    reports = bench.run(5.0)
    positions = [r for r in reports if isinstance(r, PositionReport)]
    assert len(positions) > 300 and not [r for r in reports if isinstance(r, RestartReport)]
    assert all(np.linalg.norm(r.position) < 0.01 for r in positions)
    assert all(r.received - 0.05 < r.t <= r.received for r in positions)


@pytest.mark.slow
def test_all_checks_pass_over_a_real_terminal_through_pyserial() -> None:
    pilot = Autopilot(VEHICLE, RigidBodyWorld(VEHICLE), ARDUPILOT.settings(), motor_curve=0.65)
    server = Server(Line(MavlinkAutopilot(pilot, ARDUPILOT), 921_600), PseudoTerminal)
    done = threading.Event()

    def serve():
        while not done.is_set():
            server.step(time.monotonic())
            time.sleep(0.001)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        link = MavlinkLink(open_port(f"{server.address}?baud=921600"), VEHICLE, rate=50.0)
        start = time.monotonic()
        while time.monotonic() - start < 20.0:
            link.poll(time.monotonic())
            time.sleep(0.002)
            if all(check.passed for check in link.preflight()):
                break
        assert [check for check in link.preflight() if not check.passed] == []
        assert link.sync.round_trip > 0.003
        link.close()
    finally:
        done.set()
        thread.join()
        server.close()
