"""A run of ``fly`` from the opened link to the closed log, and its result."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from typing import Any

from firmware_bridge.display import Display
from firmware_bridge.estimation.pose import PoseReceiver, open_pose
from firmware_bridge.keyboard import keys
from firmware_bridge.link import Link, LinkLost
from firmware_bridge.links import open_link
from firmware_bridge.loop import FlightLoop
from firmware_bridge.preflight import TiltCheck
from firmware_bridge.realtime import MonotonicClock, run, undisturbed
from firmware_bridge.recording.recorder import Recorder
from firmware_bridge.session import Session, Wishes
from firmware_bridge.supervisor.limits import Permission
from neural_lander.cli.fly_prepare import Options, Prepared
from neural_lander.cli.link_options import pose_result, with_pose
from neural_lander.cli.output import console
from neural_lander.errors import UserError


def fly_prepared(prepared: Prepared) -> dict[str, Any]:
    """Open the link, fly or watch, close the log; what came of it.

    Raises
    ------
    UserError
        Where the link, the poses' socket or the log cannot be opened.
    """
    options = prepared.options
    with contextlib.ExitStack() as stack:
        poses = _open_poses(options, stack)
        session, recorder = _session(prepared, poses, stack)
        left_out = _run(session, options)
    return _result(prepared, session, recorder, left_out) | pose_result(poses)


def _open_poses(options: Options, stack: contextlib.ExitStack) -> PoseReceiver | None:
    if options.pose is None:
        return None
    poses = open_pose(options.pose)
    stack.callback(poses.close)
    return poses


def _session(prepared: Prepared, poses: PoseReceiver | None, stack: contextlib.ExitStack) -> tuple[Session, Recorder]:
    """Link, recorder, display and loop; ``stack`` closes them, the loop and its port first."""
    options = prepared.options

    def reopen() -> Link:
        link = open_link(options.link, prepared.vehicle, rate=options.rate, **prepared.link_options)
        return with_pose(link, poses, options.forward_pose)

    try:
        opened = reopen()
    except LinkLost as error:
        raise UserError(f"link '{options.link}' cannot be opened: {error}") from error
    try:
        age = prepared.limits.height_age
        recorder = Recorder(prepared.log, prepared.metadata, commands=options.sends, height_age=age)
    except BaseException:
        opened.close()
        raise
    stack.callback(recorder.close)
    display, clock = None if options.as_json else Display(console), MonotonicClock()
    if display is not None:
        stack.callback(display.close)
    loop = FlightLoop(
        opened,
        prepared.guidance,
        prepared.source,
        permission=Permission(options.observe, options.take_control or options.arm),
        limits=prepared.limits,
        bounds=prepared.bounds,
        dry_run=options.dry_run,
        checks_passed=False,
        record=recorder.put,
        domain_score=None if prepared.domain is None else prepared.domain.score,
        reopen=reopen,
        clock=clock.now,
    )
    stack.callback(loop.close)
    session = Session(
        loop,
        clock,
        Wishes(),
        prepared.checks,
        TiltCheck() if options.tilt_check else None,
        arm=options.arm,
        duration=options.duration,
        say=display.say if display is not None else lambda text: None,
        note=recorder.note,
    )
    if display is not None:
        display.show(session, recorder)
    return session, recorder


def _run(session: Session, options: Options) -> int:
    """Run to the end, and hand back whatever it was; the number of ticks left out."""
    with _signals(session.wishes), keys(even_piped=options.arm) as pressed, undisturbed(options.cpu, options.priority):

        def tick(now: float, lateness: float) -> bool:
            session.type(pressed())
            return session.tick(now, lateness)

        try:
            return run(tick, options.rate, session.clock, session.loop.listen if options.follow_state else None)
        finally:
            session.close()


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


def _result(prepared: Prepared, session: Session, recorder: Recorder, left_out: int) -> dict[str, Any]:
    about = prepared.chosen.metadata
    return {
        "outcome": session.outcome,
        "left_in_mode": session.left_in_mode,
        "landed": any(phase == "landed" for _, phase, _ in session.transitions),
        "link": prepared.options.link,
        **about,
        "rate_Hz": prepared.options.rate,
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
