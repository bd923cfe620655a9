"""Single flights of a comparison as time series, for plots over time and for the replay in three dimensions.

They are flown in the PyBullet world whichever the campaign's: pictures of its first seeds, not part of its numbers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from neural_lander.errors import FOREIGN, UserError
from neural_lander.flightlog.log import FlightLog
from neural_lander.vehicle import Vehicle
from sim.comparison.campaign import Campaign, flight_seed
from sim.comparison.pool import Pool
from sim.controllers import build_controller, controller_named
from sim.flight import LOG_EVERY, Truth
from sim.landing import fly_once, identify_moment_trim
from sim.plant import Copy, Plant
from sim.scenarios import scenario_named
from sim.terrain import Terrain

SERIES_EVERY = 8  # steps: 30 Hz is enough for a picture
POSE_EVERY = 12  # steps: 20 Hz; what draws it interpolates
GROUND = 1.4  # m, half of what is drawn of a ground without end
FLIGHTS = 2  # per controller, of which the first has its pose kept


@dataclass(frozen=True)
class _Task:
    campaign: Campaign
    copy: Copy
    controller: str
    index: int


def fly_replays(campaign: Campaign, pool: Pool) -> dict[str, list[dict[str, Any]]]:
    """Controller -> series of its first flights; a flight that fails is left out."""
    scenario = scenario_named(campaign.scenario)
    alone = replace(campaign, copies=())
    tasks = [
        _Task(alone, replace(copy, plant=scenario.over(copy.plant)), name, index)
        for name in campaign.controllers
        for index in range(min(FLIGHTS, campaign.flights))
        for copy in [campaign.copies[index % len(campaign.copies)]]
    ]
    found: dict[str, dict[int, dict[str, Any]]] = {name: {} for name in campaign.controllers}
    for name, index, series in pool.run(_fly, tasks):
        if series is not None:
            found[name][index] = series
    return {name: [flights[index] for index in sorted(flights)] for name, flights in found.items()}


def _fly(task: _Task) -> tuple[str, int, dict[str, Any] | None]:
    c, seed = task.campaign, flight_seed(task.campaign.seed, task.index)
    scenario = scenario_named(c.scenario).drawn(seed)
    plant = scenario.over(task.copy.plant)
    controller = build_controller(controller_named(task.controller), plant, task.copy.learned, c.omega_n)
    try:
        with plant.build() as world:
            log, truth, _, _ = fly_once(
                world, plant, controller, scenario, seed, identify_moment_trim(plant, world),
                resting_share=c.resting_share,
            )  # fmt: skip
    except FOREIGN as error:
        if not isinstance(error, UserError | ArithmeticError) and ":" not in task.controller:
            raise
        return task.controller, task.index, None
    series = {"seed": seed, **_series(truth, plant)}
    if task.index == 0:
        series["pose"] = _pose(truth, log, plant)
    return task.controller, task.index, series


def _series(truth: Truth, plant: Plant) -> dict[str, list[float]]:
    pick = slice(None, None, SERIES_EVERY)
    height, reference = truth.height[pick], truth.reference[pick]
    under = [plant.terrain.at(t).height(x, y) for t, (x, y, _) in zip(truth.t[pick].tolist(), reference, strict=True)]
    return {
        "t": truth.t[pick].round(4).tolist(),
        "height_m": height.round(5).tolist(),
        "height_ref_m": (reference[:, 2] - plant.vehicle.gear_clearance - np.array(under)).round(5).tolist(),
        "f_a_z_N": truth.f_a[pick, 2].round(4).tolist(),
        "f_a_hat_z_N": truth.f_a_hat[pick, 2].round(4).tolist(),
        "d_hat_z_N": truth.d_hat[pick, 2].round(4).tolist(),
    }


def _pose(truth: Truth, log: FlightLog, plant: Plant) -> dict[str, Any]:
    """What is needed to draw the flight, attitude and thrust as they were logged, and the ground under it."""
    pick, logged = slice(None, None, POSE_EVERY), slice(None, None, POSE_EVERY // LOG_EVERY)
    assert log.rotor_speed is not None
    half = ground_half(plant.terrain)
    corners = [(-half, -half), (half, -half), (half, half), (-half, half)]
    inside = 1 - 1e-6  # of the edge
    ground = [
        [round(float(plant.terrain.at(t).height(inside * x, inside * y)), 4) for x, y in corners]
        for t in truth.t[pick].tolist()
    ]
    return {
        "t": truth.t[pick].round(3).tolist(),
        "position_m": truth.position[pick].round(4).tolist(),
        "reference_m": truth.reference[pick].round(4).tolist(),
        "attitude_wxyz": log.attitude[logged].round(4).tolist(),
        "height_m": truth.height[pick].round(4).tolist(),
        "thrust_N": (plant.vehicle.thrust_coefficient * (log.rotor_speed[logged] ** 2).sum(axis=-1)).round(2).tolist(),
        "f_a_N": truth.f_a[pick].round(3).tolist(),
        "ground_z_m": ground[:1] if all(z == ground[0] for z in ground) else ground,
    }


def ground_half(terrain: Terrain) -> float:
    """Half the side in m of the square around the origin that is drawn of a terrain."""
    return float(getattr(terrain, "size", 2 * GROUND)) / 2


def geometry(vehicle: Vehicle) -> dict[str, Any]:
    """The vehicle's shape in the body frame, to be drawn."""
    return {
        "rotors_m": vehicle.rotor_positions.round(4).tolist(),
        "radius_m": vehicle.rotor_radius,
        "gear_m": vehicle.gear_points.round(4).tolist(),
        "clearance_m": vehicle.gear_clearance,
        "weight_N": vehicle.weight,
    }
