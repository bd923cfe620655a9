"""``neural-lander fly``: the loop on a companion computer, from the link to the log."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from firmware_bridge.bounds import Bounds, Volume
from firmware_bridge.display import Display, keys
from firmware_bridge.flight_plan import SETTLE_TIME, FlightPlan
from firmware_bridge.guidance import Guidance
from firmware_bridge.height import HeightSource
from firmware_bridge.link import CheckResult, Link, LinkLost
from firmware_bridge.links import open_link
from firmware_bridge.loop import FlightLoop
from firmware_bridge.pose import open_pose
from firmware_bridge.preflight import TiltCheck
from firmware_bridge.realtime import MonotonicClock, check_rate, run, undisturbed
from firmware_bridge.recorder import Recorder
from firmware_bridge.session import Session, Wishes
from firmware_bridge.supervisor_limits import Limits, Permission
from neural_lander import __version__
from neural_lander.bundle import Bundle, load_bundle, load_for_research
from neural_lander.cli.link_options import (
    check_forward,
    height_source,
    link_options,
    pose_result,
    require_position,
    require_thrust_map,
    with_pose,
)
from neural_lander.cli.output import console, emit
from neural_lander.control.certified import why_not_certified
from neural_lander.errors import UserError
from neural_lander.flightlog import McapLogWriter
from neural_lander.residual.model import NoResidual
from neural_lander.trajectory import LANDING_SPEED, LANDING_START_HEIGHT
from neural_lander.vehicle import Vehicle, load_vehicle


def fly(
    link: Annotated[str, typer.Option(help="mavlink:PORT, msp:PORT or crazyflie:URI; PORT?baud=921600.")],
    bundle: Annotated[
        Path | None, typer.Option(help="Bundle of 'train'; without it the controller flies alone.")
    ] = None,
    uncertified: Annotated[
        bool,
        typer.Option("--uncertified", help="Research: a bundle that no certificate lets fly; the log says so."),
    ] = False,
    vehicle: Annotated[str | None, typer.Option(help="Profile, where no bundle names it.")] = None,
    observe: Annotated[bool, typer.Option("--observe", help="Log and predict; send nothing.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Everything but sending.")] = False,
    take_control: Annotated[
        bool, typer.Option("--take-control", help="Ask for the mode while disarmed; else the pilot's switch.")
    ] = False,
    arm: Annotated[bool, typer.Option("--arm", help="Arm and take off, once 'arm' and Enter are typed.")] = False,
    floor: Annotated[
        float | None, typer.Option(help="z of a flat floor in the position's frame, m: motion capture only.")
    ] = None,
    pose: Annotated[
        str | None,
        typer.Option(help="Motion capture by datagrams (firmware_bridge/pose.py): udp://:PORT on 127.0.0.1."),
    ] = None,
    forward_pose: Annotated[
        bool, typer.Option("--forward-pose", help="Tell MAVLink autopilots the pose too, even if nothing else is sent.")
    ] = False,
    range_offset: Annotated[str, typer.Option(help="Rangefinder in the body frame, m: forward,left,up.")] = "0,0,0",
    height: Annotated[float, typer.Option(help="From which to land, m of gear height.")] = LANDING_START_HEIGHT,
    hover: Annotated[float, typer.Option(help="Before the landing, s.")] = SETTLE_TIME,
    speed: Annotated[float, typer.Option(help="Of the descent, m/s.")] = LANDING_SPEED,
    rate: Annotated[float, typer.Option(help="Of the loop, 50 to 500 Hz.")] = 200.0,
    follow_state: Annotated[
        bool, typer.Option("--follow-state", help="Tick where states come in, for the least delay.")
    ] = False,
    thrust_map: Annotated[Path | None, typer.Option(help="Calibration of 'calibrate'; MSP needs one.")] = None,
    system: Annotated[int | None, typer.Option(min=1, max=255, help="MAVLink system id of the autopilot.")] = None,
    rotor_order: Annotated[
        str | None, typer.Option(help="Of each rotor of the profile the autopilot's motor, from 0: 0,1,2,3.")
    ] = None,
    radius: Annotated[float, typer.Option(help="Of the flight volume, m.")] = Volume.radius,
    ceiling: Annotated[float, typer.Option(help="Of the flight volume, m.")] = Volume.ceiling,
    battery: Annotated[float, typer.Option(help="Lowest voltage under load, V; 0: not watched.")] = 0.0,
    max_age: Annotated[float, typer.Option(help="Oldest state that is answered, s.")] = Limits.state_age,
    body_rates: Annotated[bool, typer.Option("--body-rates", help="Command rates instead of attitude.")] = False,
    tilt_check: Annotated[bool, typer.Option("--tilt-check", help="Check frames by tilting by hand first.")] = False,
    log: Annotated[Path | None, typer.Option(help="MCAP to write; by default named by the time.")] = None,
    duration: Annotated[float | None, typer.Option(min=0.0, help="Hand back and end after so many s.")] = None,
    cpu: Annotated[int | None, typer.Option(help="Pin the loop to this CPU.")] = None,
    priority: Annotated[int | None, typer.Option(min=1, max=99, help="Real-time priority of the loop.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object at the end; no display.")] = False,
) -> None:
    """Fly a real autopilot: climb, hover, land; or watch it. Ctrl-C hands back to the autopilot.

    The exit code is 1 where a flight was to be flown and did not end in our landing.
    """
    check_rate(rate)
    log = log or Path(f"flight-{datetime.now(UTC):%Y%m%d-%H%M%S}.mcap")
    load = load_for_research if uncertified else load_bundle
    loaded = None if bundle is None else _load(load, bundle, log)
    profile = _profile(loaded, vehicle)
    plan = FlightPlan(profile, height, hover, speed)
    limits = Limits(state_age=max_age, domain_score=1.0 if loaded is None else loaded.domain.gone)
    bounds = Bounds(Volume(radius, ceiling), battery_voltage=battery)
    source = height_source(floor, range_offset)
    guidance = Guidance(
        profile,
        NoResidual() if loaded is None else loaded.flying,
        plan,
        contraction_factor=0.5 if loaded is None else loaded.flown_factor,
        iterations=None if loaded is None else loaded.iterations,
        rates=body_rates,
        uncertified="" if loaded is None else loaded.uncertified,
    )
    metadata = _metadata(loaded, profile, link, source, rate, observe, dry_run) | {"pose": pose}
    wishes, clock = Wishes(), MonotonicClock()
    options = link_options(thrust_map, system, rotor_order)
    if not (observe or dry_run):
        require_thrust_map(link, profile.name, thrust_map is not None)
        require_position(link, pose is not None)
    check_forward(link, pose, forward_pose)

    with contextlib.ExitStack() as stack:
        poses = None if pose is None else open_pose(pose)
        if poses is not None:
            stack.callback(poses.close)

        def reopen() -> Link:
            return with_pose(open_link(link, profile, rate=rate, **options), poses, forward_pose)

        opened = _open(reopen, link)
        recorder = Recorder(log, metadata, commands=not (observe or dry_run))
        stack.callback(recorder.close)
        display = None if as_json else Display(console)
        if display is not None:
            stack.callback(display.close)
        loop = FlightLoop(
            opened,
            guidance,
            source,
            permission=Permission(observe, take_control or arm),
            limits=limits,
            bounds=bounds,
            dry_run=dry_run,
            checks_passed=False,
            record=recorder.put,
            domain_score=None if loaded is None else loaded.domain.score,
            reopen=reopen,
        )
        stack.callback(loop.close)
        session = Session(
            loop,
            clock,
            wishes,
            [_certificate(loaded, guidance)],
            TiltCheck() if tilt_check else None,
            arm=arm,
            duration=duration,
            say=display.say if display is not None else lambda text: None,
        )
        if display is not None:
            display.show(session, recorder)
        left_out = _fly(session, wishes, rate, cpu, priority, arm, follow_state)
    result = _result(session, recorder, link, rate, left_out) | pose_result(poses)
    if loaded is not None and loaded.uncertified:
        result["uncertified"] = loaded.uncertified
    emit(result, as_json, lambda: _render(result))
    if not (observe or dry_run or result["landed"]):
        raise typer.Exit(1)


def _load(load: Callable[[Path], Bundle], bundle: Path, log: Path) -> Bundle:
    """The bundle; why one that is there is refused is left in a log beside ``log``, which stays free for a flight."""
    try:
        return load(bundle)
    except UserError as error:
        if bundle.is_dir():
            beside = log.with_name(f"{log.stem}-refused-{datetime.now(UTC):%Y%m%d-%H%M%S}.mcap")
            with contextlib.suppress(UserError), McapLogWriter(beside, metadata=_refusal(bundle, error)):
                pass
        raise


def _refusal(bundle: Path, error: UserError) -> dict[str, Any]:
    return {
        "bundle": str(bundle),
        "refused": str(error),
        "program": f"neural-lander {__version__}",
        "start_utc": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
    }


def _open(reopen: Callable[[], Link], address: str) -> Link:
    try:
        return reopen()
    except LinkLost as error:
        raise UserError(f"link '{address}' cannot be opened: {error}") from error


def _fly(
    session: Session, wishes: Wishes, rate: float, cpu: int | None, priority: int | None, arm: bool, follow: bool
) -> int:
    """Run to the end; the number of ticks left out."""
    with _signals(wishes), keys(even_piped=arm) as pressed, undisturbed(cpu, priority):

        def tick(now: float, lateness: float) -> bool:
            wishes.type(pressed(), asked=arm)
            return session.tick(now, lateness)

        return run(tick, rate, session.clock, session.loop.listen if follow else None)


@contextlib.contextmanager
def _signals(wishes: Wishes) -> Iterator[None]:
    """Ctrl-C, a request to terminate, or a terminal that goes away: hand back, and end."""

    def stop(number: int, frame: object) -> None:
        wishes.stop = True

    names = [name for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = [signal.signal(getattr(signal, name), stop) for name in names]
    try:
        yield
    finally:
        for name, handler in zip(names, before, strict=True):
            signal.signal(getattr(signal, name), handler)


def _profile(bundle: Bundle | None, vehicle: str | None) -> Vehicle:
    if bundle is not None and vehicle is not None and load_vehicle(vehicle).sha256 != bundle.vehicle.sha256:
        raise UserError(
            f"vehicle '{vehicle}' is not the one that {bundle.path} was trained for ('{bundle.vehicle.name}'): leave "
            "out --vehicle, or train for it"
        )
    if bundle is not None:
        return bundle.vehicle
    if vehicle is None:
        raise UserError("neither --bundle nor --vehicle is given: name one, the mass and the rotors come from it")
    return load_vehicle(vehicle)


def _certificate(bundle: Bundle | None, guidance: Guidance) -> CheckResult:
    if bundle is None:
        return CheckResult("certificate", True, "no bundle: PD with trim, no network")
    if bundle.uncertified:
        return CheckResult("certificate", True, f"NONE, flown by --uncertified: {bundle.uncertified}")
    factor = bundle.contraction_factor
    if missing := why_not_certified(guidance.residual, guidance.vehicle, factor):
        return CheckResult("certificate", False, f"{bundle.path}: {missing}")
    words = f"{bundle.path} is sealed and its certificate holds; contraction factor {factor:.3f}"
    return CheckResult("certificate", True, words)


def _metadata(
    bundle: Bundle | None, vehicle: Vehicle, link: str, source: HeightSource, rate: float, observe: bool, dry_run: bool
) -> dict[str, Any]:
    return {
        "vehicle": vehicle.name,
        "vehicle_sha256": vehicle.sha256,
        "mass_kg": vehicle.mass,
        "bundle": None if bundle is None else str(bundle.path),
        "bundle_sha256": None if bundle is None else bundle.info["sha256"],
        **({"uncertified": bundle.uncertified} if bundle is not None and bundle.uncertified else {}),
        "link": link,
        "height_source": source.name,
        "loop_rate_Hz": rate,
        "observe": observe,
        "dry_run": dry_run,
        "program": f"neural-lander {__version__}",
        "start_utc": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
    }


def _result(session: Session, recorder: Recorder, link: str, rate: float, left_out: int) -> dict[str, Any]:
    return {
        "outcome": session.outcome,
        "landed": any(phase == "landed" for _, phase, _ in session.transitions),
        "link": link,
        "rate_Hz": rate,
        "ticks": session.ticks,
        "ticks_left_out": left_out,
        "setpoints_sent": session.setpoints,
        "lateness_p50_s": session.lateness.quantile(0.5),
        "lateness_p99_s": session.lateness.quantile(0.99),
        "lateness_worst_s": session.lateness.worst,
        "tick_work_p99_s": session.work.quantile(0.99),
        "tick_work_worst_s": session.work.worst,
        "checks": [{"name": c.name, "passed": c.passed, "finding": c.finding} for c in session.checks],
        "transitions": [{"t_s": t, "phase": phase, "reason": reason} for t, phase, reason in session.transitions],
        "problems": session.problems,
        "log": recorder.path,
        "log_records": recorder.flight_records,
        "log_dropped_ticks": recorder.dropped,
        "log_problem": recorder.problem,
    }


def _render(result: dict[str, Any]) -> Table:
    table = Table(show_header=False)
    for key in ("outcome", "ticks", "ticks_left_out", "setpoints_sent", "log", "log_records", "log_dropped_ticks"):
        table.add_row(key.replace("_", " "), str(result[key]))
    late = f"p99 {1e3 * result['lateness_p99_s']:.1f} ms, worst {1e3 * result['lateness_worst_s']:.1f} ms"
    table.add_row("ticks late by", late)
    table.add_row("a tick takes", f"p99 {1e3 * result['tick_work_p99_s']:.1f} ms")
    if result["log_problem"]:
        table.add_row("log", result["log_problem"])
    return table
