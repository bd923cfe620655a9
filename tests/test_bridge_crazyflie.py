"""The Crazyflie link, and ``fly`` on it, on a real firmware in software, where NEURAL_LANDER_CRAZYFLIE names one.

What is meant is a build that sends its radio packets as datagrams (CrazySim's ``cf2``); cflib has to be installed. Its
clock has to keep up with the wall's: one whose kernel does not make up for lost ticks falls behind, and is refused.
"""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import real_firmware as real

from firmware_bridge.flown_hover import from_flight
from neural_lander.flightlog import read_log
from neural_lander.vehicle import load_vehicle

BINARY, marks = real.named_by("NEURAL_LANDER_CRAZYFLIE", "Crazyflie firmware")
pytestmark = [
    *marks,
    pytest.mark.skipif(
        bool(BINARY) and importlib.util.find_spec("cflib") is None, reason="needs cflib: the extra 'crazyflie'"
    ),
]


def crazyflie(folder: Path, what: str, good: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    return real.flown("tests.crazyflie_flight", BINARY, folder, what, good=good)


@pytest.fixture(scope="module")
def by_link(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("link")
    return crazyflie(folder, "link", lambda result: result["connected"] and result["silence"]["flew"])


@pytest.fixture(scope="module")
def landing(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("landing")
    return crazyflie(folder, "fly", lambda result: real.landed(result) and "mode_at_end" in result)


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


def test_fly_lands_it_from_one_metre_and_it_is_disarmed(landing: dict[str, Any]) -> None:
    real.assert_lands_from_one_metre(landing, 0.0)
    real.assert_checks_pass(landing)


def test_a_landing_does_not_lock_it(landing: dict[str, Any]) -> None:
    assert not landing["armed_at_end"] and landing["motors_at_end"] == 0
    assert landing["mode_at_end"] in ("disarmed", "can fly")


def test_the_log_holds_the_flight(landing: dict[str, Any]) -> None:
    log = read_log(landing["folder"] / "flight.mcap")
    real.assert_holds_the_flight(log, log.height)


def test_a_user_who_ends_the_program_in_the_air_leaves_it_landing(tmp_path: Path) -> None:
    def handed_back(result: dict[str, Any]) -> bool:
        return bool(result["flown"]) and result["flown"]["outcome"].startswith("handed back")

    result = crazyflie(tmp_path, "interrupted", lambda result: handed_back(result) and "mode_at_end" in result)
    assert handed_back(result), result
    assert result["highest_m"] > 0.7
    assert 0.05 < result["touchdown_speed_m_per_s"] < 0.7  # from 1 m it falls at more than 4 m/s
    assert result["motors_at_end"] == 0 and "locked" not in result["mode_at_end"]


def test_nothing_takes_off_again_after_the_firmware_has_restarted(tmp_path: Path) -> None:
    def flew_and_runs_again(result: dict[str, Any]) -> bool:
        return result["flew_m"] > 0.7 and result["steps_after"] > 1000

    result = crazyflie(tmp_path, "restart", flew_and_runs_again)
    assert flew_and_runs_again(result), result
    assert result["motors_after"] == 0 and result["height_after_m"] < 0.05
    assert any(transition["phase"] == "disconnected" for transition in result["flown"]["transitions"])
    assert not result["flown"]["landed"]


def test_the_log_of_a_hover_by_a_rough_map_makes_the_right_one(tmp_path: Path) -> None:
    result = crazyflie(tmp_path, "roughly", real.landed)
    log = read_log(result["folder"] / "flight.mcap")
    vehicle, true_map = load_vehicle("crazyflie-21"), result["true_map"]
    found = from_flight(log, vehicle, 20.0)
    assert found.map.fraction(vehicle.weight) == pytest.approx(true_map["hover_fraction"], rel=0.02)
