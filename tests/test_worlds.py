"""Which world flies what, and how the batched one finds the flight that fails."""

from dataclasses import replace

import numpy as np
import pytest

from neural_lander.errors import NeuralLanderWarning, UserError
from neural_lander.vehicle import load_vehicle
from sim.comparison import worlds
from sim.comparison.campaign import Campaign, run_campaign
from sim.comparison.pool import LocalPool
from sim.comparison.worlds import Batched, Part, fitting_world, world_named
from sim.plant import Copy, Plant
from sim.scenarios import SCENARIOS

pytest.importorskip("torch")
pytest.importorskip("pybullet", reason="the PyBullet world needs pybullet, which has wheels up to Python 3.11")

COPY = Copy(Plant(load_vehicle("intel-aero")), None)
LANDING = SCENARIOS["land-1d"]


def for_one_vehicle(state, rotor_speeds, vehicle, terrain):
    """An effect that asks whether a height is small: an array has no such truth."""
    force = np.zeros(3)
    if state.height < 0.1:
        force[2] = 1.0
    return force, np.zeros(3)


def test_the_batched_world_flies_what_is_written_for_arrays() -> None:
    assert fitting_world(["pd", "oracle-trim"], [LANDING, SCENARIOS["cross-table"]], COPY) == "batched"


def test_what_is_written_for_one_vehicle_flies_in_pybullet() -> None:
    copy = Copy(replace(COPY.plant, effects=(for_one_vehicle,)), None)
    for _ in range(2):
        with pytest.warns(NeuralLanderWarning, match="one flight after the other: an effect is not written for arrays"):
            assert fitting_world(["pd"], [LANDING], copy) == "pybullet"


class ForOneVehicle:
    """A law that takes no batch."""

    def reset(self, moment_trim) -> None:
        """Nothing to forget."""

    def __init__(self, vehicle) -> None:
        self.hover = np.full(4, vehicle.hover_speed)

    def __call__(self, t, state, reference):
        return self.hover if state.height > 0 else 0 * self.hover


def test_a_controller_that_a_batch_cannot_fly_is_refused_by_it_with_the_remedy() -> None:
    name = "tests.test_worlds:ForOneVehicle"
    with pytest.raises(
        UserError, match=r"cannot fly '.*ForOneVehicle' in this plant: .*a law of one .* takes --world pybullet"
    ):
        Batched().check(name, LANDING, COPY)
    with pytest.warns(
        NeuralLanderWarning, match="flown in PyBullet, .*: the batched world cannot fly '.*ForOneVehicle'"
    ):
        assert fitting_world([name], [LANDING], COPY) == "pybullet"


def test_an_unknown_world_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UserError, match="world 'gazebo' is not known; use one of: pybullet, batched"):
        world_named("gazebo")


PARTS = [
    Part(COPY, k, name, (k, k + 2, k + 4), (10 + k, 12 + k, 14 + k), np.zeros(3))
    for name in ("pd", "oracle")
    for k in (0, 1)
]  # fmt: skip


@pytest.mark.parametrize("bad", [set(), {12}, {10, 15}, set(range(10, 14))])
def test_a_batch_that_fails_is_halved_until_the_flight_is_found_and_the_others_fly(
    bad: set[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def in_batch(parts, *_):
        if bad & {seed for part in parts for seed in part.seeds}:
            raise UserError("one of them")
        return [[{"drift_m": float(seed)} for seed in part.seeds] for part in parts]

    monkeypatch.setattr(worlds, "_in_batch", in_batch)
    monkeypatch.setattr(worlds, "_fly_alone", lambda part, seed, *rest: f"{part.controller} {seed}")
    found = Batched().fly(PARTS, LANDING, 3.0, 0.7)
    for part, rows in zip(PARTS, found, strict=True):
        expected = [f"{part.controller} {s}" if s in bad else {"drift_m": float(s)} for s in part.seeds]
        assert rows == expected


def test_where_all_flights_fail_a_few_are_asked_why(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of thousands each would cost a batch of its own."""
    asked = []

    def in_batch(*_: object) -> None:
        asked.append(1)
        raise UserError("all of them")

    monkeypatch.setattr(worlds, "_in_batch", in_batch)
    monkeypatch.setattr(worlds, "_fly_alone", lambda part, seed, *rest: f"effect 'Mine' failed, {seed}")
    many = Part(COPY, 0, "pd", tuple(range(1000)), tuple(range(1000)), np.zeros(3))
    (rows,) = Batched().fly([many], LANDING, 3.0, 0.7)
    assert rows[:8] == [f"effect 'Mine' failed, {seed}" for seed in range(8)]
    assert rows[8:] == ["not flown, since 8 of these before it failed, the last by: effect 'Mine' failed, 7"] * 992
    assert len(asked) < 30

    lost = [{"failed": 1.0}] * 999
    monkeypatch.setattr(worlds, "_in_batch", lambda parts, *rest: [[*lost, {"drift_m": 0.1}]])
    (rows,) = Batched().fly([many], LANDING, 3.0, 0.7)
    assert rows[7:9] == [
        "effect 'Mine' failed, 7",
        "it fails in the batched world; 8 of these before it failed, the last by: effect 'Mine' failed, 7",
    ]
    assert rows[-1] == {"drift_m": 0.1}


def test_a_controller_that_always_fails_keeps_no_other_from_flying(monkeypatch: pytest.MonkeyPatch) -> None:
    seeds = tuple(range(40))
    parts = [Part(COPY, k, name, seeds, seeds, np.zeros(3)) for name in ("mine", "pd") for k in (0, 1)]

    def in_batch(parts, *_):
        if any(part.controller == "mine" for part in parts):
            raise UserError("one of them")
        return [[{"drift_m": float(seed)} for seed in part.seeds] for part in parts]

    monkeypatch.setattr(worlds, "_in_batch", in_batch)
    monkeypatch.setattr(worlds, "_fly_alone", lambda part, seed, *rest: f"{part.k} {seed}")
    *mine, first, second = Batched().fly(parts, LANDING, 3.0, 0.7)
    assert first == second == [{"drift_m": float(seed)} for seed in seeds]
    for k, rows in enumerate(mine):
        assert rows[:8] == [f"{k} {seed}" for seed in range(8)]
        assert all(isinstance(row, str) and row.startswith("not flown") for row in rows[8:])


def test_a_state_that_is_not_finite_in_the_batch_is_explained_by_the_other_world(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        worlds, "_in_batch", lambda parts, *rest: [[{"failed": 1.0}, {"drift_m": 0.1}, {"failed": 1.0}]]
    )
    reasons = {10: "effect 'Mine' returned nan", 14: {"drift_m": 0.2}}
    monkeypatch.setattr(worlds, "_fly_alone", lambda part, seed, *rest: reasons[seed])
    (rows,) = Batched().fly(PARTS[:1], LANDING, 3.0, 0.7)
    assert rows == [
        "effect 'Mine' returned nan",
        {"drift_m": 0.1},
        "it fails in the batched world, though not in PyBullet",
    ]


@pytest.mark.slow
def test_two_workers_give_the_numbers_of_one_in_the_batched_world() -> None:
    campaign = Campaign([COPY], ["pd-trim", "oracle"], "hover-low", flights=6, world="batched")
    one, two = (run_campaign(campaign, LocalPool(n), shard_size=4) for n in (1, 2))
    assert {name: o.rows for name, o in one.items()} == {name: o.rows for name, o in two.items()}
