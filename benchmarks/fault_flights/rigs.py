"""What a flight of the fault campaign is made of, for each protocol: vehicle, autopilot, line, witness, pilot, link."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Protocol, cast

from benchmarks.fault_flights.witness import (
    MavlinkWitness,
    MspWitness,
    Witness,
    WitnessedDecoder,
    WitnessedParser,
    WitnessedPort,
)
from firmware_bridge.emulator.autopilot import Autopilot
from firmware_bridge.emulator.faults import FAULTS, Faulty
from firmware_bridge.emulator.line import Line, LinePort
from firmware_bridge.emulator.mavlink import MavlinkAutopilot
from firmware_bridge.emulator.mavlink_firmware import FIRMWARES, MOTOR_CURVE
from firmware_bridge.emulator.mocap import Mocap
from firmware_bridge.emulator.modes import Mode
from firmware_bridge.emulator.msp import COUNTS_PER_G, MspAutopilot
from firmware_bridge.emulator.receiver import BETAFLIGHT, INAV
from firmware_bridge.emulator.sticks import StickAutopilot, betaflight_default_sticks, inav_default_sticks
from firmware_bridge.emulator.world import RigidBodyWorld
from firmware_bridge.estimation.height import DeclaredFloor, HeightSource, Rangefinder
from firmware_bridge.estimation.pose import PoseReceiver
from firmware_bridge.link import Link
from firmware_bridge.mavlink.framing import LONGEST
from firmware_bridge.mavlink.link import MavlinkLink
from firmware_bridge.msp.codec import MAX_FRAME
from firmware_bridge.msp.link import MspLink
from firmware_bridge.msp.messages import OVERRIDE
from firmware_bridge.posed_link import PosedLink
from firmware_bridge.supervisor.types import IN_CONTROL, Phase
from firmware_bridge.thrust import ThrustMap
from neural_lander.vehicle import Vehicle

STREAM_RATE = 100.0  # Hz of position and attitude
START_HEIGHT = 1.0  # m of gear height where a flight begins in the air
HANDS_ON = 1.0  # s from power until the pilot gives control


class Rig(Protocol):
    """One protocol's side of a flight."""

    world: RigidBodyWorld
    witness: Witness
    line: Line
    faulty: Faulty
    height: HeightSource
    longest_frame: int
    """Bytes."""
    parsers: list[WitnessedParser | WitnessedDecoder]
    """Of all links that were opened."""

    def open(self) -> Link:
        """Link at the companion's end."""
        ...

    def step(self, now: float, phase: Phase) -> None:
        """Let time pass to ``now`` in s, and the pilot do what he does; ``phase`` is the companion's."""
        ...

    @property
    def events(self) -> list[tuple[float, str]]:
        """(s, what happened) to the autopilot."""
        ...


class MavlinkRig:
    """PX4 or ArduPilot, with a rangefinder."""

    longest_frame: int = LONGEST

    def __init__(self, vehicle: Vehicle, firmware: str, seed: int, on_ground: bool, clock: Callable[[], float]) -> None:
        kind, self._vehicle, self._clock = FIRMWARES[firmware], vehicle, clock
        self.world = RigidBodyWorld(vehicle, 0.0 if on_ground else START_HEIGHT)
        self.autopilot = Autopilot(
            vehicle, self.world, kind.settings(), seed=seed, motor_curve=MOTOR_CURVE, boot_time=0.5
        )
        if not on_ground:
            self.world.hover()
            self.autopilot.begin_airborne(0.0)
        self.emulator = MavlinkAutopilot(self.autopilot, kind, seed=seed)
        self.faulty: Faulty = self.emulator
        self.witness: Witness = MavlinkWitness(self.emulator, clock)
        self.line = Line(self.witness)
        self.height: HeightSource = Rangefinder()
        self.parsers: list[WitnessedParser | WitnessedDecoder] = []
        self._on_ground, self._given = on_ground, False

    def open(self) -> Link:
        """See :class:`Rig`."""
        port = WitnessedPort(LinePort(self.line, self._clock), self.witness)
        link = MavlinkLink(port, self._vehicle, rate=STREAM_RATE)
        link.parser = parser = WitnessedParser(self.witness)
        self.parsers.append(parser)
        return link

    def step(self, now: float, phase: Phase) -> None:
        """See :class:`Rig`. The pilot gives control once, in the air, as soon as the autopilot would accept it."""
        self.line.step(now)
        waits = not self._on_ground and not self._given and now >= HANDS_ON and self.autopilot.mode is Mode.HOLD
        if waits and phase is Phase.ARMED:
            self._given = self.autopilot.switch(Mode.COMPANION, "pilot") is None

    @property
    def events(self) -> list[tuple[float, str]]:
        """See :class:`Rig`."""
        return self.autopilot.events


class MspRig:
    """Betaflight or INAV, with motion capture.

    In the air the pilot's radio is the receiver, and his switch overrides it by MSP; from the ground MSP is the only
    receiver, so that arming is ours to ask for.
    """

    longest_frame: int = MAX_FRAME

    def __init__(self, vehicle: Vehicle, firmware: str, seed: int, on_ground: bool, clock: Callable[[], float]) -> None:
        inav, self._vehicle, self._clock = firmware == "inav", vehicle, clock
        self.world = RigidBodyWorld(vehicle, 0.0 if on_ground else START_HEIGHT)
        self.autopilot = StickAutopilot(
            vehicle,
            self.world,
            sticks=inav_default_sticks() if inav else betaflight_default_sticks(),
            radio=not on_ground,
            seed=seed,
            boot_time=0.5,
            boot_grace=1.0,
            habits=INAV if inav else BETAFLIGHT,
        )
        if not on_ground:
            self.world.hover()
            self.autopilot.begin_airborne(0.0)
        self.emulator = MspAutopilot(self.autopilot, "INAV" if inav else "BTFL")
        self.mocap = Mocap(self.world, seed)
        self.faulty: Faulty = _FaultyMsp(self.emulator, self.mocap)
        self.witness: Witness = MspWitness(self.emulator, clock, lambda: self.mocap.newest)
        self.line = Line(self.witness)
        self.height: HeightSource = DeclaredFloor(0.0)
        self.parsers: list[WitnessedParser | WitnessedDecoder] = []
        self._on_ground, self._given, self._taken = on_ground, False, False
        self._poses = PoseReceiver(cast("socket.socket", self.mocap), "mocap")
        battery = self.autopilot.power.battery
        volts = battery.start - battery.sag
        self._thrust = ThrustMap(self.autopilot.hover_throttle, vehicle.weight, volts, motor_curve=1.0)

    def open(self) -> Link:
        """See :class:`Rig`."""
        port = WitnessedPort(LinePort(self.line, self._clock), self.witness)
        link = MspLink(port, self._vehicle, rate=STREAM_RATE, thrust_map=self._thrust)
        if self.emulator.variant == "BTFL":
            link.telemetry.counts_per_g = COUNTS_PER_G  # which it learned before the flight
        link.decoder = decoder = WitnessedDecoder(self.witness)
        self.parsers.append(decoder)
        return PosedLink(link, self._poses)

    def step(self, now: float, phase: Phase) -> None:
        """See :class:`Rig`. The pilot holds the height by hand, gives control once, takes it back at the end."""
        self.line.step(now)
        self.mocap.step(now)
        if self._on_ground:
            return
        self._steady()
        if not self._given and now >= HANDS_ON and phase is Phase.ARMED:
            self.autopilot.switch(OVERRIDE, True)
            self._given = True
        self._taken |= phase in IN_CONTROL
        if self._taken and phase not in (*IN_CONTROL, Phase.LANDED):
            self.autopilot.switch(OVERRIDE, False)

    def _steady(self) -> None:
        """A pilot's thumb: throttle for the weight, more below his height and while sinking."""
        radio, state = self.autopilot.radio, self.world.state
        if radio is not None:
            lift = 1.0 + 0.5 * (START_HEIGHT - float(state.height)) - 0.4 * float(state.velocity[2])
            wanted = max(lift, 0.3) * self._vehicle.weight
            radio[2] = self.autopilot.sticks.throttle(self._thrust.fraction(wanted, self.autopilot.voltage))

    @property
    def events(self) -> list[tuple[float, str]]:
        """See :class:`Rig`."""
        return self.autopilot.events


class _FaultyMsp:
    """Misbehaviour of autopilot and motion capture; MSP has no ids that could be foreign, and no stamps to run on."""

    def __init__(self, emulator: MspAutopilot, mocap: Mocap) -> None:
        self._emulator, self._mocap = emulator, mocap

    @property
    def frozen(self) -> bool:
        return self._emulator.frozen

    @frozen.setter
    def frozen(self, wanted: bool) -> None:
        self._emulator.frozen = wanted

    @property
    def poisoned(self) -> bool:
        return self._mocap.poisoned

    @poisoned.setter
    def poisoned(self, wanted: bool) -> None:
        self._mocap.poisoned = wanted

    foreign = halted = False

    def reboot(self) -> None:
        self._emulator.reboot()


RIGS: dict[str, Callable[..., Rig]] = {
    "px4": MavlinkRig,
    "ardupilot": MavlinkRig,
    "betaflight": MspRig,
    "inav": MspRig,
}
"""Firmware -> its rig."""
NOT_BY_MSP = ("foreign-ids", "frozen-values")


def faults_of(firmware: str) -> list[str]:
    """Names of the faults that a firmware's protocol can have."""
    return [name for name in FAULTS if not (RIGS[firmware] is MspRig and name in NOT_BY_MSP)]
