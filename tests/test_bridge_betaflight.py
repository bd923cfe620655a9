"""The MSP link on a real Betaflight in software, where NEURAL_LANDER_BETAFLIGHT names one (a SITL build)."""

import json
import os
from typing import Any

import pytest
from own_network import printed_by

BINARY = os.environ.get("NEURAL_LANDER_BETAFLIGHT")
ATTEMPTS = 3  # on a busy machine the firmware may miss frames and go to its failsafe

pytestmark = [
    pytest.mark.slow,
    pytest.mark.realtime,
    pytest.mark.skipif(not BINARY, reason="NEURAL_LANDER_BETAFLIGHT names no Betaflight in software"),
]


@pytest.fixture(scope="module")
def flight() -> dict[str, Any]:
    result: dict[str, Any] = {}
    for _ in range(ATTEMPTS):
        result = json.loads(printed_by("tests.betaflight_flight", str(BINARY)))
        if result.get("armed_in_flight"):
            break
    return result


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
    assert stop["said"] and "sticks let go" in stop["said"][0]
    roll, pitch, yaw, throttle = stop["last_frame_us"]
    assert (roll, pitch, yaw) == (1500, 1500, 1500) and throttle > 1400
    # 0.3 s of our patience and 1.4 to 1.5 s of the firmware's
    assert 1.5 < stop["disarmed_after_s"] < 2.3
