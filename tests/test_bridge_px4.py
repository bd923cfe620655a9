"""``fly`` on a real PX4 in software, where NEURAL_LANDER_PX4 names one.

What is meant is ``bin/px4`` in the folder of a SITL build with its own simulation (SIH), which has ``etc`` beside.
"""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from own_network import printed_by

from neural_lander.flightlog import read_log

BINARY = os.environ.get("NEURAL_LANDER_PX4")
ATTEMPTS = 3  # on a busy machine either side may be late

pytestmark = [
    pytest.mark.slow,
    pytest.mark.realtime,
    pytest.mark.skipif(not BINARY, reason="NEURAL_LANDER_PX4 names no PX4 in software"),
]


def flown(pilot: str, folder: Path, *more: str) -> dict[str, Any]:
    """What a flight came to; ``pilot`` is "arms" or "gives" control in the air."""
    result: dict[str, Any] = {}
    for attempt in range(ATTEMPTS):
        own = folder / str(attempt)
        own.mkdir()
        result = json.loads(printed_by("tests.px4_flight", str(BINARY), pilot, str(own), *more).splitlines()[-1])
        result["folder"] = own
        if result["flown"] and result["flown"]["outcome"] == "landed and disarmed":
            break
    return result


@pytest.fixture(scope="module", params=["arms", "gives"])
def flight(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The companion takes off once the pilot has armed; or the pilot does and gives control at 1 m."""
    return flown(request.param, tmp_path_factory.mktemp(request.param))


def test_every_check_passes(flight: dict[str, Any]) -> None:
    assert not flight["settings_left"]  # what it was not set to
    checks = {check["name"]: check for check in flight["flown"]["checks"]}
    assert all(check["passed"] for check in checks.values()), checks
    assert {"TIMESYNC", "COM_OF_LOSS_T", "COM_OBL_RC_ACT", "MPC_THR_HOVER", "LOCAL_POSITION_NED", "height"} <= set(
        checks
    )


def test_it_lands_from_one_metre_and_is_disarmed(flight: dict[str, Any]) -> None:
    assert flight["flown"]["outcome"] == "landed and disarmed", flight
    assert not flight["armed_at_end"]
    assert flight["highest_m"] - flight["ground_m"] == pytest.approx(1.0, abs=0.3)
    assert 0.1 < flight["touchdown_speed_m_per_s"] < 0.5  # the reference descends at 0.3 m/s
    phases = [transition["phase"] for transition in flight["flown"]["transitions"]]
    assert "tracking" in phases and "holding" not in phases  # late ticks of a busy machine may fade it


def test_the_log_holds_the_flight(flight: dict[str, Any]) -> None:
    log = read_log(flight["folder"] / "flight.mcap")
    height = log.position[:, 2] - log.position[-1, 2]  # its rangefinder is not valid on the ground
    assert height.max() == pytest.approx(1.0, abs=0.3)
    still = (height > 0.8) & (np.abs(log.velocity[:, 2]) < 0.05)
    assert log.specific_force is not None
    np.testing.assert_allclose(log.specific_force[still][:, 2].mean(), 9.8, atol=0.2)


def test_body_rates_are_flown_too(tmp_path: Path) -> None:
    result = flown("gives", tmp_path, "--body-rates")
    assert result["flown"]["outcome"] == "landed and disarmed", result
    assert 0.1 < result["touchdown_speed_m_per_s"] < 0.5
