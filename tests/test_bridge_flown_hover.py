"""A thrust calibration from a flight's own log: a Crazyflie behind a stand-in for cflib, flown by a wrong map."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_crazyflie import FakeCrazyflie, FakeLogConfig
from fake_link import SimulatedClock
from scipy.spatial.transform import Rotation

import neural_lander.cli.fly_run as fly_module
from firmware_bridge.crazyflie.link import FULL_PWM, CrazyflieLink
from firmware_bridge.flown_hover import from_flight
from firmware_bridge.link import Report
from firmware_bridge.session import Wishes
from firmware_bridge.thrust import ThrustMap, thrust_map_from_json
from neural_lander.cli.main import main
from neural_lander.errors import UserError
from neural_lander.flightlog import FlightLog, read_log
from neural_lander.vehicle import G_VECTOR, GRAVITY, load_vehicle

VEHICLE = load_vehicle("crazyflie-21")
TRUE = ThrustMap(0.66, VEHICLE.weight, 3.8, motor_curve=0.5)
ROUGH = replace(TRUE, hover_fraction=0.6, hover_voltage=None)
STEP, FULL_BATTERY, DRAIN = 0.0025, 4.1, 0.008  # s, V, V/s
PERIODS = {"position": 0.01, "attitude": 0.01, "inertial": 0.01, "range": 0.02, "status": 0.1, "battery": 0.1}  # s


class FlownCrazyflie(FakeCrazyflie):
    """A point mass with perfect attitude tracking, on a battery that goes down."""

    def __init__(self) -> None:
        super().__init__(lacks=("rpm",))
        self.p, self.v, self.f = np.array([0.0, 0.0, VEHICLE.gear_clearance]), np.zeros(3), -G_VECTOR
        self.due = dict.fromkeys(PERIODS, 0.0)
        self.at = 0.0

    @property
    def attitude(self) -> Rotation:
        return Rotation.from_euler("ZYX", [0.0, self.flown[1], self.flown[0]], degrees=True)

    @property
    def volts(self) -> float:
        return FULL_BATTERY - DRAIN * self.at

    def go_on(self, now: float) -> None:
        """To ``now`` in s since it was switched on, and tell what is due."""
        while self.at < now - 1e-9:
            self.at += STEP
            if self.at - self.time >= 0.02:
                self.elapse(0.02)
            lift = TRUE.thrust(self.thrust / FULL_PWM, self.volts) if self.thrust else 0.0
            self.f = self.attitude.apply([0.0, 0.0, lift / VEHICLE.mass])
            self.v = self.v + (self.f + G_VECTOR) * STEP
            self.p = self.p + self.v * STEP
            if self.p[2] <= VEHICLE.gear_clearance:
                self.p[2], self.v, self.f = VEHICLE.gear_clearance, np.zeros(3), -G_VECTOR
        w, x, y, z = self.attitude.as_quat(scalar_first=True)
        values: dict[str, Sequence[float]] = {
            "position": (*self.p, *self.v),
            "attitude": (w, x, y, z, 0.0, 0.0, 0.0),
            "inertial": (*(self.attitude.inv().apply(self.f) / GRAVITY), 0.0, 0.0, 0.0),
            "range": (round(1000 * self.p[2] / self.attitude.as_matrix()[2, 2]),),
            "status": (self.info,),
            "battery": (self.volts, 80),
        }
        for name, period in PERIODS.items():
            if now >= self.due[name] - 1e-9:
                self.due[name] = now + period
                self.tell(name, round(1000 * now), *values[name])


class FlownLink(CrazyflieLink):
    """The vehicle moves on where the link is asked."""

    def poll(self, now: float) -> Sequence[Report]:
        if self._crazyflie.blocks:
            self._crazyflie.go_on(now - 100.0)  # as the simulated clock begins
        return super().poll(now)


def open_fake(address: str, vehicle: Any, *, rate: float, thrust_map: ThrustMap) -> FlownLink:
    link = FlownLink(FlownCrazyflie(), FakeLogConfig, address, vehicle, thrust_map=thrust_map)
    link._crazyflie.connected.call(address)
    link._crazyflie.link_statistics.latency_updated.call(4.0)
    return link


@pytest.fixture(scope="module")
def flown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Log of a hover of 20 s at 1.5 m by a rough map, as the refusal of ``calibrate --link crazyflie:`` says."""
    folder = tmp_path_factory.mktemp("flown")
    (folder / "rough.json").write_text(ROUGH.to_json())
    line = ["fly", "--link", "crazyflie:fake", "--vehicle", "crazyflie-21", "--arm", "--rate", "100", "--height", "1.5"]
    line += ["--hover", "20", "--thrust-map", str(folder / "rough.json"), "--log", str(folder / "log.mcap"), "--json"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fly_module, "open_link", open_fake)
        patch.setattr(fly_module, "MonotonicClock", SimulatedClock)
        patch.setattr(Wishes, "type", lambda self, text, asked: setattr(self, "arm", True))
        assert main(line) == 0
    return folder / "log.mcap"


@pytest.mark.slow
def test_a_flight_by_a_rough_map_gives_the_right_one(
    flown: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / "thrust.json"
    line = ["calibrate", "--flight", str(flown), "--vehicle", "crazyflie-21", "--out", str(out), "--json"]
    assert main(line) == 0
    result, found = json.loads(capsys.readouterr().out), thrust_map_from_json(out.read_text(), "it")
    for share in (0.8, 1.0, 1.2):
        for volts in (3.7, 4.0):
            thrust = share * VEHICLE.weight
            assert found.fraction(thrust, volts) == pytest.approx(TRUE.fraction(thrust, volts), rel=0.01)
    assert ROUGH.fraction(VEHICLE.weight, 3.7) < 0.9 * TRUE.fraction(VEHICLE.weight, 3.7)
    assert 19 < result["hover_s"] < 24 and result["spread_of_quarters"] < 0.01
    assert 1.2 < result["mean_height_m"] < 1.6 and result["height_from"] == "rangefinder"
    assert result["fraction_told_by_autopilot"] is None


def changed(log: FlightLog, **metadata: Any) -> FlightLog:
    return replace(log, metadata={key: x for key, x in ({**log.metadata} | metadata).items() if x is not None})


@pytest.mark.slow
def test_a_flight_that_tells_no_hover_is_refused_by_name(flown: Path) -> None:
    log = read_log(flown)
    low = np.minimum(log.height if log.height is not None else 0.0, 0.9)
    for given, words in (
        (changed(log, thrust_map=None), "was not flown with --thrust-map"),
        (changed(log, vehicle_sha256="0"), "was flown with another profile than 'crazyflie-21'"),
        (replace(log, rotor_command=None), "does not hold the thrust that was sent"),
        (replace(log, specific_force=None), "holds no specific_force"),
        (replace(log, height=None), "holds no height"),
        (replace(log, height=low), "its longest hover above 1 m is 0.0 s, 12 s are asked for"),
        (replace(log, velocity=log.velocity + [0.4, 0.0, 0.0]), "above 1 m is 0.0 s"),
    ):
        with pytest.raises(UserError) as refused:
            from_flight(given, VEHICLE, 12.0)
        assert words in str(refused.value)
    with pytest.raises(UserError, match=r"its longest hover above 1 m is 2\d\.\d s, 60 s are asked for"):
        from_flight(log, VEHICLE, 60.0)


def test_thrust_is_what_is_felt_along_the_bodys_axis(flown: Path) -> None:
    """A hover that leans by 20 degrees: its thrust is m f, however it is turned."""
    log = read_log(flown)
    lean = Rotation.from_euler("zy", [1.0, 0.35])
    force = 1.01 * GRAVITY
    felt = np.tile(lean.apply([0.0, 0.0, force]), (len(log.t), 1))
    leaning = replace(log, attitude=np.tile(lean.as_quat(scalar_first=True), (len(log.t), 1)), specific_force=felt)
    assert from_flight(leaning, VEHICLE, 12.0).map.hover_thrust == pytest.approx(VEHICLE.mass * force)


@pytest.mark.parametrize("given", [[], ["--link", "msp:loop://", "--flight", "log.mcap"]])
def test_calibrate_wants_a_link_or_a_flight(given: list[str], tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["calibrate", "--vehicle", "crazyflie-21", "--out", str(tmp_path / "out.json"), *given]) == 2
    assert "give either --link" in capsys.readouterr().err
