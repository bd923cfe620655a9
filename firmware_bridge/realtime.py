"""Ticks at a fixed rate on a monotonic clock, with what Python offers against being late."""

from __future__ import annotations

import contextlib
import gc
import math
import os
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Protocol

from neural_lander.errors import NeuralLanderWarning, UserError

RATES = (50.0, 500.0)  # Hz
REACH = 0.5  # of a period: how far a tick may come before and after its time to meet a state; together a whole one
FOLLOW = 0.4  # of how far a state comes before its place on the grid, by which that is moved; guess
LOOK = 2e-4  # s between looks for a state: a tenth of a period at 500 Hz
SWITCH_INTERVAL = 1e-4  # s that another thread may keep the interpreter: Python's own 5 ms are a whole tick


class Clock(Protocol):
    """Monotonic seconds; a test passes one of its own."""

    def now(self) -> float:
        """Seconds since some fixed moment."""
        ...

    def sleep_until(self, t: float) -> None:
        """Return at t in s, or at once where that is past."""
        ...


class MonotonicClock:
    """The companion's own."""

    def now(self) -> float:
        """See :class:`Clock`."""
        return time.monotonic()

    def sleep_until(self, t: float) -> None:
        """See :class:`Clock`."""
        left = t - time.monotonic()
        if left > 0:
            time.sleep(left)


def check_rate(rate: float) -> None:
    """Refuse a rate in Hz that is out of range, before anything is opened.

    Raises
    ------
    UserError
    """
    if not RATES[0] <= rate <= RATES[1]:
        raise UserError(f"rate = {rate!r} Hz must lie between {RATES[0]:g} and {RATES[1]:g} Hz")


def run(
    tick: Callable[[float, float], bool], rate: float, clock: Clock, listen: Callable[[float], bool] | None = None
) -> int:
    """Call ``tick(now, lateness)``, both in s, at ``rate`` in Hz until it returns False; the number of ticks left out.

    Ticks stay on one grid: one that is late by more than a period costs those that it overlapped, and no burst follows.
    With ``listen(now)``, which says whether a new state has come, a tick may come up to half a period before or after
    its place on the grid to answer a state at once, and the grid is moved to where states come: to 1.25 times ``rate``
    at most. States that come more often than that are older when they are answered. Without a new state a tick is late
    by half a period; the next may follow as soon as a state is there, but leaves as long a pause as that tick took.

    Lateness counts from the next place on the grid after the last tick began, so that a tick that took too long makes
    the next one late. To wait for a state is no lateness: the age of the state tells of that.

    Raises
    ------
    UserError
        On a rate outside of 50..500 Hz.
    """
    check_rate(rate)
    period = 1.0 / rate
    due, left_out = clock.now(), 0
    nominal = due
    opens = -math.inf  # s: no tick that meets a state before
    while True:
        state_came = False
        if listen is None:
            clock.sleep_until(due)
        else:
            state_came = _await_state(listen, max(due - REACH * period, min(opens, due)), due + REACH * period, clock)
        now = clock.now()
        waited = state_came and now <= nominal + REACH * period
        gone = max(int((now - due) / period), 0)  # slept through: told as lateness now, and not once more
        left_out += gone
        due += gone * period
        if state_came and not gone:
            due += (now - due) * (FOLLOW if now < due else 1.0)
        if not tick(now, 0.0 if waited else max(now - nominal, 0.0)):
            return left_out
        due += period
        nominal = due
        ended = clock.now()
        opens = -math.inf if state_came else 2 * ended - now
        behind = ended - due
        if behind >= 0.0:
            overlapped = int(behind / period) + 1
            due += overlapped * period
            left_out += overlapped


def _await_state(listen: Callable[[float], bool], earliest: float, latest: float, clock: Clock) -> bool:
    """Whether a state came between these times in s, and not only the latest of them."""
    clock.sleep_until(earliest)
    while True:
        now = clock.now()
        if listen(now):
            return True
        if now >= latest:
            return False
        clock.sleep_until(min(now + LOOK, latest))


@contextlib.contextmanager
def undisturbed(cpu: int | None = None, priority: int | None = None) -> Iterator[None]:
    """Without garbage collection, with quick thread switches; pinned to ``cpu`` and at real-time ``priority`` if given.

    What the system refuses (a right that is missing, another operating system) becomes a warning: the flight goes on
    without it, and the recorded lateness tells. All is put back at the end.
    """
    switch_interval, collecting = sys.getswitchinterval(), gc.isenabled()
    with contextlib.ExitStack() as undo:
        if cpu is not None:
            _pin(cpu, undo)
        if priority is not None:
            _prioritise(priority, undo)
        sys.setswitchinterval(SWITCH_INTERVAL)
        undo.callback(sys.setswitchinterval, switch_interval)
        gc.collect()
        gc.freeze()
        gc.disable()
        undo.callback(gc.unfreeze)
        if collecting:
            undo.callback(gc.enable)
        yield


def collect_garbage() -> None:
    """What has become garbage since the freeze, a fraction of a millisecond: for times without a flight."""
    gc.collect(1)


def _pin(cpu: int, undo: contextlib.ExitStack) -> None:
    try:
        before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {cpu})
    except (AttributeError, OSError, ValueError) as error:
        _warn(f"not pinned to CPU {cpu}: {error}")
        return
    undo.callback(os.sched_setaffinity, 0, before)


def _prioritise(priority: int, undo: contextlib.ExitStack) -> None:
    """The loop's thread at ``priority``, all others one below.

    A thread that holds the interpreter and is kept from its CPU by another program would keep the loop waiting.
    """
    others = [t.native_id for t in threading.enumerate() if t is not threading.current_thread()]
    try:
        for thread in (0, *(native for native in others if native is not None)):
            before = os.sched_getscheduler(thread), os.sched_getparam(thread)
            wanted = priority if thread == 0 else max(priority - 1, 1)
            os.sched_setscheduler(thread, os.SCHED_FIFO, os.sched_param(wanted))
            undo.callback(_restore, thread, *before)
    except (AttributeError, OSError, ValueError) as error:
        _warn(f"no real-time priority {priority}: {error}; it needs root or CAP_SYS_NICE")


def _restore(thread: int, policy: int, parameter: os.sched_param) -> None:
    with contextlib.suppress(ProcessLookupError):  # it has ended
        os.sched_setscheduler(thread, policy, parameter)


def _warn(text: str) -> None:
    warnings.warn(text, NeuralLanderWarning, stacklevel=4)
