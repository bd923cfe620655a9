"""One flight of a real INAV in software with our link; prints what happened as JSON.

Run in a network namespace of its own, since the firmware listens on all addresses. The vehicle is ours: it stands where
the firmware believes RealFlight to be, answers each of its requests (SOAP over HTTP, one connection each) with a state,
and is flown by the motors that the request names.
"""

import json
import math
import re
import socket
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from firmware_bridge.emulator.world import RigidBodyWorld
from firmware_bridge.link import AttitudeReport, ImuReport
from firmware_bridge.msp.link import MspLink
from firmware_bridge.msp.messages import quadrant_order
from neural_lander.rotation import quaternion_exp, quaternion_multiply
from tests.firmware_process import Firmware
from tests.link_flight import LinkFlight, euler
from tests.msp_flight import VEHICLE, armed, configured, idle, link_to, stopped
from tests.shared_truth import Truth, served

SIMULATOR_PORT, COMMAND_PORT = 18083, 5760
STEP, LATE = 0.001, 0.02  # s of a step, and between two requests at most: beyond it the vehicle's time stands still
BOOT_TIME = 7.0  # s: it calibrates its sensors for 5.5
TILT_TIME = 1.6  # s: its angle follows with a time constant of 0.3 s
VOLTS = 12.6
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
    roll, pitch, yaw = euler(state.attitude)
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


def turns(flight: LinkFlight[MspLink]) -> dict[str, float]:
    """A heading 40 degrees to the left, and the way there."""
    truth, before = flight.truth, euler(flight.truth.attitude)[2]
    left = quaternion_exp(np.array([0.0, 0.0, math.radians(40.0)]))
    turned = flight.at_height(quaternion_multiply(left, flight.attitude))
    flight.run(0.5, turned)
    rate = math.degrees(float(truth.body_rates[2]))
    told = math.degrees(float(flight.last[AttitudeReport].body_rates[2]))
    flight.run(4.0, turned)
    return {"turned_deg": euler(truth.attitude)[2] - before, "rate_deg_s": rate, "told_rate_deg_s": told}


def stop(flight: LinkFlight[MspLink]) -> dict[str, Any]:
    """Send nothing more; then whether it arms again."""
    result = stopped(flight, patience=20.0)
    result |= {"mode": flight.status.mode, "refusals": flight.status.arming_refusals}
    flight.link.take_control(flight.clock())
    idle(flight, 5.0)
    result |= {"mode_later": flight.status.mode, "refusals_later": flight.status.arming_refusals}
    return result | {"armed_again": flight.status.armed, "motors": flight.truth.motors.tolist()}


def flown(truth: Truth) -> dict[str, Any]:
    """With the link."""
    flight = link_to(truth)
    steps, began = truth.steps, time.monotonic()
    rates = flight.rates(5.0)
    result: dict[str, Any] = {
        "before_frames": [flight.status.mode, *flight.status.arming_refusals],
        "loop_Hz": (truth.steps - steps) / (time.monotonic() - began),
        "checks": flight.checks(),
        "rates_Hz": rates,
        "specific_force_m_s2": flight.last[ImuReport].specific_force.tolist(),
        "armed": armed(flight, attempts=4, before=1.0, between=3.0),
        "refusals": sorted(flight.refusals),
        "mode": flight.status.mode,
        "volts": flight.link.voltage,
    }
    if result["armed"]:
        level = flight.attitude
        flight.run(3.0, flight.at_height(level))
        result |= {"tilts": flight.tilts(level, TILT_TIME), "turns": turns(flight)}
        result |= {"armed_in_flight": flight.status.armed, "stop": stop(flight)}
    return result


def main(binary: str, folder: Path) -> None:
    """Configure it, start it again, fly."""
    truth = Truth()
    motors = ",".join(f"M{k:02d}-{k:02d}" for k in range(1, 5))
    command = [binary, "--path=settings.bin", "--sim=rf", "--simip=127.0.0.1", f"--chanmap={motors}"]
    firmware = Firmware(command, folder)
    with served(serve, truth):
        said = configured(firmware, 4.0, COMMAND_PORT, SETTINGS)
        with firmware:
            time.sleep(BOOT_TIME)
            result = flown(truth)
    result["settings"] = [line for line in said.splitlines() if "###" in line or "Invalid" in line]
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
