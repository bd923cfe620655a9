"""One flight of a real ArduCopter in software by ``neural-lander fly``; prints what happened as JSON.

Run in a network namespace of its own, since the firmware listens on all addresses. The vehicle is the firmware's own
simulation, without ground effect, in real time. A second MAVLink connection plays the pilot.
"""

import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from pymavlink import mavutil
from pymavlink.dialects.v20 import ardupilotmega as dialect

COMPANION_PORT, PILOT_PORT = 5760, 5762
BOOT_TIME = 90.0  # s until its estimator knows where it is
TAKEOFF_HEIGHT = 1.0  # m
GUIDED, LOITER = 4, 5
STREAMS = ((dialect.MAVLINK_MSG_ID_LOCAL_POSITION_NED, 50), (dialect.MAVLINK_MSG_ID_SYS_STATUS, 5))
MIDDLE, LOWEST = 1500, 1000  # us
MASS, HOVER_THROTTLE, GEAR = 3.0, 0.39, 0.1  # kg, 1, m: of its simulated quadrotor, and a rangefinder that high
SETTINGS = {
    "FRAME_CLASS": 1, "FRAME_TYPE": 1, "MOT_THST_EXPO": 0.65, "MOT_THST_HOVER": HOVER_THROTTLE, "MOT_HOVER_LEARN": 0,
    "MOT_BAT_VOLT_MIN": 9.6, "MOT_BAT_VOLT_MAX": 12.8, "BATT_MONITOR": 4, "GUID_OPTIONS": 9, "GUID_TIMEOUT": 0.5,
    "RNGFND1_TYPE": 100, "RNGFND1_ORIENT": 25, "RNGFND1_MIN_CM": 2, "RNGFND1_MAX_CM": 1000, "RNGFND1_GNDCLEAR": 10,
    "SIM_SONAR_POS_Z": -GEAR, "FENCE_ENABLE": 0, "FS_THR_ENABLE": 0, "FS_GCS_ENABLE": 0, "LOG_BACKEND_TYPE": 0,
    **{f"INS_ACC{k}OFFS_{axis}": 0.001 for k in ("", "2") for axis in "XYZ"},
    **{f"INS_ACC{k}SCAL_{axis}": 1.001 for k in ("", "2") for axis in "XYZ"},
    **{f"COMPASS_OFS{k}_{axis}": offset for k in ("", "2", "3") for axis, offset in (("X", 5), ("Y", 13), ("Z", -18))},
    **{f"RC{k}_{end}": us for k in range(1, 9) for end, us in (("MIN", 1000), ("TRIM", 1500), ("MAX", 2000))},
}  # fmt: skip
PROFILE = f"""
name = "arducopter-sitl"
description = "The quadrotor that ArduCopter simulates by itself, frame x"
mass = {{ value = {MASS}, unit = "kg", source = "the firmware's simulation" }}
rotor_radius = {{ value = 0.175, unit = "m", source = "its rotor discs" }}
thrust_coefficient = {{ value = {MASS * 9.8 / HOVER_THROTTLE / 4 / 1000**2}, unit = "N s^2/rad^2", source = "hover" }}
torque_ratio = {{ value = 0.02, unit = "m", source = "guess" }}
rotor_speed_max = {{ value = 1000.0, unit = "rad/s", source = "guess" }}
motor_time_constant = {{ value = 0.02, unit = "s", source = "guess" }}
inertia = {{ value = [0.023, 0.023, 0.046], unit = "kg m^2", source = "half of the mass on a ring" }}
rotor_positions = {{ value = [[0.124, -0.124, 0.0], [-0.124, 0.124, 0.0], [0.124, 0.124, 0.0], [-0.124, -0.124, 0.0]], \
unit = "m", source = "0.35 m between opposite hubs" }}
rotor_directions = {{ value = [1, 1, -1, -1], unit = "1", source = "ArduPilot quad X" }}
gear_points = {{ value = [[0.1, 0.1, -{GEAR}], [0.1, -0.1, -{GEAR}], [-0.1, 0.1, -{GEAR}], [-0.1, -0.1, -{GEAR}]], \
unit = "m", source = "where the rangefinder is" }}
"""


class Pilot(threading.Thread):
    """The pilot's transmitter and ground station, on a connection of their own."""

    def __init__(self, gives_control: bool) -> None:
        super().__init__(daemon=True)
        self.line = mavutil.mavlink_connection(f"tcp:127.0.0.1:{PILOT_PORT}", source_system=255, retries=60)
        self.gives_control = gives_control
        self.mode, self.armed, self.ready = -1, False, False
        self.companion = threading.Event()
        self.stopped = threading.Event()
        self.events: list[tuple[float, str]] = []
        self.track: list[tuple[float, float, float]] = []
        """(s, m of height, m/s of climb), as the firmware's estimator has it."""
        self._asked = 0.0
        self._flown = False

    def note(self, what: str) -> None:
        self.events.append((time.monotonic(), what))

    def run(self) -> None:
        asked = 0.0
        while not self.stopped.is_set():
            if time.monotonic() - asked > 1.0:
                asked = time.monotonic()
                self.line.mav.heartbeat_send(dialect.MAV_TYPE_GCS, dialect.MAV_AUTOPILOT_INVALID, 0, 0, 0)
                for number, rate in STREAMS:
                    self.command(dialect.MAV_CMD_SET_MESSAGE_INTERVAL, number, 1e6 / rate)
                throttle = MIDDLE if self._flown else LOWEST
                self.line.mav.rc_channels_override_send(1, 1, MIDDLE, MIDDLE, throttle, MIDDLE, 0, 0, 0, 0)
            message = self.line.recv_match(blocking=True, timeout=0.05)
            if message is not None:
                self.see(message)
            if self.companion.is_set() and time.monotonic() - self._asked > 0.5:
                self._asked = time.monotonic()
                self.act()

    def command(self, number: int, *parameters: float) -> None:
        padded = [*parameters, *[0.0] * (7 - len(parameters))]
        self.line.mav.command_long_send(1, 1, number, 0, *padded)

    def see(self, m: Any) -> None:
        kind, component = m.get_type(), m.get_srcComponent()
        if kind == "HEARTBEAT" and component == dialect.MAV_COMP_ID_AUTOPILOT1:
            armed = bool(m.base_mode & dialect.MAV_MODE_FLAG_SAFETY_ARMED)
            if (armed, m.custom_mode) != (self.armed, self.mode):
                self.note(f"mode {m.custom_mode}, {'armed' if armed else 'disarmed'}")
            self.armed, self.mode = armed, m.custom_mode
        elif kind == "SYS_STATUS":
            self.ready = bool(m.onboard_control_sensors_health & dialect.MAV_SYS_STATUS_PREARM_CHECK)
        elif kind == "LOCAL_POSITION_NED":
            self.track.append((time.monotonic(), -m.z, -m.vz))
        elif kind == "STATUSTEXT":
            self.note(m.text)
        elif kind == "COMMAND_ACK" and m.command != dialect.MAV_CMD_SET_MESSAGE_INTERVAL and m.result:
            self.note(f"command {m.command} refused: {m.result}")

    def act(self) -> None:
        """What the pilot does next; asked twice a second."""
        height = self.track[-1][1] if self.track else 0.0
        if not self.gives_control:
            if self.mode == GUIDED and not self.armed and not self._flown:
                self.command(dialect.MAV_CMD_COMPONENT_ARM_DISARM, 1)
            self._flown |= self.armed
            return
        if self._flown:
            if self.mode == LOITER and self.armed and height > 0.8 * TAKEOFF_HEIGHT:
                self.switch(GUIDED)
        elif not self.armed:
            self.switch(GUIDED)
            self.command(dialect.MAV_CMD_COMPONENT_ARM_DISARM, 1)
        elif height < 0.9 * TAKEOFF_HEIGHT:
            self.command(dialect.MAV_CMD_NAV_TAKEOFF, 0, 0, 0, 0, 0, 0, TAKEOFF_HEIGHT)
        else:
            self._flown = True
            self.line.mav.rc_channels_override_send(1, 1, MIDDLE, MIDDLE, MIDDLE, MIDDLE, 0, 0, 0, 0)
            self.switch(LOITER)

    def switch(self, mode: int) -> None:
        self.command(dialect.MAV_CMD_DO_SET_MODE, dialect.MAV_MODE_FLAG_CUSTOM_MODE_ENABLED, mode)

    def touchdown_speed(self) -> float | None:
        """m/s, over the last 10 cm above where it ends."""
        if not self.track:
            return None
        ground = self.track[-1][1]
        low = [(h, v) for _, h, v in self.track if 0.02 < h - ground < 0.1 and v < -0.02]
        return -sum(v for _, v in low[-5:]) / len(low[-5:]) if low else None


def main(binary: str, folder: Path, gives_control: bool, more: list[str]) -> None:
    """Boot it, wait until it would arm, fly."""
    (folder / "arducopter.parm").write_text("".join(f"{name} {value}\n" for name, value in SETTINGS.items()))
    (folder / "profile.toml").write_text(PROFILE)
    command = [binary, "--model", "x", "--speedup", "1", "--wipe", "--serial0", "tcp:0", "--serial1", "tcp:2",
               "--defaults", "arducopter.parm", "--home", "47.0,8.0,400,0"]  # fmt: skip
    with (folder / "firmware.log").open("w") as log:
        firmware = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        pilot = Pilot(gives_control)
        pilot.start()
        began = time.monotonic()
        while not (pilot.ready and pilot.track) and time.monotonic() - began < BOOT_TIME:
            time.sleep(0.1)
        ready = time.monotonic() - began
        pilot.companion.set()
        fly = [sys.executable, "-m", "neural_lander.cli.main", "fly", "--link", f"mavlink:socket://127.0.0.1:{COMPANION_PORT}",
               "--json", "--duration", "60", "--log", str(folder / "flight.mcap"), *more]  # fmt: skip
        if "--bundle" not in more:
            fly += ["--vehicle", str(folder / "profile.toml")]
        if not gives_control:
            fly += ["--take-control"]
        done = subprocess.run(fly, capture_output=True, text=True, timeout=150, check=False)
        time.sleep(1.0)
        pilot.stopped.set()
        pilot.join()
        result = {
            "ready_after_s": ready,
            "flown": json.loads(done.stdout) if done.stdout else None,
            "stderr": done.stderr[-2000:],
            "armed_at_end": pilot.armed,
            "mode_at_end": pilot.mode,
            "highest_m": max((h for _, h, _ in pilot.track), default=None),
            "ground_m": pilot.track[-1][1] if pilot.track else None,
            "touchdown_speed_m_per_s": pilot.touchdown_speed(),
            "events": [(round(t - began, 2), what) for t, what in pilot.events],
        }
        print(json.dumps(result))
    finally:
        firmware.kill()
        firmware.wait()


if __name__ == "__main__":
    if sys.argv[3] == "-":
        with tempfile.TemporaryDirectory() as name:
            main(sys.argv[1], Path(name), sys.argv[2] == "gives", sys.argv[4:])
    else:
        main(sys.argv[1], Path(sys.argv[3]), sys.argv[2] == "gives", sys.argv[4:])
