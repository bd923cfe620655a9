"""What flights of real Betaflight and INAV in software with our MSP link have in common."""

import contextlib
import socket
import time
from collections.abc import Callable, Sequence
from typing import Any

from firmware_bridge.link import AttitudeSetpoint
from firmware_bridge.msp.link import MspLink
from firmware_bridge.port import open_port
from firmware_bridge.thrust import ThrustMap
from neural_lander.vehicle import load_vehicle
from tests.firmware_process import Firmware
from tests.link_flight import Hold, LinkFlight
from tests.shared_truth import Truth

MSP_PORT = 5761
VEHICLE = load_vehicle("intel-aero")
HOLD = Hold(VEHICLE, height=1.5, stiffness=2.0, damping=2.5)


def configured(firmware: Firmware, boot_time: float, port: int, settings: Sequence[str]) -> str:
    """What a run of the firmware answers to settings on its own command line; it keeps them."""
    said = b""
    with firmware:
        time.sleep(boot_time)
        with socket.create_connection(("127.0.0.1", port)) as line:
            line.settimeout(0.3)
            line.send(b"#\n")
            time.sleep(1.0)
            for text in settings:
                line.send(text.encode() + b"\n")
                with contextlib.suppress(TimeoutError):
                    said += line.recv(65536)
            time.sleep(0.5)
        time.sleep(1.0)
    return said.decode("ascii", "replace")


def link_to(truth: Truth, clock: Callable[[], float] = time.monotonic) -> LinkFlight[MspLink]:
    """Connected to the firmware."""
    thrust = ThrustMap(VEHICLE.hover_speed / VEHICLE.rotor_speed_max, VEHICLE.weight, motor_curve=1.0)
    link = MspLink(open_port(f"socket://127.0.0.1:{MSP_PORT}"), VEHICLE, thrust_map=thrust, rate=100.0)
    return LinkFlight(link, truth, HOLD, clock)


def idle(flight: LinkFlight[MspLink], seconds: float) -> None:
    """Setpoints without thrust, for so long."""
    flight.run(seconds, lambda: AttitudeSetpoint(flight.attitude, 0.0))


def armed(flight: LinkFlight[MspLink], attempts: int, before: float, between: float) -> bool:
    """Take control and arm, with so many seconds before and between.

    The firmware may have missed frames on a busy machine, after which the switch must go off first.
    """
    idle(flight, 1.5)
    flight.link.take_control(flight.clock())
    idle(flight, before)
    for _ in range(attempts):
        flight.link.arm(flight.clock())
        idle(flight, 1.0)
        if flight.status.armed:
            return True
        idle(flight, between)
    return False


def stopped(flight: LinkFlight[MspLink], patience: float) -> dict[str, Any]:
    """Send nothing more: the link's last frame, then the firmware's failsafe, for which so many seconds are waited."""
    began = flight.clock()
    channels: Sequence[int] = ()
    while flight.status.armed and flight.clock() < began + patience:
        flight.run(0.02)
        if flight.texts and not channels:
            flight.run(0.15)
            channels = flight.link.telemetry.channels[:4]
    return {"disarmed_after_s": flight.clock() - began, "last_frame_us": channels, "said": flight.texts}
