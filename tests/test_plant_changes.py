"""Changed plants: what each key does to the world that flies, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from neural_lander.errors import UserError
from neural_lander.vehicle import load_vehicle
from sim.aerodynamics import BatterySag, InWind
from sim.airframe import Airframe
from sim.comparison.compare import Comparison
from sim.motors import FirstOrderMotors
from sim.plant import Copy, Plant
from sim.plant_change import CHANGES, STANDARD_ROBUSTNESS, PlantChange, parse_changes
from sim.sensors import SensorNoise

VEHICLE = load_vehicle("intel-aero")
PLANT = Plant(VEHICLE).with_airframe(2)


def changed(text: str) -> Plant:
    return PlantChange.parse(text).of(Copy(PLANT, None)).plant


def test_mass_thrust_and_lag_are_those_of_the_vehicle_that_flies_and_not_of_the_one_believed() -> None:
    plant = changed("mass=1.1,thrust=0.85,lag=0.05")
    assert plant.vehicle is VEHICLE
    assert plant.true_vehicle.mass == pytest.approx(1.1 * VEHICLE.mass)
    assert plant.true_vehicle.thrust_coefficient == pytest.approx(0.85 * VEHICLE.thrust_coefficient)
    assert plant.true_vehicle.motor_time_constant == 0.05
    assert PLANT.true_vehicle is VEHICLE


def test_the_centre_of_mass_moves_forward_by_the_share_of_the_arm_and_tips_the_vehicle() -> None:
    plant = changed("com=0.05")
    arm = np.hypot(0.127, 0.127)
    assert_allclose(plant.airframe.centre_of_mass - PLANT.airframe.centre_of_mass, [0.05 * arm, 0, 0])
    hover = np.full(4, VEHICLE.weight / 4)
    moment = hover @ (plant.airframe.wrench_map(VEHICLE) - PLANT.airframe.wrench_map(VEHICLE))[:, 3:]
    # r x F with r = -0.05 arm x, F along each rotor's own axis, nearly z: nose down, about +y
    assert_allclose(moment[1], 0.05 * arm * VEHICLE.weight, rtol=1e-3)


def test_wind_blows_on_every_effect_there_is() -> None:
    plant = changed("wind=2")
    (effect,) = plant.effects
    assert isinstance(effect, InWind) and effect.effects == PLANT.effects and effect.wind.mean == (2.0, 0.0, 0.0)


def test_delay_and_dropouts_are_those_of_the_state() -> None:
    plant = changed("delay=0.03,dropout=0.1,drift=0.01")
    assert plant.noise.delay == 7 and plant.noise.dropout == 0.1 and plant.noise.drift == 0.01
    assert plant.noise.position == PLANT.noise.position


def test_mismatched_motors_differ_in_thrust_and_in_lag() -> None:
    airframe = Airframe.nominal().mismatched(0.1)
    thrust = airframe.wrench_map(VEHICLE)[:, 2]
    assert_allclose(thrust.mean(), 1.0) and thrust[0] == pytest.approx(1.1)
    lags = airframe.motor_time_constants(VEHICLE)
    motors, command = FirstOrderMotors(lags, VEHICLE.u_max), np.full(4, 500.0)
    u = motors.step(command, 0.01)
    assert_allclose(u, 500.0**2 * (1 - np.exp(-0.01 / lags)))
    assert np.ptp(lags) > 0.005
    assert isinstance(Airframe.nominal().motor_time_constants(VEHICLE), float)


def test_a_sagging_battery_joins_the_effects() -> None:
    effect = changed("charge=0.4").effects[-1]
    assert isinstance(effect, BatterySag) and effect.charge == 0.4


def test_the_name_says_what_differs() -> None:
    assert PlantChange().name == "nominal"
    assert PlantChange.parse("thrust=0.85,mass=1.1").name == "mass +10 %, thrust -15 %"
    assert PlantChange.parse("lag=0.05,dropout=0.1").name == "motor lag 50 ms, dropouts 10 %"
    assert len({change.name for change in STANDARD_ROBUSTNESS}) == len(STANDARD_ROBUSTNESS) == 8


@pytest.mark.parametrize("key", CHANGES)
def test_two_values_have_two_names(key: str) -> None:
    value = 0.5 * (CHANGES[key].low + CHANGES[key].high)
    assert len({change.name for change in parse_changes([f"{key}={value}", f"{key}={value + 1e-6}"])}) == 2


def test_a_delay_says_what_it_comes_to_in_steps() -> None:
    assert PlantChange.parse("delay=0.03").name == "delay 30 ms (7 steps, 29.2 ms)"
    assert PlantChange.parse("delay=0.005").name == "delay 5 ms (1 step, 4.2 ms)"


def test_a_delay_below_that_of_the_plant_is_refused() -> None:
    with pytest.raises(UserError, match=r"delay = 0.001 must be a number in 0\.00416667\.\.0\.2 \(s, the whole age of"):
        PlantChange.parse("delay=0.001")
    slow = replace(PLANT, noise=SensorNoise(delay=4))
    with pytest.raises(UserError, match=r"delay = 0.01 s is less than the 0\.0167 s of the plant"):
        PlantChange.parse("delay=0.01").of_plant(slow)
    assert PlantChange.parse("delay=0.0167").of_plant(slow).noise.delay == 4


@pytest.mark.parametrize("texts", [["mass=1.1", "wind=2", "mass=1.10"], ["mass=1.1,wind=2", "wind=2,mass=1.1"]])
def test_a_plant_that_is_given_twice_is_refused_before_anything_flies(texts: list[str]) -> None:
    with pytest.raises(UserError, match=f"plant '{texts[-1]}' is given twice .*leave one out"):
        parse_changes(texts)
    changes = [PlantChange.parse(text) for text in texts]
    with pytest.raises(UserError, match="is given twice"):
        Comparison([Copy(PLANT, None)], changes=changes)


@pytest.mark.parametrize("key", CHANGES)
def test_every_change_builds_a_world_that_flies(key: str) -> None:
    pytest.importorskip("pybullet", reason="the PyBullet world needs pybullet")
    change = CHANGES[key]
    plant = PlantChange({key: 0.5 * (change.low + change.high)}).of_plant(PLANT)
    with plant.build() as world:
        world.reset(np.array([0.0, 0.0, 1.0]), seed=3)
        for _ in range(3):
            world.step(np.full(4, VEHICLE.hover_speed))
        assert np.all(np.isfinite(world.state.position))


@pytest.mark.parametrize(
    "text, message",
    [
        ("moon=1", "plant: 'moon' is not known; use any of: mass, thrust, com"),
        ("mass=3", r"plant: mass = 3.0 must be a number in 0.5\.\.2 \(factor\)"),
        ("wind=nan", r"plant: wind = nan must be a number in 0.1\.\.15 \(m/s, with gusts\)"),
        ("lag=slow", "plant 'lag=slow': 'slow' is not a number; it must be written like mass=1.1,wind=2"),
        ("lag", "plant 'lag': '' is not a number"),
        ("mass=1.1,mass=1.2", "plant 'mass=1.1,mass=1.2': mass is given twice"),
    ],
)
def test_what_is_no_change_is_refused_with_the_remedy(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        PlantChange.parse(text)


@pytest.mark.parametrize("name", ["mass_scale", "thrust_scale"])
@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), 1000.0])
def test_a_plant_without_mass_or_thrust_is_refused(name: str, value: float) -> None:
    with pytest.raises(UserError, match=rf"{name} = .* must lie in \(0, 10\]"):
        Plant(load_vehicle("intel-aero"), **{name: value})
