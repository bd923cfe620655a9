"""Flights of a real Crazyflie firmware in software; prints what happened as JSON.

Run in a network namespace of its own, since the firmware listens on all addresses. The firmware's clock is the wall's,
so that it must not be starved.
"""

import json
import math
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from firmware_bridge.link import (
    AttitudeReport,
    AttitudeSetpoint,
    ImuReport,
    Link,
    LinkLost,
    PositionReport,
    StatusReport,
)
from firmware_bridge.links import open_link
from firmware_bridge.thrust import ThrustMap
from neural_lander.rotation import quaternion_exp
from tests.crazyflie_vehicle import COMPANION_PORT, FIRMWARE_PORT, MOTOR_CURVE, VEHICLE, serve
from tests.firmware_process import Firmware
from tests.link_flight import Hold, LinkFlight, euler
from tests.shared_truth import Truth, served

ADDRESS = f"crazyflie:udp://127.0.0.1:{COMPANION_PORT}"
BOOT_TIME, BOOT_STEPS = 20.0, 3000  # s; samples
CONNECT_TIME, ATTEMPTS = 10.0, 3  # s; cflib does not ask again where a datagram was lost
LEVEL = np.array([1.0, 0.0, 0.0, 0.0])
HOLD = Hold(VEHICLE, height=1.0, stiffness=6.0, damping=5.0, least=0.2)
TILT_TIME = 0.8  # s
UP, CLIMB_TIME = 0.8, 40.0  # m of height that counts as flying, and s until then
LANDING_TIME = 4.0  # s for the firmware to land by itself, where it was left to
TILTED = math.radians(10.0)
ROUGH = 0.9  # of the fraction that hovers: a map made by hand


def hover_map() -> ThrustMap:
    """Of the vehicle: the fraction whose thrust is its weight."""
    full = ThrustMap(1.0, 4 * VEHICLE.thrust_coefficient * VEHICLE.u_max, motor_curve=MOTOR_CURVE)
    return ThrustMap(full.fraction(VEHICLE.weight), VEHICLE.weight, motor_curve=MOTOR_CURVE)


def connected(truth: Truth) -> LinkFlight[Link] | None:
    """The link, where all that is needed comes in within three attempts."""
    for _ in range(ATTEMPTS):
        flight = LinkFlight(open_link(ADDRESS, VEHICLE, thrust_map=hover_map()), truth, HOLD)
        end = time.monotonic() + CONNECT_TIME
        while time.monotonic() < end:
            try:
                flight.run(0.1)
            except LinkLost:
                break
            if {PositionReport, AttitudeReport, ImuReport, StatusReport} <= set(flight.last):
                return flight
        flight.link.close()
    return None


def upright(share: float) -> Callable[[], AttitudeSetpoint]:
    """With a share of the weight, whatever the height."""
    return lambda: AttitudeSetpoint(LEVEL, share * VEHICLE.weight)


def rest(flight: LinkFlight[Link]) -> dict[str, Any]:
    """What comes in on the ground, in 3 s, beside the truth."""
    flight.age = 0.0
    rates = flight.rates(3.0)
    position, imu = flight.last[PositionReport], flight.last[ImuReport]
    return {
        "checks": flight.checks(),
        "rates_Hz": rates,
        "age_worst_s": flight.age,
        "age_error_s": position.error,
        "position_m": position.position.tolist(),
        "true_position_m": flight.truth.position.tolist(),
        "specific_force_m_s2": imu.specific_force.tolist(),
        "attitude": flight.attitude.tolist(),
        "armed": flight.status.armed,
        "accepts_setpoints": flight.status.accepts_setpoints,
        "arms_itself": "arms itself" in flight.link.preflight()[0].finding,
    }


def before_control(flight: LinkFlight[Link]) -> float:
    """Largest motor signal while setpoints with thrust are given to a link that has not taken control."""
    flight.run(0.3, upright(0.0))
    flight.run(0.5, upright(0.5))
    return float(flight.truth.motors.max())


def take_off(flight: LinkFlight[Link]) -> dict[str, Any]:
    flight.link.take_control(flight.clock())
    flight.run(0.5, upright(0.0))
    taken = {"accepts_setpoints": flight.status.accepts_setpoints, "armed_before": flight.status.armed}
    flight.link.arm(flight.clock())
    flight.run(0.5, upright(0.0))
    taken["armed"] = flight.status.armed
    flight.run(3.0, flight.at_height(LEVEL))
    return taken | {"height_m": flight.truth.height, "mode": flight.status.mode}


def turns(flight: LinkFlight[Link]) -> dict[str, float]:
    """A yaw rate and a heading, both counter-clockwise.

    The firmware integrates the rate by steps of its loop, of which there are fewer than 1000 a second on a busy
    machine.
    """
    truth = flight.truth
    before = euler(truth.attitude)[2]

    def turning() -> AttitudeSetpoint:
        return flight.at_height(flight.attitude, math.radians(40.0))()

    steps, began = truth.steps, time.monotonic()
    flight.run(1.5, turning)
    loop_rate = (truth.steps - steps) / (time.monotonic() - began)
    rate = math.degrees(float(truth.body_rates[2]))
    told = math.degrees(float(flight.last[AttitudeReport].body_rates[2]))
    wanted = np.array([math.cos(0.4), 0.0, 0.0, math.sin(0.4)])
    flight.run(4.0, flight.at_height(wanted))
    result = {"rate_deg_s": rate, "told_rate_deg_s": told, "loop_Hz": loop_rate}
    result |= {"heading_deg": euler(truth.attitude)[2]}
    flight.run(3.0, flight.at_height(LEVEL))
    return result | {"before_deg": before, "back_deg": euler(truth.attitude)[2]}


def silence(flight: LinkFlight[Link]) -> dict[str, Any]:
    """The firmware's watchdog, from a tilt; then whether thrust, asked for anew, is given."""
    truth = flight.truth
    flight.run(0.5, flight.at_height(quaternion_exp(np.array([math.radians(16.0), 0.0, 0.0]))))
    flew = flight.status.mode == "flying"
    began, level, off = time.monotonic(), None, None
    while (now := time.monotonic()) - began < 4.0:
        flight.run(0.005)
        level = now - began if level is None and tilt(truth.attitude) < TILTED else level
        off = now - began if off is None and truth.motors.max() == 0 else off
    result: dict[str, Any] = {"flew": flew, "level_after_s": level, "off_after_s": off}
    result |= {"mode": flight.status.mode, "armed": flight.status.armed}
    flight.link.take_control(flight.clock())
    flight.link.arm(flight.clock())
    flight.run(0.5, lambda: AttitudeSetpoint(flight.attitude, 0.0))
    flight.run(1.0, lambda: AttitudeSetpoint(flight.attitude, 0.5 * VEHICLE.weight))
    return result | {
        "asked_again_pwm": float(truth.motors.max()),
        "asked_again_armed": flight.status.armed,
        "refusals": flight.status.arming_refusals,
    }


def tilt(attitude: np.ndarray) -> float:
    """rad, out of the vertical."""
    _, x, y, _ = attitude
    return math.acos(max(1 - 2 * (x * x + y * y), -1.0))


def by_link(truth: Truth) -> dict[str, Any]:
    flight = connected(truth)
    if flight is None:
        return {"connected": False}
    result = {"connected": True, "rest": rest(flight), "before_control_pwm": before_control(flight)}
    result |= {"taken": take_off(flight), "tilts": flight.tilts(LEVEL, TILT_TIME), "turns": turns(flight)}
    return result | {"silence": silence(flight), "modes": flight.modes}


def booted(truth: Truth) -> bool:
    """Whether the firmware has answered so many samples that it has its gyroscope's bias."""
    end = time.monotonic() + BOOT_TIME
    while truth.steps < BOOT_STEPS and time.monotonic() < end:
        time.sleep(0.1)
    return truth.steps >= BOOT_STEPS


def fly(folder: Path, more: list[str], hover_share: float = 1.0) -> subprocess.Popen[str]:
    """``fly`` with arming confirmed, in the background; by a map whose hover is that share of the true one."""
    flown_by = replace(hover_map(), hover_fraction=hover_share * hover_map().hover_fraction)
    (folder / "thrust.json").write_text(flown_by.to_json())
    command = [sys.executable, "-m", "neural_lander.cli.main", "fly", "--link", ADDRESS, "--vehicle", VEHICLE.name,
               "--thrust-map", str(folder / "thrust.json"), "--floor", "0", "--arm", "--json", "--duration", "60",
               "--log", str(folder / "flight.mcap"), *more]  # fmt: skip
    pipe = subprocess.PIPE
    flying = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
    assert flying.stdin is not None
    flying.stdin.write("arm\n")
    flying.stdin.flush()
    return flying


def up(truth: Truth, flying: subprocess.Popen[str]) -> float:
    """Height in m, once it has climbed or too much time is over."""
    end = time.monotonic() + CLIMB_TIME
    while truth.height < UP and time.monotonic() < end and flying.poll() is None:
        time.sleep(0.1)
    return truth.height


def by_restart(truth: Truth, firmware: Firmware, folder: Path) -> dict[str, Any]:
    """The firmware starts again in the air, under ``fly``."""
    flying = fly(folder, [])
    flew = up(truth, flying)
    firmware.start()
    time.sleep(LANDING_TIME)
    steps, motors = truth.steps, 0.0
    end = time.monotonic() + 6.0
    while time.monotonic() < end:
        motors = max(motors, float(truth.motors.max()))
        time.sleep(0.05)
    flying.send_signal(signal.SIGINT)
    printed, _ = flying.communicate(timeout=30)
    return {
        "flew_m": flew,
        "steps_after": truth.steps - steps,
        "motors_after": motors,
        "height_after_m": truth.height,
        "flown": json.loads(printed) if printed else None,
    }


def by_fly(truth: Truth, folder: Path, interrupted: bool, more: list[str], hover_share: float = 1.0) -> dict[str, Any]:
    """``fly`` lands, or is interrupted in the air by its user; what the firmware then says."""
    flying = fly(folder, more, hover_share)
    if interrupted and up(truth, flying) >= UP:
        flying.send_signal(signal.SIGINT)
    printed, said = flying.communicate(timeout=120)
    result = {
        "flown": json.loads(printed) if printed else None,
        "stderr": said[-2000:],
        "highest_m": truth.highest,
    }
    time.sleep(LANDING_TIME)
    result |= {"touchdown_speed_m_per_s": truth.touchdown_speed}
    flight = connected(truth)
    if flight is not None:
        flight.run(1.0)
        result |= {"mode_at_end": flight.status.mode, "armed_at_end": flight.status.armed}
        flight.link.close()
    return result | {"motors_at_end": float(truth.motors.max())}


def main(binary: str, folder: Path, what: str, more: list[str]) -> None:
    warnings.simplefilter("ignore")
    truth, firmware = Truth(), Firmware([binary, str(FIRMWARE_PORT), "127.0.0.1"], folder)
    with served(serve, truth), firmware:  # the firmware says its hello once, and waits for ever
        if not booted(truth):
            raise TimeoutError(f"the firmware has not booted within {BOOT_TIME} s")
        if what == "link":
            result = by_link(truth)
        elif what == "restart":
            result = by_restart(truth, firmware, folder)
        elif what == "roughly":
            hover = ["--height", "1.5", "--hover", "25"]
            result = by_fly(truth, folder, False, hover, ROUGH) | {"true_map": json.loads(hover_map().to_json())}
        else:
            result = by_fly(truth, folder, what == "interrupted", more)
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3], sys.argv[4:])
