"""Motion capture joined to a flight log: the offset that was put in comes out, and a stranger is refused."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from learning_flights import flight
from numpy.testing import assert_allclose

from neural_lander.cli import main as cli
from neural_lander.errors import NeuralLanderWarning, UserError
from neural_lander.flightlog import ColumnMap, FlightLog, read_log, write_csv, write_mcap
from neural_lander.flightlog.motion_capture import clock_offset, join_motion_capture, read_motion_capture
from neural_lander.rotation import quaternion_conjugate, quaternion_multiply
from neural_lander.vehicle import load_vehicle

VEHICLE = load_vehicle("intel-aero")


def with_rates(log: FlightLog) -> FlightLog:
    """Body rates of the attitude, by central differences."""
    q = log.attitude
    turned = 2 * quaternion_multiply(quaternion_conjugate(q[:-2]), q[2:])[:, 1:] / 0.02
    return replace(log, body_rates=np.concatenate([turned[:1], turned, turned[-1:]]))


@pytest.fixture(scope="module")
def log() -> FlightLog:
    return with_rates(flight(VEHICLE, 30.0, tilt=0.1, metadata={"source": "drone"}))


def mocap(log: FlightLog, start: float, stop: float) -> FlightLog:
    """What cameras would have recorded between two times, with 0.3 mm and 2 mrad of noise, on a clock of their own."""
    rng = np.random.default_rng(0)
    rows = (log.t >= start) & (log.t <= stop)
    n = int(rows.sum())
    position = log.position[rows] + 3e-4 * rng.normal(size=(n, 3)) + np.array([4.0, -2.0, 0.0])
    attitude = log.attitude[rows] + 1e-3 * rng.normal(size=(n, 4))
    return FlightLog.from_arrays(log.t[rows], position, log.velocity[rows], attitude, metadata={"source": "cameras"})


@pytest.mark.parametrize(("start", "stop"), [(3.17, 25.0), (0.0, 12.0), (15.5, 30.0)])
def test_the_offset_is_found_to_milliseconds(log: FlightLog, start: float, stop: float) -> None:
    offset, correlation, by = clock_offset(log, mocap(log, start, stop))
    assert offset == pytest.approx(start, abs=0.004)
    assert correlation > 0.7
    assert by == "angular and vertical speed"
    offset, _, by = clock_offset(replace(log, body_rates=None), mocap(log, start, stop))
    assert offset == pytest.approx(start, abs=0.006)
    assert by == "vertical speed"


def test_pose_comes_from_the_cameras_and_the_rest_from_the_log(log: FlightLog, tmp_path: Path) -> None:
    write_csv(mocap(log, 3.17, 25.0), tmp_path / "cameras.csv")
    joined = join_motion_capture(log, tmp_path / "cameras.csv")
    stated = joined.metadata["motion_capture"]
    t = joined.t + stated["starts_at_s"]
    for axis, shift in enumerate((4.0, -2.0, 0.0)):
        assert_allclose(joined.position[:, axis], np.interp(t, log.t, log.position[:, axis]) + shift, atol=6e-3)
    assert_allclose(joined.rotor_speed[:, 2], np.interp(t, log.t, log.rotor_speed[:, 2]), atol=40)
    apart = joined.rotor_speed[:, 2] - np.interp(t, log.t, log.rotor_speed[:, 2])
    assert np.sqrt(np.mean(apart**2)) < 0.05 * np.std(log.rotor_speed[:, 2])
    assert np.abs(joined.specific_force.mean(axis=0) - log.specific_force[317:2500].mean(axis=0)).max() < 0.05
    assert stated["offset_s"] == pytest.approx(3.17, abs=0.004)
    assert joined.metadata["height_source"] == "motion capture"


def test_what_is_known_in_the_logs_world_goes_over_to_that_of_the_cameras(log: FlightLog, tmp_path: Path) -> None:
    """Their origin is elsewhere, 1 m higher, and they are turned by 90 degrees against the autopilot."""
    away, force = np.array([0.1, 0.2, -0.05]), np.array([0.3, -0.1, 0.5])
    applied, wanted = np.tile(force, (len(log.t), 1)), log.position + away
    words = {"source": "drone", "height_source": "sonar", "height_error_m": 0.01, "height_is": "gear"}
    own = replace(log, f_a_applied=applied, guard_force=2 * applied, position_reference=wanted, metadata=words)
    quarter = np.array([np.sqrt(0.5), 0.0, 0.0, np.sqrt(0.5)])
    x, y, z = log.position.T
    seen = FlightLog.from_arrays(
        log.t,
        np.column_stack([4.0 - y, x - 2.0, z + 1.0]),
        np.column_stack([-log.velocity[:, 1], log.velocity[:, 0], log.velocity[:, 2]]),
        quaternion_multiply(quarter, log.attitude),
    )
    write_csv(seen, tmp_path / "cameras.csv")
    joined = join_motion_capture(own, tmp_path / "cameras.csv", offset=0.0)
    assert_allclose(
        joined.position_reference - joined.position, np.tile([-0.2, 0.1, -0.05], (len(joined.t), 1)), atol=2e-3
    )
    assert_allclose(joined.f_a_applied, np.tile([0.1, 0.3, 0.5], (len(joined.t), 1)), atol=2e-3)
    assert_allclose(joined.guard_force, 2 * joined.f_a_applied, atol=1e-9)
    assert {key for key in joined.metadata if key.startswith("height_")} == {"height_source"}
    assert joined.metadata["derived_from"] == "drone"


def test_velocity_is_differentiated_where_the_cameras_give_none(log: FlightLog, tmp_path: Path) -> None:
    cameras = mocap(log, 0.0, 20.0)
    rows = np.column_stack([cameras.t * 1e3, cameras.position * 1e3, cameras.attitude])
    np.savetxt(tmp_path / "x.csv", rows, delimiter=",", header="ms,x,y,z,qw,qx,qy,qz", comments="")
    columns = {
        "t": {"column": "ms", "unit": "ms"},
        "position": {"columns": ["x", "y", "z"], "unit": "mm"},
        "attitude": ["qw", "qx", "qy", "qz"],
    }
    found = read_motion_capture(tmp_path / "x.csv", ColumnMap.from_table({"columns": columns}))
    assert_allclose(found.position, cameras.position, atol=1e-9)
    error = found.velocity - cameras.velocity
    assert np.sqrt(np.mean(error[10:-10] ** 2)) < 0.05
    joined = join_motion_capture(log, tmp_path / "x.csv", ColumnMap.from_table({"columns": columns}))
    assert "differentiated" in joined.metadata["velocity_from"]


def test_convert_joins_and_reports_the_offset(log: FlightLog, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    write_csv(mocap(log, 3.17, 25.0), tmp_path / "cameras.csv")
    write_mcap(log, tmp_path / "log.mcap")
    paths = [str(tmp_path / name) for name in ("log.mcap", "joined.mcap", "cameras.csv")]
    assert cli.main(["logs", "convert", *paths[:2], "--mocap", paths[2], "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["motion_capture"]["offset_s"] == pytest.approx(3.17, abs=0.004)
    with pytest.warns(NeuralLanderWarning, match=r"all sources are there for 21\.8 of 30 s only"):
        joined = read_log(paths[1])
    assert joined.metadata["height_source"] == "motion capture"


def test_an_occlusion_is_a_hole_in_the_flight(log: FlightLog, tmp_path: Path) -> None:
    cameras = mocap(log, 3.17, 25.0)
    write_csv(cameras, tmp_path / "cameras.csv")
    lines = (tmp_path / "cameras.csv").read_text().split("\n")
    lines[1001:1051] = [line.split(",")[0] + ",nan" * 10 for line in lines[1001:1051]]
    (tmp_path / "cameras.csv").write_text("\n".join(lines))
    joined = join_motion_capture(log, tmp_path / "cameras.csv")
    said = " ".join(joined.warnings)
    assert "50 of 2184 records hold no number" in said
    assert "position: 1 holes, the longest of 0.51 s" in said
    assert joined.metadata["motion_capture"]["offset_s"] == pytest.approx(3.17, abs=0.004)
    assert np.diff(joined.t).max() == pytest.approx(0.51, abs=0.02)


def test_another_flight_is_refused(log: FlightLog) -> None:
    other = flight(VEHICLE, 20.0, seed=5, tilt=0.1)
    with pytest.raises(UserError, match="is it the same flight"):
        clock_offset(log, mocap(other, 0.0, 20.0))


def test_a_periodic_motion_has_no_single_offset(log: FlightLog) -> None:
    t = np.arange(0, 30, 0.01)
    rates = np.zeros((len(t), 3))
    rates[:, 0] = 1 + np.sin(2 * np.pi * 0.5 * t)
    level = log.velocity * [1, 1, 0]
    swinging = replace(log, body_rates=rates, velocity=level)
    cameras = mocap(log, 0.0, 20.0)
    angle = np.cumsum(rates[: len(cameras.t), 0]) * 0.01
    attitude = np.stack([np.cos(angle / 2), np.sin(angle / 2), 0 * angle, 0 * angle], axis=-1)
    with pytest.raises(UserError, match="cannot be aligned"):
        clock_offset(swinging, replace(cameras, attitude=attitude, velocity=level[: len(cameras.t)]))


def with_spike(cameras: FlightLog, at: int) -> FlightLog:
    """Cameras that take the markers for turned by a radian, for three records."""
    attitude = cameras.attitude.copy()
    turned = np.array([np.cos(0.5), 0.0, 0.0, np.sin(0.5)])
    attitude[at : at + 3] = np.asarray(quaternion_multiply(turned, attitude[at : at + 3]))
    return replace(cameras, attitude=attitude)


def test_a_spike_in_both_does_not_align_them(log: FlightLog) -> None:
    assert log.body_rates is not None
    rates = log.body_rates.copy()
    rates[2500:2504] += 30.0
    offset, *_ = clock_offset(replace(log, body_rates=rates), with_spike(mocap(log, 3.17, 25.0), 100))
    assert offset == pytest.approx(3.17, abs=0.006)


def test_another_vertical_speed_is_another_flight(log: FlightLog) -> None:
    cameras = mocap(log, 3.17, 25.0)
    with pytest.raises(UserError, match=r"vertical speed by -?0\..*z up in both\?.*--mocap-offset"):
        clock_offset(log, replace(cameras, velocity=cameras.velocity * [1, 1, -1]))


def test_half_of_the_shorter_one_must_overlap(log: FlightLog) -> None:
    early = replace(log, **{n: getattr(log, n)[:1500] for n in ("t", "position", "velocity", "attitude", "body_rates")},
                    rotor_speed=None, specific_force=None, height=None, metadata={"source": "early"})  # fmt: skip
    with pytest.raises(UserError, match="cannot be aligned"):
        clock_offset(early, mocap(log, 9.0, 25.0))


def test_the_offset_may_be_given_and_rotors_are_not_lost_over_it(
    log: FlightLog, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    write_csv(mocap(log, 3.17, 25.0), tmp_path / "cameras.csv")
    write_mcap(log, tmp_path / "log.mcap")
    line = [*(str(tmp_path / name) for name in ("log.mcap", "joined.mcap")), "--mocap", str(tmp_path / "cameras.csv")]
    assert cli.main(["logs", "convert", *line, "--mocap-offset", "3.17"]) == 0
    assert "its clock is 3.170 s behind the log's (given)" in " ".join(capsys.readouterr().out.split())
    with pytest.warns(NeuralLanderWarning):
        joined = read_log(tmp_path / "joined.mcap")
    assert joined.rotor_speed is not None
    (tmp_path / "joined.mcap").unlink()
    assert cli.main(["logs", "convert", *line, "--mocap-offset", "25"]) == 2
    assert "less than half of it has rotor_speed: no thrust would be left" in capsys.readouterr().err
    assert not (tmp_path / "joined.mcap").exists()
