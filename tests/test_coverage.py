"""Coverage: time, motion and excitation by height, cells of a landing, and what to fly next."""

import numpy as np
import pytest
from learning_flights import flight

from neural_lander.residual.quality.coverage import Covered, covered, excitation, grid, height_bands, landing_cells
from neural_lander.residual.quality.holes import dither_that_fits, what_to_fly
from neural_lander.residual.samples import ResidualSamples, residual_samples
from neural_lander.vehicle import load_vehicle

VEHICLE = load_vehicle("intel-aero")
FLOOR = 0.005  # m, contact margin of the rule that follows from geometry


def data(height: np.ndarray, climb: np.ndarray, *, lateral: float = 0.3, moves: float = 0.05) -> Covered:
    n = len(height)
    return Covered(
        height=height,
        climb=np.broadcast_to(climb, n),
        lateral=np.full(n, lateral),
        tilt=np.zeros(n),
        thrust=np.ones(n),
        excitation=np.full(n, moves),
        floor=FLOOR,
    )


def everywhere(seed: int = 0) -> Covered:
    """2000 s in every height up to 1 m at every climb."""
    rng = np.random.default_rng(seed)
    return data(rng.uniform(FLOOR, 1.0, 200_000), rng.uniform(-0.6, 0.6, 200_000))


def without(full: Covered, hole: np.ndarray) -> Covered:
    keep = {name: getattr(full, name)[~hole] for name in ("height", "climb", "lateral", "tilt", "thrust", "excitation")}
    return Covered(**keep, floor=full.floor)


def test_bands_and_grid_hold_every_usable_second_once() -> None:
    flights = [residual_samples(flight(VEHICLE, 20.0, seed=k), VEHICLE) for k in range(2)]
    usable = sum(int(f.usable.sum()) for f in flights) / 100
    whole = covered(flights, VEHICLE)
    assert sum(b["seconds"] for b in height_bands(whole)) == pytest.approx(usable)
    assert np.sum(grid(whole)["seconds"]) == pytest.approx(usable, abs=0.5)  # cells are rounded to 10 ms
    assert whole.floor == FLOOR


def test_bands_show_the_quantiles_of_what_was_flown() -> None:
    rng = np.random.default_rng(0)
    band = height_bands(data(rng.uniform(0.05, 0.1, 20_000), rng.normal(0.0, 0.2, 20_000)))[2]
    assert (band["height_from_m"], band["height_to_m"]) == (0.05, 0.1)
    np.testing.assert_allclose(band["climb_m_s_5_50_95_%"], [-0.329, 0.0, 0.329], atol=0.01)
    assert band["lateral_speed_m_s_5_50_95_%"] == [0.3, 0.3, 0.3]


def made(thrust: np.ndarray) -> ResidualSamples:
    samples = residual_samples(flight(VEHICLE, len(thrust) / 100), VEHICLE)
    changes = {name: getattr(samples, name) for name in samples.__dataclass_fields__}
    return ResidualSamples(**changes | {"rotor_thrust": np.repeat(thrust[:, None] / 4, 4, axis=1)})


@pytest.mark.parametrize("frequency, share", [(2.0, 1.0), (1.0, 1.0), (0.05, 0.0), (20.0, 0.0)])
def test_excitation_counts_what_lies_between_half_and_four_hertz(frequency: float, share: float) -> None:
    t = np.arange(0.0, 30.0, 0.01)
    thrust = VEHICLE.weight * (1 + 0.1 * np.sin(2 * np.pi * frequency * t))
    rms = np.sqrt(np.mean(excitation(made(thrust))[300:-300] ** 2)) / VEHICLE.weight
    assert rms == pytest.approx(share * 0.1 / np.sqrt(2), rel=0.1, abs=0.002)


def test_switching_the_rotors_on_is_no_excitation() -> None:
    thrust = np.full(3000, VEHICLE.weight)
    thrust[:1000] = thrust[2900:] = 0.0
    moves = excitation(made(thrust))
    assert np.isnan(moves[:1000]).all()
    assert np.nanmax(np.abs(moves)) < 0.01 * VEHICLE.weight


def test_a_landing_finds_the_cells_that_nobody_flew() -> None:
    full = everywhere()
    assert not any(cell["extrapolates"] for cell in landing_cells(full))
    hole = (full.height < 0.1) & (full.height >= 0.05) & (full.climb < -0.2)
    empty = [cell for cell in landing_cells(without(full, hole)) if cell["extrapolates"]]
    assert {(c["height_from_m"], c["climb_from_m_s"]) for c in empty} == {(0.05, -0.5), (0.05, -0.35)}
    assert all(c["seconds"] < c["wanted_s"] for c in empty)


def test_where_everything_was_flown_nothing_is_left_to_fly() -> None:
    assert what_to_fly(everywhere(), VEHICLE) == []


def test_a_hole_in_height_is_a_hover_with_numbers() -> None:
    full = everywhere()
    band = (full.height >= 0.02) & (full.height < 0.05)
    few = band & (np.cumsum(band) > 800)  # 8 s are left
    holes = [h for h in what_to_fly(without(full, few), VEHICLE) if h["kind"] == "time"]
    assert holes[0]["fly"] == "Hover at 0.02-0.05 m for 12 s with thrust dither of 10 % between 1.3 and 4 Hz."
    assert holes[0]["found"] == "8.0 s at 0.02-0.05 m; 20 s are wanted"


@pytest.mark.parametrize("room, least", [(0.01, 2.3), (0.03, 1.3), (0.1, 0.8), (0.2, 0.5), (1.0, 0.5)])
def test_dither_that_is_asked_for_fits_the_band_of_height(room: float, least: float) -> None:
    assert dither_that_fits(room).endswith(f"between {least:g} and 4 Hz")
    t = np.arange(0.0, 2.0 / least, 1e-4)
    push = 0.1 * 9.81 * np.sin(2 * np.pi * least * t)
    speed = np.cumsum(push) * 1e-4
    moved = np.cumsum(speed - speed.mean()) * 1e-4
    assert np.ptp(moved) <= room
    assert "without dither, for which 2 mm leave no room" in dither_that_fits(0.002)


def test_a_hole_in_sinking_speed_is_a_descent_with_numbers() -> None:
    full = everywhere()
    hole = (full.height >= 0.05) & (full.height < 0.1) & (full.climb < -0.25)
    holes = what_to_fly(without(full, hole), VEHICLE)
    assert [h["fly"] for h in holes] == ["Sink from 0.1 to 0.05 m at 0.25-0.35 m/s, 3 times."]
    lowest = what_to_fly(without(full, (full.height < 0.02) & (full.climb < -0.25)), VEHICLE)
    assert lowest[0]["fly"].startswith("Touch down from 0.1 m at 0.25-0.35 m/s")


def test_nobody_is_asked_to_sink_faster_than_a_landing_does() -> None:
    full = everywhere()
    assert what_to_fly(without(full, full.climb < -0.35), VEHICLE) == []


def test_flights_that_hardly_move_thrust_or_never_drift_are_asked_to() -> None:
    rng = np.random.default_rng(1)
    still = data(
        rng.uniform(FLOOR, 1.0, 200_000), rng.uniform(-0.6, 0.6, 200_000), lateral=0.02, moves=0.003
    )  # fmt: skip
    kinds = {h["kind"] for h in what_to_fly(still, VEHICLE)}
    assert kinds == {"excitation", "lateral"}
    assert "thrust moves by 0.3 % rms" in what_to_fly(still, VEHICLE)[0]["found"]


def test_a_hole_near_the_ground_comes_before_the_same_hole_above() -> None:
    full = everywhere()
    low, high = (full.height >= 0.02) & (full.height < 0.05), (full.height >= 0.2) & (full.height < 0.3)
    first, second = (h["height_from_m"] for h in what_to_fly(without(full, low | high), VEHICLE)[:2])
    assert first == 0.02
    assert second <= 0.2


def test_heights_that_count_as_contact_are_not_asked_for() -> None:
    small = load_vehicle("crazyflie-parrot")
    flown = covered([], small)
    assert flown.floor == pytest.approx(0.07 - small.gear_clearance)
    assert min(h["height_from_m"] for h in what_to_fly(flown, small)) >= flown.floor
