"""Thrust calibrated from a hover that a pilot flies: against the emulated motors, which know the truth."""

import json
import math
import shlex
from pathlib import Path

import numpy as np
import pytest
from fake_link import FakeLink, SimulatedClock
from mavlink_script import px4
from pymavlink.dialects.v20 import ardupilotmega as dialect

import neural_lander.cli.calibrate as calibrate_module
import neural_lander.vehicle as vehicle_module
from firmware_bridge.emulator.autopilot import Autopilot
from firmware_bridge.emulator.line import Line, LinePort
from firmware_bridge.emulator.mavlink import MavlinkAutopilot
from firmware_bridge.emulator.mavlink_firmware import FIRMWARES, MOTOR_CURVE
from firmware_bridge.emulator.modes import TICK
from firmware_bridge.emulator.msp import MspAutopilot
from firmware_bridge.emulator.pilot import HoverPilot, TakeoffPilot
from firmware_bridge.emulator.sticks import StickAutopilot
from firmware_bridge.emulator.world import RigidBodyWorld
from firmware_bridge.link import ThrottleReport
from firmware_bridge.mavlink.link import MavlinkLink
from firmware_bridge.msp.link import MspLink
from firmware_bridge.thrust import ThrustMap, thrust_map_from_json
from neural_lander.cli.main import main
from neural_lander.vehicle import load_vehicle

VEHICLE = load_vehicle("intel-aero")


class Rig(SimulatedClock):
    """An emulated vehicle and its line, which move on while the program waits."""

    def __init__(self, peer, pilot):
        super().__init__(0.0)
        self.peer, self.pilot, self.line, self.link = peer, pilot, Line(peer), None

    def sleep_until(self, t):
        while self.t + TICK <= t + 1e-9:
            self.t += TICK
            self.line.step(self.t)
            self.pilot(self.t)

    def port(self):
        return LinePort(self.line, self.now)


class HandFlown(HoverPilot):
    """A pilot with sticks whose hand is not quite steady."""

    def __init__(self, height, bobbing=0.0):
        self.autopilot = StickAutopilot(VEHICLE, RigidBodyWorld(VEHICLE))
        super().__init__(self.autopilot, lambda now: height + bobbing * np.sin(2 * np.pi * 0.5 * now))

    def __call__(self, now):
        self.step(now)


@pytest.fixture
def command(monkeypatch, tmp_path):
    """Runs the command on a rig; exit code and the file."""

    def run(rig, open_, *arguments, vehicle="intel-aero", prefix="mavlink"):
        monkeypatch.setattr(calibrate_module, "MonotonicClock", lambda: rig)
        monkeypatch.setattr(calibrate_module, "open_link", open_)
        out = tmp_path / "thrust.json"
        line = ["calibrate", "--link", f"{prefix}:emulated", "--vehicle", vehicle, "--out", str(out), "--json"]
        return main([*line, *arguments]), out

    return run


def open_msp(rig, sent):
    class Listening(LinePort):
        def write(self, data):
            sent.append(data)
            return super().write(data)

    return lambda address, vehicle, rate, throttle_rate: MspLink(Listening(rig.line, rig.now), vehicle, rate=rate)


@pytest.mark.slow
def test_a_hover_by_hand_over_msp_gives_the_motors_thrust_and_commands_nothing(command, capsys):
    pilot = HandFlown(2.0)
    rig = Rig(MspAutopilot(pilot.autopilot), pilot)
    sent = []
    code, out = command(rig, open_msp(rig, sent), "--motor-curve", "1", prefix="msp")
    captured = capsys.readouterr()
    assert code == 0, captured.err
    result, found = json.loads(captured.out), thrust_map_from_json(out.read_text(), "it")
    full = 4 * VEHICLE.thrust_coefficient * VEHICLE.u_max
    truth = ThrustMap(1.0, full, pilot.autopilot.power.battery.full, motor_curve=1.0)
    for share, volts in ((0.8, 16.0), (1.0, 15.5), (1.2, 15.0)):
        thrust = share * VEHICLE.weight
        assert found.fraction(thrust, volts) == pytest.approx(truth.fraction(thrust, volts), rel=0.02)
    assert result["hover_s"] == pytest.approx(20.0, abs=0.5)
    assert result["spread_of_quarters"] < 0.02
    assert result["height_from"] in ("the barometer", "rangefinder")
    assert result["fraction_told_by_autopilot"] is None
    assert rig.peer.taken == 0  # no setpoint
    assert sent


@pytest.mark.slow
def test_a_hover_of_a_mavlink_autopilot_gives_the_motors_thrust_and_commands_nothing(command, capsys):
    kind = FIRMWARES["px4"]
    autopilot = Autopilot(VEHICLE, RigidBodyWorld(VEHICLE), kind.settings(), motor_curve=MOTOR_CURVE)
    emulator = MavlinkAutopilot(autopilot, kind)
    emulator.set_parameter("MPC_THR_HOVER", 0.45)  # what the autopilot believes is wrong
    pilot = TakeoffPilot(autopilot, lambda now: now > 3.0, height=1.8, gives=False)
    rig = Rig(emulator, pilot.step)
    open_ = lambda address, vehicle, rate, throttle_rate: MavlinkLink(  # noqa: E731
        rig.port(), vehicle, rate=rate, throttle_rate=throttle_rate
    )
    code, out = command(rig, open_, "--range-direction", "0,-0.57735,-1", "--range-offset", "0,0,0.2")
    captured = capsys.readouterr()
    assert code == 0, captured.err
    result, found = json.loads(captured.out), thrust_map_from_json(out.read_text(), "it")
    sensor = autopilot.estimator.state.position[2] + VEHICLE.gear_clearance  # looks down, said to slant by 30
    assert result["height_from"] == "rangefinder" and result["mean_height_m"] == pytest.approx(
        sensor * math.cos(math.radians(30)) - 0.2 - VEHICLE.gear_clearance, abs=0.05
    )
    assert result["fraction_told_by_autopilot"] == pytest.approx(0.45, abs=1e-3)
    fraction = found.fraction(VEHICLE.weight, autopilot.voltage)
    assert autopilot.thrust_of(fraction) == pytest.approx(VEHICLE.weight, rel=0.01)
    assert set(emulator.received) <= {"HEARTBEAT", "TIMESYNC", "COMMAND_LONG", "PARAM_REQUEST_READ"}
    assert {what for _, what in autopilot.events if "companion" in what} == set()


@pytest.mark.slow
def test_what_was_no_hover_is_refused_in_one_line_and_writes_nothing(command, capsys):
    pilot = HandFlown(2.0, bobbing=1.5)
    rig = Rig(MspAutopilot(pilot.autopilot), pilot)
    code, out = command(rig, open_msp(rig, []), "--patience", "45", prefix="msp")
    captured = capsys.readouterr()
    assert code == 2 and captured.out == "" and not out.exists()
    assert "no calibration after 45 s: " in captured.err
    assert "hover" in captured.err.splitlines()[-1]


def test_a_vehicle_that_stays_on_the_ground_is_waited_for_by_name(command, capsys):
    autopilot = StickAutopilot(VEHICLE, RigidBodyWorld(VEHICLE))
    rig = Rig(MspAutopilot(autopilot), lambda now: None)
    code, out = command(rig, open_msp(rig, []), "--patience", "6", prefix="msp")
    assert code == 2 and not out.exists()
    assert "it is not armed: hover by hand" in capsys.readouterr().err


def test_an_autopilot_that_does_not_tell_its_throttle_is_named(command, capsys):
    link = FakeLink(VEHICLE)
    code, _ = command(SimulatedClock(), lambda *_, **__: link, "--patience", "4", prefix="msp")
    assert code == 2
    assert "ATTITUDE_TARGET" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--link", "crazyflie:radio://0/80/2M"], "a Crazyflie has one link, and the program that a pilot"),
        (["--link", "smoke:signals"], "does not begin with any of"),
        (["--link", "mavlink:/dev/no-such-port"], "cannot be opened"),
        (["--link", "mavlink:/dev/no-such-port", "--range-offset", "0"], "--range-offset '0' must be three numbers"),
        (["--link", "mavlink:/dev/no-such-port", "--range-direction", "0,0,1"], "'0,0,1' is 180 degrees from down"),
        (["--link", "msp:loop://", "--system", "3"], "has no system"),
    ],
)
def test_wrong_input_is_refused_in_one_line(arguments, words, tmp_path, capsys):
    out = tmp_path / "thrust.json"
    assert main(["calibrate", "--vehicle", "intel-aero", "--out", str(out), *arguments]) == 2
    assert words in capsys.readouterr().err
    assert not out.exists()


def test_fly_sends_nobody_to_a_calibration_that_is_refused_and_a_map_by_hand_is_taken(tmp_path, capsys):
    line = [
        "fly",
        "--link",
        "crazyflie:radio://0/80/2M",
        "--vehicle",
        "crazyflie-parrot",
        "--log",
        str(tmp_path / "log"),
    ]
    assert main(line) == 2
    error = capsys.readouterr().err
    assert "neural-lander calibrate" not in error and "calibrate --flight LOG" in error
    keys = error.partition("JSON with ")[2].partition(";")[0].split(", ")
    by_hand = dict(zip(keys, (0.6, 0.34, 3.9, 0.0, 0.5, 2.0), strict=True))
    assert thrust_map_from_json(json.dumps(by_hand), "it").hover_thrust == 0.34


def test_a_folder_that_is_not_there_is_refused_before_anybody_hovers(tmp_path, capsys):
    out = tmp_path / "none" / "thrust.json"
    assert main(["calibrate", "--vehicle", "intel-aero", "--out", str(out), "--link", "msp:loop://"]) == 2
    assert "none" in capsys.readouterr().err


def test_attitude_target_is_asked_for_only_where_it_is_wanted():
    for options, wanted in (({}, False), ({"throttle_rate": 20.0}, True)):
        link = px4(**options).connect().link
        assert ("ATTITUDE_TARGET" in link.streams.rates) is wanted


@pytest.mark.parametrize(("thrust", "count"), [(0.41, 1), (float("nan"), 0), (1.5, 0), (-0.1, 0)])
def test_attitude_target_becomes_a_throttle_report_where_it_is_a_fraction(thrust, count):
    script = px4().connect()
    message = dialect.MAVLink_attitude_target_message(script.ms, 0, [1, 0, 0, 0], 0, 0, 0, thrust)
    reports = [r for r in script.say(message) if isinstance(r, ThrottleReport)]
    assert len(reports) == count
    assert all(r.fraction == pytest.approx(thrust) for r in reports)


# --- what fly makes of it ---------------------------------------------------------------------------------------------


def map_file(folder: Path, **changes: object) -> Path:
    values = {"hover_fraction": 0.5, "hover_thrust_N": 14.4, "hover_voltage_V": 16.0, "autopilot_curve": 0.0,
              "motor_curve": 0.65, "voltage_exponent": 2.0, **changes}  # fmt: skip
    path = folder / "thrust.json"
    path.write_text(json.dumps(values))
    return path


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--link", "msp:loop://"], "neural-lander calibrate --link msp:loop:// --vehicle intel-aero --out"),
        (["--link", "mavlink:loop://", "--thrust-map", "none.json"], "none.json cannot be read: there is no such"),
        (["--link", "mavlink:loop://", "--rotor-order", "1,2,3,4"], "--rotor-order '1,2,3,4'"),
        (["--link", "msp:loop://", "--system", "2", "--observe"], "has no system"),
    ],
)
def test_fly_refuses_wrong_options_of_the_link_in_one_line(arguments, words, tmp_path, capsys):
    line = ["fly", "--vehicle", "intel-aero", "--log", str(tmp_path / "log"), *arguments]
    assert main(line) == 2
    captured = capsys.readouterr()
    assert words in captured.err and captured.err.count("\n") == 1
    assert not (tmp_path / "log").exists()


def test_the_calibration_that_fly_asks_for_can_be_pasted_into_a_shell(tmp_path, capsys):
    profile = tmp_path / "my quad.toml"
    profile.write_text((Path(vehicle_module.__file__).parent / "vehicles" / "intel-aero.toml").read_text())
    link = "msp:/dev/ttyACM0?baud=921600"
    assert main(["fly", "--vehicle", str(profile), "--link", link, "--log", str(tmp_path / "log")]) == 2
    command = shlex.split(capsys.readouterr().err.split("`")[1])
    assert command[:2] == ["neural-lander", "calibrate"]
    assert command[2:6] == ["--link", link, "--vehicle", str(profile)]


def test_fly_refuses_a_calibration_that_no_vehicle_has(tmp_path, capsys):
    path = map_file(tmp_path, hover_fraction=1.5)
    line = ["fly", "--vehicle", "intel-aero", "--link", "msp:loop://", "--thrust-map", str(path)]
    assert main([*line, "--log", str(tmp_path / "log")]) == 2
    assert "hover_fraction = 1.5" in capsys.readouterr().err


def test_fly_opens_the_link_with_what_it_was_given(tmp_path, monkeypatch):
    import neural_lander.cli.fly_run as fly_module

    opened = {}

    def open_fake(address, vehicle, **options):
        opened.update(options)
        return FakeLink(VEHICLE)

    monkeypatch.setattr(fly_module, "open_link", open_fake)
    monkeypatch.setattr(fly_module, "MonotonicClock", SimulatedClock)
    line = ["fly", "--vehicle", "intel-aero", "--link", "mavlink:x", "--observe", "--duration", "1", "--json"]
    options = ["--thrust-map", str(map_file(tmp_path)), "--system", "7", "--rotor-order", "1,0,2,3"]
    assert main([*line, *options, "--log", str(tmp_path / "log")]) == 0
    assert opened["system"] == 7 and opened["order"] == (1, 0, 2, 3)
    assert opened["thrust_map"].motor_curve == 0.65
