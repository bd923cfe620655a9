"""One flight of a real ArduCopter in software by ``neural-lander fly``; prints what happened as JSON.

Run in a network namespace of its own, since the firmware listens on all addresses. The vehicle is the firmware's own
simulation, without ground effect, in real time. A second MAVLink connection plays the pilot.
"""

import json
import sys
from pathlib import Path

from pymavlink import mavutil
from pymavlink.dialects.v20 import ardupilotmega as dialect

from tests.firmware_process import Firmware
from tests.mavlink_pilot import TAKEOFF_HEIGHT, Pilot, fly

COMPANION_PORT, PILOT_PORT = 5760, 5762
GUIDED, LOITER = (4,), (5,)
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


class ArduCopterPilot(Pilot):
    """It has a transmitter, too, on the same connection."""

    COMPANION, STAY, CLIMB = GUIDED, LOITER, GUIDED

    def __init__(self, gives_control: bool) -> None:
        line = mavutil.mavlink_connection(f"tcp:127.0.0.1:{PILOT_PORT}", source_system=255, retries=60)
        super().__init__(line, gives_control, beat=1.0)

    def mode_of(self, custom_mode: int) -> tuple[int, ...]:
        return (custom_mode,)

    def keep_up(self) -> None:
        super().keep_up()
        for number, rate in STREAMS:
            self.command(dialect.MAV_CMD_SET_MESSAGE_INTERVAL, number, 1e6 / rate)
        self.hold_sticks()

    def hold_sticks(self) -> None:
        throttle = MIDDLE if self.flown else LOWEST
        self.line.mav.rc_channels_override_send(1, 1, MIDDLE, MIDDLE, throttle, MIDDLE, 0, 0, 0, 0)

    def climb(self) -> None:
        if self.height < 0.9 * TAKEOFF_HEIGHT:
            self.command(dialect.MAV_CMD_NAV_TAKEOFF, 0, 0, 0, 0, 0, 0, TAKEOFF_HEIGHT)
        else:
            self.flown = True
            self.hold_sticks()
            self.switch(self.STAY)


def main(binary: str, folder: Path, gives_control: bool, more: list[str]) -> None:
    """Boot it, wait until it would arm, fly."""
    (folder / "arducopter.parm").write_text("".join(f"{name} {value}\n" for name, value in SETTINGS.items()))
    (folder / "profile.toml").write_text(PROFILE)
    command = [binary, "--model", "x", "--speedup", "1", "--wipe", "--serial0", "tcp:0", "--serial1", "tcp:2",
               "--defaults", "arducopter.parm", "--home", "47.0,8.0,400,0"]  # fmt: skip
    if "--bundle" not in more:
        more = ["--vehicle", str(folder / "profile.toml"), *more]
    if not gives_control:
        more = ["--take-control", *more]
    with Firmware(command, folder):
        pilot = ArduCopterPilot(gives_control)
        pilot.start()
        print(json.dumps(fly(pilot, f"mavlink:socket://127.0.0.1:{COMPANION_PORT}", folder, more)), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3] == "gives", sys.argv[4:])
