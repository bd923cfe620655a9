"""Columns of a log that say one motion in several ways, and what is said where they do not agree."""

import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from neural_lander.cli.main import main
from neural_lander.errors import NeuralLanderWarning
from neural_lander.flightlog import FlightLog, read_log, write_mcap
from neural_lander.flightlog.consistency import contradictions
from neural_lander.flightlog.jumps import jump_words, position_jumps
from neural_lander.state import State
from neural_lander.vehicle import Vehicle, load_vehicle
from sim.collection import collect_flight
from sim.plant import Plant
from sim.terrain import Terrain

LOG = collect_flight(Plant(load_vehicle("intel-aero")).with_airframe(0), seed=3, duration=20.0)


def turned(q: np.ndarray, v: np.ndarray | None) -> np.ndarray:
    assert v is not None
    return np.asarray(Rotation.from_quat(q, scalar_first=True).apply(v))


def stepped(log: FlightLog, by: float, later: int = 0) -> np.ndarray:
    """Position that from halfway on, or ``later`` records behind it, is higher by that many m."""
    after = np.arange(len(log.t)) >= len(log.t) // 2 + later
    return log.position + np.where(after, by, 0.0)[:, None] * [0, 0, 1]


DATA = Path(__file__).parents[2] / "shared/data"
POISON: dict[str, tuple[Callable[[FlightLog], FlightLog], str]] = {
    "velocity with the other sign": (
        lambda log: replace(log, velocity=-log.velocity),
        "position changes against velocity",
    ),
    "z of velocity down": (
        lambda log: replace(log, velocity=log.velocity * [1, 1, -1]),
        r"position changes against velocity \(correlation -1.00 in z",
    ),
    "axes exchanged": (
        lambda log: replace(log, velocity=log.velocity[:, [1, 0, 2]]),
        "position (changes against|and) velocity",
    ),
    "feet per second": (
        lambda log: replace(log, velocity=log.velocity / 0.3048),
        r"position and velocity contradict .* ratio 0\.30",
    ),
    "velocity by another clock": (
        lambda log: replace(log, velocity=np.roll(log.velocity, round(0.25 * len(log.t) / log.duration), axis=0)),
        "velocity follows position by 2[4-6]0 ms: have both by one clock",
    ),
    "position by another clock": (
        lambda log: replace(log, position=np.roll(log.position, round(0.25 * len(log.t) / log.duration), axis=0)),
        "position follows velocity by 2[4-6]0 ms|both are of one time base",
    ),
    "quaternion scalar last": (
        lambda log: replace(log, attitude=np.roll(log.attitude, -1, axis=1)),
        "attitude and body_rates contradict each other",
    ),
    "quaternion from world to body": (
        lambda log: replace(log, attitude=log.attitude * [1, -1, -1, -1]),
        "attitude changes against body_rates",
    ),
    "degrees per second": (
        lambda log: replace(log, body_rates=np.rad2deg(log.body_rates)),
        r"attitude and body_rates contradict .* ratio 0\.017",
    ),
    "quaternion from world to body, without rates": (
        lambda log: replace(log, attitude=log.attitude * [1, -1, -1, -1], body_rates=None, specific_force=None),
        "attitude and velocity contradict each other in x: with its thrust along the body's z axis",
    ),
    "quaternion scalar last, without rates": (
        lambda log: replace(log, attitude=np.roll(log.attitude, -1, axis=1), body_rates=None),
        "attitude and velocity contradict each other",
    ),
    "left-handed": (
        lambda log: replace(
            log, position=log.position * [1, -1, 1], velocity=log.velocity * [1, -1, 1], specific_force=None
        ),
        "attitude and velocity contradict each other in y",
    ),
    "feet": (
        lambda log: replace(
            log, position=log.position / 0.3048, velocity=log.velocity / 0.3048, height=None, specific_force=None
        ),
        r"attitude and velocity contradict .* ratio 3\.",
    ),
    "force in body axes": (
        lambda log: replace(log, specific_force=turned(log.attitude * [1, -1, -1, -1], log.specific_force)),
        "attitude and specific_force contradict each other in x: .* turned into the world's axes",
    ),
    "force without gravity": (
        lambda log: replace(log, specific_force=log.specific_force - [0, 0, 9.81]),
        "specific_force averages -?0.0.* gravity was taken off",
    ),
    "force in g": (
        lambda log: replace(log, specific_force=log.specific_force / 9.81),
        "specific_force averages 1.* it is in g",
    ),
    "height from 0.3 m on": (
        lambda log: replace(log, height=np.maximum(log.height, 0.3)),
        "height stands still for .* s while the vehicle climbs or sinks: beyond what its sensor measures",
    ),
    "no reading told as 0": (
        lambda log: replace(log, height=np.where(np.arange(len(log.t)) % 50 < 2, 0.0, log.height)),
        r"height falls to 0 m at once \d+ times",
    ),
    "force by another clock": (
        lambda log: replace(log, specific_force=np.roll(log.specific_force, 100, axis=0)),
        "specific_force and velocity contradict each other in z",
    ),
    "force late by a tenth of a second": (
        lambda log: replace(log, specific_force=np.roll(log.specific_force, 12, axis=0)),
        "specific_force follows what velocity does by 1[0-4]0 ms|specific_force and velocity contradict",
    ),
    "a clock that is half as fast again": (
        lambda log: replace(log, t=1.5 * log.t),
        r"position and velocity contradict .* ratio 0\.6",
    ),
    "knots": (
        lambda log: replace(log, velocity=log.velocity / 0.5144),
        r"position and velocity contradict .* ratio 0\.5",
    ),
    "one step of height": (
        lambda log: replace(log, position=stepped(log, 0.06)),
        r"position jumps once .* by \+6 cm in z",
    ),
    "a camera's glitch": (
        lambda log: replace(log, position=stepped(log, -0.3) + stepped(log, 0.3, 200) - log.position),
        "position jumps at 2 places",
    ),
}


def test_a_whole_log_contradicts_nothing_and_a_short_one_is_not_judged() -> None:
    assert list(contradictions(LOG)) == []
    assert list(contradictions(POISON["degrees per second"][0](LOG.where(LOG.t < 1.5)))) == []


@pytest.mark.parametrize("what", POISON)
def test_a_log_that_contradicts_itself_is_told_how(what: str) -> None:
    poison, words = POISON[what]
    found = list(contradictions(poison(LOG)))
    assert found
    with pytest.raises(AssertionError, match=words):
        raise AssertionError("; ".join(found))


def test_a_jump_at_the_very_beginning_hides_no_other() -> None:
    early = np.where(np.arange(len(LOG.t)) >= 11, 0.5, 0.0)[:, None] * [0, 0, 1]
    log = replace(LOG, position=stepped(LOG, 0.2) + early)
    jumps = position_jumps(replace(log, t=LOG.t - LOG.t[0]))
    assert len(jumps) == 2 and jumps[1][1][2] == pytest.approx(0.2, abs=0.02)
    assert position_jumps(log.where(LOG.t < 0.3))  # no place is too early


def test_noise_and_a_velocity_that_is_a_little_off_are_no_jump() -> None:
    noisy = LOG.position + np.random.default_rng(0).normal(0.0, 0.01, LOG.position.shape)
    assert jump_words(replace(LOG, position=noisy, velocity=1.1 * LOG.velocity)) == []
    assert jump_words(replace(LOG, position=stepped(LOG, 0.02))) == []
    across = LOG.where((LOG.t < 9.0) | (LOG.t > 10.5))
    assert jump_words(across) == []  # nobody saw what it did there


class SideWind:
    """A force of the ground's air to one side, 15 % of the weight at the floor, beside its lift."""

    def __call__(
        self, state: State, rotor_speeds: np.ndarray, vehicle: Vehicle, terrain: Terrain
    ) -> tuple[np.ndarray, np.ndarray]:
        height = np.maximum(state.height, 0.0)
        side, lift = 0.15 * np.exp(-height / 0.2), 0.2 * np.exp(-height / 0.12)
        force = vehicle.weight * (side[..., None] * [1.0, 0.0, 0.0] + lift[..., None] * [0.0, 0.0, 1.0])
        return force, np.zeros_like(state.velocity)


@pytest.mark.slow
def test_a_side_force_near_the_ground_is_what_is_to_be_learned_and_no_wrong_attitude() -> None:
    plant = replace(Plant(load_vehicle("intel-aero")), effects=(SideWind(),)).with_airframe(0)
    log = collect_flight(plant, seed=1, duration=30.0)
    assert list(contradictions(log)) == []
    upside = "quaternion from world to body, without rates"
    assert any("attitude and velocity contradict" in text for text in contradictions(POISON[upside][0](log)))


def test_a_fast_flight_against_drag_contradicts_nothing() -> None:
    """At a steady speed of up to 10 m/s a lasting tilt accelerates nothing."""
    t = np.arange(0.0, 40.0, 0.01)
    rng = np.random.default_rng(0)
    tilt = np.cumsum(rng.normal(size=(len(t), 2)), axis=0)
    tilt = 0.25 * tilt / np.abs(tilt).max(axis=0)
    velocity = np.zeros((len(t), 3))
    for k in range(len(t) - 1):
        push = 9.81 * np.tan(tilt[k, ::-1]) * [1, -1]
        velocity[k + 1, :2] = velocity[k, :2] + 0.01 * (push - 0.5 * velocity[k, :2])
    attitude = Rotation.from_euler("yx", tilt[:, ::-1]).as_quat(scalar_first=True)
    position = np.cumsum(velocity, axis=0) * 0.01 + [0, 0, 2.0]
    log = FlightLog.from_arrays(t, position, velocity, attitude)
    assert list(contradictions(log)) == []


def test_training_leaves_such_a_log_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_mcap(POISON["quaternion scalar last"][0](LOG), tmp_path / "wrong.mcap")
    assert main(["train", str(tmp_path / "wrong.mcap"), "--vehicle", "intel-aero", "--out", str(tmp_path / "b")]) == 2
    assert "attitude and body_rates contradict each other" in " ".join(capsys.readouterr().err.split())


@pytest.mark.skipif(not DATA.is_dir(), reason="needs the real logs in ../shared/data")
def test_no_real_log_contradicts_itself() -> None:
    paths = [*sorted(DATA.rglob("*.usd")), *sorted(DATA.rglob("px4*.ulg")), *sorted(DATA.rglob("arducopter*.BIN"))]
    assert len(paths) > 30
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NeuralLanderWarning)
        for path in paths:
            assert list(contradictions(read_log(path))) == [], path.name
