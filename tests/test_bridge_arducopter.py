"""``fly`` on a real ArduCopter in software, where NEURAL_LANDER_ARDUCOPTER names one (a SITL build for copters)."""

from pathlib import Path
from typing import Any

import pytest
import real_firmware as real

from neural_lander.bundle import load_bundle
from neural_lander.cli.main import main
from neural_lander.flightlog import read_log

BINARY, pytestmark = real.named_by("NEURAL_LANDER_ARDUCOPTER", "ArduCopter")


def arducopter(folder: Path, pilot: str, *more: str) -> dict[str, Any]:
    """What a flight came to; the pilot "arms", or "gives" control in the air."""
    return real.flown("tests.arducopter_flight", BINARY, folder, pilot, *more, good=real.landed)


@pytest.fixture(scope="module", params=["arms", "gives"])
def flight(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The companion takes off once the pilot has armed; or the pilot does and gives control at 1 m."""
    return arducopter(tmp_path_factory.mktemp(request.param), request.param)


def test_every_check_passes(flight: dict[str, Any]) -> None:
    names = ("TIMESYNC", "GUID_OPTIONS", "GUID_TIMEOUT", "MOT_THST_HOVER", "LOCAL_POSITION_NED", "height")
    real.assert_checks_pass(flight, *names)


def test_it_lands_from_one_metre_and_is_disarmed(flight: dict[str, Any]) -> None:
    real.assert_lands_from_one_metre(flight, flight["ground_m"])
    assert not flight["armed_at_end"]


def test_the_log_holds_the_flight(flight: dict[str, Any]) -> None:
    log = read_log(flight["folder"] / "flight.mcap")
    real.assert_holds_the_flight(log, log.height)


def test_body_rates_are_flown_too(tmp_path: Path) -> None:
    real.assert_lands_softly(arducopter(tmp_path, "gives", "--body-rates"))


def test_its_logs_train_a_bundle_that_flies_it(tmp_path: Path) -> None:
    """Its simulation has no ground effect: what is learned is small, and does no harm."""
    flights = [arducopter(tmp_path / f"flight{k}", "arms", "--hover", "4") for k in range(3)]
    assert all(flight["flown"]["landed"] for flight in flights)
    logs = [str(flight["folder"] / "flight.mcap") for flight in flights]
    profile, bundle = flights[0]["folder"] / "profile.toml", tmp_path / "bundle"
    arguments = ["--vehicle", str(profile), "--out", str(bundle), "--epochs", "2", "--held-out", "0.34"]
    assert main(["train", *logs, *arguments]) == 0
    assert load_bundle(bundle).vehicle.name == "arducopter-sitl"
    real.assert_lands_softly(arducopter(tmp_path / "again", "arms", "--bundle", str(bundle)))
