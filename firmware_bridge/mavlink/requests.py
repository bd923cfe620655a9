"""What is asked of a MAVLink autopilot and must be answered: commands and parameters.

Nothing here believes an answer beyond what it says: an accepted command is not a changed mode.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from pymavlink.dialects.v20 import ardupilotmega as dialect

ACK_TIMEOUT = 0.5  # s, a guess: many round trips
PROGRESS_TIMEOUT = 5.0  # s after IN_PROGRESS; a guess
PARAMETER_TIMEOUT = 0.5  # s, a guess
PARAMETER_TRIES = 6
PARAMETERS_AT_ONCE = 4  # of ArduPilot's queue of 20
RESULTS: Mapping[int, str] = {
    value: entry.name.removeprefix("MAV_RESULT_").lower().replace("_", " ")
    for value, entry in dialect.enums["MAV_RESULT"].items()
}


@dataclass
class Command:
    """One COMMAND_LONG on its way."""

    number: int
    """MAV_CMD."""
    parameters: tuple[float, ...]
    purpose: str
    """In words, for the user."""
    tries: int
    """How often it may still be sent."""
    answered: Callable[[int | None], None] | None = None
    """Called with the result, or None where no answer came."""
    answer_time: float = ACK_TIMEOUT
    """s without an answer until it is sent again or given up."""
    sent: int = 0
    """How often it was sent."""
    due: float = field(default=float("-inf"))  # s
    """When it is sent again or given up."""


@dataclass(frozen=True)
class Answer:
    """How a command ended."""

    command: Command
    result: int | None
    """MAV_RESULT, or None where no answer came."""

    @property
    def accepted(self) -> bool:
        """Whether the autopilot took it."""
        return self.result == dialect.MAV_RESULT_ACCEPTED

    @property
    def text(self) -> str:
        """One line for the user."""
        if self.result is None:
            return f"{self.command.purpose}: the autopilot did not answer"
        return f"{self.command.purpose}: {RESULTS.get(self.result, f'result {self.result}')}"


class Commands:
    """Commands by their number; of each number one at a time, for an answer names the number alone."""

    def __init__(self) -> None:
        self._waiting: dict[int, deque[Command]] = {}

    def ask(self, command: Command) -> None:
        """Queue a command behind those of its number."""
        self._waiting.setdefault(command.number, deque()).append(command)

    def pending(self, number: int, parameters: tuple[float, ...]) -> bool:
        """Whether the very same command is on its way."""
        queue = self._waiting.get(number)
        return queue is not None and len(queue) > 0 and queue[0].parameters == parameters

    def drop(self, number: int) -> None:
        """Forget the commands of a number."""
        self._waiting.pop(number, None)

    def clear(self) -> None:
        """Forget all."""
        self._waiting.clear()

    def due(self, now: float) -> tuple[list[Command], list[Answer]]:
        """Commands to send now, and those that got no answer."""
        to_send, unanswered = [], []
        for queue in self._waiting.values():
            if queue and queue[0].due <= now and queue[0].tries == 0:
                unanswered.append(_finish(queue.popleft(), None))
            if queue and queue[0].due <= now:
                command = queue[0]
                command.tries -= 1
                command.sent += 1
                command.due = now + command.answer_time
                to_send.append(command)
        return to_send, unanswered

    def acknowledged(self, number: int, result: int, now: float) -> Answer | None:
        """The command that a COMMAND_ACK ends; None where it ends none of ours."""
        queue = self._waiting.get(number)
        if not queue or not queue[0].sent:
            return None
        if result == dialect.MAV_RESULT_IN_PROGRESS:
            queue[0].due = now + PROGRESS_TIMEOUT
            return None
        return _finish(queue.popleft(), result)


def _finish(command: Command, result: int | None) -> Answer:
    if command.answered is not None:
        command.answered(result)
    return Answer(command, result)


@dataclass
class _Wanted:
    tries: int = PARAMETER_TRIES
    due: float = float("-inf")  # s


class Parameters:
    """Parameters read by name. A value is None while it is not known, or where the autopilot has none such."""

    def __init__(self, names: Iterable[str], bitwise: bool) -> None:
        self.values: dict[str, float | None] = dict.fromkeys(names)
        self._bitwise = bitwise
        self._wanted = {name: _Wanted() for name in self.values}

    def due(self, now: float) -> list[str]:
        """Names to ask for now."""
        for name in [name for name, wanted in self._wanted.items() if wanted.due <= now and wanted.tries == 0]:
            del self._wanted[name]
        names = []
        for name in list(self._wanted)[:PARAMETERS_AT_ONCE]:
            wanted = self._wanted[name]
            if wanted.due <= now:
                wanted.tries -= 1
                wanted.due = now + PARAMETER_TIMEOUT
                names.append(name)
        return names

    def read(self, name: bytes, kind: int, value: bytes) -> None:
        """One PARAM_VALUE; also one that somebody else asked for, or changed."""
        text = name.split(b"\0")[0].decode("ascii", "replace")
        if text in self.values:
            self.values[text] = _value(kind, value, self._bitwise)
            self._wanted.pop(text, None)


_INTEGERS = {
    dialect.MAV_PARAM_TYPE_UINT8: "<B3x", dialect.MAV_PARAM_TYPE_INT8: "<b3x", dialect.MAV_PARAM_TYPE_UINT16: "<H2x",
    dialect.MAV_PARAM_TYPE_INT16: "<h2x", dialect.MAV_PARAM_TYPE_UINT32: "<I", dialect.MAV_PARAM_TYPE_INT32: "<i",
}  # fmt: skip


def _value(kind: int, value: bytes, bitwise: bool) -> float:
    """PX4 lays an integer's bits into the float's place, ArduPilot turns every number into a float."""
    return float(struct.unpack(_INTEGERS.get(kind, "<f") if bitwise else "<f", value)[0])
