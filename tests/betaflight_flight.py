"""One flight of a real Betaflight in software with our link; prints what happened as JSON.

Run in a network namespace of its own, since the firmware listens on all addresses. The vehicle is ours; the firmware's
clock follows the time stamps of the vehicle's state, and time runs four times slower than on the wall, so that a busy
machine does not starve it.
"""

import json
import socket
import struct
import subprocess
import sys
import tempfile
import threading
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
from neural_lander.frames import swap_attitude
from neural_lander.rotation import quaternion_exp, quaternion_multiply
from neural_lander.vehicle import GRAVITY, load_vehicle

SLOWER = 4.0
STATE_STEP = 0.004  # s between two states sent
MSP_PORT, STATE_PORT, MOTOR_PORT = 5761, 9003, 9001
SETTINGS = (
    "set motor_pwm_protocol = PWM",
    "set serial_update_rate_hz = 2000",
    "aux 0 0 0 1700 2100 0 0",  # ARM on the first auxiliary channel
    "aux 1 1 1 1700 2100 0 0",  # ANGLE on the second
    "save",
)
VEHICLE = load_vehicle("intel-aero")


class Simulator(threading.Thread):
    """The vehicle: state to the firmware, motor pulses back."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.world = RigidBodyWorld(VEHICLE)
        self.began = time.monotonic()
        self._order = list(quadrant_order(VEHICLE) or ())
        self._out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._motors = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._motors.bind(("127.0.0.1", MOTOR_PORT))
        self._motors.setblocking(False)

    def now(self) -> float:
        return (time.monotonic() - self.began) / SLOWER

    def run(self) -> None:
        pulses = np.full(4, 1000.0)
        for k in range(1, 1 << 30):
            try:
                while True:
                    pulses = np.array(struct.unpack_from("<4f", self._motors.recv(256), 4))
            except BlockingIOError:
                pass
            speeds = VEHICLE.rotor_speed_max * np.clip((pulses - 1000) / 1000, 0, 1)[self._order]
            for _ in range(2):
                self.world.step(speeds, STATE_STEP / 2)
            state, force = self.world.state, self.world.specific_force
            w = state.body_rates * [1, -1, -1]  # forward-right-down; the acceleration is turned by the firmware
            packet = (
                k * STATE_STEP,
                *w,
                *-force,
                *swap_attitude(state.attitude),
                *state.velocity,
                *state.position,
                101325.0,
            )
            self._out.sendto(struct.pack("<18d", *packet), ("127.0.0.1", STATE_PORT))
            time.sleep(max(self.began + SLOWER * k * STATE_STEP - time.monotonic(), 0))


class Flight:
    """The link's side, in the vehicle's time."""

    def __init__(self, simulator: Simulator) -> None:
        self.simulator = simulator
        thrust = ThrustMap(VEHICLE.hover_speed / VEHICLE.rotor_speed_max, VEHICLE.weight, motor_curve=1.0)
        self.link = MspLink(open_port(f"socket://127.0.0.1:{MSP_PORT}"), VEHICLE, thrust_map=thrust, rate=100.0)
        self.last: dict[type, Any] = {}
        self.refusals: set[str] = set()
        self.texts: list[str] = []

    def run(self, seconds: float, setpoint: Callable[[], AttitudeSetpoint] | None = None) -> None:
        end, due = self.simulator.now() + seconds, 0.0
        while (now := self.simulator.now()) < end:
            for report in self.link.poll(now):
                self.last[type(report)] = report
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

    def at_height(self, attitude: np.ndarray) -> Callable[[], AttitudeSetpoint]:
        def setpoint() -> AttitudeSetpoint:
            state = self.simulator.world.state
            push = VEHICLE.mass * (GRAVITY + 2 * (1.5 - float(state.position[2])) - 2.5 * float(state.velocity[2]))
            return AttitudeSetpoint(attitude, min(max(push, 0.0), 1.6 * VEHICLE.weight))

        return setpoint

    def armed(self) -> bool:
        """Arm; the firmware may have missed frames on a busy machine, after which the switch must go off first."""
        self.run(1.5, lambda: AttitudeSetpoint(self.attitude(), 0.0))
        self.link.take_control(self.simulator.now())
        for _ in range(5):
            self.link.arm(self.simulator.now())
            self.run(1.0, lambda: AttitudeSetpoint(self.attitude(), 0.0))
            if self.status.armed:
                return True
            self.run(2.5, lambda: AttitudeSetpoint(self.attitude(), 0.0))
        return False

    def tilts(self) -> list[dict[str, float]]:
        """Wanted and flown roll or pitch in deg."""
        level, flown = self.attitude(), []
        self.run(2.0, self.at_height(level))
        for axis, name, degrees in ((0, "roll", 6.0), (0, "roll", -14.0), (1, "pitch", 6.0), (1, "pitch", -14.0)):
            turn = np.zeros(3)
            turn[axis] = np.radians(degrees)
            self.run(0.8, self.at_height(quaternion_multiply(level, quaternion_exp(turn))))
            truth = Rotation.from_quat(np.roll(self.simulator.world.state.attitude, -1)).as_euler("ZYX", degrees=True)
            flown.append({"axis": name, "wanted_deg": degrees, "flown_deg": float(truth[2 - axis])})
        self.run(1.0, self.at_height(level))
        return flown

    def stop(self) -> dict[str, Any]:
        """Send nothing more: the link's last frame, then the firmware's failsafe."""
        began, channels = self.simulator.now(), []
        while self.status.armed and self.simulator.now() < began + 4.0:
            self.run(0.02)
            if self.texts and not channels:
                self.run(0.15)
                channels = self.link.telemetry.channels[:4]
        return {"disarmed_after_s": self.simulator.now() - began, "last_frame_us": channels, "said": self.texts}


def command_line(lines: tuple[str, ...]) -> None:
    """Settings over the firmware's own command line."""
    with socket.create_connection(("127.0.0.1", MSP_PORT)) as line:
        line.send(b"#\n")
        time.sleep(1.0)
        for text in lines:
            line.send(text.encode() + b"\n")
            time.sleep(0.2)
        time.sleep(0.5)


def main(binary: str) -> None:
    """Configure it, start it again, fly."""
    with tempfile.TemporaryDirectory() as folder:
        for configured in (False, True):
            with Path(folder, "log").open("w") as log:
                firmware = subprocess.Popen([binary, "127.0.0.1"], cwd=folder, stdout=log, stderr=log)
            try:
                time.sleep(3.0)
                if not configured:
                    command_line(SETTINGS)
                    continue
                simulator = Simulator()
                simulator.start()
                time.sleep(3.0)
                flight = Flight(simulator)
                flight.run(4.0)
                result = {
                    "checks": {check.name: [check.passed, check.finding] for check in flight.link.preflight()},
                    "specific_force_m_s2": flight.last[ImuReport].specific_force.tolist(),
                    "armed": flight.armed(),
                    "refusals": sorted(flight.refusals),
                }
                if result["armed"]:
                    result |= {"tilts": flight.tilts(), "armed_in_flight": flight.status.armed, "stop": flight.stop()}
                print(json.dumps(result))
            finally:
                firmware.kill()
                firmware.wait()


if __name__ == "__main__":
    main(sys.argv[1])
