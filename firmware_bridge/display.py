"""What the user of ``fly`` sees, and the keys: drawn by a thread of its own that the loop never waits for."""

from __future__ import annotations

import contextlib
import math
import os
import select
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table

from firmware_bridge.recorder import Recorder
from firmware_bridge.session import Session
from firmware_bridge.tick_record import TickRecord

REFRESH = 0.2  # s
SCORE_COLOURS = ((1.0, "green"), (math.inf, "red"))


class Display:
    """Lines above, a table below; without a terminal the lines alone. Make it before the loop's thread is pinned."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._lines: deque[str] = deque(maxlen=1000)
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
        live = Live(console=self._console, auto_refresh=False, transient=True)
        with live if self._console.is_terminal else contextlib.nullcontext():
            while not self._closing.wait(REFRESH):
                self._flush()
                session = self._session
                if self._console.is_terminal and session is not None and session.latest is not None:
                    live.update(table(session.latest, session, self._recorder), refresh=True)
            self._flush()

    def _flush(self) -> None:
        while self._lines:
            self._console.print(self._lines.popleft(), highlight=False, markup=False, soft_wrap=True)


def table(record: TickRecord, session: Session, recorder: Recorder | None) -> Table:
    """State, setpoint, residual, and how well loop, link and log are."""
    grid = Table.grid(padding=(0, 2))
    decision, estimate = record.decision, record.estimate
    grid.add_row("phase", f"[bold]{decision.phase}[/bold] {record.stage}", decision.reason)
    grid.add_row("autopilot", f"{record.mode or '-'}, {'armed' if record.armed else 'disarmed'}", record.in_control)
    if estimate is not None:
        age = 1e3 * max(estimate.position_age_at_most, estimate.attitude_age_at_most)
        grid.add_row("position, m", _vector(estimate.position), f"{age:.0f} ms old")
        grid.add_row("velocity, m/s", _vector(estimate.velocity), "")
    height = "none" if record.height is None else f"{record.height:.3f}"
    grid.add_row("height, m", height, f"{_age(record.height_age)}")
    thrust = "nothing is sent" if record.setpoint is None else f"{record.setpoint.thrust:.2f} N"
    reference = "" if record.reference is None else f"to {_vector(record.reference.position)} over the ground"
    grid.add_row("setpoint", thrust, reference)
    predicted = "-" if record.f_a_predicted is None else _vector(record.f_a_predicted)
    grid.add_row("f_a, N", predicted, f"{100 * decision.network_share:.0f} % of the network in the control law")
    colour = next(name for limit, name in SCORE_COLOURS if not record.domain_score > limit)
    grid.add_row("domain score", f"[{colour}]{record.domain_score:.2f}[/{colour}]", "1 is the edge")
    late = f"p99 {1e3 * session.lateness.quantile(0.99):.1f} ms, worst {1e3 * session.lateness.worst:.1f} ms"
    grid.add_row("tick", f"late by {1e3 * record.lateness:.2f} ms", late)
    battery = "-" if record.battery_voltage is None else f"{record.battery_voltage:.2f} V"
    grid.add_row("battery", battery, f"u from {record.rotor_speed_source or 'nothing'}")
    if recorder is not None:
        lost = f"[red]{recorder.problem}[/red]" if recorder.problem else f"{recorder.dropped} dropped"
        grid.add_row("log", f"{recorder.flight_records} records", lost)
    grid.add_row("", "a: abort, go around   q: hand back and end", "")
    return grid


def _vector(v: Any) -> str:
    return "  ".join(f"{x:+7.3f}" for x in v.tolist())


def _age(seconds: float) -> str:
    return "" if math.isinf(seconds) else f"{1e3 * seconds:.0f} ms old"


class Keys:
    """Single keys from stdin."""

    def __init__(self) -> None:
        self._ended = False

    def pressed(self) -> str:
        """What has been typed since the last call; never blocks."""
        if self._ended or not select.select([sys.stdin], [], [], 0.0)[0]:
            return ""
        data = os.read(sys.stdin.fileno(), 64)
        self._ended = not data
        return data.decode("ascii", "ignore")


@contextlib.contextmanager
def keys(even_piped: bool) -> Iterator[Callable[[], str]]:
    """Function that returns the keys pressed since its last call.

    From a terminal they come without Enter. A pipe is read only where ``even_piped``.
    """
    try:
        import termios
        import tty

        file = sys.stdin.fileno()
        before = termios.tcgetattr(file)
    except (ImportError, AttributeError, OSError, ValueError, termios.error):
        yield Keys().pressed if even_piped and _has_file() else lambda: ""
        return
    try:
        tty.setcbreak(file)
        yield Keys().pressed
    finally:
        termios.tcsetattr(file, termios.TCSADRAIN, before)


def _has_file() -> bool:
    try:
        return sys.stdin.fileno() >= 0
    except (AttributeError, OSError, ValueError):  # replaced by an object of another kind, or closed
        return False
