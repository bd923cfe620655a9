"""From the first heartbeat to the log: companion and emulated autopilot, on one clock and as two programs."""

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from firmware_bridge.emulator.autopilot import Autopilot
from firmware_bridge.emulator.line import Line, LinePort
from firmware_bridge.emulator.mavlink import MavlinkAutopilot
from firmware_bridge.emulator.mavlink_firmware import FIRMWARES, MOTOR_CURVE
from firmware_bridge.emulator.modes import TICK, Mode
from firmware_bridge.emulator.pilot import ArmingPilot, TakeoffPilot
from firmware_bridge.emulator.world import RigidBodyWorld, SimulatedVehicle
from firmware_bridge.estimation.height import Rangefinder
from firmware_bridge.guidance.flight_plan import FlightPlan
from firmware_bridge.guidance.guidance import Guidance
from firmware_bridge.loop import FlightLoop
from firmware_bridge.mavlink.link import MavlinkLink
from firmware_bridge.recording.recorder import Recorder
from firmware_bridge.supervisor.limits import Limits, Permission
from firmware_bridge.supervisor.types import Phase
from neural_lander.bundle import load_bundle
from neural_lander.cli.main import main
from neural_lander.control.controller import Controller
from neural_lander.flightlog import read_log
from neural_lander.residual.model import NoResidual
from neural_lander.vehicle import load_vehicle

VEHICLE = load_vehicle("intel-aero")
LONGEST = 60.0  # s of a flight


class Outcome:
    """A whole flight on one clock.

    ``takes_off``: the companion does, armed by the pilot once its mode is on; else the pilot does, and gives control.
    """

    def __init__(
        self, firmware, world, record, *, takes_off, rate=100.0, baud=921_600, seed=0, controller=None,
        abort=lambda: False,
    ):  # fmt: skip
        kind = FIRMWARES[firmware]
        self.autopilot = Autopilot(VEHICLE, world, kind.settings(), seed=seed, motor_curve=MOTOR_CURVE)
        self.emulator = MavlinkAutopilot(self.autopilot, kind, seed=seed)
        line = Line(self.emulator, baud)
        self.now = 0.0
        link = MavlinkLink(LinePort(line, lambda: self.now), VEHICLE, rate=rate)
        guidance = Guidance(controller or Controller(VEHICLE, NoResidual()), FlightPlan(VEHICLE, 1.0, settle_time=2.0))
        loop = FlightLoop(link, guidance, Rangefinder(), permission=Permission(take_control=takes_off), record=record)
        heard = lambda now: now - self.emulator.last_companion < 3.0  # noqa: E731
        pilot = ArmingPilot(self.autopilot) if takes_off else TakeoffPilot(self.autopilot, heard)
        self.phases, self.sent, due = [Phase.DISCONNECTED], 0, 0.0
        self.checks = ()
        while self.now < LONGEST and not (loop.memory.locked and not loop.heard.status.armed):
            self.now += TICK
            line.step(self.now)
            pilot.step(self.now)
            if self.now + 1e-9 >= due:
                due += 1 / rate
                record_ = loop.tick(self.now, abort=abort())
                self.sent += record_.setpoint is not None
                if record_.decision.phase is not self.phases[-1]:
                    self.phases.append(record_.decision.phase)
                if record_.decision.phase is Phase.TRACKING and not self.checks:
                    self.checks = link.preflight()
        self.locked = loop.tick(self.now + TICK).decision.memory.locked


def assert_landed(flight):
    autopilot = flight.autopilot
    assert flight.checks and all(check.passed for check in flight.checks), [str(c) for c in flight.checks]
    assert flight.locked == "landed and disarmed"
    assert flight.phases[flight.phases.index(Phase.ARMED) :][:3] == [Phase.ARMED, Phase.TRACKING, Phase.LANDED]
    assert not autopilot.armed
    copter = flight.emulator.firmware.name == "ardupilot"  # sees no landing in guided: its land mode has to finish
    assert autopilot.events[-1][1] == f"disarmed by {'autopilot' if copter else 'companion'}"
    assert autopilot.watch.flown
    assert 0.0 < autopilot.watch.touchdown_speed < 0.4  # the reference descends at 0.3 m/s
    assert np.linalg.norm(autopilot.world.state.position[:2]) < 0.1
    assert autopilot.mode is (Mode.LAND if copter else Mode.COMPANION)  # no failsafe interfered
    assert not any("failsafe" in what or "lost" in what for _, what in autopilot.events)
    assert flight.emulator.dropped["quaternion"] == flight.emulator.dropped["not finite"] == 0


def test_it_takes_off_lands_and_is_disarmed_and_its_log_is_a_flight_log(tmp_path):
    recorder = Recorder(tmp_path / "flight.mcap", {"vehicle": VEHICLE.name}, commands=True)
    flight = Outcome("ardupilot", RigidBodyWorld(VEHICLE), recorder.put, takes_off=True)
    recorder.close()
    assert_landed(flight)
    assert "armed by pilot" in [what for _, what in flight.autopilot.events]
    log = read_log(tmp_path / "flight.mcap")
    assert log.rotor_speed is not None and log.height is not None
    assert log.height.max() == pytest.approx(1.0, abs=0.1)
    hover = (log.height > 0.8) & (np.abs(log.velocity[:, 2]) < 0.1)
    np.testing.assert_allclose(log.rotor_speed[hover].mean(), VEHICLE.hover_speed, rtol=0.02)


@pytest.mark.realtime
@pytest.mark.slow
@pytest.mark.parametrize("takes_off", [True, False], ids=["companion takes off", "pilot takes off"])
@pytest.mark.parametrize("firmware", FIRMWARES)
def test_every_way_ends_on_the_ground_in_the_simulators_air(firmware, takes_off):
    with simulator(seed=3) as world:
        flight = Outcome(firmware, SimulatedVehicle(world), None, takes_off=takes_off)
    assert_landed(flight)


@pytest.mark.realtime
@pytest.mark.slow
@pytest.mark.parametrize("rate, baud", [(200.0, 460_800), (400.0, 921_600)])
def test_every_setpoint_is_taken_at_the_rate_and_on_the_line(rate, baud):
    """In simulated time: the line's capacity, apart from what a computer can do."""
    flight = Outcome("px4", RigidBodyWorld(VEHICLE), None, takes_off=False, rate=rate, baud=baud)
    assert_landed(flight)
    assert 0 <= flight.sent - flight.emulator.taken <= 5  # those still on the way at the end


def simulator(seed):
    from sim.plant import Plant
    from sim.world import PyBulletWorld

    plant = Plant(VEHICLE)
    world = PyBulletWorld(VEHICLE, plant.effects, plant.airframe, plant.terrain, TICK)
    world.reset(plant.pad, seed=seed)
    world.motors.reset(np.zeros(4))
    world.step(np.zeros(4))
    return world


@pytest.mark.realtime
@pytest.mark.slow
def test_logs_of_emulated_flights_train_a_bundle(tmp_path):
    for seed in range(3):
        recorder = Recorder(tmp_path / f"{seed}.mcap", {"vehicle": VEHICLE.name}, commands=True)
        with simulator(seed) as world:
            flight = Outcome("px4", SimulatedVehicle(world), recorder.put, takes_off=False, seed=seed)
        recorder.close()
        assert_landed(flight)
    logs = [str(tmp_path / f"{seed}.mcap") for seed in range(3)]
    arguments = ["--vehicle", "intel-aero", "--out", str(tmp_path / "bundle"), "--epochs", "2", "--held-out", "0.34"]
    assert main(["train", *logs, *arguments]) == 0
    assert load_bundle(tmp_path / "bundle").vehicle.mass == VEHICLE.mass


def program(*arguments):
    return [sys.executable, "-m", "neural_lander.cli.main", *arguments]


def wait_for(path: Path, process):
    end = time.monotonic() + 20
    while not path.exists():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.realtime
@pytest.mark.slow
@pytest.mark.parametrize(
    "firmware, pilot, permission", [("px4", "auto", []), ("ardupilot", "arms", ["--take-control"])]
)
def test_two_programs_fly_over_a_pseudo_terminal(firmware, pilot, permission, tmp_path):
    """As a user does: emulate in one terminal, fly in the other."""
    address, log = tmp_path / "autopilot", tmp_path / "flight.mcap"
    emulate = program("emulate", "--autopilot", firmware, "--pilot", pilot, "--link", str(address), "--once", "--json")
    fly = program("fly", "--link", f"mavlink:{address}?baud=921600", "--vehicle", "intel-aero", "--rate", "100",
                  "--hover", "2", "--duration", "60", "--log", str(log), "--json", *permission)  # fmt: skip
    with subprocess.Popen(emulate, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as emulator:
        try:
            wait_for(address, emulator)
            done = subprocess.run(fly, capture_output=True, text=True, timeout=90, check=False)
            try:
                out, said = emulator.communicate(timeout=30)
            except subprocess.TimeoutExpired:  # its vehicle still flies: what it tells then is judged below
                emulator.terminate()
                out, said = emulator.communicate(timeout=10)
        finally:
            emulator.kill()
    flown, emulated = json.loads(done.stdout), json.loads(out)
    late = max(flown["lateness_worst_s"], emulated["longest_pause_s"])
    if flown["outcome"] != "landed and disarmed" and late > 2 * Limits().lateness:
        pytest.skip(f"this machine was too busy to fly in real time: {late:.3f} s late")
    assert done.returncode == 0, done.stderr + said
    assert flown["outcome"] == "landed and disarmed", done.stdout + said
    assert emulated["flown"] and not emulated["armed"]
    assert 0.0 < emulated["touchdown_speed_m_per_s"] < 0.5
    assert abs(emulated["height_m"]) < 0.02
    assert 0 <= flown["setpoints_sent"] - emulated["setpoints_taken"] - sum(emulated["setpoints_dropped"].values()) < 50
    assert read_log(log).height.max() == pytest.approx(1.0, abs=0.15)
