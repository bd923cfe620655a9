"""What statistics may be taken from the batched world: in single precision, and of contact, against PyBullet."""

import numpy as np
import pytest
import torch
from test_batch_flight import COPIES, TRIM, task

from sim.batch.flight import Flights, fly_batch
from sim.controllers import build_controller, controller_named
from sim.landing import fly_once
from sim.scenarios import scenario_named

pytest.importorskip("pybullet", reason="the worlds are compared")
pytestmark = pytest.mark.slow

LANDING = scenario_named("land-1d")
FIGURES = ("drift_m", "arrival_error_m", "lateness_s", "touchdown_speed_m_s")
COUNTED = ("touchdown", "tipped_over", "success")
BARE = 1.0  # share of the thrust kept in contact: nothing lays weight on the gear, so that it hops


@pytest.mark.parametrize("controller", ["pd-trim", "neural-lander-trim"])
def test_single_precision_has_the_medians_of_double_precision(controller: str) -> None:
    """Over 100 landings: within 1 % of the spread between flights, and not one landing counted differently."""
    single, double = (
        fly_batch([task(controller, range(100))], "land-1d", like=torch.zeros((), dtype=dtype))[0]
        for dtype in (torch.float32, torch.float64)
    )
    for key in FIGURES:
        ours, exact = (np.array([row[key] for row in rows]) for rows in (single, double))
        spread = np.subtract(*np.nanquantile(exact, [0.75, 0.25]))
        assert abs(np.nanmedian(ours) - np.nanmedian(exact)) < 0.01 * spread, key
    for key in COUNTED:
        assert sum(row[key] for row in single) == sum(row[key] for row in double), key


def contacts(contact: np.ndarray) -> tuple[int, int]:
    """How often it touches, and how many steps long."""
    return int(contact[0]) + int(np.sum(contact[1:] & ~contact[:-1])), int(contact.sum())


def test_contact_has_the_statistics_that_it_has_in_pybullet() -> None:
    """Over 24 descents that hop: 95 % intervals of the paired differences lie within a tenth of what PyBullet has."""
    seeds, controller = range(24), "pd-trim"
    with torch.no_grad():
        flights = Flights([task(controller, seeds)], LANDING, 3.0, BARE, None)
        flights.fly()
    cut = flights.cut.tolist()
    ours = [contacts(flights.contact[: cut[i], i].numpy()) for i in range(len(seeds))]
    one = build_controller(controller_named(controller), COPIES[0].plant, COPIES[0].learned)
    theirs = []
    with COPIES[0].plant.build() as world:
        for seed in seeds:
            _, truth, _, _ = fly_once(world, COPIES[0].plant, one, LANDING, seed, TRIM, resting_share=BARE)
            theirs.append(contacts(truth.contact))
    expected = np.mean(theirs, axis=0)
    difference = np.subtract(ours, theirs)
    middle, half = difference.mean(axis=0), 1.96 * difference.std(axis=0) / np.sqrt(len(seeds))
    assert expected[0] > 2  # it does hop
    assert abs(middle[0]) + half[0] < 0.1 * expected[0]  # times it touches
    assert abs(middle[1]) + half[1] < 0.1 * expected[1]  # time in contact
