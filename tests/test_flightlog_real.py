"""Real Crazyflie flights, where they lie beside the project: units, signs and sanity."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from neural_lander.flightlog import FlightLog, read_logs
from neural_lander.flightlog.summary import summary
from neural_lander.vehicle import load_vehicle

DATA = Path(__file__).parents[2] / "shared/data/crazyflie_near_ground"
FOLDERS = sorted(DATA.glob("*/*"))
pytestmark = pytest.mark.skipif(not FOLDERS, reason="needs the real flights in ../shared/data/crazyflie_near_ground")
VEHICLES = {"large_67g": "crazyflie-parrot", "small_32g": "crazyflie-21"}


@pytest.fixture(scope="module")
def flights() -> dict[Path, list[FlightLog]]:
    return {folder: read_logs([folder]) for folder in FOLDERS}  # a warning but of missing records would be an error


def every(flights: dict[Path, list[FlightLog]]) -> list[FlightLog]:
    return [log for logs in flights.values() for log in logs]


def test_all_flights_are_read_whole(flights: dict[Path, list[FlightLog]]) -> None:
    counts = {f"{folder.parent.name}/{folder.name}": len(logs) for folder, logs in flights.items()}
    assert counts == {
        "large_67g/random_walk": 16, "large_67g/takeoff_landing": 1,
        "small_32g/random_walk": 13, "small_32g/takeoff_landing": 1,
    }  # fmt: skip
    for folder, logs in flights.items():
        for log in logs:
            assert log.duration == pytest.approx(63.3 if folder.name == "random_walk" else 18.0, abs=0.7)
            assert np.median(np.diff(log.t)) == pytest.approx(0.00988, abs=5e-5)
            periods = np.diff(log.t) / np.median(np.diff(log.t))
            assert np.abs(periods - np.round(periods)).max() < 0.15  # the logger skipped whole records, at 28 of 31
            missing = int(np.round(periods).sum()) - len(periods)
            assert [int(text.split(": ")[-1].split()[0]) for text in log.warnings] == ([missing] if missing else [])


def test_heights_voltages_and_commands_are_in_range(flights: dict[Path, list[FlightLog]]) -> None:
    for log in every(flights):
        assert 0.045 < log.position[:, 2].min() < log.position[:, 2].max() < 0.6
        assert 2.9 < log.battery_voltage.min() < log.battery_voltage.max() < 4.0
        assert 0 <= log.rotor_command.min() < log.rotor_command.max() <= 1
        assert np.abs(log.position_reference - log.position).max() < 0.3


def test_specific_force_is_gravity_in_the_mean(flights: dict[Path, list[FlightLog]]) -> None:
    for log in every(flights):
        flying = log.position[:, 2] > 0.1
        assert np.linalg.norm(log.specific_force[flying], axis=1).mean() == pytest.approx(9.81, rel=0.025)
        assert np.abs(log.specific_force[flying, :2].mean(axis=0)).max() < 0.5


def test_attitudes_are_unit_and_tilt_the_way_the_vehicle_accelerates(flights: dict[Path, list[FlightLog]]) -> None:
    for folder, logs in flights.items():
        for log in logs:
            np.testing.assert_allclose(np.linalg.norm(log.attitude, axis=1), 1, atol=1e-12)
            if folder.name == "random_walk":
                thrust_axis = Rotation.from_quat(np.roll(log.attitude, -1, axis=1)).apply([0, 0, 1])
                for axis in (0, 1):
                    assert np.corrcoef(thrust_axis[:, axis], log.specific_force[:, axis])[0, 1] > 0.5


def test_velocity_is_the_derivative_of_position(flights: dict[Path, list[FlightLog]]) -> None:
    for log in every(flights):
        slope = np.polyfit(log.velocity[:, 2], np.gradient(log.position[:, 2], log.t), 1)[0]
        assert slope == pytest.approx(1, abs=0.05)


def test_body_rates_are_the_derivative_of_attitude(flights: dict[Path, list[FlightLog]]) -> None:
    step = 10
    for log in every(flights):
        r = Rotation.from_quat(np.roll(log.attitude, -1, axis=1))
        turned = (r[:-step].inv() * r[step:]).as_rotvec() / (log.t[step:] - log.t[:-step])[:, None]
        total = np.cumsum(log.body_rates, axis=0)
        mean = (total[step:] - total[:-step]) / step
        for axis in (0, 1, 2):
            assert np.polyfit(mean[:, axis], turned[:, axis], 1)[0] == pytest.approx(1, abs=0.25)


@pytest.mark.slow
def test_the_thrust_curve_carries_the_weight(flights: dict[Path, list[FlightLog]]) -> None:
    for folder, logs in flights.items():
        vehicle = load_vehicle(VEHICLES[folder.parent.name])
        for log in logs:
            assert summary(log, vehicle)["thrust_to_weight"] == pytest.approx(1, abs=0.12)


def test_a_folder_of_one_vehicle_is_read_by_one_path(flights: dict[Path, list[FlightLog]], tmp_path: Path) -> None:
    walk = next(folder for folder in flights if folder.name == "takeoff_landing")
    shutil.copytree(walk, tmp_path / "x")
    assert len(read_logs([tmp_path / "x"])) == 1
