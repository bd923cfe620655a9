"""What the pilots of real MAVLink autopilots in software have in common, and a flight of ``fly`` with one of them."""

import json
import subprocess
import sys
import threading
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

from pymavlink.dialects.v20 import common as dialect

BOOT_TIME = 90.0  # s until its estimator knows where it is
TAKEOFF_HEIGHT = 1.0  # m
UP = 0.8 * TAKEOFF_HEIGHT  # counts as having taken off


class Pilot(threading.Thread, ABC):
    """The pilot's ground station, on a connection of its own: takes off and gives control, or arms for the companion.

    Parameters
    ----------
    line : object
        The connection, of mavutil.
    gives_control : bool
        In the air; otherwise it is the companion that takes off.
    beat : float
        s between two heartbeats.
    """

    COMPANION: tuple[int, ...]
    """The firmware's mode in which the companion flies."""
    STAY: tuple[int, ...]
    """In which it stays where it is."""
    CLIMB: tuple[int, ...]
    """In which it takes off."""

    def __init__(self, line: Any, gives_control: bool, beat: float) -> None:
        super().__init__(daemon=True)
        self.line, self.gives_control, self._beat = line, gives_control, beat
        self.mode: tuple[int, ...] | None = None
        self.armed, self.ready, self.flown = False, False, False
        self.companion = threading.Event()
        """Set once the companion is there."""
        self.stopped = threading.Event()
        self.events: list[tuple[float, str]] = []
        self.track: list[tuple[float, float, float]] = []
        """(s, m of height, m/s of climb), as the firmware's estimator has it."""

    @abstractmethod
    def mode_of(self, custom_mode: int) -> tuple[int, ...]:
        """The parameters that would switch to what a heartbeat tells."""

    @abstractmethod
    def climb(self) -> None:
        """Armed, on the way to where it gives control; ``flown`` once it is there."""

    def may_fly(self) -> bool:
        """Whether the firmware would arm."""
        return self.ready and bool(self.track)

    def keep_up(self) -> None:
        """What is said with every beat."""
        self.line.mav.heartbeat_send(dialect.MAV_TYPE_GCS, dialect.MAV_AUTOPILOT_INVALID, 0, 0, 0)

    def run(self) -> None:
        beat = asked = 0.0
        while not self.stopped.is_set():
            m = self.line.recv_match(blocking=True, timeout=0.05)
            if m is not None and (m.get_srcSystem(), m.get_srcComponent()) == (1, dialect.MAV_COMP_ID_AUTOPILOT1):
                self.see(m)
            if time.monotonic() - beat > self._beat:
                beat = time.monotonic()
                self.keep_up()
            if self.companion.is_set() and time.monotonic() - asked > 0.5:
                asked = time.monotonic()
                self.act()

    def see(self, m: Any) -> None:
        """A message of the autopilot's."""
        kind = m.get_type()
        if kind == "HEARTBEAT":
            armed = bool(m.base_mode & dialect.MAV_MODE_FLAG_SAFETY_ARMED)
            mode = self.mode_of(m.custom_mode)
            if (armed, mode) != (self.armed, self.mode):
                self.note(f"mode {mode}, {'armed' if armed else 'disarmed'}")
            self.armed, self.mode = armed, mode
        elif kind == "SYS_STATUS":
            self.ready = bool(m.onboard_control_sensors_health & dialect.MAV_SYS_STATUS_PREARM_CHECK)
        elif kind == "LOCAL_POSITION_NED":
            self.track.append((time.monotonic(), -m.z, -m.vz))
        elif kind == "STATUSTEXT":
            self.note(m.text)
        elif kind == "COMMAND_ACK" and m.command != dialect.MAV_CMD_SET_MESSAGE_INTERVAL and m.result:
            self.note(f"command {m.command} refused: {m.result}")

    def act(self) -> None:
        """What the pilot does next."""
        if not self.gives_control:
            if self.mode == self.COMPANION and not self.armed and not self.flown:
                self.arm()
            self.flown |= self.armed
        elif self.flown:
            if self.mode == self.STAY and self.armed and self.height > UP:
                self.switch(self.COMPANION)
        elif not self.armed:
            self.switch(self.CLIMB)
            self.arm()
        else:
            self.climb()

    @property
    def height(self) -> float:
        """m, as the firmware's estimator has it."""
        return self.track[-1][1] if self.track else 0.0

    def note(self, what: str) -> None:
        self.events.append((time.monotonic(), what))

    def command(self, number: int, *parameters: float) -> None:
        padded = [*parameters, *[0.0] * (7 - len(parameters))]
        self.line.mav.command_long_send(1, 1, number, 0, *padded)

    def arm(self) -> None:
        self.command(dialect.MAV_CMD_COMPONENT_ARM_DISARM, 1)

    def switch(self, mode: tuple[int, ...]) -> None:
        self.command(dialect.MAV_CMD_DO_SET_MODE, dialect.MAV_MODE_FLAG_CUSTOM_MODE_ENABLED, *mode)


def fly(pilot: Pilot, link: str, folder: Path, more: list[str]) -> dict[str, Any]:
    """Wait until the firmware would arm, then ``fly``; what it came to."""
    began = time.monotonic()
    while not pilot.may_fly() and time.monotonic() - began < BOOT_TIME:
        time.sleep(0.1)
    ready = time.monotonic() - began
    pilot.companion.set()
    command = [sys.executable, "-m", "neural_lander.cli.main", "fly", "--link", link, "--json", "--duration", "60",
               "--log", str(folder / "flight.mcap"), *more]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=150, check=False)
    time.sleep(1.0)
    pilot.stopped.set()
    pilot.join()
    return {
        "ready_after_s": ready,
        "flown": json.loads(done.stdout) if done.stdout else None,
        "stderr": done.stderr[-2000:],
        "armed_at_end": pilot.armed,
        "mode_at_end": pilot.mode,
        "highest_m": max((h for _, h, _ in pilot.track), default=None),
        "ground_m": pilot.track[-1][1] if pilot.track else None,
        "touchdown_speed_m_per_s": touchdown_speed(pilot.track),
        "events": [(round(t - began, 2), what) for t, what in pilot.events],
    }


def touchdown_speed(track: list[tuple[float, float, float]]) -> float | None:
    """m/s, over the last samples from 15 to 5 cm above where it ends: an EKF's height wanders by 3 cm on the ground."""
    if not track:
        return None
    ground = track[-1][1]
    low = [v for _, h, v in track if 0.05 < h - ground < 0.15 and v < -0.02][-5:]
    return -sum(low) / len(low) if low else None
