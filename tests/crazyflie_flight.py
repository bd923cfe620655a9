"""Flights of a real Crazyflie firmware in software; prints what happened as JSON.

Run in a network namespace of its own, since the firmware listens on all addresses. The firmware's clock is the wall's,
so that it must not be starved.
"""

import contextlib
import json
import math
import multiprocessing
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from firmware_bridge.link import AttitudeReport, AttitudeSetpoint, ImuReport, PositionReport, StatusReport
from firmware_bridge.links import open_link
from firmware_bridge.thrust import ThrustMap
from neural_lander.rotation import quaternion_exp
from neural_lander.vehicle import GRAVITY
from tests.crazyflie_vehicle import COMPANION_PORT, FIRMWARE_PORT, MOTOR_CURVE, VEHICLE, serve
from tests.shared_truth import Truth

ADDRESS = f"crazyflie:udp://127.0.0.1:{COMPANION_PORT}"
BOOT_TIME, BOOT_STEPS = 20.0, 3000  # s; samples
CONNECT_TIME, ATTEMPTS = 10.0, 3  # s; cflib does not ask again where a datagram was lost
PERIOD = 0.01  # s between setpoints
LEVEL = np.array([1.0, 0.0, 0.0, 0.0])
HEIGHT = 1.0  # m
RESTART_TIME = 30.0  # s until it flies
LANDING_TIME = 4.0  # s for the firmware to land by itself, where it was left to
TILTED = math.radians(10.0)


def hover_map() -> ThrustMap:
    """Of the vehicle: the fraction whose thrust is its weight."""
    full = ThrustMap(1.0, 4 * VEHICLE.thrust_coefficient * VEHICLE.u_max, motor_curve=MOTOR_CURVE)
    return ThrustMap(full.fraction(VEHICLE.weight), VEHICLE.weight, motor_curve=MOTOR_CURVE)


class Flight:
    """The link's side."""

    def __init__(self, truth: Truth) -> None:
        self.truth = truth
        self.link = open_link(ADDRESS, VEHICLE, thrust_map=hover_map())
        self.last: dict[type, Any] = {}
        self.count: dict[str, int] = {}
        self.modes: list[tuple[float, str]] = []
        self.age = 0.0
        """s, of the oldest state, as the link dates it."""

    def run(self, seconds: float, setpoint: Callable[[], AttitudeSetpoint] | None = None) -> None:
        end, due = time.monotonic() + seconds, 0.0
        while (now := time.monotonic()) < end:
            for report in self.link.poll(now):
                self.last[type(report)] = report
                self.count[type(report).__name__] = self.count.get(type(report).__name__, 0) + 1
                if isinstance(report, StatusReport) and (not self.modes or self.modes[-1][1] != report.mode):
                    self.modes.append((now, report.mode))
                if isinstance(report, AttitudeReport):
                    self.age = max(self.age, now - report.t)
            if setpoint and now >= due:
                due = now + PERIOD
                self.link.send(setpoint(), now)
            time.sleep(0.001)

    def connected(self) -> bool:
        """Whether all that is needed comes in, at the third attempt."""
        for attempt in range(ATTEMPTS):
            if attempt:
                self.link.close()
                self.link = open_link(ADDRESS, VEHICLE, thrust_map=hover_map())
            end = time.monotonic() + CONNECT_TIME
            while time.monotonic() < end:
                self.run(0.1)
                if {PositionReport, AttitudeReport, ImuReport, StatusReport} <= set(self.last):
                    return True
        return False

    @property
    def status(self) -> StatusReport:
        return self.last[StatusReport]

    def tilt(self) -> float:
        """rad, of the true attitude."""
        _, x, y, _ = self.truth.attitude
        return math.acos(max(1 - 2 * (x * x + y * y), -1.0))

    def euler(self) -> list[float]:
        """Roll, pitch and yaw in degrees of the true attitude."""
        return Rotation.from_quat(np.roll(self.truth.attitude, -1)).as_euler("ZYX", degrees=True)[::-1].tolist()

    def at_height(self, attitude: np.ndarray, yaw_rate: float = 0.0) -> Callable[[], AttitudeSetpoint]:
        def setpoint() -> AttitudeSetpoint:
            low, falling = HEIGHT - float(self.truth.position[2]), -float(self.truth.velocity[2])
            push = VEHICLE.mass * (GRAVITY + 6.0 * low + 5.0 * falling)
            return AttitudeSetpoint(attitude, min(max(push, 0.2 * VEHICLE.weight), 1.6 * VEHICLE.weight), yaw_rate)

        return setpoint

    def rest(self) -> dict[str, Any]:
        """What comes in on the ground, in 3 s, beside the truth."""
        self.count = {}
        self.age = 0.0
        self.run(3.0)
        position, imu = self.last[PositionReport], self.last[ImuReport]
        return {
            "checks": {check.name: [check.passed, check.finding] for check in self.link.preflight()},
            "rates_Hz": {name: count / 3.0 for name, count in self.count.items()},
            "age_worst_s": self.age,
            "age_error_s": position.error,
            "position_m": position.position.tolist(),
            "true_position_m": self.truth.position.tolist(),
            "specific_force_m_s2": imu.specific_force.tolist(),
            "attitude": self.last[AttitudeReport].attitude.tolist(),
            "armed": self.status.armed,
            "accepts_setpoints": self.status.accepts_setpoints,
            "arms_itself": "arms itself" in self.link.preflight()[0].finding,
        }

    def before_control(self) -> float:
        """Largest motor signal while setpoints with thrust are given to a link that has not taken control."""
        self.run(0.3, lambda: AttitudeSetpoint(LEVEL, 0.0))
        self.run(0.5, lambda: AttitudeSetpoint(LEVEL, 0.5 * VEHICLE.weight))
        return float(self.truth.motors.max())

    def take_off(self) -> dict[str, Any]:
        began = time.monotonic()
        self.link.take_control(began)
        self.run(0.5, lambda: AttitudeSetpoint(LEVEL, 0.0))
        taken = {"accepts_setpoints": self.status.accepts_setpoints, "armed_before": self.status.armed}
        self.link.arm(time.monotonic())
        self.run(0.5, lambda: AttitudeSetpoint(LEVEL, 0.0))
        taken["armed"] = self.status.armed
        self.run(3.0, self.at_height(LEVEL))
        return taken | {"height_m": self.truth.height, "mode": self.status.mode}

    def tilts(self) -> list[dict[str, Any]]:
        """Wanted and flown roll or pitch in degrees, true and as the link tells."""
        flown = []
        for axis, degrees in ((0, 6.0), (0, -14.0), (1, 6.0), (1, -14.0)):
            turn = np.zeros(3)
            turn[axis] = np.radians(degrees)
            self.run(0.8, self.at_height(quaternion_exp(turn)))
            told = Rotation.from_quat(np.roll(self.last[AttitudeReport].attitude, -1)).as_euler("ZYX", degrees=True)
            names = {"axis": ("roll", "pitch")[axis], "wanted_deg": degrees}
            flown.append(names | {"flown_deg": self.euler()[axis], "told_deg": float(told[2 - axis])})
        self.run(1.0, self.at_height(LEVEL))
        return flown

    def turns(self) -> dict[str, float]:
        """A yaw rate and a heading, both counter-clockwise.

        The firmware integrates the rate by steps of its loop, of which there are fewer than 1000 a second on a busy
        machine.
        """
        before = self.euler()[2]

        def turning() -> AttitudeSetpoint:
            return self.at_height(self.last[AttitudeReport].attitude, math.radians(40.0))()

        steps, began = self.truth.steps, time.monotonic()
        self.run(1.5, turning)
        loop_rate = (self.truth.steps - steps) / (time.monotonic() - began)
        rate = math.degrees(float(self.truth.body_rates[2]))
        told = math.degrees(float(self.last[AttitudeReport].body_rates[2]))
        wanted = np.array([math.cos(0.4), 0.0, 0.0, math.sin(0.4)])
        self.run(4.0, self.at_height(wanted))
        result = {"rate_deg_s": rate, "told_rate_deg_s": told, "loop_Hz": loop_rate, "heading_deg": self.euler()[2]}
        self.run(3.0, self.at_height(LEVEL))
        return result | {"before_deg": before, "back_deg": self.euler()[2]}

    def silence(self) -> dict[str, Any]:
        """The firmware's watchdog, from a tilt; then whether thrust, asked for anew, is given."""
        self.run(0.5, self.at_height(quaternion_exp(np.array([math.radians(16.0), 0.0, 0.0]))))
        flew = self.status.mode == "flying"
        began, level, off = time.monotonic(), None, None
        while (now := time.monotonic()) - began < 4.0:
            self.run(0.005)
            level = now - began if level is None and self.tilt() < TILTED else level
            off = now - began if off is None and self.truth.motors.max() == 0 else off
        result = {"flew": flew, "level_after_s": level, "off_after_s": off}
        result |= {"mode": self.status.mode, "armed": self.status.armed}
        self.link.take_control(time.monotonic())
        self.link.arm(time.monotonic())
        self.run(0.5, lambda: AttitudeSetpoint(self.last[AttitudeReport].attitude, 0.0))
        self.run(1.0, lambda: AttitudeSetpoint(self.last[AttitudeReport].attitude, 0.5 * VEHICLE.weight))
        return result | {
            "asked_again_pwm": float(self.truth.motors.max()),
            "asked_again_armed": self.status.armed,
            "refusals": list(self.status.arming_refusals),
        }


def booted(truth: Truth) -> bool:
    """Whether the firmware has answered so many samples that it has its gyroscope's bias."""
    end = time.monotonic() + BOOT_TIME
    while truth.steps < BOOT_STEPS and time.monotonic() < end:
        time.sleep(0.1)
    return truth.steps >= BOOT_STEPS


class Firmware:
    """The firmware, which can be started again."""

    def __init__(self, binary: str, folder: Path) -> None:
        self._command, self._folder = [binary, str(FIRMWARE_PORT), "127.0.0.1"], folder
        self._running: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.stop()
        with (self._folder / "firmware.log").open("a") as log:
            self._running = subprocess.Popen(self._command, cwd=self._folder, stdout=log, stderr=log)

    def stop(self) -> None:
        if self._running is not None:
            self._running.kill()
            self._running.wait()


@contextlib.contextmanager
def flyable(firmware: Firmware, truth: Truth) -> Iterator[None]:
    """The firmware with its vehicle."""
    vehicle = multiprocessing.Process(target=serve, args=(truth,), daemon=True)
    vehicle.start()
    try:
        assert truth.listening.wait(BOOT_TIME)  # the firmware says its hello once, and waits for ever
        firmware.start()
        if not booted(truth):
            raise TimeoutError(f"the firmware has not booted within {BOOT_TIME} s")
        yield
    finally:
        firmware.stop()
        vehicle.kill()


def by_link(truth: Truth) -> dict[str, Any]:
    flight = Flight(truth)
    if not flight.connected():
        return {"connected": False}
    result: dict[str, Any] = {"connected": True, "rest": flight.rest(), "before_control_pwm": flight.before_control()}
    result |= {"taken": flight.take_off(), "tilts": flight.tilts(), "turns": flight.turns()}
    return result | {"silence": flight.silence(), "modes": [mode for _, mode in flight.modes]}


def fly(folder: Path, more: list[str]) -> subprocess.Popen[str]:
    """``fly`` with arming confirmed, in the background."""
    (folder / "thrust.json").write_text(hover_map().to_json())
    command = [sys.executable, "-m", "neural_lander.cli.main", "fly", "--link", ADDRESS, "--vehicle", VEHICLE.name,
               "--thrust-map", str(folder / "thrust.json"), "--floor", "0", "--arm", "--json", "--duration", "60",
               "--log", str(folder / "flight.mcap"), *more]  # fmt: skip
    pipe = subprocess.PIPE
    flying = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
    assert flying.stdin is not None
    flying.stdin.write("arm\n")
    flying.stdin.flush()
    return flying


def by_restart(truth: Truth, firmware: Firmware, folder: Path) -> dict[str, Any]:
    """The firmware starts again in the air, under ``fly``."""
    flying = fly(folder, [])
    end = time.monotonic() + RESTART_TIME
    while truth.height < 0.7 and time.monotonic() < end and flying.poll() is None:
        time.sleep(0.1)
    flew = truth.height
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


def by_fly(truth: Truth, folder: Path, more: list[str]) -> dict[str, Any]:
    """``fly`` lands from 1 m; what the firmware then says."""
    flying = fly(folder, more)
    printed, said = flying.communicate(timeout=120)
    result = {
        "flown": json.loads(printed) if printed else None,
        "stderr": said[-2000:],
        "highest_m": truth.highest,
    }
    time.sleep(LANDING_TIME)
    result |= {"touchdown_speed_m_per_s": truth.touchdown_speed}
    flight = Flight(truth)
    if flight.connected():
        flight.run(1.0)
        result |= {"mode_at_end": flight.status.mode, "armed_at_end": flight.status.armed}
    flight.link.close()
    return result | {"motors_at_end": float(truth.motors.max())}


def main(binary: str, what: str, folder: Path, more: list[str]) -> None:
    warnings.simplefilter("ignore")
    truth, firmware = Truth(), Firmware(binary, folder)
    with flyable(firmware, truth):
        if what == "link":
            result = by_link(truth)
        elif what == "restart":
            result = by_restart(truth, firmware, folder)
        else:
            result = by_fly(truth, folder, more)
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        main(sys.argv[1], sys.argv[2], Path(name if sys.argv[3] == "-" else sys.argv[3]), sys.argv[4:])
