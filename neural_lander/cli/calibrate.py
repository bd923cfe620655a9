"""``neural-lander calibrate``: what fraction of full throttle carries the weight, while the pilot hovers."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from firmware_bridge.estimation.pose import open_pose
from firmware_bridge.flown_hover import from_flight
from firmware_bridge.hover import Calibration, HoverCollector
from firmware_bridge.link import Link, LinkLost
from firmware_bridge.links import link_kind, open_link, split_prefix
from firmware_bridge.mavlink.link import MavlinkLink
from firmware_bridge.realtime import MonotonicClock, run
from firmware_bridge.thrust import ThrustMap
from neural_lander.cli.link_options import (
    CRAZYFLIE_BY_HAND,
    RANGE_DIRECTION,
    RANGE_DIRECTION_HELP,
    RANGE_OFFSET,
    RANGE_OFFSET_HELP,
    height_source,
    link_options,
    with_pose,
)
from neural_lander.cli.output import console, emit
from neural_lander.errors import UserError
from neural_lander.flightlog import read_log
from neural_lander.flightlog.files import replacing
from neural_lander.vehicle import Vehicle, load_vehicle

RATE = 100.0  # Hz of looking at the line
THROTTLE_RATE = 20.0  # Hz asked for
TRY_EVERY = 1.0  # s
MOTOR_CURVE = 0.65  # of the motors, where the autopilot tells none: ArduPilot's default for MOT_THST_EXPO; a guess
PATIENCE = 120.0  # s
SHORTEST = 12.0  # s: four parts that a calibration could each be made from


def calibrate(
    vehicle: Annotated[str, typer.Option(help="Profile: a built-in name or a file; its mass must be right.")],
    out: Annotated[Path, typer.Option(help="JSON to write, for 'fly --thrust-map'.")],
    link: Annotated[
        str | None, typer.Option(help="Where the autopilot is: mavlink:PORT or msp:PORT, with PORT?baud=921600.")
    ] = None,
    flight: Annotated[
        Path | None,
        typer.Option(help="Instead of a link: log of a hover that 'fly' flew with a --thrust-map, a rough one."),
    ] = None,
    seconds: Annotated[
        float, typer.Option(min=SHORTEST, max=90.0, help="How long a hover to calibrate from, in s.")
    ] = 20.0,
    patience: Annotated[float, typer.Option(min=1.0, help="Give up after so many s without such a hover.")] = PATIENCE,
    system: Annotated[int | None, typer.Option(min=1, max=255, help="MAVLink system id of the autopilot.")] = None,
    pose: Annotated[
        str | None, typer.Option(help="Take the pose from motion capture, as 'fly' does: udp://:PORT.")
    ] = None,
    floor: Annotated[
        float | None, typer.Option(help="Height of a flat floor, in m, in the frame of motion capture.")
    ] = None,
    range_offset: Annotated[str, typer.Option(help=RANGE_OFFSET_HELP)] = RANGE_OFFSET,
    range_direction: Annotated[str, typer.Option(help=RANGE_DIRECTION_HELP)] = RANGE_DIRECTION,
    motor_curve: Annotated[
        float,
        typer.Option(
            min=0.0,
            max=1.0,
            help="Curve of thrust over throttle where the autopilot tells none (MSP): 0 linear, 1 square.",
        ),
    ] = MOTOR_CURVE,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object at the end.")] = False,
) -> None:
    """Listen while the pilot hovers by hand, well above 1 m; write newtons against throttle. Commands nothing.

    With --flight: from the log of a hover that 'fly' flew, where nobody can listen (a Crazyflie).
    """
    profile = load_vehicle(vehicle)
    if (link is None) == (flight is None):
        raise UserError("give either --link, to listen to a hover, or --flight, the log of one that 'fly' flew")
    if flight is not None:
        given = {
            "--system": system is not None,
            "--pose": pose is not None,
            "--floor": floor is not None,
            "--range-offset": range_offset != RANGE_OFFSET,
            "--range-direction": range_direction != RANGE_DIRECTION,
            "--motor-curve": motor_curve != MOTOR_CURVE,
            "--patience": patience != PATIENCE,
        }
        for option in (name for name, is_given in given.items() if is_given):
            raise UserError(f"{option} is for --link; --flight takes heights and curves from the log and its map")
    if link is not None and split_prefix(link)[0] == "crazyflie":
        raise UserError(f"link '{link}': {CRAZYFLIE_BY_HAND}")
    if not out.parent.is_dir():
        raise UserError(f"--out {out}: there is no folder {out.parent}; make it first")
    if out.is_dir() or not os.access(out if out.exists() else out.parent, os.W_OK):
        raise UserError(f"--out {out} cannot be written; name a file, in a folder that may be written to")
    if link is None:
        assert flight is not None
        _write(from_flight(read_log(flight), profile, seconds), None, out, as_json)
        return
    collector = HoverCollector(profile, height_source(floor, range_offset, range_direction), seconds)
    options = link_options(None, system, None)
    with contextlib.ExitStack() as stack:
        try:
            opened = open_link(link, profile, rate=RATE, throttle_rate=THROTTLE_RATE, **options)
        except LinkLost as error:
            raise UserError(f"link '{link}' cannot be opened: {error}") from error
        stack.callback(opened.close)
        poses = None if pose is None else open_pose(pose)
        if poses is not None:
            stack.callback(poses.close)

        def believed() -> ThrustMap:
            return _believed(opened, profile, motor_curve)

        found = _listen(with_pose(opened, poses, False), collector, believed, patience)
    told = believed().hover_fraction if link_kind(link).tells_hover else None
    _write(found, told, out, as_json)


def _write(found: Calibration, told: float | None, out: Path, as_json: bool) -> None:
    with replacing(out) as part:
        part.write_text(found.map.to_json(), encoding="utf-8")
    result = _result(found, told, out)
    emit(result, as_json, lambda: _render(result))


def _listen(link: Link, collector: HoverCollector, believed: Callable[[], ThrustMap], patience: float) -> Calibration:
    """Until a hover was good enough, or patience is at its end: then the reason."""
    clock = MonotonicClock()
    began = tried = clock.now()
    said, found = "", None
    refusal = UserError("nothing was heard")

    def tick(now: float, lateness: float) -> bool:
        nonlocal tried, said, found, refusal
        try:
            collector.take(link.poll(now), now)
        except LinkLost as error:
            raise UserError(str(error)) from error
        if now - tried < TRY_EVERY:
            return True
        tried = now
        try:
            found = collector.result(believed())
        except UserError as error:
            refusal = error
        if collector.state != said:
            said = collector.state
            console.print(said, highlight=False)
        return found is None and now - began < patience

    run(tick, RATE, clock)
    if found is None:
        raise UserError(f"no calibration after {patience:g} s: {refusal}")
    return found


def _believed(link: Link, vehicle: Vehicle, motor_curve: float) -> ThrustMap:
    """Curves and exponent as the autopilot has them; over MSP it has none, and the fraction is the motors' signal."""
    if isinstance(link, MavlinkLink):
        return link.thrust_map
    return ThrustMap(0.5, vehicle.weight, motor_curve=motor_curve)


def _result(found: Calibration, told: float | None, out: Path) -> dict[str, Any]:
    return {
        "thrust_map": out,
        "hover_fraction": found.map.hover_fraction,
        "hover_thrust_N": found.map.hover_thrust,
        "hover_voltage_V": found.map.hover_voltage,
        "fraction_told_by_autopilot": told,
        "fraction_standard_deviation": found.fraction_deviation,
        "spread_of_quarters": found.spread,
        "hover_s": found.seconds,
        "mean_speed_m_per_s": found.speed,
        "mean_height_m": found.height,
        "height_from": found.height_source,
    }


def _render(result: dict[str, Any]) -> Table:
    table = Table("", "", show_header=False, title="hover", title_justify="left")
    volts = result["hover_voltage_V"]
    at = "voltage not known" if volts is None else f"at {volts:.2f} V"
    table.add_row(
        "thrust", f"{result['hover_thrust_N']:.3f} N at {100 * result['hover_fraction']:.2f} % throttle, {at}"
    )
    table.add_row("spread of the four quarters", f"{100 * result['spread_of_quarters']:.2f} %")
    table.add_row("throttle, standard deviation", f"{100 * result['fraction_standard_deviation']:.2f} %")
    if result["fraction_told_by_autopilot"] is not None:
        table.add_row("the autopilot's own value", f"{100 * result['fraction_told_by_autopilot']:.2f} %")
    table.add_row("height", f"{result['mean_height_m']:.1f} m, from {result['height_from']}")
    table.add_row("written to", str(result["thrust_map"]))
    return table
