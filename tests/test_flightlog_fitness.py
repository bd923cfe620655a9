"""The verdict on a log: each reason alone turns a fit log unfit."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from learning_flights import flight

from neural_lander.certificate import steepest
from neural_lander.cli import main as cli
from neural_lander.flightlog import FlightLog, read_logs, write_mcap
from neural_lander.flightlog.excitation import band_rms
from neural_lander.flightlog.fitness import fit_for_learning, without_useless
from neural_lander.rotation import quaternion_multiply, quaternion_to_matrix
from neural_lander.vehicle import load_vehicle

VEHICLE = load_vehicle("intel-aero")
DATA = Path(__file__).parents[2] / "shared/data"
real = pytest.mark.skipif(not DATA.is_dir(), reason="needs the real logs in ../shared/data")


@pytest.fixture(scope="module")
def log() -> FlightLog:
    return replace(flight(VEHICLE, 30.0), height=None, metadata={"height_source": "range finder"})


@pytest.mark.parametrize("scale", [1e3, 100.0, 1 / 0.3048, 0.0])
def test_a_height_in_another_unit_is_refused(log: FlightLog, scale: float) -> None:
    height = log.position[:, 2] - VEHICLE.gear_clearance
    assert not fit_for_learning(replace(log, height=height), VEHICLE).useless
    reasons = fit_for_learning(replace(log, height=scale * height), VEHICLE).useless
    assert "times as far as position z: are both in m" in reasons[0]


def test_a_flight_with_dither_near_the_ground_is_fit(log: FlightLog) -> None:
    for vehicle in (VEHICLE, None):
        verdict = fit_for_learning(log, vehicle).as_json()
        assert verdict["reasons"] == []
        assert verdict["remarks"] == []
        assert verdict["fit"] is True
        assert verdict["thrust_excitation"] == pytest.approx(
            0.1, rel=0.5
        )  # the dither, and what the loop does about it
        assert verdict["flight_s"] == pytest.approx(30, rel=0.02)


def holding(log: FlightLog, every: int) -> FlightLog:
    rows = np.arange(len(log.t)) // every * every
    return replace(log, position=log.position[rows], velocity=log.velocity[rows])


def thinned(log: FlightLog, every: int) -> FlightLog:
    fields = {n: getattr(log, n) for n in ("t", "position", "velocity", "attitude", "specific_force", "rotor_speed")}
    return replace(log, **{name: values[::every] for name, values in fields.items()})


def with_gaps(log: FlightLog) -> FlightLog:
    t = log.t.copy()
    for k in range(300, 3000, 300):
        t[k:] += 0.3
    return replace(log, t=t)


def upended(log: FlightLog) -> FlightLog:
    attitude = log.attitude.copy()
    attitude[-50:] = [0.0, 1.0, 0.0, 0.0]
    return replace(log, attitude=attitude)


def z_down(log: FlightLog) -> FlightLog:
    """As a NED log is read by a column map that does not say so: level all the same."""
    flip = np.array([1.0, 1.0, -1.0])
    return replace(log, position=log.position * flip, velocity=log.velocity * flip)


def misordered(log: FlightLog) -> FlightLog:
    """A quaternion that was written scalar first, turned by 2 rad, and is read as scalar last."""
    turned = np.asarray(quaternion_multiply(np.array([np.cos(1.0), 0.0, 0.0, np.sin(1.0)]), log.attitude))
    return replace(log, attitude=np.roll(turned, 1, axis=1))


def still(log: FlightLog) -> FlightLog:
    return replace(log, rotor_speed=np.full_like(log.rotor_speed, VEHICLE.hover_speed))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda log: holding(log, 10), r"position comes at 9\.97 Hz; at least 40 Hz"),
        (
            lambda log: replace(log, position=log.position[np.arange(len(log.t)) // 10 * 10]),
            r"position alone comes at 9\.\d+ Hz; at least 20 Hz",
        ),
        (
            lambda log: replace(log, height=log.position[np.arange(len(log.t)) // 10 * 10, 2] - VEHICLE.gear_clearance),
            r"height alone comes at (9|10)\.\d+ Hz",
        ),
        (lambda log: replace(log, position=np.full_like(log.position, 0.2)), "^position never changes$"),
        (lambda log: thinned(log, 4), r"attitude comes at 25 Hz"),
        (
            lambda log: replace(log, metadata={**log.metadata, "source_rates_Hz": {"rotor_speed": 4.0}}),
            "thrust comes at 4",
        ),
        (
            lambda log: replace(log, rotor_speed=log.rotor_speed[np.arange(len(log.t)) // 10 * 10]),
            r"thrust comes at 9\.97 Hz",
        ),
        (
            lambda log: replace(log, rotor_speed=log.rotor_speed[np.minimum(np.arange(len(log.t)), 1500)]),
            "thrust stands still for 15 s in flight, to the last digit",
        ),
        (lambda log: replace(log, metadata={"height_source": "barometer"}), "height is from barometer"),
        (lambda log: replace(log, rotor_speed=None), "neither rotor speed nor rotor command"),
        (
            lambda log: replace(log, rotor_speed=None, rotor_command=log.rotor_speed / 2000, rotor_command_unit="pwm"),
            "battery voltage is not logged",
        ),
        (lambda log: replace(log, position=log.position + np.array([0, 0, 2.0])), "0 s of flight below"),
        (still, "thrust moves by .* % rms between 0.5 and 4 Hz"),
        (with_gaps, "% of the time lies in gaps"),
        (upended, "on its side or upside down"),
        (z_down, r'the gear is more than 0\.3 m below the ground, z = 0, for .* world = "NED"'),
        (
            lambda log: replace(z_down(log), height=log.position[:, 2] - VEHICLE.gear_clearance),
            r'height rises while position z falls \(correlation -1\.00\): .* world = "NED"',
        ),
        (misordered, "more than 60 degrees from upright for .* order right"),
        (lambda log: replace(log, metadata={**log.metadata, "clock_jumps": 2}), "the clock jumps or stops at 2 places"),
        (
            lambda log: replace(log, specific_force=9.81 * quaternion_to_matrix(log.attitude)[:, :, 2]),
            "specific_force stands still in the body for 30 s of flight",
        ),
        (
            lambda log: replace(log, rotor_speed=log.rotor_speed[:, [0, 1, 2, 2]]),
            "rotor_speed 3 and 4 are the same to the last digit",
        ),
        (
            lambda log: replace(log, rotor_speed=log.rotor_speed[:, [0, 0, 0, 0]]),
            "rotor_speed 1 and 2 are the same to the last digit",
        ),
        (
            lambda log: replace(log, rotor_speed=log.rotor_speed * [1, 0, 1, 1]),
            "rotor_speed 2 is 0 all the flight long, and others move",
        ),
        (
            lambda log: replace(
                log, rotor_speed=np.where((np.arange(len(log.t)) % 50 == 7)[:, None], 0, log.rotor_speed)
            ),
            r"rotor_speed falls away in \d+ single records of flight",
        ),
        (
            lambda log: replace(log, battery_voltage=np.where(np.arange(len(log.t)) % 200 == 7, 0.0, 15.0)),
            r"battery_voltage falls from 15 V to 0 V in \d+ records",
        ),
    ],
)
def test_each_reason_alone_makes_it_unfit(
    log: FlightLog, change: Callable[[FlightLog], FlightLog], reason: str
) -> None:
    reasons = fit_for_learning(change(log), VEHICLE).reasons
    assert any(re.search(reason, text) for text in reasons), reasons


def test_a_misread_frame_is_no_crash_and_no_flight_makes_up_for_it(log: FlightLog) -> None:
    for change in (z_down, misordered):
        verdict = fit_for_learning(change(log), VEHICLE)
        assert verdict.wrong and verdict.wrong == verdict.useless
        assert not any("crash" in reason for reason in verdict.reasons)
    assert any('world = "NED"' in reason for reason in fit_for_learning(z_down(log)).useless)


def test_rotors_that_are_all_alike_are_those_of_a_vehicle_that_never_turns(log: FlightLog) -> None:
    level = replace(
        log,
        rotor_speed=log.rotor_speed[:, [0, 0, 0, 0]],
        attitude=np.tile([1.0, 0.0, 0.0, 0.0], (len(log.t), 1)),
        body_rates=None,
        specific_force=None,
        velocity=log.velocity * [0, 0, 1],
        position=log.position * [0, 0, 1],
    )
    assert fit_for_learning(level, VEHICLE).useless == []
    sideways = fit_for_learning(replace(level, position=log.position, velocity=log.velocity), VEHICLE).useless
    assert any("attitude and velocity contradict" in reason for reason in sideways)


def test_a_log_that_flies_in_its_first_record_alone_is_judged(log: FlightLog) -> None:
    assert log.rotor_speed is not None
    stopped = np.where(np.arange(len(log.t))[:, None] < 1, log.rotor_speed, 0.0)
    assert fit_for_learning(replace(log, rotor_speed=stopped), VEHICLE).reasons


def test_a_floor_with_a_step_turns_no_height_round(log: FlightLog) -> None:
    z = log.position[:, 2]
    stepped = z - VEHICLE.gear_clearance - np.where(log.position[:, 0] > np.median(log.position[:, 0]), 0.2, 0.0)
    assert not fit_for_learning(replace(log, height=stepped), VEHICLE).useless


def test_the_band_holds_what_moves_within_it_alone() -> None:
    t = np.arange(0, 20, 0.01)
    flying = np.ones(len(t), dtype=bool)
    for frequency, expected in ((2.0, 0.1 / np.sqrt(2)), (0.1, 0.0), (12.0, 0.0)):
        thrust = 5.0 * (1 + 0.1 * np.sin(2 * np.pi * frequency * t))
        assert band_rms(t, thrust, flying) == pytest.approx(expected, abs=2e-3)
    assert band_rms(t[:300], thrust[:300], flying[:300]) is None


def test_info_gives_the_verdict(log: FlightLog, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    write_mcap(replace(log, rotor_speed=None), tmp_path / "x.mcap")
    assert cli.main(["logs", "info", str(tmp_path / "x.mcap"), "--json"]) == 0
    verdict = json.loads(capsys.readouterr().out)["logs"][0]["fit_for_learning"]
    assert verdict["fit"] is False
    assert verdict["reasons"][0].startswith("neither rotor speed")
    assert cli.main(["logs", "info", str(tmp_path / "x.mcap")]) == 0
    assert "x.mcap is not fit for learning: neither rotor speed" in capsys.readouterr().out.replace("\n", " ")


@pytest.mark.slow
def test_info_says_what_could_not_be_judged_and_takes_the_height_that_was_measured(
    log: FlightLog, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    height = log.position[:, 2] - VEHICLE.gear_clearance + 0.05
    assumed = {
        "height_source": "range finder",
        "height_is": "RFND: less 0.100 m, its reading on the ground (assumed: x)",
        "height_zero_assumed": True,
    }
    for name, metadata in (("a", {}), ("b", {}), ("c", assumed)):
        write_mcap(replace(log, height=height, metadata=metadata), tmp_path / f"{name}.mcap")
    assert cli.main(["logs", "info", str(tmp_path), "--vehicle", "intel-aero"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "2 of 3 logs: the log does not say where its height comes from" in said
    assert "c.mcap: the zero of its height is assumed, and shifts all of it where that is wrong: RFND" in said
    assert cli.main(["logs", "info", str(tmp_path), "--vehicle", "intel-aero", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["logs"]
    assert [one["gear_height_min_m"] for one in found] == pytest.approx([height.min()] * 3)


def test_info_for_a_vehicle_says_what_training_would(
    log: FlightLog, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """Rotor speeds in rpm that nobody declared give ninety times the weight."""
    write_mcap(replace(log, rotor_speed=log.rotor_speed * 30 / np.pi), tmp_path / "x.mcap")
    assert cli.main(["logs", "info", str(tmp_path / "x.mcap"), "--vehicle", "intel-aero", "--json"]) == 0
    verdict = json.loads(capsys.readouterr().out)["logs"][0]["fit_for_learning"]
    assert verdict["fit"] is False and "rad/s, not rpm" in verdict["reasons"][-1]


@pytest.fixture(scope="module")
def flights(log: FlightLog, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of one flight that is fit, one by barometer and one at 25 Hz."""
    folder = tmp_path_factory.mktemp("flights")
    write_mcap(log, folder / "fit.mcap")
    write_mcap(replace(log, metadata={"height_source": "barometer"}), folder / "high.mcap")
    write_mcap(thinned(log, 4), folder / "slow.mcap")
    return folder


def train(folder: Path, *arguments: object) -> int:
    options = ["--vehicle", "intel-aero", "--epochs", "1", "--hidden", "4", "--held-out", "0", "--json"]
    return cli.main(["train", *map(str, arguments), "--out", str(folder / "B"), *options])


def test_training_leaves_out_what_nothing_true_can_be_learned_from(
    flights: Path, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steepest, "ROUNDS", 1)
    assert train(tmp_path, flights) == 0
    out, err = capsys.readouterr()
    assert [entry["log"] for entry in json.loads(out)["datasets"]] == ["fit.mcap"]
    said = err.replace("\n", " ")
    assert re.search("left out: .*high.mcap is not fit for learning: height is from barometer.*range finder", said)
    assert re.search("left out: .*slow.mcap is not fit for learning: .*25 Hz.*logged faster", said)


def test_training_on_nothing_else_is_refused_in_one_line_unless_it_is_asked_for(
    flights: Path, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steepest, "ROUNDS", 1)
    assert train(tmp_path, flights / "high.mcap") == 2
    err = capsys.readouterr().err
    assert re.fullmatch(r"error: no log to learn from: .*high.mcap is not fit .* barometer: .* range finder.*\n", err)
    assert train(tmp_path, flights / "high.mcap", "--any-log") == 0
    assert "learned from all the same: log" in capsys.readouterr().err


@pytest.mark.slow
def test_a_bundle_is_judged_by_such_a_log_with_a_warning_and_learns_nothing_new_from_it(
    flights: Path, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steepest, "ROUNDS", 1)
    assert train(tmp_path, flights / "fit.mcap") == 0
    capsys.readouterr()
    bundle, log = str(tmp_path / "B"), str(flights / "high.mcap")
    assert cli.main(["evaluate", bundle, log, "--json"]) == 0
    assert "judged by it all the same" in capsys.readouterr().err
    assert cli.main(["retrain", bundle, log]) == 2
    assert "no log to learn from" in capsys.readouterr().err


def test_standing_on_the_ground_does_not_make_the_position_slow(log: FlightLog) -> None:
    n = 4 * len(log.t)
    waiting = {
        name: np.concatenate([np.repeat(getattr(log, name)[:1], n, axis=0), getattr(log, name)])
        for name in ("position", "velocity", "attitude", "specific_force", "rotor_speed")
    }
    waiting["rotor_speed"][:n] = 0.0
    found = fit_for_learning(replace(log, t=0.01 * np.arange(n + len(log.t)), **waiting), VEHICLE).useless
    assert [reason for reason in found if "zero of height" not in reason] == []  # it stands in mid-air


@pytest.mark.slow
@real
def test_the_real_flights_are_learned_from_as_they_are() -> None:
    for folder, name in (("large_67g", "crazyflie-parrot"), ("small_32g", "crazyflie-21")):
        for part in ("random_walk", "takeoff_landing"):
            logs = read_logs([DATA / "crazyflie_near_ground" / folder / part])
            assert without_useless(logs, load_vehicle(name)) == logs


@pytest.mark.slow
@real
def test_random_walks_are_fit_and_landings_lack_excitation() -> None:
    for folder, name, unfit in (("large_67g", "crazyflie-parrot", 2), ("small_32g", "crazyflie-21", 1)):
        vehicle = load_vehicle(name)
        walks = [
            fit_for_learning(log, vehicle)
            for log in read_logs([DATA / "crazyflie_near_ground" / folder / "random_walk"])
        ]
        assert sum(bool(walk.reasons) for walk in walks) == unfit  # of 16 and 13, by little excitation
        (landing,) = read_logs([DATA / "crazyflie_near_ground" / folder / "takeoff_landing"])
        assert [reason.split(" by ")[0] for reason in fit_for_learning(landing, vehicle).reasons] == ["thrust moves"]


@real
@pytest.mark.filterwarnings("ignore::neural_lander.errors.NeuralLanderWarning")
def test_autopilots_default_logging_is_told_what_it_lacks() -> None:
    for file, wanted in (
        ("px4_takeoff_landing_76s.ulg", ["position comes at 10"]),
        ("px4_sitl_takeoff_landing.ulg", ["position comes at 10", "height is from GPS"]),
        ("px4_ground_appended.ulg", ["0 s of flight", "height is from barometer"]),
        ("arducopter_sitl_takeoff_descent.BIN", ["position comes at 10", "height is from barometer"]),
    ):
        (log,) = read_logs([DATA / "logs" / file])
        said = "; ".join(fit_for_learning(log).reasons)
        assert all(text in said for text in wanted), said


@pytest.mark.parametrize(("raised", "useless"), [(0.0, False), (0.02, False), (0.05, True), (-0.05, True), (0.2, True)])
def test_a_log_that_stands_on_the_ground_shows_the_zero_of_its_height(
    log: FlightLog, raised: float, useless: bool
) -> None:
    """A second at rest with idle rotors before the flight; heights are off by as much in all of it."""
    assert log.rotor_speed is not None
    n, ground = 100, VEHICLE.gear_clearance

    def before(values: np.ndarray, still: np.ndarray) -> np.ndarray:
        return np.concatenate([np.tile(still, (n, 1)), values])

    standing = FlightLog.from_arrays(
        np.concatenate([np.arange(n) / 100, log.t + n / 100]),
        before(log.position, np.array([*log.position[0, :2], ground])) + [0.0, 0.0, raised],
        before(log.velocity, np.zeros(3)),
        before(log.attitude, np.array([1.0, 0.0, 0.0, 0.0])),
        rotor_speed=before(log.rotor_speed, np.full(4, 100.0)),
        metadata={"source": "mine", "height_source": "motion capture"},
    )
    found = [reason for reason in fit_for_learning(standing, VEHICLE).useless if "zero of height" in reason]
    assert bool(found) is useless, found
    if useless:
        assert f"{100 * raised:+.0f} cm" in found[0]


def test_a_hover_without_thrust_in_the_log_is_not_taken_for_standing(log: FlightLog) -> None:
    still = np.zeros((200, 3))
    hover = FlightLog.from_arrays(
        np.arange(200 + len(log.t)) / 100,
        np.concatenate([still + log.position[0] + [0.0, 0.0, 1.0], log.position]),
        np.concatenate([still, log.velocity]),
        np.concatenate([np.tile(log.attitude[0], (200, 1)), log.attitude]),
    )
    assert not any("zero of height" in reason for reason in fit_for_learning(hover, VEHICLE).reasons)
