"""What the tests on real firmware in software have in common: where it is, how often it flies, how it is judged."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from own_network import printed_by

from neural_lander.flightlog import FlightLog

ATTEMPTS = 3  # on a busy machine the firmware, the link or the loop may be late, and a failsafe ends the flight


def named_by(variable: str, what: str) -> tuple[str, list[pytest.MarkDecorator]]:
    """The program that an environment variable names, and the marks of the tests that need it."""
    binary = os.environ.get(variable, "")
    missing = pytest.mark.skipif(not binary, reason=f"{variable} names no {what} in software")
    return binary, [pytest.mark.slow, pytest.mark.realtime, missing]


def flown(
    module: str, binary: str, folder: Path, *words: str, good: Callable[[dict[str, Any]], bool]
) -> dict[str, Any]:
    """What the first good flight came to, or the last that was tried; ``folder`` holds its files."""
    result: dict[str, Any] = {}
    for attempt in range(ATTEMPTS):
        own = folder / str(attempt)
        own.mkdir(parents=True)
        result = json.loads(printed_by(module, binary, str(own), *words).splitlines()[-1]) | {"folder": own}
        if good(result):
            break
    return result


def landed(result: dict[str, Any]) -> bool:
    """Whether ``fly`` did what it was asked to."""
    return bool(result["flown"]) and result["flown"]["outcome"] == "landed and disarmed"


def assert_checks_pass(result: dict[str, Any], *names: str) -> None:
    checks = {check["name"]: check for check in result["flown"]["checks"]}
    assert all(check["passed"] for check in checks.values()), checks
    assert set(names) <= set(checks), checks


def assert_lands_softly(result: dict[str, Any]) -> None:
    assert result["flown"]["outcome"] == "landed and disarmed", result
    assert 0.1 < result["touchdown_speed_m_per_s"] < 0.5, result  # the reference descends at 0.3 m/s


def assert_lands_from_one_metre(result: dict[str, Any], ground: float) -> None:
    assert_lands_softly(result)
    assert result["highest_m"] - ground == pytest.approx(1.0, abs=0.3), result
    phases = [transition["phase"] for transition in result["flown"]["transitions"]]
    assert "tracking" in phases and "holding" not in phases, phases  # late ticks of a busy machine may fade it


def assert_holds_the_flight(log: FlightLog, height: np.ndarray | None) -> None:
    """A hover at 1 m; (N,) m of the gear above ground."""
    assert height is not None and height.max() == pytest.approx(1.0, abs=0.3), height
    still = (height > 0.8) & (np.abs(log.velocity[:, 2]) < 0.05)
    assert log.specific_force is not None
    np.testing.assert_allclose(log.specific_force[still][:, 2].mean(), 9.8, atol=0.2)


def assert_lets_the_sticks_go(stop: dict[str, Any]) -> None:
    """The last frame of an MSP link that is given nothing more is level, with thrust."""
    assert stop["said"] and "sticks let go" in stop["said"][0], stop
    roll, pitch, yaw, throttle = stop["last_frame_us"]
    assert (roll, pitch, yaw) == (1500, 1500, 1500) and throttle > 1400, stop
