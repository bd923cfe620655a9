"""The MSP link on a real Betaflight in software, where NEURAL_LANDER_BETAFLIGHT names one (a SITL build)."""

from typing import Any

import pytest
import real_firmware as real

BINARY, pytestmark = real.named_by("NEURAL_LANDER_BETAFLIGHT", "Betaflight")


@pytest.fixture(scope="module")
def flight(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("flight")
    return real.flown("tests.betaflight_flight", BINARY, folder, good=lambda result: result.get("armed_in_flight"))


def test_it_is_recognised_and_its_settings_are_read(flight: dict[str, Any]) -> None:
    checks = flight["checks"]
    assert checks["firmware"][0] and checks["firmware"][1].startswith("Betaflight 4")
    assert all(checks[name][0] for name in ("sticks", "throttle curve", "channel order", "angle mode", "override"))
    assert "MSP is the only receiver" in checks["override"][1]


def test_refusals_are_named(flight: dict[str, Any]) -> None:
    assert "RXLOSS" in flight["refusals"]  # before the first frame


def test_the_accelerometers_scale_is_learnt_at_rest(flight: dict[str, Any]) -> None:
    assert flight["specific_force_m_s2"] == pytest.approx([0, 0, 9.81], abs=0.1)


def test_attitude_setpoints_are_flown(flight: dict[str, Any]) -> None:
    assert flight["armed_in_flight"]
    for tilt in flight["tilts"]:
        assert tilt["flown_deg"] == pytest.approx(tilt["wanted_deg"], abs=3.0), tilt


def test_the_last_frame_is_level_and_the_firmware_disarms_by_itself(flight: dict[str, Any]) -> None:
    stop = flight["stop"]
    real.assert_lets_the_sticks_go(stop)
    # 0.3 s of our patience and 1.4 to 1.5 s of the firmware's
    assert 1.5 < stop["disarmed_after_s"] < 2.3
