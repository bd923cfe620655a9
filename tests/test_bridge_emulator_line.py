"""The emulated line: pace, buffers, cables pulled, pseudo-terminals and sockets with pyserial at the other end."""

import math
import os
import sys
import time

import numpy as np
import pytest
import serial

from firmware_bridge.emulator.line import Line, LinePort, Wire
from firmware_bridge.emulator.pty import PENDING, PseudoTerminal, Server, TcpServer
from firmware_bridge.keyboard import keys
from firmware_bridge.link import LinkLost
from neural_lander.errors import UserError


class Echo:
    """A peer that says what it hears, and how much room it was told of."""

    def __init__(self):
        self.heard, self.rooms, self.say = b"", [], []

    def step(self, now, received=b"", room=0):
        self.heard += received
        self.rooms.append(room)
        said, self.say = self.say, []
        return said


class TestWire:
    @pytest.mark.parametrize("baud", [57_600, 460_800, 921_600])
    def test_bytes_come_at_the_speed_of_the_line(self, baud):
        wire, data = Wire(baud), os.urandom(5000)
        for k in range(100):
            wire.write(0.0, data[50 * k : 50 * (k + 1)])
        heard, times = b"", np.arange(0.0, 5000 * 10 / baud + 0.01, 0.001)
        for now in times:
            heard += wire.read(now)
            assert abs(len(heard) - min(now * baud / 10, 5000)) <= 1 + 1e-6
        assert heard == data

    def test_an_idle_line_sends_at_once_and_in_order(self):
        wire = Wire(115_200)
        wire.write(5.0, b"abc")
        assert wire.read(5.0) == b""
        assert wire.read(5.0 + 3 * 10 / 115_200 + 1e-9) == b"abc"

    def test_without_a_speed_nothing_waits(self):
        wire = Wire()
        wire.write(0.0, b"abc")
        assert wire.read(0.0) == b"abc" and wire.waiting == 0


class TestLine:
    def test_the_peer_is_told_of_the_room_that_is_left(self):
        peer = Echo()
        line = Line(peer, baud=9600, buffer=100)
        peer.say = [bytes(80)]
        line.step(0.0)
        line.step(0.0)
        assert peer.rooms == [100, 20]

    def test_a_pulled_cable_is_lost_for_an_open_port_for_good(self):
        line = Line(Echo())
        port = LinePort(line, lambda: 0.0)
        port.write(b"ping")
        line.unplug()
        with pytest.raises(LinkLost, match="cable"):
            port.read()
        with pytest.raises(LinkLost, match="plug"):
            LinePort(line, lambda: 0.0)
        line.plug()
        with pytest.raises(LinkLost):
            port.write(b"ping")
        line.step(1.0)
        assert line.peer.heard == b""  # what was on the way is gone
        port = LinePort(line, lambda: 1.0)
        port.write(b"ping")
        line.step(2.0)
        assert line.peer.heard == b"ping"

    def test_what_came_before_a_port_was_opened_is_not_read(self):
        peer = Echo()
        line = Line(peer, baud=math.inf)
        peer.say = [b"old"]
        line.step(0.0)
        port = LinePort(line, lambda: 0.0)
        peer.say = [b"new"]
        line.step(0.1)
        assert port.read() == b"new"


def serve(server, seconds):
    """Let a server run for a while in real time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        server.step(time.monotonic())
        time.sleep(0.001)


def use(port):
    for _ in range(3):
        port.read(10)
        port.write(b"x")


class TestServer:
    @pytest.mark.parametrize("connect", [PseudoTerminal, TcpServer])
    def test_carries_bytes_both_ways_with_pyserial(self, connect):
        peer = Echo()
        server = Server(Line(peer), connect)
        with serial.serial_for_url(server.address, baudrate=921_600, timeout=0) as port:
            every = bytes(range(256))
            port.write(every)
            serve(server, 0.05)
            peer.say = [every]
            heard = b""
            for _ in range(40):
                serve(server, 0.005)
                heard += port.read(4096)
            server.close()
        assert peer.heard == every  # no byte is swallowed or translated by the terminal
        assert heard == every

    def test_a_name_outlives_unplugging(self, tmp_path):
        peer, name = Echo(), tmp_path / "autopilot"
        server = Server(Line(peer), lambda: PseudoTerminal(name))
        assert server.address == str(name)
        with serial.serial_for_url(str(name), timeout=0) as port:
            server.line.unplug()
            serve(server, 0.02)
            assert not name.exists()
            with pytest.raises((serial.SerialException, OSError)):
                use(port)
        server.line.plug()
        serve(server, 0.02)
        with serial.serial_for_url(str(name), timeout=0) as port:
            port.write(b"again")
            serve(server, 0.02)
        server.close()
        assert peer.heard == b"again"
        assert not name.exists()

    def test_a_reader_who_does_not_read_costs_bytes_and_no_memory(self):
        peer = Echo()
        server = Server(Line(peer, baud=math.inf), PseudoTerminal)
        for k in range(200):
            peer.say = [bytes(1000)]
            server.step(float(k))
        assert server.overrun > 100_000
        assert len(server._pending) <= PENDING
        server.close()

    def test_a_file_is_not_replaced_by_a_link(self, tmp_path):
        (tmp_path / "mine").write_text("text")
        with pytest.raises(UserError, match="no symbolic link"):
            PseudoTerminal(tmp_path / "mine")
        assert (tmp_path / "mine").read_text() == "text"

    def test_a_companion_may_hang_up_and_come_back_on_tcp(self):
        peer = Echo()
        server = Server(Line(peer), TcpServer)
        for k in range(2):
            with serial.serial_for_url(server.address, timeout=0) as port:
                port.write(b"%d" % k)
                serve(server, 0.03)
            serve(server, 0.03)
        server.close()
        assert peer.heard == b"01"


def test_keys_are_read_one_by_one_from_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = os.openpty()
    with os.fdopen(theirs) as terminal:
        monkeypatch.setattr(sys, "stdin", terminal)
        with keys(even_piped=False) as read:
            assert read() == ""
            os.write(ours, b"ag")
            time.sleep(0.01)
            assert read() == "ag"
    os.close(ours)


@pytest.mark.parametrize("has_terminals", [True, False])
@pytest.mark.parametrize("even_piped", [True, False])
def test_keys_of_a_pipe_are_read_where_that_is_wanted(
    has_terminals: bool, even_piped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not has_terminals:
        monkeypatch.setitem(sys.modules, "termios", None)
    theirs, ours = os.pipe()
    os.write(ours, b"a")
    with os.fdopen(theirs) as pipe:
        monkeypatch.setattr(sys, "stdin", pipe)
        with keys(even_piped) as read:
            assert read() == ("a" if even_piped else "")
    os.close(ours)


def test_a_server_that_comes_late_steps_through_what_it_missed():
    steps = []

    class Peer(Echo):
        def step(self, now, received=b"", room=0):
            steps.append(now)
            return super().step(now, received, room)

    server = Server(Line(Peer()), PseudoTerminal)
    for now in (10.0, 10.001, 10.041, 20.0):
        server.step(now)
    server.close()
    late = np.array(steps[2:18])
    np.testing.assert_allclose(np.diff(late), 0.0025, atol=1e-9)
    assert late[-1] == 10.041 and late[0] - 10.001 <= 0.0026
    assert len(steps) == 2 + 16 + 100 and steps[-1] == 20.0  # of a long pause the last quarter of a second only
