"""``neural-lander emulate``: an autopilot and its vehicle behind a pseudo-terminal, to try a companion on."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.table import Table

from firmware_bridge.emulator.autopilot import TICK, Autopilot, Mode
from firmware_bridge.emulator.faults import FAULTS, Target
from firmware_bridge.emulator.line import Line
from firmware_bridge.emulator.mavlink import MavlinkAutopilot
from firmware_bridge.emulator.mavlink_firmware import FIRMWARES, MOTOR_CURVE
from firmware_bridge.emulator.pilot import ArmingPilot, Keyboard, Pilot, TakeoffPilot
from firmware_bridge.emulator.pty import Endpoint, PseudoTerminal, Server, TcpServer, keys, run
from firmware_bridge.emulator.vehicle import EmulatedVehicle
from firmware_bridge.emulator.world import RigidBodyWorld, SimulatedVehicle
from neural_lander.cli.output import console, emit
from neural_lander.errors import UserError
from neural_lander.vehicle import load_vehicle
from sim.plant import Plant, load_effects
from sim.world import PyBulletWorld

LINE_EVERY = 0.2  # s between lines of telemetry
AFTER_FLIGHT = 3.0  # s to go on for after the flight with --once, so that the companion hears of its end


class Protocol(StrEnum):
    """What the emulator speaks."""

    MAVLINK = "mavlink"
    MSP = "msp"


class Kind(StrEnum):
    """Whose ways it has, in MAVLink."""

    PX4 = "px4"
    ARDUPILOT = "ardupilot"


class PilotKind(StrEnum):
    """Who has the switch."""

    AUTO = "auto"
    ARMS = "arms"
    KEYBOARD = "keyboard"
    NONE = "none"


def emulate(
    protocol: Annotated[Protocol, typer.Option(help="What it speaks.")] = Protocol.MAVLINK,
    autopilot: Annotated[Kind, typer.Option(help="Whose modes, parameters and oddities, in MAVLink.")] = Kind.PX4,
    vehicle: Annotated[str, typer.Option(help="Profile: a built-in name or a file.")] = "intel-aero",
    effect: Annotated[
        list[str] | None,
        typer.Option(help="Aerodynamic effect module:Class, repeatable; replaces the default ones."),
    ] = None,
    airframe: Annotated[int | None, typer.Option(min=0, help="Copy of the vehicle; draws its asymmetries.")] = None,
    light: Annotated[bool, typer.Option("--light", help="A plain rigid body instead of the PyBullet world.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of noise, turbulence, delays and the fault.")] = 0,
    baud: Annotated[int, typer.Option(min=1200, help="Line speed that is kept, bit/s.")] = 921_600,
    pilot: Annotated[
        PilotKind,
        typer.Option(help="auto: arms, climbs to 1 m, gives control; arms: arms for a companion that takes off."),
    ] = PilotKind.AUTO,
    link: Annotated[Path | None, typer.Option(help="Symbolic link to make to the pseudo-terminal.")] = None,
    tcp: Annotated[int | None, typer.Option(min=0, max=65535, help="TCP port on 127.0.0.1 instead; 0: any.")] = None,
    parameter: Annotated[
        list[str] | None, typer.Option(help="NAME=VALUE of an autopilot's parameter, repeatable.")
    ] = None,
    deny: Annotated[list[int] | None, typer.Option(help="MAVLink message id not streamed, repeatable.")] = None,
    fault: Annotated[str | None, typer.Option(help=f"One of: {', '.join(FAULTS)}.")] = None,
    fault_after: Annotated[float, typer.Option(min=0.0, help="Begin of the fault after control was given, s.")] = 3.0,
    duration: Annotated[float | None, typer.Option(min=1.0, help="End after so many s.")] = None,
    once: Annotated[bool, typer.Option("--once", help="End after the first flight.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object at the end.")] = False,
) -> None:
    """Run a simulated vehicle with an autopilot that speaks its protocol on a pseudo-terminal, until Ctrl-C."""
    if fault is not None and fault not in FAULTS:
        raise UserError(f"fault '{fault}' is not known; use any of: {', '.join(FAULTS)}")
    plant = Plant(load_vehicle(vehicle), load_effects(effect or []))
    plant = plant if airframe is None else plant.with_airframe(airframe)
    with ExitStack() as stack:
        world = RigidBodyWorld(plant.vehicle) if light else stack.enter_context(_simulated(plant, seed))
        emulation = _build(plant, world, protocol, autopilot, seed, deny or [], parameter or [])
        line = Line(emulation.peer, baud)
        server = Server(line, _connect(link, tcp))
        stack.callback(server.close)
        person = _pilot(pilot, emulation, stack)
        session = _Session(emulation, server, person, seed, fault, fault_after, duration, once)
        console.print(f"{emulation.name} flies {plant.vehicle.name}; connect to {server.address}", highlight=False)
        with _interrupted_by_term():
            try:
                run(session.step)
            except KeyboardInterrupt:
                console.print()
    emit(session.result(), as_json, lambda: _render(session))


@dataclass
class _Emulation:
    """What runs behind the line."""

    name: str
    pilot: Autopilot
    peer: MavlinkAutopilot

    def companion_heard(self, now: float) -> bool:
        return now - self.peer.last_companion < 3.0  # s: three heartbeats


def _build(
    plant: Plant,
    world: EmulatedVehicle,
    protocol: Protocol,
    kind: Kind,
    seed: int,
    denied: list[int],
    settings: list[str],
) -> _Emulation:
    if protocol is Protocol.MSP:
        raise UserError("protocol 'msp' is not emulated by this version; use mavlink")
    firmware = FIRMWARES[kind]
    pilot = Autopilot(plant.vehicle, world, firmware.settings(), seed=seed, motor_curve=MOTOR_CURVE)
    peer = MavlinkAutopilot(pilot, firmware, seed=seed, denied=denied)
    for setting in settings:
        name, _, text = setting.partition("=")
        try:
            peer.set_parameter(name, float(text))
        except KeyError as error:
            raise UserError(f"parameter '{name}' is not known; use any of: {', '.join(peer.parameters)}") from error
        except ValueError as error:
            raise UserError(f"parameter '{setting}' must be NAME=VALUE with a number") from error
    return _Emulation(f"{kind.value} (MAVLink)", pilot, peer)


@contextmanager
def _simulated(plant: Plant, seed: int) -> Iterator[SimulatedVehicle]:
    """The PyBullet world with the vehicle at rest on the ground, at the autopilot's own step."""
    with PyBulletWorld(plant.true_vehicle, plant.effects, plant.airframe, plant.terrain, TICK) as world:
        world.reset(plant.pad, seed=seed)
        world.motors.reset(np.zeros(4))
        world.step(np.zeros(4))
        yield SimulatedVehicle(world)


def _connect(link: Path | None, tcp: int | None) -> Callable[[], Endpoint]:
    return (lambda: PseudoTerminal(link)) if tcp is None else (lambda: TcpServer(tcp))


def _pilot(kind: PilotKind, emulation: _Emulation, stack: ExitStack) -> Pilot | None:
    if kind is PilotKind.AUTO:
        return TakeoffPilot(emulation.pilot, emulation.companion_heard)
    if kind is PilotKind.ARMS:
        return ArmingPilot(emulation.pilot)
    if kind is PilotKind.KEYBOARD:
        console.print("keys:", ", ".join(f"{key} {what}" for key, what in Keyboard.KEYS.items()), highlight=False)
        return Keyboard(emulation.pilot, stack.enter_context(keys(sys.stdin.fileno())))
    return None


@contextmanager
def _interrupted_by_term() -> Iterator[None]:
    """SIGTERM ends it as Ctrl-C does."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    saved = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, saved)


class _Session:
    """One run: server, pilot, fault and what is told of them."""

    def __init__(
        self,
        emulation: _Emulation,
        server: Server,
        pilot: Pilot | None,
        seed: int,
        fault: str | None,
        fault_after: float,
        duration: float | None,
        once: bool,
    ) -> None:
        self.emulation, self.server = emulation, server
        self._pilot, self._duration, self._once = pilot, duration, once
        self._fault = FAULTS[fault] if fault else None
        self._fault_after, self._rng = fault_after, np.random.default_rng(seed)
        self._target = Target(server.line, emulation.peer)
        self._began = time.monotonic()
        self._given = self._faulty_since = self._ended = float("nan")
        self._told, self._line_due = 0, 0.0

    def step(self, now: float) -> bool:
        """One look; False when it is over."""
        pilot = self.emulation.pilot
        self.server.step(now)
        if self._pilot is not None:
            self._pilot.step(now)
        if pilot.mode is Mode.COMPANION and pilot.armed and self._given != self._given:
            self._given = now
        self._disturb(now)
        self._tell(now)
        if pilot.flown and not pilot.armed and self._ended != self._ended:
            self._ended = now
        over = self._duration is not None and now - self._began > self._duration
        return not over and not (self._once and now - self._ended > AFTER_FLIGHT)

    def _disturb(self, now: float) -> None:
        fault, pilot = self._fault, self.emulation.pilot
        if fault is None:
            return
        if self._faulty_since != self._faulty_since and now - self._given >= self._fault_after:
            self._faulty_since = now
            pilot.note(f"fault begins: {fault.what}")
            fault.begin(self._target, self._rng, now)
        elif now - self._faulty_since > fault.duration:
            pilot.note("fault over")
            fault.end(self._target)
            self._fault = None

    def _tell(self, now: float) -> None:
        """What happened, line by line, and one line of telemetry that stays at the bottom of a terminal."""
        pilot = self.emulation.pilot
        clear = "\r\x1b[K" if console.is_terminal else ""
        for t, what in pilot.events[self._told :]:
            sys.stderr.write(f"{clear}{t - self._began:7.2f} s  {what}\n")
        self._told = len(pilot.events)
        if console.is_terminal and now >= self._line_due:
            self._line_due = now + LINE_EVERY
            state, peer = pilot.world.state, self.emulation.peer
            sys.stderr.write(
                f"{clear}{now - self._began:7.2f} s  {'armed' if pilot.armed else 'disarmed'}  {pilot.mode.value}  "
                f"h {float(state.height):6.3f} m  v_z {state.velocity[2]:6.2f} m/s  {pilot.voltage:.1f} V  "
                f"setpoints {peer.taken}, dropped {peer.dropped.total()}"
            )
        sys.stderr.flush()

    def result(self) -> dict[str, Any]:
        """What happened."""
        pilot, peer = self.emulation.pilot, self.emulation.peer
        return {
            "address": self.server.address,
            "autopilot": self.emulation.name,
            "vehicle": pilot.vehicle.name,
            "duration_s": time.monotonic() - self._began,
            "flown": pilot.flown,
            "armed": pilot.armed,
            "height_m": float(pilot.world.state.height),
            "touchdown_speed_m_per_s": pilot.touchdown_speed,
            "setpoints_taken": peer.taken,
            "setpoints_dropped": dict(peer.dropped),
            "bytes_nobody_read": self.server.overrun,
            "events": [{"t_s": t - self._began, "what": what} for t, what in pilot.events],
        }


def _render(session: _Session) -> Table:
    table = Table("", "", show_header=False, title=f"{session.emulation.name}", title_justify="left")
    for key, value in session.result().items():
        if key != "events":
            table.add_row(key, f"{value:.3f}" if isinstance(value, float) else str(value))
    return table
