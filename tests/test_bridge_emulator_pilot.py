"""Pilots of the emulated vehicle, the run around them, and the verb that starts it."""

import io
import json
import math
import os
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest

from firmware_bridge.emulator.autopilot import Autopilot
from firmware_bridge.emulator.faults import FAULTS
from firmware_bridge.emulator.line import Line
from firmware_bridge.emulator.mavlink import MavlinkAutopilot
from firmware_bridge.emulator.mavlink_firmware import PX4
from firmware_bridge.emulator.mocap import Mocap, PoseSender
from firmware_bridge.emulator.modes import Demand, Mode, OnLoss, Settings
from firmware_bridge.emulator.msp import MspAutopilot
from firmware_bridge.emulator.pilot import ArmingPilot, Keyboard, SwitchPilot, TakeoffPilot, mode_keys
from firmware_bridge.emulator.session import MavlinkEmulation, MspEmulation, Session, Trouble
from firmware_bridge.emulator.sticks import StickAutopilot
from firmware_bridge.emulator.vehicle import FlightWatch
from firmware_bridge.emulator.world import RigidBodyWorld
from firmware_bridge.estimation.pose import open_pose
from neural_lander.cli.main import main
from neural_lander.vehicle import load_vehicle

VEHICLE = load_vehicle("intel-aero")
LEVEL = (1.0, 0.0, 0.0, 0.0)


def autopilot(stream_before_switch=0.0):
    settings = Settings(1.0, OnLoss.HOLD, stream_before_switch=stream_before_switch)
    return Autopilot(VEHICLE, RigidBodyWorld(VEHICLE), settings)


def live(pilot, person, seconds, companion=lambda now: None):
    """Step both in simulated time, from where they are."""
    start = 0.0 if math.isnan(pilot.now) else pilot.now
    for k in range(round(seconds / 0.02)):
        now = start + (k + 1) * 0.02
        companion(now)
        pilot.advance(now)
        person.step(now)


class TestTakeoffPilot:
    def test_waits_for_a_companion_then_takes_off_and_gives_control(self):
        pilot = autopilot(stream_before_switch=1.0)
        heard = SimpleNamespace(yes=False)
        person = TakeoffPilot(pilot, lambda now: heard.yes)
        live(pilot, person, 5.0)
        assert not pilot.armed
        heard.yes = True
        live(pilot, person, 8.0)
        assert pilot.mode is Mode.HOLD  # nobody streams
        assert float(pilot.world.state.height) == pytest.approx(1.0, abs=0.1)
        live(pilot, person, 4.0, lambda now: pilot.accept(Demand(now, 0.5, LEVEL)))
        assert pilot.mode is Mode.COMPANION

    def test_does_not_give_control_a_second_time(self):
        pilot = autopilot()
        person = TakeoffPilot(pilot, lambda now: True)
        live(pilot, person, 12.0)
        assert pilot.mode is Mode.COMPANION
        pilot.switch(Mode.HOLD, "failsafe")
        live(pilot, person, 4.0)
        assert pilot.mode is Mode.HOLD


def test_arming_pilot_waits_for_the_companions_mode_and_its_setpoints():
    pilot = autopilot()
    person = ArmingPilot(pilot)
    live(pilot, person, 4.0)
    pilot.switch(Mode.COMPANION, "companion")
    live(pilot, person, 3.0)
    assert not pilot.armed
    live(pilot, person, 4.0, lambda now: pilot.accept(Demand(now, 0.0, LEVEL)))
    assert pilot.armed


def test_arming_pilot_who_is_refused_tells_everybody_why_once(monkeypatch):
    pilot = autopilot()
    monkeypatch.setattr(pilot, "arm_refusal", lambda by: "Leaning")
    person = ArmingPilot(pilot)
    pilot.switch(Mode.COMPANION, "companion")
    live(pilot, person, 8.0, lambda now: pilot.accept(Demand(now, 0.0, LEVEL)))
    assert not pilot.armed
    assert [text for _, text in pilot.texts] == ["Leaning"]


@pytest.mark.slow
def test_switch_pilot_arms_at_rest_and_then_gives_the_override():
    pilot = StickAutopilot(VEHICLE, RigidBodyWorld(VEHICLE))
    person = SwitchPilot(pilot)
    live(pilot, person, 8.0)
    assert not pilot.armed
    live(pilot, person, 6.0, lambda now: pilot.take_frame([1500, 1500, 1000, 1500] + [1000] * 12, now))
    assert pilot.armed
    assert MspEmulation("", pilot, MspAutopilot(pilot)).in_companions_hands


@pytest.mark.slow
def test_keys_do_what_they_say_and_tell_a_refusal():
    pilot, told, pressed = autopilot(), [], ["t"]
    person = Keyboard(mode_keys(pilot), lambda: pressed.pop() if pressed else "", told.append)
    live(pilot, person, 3.0)
    assert told == ["take off to 1 m refused: Not armed"]
    for key in ("a", "t", "l"):
        pressed.append(key)
        live(pilot, person, 4.0)
    assert [what for _, what in pilot.events][:3] == ["armed by pilot", "takeoff by pilot", "take-off complete"]
    assert pilot.mode is Mode.LAND


def test_watch_tells_the_speed_of_the_last_touchdown():
    states = [(0.5, -0.3, False), (0.05, -0.4, False), (-0.001, -0.1, True), (-0.001, 0.0, True)]
    vehicle = SimpleNamespace(state=None)
    watch = FlightWatch(vehicle)
    for height, speed, contact in states:
        vehicle.state = SimpleNamespace(height=height, velocity=np.array([0, 0, speed]), contact=contact)
        watch.look()
    assert watch.flown and watch.touchdown_speed == 0.4


class Silent:
    """A server without a port."""

    address, overrun = "nowhere", 0

    def __init__(self, peer):
        self.line = Line(peer)

    def step(self, now):
        self.line.step(now)

    def close(self):
        pass


def test_a_session_breaks_what_it_was_asked_to_after_control_was_given(monkeypatch):
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(time, "monotonic", lambda: clock.now)
    pilot = Autopilot(VEHICLE, RigidBodyWorld(VEHICLE), PX4.settings())
    peer = MavlinkAutopilot(pilot, PX4)
    emulation = MavlinkEmulation("test", pilot, peer)
    out = io.StringIO()
    server = Silent(peer)
    session = Session(emulation, server, None, Trouble(emulation, FAULTS["foreign-ids"], 1.0, 0), 8.0, False, out)
    foreign = []
    while session.step(clock.now):
        clock.now += 0.01
        if clock.now > 103.0:
            pilot.accept(Demand(clock.now, 0.0, LEVEL))
            pilot.arm("pilot")
            pilot.switch(Mode.COMPANION, "pilot")
        foreign.append((round(clock.now, 2), peer.foreign))
    on = [t for t, yes in foreign if yes]
    assert on[0] == pytest.approx(105.0, abs=0.1)  # 1 s of setpoints before OFFBOARD, 1 s after it
    assert on[-1] - on[0] == pytest.approx(2.0, abs=0.1)
    assert "fault begins: others on the line" in out.getvalue()
    assert [e["what"] for e in session.result()["events"]][-1] == "fault over"


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--protocol", "msp", "--autopilot", "px4"], "does not speak msp"),
        (["--protocol", "msp", "--parameter", "A=1"], "leave them out"),
        (["--fault", "gremlins"], "'gremlins' is none of px4"),
        (["--fault", "nan-setpoint"], "is none of px4"),
        (["--parameter", "COM_OF_LOSS=1"], "COM_OF_LOSS_T"),
        (["--parameter", "COM_OF_LOSS_T=soon"], "must be NAME=VALUE"),
        (["--vehicle", "none"], "neither a file"),
        (["--pose", "tcp://:5005"], "is no address"),
        (["--pose", "udp://:5005?latency=0.1"], "options are the companion's"),
    ],
)
def test_bad_options_are_refused_in_one_line(arguments, words, capsys):
    assert main(["emulate", "--light", *arguments]) == 2
    assert words in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [[], ["--protocol", "msp", "--tcp", "0"]])
def test_the_verb_ends_with_one_json_object(arguments, capsys):
    assert main(["emulate", "--light", "--duration", "1", "--json", *arguments]) == 0
    shown = capsys.readouterr()
    result = json.loads(shown.out)
    assert result["address"] in shown.err
    assert result["duration_s"] == pytest.approx(1.0, abs=0.5)
    assert result["flown"] is False and result["setpoints_taken"] == 0


@pytest.mark.slow
@pytest.mark.parametrize("rate", [100.0, 40.0])
def test_the_verb_sends_the_poses_that_fly_takes(rate, capsys):
    receiver = open_pose("udp://:0")
    arguments = ["emulate", "--light", "--protocol", "msp", "--duration", "1", "--json", "--pose", receiver.address]
    assert main([*arguments, "--pose-rate", str(rate)]) == 0
    poses = receiver.take(time.monotonic())
    receiver.close()
    assert len(poses) == json.loads(capsys.readouterr().out)["poses_sent"] and not receiver.dropped
    assert len(poses) == pytest.approx(rate, rel=0.15)
    assert poses[-1].attitude == pytest.approx(LEVEL, abs=1e-3)
    assert poses[-1].position == pytest.approx([0.0, 0.0, VEHICLE.gear_clearance], abs=0.01)


def test_poses_to_nobody_are_lost_without_an_error():
    receiver = open_pose("udp://:0")
    receiver.close()
    sender = PoseSender(Mocap(RigidBodyWorld(VEHICLE), 0), receiver.address)
    for k in range(20):
        sender.step(0.01 * k)
    sender.close()


@pytest.mark.slow
def test_the_verb_ends_with_its_result_when_it_is_terminated():
    command = [sys.executable, "-m", "neural_lander.cli.main", "emulate", "--light", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ}) as process:
        assert process.stderr is not None
        assert b"connect to" in process.stderr.readline()
        time.sleep(0.5)
        process.terminate()
        out, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    assert json.loads(out)["autopilot"] == "px4 (MAVLink)"
