"""The MSP link on a real INAV in software, where NEURAL_LANDER_INAV names one (a SITL build)."""

from typing import Any

import pytest
import real_firmware as real

BINARY, pytestmark = real.named_by("NEURAL_LANDER_INAV", "INAV")


@pytest.fixture(scope="module")
def flight(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("flight")
    return real.flown("tests.inav_flight", BINARY, folder, good=lambda result: result.get("armed_in_flight"))


def test_it_is_recognised_and_its_settings_are_read(flight: dict[str, Any]) -> None:
    checks = flight["checks"]
    assert not flight["settings"]  # none was refused
    assert checks["firmware"][0] and checks["firmware"][1].startswith("INAV ")
    assert "MSP API 2." in checks["firmware"][1]
    assert all(passed for passed, _ in checks.values()), checks
    assert "MSP is the only receiver" in checks["override"][1]


def test_refusals_are_named(flight: dict[str, Any]) -> None:
    assert flight["before_frames"] == ["FAILSAFE", "RC_LINK"]  # before the first frame
    assert not any(refusal.startswith("FLAG_") for refusal in flight["refusals"])


def test_telemetry_comes_in_our_units(flight: dict[str, Any]) -> None:
    assert flight["specific_force_m_s2"] == pytest.approx([0, 0, 9.81], abs=0.1)
    for name, rate in (("ImuReport", 100), ("AttitudeReport", 100), ("StatusReport", 10)):
        assert flight["rates_Hz"][name] == pytest.approx(rate, rel=0.2)


def test_attitude_setpoints_are_flown(flight: dict[str, Any]) -> None:
    assert flight["armed_in_flight"]
    for tilt in flight["tilts"]:
        assert tilt["flown_deg"] == pytest.approx(tilt["wanted_deg"], abs=2.0), tilt
        assert tilt["told_deg"] == pytest.approx(tilt["flown_deg"], abs=1.0), tilt


def test_it_turns_where_it_is_told_to(flight: dict[str, Any]) -> None:
    turns = flight["turns"]
    assert turns["turned_deg"] == pytest.approx(40, abs=4)
    assert turns["rate_deg_s"] > 10 and turns["told_rate_deg_s"] == pytest.approx(turns["rate_deg_s"], abs=15)


def test_the_last_frame_is_level_and_the_firmware_disarms_by_itself(flight: dict[str, Any]) -> None:
    stop = flight["stop"]
    real.assert_lets_the_sticks_go(stop)
    assert 1.0 < stop["disarmed_after_s"] < 1.6  # 0.3 s of our patience and 0.9 s of the firmware's
    assert stop["mode"] == "FAILSAFE" and {"FAILSAFE_SYSTEM", "RC_LINK"} <= set(stop["refusals"])


def test_it_does_not_arm_again(flight: dict[str, Any]) -> None:
    stop = flight["stop"]
    assert stop["mode_later"] == "ANGLE" and not stop["refusals_later"]  # nothing is in the way but us
    assert not stop["armed_again"] and not any(stop["motors"])
