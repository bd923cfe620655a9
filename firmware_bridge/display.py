"""What the user of ``fly`` sees, and the keys: drawn by a thread of its own that the loop never waits for."""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np
from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from firmware_bridge.recording.recorder import Recorder
from firmware_bridge.recording.tick_record import TickRecord
from firmware_bridge.session import Session
from firmware_bridge.supervisor.types import Phase

REFRESH = 0.2  # s
TABLE_ROWS = 18  # lines of the screen that the table may take
LEFT_FREE = 2  # lines of the screen that it leaves: what was said last must be seen too
NARROW = 80  # columns below which a row's parts follow each other instead of standing in columns
EXPENDABLE = ("velocity, m/s", "setpoint", "controller", "position, m", "battery", "log", "autopilot", "height, m")
"""Rows that are left out, in this order, where the screen is too low for all."""
SCORE_COLOURS = ((1.0, "green"), (math.inf, "red"))


class Display:
    """Lines above, a table below; without a terminal the lines alone. Make it before the loop's thread is pinned."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._lines: deque[str] = deque(maxlen=1000)
        self._shown: deque[str] = deque(maxlen=200)
        self._session: Session | None = None
        self._recorder: Recorder | None = None
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name="display", daemon=True)
        self._thread.start()

    def say(self, text: str) -> None:
        """Show a line soon; never blocks."""
        self._lines.append(text)

    def show(self, session: Session, recorder: Recorder | None) -> None:
        """What the table is made of from now on."""
        self._recorder, self._session = recorder, session

    def close(self) -> None:
        """Show what is left, and end."""
        self._closing.set()
        self._thread.join()

    def _work(self) -> None:
        if not self._console.is_terminal:
            while not self._closing.wait(REFRESH):
                self._flush()
            self._flush()
            return
        live, size = self._live(), self._console.size
        try:
            while not self._closing.wait(REFRESH):
                if self._console.size != size:
                    live.stop()
                    live, size = self._anew(), self._console.size
                self._flush()
                session = self._session
                if session is not None and session.latest is not None:
                    live.update(table(session.latest, session, self._recorder), refresh=True)
            self._flush()
        finally:
            live.stop()

    def _live(self) -> Live:
        live = Live(console=self._console, auto_refresh=False, transient=True)
        live.start()
        return live

    def _anew(self) -> Live:
        """Draw the screen afresh: a terminal of another width has wrapped the old table where nobody can erase it."""
        self._console.clear()
        for text in list(self._shown)[-max(self._console.size.height - TABLE_ROWS, 1) :]:
            self._print(text)
        return self._live()

    def _flush(self) -> None:
        while self._lines:
            self._shown.append(self._lines.popleft())
            self._print(self._shown[-1])

    def _print(self, text: str) -> None:
        whole = not self._console.is_terminal  # a file wants a line as one, a person no words cut in two
        self._console.print(text, highlight=False, markup=False, soft_wrap=whole)


class Rows:
    """Rows of a name, a value and more of it, laid out for the width and the height that the screen has."""

    def __init__(self) -> None:
        self._rows: list[tuple[str, Text, Text]] = []

    def add(self, name: str, value: str | Text, more: str | Text = "") -> None:
        """One row below those that are there."""
        value, more = (Text(x) if isinstance(x, str) else x for x in (value, more))  # a bracket is no markup
        self._rows.append((name, value, more))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """For rich. A row is left out only where the screen is too low."""
        rows, expendable = self._rows, list(EXPENDABLE)
        while True:
            lines = console.render_lines(_grid(rows, options.max_width < NARROW), options)
            if len(lines) <= options.max_height - LEFT_FREE or not expendable:
                break
            gone = expendable.pop(0)
            rows = [row for row in rows if row[0] != gone]
        for line in lines:
            yield from line
            yield Segment.line()


def _grid(rows: Sequence[tuple[str, Text, Text]], narrow: bool) -> Table:
    grid = Table.grid(padding=(0, 2))
    for name, value, more in rows:
        if narrow:
            grid.add_row(Text(name), Text.assemble(value, "  " if more else "", more))
        else:
            grid.add_row(Text(name), value, more)
    return grid


def table(record: TickRecord, session: Session, recorder: Recorder | None) -> Rows:
    """State, setpoint, residual, and how well loop, link and log are."""
    rows = Rows()
    row = rows.add
    decision, estimate, vehicle = record.decision, record.estimate, session.loop.heard.vehicle

    row("phase", Text.assemble((str(decision.phase), "bold"), f" {record.stage}"), decision.reason)
    heard = "as last heard" if decision.phase is Phase.DISCONNECTED else f"{record.in_control} is in control"
    row("autopilot", f"{record.mode or '-'}, {'armed' if record.armed else 'disarmed'}", heard)
    row("link", *session.link_quality)
    if estimate is not None:
        row("position, m", _vector(estimate.position), _age(estimate.position_age_at_most))
        row("velocity, m/s", _vector(estimate.velocity), f"attitude {_age(estimate.attitude_age_at_most)}")
    row("height, m", "none" if record.height is None else f"{record.height:.3f}", _age(record.height_age))
    thrust = "nothing is sent" if record.setpoint is None else f"{record.setpoint.thrust:.2f} N"
    reference = ""
    if record.reference is not None:
        x, y, _ = record.reference.position.tolist()
        height = vehicle.lowest_point(record.reference.position, np.eye(3))
        reference = f"to {x:+.3f}  {y:+.3f}, height {height:.3f}"
    row("setpoint", thrust, reference)
    row("controller", session.loop.guidance.name, _guard(record))
    if session.loop.guidance.network is None:
        row("f_a, N", "-", "no network")
    else:
        predicted = "-" if record.f_a_predicted is None else _vector(record.f_a_predicted)
        row("f_a, N", predicted, f"{100 * decision.network_share:.0f} % of the network in the control law")
        colour = next(name for limit, name in SCORE_COLOURS if not record.domain_score > limit)
        row("domain score", Text(f"{record.domain_score:.2f}", colour), "1 is the edge")
    late = f"p99 {1e3 * session.lateness.quantile(0.99):.1f} ms, worst {1e3 * session.lateness.worst:.1f} ms"
    row("tick", f"late by {1e3 * record.lateness:.2f} ms", late)
    battery = "-" if record.battery_voltage is None else f"{record.battery_voltage:.2f} V"
    row("battery", battery, f"u from {record.rotor_speed_source or 'nothing'}")
    if recorder is not None:
        lost = Text(recorder.problem, "red") if recorder.problem else f"{recorder.dropped} dropped"
        row("log", f"{recorder.flight_records} records", lost)
    if session.asking:
        row("", Text(f"to arm, type arm and Enter: {session.wishes.line}_", "bold"), "q: end")
    else:
        row("", "a: abort, go around", "q: hand back and end")
    return rows


def _guard(record: TickRecord) -> str | Text:
    if record.guard_force is None:
        return "without a guard"
    if not np.any(record.guard_force):
        return "the guard lets it pass"
    return Text(f"the guard adds {_vector(record.guard_force)} N", "yellow")


def _vector(v: Any) -> str:
    return "  ".join(f"{x:+7.3f}" for x in v.tolist())


def _age(seconds: float) -> str:
    if math.isinf(seconds):
        return ""
    return f"{1e3 * seconds:.0f} ms old" if seconds < 1.0 else f"{seconds:.1f} s old"
