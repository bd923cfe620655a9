"""One flight of a real Betaflight in software with our link; prints what happened as JSON.

Run in a network namespace of its own, since the firmware listens on all addresses. The vehicle is ours; the firmware's
clock follows the time stamps of the vehicle's state, and time runs four times slower than on the wall, so that a busy
machine does not starve it.
"""

import json
import socket
import struct
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from firmware_bridge.emulator.world import RigidBodyWorld
from firmware_bridge.link import ImuReport
from firmware_bridge.msp.messages import quadrant_order
from neural_lander.frames import swap_attitude
from tests.firmware_process import Firmware
from tests.msp_flight import MSP_PORT, VEHICLE, armed, configured, link_to, stopped
from tests.shared_truth import Truth

SLOWER = 4.0
STATE_STEP = 0.004  # s between two states sent
STATE_PORT, MOTOR_PORT = 9003, 9001
BOOT_TIME = 3.0  # s
TILT_TIME = 0.8  # s
SETTINGS = (
    "set motor_pwm_protocol = PWM",
    "set serial_update_rate_hz = 2000",
    "aux 0 0 0 1700 2100 0 0",  # ARM on the first auxiliary channel
    "aux 1 1 1 1700 2100 0 0",  # ANGLE on the second
    "save",
)


class Simulator(threading.Thread):
    """The vehicle: state to the firmware, motor pulses back."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.world, self.truth = RigidBodyWorld(VEHICLE), Truth()
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
            motors = np.clip((pulses - 1000) / 1000, 0, 1)
            for _ in range(2):
                self.world.step(VEHICLE.rotor_speed_max * motors[self._order], STATE_STEP / 2)
            self.truth.put(self.world, motors, k)
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


def flown(simulator: Simulator) -> dict[str, Any]:
    """With the link, in the vehicle's time."""
    flight = link_to(simulator.truth, simulator.now)
    flight.run(4.0)
    result: dict[str, Any] = {
        "checks": flight.checks(),
        "specific_force_m_s2": flight.last[ImuReport].specific_force.tolist(),
        "armed": armed(flight, attempts=5, before=0.0, between=2.5),
        "refusals": sorted(flight.refusals),
    }
    if result["armed"]:
        level = flight.attitude
        flight.run(2.0, flight.at_height(level))
        result |= {"tilts": flight.tilts(level, TILT_TIME)}
        result |= {"armed_in_flight": flight.status.armed, "stop": stopped(flight, patience=4.0)}
    return result


def main(binary: str, folder: Path) -> None:
    """Configure it, start it again, fly."""
    firmware = Firmware([binary, "127.0.0.1"], folder)
    configured(firmware, BOOT_TIME, MSP_PORT, SETTINGS)
    with firmware:
        time.sleep(BOOT_TIME)
        simulator = Simulator()
        simulator.start()
        time.sleep(3.0)
        print(json.dumps(flown(simulator)), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
