"""``neural-lander emulate``: an autopilot and its vehicle behind a pseudo-terminal, to try a companion on."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.table import Table

from firmware_bridge.emulator.autopilot import Autopilot
from firmware_bridge.emulator.faults import FAULTS, FaultKind
from firmware_bridge.emulator.line import Line
from firmware_bridge.emulator.mavlink import MavlinkAutopilot
from firmware_bridge.emulator.mavlink_firmware import FIRMWARES, MOTOR_CURVE
from firmware_bridge.emulator.mocap import RATE, Mocap, PoseSender
from firmware_bridge.emulator.modes import TICK
from firmware_bridge.emulator.msp import MspAutopilot
from firmware_bridge.emulator.pilot import Keyboard, Pilot
from firmware_bridge.emulator.pty import Endpoint, PseudoTerminal, Server, TcpServer, run
from firmware_bridge.emulator.receiver import BETAFLIGHT, INAV
from firmware_bridge.emulator.session import Emulation, MavlinkEmulation, MspEmulation, Session, Trouble
from firmware_bridge.emulator.sticks import StickAutopilot, betaflight_default_sticks, inav_default_sticks
from firmware_bridge.emulator.vehicle import EmulatedVehicle
from firmware_bridge.emulator.world import RigidBodyWorld, SimulatedVehicle
from firmware_bridge.keyboard import keys
from neural_lander.cli.output import console, emit
from neural_lander.cli.plant_options import Effects
from neural_lander.errors import UserError
from neural_lander.vehicle import load_vehicle
from sim.plant import Plant, load_effects
from sim.world import PyBulletWorld


class Protocol(StrEnum):
    """What the emulator speaks."""

    MAVLINK = "mavlink"
    MSP = "msp"


class Kind(StrEnum):
    """Whose ways it has: the first two in MAVLink, the others in MSP."""

    PX4 = "px4"
    ARDUPILOT = "ardupilot"
    BETAFLIGHT = "betaflight"
    INAV = "inav"


KINDS = {Protocol.MAVLINK: (Kind.PX4, Kind.ARDUPILOT), Protocol.MSP: (Kind.BETAFLIGHT, Kind.INAV)}


class PilotKind(StrEnum):
    """Who has the switch."""

    AUTO = "auto"
    ARMS = "arms"
    HOVER = "hover"
    KEYBOARD = "keyboard"
    NONE = "none"


OFFERED = [kind.name for kind in FAULTS.values() if kind.needs != "controller"]  # that one is the companion's own


def emulate(
    protocol: Annotated[Protocol, typer.Option(help="Protocol that the autopilot speaks.")] = Protocol.MAVLINK,
    autopilot: Annotated[
        Kind | None,
        typer.Option(help="Firmware whose ways it has: px4 (default) or ardupilot; in MSP betaflight or inav."),
    ] = None,
    vehicle: Annotated[str, typer.Option(help="Profile: a built-in name or a file.")] = "intel-aero",
    effect: Effects = None,
    airframe: Annotated[int | None, typer.Option(min=0, help="Copy of the vehicle; draws its asymmetries.")] = None,
    light: Annotated[bool, typer.Option("--light", help="A plain rigid body instead of the PyBullet world.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Seed of noise, turbulence, delays and the fault.")] = 0,
    baud: Annotated[int, typer.Option(min=1200, help="Speed of the line, in bit/s; it is kept.")] = 921_600,
    pilot: Annotated[
        PilotKind,
        typer.Option(
            help="auto: arms, climbs to 1 m, gives control; arms: arms for a companion that takes off; "
            "hover: keeps control and hovers, for 'calibrate'."
        ),
    ] = PilotKind.AUTO,
    link: Annotated[Path | None, typer.Option(help="Symbolic link to make to the pseudo-terminal.")] = None,
    tcp: Annotated[int | None, typer.Option(min=0, max=65535, help="TCP port on 127.0.0.1 instead; 0: any.")] = None,
    pose: Annotated[
        str | None, typer.Option(help="Send poses of motion capture to udp://HOST:PORT, as 'fly --pose' takes them.")
    ] = None,
    pose_rate: Annotated[float, typer.Option(min=1.0, max=1000.0, help="Rate of these poses, in Hz.")] = RATE,
    parameter: Annotated[
        list[str] | None, typer.Option(help="Set a parameter of the autopilot, NAME=VALUE; repeatable.")
    ] = None,
    deny: Annotated[
        list[int] | None, typer.Option(help="Do not stream the MAVLink message of this id; repeatable.")
    ] = None,
    fault: Annotated[
        str | None, typer.Option(help=f"Break the line or the vehicle in one of these ways: {', '.join(OFFERED)}.")
    ] = None,
    fault_after: Annotated[
        float, typer.Option(min=0.0, help="How long after control was given the fault begins, in s.")
    ] = 3.0,
    duration: Annotated[float | None, typer.Option(min=1.0, help="End after so many s.")] = None,
    once: Annotated[bool, typer.Option("--once", help="End after the first flight.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object at the end.")] = False,
) -> None:
    """Run a simulated vehicle with an autopilot that speaks its protocol on a pseudo-terminal, until Ctrl-C."""
    kind = _kind(protocol, autopilot)
    plant = Plant(load_vehicle(vehicle), load_effects(effect or []))
    plant = plant if airframe is None else plant.with_airframe(airframe)
    with ExitStack() as stack:
        world = RigidBodyWorld(plant.vehicle) if light else stack.enter_context(_simulated(plant, seed))
        build = _mavlink if protocol is Protocol.MAVLINK else _msp
        emulation = build(plant, world, kind, seed, deny or [], parameter or [])
        trouble = Trouble(emulation, _fault(fault, emulation), fault_after, seed)
        line = Line(emulation.peer, baud)
        server = Server(line, _connect(link, tcp))
        stack.callback(server.close)
        person = _pilot(pilot, emulation, stack)
        poses = None if pose is None else PoseSender(Mocap(world, seed, pose_rate), pose)
        if poses is not None:
            stack.callback(poses.close)
        session = Session(emulation, server, person, trouble, duration, once, poses=poses)
        console.print(f"{emulation.name} flies {plant.vehicle.name}; connect to {server.address}", highlight=False)
        with _interrupted_by_term():
            try:
                run(session.step)
            except KeyboardInterrupt:
                console.print()
    emit(session.result(), as_json, lambda: _render(session))


def _kind(protocol: Protocol, kind: Kind | None) -> Kind:
    known = KINDS[protocol]
    if kind is not None and kind not in known:
        raise UserError(f"autopilot '{kind}' does not speak {protocol}; use any of: {', '.join(known)}")
    return kind or known[0]


def _fault(name: str | None, emulation: Emulation) -> FaultKind | None:
    able = [kind.name for kind in FAULTS.values() if not kind.needs or hasattr(emulation.peer, kind.needs)]
    if name is not None and name not in able:
        raise UserError(f"fault '{name}' is none of {emulation.name}; use any of: {', '.join(able)}")
    return FAULTS[name] if name else None


def _mavlink(
    plant: Plant, world: EmulatedVehicle, kind: Kind, seed: int, denied: list[int], settings: list[str]
) -> Emulation:
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
    return MavlinkEmulation(f"{kind} (MAVLink)", pilot, peer)


def _msp(
    plant: Plant, world: EmulatedVehicle, kind: Kind, seed: int, denied: list[int], settings: list[str]
) -> Emulation:
    if denied or settings:
        raise UserError("--deny and --parameter are of MAVLink; leave them out with --protocol msp")
    inav = kind is Kind.INAV
    sticks = inav_default_sticks() if inav else betaflight_default_sticks()
    pilot = StickAutopilot(plant.vehicle, world, sticks=sticks, seed=seed, habits=INAV if inav else BETAFLIGHT)
    return MspEmulation(f"{kind} (MSP)", pilot, MspAutopilot(pilot, "INAV" if inav else "BTFL"))


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


def _pilot(kind: PilotKind, emulation: Emulation, stack: ExitStack) -> Pilot | None:
    if kind is PilotKind.NONE:
        return None
    if kind is PilotKind.KEYBOARD:
        bound = emulation.keys()
        console.print("keys:", ", ".join(f"{key} {what}" for key, (what, _) in bound.items()), highlight=False)
        return Keyboard(bound, stack.enter_context(keys(even_piped=False)), emulation.note)
    if kind is PilotKind.HOVER:
        return emulation.hovering()
    return emulation.scripted(arms_only=kind is PilotKind.ARMS)


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


def _render(session: Session) -> Table:
    table = Table("", "", show_header=False, title=session.emulation.name, title_justify="left")
    for key, value in session.result().items():
        if key != "events":
            table.add_row(key, f"{value:.3f}" if isinstance(value, float) else str(value))
    return table
