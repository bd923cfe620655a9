"""Our end of :mod:`firmware_bridge.msp.guardian_process`, which outlives us by one frame."""

from __future__ import annotations

import contextlib
import math
import os
import subprocess
import sys
from pathlib import Path

from firmware_bridge.link import CheckResult
from firmware_bridge.msp import guardian_process
from firmware_bridge.msp.guardian_process import HEAD
from neural_lander.errors import UserError

PERIOD = 0.05  # s between frames for it: an eighth of its patience
END_TIME = 1.0  # s for it to end


class Guardian:
    """Holds the last frame ready in a process of its own.

    Parameters
    ----------
    port : int
        File descriptor of the line.

    Raises
    ------
    UserError
        Where no process can be started.
    """

    def __init__(self, port: int) -> None:
        theirs, self._pipe = os.pipe()
        os.set_blocking(self._pipe, False)
        command = [sys.executable, "-I", "-S", str(Path(guardian_process.__file__)), str(port), str(theirs)]
        try:
            self._process = subprocess.Popen(
                command, pass_fds=(port, theirs), stdin=subprocess.DEVNULL, start_new_session=True
            )
        except OSError as error:
            os.close(self._pipe)
            raise UserError(
                f"no second process can be started to let the sticks go ({error}); free some memory"
            ) from error
        finally:
            os.close(theirs)
        self._told = -math.inf  # s
        self._lost = False

    def due(self, now: float) -> bool:
        """Whether it is time, in s, to tell it a frame: one that is hours old would have the wrong switches."""
        return now - self._told >= PERIOD

    def guard(self, frame: bytes, now: float) -> None:
        """Let the sticks go by this frame if nothing follows."""
        self._told = now
        self._tell(HEAD.pack(len(frame)) + frame)

    def stand_down(self) -> None:
        """There is nothing to let go."""
        self._told = -math.inf
        self._tell(HEAD.pack(0))

    def _tell(self, words: bytes) -> None:
        try:
            os.write(self._pipe, words)
        except BlockingIOError:
            pass  # it is kept from its processor: it has enough to read
        except OSError:
            self._lost = True

    @property
    def alive(self) -> bool:
        """Whether it still watches."""
        return not self._lost and self._process.poll() is None

    def close(self) -> None:
        """It ends, and writes nothing."""
        if self._pipe < 0:
            return
        self.stand_down()
        os.close(self._pipe)
        self._pipe = -1
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(END_TIME)


def dead_man_check(guardian: Guardian | None) -> CheckResult:
    """Whether anything lets the sticks go where this process cannot."""
    if guardian is None:
        words = "in this process alone: if it is killed, Betaflight 4.5 holds what it was told last"
        return CheckResult("dead-man", True, words)
    if not guardian.alive:
        return CheckResult("dead-man", False, "the process that watches over this one has ended; start anew")
    return CheckResult("dead-man", True, "a second process lets the sticks go if this one is killed or hangs")
