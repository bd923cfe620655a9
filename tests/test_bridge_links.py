"""Links by prefix, and the Crazyflie link against a stand-in for cflib: no hardware and no cflib is touched."""

import math
import subprocess
import sys
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.spatial.transform import Rotation

from firmware_bridge import crazyflie, links
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
from firmware_bridge.links import open_link
from firmware_bridge.mavlink import MavlinkLink
from firmware_bridge.msp import MspLink
from firmware_bridge.thrust import ThrustMap
from neural_lander.errors import UserError
from neural_lander.vehicle import load_vehicle

VEHICLE = load_vehicle("crazyflie-21")
LEVEL = np.array([1.0, 0.0, 0.0, 0.0])


class Caller:
    """cflib's list of callbacks."""

    def __init__(self) -> None:
        self.callbacks: list[Callable[..., None]] = []

    def add_callback(self, callback: Callable[..., None]) -> None:
        self.callbacks.append(callback)

    def call(self, *details: Any) -> None:
        for callback in self.callbacks:
            callback(*details)


class FakeLogConfig:
    def __init__(self, name: str, period_in_ms: int) -> None:
        self.name, self.period_in_ms = name, period_in_ms
        self.variables: list[tuple[str, str]] = []
        self.data_received_cb = Caller()
        self.started = False

    def add_variable(self, name: str, fetch_as: str) -> None:
        self.variables.append((name, fetch_as))

    def start(self) -> None:
        self.started = True


class FakeCrazyflie:
    """Records what it is told; ``lacks`` names groups of variables that the firmware does not have."""

    def __init__(self, lacks: tuple[str, ...] = ()) -> None:
        self.connected, self.connection_failed, self.connection_lost, self.disconnected = (Caller() for _ in range(4))
        self.told: list[tuple[Any, ...]] = []
        self.blocks: dict[str, FakeLogConfig] = {}
        self.lacks = lacks
        self.log = types.SimpleNamespace(add_config=self._add)
        self.commander = self._recorder("send_setpoint", "send_stop_setpoint", "send_notify_setpoint_stop")
        self.platform = self._recorder("send_arming_request")
        self.high_level_commander = self._recorder("land")
        self.uri = ""

    def _recorder(self, *names: str) -> types.SimpleNamespace:
        def record(name: str) -> Callable[..., None]:
            return lambda *values: self.told.append((name, *values))

        return types.SimpleNamespace(**{name: record(name) for name in names})

    def _add(self, block: FakeLogConfig) -> None:
        for name, _ in block.variables:
            if name.partition(".")[0] in self.lacks:
                raise KeyError(f"Variable {name} not in TOC")
        self.blocks[block.name] = block

    def open_link(self, uri: str) -> None:
        self.uri = uri

    def close_link(self) -> None:
        self.told.append(("close",))

    def tell(self, block: str, stamp_ms: int, *values: float) -> None:
        config = self.blocks[block]
        names = [name for name, _ in config.variables]
        config.data_received_cb.call(stamp_ms, dict(zip(names, values, strict=True)), config)


THRUST = ThrustMap(0.6, VEHICLE.weight)


def connected(lacks: tuple[str, ...] = (), **options: Any) -> tuple[FakeCrazyflie, crazyflie.CrazyflieLink]:
    fake = FakeCrazyflie(lacks)
    link = crazyflie.CrazyflieLink(fake, FakeLogConfig, "radio://0/80/2M", VEHICLE, **{"thrust_map": THRUST} | options)
    fake.connected.call("radio://0/80/2M")
    assert link.poll(0.0) == []
    return fake, link


def test_prefixes_lead_to_their_links(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr(links, "open_port", lambda address: opened.append(address) or types.SimpleNamespace())
    vehicle = load_vehicle("intel-aero")
    assert isinstance(open_link("mavlink:/dev/ttyACM0?baud=921600", vehicle), MavlinkLink)
    link = open_link("msp:socket://127.0.0.1:5761", vehicle, rate=100.0)
    assert isinstance(link, MspLink)
    assert opened == ["/dev/ttyACM0?baud=921600", "socket://127.0.0.1:5761"]


@pytest.mark.parametrize("address", ["", "mavlink", "serial:/dev/ttyACM0", "/dev/ttyACM0"])
def test_an_unknown_prefix_is_answered_with_the_known_ones(address: str) -> None:
    with pytest.raises(UserError, match="mavlink:, msp:, crazyflie:"):
        open_link(address, VEHICLE)


def test_a_prefix_without_an_address_is_refused() -> None:
    with pytest.raises(UserError, match="names no port"):
        open_link("msp:", VEHICLE)


def test_links_import_no_protocol_before_it_is_asked_for() -> None:
    code = "import sys, firmware_bridge.links; print([m for m in ('pymavlink', 'cflib') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_without_cflib_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("cflib", "cflib.crtp", "cflib.crazyflie", "cflib.crazyflie.log"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UserError, match=r"pip install 'neural-lander\[crazyflie\]'"):
        open_link("crazyflie:radio://0/80/2M", VEHICLE)


def test_cflib_is_opened_with_the_uri_behind_the_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    fake, prepared = FakeCrazyflie(), []
    modules = {
        "cflib": {},
        "cflib.crtp": {"init_drivers": lambda: prepared.append(True)},
        "cflib.crazyflie": {"Crazyflie": lambda: fake},
        "cflib.crazyflie.log": {"LogConfig": FakeLogConfig},
    }
    for name, content in modules.items():
        module = types.ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
    open_link("crazyflie:radio://0/80/2M/E7E7E7E7E7", VEHICLE)
    assert fake.uri == "radio://0/80/2M/E7E7E7E7E7" and prepared == [True]


def test_log_blocks_fit_their_packets() -> None:
    size = {"float": 4, "FP16": 2, "uint8_t": 1, "uint16_t": 2}
    for _, variables in crazyflie.BLOCKS.values():
        assert sum(size[kind] for _, kind in variables) <= 26  # cflib's LogConfig.MAX_LEN


def test_log_blocks_become_reports_in_our_units() -> None:
    fake, link = connected()
    fake.tell("position", 1000, 1.0, 2.0, 3.0, 0.1, 0.2, 0.3)
    fake.tell("attitude", 1010, 0.0, 0.0, 0.0, 1.0, 90.0, -90.0, 180.0)
    fake.tell("inertial", 1020, 0.0, 0.0, 1.0, 0.0, 0.0, 90.0)
    fake.tell("range", 1020, 523)
    fake.tell("rotors", 1020, 60_000 / (2 * math.pi), 0, 0, 0)
    fake.tell("status", 1020, 2 | 8, 3.9, 70)
    position, attitude, imu, distance, rotors, battery, status = link.poll(5.0)
    assert isinstance(position, PositionReport) and position.position.tolist() == [1, 2, 3]
    assert position.velocity.tolist() == [0.1, 0.2, 0.3]
    assert isinstance(attitude, AttitudeReport) and attitude.attitude.tolist() == [0, 0, 0, 1]
    assert_allclose(attitude.body_rates, [math.pi / 2, -math.pi / 2, math.pi])
    assert isinstance(imu, ImuReport) and imu.specific_force.tolist() == [0, 0, 9.80665]
    assert isinstance(distance, RangeReport) and distance.distance == 0.523 and distance.valid
    assert isinstance(rotors, RotorReport) and rotors.rotor_speed[0] == pytest.approx(1000)
    assert isinstance(battery, BatteryReport) and (battery.voltage, battery.remaining) == (3.9, 0.7)
    assert isinstance(status, StatusReport) and status.armed and status.accepts_setpoints and status.mode == "can fly"


def test_reports_are_dated_by_the_firmwares_clock_and_the_fastest_packet() -> None:
    fake, link = connected()
    times = []
    for k, delay in enumerate((0.012, 0.008, 0.030, 0.009)):
        fake.tell("range", 10 * k, 100)
        (report,) = link.poll(10.0 + 0.01 * k + delay)
        assert isinstance(report, RangeReport)
        times.append(report.t)
    assert_allclose(np.diff(times[1:]), 0.01, atol=1e-9)


def test_an_invalid_range_says_so() -> None:
    fake, link = connected()
    for value in (0, 8190, 32767):
        fake.tell("range", 1000, value)
        (report,) = link.poll(1.0)
        assert isinstance(report, RangeReport) and not report.valid


def test_decks_and_variables_that_are_missing_are_named() -> None:
    fake, link = connected(lacks=("rpm", "range"))
    assert set(fake.blocks) == {"position", "attitude", "inertial", "status"}
    assert all(block.started for block in fake.blocks.values())
    check = link.preflight()[1]
    assert check.passed and "rotors (Variable rpm.m1 not in TOC)" in check.finding
    _, blind = connected(lacks=("stateEstimate",))
    assert not blind.preflight()[1].passed


def test_setpoints_become_degrees_and_pwm_turned_into_the_heading() -> None:
    fake, link = connected()
    w, z = math.sqrt(0.5), math.sqrt(0.5)
    fake.tell("attitude", 1000, w, 0.0, 0.0, z, 0.0, 0.0, 0.0)  # its nose points along world y
    link.poll(1.0)
    x, y, z_, w_ = Rotation.from_euler("ZYX", [math.pi / 2, 0.1, -0.2]).as_quat()
    link.send(AttitudeSetpoint(np.array([w_, x, y, z_]), VEHICLE.weight, 0.5), 1.0)
    name, roll, pitch, rate, pwm = fake.told[-1]
    assert name == "send_setpoint"
    assert_allclose([roll, pitch, rate], np.degrees([-0.2, 0.1, 0.5]), atol=1e-6)
    assert pwm == round(0.6 * 65535)


def test_pwm_stays_below_what_the_firmware_cuts() -> None:
    fake, link = connected(thrust_map=ThrustMap(0.99, VEHICLE.weight))
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


def test_control_is_taken_by_unlocking_and_handed_back_by_landing() -> None:
    fake, link = connected()
    link.take_control(0.0)
    assert fake.told == [("send_setpoint", 0.0, 0.0, 0.0, 0)]
    fake.tell("position", 1000, 0.0, 0.0, 1.2, 0.0, 0.0, 0.0)
    link.poll(1.0)
    link.hand_back(1.0)
    assert fake.told[1:] == [("send_notify_setpoint_stop",), ("land", 0.0, pytest.approx(4.0))]
    with pytest.raises(UserError, match="take control again"):
        link.send(AttitudeSetpoint(LEVEL, 0.1), 1.0)


def test_arming_is_a_request_and_disarming_stops_the_motors_first() -> None:
    fake, link = connected()
    link.arm(0.0)
    link.disarm(1.0)
    link.close()
    assert fake.told == [
        ("send_arming_request", True),
        ("send_stop_setpoint",),
        ("send_arming_request", False),
        ("close",),
    ]


def test_a_clock_that_begins_again_is_a_restart_after_which_nothing_is_sent() -> None:
    fake, link = connected()
    fake.tell("attitude", 60_000, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    link.poll(1.0)
    fake.tell("attitude", 500, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    restart, attitude = link.poll(2.0)
    assert isinstance(restart, RestartReport) and isinstance(attitude, AttitudeReport)
    assert attitude.t == pytest.approx(2.0)
    with pytest.raises(UserError, match="take control again"):
        link.send(AttitudeSetpoint(LEVEL, 0.1), 2.0)


def test_how_well_it_is_heard_is_told_in_words() -> None:
    fake, link = connected()
    for k in range(1, 101):
        fake.tell("attitude", 1000 + 20 * k, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
        link.poll(0.02 * k)
    assert link.quality() == ("50 log blocks/s", "0 kinds missing")


def test_why_it_does_not_arm_is_named() -> None:
    fake, link = connected()
    for info, words in ((32, "tumbled"), (64, "locked"), (0, "can be armed")):
        fake.tell("status", 1000, info, 3.9, 70)
        status = link.poll(1.0)[1]
        assert isinstance(status, StatusReport) and not status.armed and words in status.arming_refusals[0]


@pytest.mark.parametrize("event", ["connection_failed", "connection_lost"])
def test_a_lost_connection_is_told_with_its_reason(event: str) -> None:
    fake, link = connected()
    getattr(fake, event).call("radio://0/80/2M", "too many packets lost")
    with pytest.raises(LinkLost, match="too many packets lost"):
        link.poll(1.0)
