"""Setpoints and telemetry in real time by pyserial and a pseudo-terminal: what is missed, and how late answers are.

The autopilot is emulated in a process of its own. On a paced line the vehicle takes off and hovers, all in real time;
for the delay from state to setpoint the line is not paced, and the autopilot does nothing but wait for the answer.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from pymavlink.dialects.v20 import ardupilotmega as dialect

from benchmarks.closed_loop import default_network
from benchmarks.fault_flights.witness import message_id
from firmware_bridge.emulator.autopilot import Autopilot
from firmware_bridge.emulator.mavlink import MavlinkAutopilot
from firmware_bridge.emulator.mavlink_firmware import FIRMWARES, MOTOR_CURVE
from firmware_bridge.emulator.modes import TICK, Mode
from firmware_bridge.emulator.pty import PseudoTerminal
from firmware_bridge.emulator.world import RigidBodyWorld
from firmware_bridge.estimation.height import Rangefinder
from firmware_bridge.guidance.flight_plan import FlightPlan
from firmware_bridge.guidance.guidance import Guidance
from firmware_bridge.link import AttitudeReport, ImuReport, Link, PositionReport
from firmware_bridge.links import open_link
from firmware_bridge.loop import FlightLoop
from firmware_bridge.mavlink.framing import Frame, FrameParser
from firmware_bridge.realtime import MonotonicClock, undisturbed
from firmware_bridge.realtime import run as ticks
from firmware_bridge.supervisor.types import IN_CONTROL
from neural_lander.control.controller import Controller
from neural_lander.control.guard import Guarded
from neural_lander.residual.options import DEFAULT_THRUST_SLOPE
from neural_lander.vehicle import Vehicle, load_vehicle

STREAMS = (PositionReport, AttitudeReport, ImuReport)
STATE = {dialect.MAVLINK_MSG_ID_ATTITUDE_QUATERNION, dialect.MAVLINK_MSG_ID_LOCAL_POSITION_NED}
PRIORITY = 50  # of the loop's thread, where the system allows it
NICENESS = 10  # of the emulated autopilot
PATIENCE = 60.0  # s until the pilot must have given control
ROOM = 0.5  # s at the end for what is still on its way


class NumberedParser(FrameParser):
    """Counts the frames that are missing by the numbers of those that came."""

    def __init__(self) -> None:
        super().__init__()
        self.missed = 0
        self._last: int | None = None

    def feed(self, data: bytes) -> list[Frame]:
        """See :class:`~firmware_bridge.mavlink.framing.FrameParser`."""
        found = super().feed(data)
        for frame in found:
            self.missed += 0 if self._last is None else (frame.sequence - self._last - 1) % 256
            self._last = frame.sequence
        return found


class Hover:
    """A loop that hovers for so long once it is given control, and what came in meanwhile."""

    def __init__(self, link: Link, vehicle: Vehicle, seconds: float) -> None:
        self._poll, self._seconds = link.poll, seconds
        plan = FlightPlan(vehicle, settle_time=10 * PATIENCE)
        law = Controller(
            vehicle, default_network(vehicle), contraction_factor=DEFAULT_THRUST_SLOPE, uncertified="random weights"
        )
        self.loop = FlightLoop(link, Guidance(Guarded(law), plan), Rangefinder())
        self.sent = 0
        self.flown_sent = 0
        self.flown = 0.0  # s
        self.times: dict[type, list[float]] = {kind: [] for kind in STREAMS}
        """s, when each report in control was true."""
        self.lateness: list[float] = []
        self._began = time.monotonic()
        self._control: float | None = None
        link.poll = self._counted  # type: ignore[method-assign]

    def _counted(self, now: float) -> Any:
        reports = self._poll(now)
        for report in reports:
            if self._control is not None and isinstance(report, STREAMS):
                self.times[type(report)].append(report.t)
        return reports

    def tick(self, now: float, lateness: float) -> bool:
        """One tick of the loop; False once it is over."""
        record = self.loop.tick(now, lateness)
        self.sent += record.setpoint is not None
        if record.decision.phase in IN_CONTROL:
            self._control = now if self._control is None else self._control
            self.flown, self.flown_sent = now - self._control, self.flown_sent + (record.setpoint is not None)
            self.lateness.append(lateness)
            return self.flown < self._seconds
        return self._control is None and now - self._began < PATIENCE


def missed(times: list[float], rate: float) -> int:
    """Reports that a stream of ``rate`` in Hz lacks, by the gaps between those that came."""
    gaps = np.diff(np.array(times)) * rate
    return int(np.maximum(np.round(gaps) - 1, 0).sum())


def paced(rate: float, baud: int, seconds: float) -> dict[str, Any]:
    """Setpoints at ``rate`` in Hz for so long over a line of ``baud``, with three streams at up to 400 Hz."""
    vehicle = load_vehicle("intel-aero")
    with tempfile.TemporaryDirectory() as folder:
        port = Path(folder) / "autopilot"
        command = [sys.executable, "-m", "neural_lander.cli.main", "emulate", "--autopilot", "px4", "--light",
                   "--baud", str(baud), "--link", str(port), "--json"]  # fmt: skip
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as emulator:
            while not port.exists():
                if emulator.poll() is not None:
                    raise RuntimeError("the emulator has ended")
                time.sleep(0.05)
            link = open_link(f"mavlink:{port}?baud={baud}", vehicle, rate=rate)
            link.parser = parser = NumberedParser()  # type: ignore[attr-defined]
            hover = Hover(link, vehicle, seconds)
            with undisturbed(_apart(emulator.pid), PRIORITY):
                left_out = ticks(hover.tick, rate, MonotonicClock())
            time.sleep(ROOM)
            hover.loop.close()
            emulator.send_signal(signal.SIGTERM)
            told = json.loads(emulator.communicate(timeout=20)[0])
    stream = min(rate, 1 / TICK)  # the autopilot's main loop
    late = 1e3 * np.array(hover.lateness or [np.nan])
    return {
        "setpoints Hz": rate,
        "baud": baud,
        "s": hover.flown,
        "setpoints": hover.flown_sent,
        "ticks left out": left_out,
        "in control": round(hover.flown * rate) + 1 - hover.flown_sent,
        "not taken": hover.sent - told["setpoints_taken"],
        "telemetry": sum(len(times) for times in hover.times.values()),
        "telemetry missed": parser.missed,
        "gaps between their times": sum(missed(times, stream) for times in hover.times.values()),
        "late ms p99": float(np.percentile(late, 99)),
        "worst": float(late.max()),
    }


def serve(told: Connection, seconds: float) -> None:
    """An autopilot that waits for the answer to each state: tells its port, then the delays in s.

    The vehicle stands still in the air, so that no physics stands between question and answer.
    """
    kind, vehicle = FIRMWARES["px4"], load_vehicle("intel-aero")
    world = RigidBodyWorld(vehicle, 1.0)
    world.step = lambda rotor_speeds, dt: None  # type: ignore[method-assign]
    pilot = Autopilot(vehicle, world, kind.settings(), motor_curve=MOTOR_CURVE, boot_time=0.1)
    pilot.begin_airborne(0.0)
    emulator, line = MavlinkAutopilot(pilot, kind), PseudoTerminal()
    told.send(line.address)
    begin, delays, due = time.monotonic(), [], 0.0
    parser, held = FrameParser(), b""
    while (now := time.monotonic() - begin) < seconds:
        frames, held = emulator.step(now, held + line.read()), b""
        line.write(b"".join(frames))
        written = time.monotonic()
        asked = {message_id(frame) for frame in frames} >= STATE
        if pilot.mode is Mode.HOLD and now > 5.0 and pilot.streamed_for(1.0):
            pilot.switch(Mode.COMPANION, "pilot")
        due = max(due + TICK, now)
        while (left := due - (time.monotonic() - begin)) > 0:
            data = line.read() if line.wait(left) else b""
            if data:
                answered, held = time.monotonic(), held + data
                setpoint = any(f.message == dialect.MAVLINK_MSG_ID_SET_ATTITUDE_TARGET for f in parser.feed(data))
                if setpoint and asked and pilot.mode is Mode.COMPANION:
                    delays.append(answered - written)
                    asked = False
    told.send(delays)


def _apart(autopilot: int) -> int | None:
    """A CPU for the loop alone, as by ``fly --cpu``: the autopilot's process is kept off it, where there is another.

    It stands for another computer: the thread of ours that moves a pseudo-terminal's bytes must not wait for it, as it
    does for a time slice of 4 ms if both have one priority.
    """
    cpus = sorted(os.sched_getaffinity(0))
    os.setpriority(os.PRIO_PROCESS, autopilot, NICENESS)
    if len(cpus) < 2:
        return None
    os.sched_setaffinity(autopilot, cpus[:-1])
    return cpus[-1]


def _heard(process: Connection) -> Any:
    if not process.poll(PATIENCE):
        raise RuntimeError("the autopilot's process does not answer")
    return process.recv()


def answers(rate: float, seconds: float) -> dict[str, Any]:
    """Delays from the last byte of a whole state written to its setpoint read, at the autopilot's end.

    Where the autopilot sends an attitude without a position there is no new state to answer: the loop waits for one.
    """
    vehicle = load_vehicle("intel-aero")
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(theirs, seconds + 8.0), daemon=True)
    process.start()
    hover = Hover(open_link(f"mavlink:{_heard(ours)}", vehicle, rate=rate), vehicle, 10 * PATIENCE)
    end = time.monotonic() + seconds + 7.0

    def tick(now: float, lateness: float) -> bool:
        return hover.tick(now, lateness) and now < end

    with undisturbed(priority=PRIORITY):
        ticks(tick, rate, MonotonicClock(), hover.loop.listen)
    delays = 1e3 * np.array(_heard(ours))
    process.join()
    hover.loop.close()
    quantiles = np.percentile(delays, [50, 99, 99.9]) if len(delays) else [np.nan] * 3
    return {
        "state to setpoint at Hz": rate,
        "n": len(delays),
        "ms p50": float(quantiles[0]),
        "p99": float(quantiles[1]),
        "p99.9": float(quantiles[2]),
        "worst": float(delays.max(initial=0.0)),
    }


def run() -> dict[str, Any]:
    """Both lines of the requirement, and the delays at 400 Hz."""
    load = os.getloadavg()[0]
    rows = [paced(200.0, 460_800, 60.0), paced(500.0, 921_600, 60.0)]
    delay = answers(400.0, 20.0)
    words = ", ".join(f"{key} {value:.4g}" for key, value in delay.items())
    return {
        "what": f"real time over a pseudo-terminal, NumPy controller; {words}; load {load:.1f} before",
        "rows": rows,
        "delays": delay,
    }
