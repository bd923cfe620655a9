"""One flight of a real INAV in software with our link; prints what happened as JSON.

Run in a network namespace of its own, since the firmware listens on all addresses. The vehicle is ours: it stands where
the firmware believes RealFlight to be, answers each of its requests (SOAP over HTTP, one connection each) with a state,
and is flown by the motors that the request names.
"""

import contextlib
import json
import math
import multiprocessing
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from firmware_bridge.emulator.world import RigidBodyWorld
from firmware_bridge.link import AttitudeReport, AttitudeSetpoint, ImuReport, StatusReport, TextReport
from firmware_bridge.msp import MspLink
from firmware_bridge.msp_messages import quadrant_order
from firmware_bridge.port import open_port
from firmware_bridge.thrust import ThrustMap
from neural_lander.rotation import quaternion_exp, quaternion_multiply
from neural_lander.vehicle import GRAVITY, load_vehicle
from tests.shared_truth import Truth

SIMULATOR_PORT, COMMAND_PORT, MSP_PORT = 18083, 5760, 5761
STEP, LATE = 0.001, 0.02  # s of a step, and between two requests at most: beyond it the vehicle's time stands still
BOOT_TIME = 7.0  # s: it calibrates its sensors for 5.5
TILT_TIME = 1.6  # s: its angle follows with a time constant of 0.3 s
VOLTS = 12.6
VEHICLE = load_vehicle("intel-aero")
SETTINGS = (
    "defaults noreboot",
    "mmix reset",
    "mmix 0 1.0 -1.0 1.0 -1.0",  # share of thrust, roll, pitch, yaw: rear right, front right, rear left, front left
    "mmix 1 1.0 -1.0 -1.0 1.0",
    "mmix 2 1.0 1.0 1.0 1.0",
    "mmix 3 1.0 1.0 -1.0 -1.0",
    "set receiver_type = MSP",
    "set acc_hardware = FAKE",
    "set acczero_x = 1", "set acczero_y = 1", "set acczero_z = 1",  # counts as calibrated
    "set accgain_x = 4095", "set accgain_y = 4095", "set accgain_z = 4095",
    "set motor_pwm_protocol = STANDARD",
    "set failsafe_procedure = DROP",
    "set thr_expo = 0",
    "aux 0 0 0 1700 2100",  # ARM on the first auxiliary channel
    "aux 1 1 1 1700 2100",  # ANGLE on the second
    "save",
)  # fmt: skip


def serve(truth: Truth) -> None:
    """Be the vehicle, until the process is ended."""
    world, order = RigidBodyWorld(VEHICLE), list(quadrant_order(VEHICLE) or ())
    line = socket.create_server(("127.0.0.1", SIMULATOR_PORT), backlog=16)
    truth.listening.set()
    motors, stepped, steps = np.zeros(4), time.monotonic(), 0
    while True:
        connection, _ = line.accept()
        with connection:
            connection.settimeout(1.0)
            try:
                request = _request(connection)
                values = re.findall(r"<item>([-0-9.]+)</item>", request)
                motors = np.array([float(value) for value in values[:4]]) if len(values) >= 4 else motors
                now = time.monotonic()
                seconds, stepped = min(now - stepped, LATE), now
                parts = math.ceil(seconds / STEP)
                for _ in range(parts):
                    speeds = VEHICLE.rotor_speed_max * np.clip(motors, 0, 1)[order]
                    world.step(speeds, seconds / parts)
                steps += 1
                truth.put(world, motors, steps)
                connection.sendall(_reply(world))
            except OSError:
                continue


def _request(connection: socket.socket) -> str:
    data = b""
    while b"\r\n\r\n" not in data or len(data.partition(b"\r\n\r\n")[2]) < _length(data):
        more = connection.recv(65536)
        if not more:
            break
        data += more
    return data.decode("ascii", "replace")


def _length(data: bytes) -> int:
    found = re.search(rb"Content-Length: (\d+)", data)
    return int(found[1]) if found else 0


def _reply(world: RigidBodyWorld) -> bytes:
    """In the simulator's own frames; the firmware turns them."""
    state, force = world.state, world.specific_force
    yaw, pitch, roll = Rotation.from_quat(np.roll(state.attitude, -1)).as_euler("ZYX", degrees=True)
    heading = 90.0 - yaw
    rates = np.degrees(state.body_rates)
    values = {
        "altitudeASL-MTR": state.position[2], "altitudeAGL-MTR": state.position[2],
        "rollRate-DEGpSEC": rates[0], "pitchRate-DEGpSEC": -rates[1], "yawRate-DEGpSEC": rates[2],
        "roll-DEG": roll, "inclination-DEG": -pitch, "azimuth-DEG": (270.0 - heading) % 360.0,
        "accelerationBodyAX-MPS2": force[0], "accelerationBodyAY-MPS2": -force[1],
        "accelerationBodyAZ-MPS2": -force[2], "batteryVoltage-VOLTS": VOLTS,
    }  # fmt: skip
    told = "".join(f"<m-{name}>{value:.6f}</m-{name}>" for name, value in values.items())
    told += "<m-currentAircraftStatus>CAS-FLYING</m-currentAircraftStatus>"
    body = f"<e:Envelope><e:Body><r>{told}</r></e:Body></e:Envelope>".encode()
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(body) + body


class Flight:
    """The link's side."""

    def __init__(self, truth: Truth) -> None:
        self.truth = truth
        thrust = ThrustMap(VEHICLE.hover_speed / VEHICLE.rotor_speed_max, VEHICLE.weight, motor_curve=1.0)
        self.link = MspLink(open_port(f"socket://127.0.0.1:{MSP_PORT}"), VEHICLE, thrust_map=thrust, rate=100.0)
        self.last: dict[type, Any] = {}
        self.count: dict[str, int] = {}
        self.refusals: set[str] = set()
        self.texts: list[str] = []

    def run(self, seconds: float, setpoint: Callable[[], AttitudeSetpoint] | None = None) -> None:
        end, due = time.monotonic() + seconds, 0.0
        while (now := time.monotonic()) < end:
            for report in self.link.poll(now):
                self.last[type(report)] = report
                self.count[type(report).__name__] = self.count.get(type(report).__name__, 0) + 1
                if isinstance(report, StatusReport):
                    self.refusals |= set(report.arming_refusals)
                if isinstance(report, TextReport):
                    self.texts.append(report.text)
            if setpoint and now >= due:
                due = now + 0.01
                self.link.send(setpoint(), now)
            time.sleep(0.001)

    @property
    def status(self) -> StatusReport:
        return self.last[StatusReport]

    def attitude(self) -> np.ndarray:
        return self.last[AttitudeReport].attitude

    def at_height(self, attitude: np.ndarray, yaw_rate: float = 0.0) -> Callable[[], AttitudeSetpoint]:
        def setpoint() -> AttitudeSetpoint:
            low, falling = 1.5 - float(self.truth.position[2]), -float(self.truth.velocity[2])
            push = VEHICLE.mass * (GRAVITY + 2 * low + 2.5 * falling)
            return AttitudeSetpoint(attitude, min(max(push, 0.0), 1.6 * VEHICLE.weight), yaw_rate)

        return setpoint

    def idle(self) -> AttitudeSetpoint:
        return AttitudeSetpoint(self.attitude(), 0.0)

    def armed(self) -> bool:
        self.run(1.5, self.idle)
        self.link.take_control(time.monotonic())
        self.run(1.0, self.idle)
        for _ in range(4):
            self.link.arm(time.monotonic())
            self.run(1.0, self.idle)
            if self.status.armed:
                return True
            self.run(3.0, self.idle)
        return False

    def tilts(self) -> list[dict[str, Any]]:
        """Wanted and flown roll or pitch in degrees, true and as the link tells."""
        level, flown = self.attitude(), []
        self.run(3.0, self.at_height(level))
        for axis, degrees in ((0, 6.0), (0, -14.0), (1, 6.0), (1, -14.0)):
            turn = np.zeros(3)
            turn[axis] = np.radians(degrees)
            self.run(TILT_TIME, self.at_height(quaternion_multiply(level, quaternion_exp(turn))))
            true, told = (euler(attitude)[axis] for attitude in (self.truth.attitude, self.attitude()))
            name = ("roll", "pitch")[axis]
            flown.append({"axis": name, "wanted_deg": degrees, "flown_deg": true, "told_deg": told})
        self.run(1.0, self.at_height(level))
        return flown

    def turns(self) -> dict[str, float]:
        """A heading 40 degrees to the left, and the way there."""
        level, before = self.attitude(), euler(self.truth.attitude)[2]
        wanted = quaternion_multiply(quaternion_exp(np.array([0.0, 0.0, math.radians(40.0)])), level)
        self.run(0.5, self.at_height(wanted))
        rate = math.degrees(float(self.truth.body_rates[2]))
        told = math.degrees(float(self.last[AttitudeReport].body_rates[2]))
        self.run(4.0, self.at_height(wanted))
        return {"turned_deg": euler(self.truth.attitude)[2] - before, "rate_deg_s": rate, "told_rate_deg_s": told}

    def stop(self) -> dict[str, Any]:
        """Send nothing more: the link's last frame, then the firmware's failsafe; then whether it arms again."""
        began, channels = time.monotonic(), []
        while self.status.armed and time.monotonic() < began + 20.0:
            self.run(0.02)
            if self.texts and not channels:
                self.run(0.15)
                channels = self.link.telemetry.channels[:4]
        result = {"disarmed_after_s": time.monotonic() - began, "last_frame_us": channels, "said": self.texts}
        result |= {"mode": self.status.mode, "refusals": list(self.status.arming_refusals)}
        self.link.take_control(time.monotonic())
        self.run(5.0, self.idle)
        later = {"mode_later": self.status.mode, "refusals_later": list(self.status.arming_refusals)}
        return result | later | {"armed_again": self.status.armed, "motors": self.truth.motors.tolist()}


def euler(attitude: np.ndarray) -> list[float]:
    """Roll, pitch and yaw in degrees."""
    return Rotation.from_quat(np.roll(attitude, -1)).as_euler("ZYX", degrees=True)[::-1].tolist()


def command_line(lines: tuple[str, ...]) -> str:
    """Settings over the firmware's own command line; what it answers."""
    said = b""
    with socket.create_connection(("127.0.0.1", COMMAND_PORT)) as line:
        line.settimeout(0.3)
        line.send(b"#\n")
        time.sleep(1.0)
        for text in lines:
            line.send(text.encode() + b"\n")
            with contextlib.suppress(TimeoutError):
                said += line.recv(65536)
        time.sleep(0.5)
    return said.decode("ascii", "replace")


def main(binary: str) -> None:
    """Configure it, start it again, fly."""
    truth = Truth()
    vehicle = multiprocessing.Process(target=serve, args=(truth,), daemon=True)
    vehicle.start()
    assert truth.listening.wait(BOOT_TIME)
    motors = ",".join(f"M{k:02d}-{k:02d}" for k in range(1, 5))
    with tempfile.TemporaryDirectory() as folder:
        command = [binary, "--path=settings.bin", "--sim=rf", "--simip=127.0.0.1", f"--chanmap={motors}"]
        for configured in (False, True):
            with Path(folder, "log").open("w") as log:
                firmware = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
            try:
                time.sleep(BOOT_TIME if configured else 4.0)
                if not configured:
                    said = command_line(SETTINGS)
                    time.sleep(1.0)
                    continue
                flight = Flight(truth)
                steps, began = truth.steps, time.monotonic()
                flight.run(5.0)
                result: dict[str, Any] = {
                    "before_frames": [flight.status.mode, *flight.status.arming_refusals],
                    "loop_Hz": (truth.steps - steps) / (time.monotonic() - began),
                    "settings": [line for line in said.splitlines() if "###" in line or "Invalid" in line],
                    "checks": {check.name: [check.passed, check.finding] for check in flight.link.preflight()},
                    "rates_Hz": {name: count / 5.0 for name, count in flight.count.items()},
                    "specific_force_m_s2": flight.last[ImuReport].specific_force.tolist(),
                    "armed": flight.armed(),
                    "refusals": sorted(flight.refusals),
                    "mode": flight.status.mode,
                    "volts": flight.link.voltage,
                }
                if result["armed"]:
                    result |= {"tilts": flight.tilts(), "turns": flight.turns()}
                    result |= {"armed_in_flight": flight.status.armed, "stop": flight.stop()}
                print(json.dumps(result), flush=True)
            finally:
                firmware.kill()
                firmware.wait()
    vehicle.kill()


if __name__ == "__main__":
    main(sys.argv[1])
