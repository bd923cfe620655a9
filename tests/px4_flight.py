"""One flight of a real PX4 in software by ``neural-lander fly``; prints what happened as JSON.

Run in a network namespace of its own, since the firmware listens on all addresses. The vehicle is the firmware's own
simulation (SIH), without ground effect, at the pace of the wall's clock. Its MAVLink is in datagrams, which no serial
port knows: the companion's go through a pseudo-terminal. A second connection plays the pilot.
"""

import json
import os
import select
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import tty
from pathlib import Path
from typing import Any

from pymavlink import mavutil
from pymavlink.dialects.v20 import common as dialect

COMPANION_PORT, PILOT_PORT = 14540, 14550  # to which the firmware sends
BOOT_TIME = 90.0  # s until its estimator knows where it is
TAKEOFF_HEIGHT = 1.0  # m
AUTO, OFFBOARD, TAKEOFF, LOITER = 4, 6, 2, 3
MASS, FULL_THRUST, GEAR = 1.0, 20.0, 0.05  # kg, N of all rotors, m: of its simulated quadrotor
HOVER = MASS * 9.80665 / FULL_THRUST
SETTINGS = {
    "MPC_THR_HOVER": HOVER, "COM_OF_LOSS_T": 0.5, "COM_OBL_RC_ACT": 4, "COM_RC_IN_MODE": 4,
    "NAV_RCL_ACT": 0, "NAV_DLL_ACT": 0, "MIS_TAKEOFF_ALT": TAKEOFF_HEIGHT, "COM_DISARM_PRFLT": 60.0,
    "CBRK_SUPPLY_CHK": 894281, "SDLOG_MODE": -1,
}  # fmt: skip
PROFILE = f"""
name = "px4-sih"
description = "The quadrotor that PX4 simulates by itself"
mass = {{ value = {MASS}, unit = "kg", source = "SIH_MASS" }}
rotor_radius = {{ value = 0.1, unit = "m", source = "guess" }}
thrust_coefficient = {{ value = {FULL_THRUST / 4 / 1000**2}, unit = "N s^2/rad^2", source = "SIH_T_MAX" }}
torque_ratio = {{ value = 0.02, unit = "m", source = "SIH_Q_MAX / SIH_T_MAX" }}
rotor_speed_max = {{ value = 1000.0, unit = "rad/s", source = "guess" }}
motor_time_constant = {{ value = 0.05, unit = "s", source = "SIH_T_TAU" }}
inertia = {{ value = [0.025, 0.025, 0.03], unit = "kg m^2", source = "SIH_IXX, SIH_IYY, SIH_IZZ" }}
rotor_positions = {{ value = [[0.2, -0.2, 0.0], [-0.2, 0.2, 0.0], [0.2, 0.2, 0.0], [-0.2, -0.2, 0.0]], \
unit = "m", source = "SIH_L_ROLL, SIH_L_PITCH" }}
rotor_directions = {{ value = [1, 1, -1, -1], unit = "1", source = "PX4 quad X" }}
gear_points = {{ value = [[0.1, 0.1, -{GEAR}], [0.1, -0.1, -{GEAR}], [-0.1, 0.1, -{GEAR}], [-0.1, -0.1, -{GEAR}]], \
unit = "m", source = "guess; it stands with its rangefinder at 0" }}
"""


class Wire(threading.Thread):
    """The companion's serial line: a pseudo-terminal at one end, datagrams at the other."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._ours, theirs = os.openpty()
        tty.setraw(theirs)
        self.device = os.ttyname(theirs)
        self._theirs = theirs
        self._line = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._line.bind(("127.0.0.1", COMPANION_PORT))
        self._peer: tuple[str, int] | None = None

    def run(self) -> None:
        while True:
            ready, _, _ = select.select([self._ours, self._line], [], [])
            if self._line in ready:
                data, self._peer = self._line.recvfrom(65536)
                if select.select([], [self._ours], [], 0)[1]:
                    os.write(self._ours, data)
            if self._ours in ready:
                data = os.read(self._ours, 1024)
                if self._peer is not None:
                    self._line.sendto(data, self._peer)


class Pilot(threading.Thread):
    """The pilot's ground station, on a connection of its own."""

    def __init__(self, gives_control: bool) -> None:
        super().__init__(daemon=True)
        self.line = mavutil.mavlink_connection(f"udpin:127.0.0.1:{PILOT_PORT}", source_system=255)
        self.gives_control = gives_control
        self.mode, self.armed, self.ready, self.landed = (-1, -1), False, False, False
        self.companion = threading.Event()
        self.stopped = threading.Event()
        self.events: list[tuple[float, str]] = []
        self.track: list[tuple[float, float, float]] = []
        """(s, m of height, m/s of climb), as the firmware's estimator has it."""
        self.settings = dict(SETTINGS)
        """What has not been acknowledged yet."""
        self._asked = 0.0
        self._flown = False

    def note(self, what: str) -> None:
        self.events.append((time.monotonic(), what))

    def run(self) -> None:
        beat = 0.0
        while not self.stopped.is_set():
            message = self.line.recv_match(blocking=True, timeout=0.05)
            if message is not None:
                self.see(message)
            if time.monotonic() - beat > 0.5 and self.mode != (-1, -1):
                beat = time.monotonic()
                self.line.mav.heartbeat_send(dialect.MAV_TYPE_GCS, dialect.MAV_AUTOPILOT_INVALID, 0, 0, 0)
                self.set_up()
            if self.companion.is_set() and time.monotonic() - self._asked > 0.5:
                self._asked = time.monotonic()
                self.act()

    def set_up(self) -> None:
        for name, value in self.settings.items():
            whole = isinstance(value, int)
            (sent,) = struct.unpack("<f", struct.pack("<i" if whole else "<f", value))  # an integer goes by its bits
            kind = dialect.MAV_PARAM_TYPE_INT32 if whole else dialect.MAV_PARAM_TYPE_REAL32
            self.line.mav.param_set_send(1, 1, name.encode(), sent, kind)

    def command(self, number: int, *parameters: float) -> None:
        padded = [*parameters, *[0.0] * (7 - len(parameters))]
        self.line.mav.command_long_send(1, 1, number, 0, *padded)

    def see(self, m: Any) -> None:
        kind = m.get_type()
        if m.get_srcSystem() != 1 or m.get_srcComponent() != dialect.MAV_COMP_ID_AUTOPILOT1:
            return
        if kind == "HEARTBEAT":
            armed = bool(m.base_mode & dialect.MAV_MODE_FLAG_SAFETY_ARMED)
            mode = (m.custom_mode >> 16 & 0xFF, m.custom_mode >> 24 & 0xFF)
            if (armed, mode) != (self.armed, self.mode):
                self.note(f"mode {mode}, {'armed' if armed else 'disarmed'}")
            self.armed, self.mode = armed, mode
        elif kind == "SYS_STATUS":
            self.ready = bool(m.onboard_control_sensors_health & dialect.MAV_SYS_STATUS_PREARM_CHECK)
        elif kind == "LOCAL_POSITION_NED":
            self.track.append((time.monotonic(), -m.z, -m.vz))
        elif kind == "PARAM_VALUE":
            self.settings.pop(m.param_id, None)
        elif kind == "STATUSTEXT":
            self.note(m.text)
        elif kind == "COMMAND_ACK" and m.command != dialect.MAV_CMD_SET_MESSAGE_INTERVAL and m.result:
            self.note(f"command {m.command} refused: {m.result}")

    def act(self) -> None:
        """What the pilot does next; asked twice a second."""
        height = self.track[-1][1] if self.track else 0.0
        if not self.gives_control:
            if self.mode[0] == OFFBOARD and not self.armed and not self._flown:
                self.command(dialect.MAV_CMD_COMPONENT_ARM_DISARM, 1)
            self._flown |= self.armed
        elif self._flown:
            if self.mode == (AUTO, LOITER) and self.armed and height > 0.8 * TAKEOFF_HEIGHT:
                self.switch(OFFBOARD)
        elif not self.armed:
            self.switch(AUTO, TAKEOFF)
            self.command(dialect.MAV_CMD_COMPONENT_ARM_DISARM, 1)
        elif self.mode == (AUTO, LOITER) and height > 0.8 * TAKEOFF_HEIGHT:
            self._flown = True

    def switch(self, main: int, sub: int = 0) -> None:
        self.command(dialect.MAV_CMD_DO_SET_MODE, dialect.MAV_MODE_FLAG_CUSTOM_MODE_ENABLED, main, sub)

    def touchdown_speed(self) -> float | None:
        """m/s, over the last 10 cm above where it ends."""
        if not self.track:
            return None
        ground = self.track[-1][1]
        low = [(h, v) for _, h, v in self.track if 0.02 < h - ground < 0.1 and v < -0.02]
        return -sum(v for _, v in low[-5:]) / len(low[-5:]) if low else None


def main(binary: Path, folder: Path, gives_control: bool, more: list[str]) -> None:
    """Boot it, wait until it would arm, fly."""
    (folder / "profile.toml").write_text(PROFILE)
    environment = os.environ | {"PX4_SIM_MODEL": "sihsim_quadx", "PX4_SIM_SPEED_FACTOR": "1"}
    command = [str(binary), "-d", "-w", str(folder), "-s", "etc/init.d-posix/rcS", str(binary.parents[1] / "etc")]
    wire, pilot = Wire(), Pilot(gives_control)
    wire.start()
    pilot.start()
    with (folder / "firmware.log").open("w") as log:
        firmware = subprocess.Popen(
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        began = time.monotonic()
        while not (pilot.ready and pilot.track and not pilot.settings) and time.monotonic() - began < BOOT_TIME:
            time.sleep(0.1)
        ready = time.monotonic() - began
        pilot.companion.set()
        fly = [sys.executable, "-m", "neural_lander.cli.main", "fly", "--link", f"mavlink:{wire.device}?baud=921600",
               "--vehicle", str(folder / "profile.toml"), "--json", "--duration", "60",
               "--log", str(folder / "flight.mcap"), *more]  # fmt: skip
        if gives_control:
            fly += ["--range-offset", f"0,0,-{GEAR}"]
        else:  # on the ground its simulated rangefinder is not valid
            fly += ["--floor", str(-GEAR), "--take-control"]
        done = subprocess.run(fly, capture_output=True, text=True, timeout=150, check=False)
        time.sleep(1.0)
        pilot.stopped.set()
        pilot.join()
        result = {
            "ready_after_s": ready,
            "settings_left": pilot.settings,
            "flown": json.loads(done.stdout) if done.stdout else None,
            "stderr": done.stderr[-2000:],
            "armed_at_end": pilot.armed,
            "mode_at_end": pilot.mode,
            "highest_m": max((h for _, h, _ in pilot.track), default=None),
            "ground_m": pilot.track[-1][1] if pilot.track else None,
            "touchdown_speed_m_per_s": pilot.touchdown_speed(),
            "events": [(round(t - began, 2), what) for t, what in pilot.events],
        }
        print(json.dumps(result), flush=True)
    finally:
        firmware.kill()
        firmware.wait()


if __name__ == "__main__":
    if sys.argv[3] == "-":
        with tempfile.TemporaryDirectory() as name:
            main(Path(sys.argv[1]), Path(name), sys.argv[2] == "gives", sys.argv[4:])
    else:
        main(Path(sys.argv[1]), Path(sys.argv[3]), sys.argv[2] == "gives", sys.argv[4:])
