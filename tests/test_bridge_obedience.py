"""Whether thrust that was sent is felt: the detector alone, and in flights."""

import math

import numpy as np
import pytest

from benchmarks.fault_flights.flight import Flight
from firmware_bridge.emulator.world import RigidBodyWorld
from firmware_bridge.guidance.obedience import MISMATCH, PATIENCE, Obedience
from firmware_bridge.supervisor.types import IN_CONTROL, Phase
from neural_lander.vehicle import load_vehicle

VEHICLE = load_vehicle("intel-aero")
TICK = 0.01


def fed(difference, seconds, obedience=None):
    """A detector that was given a difference for so long, and the first time it said so."""
    obedience, first = obedience or Obedience(), math.inf
    for k in range(round(seconds / TICK)):
        obedience(k * TICK, 9.8 + difference(k * TICK), 9.8)
        if obedience.mismatch and first == math.inf:
            first = k * TICK
    return obedience, first


def test_a_difference_that_lasts_is_told_with_its_sign_soon():
    for sign in (-1.0, 1.0):
        obedience, first = fed(lambda t, s=sign: s * 1.5 * MISMATCH, 1.0)
        assert obedience.mismatch == pytest.approx(sign * 1.5 * MISMATCH, rel=0.01)
        assert PATIENCE < first < PATIENCE + 0.2


@pytest.mark.parametrize(
    "difference",
    [
        lambda t: 0.9 * MISMATCH,
        lambda t: 3 * MISMATCH if t % 1.0 < 0.15 else 0.0,  # a gust
        lambda t: 4 * MISMATCH * math.sin(2 * math.pi * 20 * t),  # vibration
        lambda t: float(np.random.default_rng(int(1e3 * t)).normal(0, 5.0)),
    ],
)
def test_what_is_small_short_or_shakes_is_not(difference):
    assert fed(difference, 10.0)[1] == math.inf


def test_after_a_reset_it_knows_nothing():
    obedience, _ = fed(lambda t: 2 * MISMATCH, 1.0)
    obedience.reset()
    assert obedience.mismatch == 0.0


@pytest.mark.slow
def test_an_autopilot_that_hears_nothing_is_left_while_it_keeps_its_mode():
    """ArduCopter then levels and holds its height in guided, and nothing that it reports says so."""
    flight = Flight(VEHICLE, "half-open-mute", seed=9, firmware="ardupilot").run()
    left = next(r for r in flight.records if r.t > flight.began and r.decision.phase not in IN_CONTROL)
    assert left.decision.phase is Phase.HANDING_BACK
    assert left.decision.reason.startswith("the vehicle does not do what it is told")
    assert left.t - flight.began < 2.0


@pytest.mark.slow
def test_a_hand_that_holds_the_vehicle_is_felt_but_ground_effect_and_ten_percent_of_thrust_are_not():
    flight = Flight(VEHICLE, "foreign-ids", seed=0, firmware="ardupilot")
    fly = flight.rig.world.step
    assert isinstance(flight.rig.world, RigidBodyWorld)
    flight.rig.world.step = lambda speeds, dt: fly(speeds * math.sqrt(1.1), dt)
    assert flight.run().end in (Phase.TRACKING, Phase.LANDED)
