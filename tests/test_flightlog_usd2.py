"""Crazyflie µSD logs of the present version: units, events of several rates, damage."""

import math
from pathlib import Path

import numpy as np
import pytest
import usd2_file
import usd_file
from numpy.testing import assert_allclose

from neural_lander.errors import UserError
from neural_lander.flightlog import FlightLog, read_log

ROWS = usd2_file.flight()


def read(tmp_path: Path, data: bytes) -> FlightLog:
    (tmp_path / "log00").write_bytes(data)
    return read_log(tmp_path / "log00")


@pytest.mark.parametrize("version", [1, 2])
def test_a_flight_comes_out_in_si(tmp_path: Path, version: int) -> None:
    log = read(tmp_path, usd2_file.file(ROWS, version=version))
    t = log.t
    assert len(t) == len([row for row in ROWS if row[1] == "fixedFrequency"])
    assert_allclose(log.position[:, 2], 0.5 - 0.4 * np.cos(t), atol=1e-6)
    assert_allclose(log.velocity[:, 2], 0.4 * np.sin(t), atol=1e-6)
    assert_allclose(log.specific_force[:, 2], 9.81 + 0.4 * np.cos(t), atol=1e-5)  # the firmware's az is without gravity
    assert_allclose(log.attitude[:, 1], np.sin(0.1 * np.sin(3 * t)), atol=1e-6)
    assert_allclose(log.body_rates[:, 0], 0.6 * np.cos(3 * t), atol=1e-5)
    assert_allclose(log.rotor_command[0], np.array([30000, 31000, 32000, 33000]) / 65536)
    assert_allclose(log.battery_voltage, 4.1 - 0.01 * t, atol=2e-3)
    assert log.metadata["source_rates_Hz"]["battery_voltage"] == pytest.approx(10)
    assert log.warnings == ()


def test_compressed_fields_and_euler_angles_are_read_as_well(tmp_path: Path) -> None:
    z = "stateEstimateZ."
    fields = {z + n: "h" for n in ("x", "y", "z", "vx", "vy", "vz", "ax", "ay", "az")} | {z + "quat": "I"}
    quat = usd_file.compress(0.5, 0.5, -0.5, 0.5)
    rows = [(k / 100, "fixedFrequency", [10, 20, 408, 1, 2, 3, 0, 0, 9810, quat]) for k in range(5)]
    log = read(tmp_path, usd2_file.file(rows, {"fixedFrequency": fields}))
    assert_allclose(log.position[0], [0.01, 0.02, 0.408])
    assert_allclose(log.specific_force[0], [0, 0, 9.81])
    assert_allclose(log.attitude[0], [0.5, 0.5, -0.5, 0.5], atol=2e-3)
    fields = {f"stateEstimate.{n}": "f" for n in ("x", "y", "z", "vx", "vy", "vz", "roll", "pitch", "yaw")}
    fields |= {f"acc.{a}": "f" for a in "xyz"}
    rows = [(k / 100, "fixedFrequency", [0, 0, 1, 0, 0, 0, 0.0, 10.0, 0.0, 0.0, 0.0, 1.0]) for k in range(5)]
    log = read(tmp_path, usd2_file.file(rows, {"fixedFrequency": fields}))
    half = math.radians(10) / 2
    assert_allclose(log.attitude[0], [math.cos(half), 0, -math.sin(half), 0], atol=1e-6)  # nose up in the firmware
    assert_allclose(log.specific_force[0], 9.81 * np.array([-math.sin(2 * half), 0, math.cos(2 * half)]), atol=1e-5)


def test_a_missing_pose_names_what_to_log(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"lacks position; add stateEstimate\.x, y and z to the µSD deck's configuration"
    ):
        read(tmp_path, usd2_file.file([(0.0, "battery", [4.0])] * 3))


@pytest.mark.filterwarnings("ignore::neural_lander.errors.NeuralLanderWarning")
def test_damage_costs_only_the_events_that_it_hits_and_is_said(tmp_path: Path) -> None:
    data = usd2_file.file(ROWS)
    whole = read(tmp_path, data)
    size = 10 + 16 * 4 + 4 * 2
    cut = read(tmp_path, data[: -4 - size // 2])
    assert "checksum" in cut.warnings[0]
    assert "cut short: the last 41 bytes" in cut.warnings[1]
    assert len(cut.t) == len(whole.t) - 1
    np.testing.assert_array_equal(cut.position, whole.position[:-1])
    at = len(data) // 2
    holed = read(tmp_path, data[:at] + data[at + 100 :])
    assert "bytes are no events" in holed.warnings[1]
    assert len(whole.t) - 5 <= len(holed.t) < len(whole.t)
    assert set(holed.position[:, 2]) <= set(whole.position[:, 2])
    with pytest.raises(UserError, match="table of event types"):
        read(tmp_path, data[:40])
