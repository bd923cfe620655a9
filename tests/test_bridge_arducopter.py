"""``fly`` on a real ArduCopter in software, where NEURAL_LANDER_ARDUCOPTER names one (a SITL build for copters)."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from own_network import printed_by

from neural_lander.bundle import load_bundle
from neural_lander.cli.main import main
from neural_lander.flightlog import read_log

BINARY = os.environ.get("NEURAL_LANDER_ARDUCOPTER")
ATTEMPTS = 3  # on a busy machine either side may be late

pytestmark = [
    pytest.mark.slow,
    pytest.mark.realtime,
    pytest.mark.skipif(not BINARY, reason="NEURAL_LANDER_ARDUCOPTER names no ArduCopter in software"),
]


def flown(pilot: str, folder: Path, *more: str) -> dict[str, Any]:
    """What a flight came to; ``pilot`` is "arms" or "gives" control in the air."""
    result: dict[str, Any] = {}
    for _ in range(ATTEMPTS):
        (folder / "flight.mcap").unlink(missing_ok=True)
        printed = printed_by("tests.arducopter_flight", str(BINARY), pilot, str(folder), *more)
        result = json.loads(printed.splitlines()[-1])
        if result["flown"] and result["flown"]["outcome"] == "landed and disarmed":
            break
    return result


@pytest.fixture(scope="module", params=["arms", "gives"])
def flight(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    """The companion takes off once the pilot has armed; or the pilot does and gives control at 1 m."""
    folder = tmp_path_factory.mktemp(request.param)
    return flown(request.param, folder), folder


def test_every_check_passes(flight: tuple[dict[str, Any], Path]) -> None:
    checks = {check["name"]: check for check in flight[0]["flown"]["checks"]}
    assert all(check["passed"] for check in checks.values()), checks
    assert {"TIMESYNC", "GUID_OPTIONS", "GUID_TIMEOUT", "MOT_THST_HOVER", "LOCAL_POSITION_NED", "height"} <= set(checks)


def test_it_lands_from_one_metre_and_is_disarmed(flight: tuple[dict[str, Any], Path]) -> None:
    result = flight[0]
    assert result["flown"]["outcome"] == "landed and disarmed", result
    assert not result["armed_at_end"]
    assert result["highest_m"] - result["ground_m"] == pytest.approx(1.0, abs=0.3)
    assert 0.1 < result["touchdown_speed_m_per_s"] < 0.5  # the reference descends at 0.3 m/s
    phases = [transition["phase"] for transition in result["flown"]["transitions"]]
    assert "tracking" in phases and "holding" not in phases  # late ticks of a busy machine may fade it


def test_the_log_holds_the_flight(flight: tuple[dict[str, Any], Path]) -> None:
    log = read_log(flight[1] / "flight.mcap")
    assert log.height is not None and log.height.max() == pytest.approx(1.0, abs=0.3)
    still = (log.height > 0.8) & (np.abs(log.velocity[:, 2]) < 0.05)
    assert log.specific_force is not None
    np.testing.assert_allclose(log.specific_force[still][:, 2].mean(), 9.8, atol=0.2)


def test_body_rates_are_flown_too(tmp_path: Path) -> None:
    result = flown("gives", tmp_path, "--body-rates")
    assert result["flown"]["outcome"] == "landed and disarmed", result
    assert 0.1 < result["touchdown_speed_m_per_s"] < 0.5


def test_its_logs_train_a_bundle_that_flies_it(tmp_path: Path) -> None:
    """Its simulation has no ground effect: what is learned is small, and does no harm."""
    logs = []
    for k in range(3):
        folder = tmp_path / f"flight{k}"
        folder.mkdir()
        assert flown("arms", folder, "--hover", "4")["flown"]["landed"]
        logs.append(str(folder / "flight.mcap"))
    profile, bundle = tmp_path / "flight0" / "profile.toml", tmp_path / "bundle"
    arguments = ["--vehicle", str(profile), "--out", str(bundle), "--epochs", "2", "--held-out", "0.34"]
    assert main(["train", *logs, *arguments]) == 0
    assert load_bundle(bundle).vehicle.name == "arducopter-sitl"
    again = tmp_path / "again"
    again.mkdir()
    result = flown("arms", again, "--bundle", str(bundle))
    assert result["flown"]["outcome"] == "landed and disarmed", result
    assert 0.1 < result["touchdown_speed_m_per_s"] < 0.5
