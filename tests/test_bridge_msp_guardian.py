"""Sticks that are let go by a second process: its wire, its patience, and what follows where the first is killed."""

import itertools
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest
from test_bridge_msp import VEHICLE, Rig

from firmware_bridge.emulator.line import Line
from firmware_bridge.emulator.msp import MspAutopilot
from firmware_bridge.emulator.pty import PseudoTerminal, Server
from firmware_bridge.emulator.sticks import StickAutopilot
from firmware_bridge.emulator.world import RigidBodyWorld
from firmware_bridge.link import AttitudeSetpoint, TextReport
from firmware_bridge.msp import messages as msg
from firmware_bridge.msp.codec import Decoder
from firmware_bridge.msp.guardian import PERIOD, Guardian
from firmware_bridge.msp.guardian_process import HEAD, PATIENCE, TIMES, watch
from firmware_bridge.msp.stick_sender import RELEASE_SHARE, STANDING_SHARE

FRAME = bytes(range(41))


def told(frame: bytes) -> bytes:
    return HEAD.pack(len(frame)) + frame


class Watched:
    """A watch in a thread, with a socket for its port."""

    def __init__(self, patience: float = 10.0) -> None:
        self.far, self._near = socket.socketpair()
        self.far.settimeout(0.05)
        theirs, self.pipe = os.pipe()
        self.acted: list[bool] = []
        self._thread = threading.Thread(
            target=lambda: self.acted.append(watch(self._near.fileno(), theirs, patience)), daemon=True
        )
        self._thread.start()
        self._theirs = theirs

    def written(self) -> bytes:
        data = b""
        try:
            while True:
                data += self.far.recv(4096)
        except TimeoutError:
            return data

    def end(self) -> bytes:
        """What it writes after the pipe is closed."""
        os.close(self.pipe)
        self._thread.join(5.0)
        assert not self._thread.is_alive()
        data = b"" if self.far.fileno() < 0 else self.written()
        os.close(self._theirs)
        self.far.close()
        self._near.close()
        return data


@pytest.mark.parametrize("last", [FRAME, b"", FRAME[:7]])
def test_the_frame_told_last_is_written_where_the_pipe_closes(last: bytes) -> None:
    watched = Watched()
    os.write(watched.pipe, told(FRAME[1:]) + told(last))
    assert watched.end() == TIMES * last
    assert watched.acted == [bool(last)]


@pytest.mark.parametrize("at", range(len(told(FRAME))))
def test_a_frame_told_in_parts_counts_when_it_is_whole(at: int) -> None:
    watched = Watched()
    whole = told(FRAME)
    os.write(watched.pipe, told(b"old") + whole[:at])
    time.sleep(0.01)
    if at % 2:
        assert watched.end() == TIMES * b"old"
    else:
        os.write(watched.pipe, whole[at:])
        assert watched.end() == TIMES * FRAME


@pytest.mark.slow
def test_silence_lets_go_once_and_a_new_frame_begins_anew() -> None:
    watched = Watched(patience=0.1)
    for _ in range(5):
        os.write(watched.pipe, told(FRAME))
        assert watched.written() == b""  # it waits for half of the patience
    time.sleep(0.3)
    assert watched.written() == TIMES * FRAME
    time.sleep(0.3)
    os.write(watched.pipe, told(b"next"))
    time.sleep(0.3)
    assert watched.end() == TIMES * b"next"
    assert watched.acted == [True]


def test_a_port_that_has_gone_ends_it_without_a_word() -> None:
    watched = Watched()
    watched.far.close()
    os.write(watched.pipe, told(FRAME))
    assert watched.end() == b"" and watched.acted == [True]


class Listener:
    """Stands for a guardian, and keeps what it was told."""

    def __init__(self) -> None:
        self.frames: list[tuple[float, bytes]] = []
        self.alive, self.closed = True, False

    def due(self, now: float) -> bool:
        return not self.frames or now - self.frames[-1][0] >= PERIOD

    def guard(self, frame: bytes, now: float) -> None:
        self.frames.append((now, frame))

    def stand_down(self) -> None:
        self.frames.append((-1.0, b""))

    def close(self) -> None:
        self.closed = True


def listening(**options: object) -> tuple[Rig, Listener]:
    rig, listener = Rig(**options), Listener()
    rig.link._guardian = rig.link.sticks._guardian = listener  # type: ignore[assignment]
    rig.link._guarded = True
    rig.airborne()
    return rig, listener


def sticks_of(rig: Rig, frame: bytes) -> list[int]:
    (decoded,) = Decoder().feed(frame)
    assert decoded.command == msg.SET_RAW_RC
    return list(memoryview(decoded.payload).cast("H"))


def test_while_setpoints_go_out_it_holds_the_frame_that_would_let_go() -> None:
    rig, listener = listening()
    times = [t for t, frame in listener.frames if frame]
    assert max(b - a for a, b in itertools.pairwise(times)) < PATIENCE / 4
    channels = sticks_of(rig, listener.frames[-1][1])
    assert [channels[0], channels[1], channels[3]] == [1500, 1500, 1500]
    wanted = rig.thrust.fraction(RELEASE_SHARE * VEHICLE.weight, rig.link.telemetry.voltage)
    assert rig.autopilot.sticks.fraction(channels[2]) == pytest.approx(wanted, abs=0.01)
    rig.link.send(AttitudeSetpoint(rig.attitude, 0.9 * STANDING_SHARE * VEHICLE.weight), rig.now)
    rig.run(2 * PERIOD, lambda: AttitudeSetpoint(rig.attitude, 0.9 * STANDING_SHARE * VEHICLE.weight))
    assert rig.autopilot.sticks.fraction(sticks_of(rig, listener.frames[-1][1])[2]) == 0.0  # it stands


def test_before_it_has_lifted_off_it_is_told_no_more_thrust_than_it_has() -> None:
    """A take-off that is cut short: the vehicle stands, and must not be raised to the edge of flight."""
    rig, listener = Rig(), Listener()
    rig.link._guardian = rig.link.sticks._guardian = listener  # type: ignore[assignment]
    rig.airborne()
    rig.link.take_control(rig.now)
    for share in (0.4, 0.9):
        rig.run(2 * PERIOD, lambda share=share: AttitudeSetpoint(rig.attitude, share * VEHICLE.weight))
        wanted = rig.thrust.fraction(share * VEHICLE.weight, rig.link.telemetry.voltage)
        channels = sticks_of(rig, listener.frames[-1][1])
        assert rig.autopilot.sticks.fraction(channels[2]) == pytest.approx(wanted, abs=0.01)
    rig.link.hand_back(rig.now)
    rig.run(0.1)
    (_, channels) = list(rig.peer.setpoints)[-1]
    assert rig.autopilot.sticks.fraction(channels[2]) == pytest.approx(wanted, abs=0.01)


def test_the_frame_it_holds_never_arms() -> None:
    """Where MSP is the receiver, and the vehicle did not arm when it was asked to."""
    rig, listener = Rig(radio=False), Listener()
    rig.link._guardian = rig.link.sticks._guardian = listener  # type: ignore[assignment]
    rig.run(0.7)
    rig.link.take_control(rig.now)
    rig.link.arm(rig.now)
    rig.run(0.2, rig.idle)  # too early after power: it refuses
    assert not rig.status.armed
    switch = next(r for r in rig.link.identity.modes if r.box == msg.ARM)
    (_, sent), held = list(rig.peer.setpoints)[-1], sticks_of(rig, listener.frames[-1][1])
    assert switch.low <= sent[switch.channel] <= switch.high
    assert not switch.low <= held[switch.channel] <= switch.high


@pytest.mark.parametrize("how", ["hand_back", "disarm", "silence", "restart"])
def test_it_stands_down_where_the_sticks_are_let_go(how: str) -> None:
    rig, listener = listening()
    if how == "restart":
        rig.autopilot.reboot()
    elif how != "silence":
        getattr(rig.link, how)(rig.now)
    rig.run(2.0)
    assert listener.frames[-1][1] == b""
    rig.link.close()
    assert listener.closed


def test_one_that_has_ended_is_told_once_and_fails_the_checks() -> None:
    rig, listener = listening()
    (before,) = [check for check in rig.link.preflight() if check.name == "dead-man"]
    listener.alive = False
    rig.run(0.5, rig.idle)
    (after,) = [check for check in rig.link.preflight() if check.name == "dead-man"]
    assert before.passed and not after.passed
    assert sum("watches over" in report.text for report in rig.reports[TextReport]) == 1


@pytest.fixture
def terminal() -> Iterator[PseudoTerminal]:
    end = PseudoTerminal()
    yield end
    end.close()


def test_closing_it_writes_nothing_and_leaves_no_process(terminal: PseudoTerminal) -> None:
    port = os.open(terminal.device, os.O_RDWR | os.O_NOCTTY)
    guardian = Guardian(port)
    guardian.guard(FRAME, 0.0)
    assert guardian.alive
    guardian.close()
    guardian.close()
    os.close(port)
    assert not guardian.alive and terminal.read() == b""


def test_one_that_was_killed_is_noticed(terminal: PseudoTerminal) -> None:
    port = os.open(terminal.device, os.O_RDWR | os.O_NOCTTY)
    guardian = Guardian(port)
    guardian._process.kill()
    guardian._process.wait()
    guardian.guard(FRAME, 0.0)
    assert not guardian.alive
    guardian.close()
    os.close(port)


COMPANION = f"""
import sys, time
import numpy as np
from firmware_bridge.link import AttitudeSetpoint
from firmware_bridge.links import open_link
from firmware_bridge.thrust import ThrustMap
from neural_lander.errors import UserError
from neural_lander.vehicle import load_vehicle

vehicle = load_vehicle("{VEHICLE.name}")
link = open_link("msp:" + sys.argv[1], vehicle, thrust_map=ThrustMap(0.4, vehicle.weight))
tilted = np.array([np.cos(0.15), 0.0, np.sin(0.15), 0.0])
while True:
    now = time.monotonic()
    link.poll(now)
    try:
        link.send(AttitudeSetpoint(tilted, 1.2 * vehicle.weight), now)
    except UserError:
        pass  # not all is read yet
    time.sleep(0.005)
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_companion_that_is_killed_or_stopped_leaves_level_sticks(terminal: PseudoTerminal, number: int) -> None:
    """In real time: a tilt of 17 degrees and a climb are let go, and nothing comes after."""
    world = RigidBodyWorld(VEHICLE, 1.0)
    autopilot = StickAutopilot(VEHICLE, world, boot_time=0.0, boot_grace=0.0)
    autopilot.begin_airborne(0.0)
    peer = MspAutopilot(autopilot)
    server = Server(Line(peer, 921_600), lambda: terminal)
    companion = subprocess.Popen([sys.executable, "-c", COMPANION, terminal.device])
    began, stopped = time.monotonic(), None
    try:
        while (now := time.monotonic() - began) < (60.0 if stopped is None else stopped + 1.5):
            server.step(now)
            sticks = [list(channels) for _, channels in peer.setpoints]
            if stopped is None and len(sticks) > 100 and sticks[-1][1] != 1500:
                companion.send_signal(number)
                stopped = time.monotonic() - began
            time.sleep(0.001)
    finally:
        companion.kill()
        companion.wait()
    assert stopped is not None, "no setpoint came"
    after = [(t - stopped, channels) for t, channels in peer.setpoints if channels[:2] == [1500, 1500]]
    assert len(after) == TIMES, after
    patience = PATIENCE - PERIOD if number == signal.SIGSTOP else 0.0  # it was told a frame so long ago at most
    assert 0.0 <= after[0][0] - patience < 0.5
    assert list(peer.setpoints)[-1][1][:2] == [1500, 1500]
