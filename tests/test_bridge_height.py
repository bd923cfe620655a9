"""Height of the gear over the ground: geometry against rotations, what is refused, and what is no height at all."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from firmware_bridge.estimation.estimator import Estimate
from firmware_bridge.estimation.height import DeclaredFloor, Mounting, Rangefinder
from firmware_bridge.heard import Heard
from firmware_bridge.link import AttitudeReport, BatteryReport, PositionReport, RangeReport
from neural_lander.cli.link_options import height_source
from neural_lander.errors import UserError
from neural_lander.vehicle import load_vehicle

VEHICLE = load_vehicle("intel-aero")
ZERO = np.zeros(3)


def estimate(z: float, rotation: Rotation | None = None, climb: float = 0.0, age: float = 0.0) -> Estimate:
    q = (rotation or Rotation.identity()).as_quat(scalar_first=True)
    return Estimate(np.array([0.0, 0.0, z]), np.array([0.0, 0.0, climb]), q, ZERO, None, age, age, False, False)


angles = st.floats(-0.3, 0.3)


@given(angles, angles, st.floats(-3.0, 3.0), st.floats(0.3, 2.0), st.floats(-5.0, 5.0))
def test_the_ground_is_found_from_any_attitude_with_any_mounting(
    roll: float, pitch: float, yaw: float, z: float, floor: float
) -> None:
    """The beam is intersected with the floor by hand: sensor + d beam has the floor's z."""
    rotation = Rotation.from_euler("ZYX", [yaw, pitch, roll])
    mounting = Mounting(np.array([0.08, -0.03, -0.05]), np.array([np.sin(0.1), 0.0, -np.cos(0.1)]))
    sensor = np.array([0.0, 0.0, floor + z]) + rotation.apply(mounting.position)
    beam = rotation.apply(mounting.direction)
    distance = (floor - sensor[2]) / beam[2]
    source = Rangefinder(mounting)
    here = estimate(floor + z, rotation)
    source.take(RangeReport(1.0, 1.0, distance, True), 1.0, here)
    found = source.ground(1.02, here)
    assert found is not None
    assert found[0] == pytest.approx(floor, abs=1e-9)
    assert found[1] == pytest.approx(0.02)


def ray_to_plane(origin: np.ndarray, along: np.ndarray, normal: np.ndarray, foot: np.ndarray) -> float:
    """Length of a ray in m until it meets the plane through ``foot``."""
    return float(normal @ (foot - origin) / (normal @ along))


@pytest.mark.parametrize("seed", range(300))
def test_a_beam_of_any_mounting_meets_the_floor_where_a_ray_does(seed: int) -> None:
    """Rotation matrices and a plane, none of it ours; up to 45 degrees off down, tilted by up to 15 more."""
    rng = np.random.default_rng(seed)
    turn, off, lean = rng.uniform(0, 2 * np.pi), rng.uniform(0, np.radians(45)), rng.uniform(0, np.radians(15))
    R = Rotation.from_euler("z", rng.uniform(-3, 3)).as_matrix() @ Rotation.from_rotvec(
        lean * np.array([np.cos(turn), np.sin(turn), 0.0])
    ).as_matrix()  # fmt: skip
    about = rng.uniform(0, 2 * np.pi)
    direction = np.array([np.sin(off) * np.cos(about), np.sin(off) * np.sin(about), -np.cos(off)])
    sits, floor = rng.uniform(-0.2, 0.2, 3), rng.uniform(-2, 2)
    here = Estimate(
        np.array([*rng.uniform(-3, 3, 2), floor + rng.uniform(0.5, 2)]),
        ZERO, Rotation.from_matrix(R).as_quat(scalar_first=True), ZERO, None, 0.0, 0.0, False, False,
    )  # fmt: skip
    up = np.array([0.0, 0.0, 1.0])
    distance = ray_to_plane(here.position + R @ sits, R @ direction, up, floor * up)
    length = rng.uniform(0.1, 10)  # of no meaning
    offset, towards = (",".join(repr(float(x)) for x in v) for v in (sits, length * direction))
    source = height_source(None, offset, towards)
    source.take(RangeReport(1.0, 1.0, distance, True), 1.0, here)
    found = source.ground(1.0, here)
    assert found is not None and found[0] == pytest.approx(floor, abs=1e-9)


@pytest.mark.parametrize(("mounted", "most"), [(0, 30), (20, 50), (45, 60)])
def test_a_slanted_beam_may_lean_as_far_beyond_its_mounting_and_never_beyond_60_degrees(
    mounted: int, most: int
) -> None:
    for beam, taken in ((most - 1, True), (most + 1, False), (mounted - 29, True)):
        slanted = np.radians(mounted)
        source = Rangefinder(Mounting(ZERO, np.array([np.sin(slanted), 0.0, -np.cos(slanted)])))
        here = estimate(1.0, Rotation.from_euler("y", mounted - beam, degrees=True))  # nose up: the beam goes forward
        source.take(RangeReport(1.0, 1.0, 1.0 / np.cos(np.radians(beam)), True), 1.0, here)
        assert (source.ground(1.0, here) is not None) is taken, beam


@pytest.mark.parametrize(
    ("offset", "direction", "words"),
    [
        ("0,0,0", "0,0", "--range-direction '0,0' must be three numbers"),
        ("0,0,0", "0,0,x", "--range-direction '0,0,x' must be three numbers"),
        ("0,0,0", "0,nan,-1", "--range-direction '0,nan,-1' must be three numbers"),
        ("0,0,0", "0,0,0", "--range-direction '0,0,0' has no direction"),
        ("0,0,0", "0,0,-1e300", None),
        ("0,0,0", "1e309,0,-1", "--range-direction '1e309,0,-1' must be three numbers"),
        ("0,0,0", "0,0,1", "'0,0,1' is 180 degrees from down, at most 45"),
        ("0,0,0", "-1.04,0,-1", "is 46 degrees from down"),
        ("0,0,0", "1,0,-1", None),
        ("nan,0,0", "0,0,-1", "--range-offset 'nan,0,0' must be three numbers"),
    ],
)
def test_a_direction_that_measures_no_height_is_refused(offset: str, direction: str, words: str | None) -> None:
    if words is None:
        assert isinstance(height_source(None, offset, direction), Rangefinder)
        return
    with pytest.raises(UserError) as refused:
        height_source(None, offset, direction)
    assert words in str(refused.value)


def test_a_measurement_belongs_to_the_place_where_it_was_made() -> None:
    """Falling at 0.5 m/s, measured 40 ms ago: the vehicle was 20 mm higher."""
    source = Rangefinder()
    source.take(RangeReport(0.96, 1.0, 1.02, True), 1.0, estimate(1.0, climb=-0.5))
    found = source.ground(1.0, estimate(1.0))
    assert found is not None and found[0] == pytest.approx(0.0, abs=1e-12)


def test_two_outliers_in_a_row_do_no_harm() -> None:
    source = Rangefinder()
    for k, distance in enumerate([1.0, 1.0, 1.0, 0.1, 7.0]):
        source.take(RangeReport(0.1 * k, 0.1 * k, distance, True), 0.1 * k, estimate(1.0))
    found = source.ground(0.5, estimate(1.0))
    assert found is not None and found[0] == pytest.approx(0.0)


@pytest.mark.parametrize(
    "report",
    [
        RangeReport(1.0, 1.0, 1.0, False),
        RangeReport(1.0, 1.0, 0.0, True),
        RangeReport(1.0, 1.0, -1.0, True),
        RangeReport(1.0, 1.0, float("nan"), True),
        RangeReport(1.0, 1.0, float("inf"), True),
        RangeReport(float("nan"), 1.0, 1.0, True),
        RangeReport(5.0, 1.0, 1.0, True),
        BatteryReport(1.0, 12.0),
    ],
)
def test_what_is_no_measurement_is_none(report: object) -> None:
    source = Rangefinder()
    source.take(report, 1.0, estimate(1.0))  # type: ignore[arg-type]
    assert source.ground(1.0, estimate(1.0)) is None


def test_a_beam_that_points_aside_measures_no_height() -> None:
    source = Rangefinder()
    source.take(RangeReport(1.0, 1.0, 1.5, True), 1.0, estimate(1.0, Rotation.from_euler("x", 0.6)))
    assert source.ground(1.0, estimate(1.0)) is None


def test_the_same_measurement_again_grows_old() -> None:
    source = Rangefinder()
    for now in (1.0, 2.0):
        source.take(RangeReport(1.0, now, 1.0, True), now, estimate(1.0))
    found = source.ground(2.0, estimate(1.0))
    assert found is not None and found[1] == pytest.approx(1.0)


def test_a_declared_floor_is_as_old_as_the_position() -> None:
    assert DeclaredFloor(0.3).ground(1.0, estimate(1.0, age=0.04)) == (0.3, 0.04)


def heard(*reports: object, source: object = None) -> Heard:
    made = Heard(VEHICLE, source)  # type: ignore[arg-type]
    pose = [
        PositionReport(1.0, 1.0, np.array([0.0, 0.0, 2.0]), ZERO),
        AttitudeReport(1.0, 1.0, Rotation.from_euler("y", 0.2).as_quat(scalar_first=True), ZERO),
    ]
    made.take([*pose, *reports], 1.0)  # type: ignore[list-item]
    return made


def test_height_is_that_of_the_lowest_gear_point_over_the_ground() -> None:
    view = heard(source=DeclaredFloor(0.5)).view(1.0)
    gear = Rotation.from_euler("y", 0.2).apply(VEHICLE.gear_points)[:, 2].min()
    assert view.state is not None
    assert view.state.height == pytest.approx(1.5 + gear, abs=1e-12)
    np.testing.assert_allclose(view.state.position, [0, 0, 1.5])


def test_a_barometer_or_gps_height_is_no_height_above_the_ground() -> None:
    view = heard().view(1.0)
    assert view.estimate is not None
    assert view.state is None and view.ground is None and view.height_age == float("inf")


def test_a_jump_of_the_position_forgets_the_measured_ground() -> None:
    made = heard(RangeReport(1.0, 1.0, 2.0, True), source=Rangefinder())
    assert made.view(1.0).ground == pytest.approx(2.0 - 2.0 * np.cos(0.2))
    made.take([PositionReport(1.02, 1.02, np.array([0.0, 0.0, 3.0]), ZERO)], 1.02)
    assert made.view(1.02).ground is None


def test_a_mounting_must_look_along_a_unit_vector() -> None:
    with pytest.raises(UserError, match="unit vector"):
        Mounting(ZERO, np.array([0.0, 0.0, -2.0]))
