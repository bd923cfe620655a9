"""Scores against the design's definitions, on flights made by hand."""

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from neural_lander.errors import UserError
from neural_lander.state import Reference
from neural_lander.trajectory import Hover, Landing, Riding
from neural_lander.vehicle import load_vehicle
from sim.flight import Truth
from sim.plant import Plant
from sim.scenarios import LOW_HOVER_HEIGHT, SCENARIOS, scenario_named
from sim.terrain import Platform

DT = 1 / 240
LANDING = Landing(np.array([0.0, 0.0, 1.11]), np.array([0.0, 0.0, 0.11]))
ARRIVAL = 10 / 3  # s
END = ARRIVAL + 5.0
score_landing = SCENARIOS["land-1d"].score


def flown(height: Any, end: float = END, landed_at: float = np.nan, **changes: Any) -> Truth:
    """A vertical flight from 3 s before the descent, with heights from a function of time in s."""
    t = -3.0 + DT * np.arange(round((end + 3.0) / DT))
    h = np.asarray(height(t), dtype=float) + 0 * t
    n, zero = len(t), np.zeros((len(t), 3))
    reference = np.array([LANDING(s).position for s in t])
    position = np.column_stack([reference[:, :2], h + 0.11])
    velocity = np.diff(position, axis=0, prepend=position[:1]) / DT
    fields: dict[str, Any] = {
        "t": t, "position": position, "velocity": velocity, "height": h, "tilt": np.zeros(n), "contact": h <= 0,
        "reference": reference, "f_a": zero, "f_a_hat": zero, "d_hat": zero, "landed_at": landed_at,
    }  # fmt: skip
    return Truth(**(fields | changes))


def perfect(t: np.ndarray) -> np.ndarray:
    return np.clip(1.0 - 0.3 * t, 0, 1)


def test_a_perfect_landing_has_no_errors_and_is_not_late() -> None:
    row = score_landing(flown(perfect, end=ARRIVAL + 0.2, landed_at=ARRIVAL), LANDING)
    assert row["final_error_m"] == row["drift_m"] == row["tipped_over"] == 0.0
    assert row["touchdown"] == 1.0
    assert row["lateness_s"] == pytest.approx(0.0, abs=1e-9)
    assert row["arrival_error_m"] == pytest.approx(0.0, abs=0.3 * DT)
    assert row["touchdown_speed_m_s"] == pytest.approx(0.3, rel=0.01)


def test_a_fall_before_the_descent_is_scored_and_is_no_success() -> None:
    """Gains or delays that the loop cannot stand end flights in the warm-up."""
    row = score_landing(flown(lambda t: np.maximum(-1.0 - 2 * (t + 2.0), 0.0), end=-1.0, landed_at=-1.5), LANDING)
    assert row["touchdown"] == 1.0 and row["success"] == 0.0
    assert row["lateness_s"] == pytest.approx(-1.5 - ARRIVAL)
    assert row["touchdown_speed_m_s"] == pytest.approx(2.0)


@pytest.mark.parametrize(("speed", "success"), [(0.9, 1.0), (1.1, 0.0)])
def test_a_crash_on_the_way_down_is_no_success(speed: float, success: float) -> None:
    falling = flown(lambda t: np.clip(1.0 - speed * t, 0.0, 1.0), end=1 / speed + 0.2, landed_at=1 / speed)
    row = score_landing(falling, LANDING)
    assert row["touchdown_speed_m_s"] == pytest.approx(speed, rel=0.01) and row["success"] == success


def test_who_tips_over_and_falls_is_scored_as_if_never_down() -> None:
    """It lies on the floor before its time: no error there is its merit."""
    falling = flown(lambda t: np.clip(1.0 - 3.0 * t, 0.0, 1.0), end=0.6, landed_at=1 / 3)
    row = score_landing(replace(falling, tilt=np.where(falling.t > 0.1, 1.5, 0.0)), LANDING)
    assert row["touchdown"] == row["success"] == 0.0 and row["tipped_over"] == 1.0
    errors = ("final_error_m", "hang_height_m", "arrival_error_m", "low_descent_error_m")
    assert [row[key] for key in errors] == [1.0] * 4
    assert row["lateness_s"] == 5.0 and row["touchdown_speed_m_s"] == pytest.approx(3.0, rel=0.01)


def test_who_is_lost_before_the_reference_arrives_has_not_arrived() -> None:
    row = score_landing(flown(lambda t: 1.0 + np.maximum(t, 0.0), end=1.5), LANDING)
    assert row["arrival_error_m"] == pytest.approx(2.5, abs=DT)
    assert row["touchdown"] == row["success"] == 0.0


def test_a_hang_is_the_mean_height_of_the_last_second() -> None:
    def hanging(t: np.ndarray) -> np.ndarray:
        return np.maximum(perfect(t), 0.045) + 0.01 * np.sin(2 * np.pi * 3 * t)

    row = score_landing(flown(hanging), LANDING)
    assert row["final_error_m"] == pytest.approx(0.045, abs=2e-4)
    assert row["arrival_error_m"] == pytest.approx(0.045, abs=0.011)
    assert row["touchdown"] == 0.0
    assert row["lateness_s"] == 5.0  # watched for, a lower bound
    assert np.isnan(row["touchdown_speed_m_s"])


def test_lateness_is_from_the_end_of_the_descent_to_the_start_of_the_contact_that_lasts() -> None:
    late = ARRIVAL + 1.7

    def floating(t: np.ndarray) -> np.ndarray:
        return np.where(t < late, np.maximum(perfect(t), 0.005), 0.0)

    row = score_landing(flown(floating, end=late + 0.2, landed_at=late), LANDING)
    assert row["lateness_s"] == pytest.approx(1.7, abs=DT)
    assert row["arrival_error_m"] == pytest.approx(0.005, abs=1e-9)
    assert row["final_error_m"] == 0.0


def test_arrival_error_has_a_sign_and_is_zero_if_it_was_down_before() -> None:
    early = ARRIVAL - 0.5
    row = score_landing(flown(lambda t: np.maximum(perfect(t) - 0.15, 0.0), end=early + 0.2, landed_at=early), LANDING)
    assert row["arrival_error_m"] == 0.0
    assert row["lateness_s"] == pytest.approx(-0.5, abs=DT)
    below = score_landing(flown(lambda t: np.maximum(perfect(t), -0.002) - 0.002 * (t > 3)), LANDING)
    assert below["arrival_error_m"] == pytest.approx(-0.002, abs=1e-9)


def test_who_swings_through_the_reference_as_it_stops_has_been_off_before() -> None:
    def swinging(t: np.ndarray) -> np.ndarray:
        return np.maximum(perfect(t) + 0.02 * np.sin(2 * np.pi * 3 * (t - ARRIVAL)), -0.001)

    row = score_landing(flown(swinging), LANDING)
    assert row["arrival_error_m"] == pytest.approx(0.0, abs=2e-3)
    assert row["low_descent_error_m"] == pytest.approx(0.02 * 2 / np.pi, rel=0.05)
    ended = flown(perfect, end=1.0, landed_at=0.9)  # before it came low
    assert np.isnan(score_landing(ended, LANDING)["low_descent_error_m"])


def test_the_error_on_the_way_down_is_of_the_gear_and_not_of_the_centre_of_mass() -> None:
    """Tilted, the gear is lower than the centre of mass says; on a deck both ride along."""
    heave = 0.05 * np.sin(np.arange(round((END + 3.0) / DT)))
    up = np.array([0.0, 0.0, 1.0])
    riding = Riding(LANDING, lambda t: Reference(0.05 * np.sin(round((t + 3.0) / DT)) * up, 0 * up, 0 * up))
    for trajectory, ground in ((LANDING, 0.0), (riding, heave)):
        flight = flown(perfect)
        reference = flight.reference + np.outer(ground + 0 * flight.t, up)
        tilted = replace(flight, reference=reference, position=reference, height=flight.height - 0.015)
        assert score_landing(tilted, trajectory)["low_descent_error_m"] == pytest.approx(0.015)


def test_being_low_for_a_moment_is_no_landing() -> None:
    """A bump: contact for one step, then a hang. Height zero is not touchdown."""

    def bump(t: np.ndarray) -> np.ndarray:
        return np.where(np.abs(t - 4.0) < DT, 0.0, np.maximum(perfect(t), 0.03))

    row = score_landing(flown(bump), LANDING)
    assert row["touchdown"] == 0.0
    assert row["final_error_m"] == pytest.approx(0.03)
    assert row["lateness_s"] == 5.0


def test_drift_is_taken_at_touchdown_or_over_the_last_second() -> None:
    touching = flown(perfect, end=ARRIVAL + 0.2, landed_at=ARRIVAL)
    away = touching.position.copy()
    away[:, 0] += np.where(touching.t < 3.0, 0.5, 0.03)
    away[:, 1] += 0.04
    changed = flown(perfect, end=ARRIVAL + 0.2, landed_at=ARRIVAL, position=away)
    assert score_landing(changed, LANDING)["drift_m"] == pytest.approx(0.05)
    hanging = flown(lambda t: np.maximum(perfect(t), 0.05))
    away = hanging.position.copy()
    away[:, 0] += np.where(hanging.t > END - 0.5, 0.02, 0.04)
    changed = flown(lambda t: np.maximum(perfect(t), 0.05), position=away)
    assert score_landing(changed, LANDING)["drift_m"] == pytest.approx(0.03, abs=2e-4)


def test_what_happened_before_the_descent_does_not_count() -> None:
    start = flown(perfect, end=ARRIVAL + 0.2, landed_at=ARRIVAL)
    contact, tilt = start.contact.copy(), start.tilt.copy()
    contact[:100], tilt[:100] = True, 2.0
    row = score_landing(flown(perfect, end=ARRIVAL + 0.2, landed_at=ARRIVAL, contact=contact, tilt=tilt), LANDING)
    assert row["tipped_over"] == 0.0
    assert row["touchdown_speed_m_s"] == pytest.approx(0.3, rel=0.01)


def test_tipping_over_is_counted() -> None:
    flight = flown(perfect)
    tilt = np.where(flight.t > 4, np.deg2rad(61), 0.0)
    assert score_landing(flown(perfect, tilt=tilt), LANDING)["tipped_over"] == 1.0


def test_low_hover_is_the_mean_error_over_the_last_five_of_ten_seconds() -> None:
    scenario = SCENARIOS["hover-low"]
    flight = flown(lambda t: LOW_HOVER_HEIGHT + np.where(t < 5.0, 0.5, 0.01 * np.sign(np.sin(20 * t))), end=10.0)
    row = scenario.score(flight, Hover(np.array([0.0, 0.0, 0.16])))
    assert row["low_hover_error_m"] == pytest.approx(0.01, rel=0.02)
    assert scenario.duration == 10.0 and not scenario.lands


def test_landings_start_a_metre_above_the_pad_and_are_watched_for_five_seconds_after_arrival() -> None:
    pad = np.array([0.0, 0.0, 0.11])
    for name in ("land-1d", "land-3d"):
        scenario = scenario_named(name)
        trajectory = scenario.trajectory(pad)
        assert isinstance(trajectory, Landing)
        assert trajectory.start[2] - pad[2] == pytest.approx(1.0)
        assert scenario.duration == pytest.approx(trajectory.arrival + 5.0)
        assert bool(np.any(trajectory.start[:2] != 0)) is (name == "land-3d")


def tracked(vertical: float, across: float, **changes: Any) -> dict[str, float]:
    """Scores of a flight beside its reference: an error that alternates in sign, and nothing of it before time 0."""
    flight = flown(lambda t: 1.0 + 0 * t)
    sign = np.where(np.arange(len(flight.t)) % 2, 1.0, -1.0)
    flying = flight.t >= 0
    error = np.column_stack([0.6 * across * sign, 0.8 * across * sign, vertical * sign])
    position = flight.reference + np.where(flying[:, None], error, 1.0)
    return SCENARIOS["cross-table"].score(flown(lambda t: 1.0 + 0 * t, position=position, **changes), LANDING)


def test_tracking_is_scored_by_root_mean_square_and_worst_up_and_across() -> None:
    row = tracked(0.02, 0.05)
    assert row["tracking_rms_error_m"] == pytest.approx(np.hypot(0.02, 0.05))
    assert row["vertical_rms_error_m"] == pytest.approx(0.02)
    assert row["vertical_worst_error_m"] == pytest.approx(0.02)
    assert row["horizontal_rms_error_m"] == pytest.approx(0.05)
    assert row["horizontal_worst_error_m"] == pytest.approx(0.05)
    assert row["success"] == 1.0 and row["touched"] == row["tipped_over"] == 0.0


def test_a_flight_that_touches_something_strays_or_tips_over_is_no_success() -> None:
    n = len(flown(perfect).t)
    assert tracked(0.6, 0.7)["success"] == 1.0 and tracked(0.8, 0.7)["success"] == 0.0
    away = flown(lambda t: LOW_HOVER_HEIGHT + np.maximum(t, 0.0), end=10.0)
    there = flown(lambda t: LOW_HOVER_HEIGHT + 0.0 * t, end=10.0, position=away.reference)
    climbing = replace(away, position=away.reference + np.maximum(away.t, 0.0)[:, None] * [0.0, 0.0, 1.0])
    hover = SCENARIOS["hover-low"]
    for flight, success in ((there, 1.0), (climbing, 0.0)):
        assert hover.score(flight, Hover(np.array([0.0, 0.0, 0.16])))["success"] == success
    assert tracked(0.0, 0.0, contact=np.arange(n) == n - 9)["success"] == 0.0
    assert tracked(0.0, 0.0, tilt=np.where(np.arange(n) == n - 9, 1.2, 0.0))["success"] == 0.0


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_scenario_says_what_it_is_and_begins_and_ends_at_rest(name: str) -> None:
    scenario = SCENARIOS[name]
    trajectory = scenario.trajectory(scenario.over(Plant(load_vehicle("intel-aero"))).pad)
    for t in (0.0, scenario.duration):
        assert trajectory(t).velocity[:2] == pytest.approx([0.0, 0.0], abs=1e-9)
    assert re.search(r"\d m|\d mm", scenario.definition)


def test_the_table_is_crossed_from_floor_to_floor_at_the_height_of_the_low_hover() -> None:
    scenario = SCENARIOS["cross-table"]
    assert isinstance(scenario.terrain, Platform)
    plant = scenario.over(Plant(load_vehicle("intel-aero")))
    trajectory = scenario.trajectory(plant.pad)
    span = np.ptp(plant.vehicle.rotor_positions[:, 0]) / 2 + plant.vehicle.rotor_radius
    for t in (0.0, scenario.duration):
        assert abs(trajectory(t).position[0]) > scenario.terrain.size / 2 + span
    low = trajectory(scenario.duration / 2).position[2] - plant.vehicle.gear_clearance - scenario.terrain.top
    assert low == pytest.approx(LOW_HOVER_HEIGHT)


def test_an_unknown_scenario_is_refused_with_the_list_of_known_ones() -> None:
    with pytest.raises(UserError, match="'land-2d' is not known.*land-1d"):
        scenario_named("land-2d")
