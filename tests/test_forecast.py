"""Old states moved on to the present: exact where all is known, alike for one vehicle and a batch."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from neural_lander.state import State
from neural_lander.vehicle import G_VECTOR, load_vehicle
from sim.batch.flight import Task, fly_batch
from sim.forecast import FARTHEST, Forecast, forecast_of
from sim.plant import Copy, Plant
from sim.plant_change import PlantChange
from sim.sensors import SensorNoise

VEHICLE = load_vehicle("intel-aero")
DT = 1 / 240
MOMENT = np.array([0.02, -0.03, 0.004])  # N m, that nobody commands


def state(**changes) -> State:
    level = np.array([1.0, 0.0, 0.0, 0.0])
    still = State(np.array([0.0, 0.0, 1.0]), np.zeros(3), level, np.zeros(3), np.float64(0.8), False)
    return replace(still, specific_force=-G_VECTOR, **changes)


def told(forecast: Forecast, steps: int, moment: np.ndarray = MOMENT) -> None:
    for _ in range(steps):
        forecast.commanded(np.full(4, VEHICLE.hover_speed), moment)


def test_a_known_moment_spins_and_turns_as_it_does_by_the_closed_form() -> None:
    """omega = tau t / J about small angles; theta = tau t^2 / 2 J to the step."""
    forecast = Forecast(VEHICLE, DT)
    told(forecast, 20)
    seen = forecast(state(age=10 * DT))
    a = 10 * DT
    assert_allclose(seen.body_rates, MOMENT / VEHICLE.inertia * a, rtol=1e-9)
    assert_allclose(2 * seen.attitude[1:], MOMENT / VEHICLE.inertia * a * (a + DT) / 2, rtol=2e-3)
    assert_allclose(np.linalg.norm(seen.attitude), 1.0, rtol=1e-12)


def test_motors_follow_their_command_with_their_lag() -> None:
    """A step in one rotor's command has shown by 1 - exp(-t/tau) in the moment, integrated over the steps."""
    forecast = Forecast(VEHICLE, DT)
    told(forecast, 5, np.zeros(3))
    command = np.full(4, VEHICLE.hover_speed) * [1.1, 1.0, 1.0, 1.0]
    for _ in range(8):
        forecast.commanded(command, np.zeros(3))
    excess = np.array([0.21 * VEHICLE.hover_speed**2, 0, 0, 0])
    shown = sum(1 - np.exp(-DT * k / VEHICLE.motor_time_constant) for k in range(1, 9)) * DT
    expected = (VEHICLE.B0 @ excess)[1:] / VEHICLE.inertia * shown
    assert_allclose(forecast(state(age=8 * DT)).body_rates, expected, rtol=1e-9)


def test_free_fall_is_a_parabola() -> None:
    forecast = Forecast(VEHICLE, DT)
    told(forecast, 20, np.zeros(3))
    falling = replace(state(age=12 * DT), specific_force=np.zeros(3), velocity=np.array([0.5, 0.0, -0.2]))
    seen = forecast(falling)
    t = 12 * DT
    assert_allclose(seen.velocity, [0.5, 0.0, -0.2 - 9.81 * t], atol=2e-3)
    assert_allclose(seen.position, [0.5 * t, 0.0, 1.0 - 0.2 * t - 9.81 * t * t / 2], atol=1e-4)
    assert_allclose(seen.height, 0.8 - 0.2 * t - 9.81 * t * t / 2, atol=1e-4)


def test_on_the_ground_the_attitude_is_left_as_it_was_measured() -> None:
    forecast = Forecast(VEHICLE, DT)
    told(forecast, 20)
    seen = forecast(state(age=10 * DT, contact=True))
    assert_allclose(seen.body_rates, 0.0)
    assert_allclose(seen.attitude, [1, 0, 0, 0])


def test_a_state_of_now_is_left_alone_and_a_very_old_one_is_moved_on_a_quarter_of_a_second() -> None:
    forecast = Forecast(VEHICLE, DT)
    young = state()
    assert forecast(young) is young
    told(forecast, 200)
    assert forecast(state(age=5.0)).body_rates[0] == pytest.approx(MOMENT[0] / VEHICLE.inertia[0] * FARTHEST * DT)


def test_each_of_a_batch_is_moved_on_by_its_own_age_as_it_is_alone() -> None:
    rng = np.random.default_rng(3)
    n, ages = 7, np.array([0, 1, 2, 5, 9, 13, 40])
    speeds = VEHICLE.hover_speed * (1 + 0.1 * rng.standard_normal((30, n, 4)))
    moments = 0.02 * rng.standard_normal((n, 3))
    pose = [rng.standard_normal((n, 3)) for _ in range(3)]
    attitude = rng.standard_normal((n, 4))
    attitude /= np.linalg.norm(attitude, axis=-1, keepdims=True)
    contact = np.array([False, True, False, False, True, False, False])
    felt = rng.standard_normal((n, 3)) - G_VECTOR

    def one(k: int) -> State:
        forecast = Forecast(VEHICLE, DT)
        for step in speeds:
            forecast.commanded(step[k], moments[k])
        height = np.float64(pose[0][k, 2])
        s = State(*(p[k] for p in pose[:2]), attitude[k], pose[2][k], height, bool(contact[k]))
        return forecast(replace(s, specific_force=felt[k], age=float(ages[k] * DT)))

    forecast = Forecast(VEHICLE, DT)
    for step in torch.tensor(speeds):
        forecast.commanded(step, torch.tensor(moments))
    p, v, w = (torch.tensor(x) for x in pose)
    s = State(p, v, torch.tensor(attitude), w, p[:, 2], torch.tensor(contact))
    together = forecast(replace(s, specific_force=torch.tensor(felt), age=torch.tensor(ages * DT)))
    for k in range(n):
        alone = one(k)
        for name in ("position", "velocity", "attitude", "body_rates", "height"):
            assert_allclose(getattr(together, name)[k], getattr(alone, name), atol=1e-12, err_msg=f"{name} of {k}")


def test_only_where_states_come_late_and_only_if_it_is_wanted() -> None:
    assert forecast_of(SensorNoise(), VEHICLE, DT) is None
    assert forecast_of(SensorNoise(delay=7), VEHICLE, DT) is not None
    assert forecast_of(SensorNoise(dropout=0.1), VEHICLE, DT) is not None
    assert forecast_of(SensorNoise(delay=7, forecast=False), VEHICLE, DT) is None


@pytest.mark.slow
def test_a_delay_that_topples_the_vehicle_is_flown_as_if_it_were_none() -> None:
    """30 ms, and motors slower by 20 ms than the forecast believes them to be."""
    plant = PlantChange.parse("delay=0.03,lag=0.05").of_plant(Plant(VEHICLE))
    without = replace(plant, noise=replace(plant.noise, forecast=False))
    landed = []
    for flown in (plant, without):
        task = Task(Copy(flown, None), "oracle-trim", range(3), np.zeros(3))
        landed.append(sum(row["success"] for row in fly_batch([task], "land-1d")[0]))
    assert landed == [3, 0]
