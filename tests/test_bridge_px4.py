"""``fly`` on a real PX4 in software, where NEURAL_LANDER_PX4 names one.

What is meant is ``bin/px4`` in the folder of a SITL build with its own simulation (SIH), which has ``etc`` beside. Its
clock has to keep up with the wall's: a loop that sleeps a step at a time falls behind by some 2 %, and is refused.
"""

from pathlib import Path
from typing import Any

import pytest
import real_firmware as real

from neural_lander.flightlog import read_log

BINARY, pytestmark = real.named_by("NEURAL_LANDER_PX4", "PX4")


def px4(folder: Path, pilot: str, *more: str) -> dict[str, Any]:
    """What a flight came to; the pilot "arms", or "gives" control in the air."""
    return real.flown("tests.px4_flight", BINARY, folder, pilot, *more, good=real.landed)


@pytest.fixture(scope="module", params=["arms", "gives"])
def flight(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The companion takes off once the pilot has armed; or the pilot does and gives control at 1 m."""
    return px4(tmp_path_factory.mktemp(request.param), request.param)


def test_every_check_passes(flight: dict[str, Any]) -> None:
    assert not flight["settings_left"]  # what it was not set to
    names = ("TIMESYNC", "COM_OF_LOSS_T", "COM_OBL_RC_ACT", "MPC_THR_HOVER", "LOCAL_POSITION_NED", "height")
    real.assert_checks_pass(flight, *names)


def test_its_mode_is_known_to_a_fifth_of_a_second(flight: dict[str, Any]) -> None:
    """PX4 streams one HEARTBEAT a second; it is asked for more."""
    (finding,) = [check["finding"] for check in flight["flown"]["checks"] if check["name"] == "mode and arming"]
    assert float(finding.split(" s:")[0].split()[-1]) < 0.25, finding


def test_it_lands_from_one_metre_and_is_disarmed(flight: dict[str, Any]) -> None:
    real.assert_lands_from_one_metre(flight, flight["ground_m"])
    assert not flight["armed_at_end"]


def test_the_log_holds_the_flight(flight: dict[str, Any]) -> None:
    log = read_log(flight["folder"] / "flight.mcap")
    real.assert_holds_the_flight(log, log.position[:, 2] - log.position[-1, 2])  # its rangefinder has no ground


def test_body_rates_are_flown_too(tmp_path: Path) -> None:
    real.assert_lands_softly(px4(tmp_path, "gives", "--body-rates"))
