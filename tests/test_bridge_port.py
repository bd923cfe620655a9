"""Ports: pseudo-terminals, sockets and loop-backs alike; never waiting; gone means LinkLost."""

import contextlib
import os
import pty
import socket
import time
import tty

import pytest

from firmware_bridge.link import LinkLost
from firmware_bridge.port import CHUNK, MOST_CHUNKS, STALL_LIMIT, open_port, split_address
from neural_lander.errors import UserError

WAIT = 5.0  # s for bytes to pass, on a busy machine


@pytest.fixture
def line():
    master, slave = pty.openpty()
    tty.setraw(slave)
    name = os.ttyname(slave)
    yield master, name
    for fd in (master, slave):
        with contextlib.suppress(OSError):
            os.close(fd)


def arrived(port, size):
    data, end = b"", time.monotonic() + WAIT
    while len(data) < size and time.monotonic() < end:
        data += port.read()
    return data


def test_bytes_pass_a_pseudo_terminal_both_ways(line) -> None:
    master, name = line
    port = open_port(f"{name}?baud=460800")
    assert port.read() == b""
    message = bytes(range(256)) * 8
    os.write(master, message)
    assert arrived(port, len(message)) == message
    port.write(b"\x00\xff\x0a\x0d\x11\x13")
    assert os.read(master, 100) == b"\x00\xff\x0a\x0d\x11\x13"
    port.close()
    port.close()


def test_bytes_pass_a_socket_and_its_end_is_a_lost_link() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = open_port(f"socket://127.0.0.1:{server.getsockname()[1]}")
        other, _ = server.accept()
        port.write(b"hello")
        assert other.recv(100) == b"hello"
        other.sendall(bytes(10_000))
        assert arrived(port, 10_000) == bytes(10_000)
        other.close()
        with pytest.raises(LinkLost, match="127.0.0.1"):
            arrived(port, 1)
        port.close()


def test_bytes_pass_a_loop() -> None:
    port = open_port("loop://?baud=921600")
    port.write(b"round")
    assert arrived(port, 5) == b"round"
    port.close()


def test_a_peer_that_floods_is_read_a_part_at_a_time() -> None:
    port = open_port("loop://?baud=921600")
    port._line = type("Flood", (), {"read": lambda self, n: bytes(n), "close": lambda self: None})()
    assert len(port.read()) == MOST_CHUNKS * CHUNK


def test_a_closed_terminal_is_a_lost_link_to_readers_and_writers(line) -> None:
    master, name = line
    reader = open_port(name)
    os.close(master)
    with pytest.raises(LinkLost, match="cable"):
        arrived(reader, 1)
    with pytest.raises(LinkLost):
        reader.write(b"x")
    reader.close()
    with pytest.raises(LinkLost):
        reader.read()


@pytest.mark.slow
def test_a_line_that_takes_nothing_drops_whole_frames_without_waiting_and_is_lost_in_the_end(line) -> None:
    _, name = line
    port = open_port(name)
    frame = bytes(51)
    for _ in range(2000):  # 100 kB; Linux keeps 4 kB for a terminal
        dropped = port.dropped
        assert port.write(frame) is (port.dropped == dropped)
    assert port.dropped > 1000
    time.sleep(1.1 * STALL_LIMIT)
    with pytest.raises(LinkLost, match="taken no byte"):
        port.write(frame)
    port.close()


def test_a_line_that_takes_again_goes_on(line) -> None:
    master, name = line
    port = open_port(name)
    while not port.dropped:
        port.write(bytes(51))
    os.set_blocking(master, False)
    taken, end = 0, time.monotonic() + WAIT
    while time.monotonic() < end:
        try:
            taken += len(os.read(master, 4096))
        except BlockingIOError:
            break
    assert taken > 0 and taken % 51 == 0, "no frame was cut"
    before = port.dropped
    port.write(bytes(51))
    assert port.dropped == before
    port.close()


def test_a_port_is_opened_once(line) -> None:
    _, name = line
    port = open_port(name)
    with pytest.raises(LinkLost, match="cannot be opened"):
        open_port(name)
    port.close()


@pytest.mark.parametrize(
    "address, reason",
    [
        ("/dev/null?bauds=9600", "bauds"),
        ("/dev/null?baud=fast", "whole number"),
        ("/dev/null?baud=-1", "positive"),
        ("/dev/null?rtscts=2", "rtscts"),
        ("?baud=9600", "names no port"),
        ("carrier-pigeon://home", "carrier-pigeon"),
        ("tcp:127.0.0.1:5760", "write socket://127.0.0.1:5760"),
        ("tcp://127.0.0.1:5760", "write socket://127.0.0.1:5760"),
        ("udpin:0.0.0.0:14550", "UDP is not spoken"),
    ],
)
def test_an_address_that_means_nothing_is_a_users_error(address, reason) -> None:
    with pytest.raises(UserError, match=reason):
        open_port(address)


@pytest.mark.parametrize("address", ["/dev/no-such-line", "socket://127.0.0.1:1"])
def test_nothing_there_is_a_lost_link(address) -> None:
    with pytest.raises(LinkLost, match="cannot be opened"):
        open_port(address)


@pytest.mark.parametrize(
    "address, words",
    [
        ("/dev/no-such-line", r"\(No such file or directory\); look at the cable"),
        ("socket://127.0.0.1:1", r"\(Connection refused\); look at the address"),
    ],
)
def test_why_it_cannot_be_opened_is_said_once_and_what_to_look_at(address, words) -> None:
    with pytest.raises(LinkLost, match=words):
        open_port(address)


def test_options_are_split_from_the_address() -> None:
    assert split_address("socket://[::1]:5760?baud=9600&system=2") == (
        "socket://[::1]:5760",
        {"baud": "9600", "system": "2"},
    )
