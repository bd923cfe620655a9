"""``neural-lander fly``: the loop on a companion computer, from the link to the log."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from firmware_bridge.bounds import Volume
from firmware_bridge.guidance.flight_plan import SETTLE_TIME
from firmware_bridge.supervisor.limits import Limits
from neural_lander.cli.fly_prepare import Options, prepare
from neural_lander.cli.fly_run import fly_prepared
from neural_lander.cli.link_options import RANGE_DIRECTION, RANGE_DIRECTION_HELP, RANGE_OFFSET, RANGE_OFFSET_HELP
from neural_lander.cli.output import emit
from neural_lander.trajectory import LANDING_SPEED, LANDING_START_HEIGHT

VEHICLE, CONTROLLER, PLAN, HEIGHT = "Vehicle and bundle", "Controller", "Flight", "Position and height above the ground"
SAFETY, LINK, REALTIME, LOG = "Safety", "Link", "Real time", "Log"


def option(panel: str, *names: str, **more: Any) -> Any:
    """An option under its heading in the help."""
    return typer.Option(*names, rich_help_panel=panel, **more)


def fly(
    link: Annotated[
        str,
        option(
            LINK,
            help="Where the autopilot is: mavlink:PORT, msp:PORT or crazyflie:URI; a serial port with its speed in "
            "baud is PORT?baud=921600. A link of your own: module:NAME:ADDRESS.",
        ),
    ],
    bundle: Annotated[
        Path | None,
        option(VEHICLE, help="Folder that 'train' wrote, with network, certificate and vehicle. PD flies without one."),
    ] = None,
    vehicle: Annotated[
        str | None, option(VEHICLE, help="Vehicle profile, built-in or a file, where no bundle brings one.")
    ] = None,
    uncertified: Annotated[
        bool,
        option(
            VEHICLE,
            "--uncertified",
            help="For research: fly a bundle that no certificate lets fly. Screen and log say so.",
        ),
    ] = False,
    controller: Annotated[
        str | None,
        option(
            CONTROLLER,
            help="A name that 'compare' knows, or your own as module:Class. The default is neural-lander-trim with a "
            "bundle, pd-trim without.",
        ),
    ] = None,
    tuned: Annotated[
        Path | None,
        option(CONTROLLER, help="File that 'tune' wrote for this vehicle: fly the controller with its gains."),
    ] = None,
    guard: Annotated[
        bool,
        option(
            CONTROLLER,
            "--guard/--no-guard",
            help="Limit the descent by the height, and the tilt near the ground.",
        ),
    ] = True,
    body_rates: Annotated[
        bool, option(CONTROLLER, "--body-rates", help="Command body rates and thrust instead of attitude and thrust.")
    ] = False,
    height: Annotated[
        float, option(PLAN, help="Height of the gear above the ground, in m, from which to land.")
    ] = LANDING_START_HEIGHT,
    hover: Annotated[float, option(PLAN, help="How long to hover before the landing, in s.")] = SETTLE_TIME,
    speed: Annotated[float, option(PLAN, help="Speed of the descent, in m/s, at most 1.")] = LANDING_SPEED,
    duration: Annotated[
        float | None, option(PLAN, min=0.0, help="Hand back to the autopilot and end after so many s.")
    ] = None,
    pose: Annotated[
        str | None,
        option(
            HEIGHT,
            help="Take position and attitude from motion capture, as datagrams to udp://:PORT. Each is 68 bytes: NLP1, "
            "then eight little-endian doubles: time in s, position in m (x, y, z up), attitude (w, x, y, z).",
        ),
    ] = None,
    floor: Annotated[
        float | None,
        option(HEIGHT, help="Height of a flat floor, in m, in the frame of motion capture, instead of a rangefinder."),
    ] = None,
    range_offset: Annotated[str, option(HEIGHT, help=RANGE_OFFSET_HELP)] = RANGE_OFFSET,
    range_direction: Annotated[str, option(HEIGHT, help=RANGE_DIRECTION_HELP)] = RANGE_DIRECTION,
    forward_pose: Annotated[
        bool,
        option(
            HEIGHT, "--forward-pose", help="Tell a MAVLink autopilot the pose too, even where nothing else is sent."
        ),
    ] = False,
    observe: Annotated[bool, option(SAFETY, "--observe", help="Log and predict only; send nothing.")] = False,
    dry_run: Annotated[bool, option(SAFETY, "--dry-run", help="Do everything but send.")] = False,
    take_control: Annotated[
        bool,
        option(
            SAFETY,
            "--take-control",
            help="Ask the autopilot for the mode that follows setpoints, while disarmed. Without it the pilot's switch "
            "gives control.",
        ),
    ] = False,
    arm: Annotated[
        bool,
        option(SAFETY, "--arm", help="Take the mode, arm and take off, once you have typed 'arm' and Enter as well."),
    ] = False,
    tilt_check: Annotated[
        bool, option(SAFETY, "--tilt-check", help="Before the flight, have the frames checked by tilting by hand.")
    ] = False,
    radius: Annotated[
        float, option(SAFETY, help="How far from where control was given it may fly, in m.")
    ] = Volume.radius,
    ceiling: Annotated[float, option(SAFETY, help="How high above the ground it may fly, in m.")] = Volume.ceiling,
    battery: Annotated[
        float, option(SAFETY, help="Hand back below this voltage under load, in V; 0 does not watch it.")
    ] = 0.0,
    max_age: Annotated[
        float, option(SAFETY, help="Send no setpoint from a state that may be older than this, in s.")
    ] = Limits.state_age,
    thrust_map: Annotated[
        Path | None,
        option(LINK, help="File that 'calibrate' wrote: thrust against throttle. Over MSP there is no flight without."),
    ] = None,
    system: Annotated[
        int | None, option(LINK, min=1, max=255, help="MAVLink system id of the autopilot, where there are several.")
    ] = None,
    rotor_order: Annotated[
        str | None,
        option(LINK, help="For each rotor of the profile the autopilot's motor, counted from 0, such as 0,1,2,3."),
    ] = None,
    rate: Annotated[float, option(REALTIME, help="Rate of the loop, from 50 to 500 Hz.")] = 200.0,
    follow_state: Annotated[
        bool, option(REALTIME, "--follow-state", help="Tick when a state comes in, for the least delay.")
    ] = False,
    cpu: Annotated[int | None, option(REALTIME, help="Pin the loop to this CPU, counted from 0.")] = None,
    priority: Annotated[
        int | None, option(REALTIME, min=1, max=99, help="Give the loop this real-time priority, from 1 to 99.")
    ] = None,
    log: Annotated[
        Path | None, option(LOG, help="MCAP file to write. By default it is named by the time in UTC.")
    ] = None,
    as_json: Annotated[bool, option(LOG, "--json", help="Show no display; print one JSON object at the end.")] = False,
) -> None:
    """Fly a real autopilot: climb, hover, land; or watch it. Ctrl-C hands back to the autopilot.

    In flight the key a, or space, aborts and goes around; pressed again, or q, hands back. The exit code is 1 where a
    flight was to be flown and did not end in our landing.
    """
    options = Options(**locals())
    result = fly_prepared(prepare(options))
    emit(result, options.as_json, lambda: _render(result))
    if options.sends and not result["landed"]:
        raise typer.Exit(1)


def _render(result: dict[str, Any]) -> Table:
    table = Table(show_header=False)
    rows = ("outcome", "controller", "ticks", "ticks_left_out", "setpoints_sent", "log", "log_records")
    for key in (*rows, "log_dropped_ticks"):
        table.add_row(key.replace("_", " "), str(result[key]))
    late = f"p99 {1e3 * result['lateness_p99_s']:.1f} ms, worst {1e3 * result['lateness_worst_s']:.1f} ms"
    table.add_row("ticks late by", late)
    table.add_row("a tick takes", f"p99 {1e3 * result['tick_work_p99_s']:.1f} ms")
    if result["log_problem"]:
        table.add_row("log", result["log_problem"])
    return table
