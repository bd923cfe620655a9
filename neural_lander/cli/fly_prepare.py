"""What ``fly`` settles before it opens the link: every option checked, the controller built, the log's head written."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from firmware_bridge.bounds import Bounds, Volume
from firmware_bridge.estimation.height import HeightSource
from firmware_bridge.flown_hover import FLOWN_BY
from firmware_bridge.guidance.flight_plan import FlightPlan
from firmware_bridge.guidance.guidance import Guidance
from firmware_bridge.link import CheckResult
from firmware_bridge.links import link_kind
from firmware_bridge.realtime import check_rate
from firmware_bridge.supervisor.limits import Limits, lateness_at
from neural_lander import __version__
from neural_lander.bundle import Bundle, load_bundle, load_for_research
from neural_lander.bundle_files import VEHICLE
from neural_lander.cli.fly_controller import Chosen, check_certificate, choose_controller
from neural_lander.cli.link_options import (
    check_forward,
    height_source,
    link_options,
    require_position,
    require_thrust_map,
)
from neural_lander.errors import UserError
from neural_lander.flightlog import McapLogWriter
from neural_lander.residual.domain import Domain
from neural_lander.vehicle import Vehicle, load_vehicle


@dataclass(frozen=True)
class Options:
    """What was given on the command line; its help says what each is."""

    link: str
    bundle: Path | None
    uncertified: bool
    vehicle: str | None
    controller: str | None
    tuned: Path | None
    guard: bool
    observe: bool
    dry_run: bool
    take_control: bool
    arm: bool
    floor: float | None
    pose: str | None
    forward_pose: bool
    range_offset: str
    range_direction: str
    height: float
    hover: float
    speed: float
    rate: float
    follow_state: bool
    thrust_map: Path | None
    system: int | None
    rotor_order: str | None
    radius: float
    ceiling: float
    battery: float
    max_age: float
    body_rates: bool
    tilt_check: bool
    log: Path | None
    duration: float | None
    cpu: int | None
    priority: int | None
    as_json: bool

    @property
    def sends(self) -> bool:
        """Whether the vehicle is to be flown."""
        return not (self.observe or self.dry_run)


@dataclass(frozen=True)
class Prepared:
    """All that a run needs besides the link."""

    options: Options
    log: Path
    vehicle: Vehicle
    chosen: Chosen
    guidance: Guidance
    domain: Domain | None
    """Of what was learned, where any of it flies."""
    limits: Limits
    bounds: Bounds
    source: HeightSource
    link_options: dict[str, Any]
    checks: tuple[CheckResult, ...]
    """What is known before anything is heard."""
    metadata: dict[str, Any]
    """Of the log."""


def prepare(options: Options) -> Prepared:
    """Check and build all that can be before the link is opened.

    Raises
    ------
    UserError
        For the first thing that is wrong. A bundle that must not fly leaves a log that says why.
    """
    check_rate(options.rate)
    if options.observe and (options.dry_run or options.arm):
        other = "--dry-run" if options.dry_run else "--arm"
        raise UserError(f"--observe asks for nothing and sends no setpoint: leave out {other}")
    log = options.log or Path(f"flight-{datetime.now(UTC):%Y%m%d-%H%M%S}.mcap")
    bundle = None if options.bundle is None else _load(options, options.bundle, log)
    vehicle = _profile(bundle, options.vehicle)
    plan = FlightPlan(vehicle, options.height, options.hover, options.speed)
    bounds = Bounds(Volume(options.radius, options.ceiling), battery_voltage=options.battery)
    if options.height >= options.ceiling:
        raise UserError(
            f"--height {options.height:g} m is not below --ceiling {options.ceiling:g} m: it would climb out of its "
            "flight volume; lower the one or raise the other"
        )
    source = height_source(options.floor, options.range_offset, options.range_direction)
    chosen = choose_controller(options.controller, vehicle, bundle, options.tuned, options.guard)
    domain = bundle.domain if bundle is not None and chosen.learned else None
    domain_score = 1.0 if domain is None else domain.gone
    limits = Limits(state_age=options.max_age, domain_score=domain_score, lateness=lateness_at(options.rate))
    guidance = Guidance(chosen.controller, plan, rates=options.body_rates, name=chosen.kind.label)
    opened_with = link_options(options.thrust_map, options.system, options.rotor_order)
    if options.floor is not None and options.pose is None and "declared_floor" in link_kind(options.link).options:
        opened_with["declared_floor"] = True
    if options.sends:
        require_thrust_map(options.link, _where(options), options.thrust_map is not None)
        require_position(options.link, options.pose is not None)
    check_forward(options.link, options.pose, options.forward_pose)
    return Prepared(
        options,
        log,
        vehicle,
        chosen,
        guidance,
        domain,
        limits,
        bounds,
        source,
        opened_with,
        (chosen.check, check_certificate(bundle, guidance, chosen.kind, options.rate)),
        _metadata(options, bundle, vehicle, source) | chosen.metadata | _flown_by(opened_with),
    )


def _load(options: Options, bundle: Path, log: Path) -> Bundle:
    """The bundle; why one that is there is refused is left in a log beside ``log``, which stays free for a flight."""
    load: Callable[[Path], Bundle] = load_for_research if options.uncertified else load_bundle
    try:
        return load(bundle)
    except UserError as error:
        if bundle.is_dir():
            beside = log.with_name(f"{log.stem}-refused-{datetime.now(UTC):%Y%m%d-%H%M%S}.mcap")
            refusal = {"bundle": str(bundle), "refused": str(error), **_program()}
            with contextlib.suppress(UserError), McapLogWriter(beside, metadata=refusal):
                pass
        raise


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


def _where(options: Options) -> str:
    """The vehicle as another command takes it: as it was given, or the bundle's file."""
    return options.vehicle or str((options.bundle or Path()) / VEHICLE)


def _metadata(options: Options, bundle: Bundle | None, vehicle: Vehicle, source: HeightSource) -> dict[str, Any]:
    return {
        "vehicle": vehicle.name,
        "vehicle_sha256": vehicle.sha256,
        "mass_kg": vehicle.mass,
        "bundle": None if bundle is None else str(bundle.path),
        "bundle_sha256": None if bundle is None else bundle.info["sha256"],
        **({"uncertified": bundle.uncertified} if bundle is not None and bundle.uncertified else {}),
        "link": options.link,
        "height_source": source.name,
        "pose": options.pose,
        "loop_rate_Hz": options.rate,
        "observe": options.observe,
        "dry_run": options.dry_run,
        **_program(),
    }


def _flown_by(opened_with: dict[str, Any]) -> dict[str, Any]:
    """The thrust map, where one was given: a calibration from the log needs it."""
    given = opened_with.get("thrust_map")
    return {} if given is None else {FLOWN_BY: json.loads(given.to_json())}


def _program() -> dict[str, str]:
    return {"program": f"neural-lander {__version__}", "start_utc": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"}
