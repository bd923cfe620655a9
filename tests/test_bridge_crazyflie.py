"""The Crazyflie link, and ``fly`` on it, on a real firmware in software, where NEURAL_LANDER_CRAZYFLIE names one.

What is meant is a build that sends its radio packets as datagrams (CrazySim's ``cf2``); cflib has to be installed.
"""

import importlib.util
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from own_network import printed_by

from neural_lander.flightlog import read_log

BINARY = os.environ.get("NEURAL_LANDER_CRAZYFLIE")
ATTEMPTS = 3  # on a busy machine the firmware, cflib or the loop may be late

pytestmark = [
    pytest.mark.slow,
    pytest.mark.realtime,
    pytest.mark.skipif(not BINARY, reason="NEURAL_LANDER_CRAZYFLIE names no Crazyflie firmware in software"),
    pytest.mark.skipif(
        bool(BINARY) and importlib.util.find_spec("cflib") is None, reason="needs cflib: the extra 'crazyflie'"
    ),
]


def happened(what: str, folder: Path, *more: str) -> dict[str, Any]:
    return json.loads(printed_by("tests.crazyflie_flight", str(BINARY), what, str(folder), *more).splitlines()[-1])


@pytest.fixture(scope="module")
def by_link(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for _ in range(ATTEMPTS):
        result = happened("link", tmp_path_factory.mktemp("link"))
        if result["connected"] and result["silence"]["flew"]:
            break
    return result


def flown(outcome: str, folder: Path, *more: str) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for _ in range(ATTEMPTS):
        (folder / "flight.mcap").unlink(missing_ok=True)
        result = happened("fly", folder, *more)
        if result["flown"] and result["flown"]["outcome"].startswith(outcome) and "mode_at_end" in result:
            break
    return result


@pytest.fixture(scope="module")
def landing(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    folder = tmp_path_factory.mktemp("landing")
    return flown("landed and disarmed", folder), folder


def test_it_tells_its_state_in_our_units_and_frames(by_link: dict[str, Any]) -> None:
    rest = by_link["rest"]
    assert all(passed for passed, _ in rest["checks"].values()), rest["checks"]
    assert rest["position_m"] == pytest.approx(rest["true_position_m"], abs=0.01)
    assert rest["specific_force_m_s2"] == pytest.approx([0, 0, 9.81], abs=0.05)
    assert rest["attitude"] == pytest.approx([1, 0, 0, 0], abs=0.01)
    for name, rate in (("PositionReport", 100), ("AttitudeReport", 100), ("ImuReport", 100), ("StatusReport", 10)):
        assert rest["rates_Hz"][name] == pytest.approx(rate, rel=0.1)
    assert rest["age_worst_s"] + rest["age_error_s"] < 0.05


def test_nothing_turns_before_control_is_taken_and_arming_was_asked_for(by_link: dict[str, Any]) -> None:
    rest, taken = by_link["rest"], by_link["taken"]
    assert not rest["armed"] and not rest["accepts_setpoints"]
    assert by_link["before_control_pwm"] == 0
    assert taken["accepts_setpoints"] and not taken["armed_before"] and taken["armed"]


def test_attitude_setpoints_are_flown(by_link: dict[str, Any]) -> None:
    assert by_link["taken"]["mode"] == "flying" and by_link["taken"]["height_m"] == pytest.approx(0.95, abs=0.15)
    for tilt in by_link["tilts"]:
        assert tilt["flown_deg"] == pytest.approx(tilt["wanted_deg"], abs=3.0), tilt
        assert tilt["told_deg"] == pytest.approx(tilt["flown_deg"], abs=1.0), tilt


def test_it_turns_where_it_is_told_to(by_link: dict[str, Any]) -> None:
    turns = by_link["turns"]
    expected = pytest.approx(40 * turns["loop_Hz"] / 1000, rel=0.3)
    assert turns["rate_deg_s"] == expected and turns["told_rate_deg_s"] == expected
    assert turns["heading_deg"] == pytest.approx(np.degrees(0.8), abs=5)
    assert turns["back_deg"] == pytest.approx(0, abs=5)


def test_silence_levels_it_then_stops_the_motors(by_link: dict[str, Any]) -> None:
    silence = by_link["silence"]
    assert silence["level_after_s"] == pytest.approx(0.6, abs=0.2)  # 0.5 s, and the turn
    assert silence["off_after_s"] == pytest.approx(2.0, abs=0.2)
    assert not silence["armed"]


def test_it_does_not_arm_again(by_link: dict[str, Any]) -> None:
    silence = by_link["silence"]
    assert "locked: restart it" in silence["refusals"]
    assert silence["asked_again_pwm"] == 0 and not silence["asked_again_armed"]


def test_fly_lands_it_from_one_metre_and_it_is_disarmed(landing: tuple[dict[str, Any], Path]) -> None:
    result = landing[0]
    assert result["flown"]["outcome"] == "landed and disarmed", result
    assert all(check["passed"] for check in result["flown"]["checks"])
    assert result["highest_m"] == pytest.approx(1.0, abs=0.3)
    assert 0.1 < result["touchdown_speed_m_per_s"] < 0.5  # the reference descends at 0.3 m/s
    phases = [transition["phase"] for transition in result["flown"]["transitions"]]
    assert "tracking" in phases and "holding" not in phases


def test_a_landing_does_not_lock_it(landing: tuple[dict[str, Any], Path]) -> None:
    result = landing[0]
    assert not result["armed_at_end"] and result["motors_at_end"] == 0
    assert result["mode_at_end"] in ("disarmed", "can fly")


def test_the_log_holds_the_flight(landing: tuple[dict[str, Any], Path]) -> None:
    log = read_log(landing[1] / "flight.mcap")
    assert log.height is not None and log.height.max() == pytest.approx(1.0, abs=0.3)
    still = (log.height > 0.8) & (np.abs(log.velocity[:, 2]) < 0.05)
    assert log.specific_force is not None
    np.testing.assert_allclose(log.specific_force[still][:, 2].mean(), 9.8, atol=0.2)


def test_a_user_who_ends_the_program_in_the_air_leaves_it_landing(tmp_path: Path) -> None:
    result = flown("handed back", tmp_path, "--duration", "11")
    assert result["flown"]["outcome"].startswith("handed back"), result
    assert result["highest_m"] > 0.7
    assert 0.05 < result["touchdown_speed_m_per_s"] < 0.7  # from 1 m it falls at more than 4 m/s
    assert result["motors_at_end"] == 0 and "locked" not in result["mode_at_end"]


def test_nothing_takes_off_again_after_the_firmware_has_restarted(tmp_path: Path) -> None:
    result: dict[str, Any] = {}
    for attempt in range(ATTEMPTS):
        own = tmp_path / str(attempt)
        own.mkdir()
        result = happened("restart", own)
        if result["flew_m"] > 0.7 and result["steps_after"] > 1000:
            break
    assert result["flew_m"] > 0.7 and result["steps_after"] > 1000  # it flew, and it runs again
    assert result["motors_after"] == 0 and result["height_after_m"] < 0.05
    assert any(transition["phase"] == "disconnected" for transition in result["flown"]["transitions"])
    assert not result["flown"]["landed"]
