"""A batch stays where it is put. There may be no GPU here: torch's meta device refuses the CPU's tensors just so."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from test_batch_flight import COPIES, task

from neural_lander.errors import UserError
from sim.batch.flight import Flights
from sim.comparison.worlds import WORLDS, Batched, Part
from sim.plant_change import parse_changes
from sim.rigid_body import TIME_STEP
from sim.scenarios import WARM_UP, scenario_named

N = 4
STEPS = 4  # enough for what has a memory; on this device each operation takes a millisecond
META = torch.zeros((), dtype=torch.float32, device="meta")
LAWS = ("pd-cb-trim", "indi", "l1", "neural-lander-trim", "neural-lander-adaptive", "oracle-trim", "pd-trim+guard")
(WRONG,) = parse_changes(["mass=1.1,com=0.05,wind=2,delay=0.03,lag=0.05,dropout=0.1"])


def flown(laws: Sequence[str], scenario: str, monkeypatch: pytest.MonkeyPatch, near: bool, wrong: bool = False) -> None:
    """Nothing has a value there, so that Python's questions are answered here: is anyone near the ground, or done?"""
    monkeypatch.setattr(torch.Tensor, "__bool__", lambda self: near)
    monkeypatch.setattr(torch.Tensor, "nonzero", lambda self: torch.zeros((2, 1), dtype=torch.int64, device="meta"))
    tasks = [task(law, range(N)) for law in laws]
    if wrong:
        tasks = [replace(one, copy=WRONG.of(one.copy)) for one in tasks]
    brief = replace(scenario_named(scenario), duration=STEPS * TIME_STEP - WARM_UP)
    with torch.no_grad():
        flights = Flights(tasks, brief, 3.0, 0.7, META)
        flights.fly()
    recorded = [*flights.seen.values(), flights.contact, flights.cut]
    assert {values.device.type for values in recorded} == {"meta"}
    assert {values.dtype for values in flights.seen.values()} == {torch.float32}
    assert len(flights.seen["x"]) == STEPS


def test_a_tensor_of_the_cpu_would_be_refused() -> None:
    with pytest.raises(RuntimeError, match="not on the expected device"):
        torch.ones(3, device="meta") + torch.ones(3)


@pytest.mark.parametrize("near", [False, True], ids=["in the air", "near the ground"])
def test_a_landing_stays_on_its_device(near: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    flown(["pd-trim", "neural-lander-trim"], "land-3d", monkeypatch, near)


@pytest.mark.slow
@pytest.mark.parametrize("near", [False, True], ids=["in the air", "near the ground"])
@pytest.mark.parametrize("wrong", [False, True], ids=["nominal", "wrong"])
@pytest.mark.parametrize("scenario", ["land-3d", "cross-table", "deck"])
def test_every_law_stays_on_its_device(scenario: str, wrong: bool, near: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    flown(LAWS, scenario, monkeypatch, near, wrong)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_gpu_its_world_is_refused_before_anything_flies() -> None:
    for name, world in WORLDS.items():
        if "cuda" in name:
            with pytest.raises(UserError, match="finds no CUDA device here: take --world batched"):
                world.require()
            with pytest.raises(UserError, match="finds no CUDA device"):
                world.fly([], scenario_named("land-1d"), 3.0, 0.7)
        else:
            world.require()


def test_a_world_in_single_precision_computes_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[torch.Tensor] = []

    def fly_batch(tasks: object, scenario: str, *, like: torch.Tensor, **_: float) -> list[list[dict[str, float]]]:
        asked.append(like)
        return [[{"drift_m": 0.1}]]

    monkeypatch.setattr("sim.batch.flight.fly_batch", fly_batch)
    part = Part(COPIES[0], 0, "pd", (0,), (0,), np.zeros(3))
    for single in (False, True):
        assert Batched(single=single).fly([part], scenario_named("land-1d"), 3.0, 0.7) == [[{"drift_m": 0.1}]]
    assert [(like.dtype, like.device.type) for like in asked] == [(torch.float64, "cpu"), (torch.float32, "cpu")]
