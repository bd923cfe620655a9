"""What a Crazyflie's firmware in software has around it: a vehicle, its sensors, and a motion capture.

The firmware sends its radio packets (CRTP) as datagrams to one address and takes in what comes back from there. Here
that address is a process of its own: it turns motor commands into flight, sends the IMU at 1 kHz and poses at 100 Hz,
and passes on everything else between the firmware and cflib, which opens ``udp://127.0.0.1:19850``.
"""

import math
import socket
import struct
import time
from collections import deque

import numpy as np

from firmware_bridge.emulator.world import RigidBodyWorld
from neural_lander.vehicle import GRAVITY, Vehicle, load_vehicle
from tests.shared_truth import Truth

FIRMWARE_PORT, COMPANION_PORT = 19950, 19850
STEP = 0.001  # s, of the firmware's loop, which waits for each IMU sample
POSE_STEPS = 10
HELLO = b"\xf3"  # the firmware's first packet, which wants to be answered in kind
SIMULATION, LOCALISATION = 9, 0x61  # port; port 6 with channel 1
IMU, EXTERNAL_POSE = 0, 8  # first byte of a packet's content
G_PER_COUNT, DEGREES_PER_COUNT = 32 / 65536, 4000 / 65536
MOTOR_CURVE = 0.575
"""Share of the quadratic term in thrust over PWM: Foerster 2015, 0.0915 s^2 + 0.0677 s newtons."""
VEHICLE = load_vehicle("crazyflie-21")
MOTOR_PACKET = 9  # bytes
LATE = 0.02  # s of flight between two samples at most: beyond it the vehicle's time stands still
PATIENCE = 0.005  # s until a sample counts as lost
NAP = 0.0002  # s


class World:
    """The vehicle with its sensors, stepped by the firmware's motor commands."""

    def __init__(self, truth: Truth, vehicle: Vehicle) -> None:
        self.body, self.vehicle, self.truth = RigidBodyWorld(vehicle), vehicle, truth
        self.pwm = np.zeros(4)
        self.steps = 0

    def step(self, seconds: float) -> None:
        body, signal = self.body, self.pwm
        share = (1 - MOTOR_CURVE) * signal + MOTOR_CURVE * signal**2
        parts = math.ceil(seconds / STEP)
        for _ in range(parts):
            body.step(self.vehicle.rotor_speed_max * np.sqrt(share), seconds / parts)
        self.steps += 1
        self.truth.put(body, signal, self.steps)

    def imu(self) -> bytes:
        acceleration = self.body.specific_force / GRAVITY / G_PER_COUNT
        rates = np.degrees(self.body.state.body_rates) / DEGREES_PER_COUNT
        counts = np.clip(np.round([*acceleration, *rates]), -32768, 32767).astype(int)
        return struct.pack("<BB6h", SIMULATION << 4, IMU, *counts)

    def pose(self) -> bytes:
        w, x, y, z = self.body.state.attitude
        return struct.pack("<BB7f", LOCALISATION, EXTERNAL_POSE, *self.body.state.position, x, y, z, w)


def serve(truth: Truth, vehicle: Vehicle = VEHICLE) -> None:
    """Be the vehicle, until the process is ended.

    The firmware drops what its queue of five does not hold. Hence a sample waits until the one before last was answered
    by a motor command, and a packet of cflib's for its turn: on a busy machine there are fewer samples.
    """
    firmware, companion = _socket(FIRMWARE_PORT), _socket(COMPANION_PORT)
    truth.listening.set()
    where: dict[str, tuple[str, int]] = {}
    waiting: deque[bytes] = deque()
    world = World(truth, vehicle)
    due = stepped = time.monotonic()
    unanswered = 0
    while True:
        for packet, sender in _received(firmware):
            where["firmware"] = sender
            if packet == HELLO:  # it has just started
                firmware.sendto(packet, sender)
                world.pwm = np.zeros(4)
            elif packet[0] >> 4 == SIMULATION:
                unanswered = 0
                if len(packet) == MOTOR_PACKET:
                    world.pwm = np.array(struct.unpack_from("<4H", packet, 1)) / 65535
            elif "companion" in where:
                companion.sendto(packet, where["companion"])
        for packet, sender in _received(companion):
            where["companion"] = sender
            waiting.append(packet)
        now = time.monotonic()
        if "firmware" in where and now >= due and (unanswered < 2 or now - stepped > PATIENCE):
            world.step(min(now - stepped, LATE))
            due, stepped, unanswered = max(due + STEP, now), now, unanswered + 1
            firmware.sendto(world.imu(), where["firmware"])
            if world.steps % POSE_STEPS == 0:
                firmware.sendto(world.pose(), where["firmware"])
            elif waiting:
                firmware.sendto(waiting.popleft(), where["firmware"])
        time.sleep(min(max(due - time.monotonic(), NAP), STEP))


def _socket(port: int) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind(("127.0.0.1", port))
    made.setblocking(False)
    return made


def _received(line: socket.socket) -> list[tuple[bytes, tuple[str, int]]]:
    packets = []
    while True:
        try:
            packets.append(line.recvfrom(64))
        except (BlockingIOError, ConnectionRefusedError):
            return packets


def _imu(world: RigidBodyWorld) -> bytes:
    acceleration = world.specific_force / GRAVITY / G_PER_COUNT
    rates = np.degrees(world.state.body_rates) / DEGREES_PER_COUNT
    counts = np.clip(np.round([*acceleration, *rates]), -32768, 32767).astype(int)
    return struct.pack("<BB6h", SIMULATION << 4, IMU, *counts)


def _pose(world: RigidBodyWorld) -> bytes:
    w, x, y, z = world.state.attitude
    return struct.pack("<BB7f", LOCALISATION, EXTERNAL_POSE, *world.state.position, x, y, z, w)
