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
import sys
import threading
import tty
from pathlib import Path
from typing import Any

from pymavlink import mavutil
from pymavlink.dialects.v20 import common as dialect

from tests.firmware_process import Firmware
from tests.mavlink_pilot import TAKEOFF_HEIGHT, UP, Pilot, fly

COMPANION_PORT, PILOT_PORT = 14540, 14550  # to which the firmware sends
OFFBOARD, LOITER, TAKEOFF = (6, 0), (4, 3), (4, 2)  # main mode, and of the automatic one which
MASS, FULL_THRUST, GEAR = 1.0, 20.0, 0.05  # kg, N of all rotors, m: of its simulated quadrotor
HOVER = MASS * 9.80665 / FULL_THRUST
SETTINGS = {
    "MPC_THR_HOVER": HOVER, "COM_OF_LOSS_T": 0.5, "COM_OBL_RC_ACT": 4, "COM_RC_IN_MODE": 4,
    "NAV_RCL_ACT": 0, "NAV_DLL_ACT": 0, "MIS_TAKEOFF_ALT": TAKEOFF_HEIGHT, "COM_DISARM_PRFLT": 60.0,
    "CBRK_SUPPLY_CHK": 894281, "SDLOG_MODE": -1,
    "EKF2_HGT_REF": 3, "EKF2_EV_CTRL": 15,  # as with motion capture: without any it falls back to the simulated GPS
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


class PX4Pilot(Pilot):
    """Its ground station also makes the settings."""

    COMPANION, STAY, CLIMB = OFFBOARD, LOITER, TAKEOFF

    def __init__(self, gives_control: bool) -> None:
        line = mavutil.mavlink_connection(f"udpin:127.0.0.1:{PILOT_PORT}", source_system=255)
        super().__init__(line, gives_control, beat=0.5)
        self.settings = dict(SETTINGS)
        """What has not been acknowledged yet."""

    def mode_of(self, custom_mode: int) -> tuple[int, ...]:
        return custom_mode >> 16 & 0xFF, custom_mode >> 24 & 0xFF

    def may_fly(self) -> bool:
        return super().may_fly() and not self.settings

    def keep_up(self) -> None:
        if self.mode is None:  # until the firmware has spoken it has no address
            return
        super().keep_up()
        for name, value in self.settings.items():
            whole = isinstance(value, int)
            (sent,) = struct.unpack("<f", struct.pack("<i" if whole else "<f", value))  # an integer goes by its bits
            kind = dialect.MAV_PARAM_TYPE_INT32 if whole else dialect.MAV_PARAM_TYPE_REAL32
            self.line.mav.param_set_send(1, 1, name.encode(), sent, kind)

    def see(self, m: Any) -> None:
        super().see(m)
        if m.get_type() == "PARAM_VALUE":
            self.settings.pop(m.param_id, None)

    def climb(self) -> None:
        self.flown = self.mode == self.STAY and self.height > UP


def main(binary: Path, folder: Path, gives_control: bool, more: list[str]) -> None:
    """Boot it, wait until it would arm, fly."""
    (folder / "profile.toml").write_text(PROFILE)
    command = [str(binary), "-d", "-w", str(folder), "-s", "etc/init.d-posix/rcS", str(binary.parents[1] / "etc")]
    wire, pilot = Wire(), PX4Pilot(gives_control)
    wire.start()
    pilot.start()
    more = ["--vehicle", str(folder / "profile.toml"), *more]
    if gives_control:
        more += ["--range-offset", f"0,0,-{GEAR}"]
    else:  # on the ground its simulated rangefinder is not valid
        more += ["--floor", str(-GEAR), "--take-control"]
    with Firmware(command, folder, PX4_SIM_MODEL="sihsim_quadx", PX4_SIM_SPEED_FACTOR="1"):
        result = fly(pilot, f"mavlink:{wire.device}?baud=921600", folder, more)
    print(json.dumps(result | {"settings_left": pilot.settings}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] == "gives", sys.argv[4:])
