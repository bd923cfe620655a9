"""The ground must carry before the motors stop: nobody who hangs low is cut off, and who stands is soon found."""

import math
from dataclasses import dataclass, field

import numpy as np
import pytest
from test_bridge_end_to_end import VEHICLE, Outcome

from firmware_bridge.emulator.world import RigidBodyWorld
from firmware_bridge.guidance.ground_contact import GroundContact
from firmware_bridge.guidance.ground_probe import LEAST, RATE, RECOVERY, SINK_TIME, TAKEN, GroundProbe
from firmware_bridge.recording.tick_record import TickRecord
from firmware_bridge.supervisor.types import Phase
from neural_lander.control.controller import Controller
from neural_lander.control.touchdown import CONTACT_TIME
from neural_lander.control.tracking import TrackingGains
from neural_lander.vehicle import GRAVITY

DT = 0.01
FOUND = 1.0  # s from the moment on which it stands for good to the stop of its motors


@dataclass
class Probed:
    """A point mass under a PD law that hangs where it begins, over a floor, with its rotors' lag and noisy reports."""

    height: float  # m
    omega_n: float  # rad/s, of the law
    seed: int = 0
    grain: float = 0.0  # m, of the reported height
    drift: float = 0.0  # m/s by which the reported vertical speed is off
    sign: bool = True
    probe: GroundProbe = field(default_factory=GroundProbe)

    def run(self, seconds: float) -> "Probed":
        rng, hang = np.random.default_rng(self.seed), self.height
        z, v, lift, command = hang, 0.0, GRAVITY, GRAVITY
        self.found, self.touched, self.speed, self.stood = None, None, 0.0, hang <= 0.0
        for k in range(round(seconds / DT)):
            seen = z + 0.003 * rng.standard_normal()
            seen = round(seen / self.grain) * self.grain if self.grain else seen
            climb = v + self.drift + 0.01 * rng.standard_normal()
            if self.probe(DT * k, self.sign, seen, climb, command) and self.found is None:
                self.found, self.stood = DT * k, z <= 0.0
            wanted = GRAVITY + self.omega_n**2 * (hang - z) - 2 * self.omega_n * v
            command = self.probe.share * max(wanted, 0.0)
            for _ in range(4):
                lift += DT / 4 / 0.03 * (command - lift)
                v += DT / 4 * (lift - GRAVITY)
                z += DT / 4 * v
                if z <= 0.0:
                    self.touched = DT * k if self.touched is None else self.touched
                    self.speed, z, v = max(self.speed, -v), 0.0, 0.0
        return self


@pytest.mark.parametrize("omega_n", [2.0, 3.0, 6.0, 12.0])
@pytest.mark.parametrize("grain, drift", [(0.0, 0.0), (0.01, 0.0), (0.0, 0.02), (0.0, -0.02)])
def test_who_hangs_is_let_down_and_found_only_on_the_ground(omega_n: float, grain: float, drift: float) -> None:
    """Centimetres as some rangefinders count them, and an estimator whose vertical speed is off."""
    for seed in range(10):
        for height in (0.008, 0.015, 0.04):
            flown = Probed(height, omega_n, seed, grain, drift).run(4.0)
            assert flown.found is None or flown.stood, (height, seed)
            assert flown.speed < 0.3  # as fast as the descent


@pytest.mark.parametrize("grain, drift", [(0.0, 0.0), (0.01, 0.0), (0.0, 0.02), (0.0, -0.02)])
def test_who_stands_is_found_in_time(grain: float, drift: float) -> None:
    found = [Probed(0.0, 3.0, seed, grain, drift).run(2.0).found for seed in range(50)]
    assert all(t is not None and TAKEN / RATE < t < 0.75 for t in found)


def standing(bias: float, noise: float = 0.0, glitches: int = 0, seed: int = 0, seconds: float = 5.0) -> float:
    """When one who stands at 5 mm is found for as long as the motors' stop asks for; infinite if never."""
    rng, probe, since = np.random.default_rng(seed), GroundProbe(), math.inf
    for k in range(round(seconds / DT)):
        t = DT * k
        jolt = -0.25 if any(0.0 <= t - 0.4 * n < 0.05 for n in range(1, glitches + 1)) else 0.0
        found = probe(t, True, 0.005 + noise * rng.standard_normal(), bias + jolt, probe.share * GRAVITY)
        since = min(since, t) if found else math.inf
        if t - since >= CONTACT_TIME:
            return t
    return math.inf


@pytest.mark.parametrize("bias", [-0.07, -0.085, -0.1, -0.2])
def test_a_speed_that_is_off_hides_the_ground_not_for_long(bias: float) -> None:
    """An estimator that goes on sinking after the touchdown, while the height stays where it is."""
    assert standing(bias) < FOUND + SINK_TIME


@pytest.mark.parametrize("landed", [None, True])
@pytest.mark.parametrize("bias", [-0.085, -0.1, -0.12])
def test_signs_and_probe_find_the_ground_under_a_speed_that_is_off(bias: float, landed: bool | None) -> None:
    """With the autopilot's flag and without: then its height, which stays where it is, has to be the sign."""
    contact, probe, found = GroundContact(GRAVITY), GroundProbe(), []
    for k in range(300):
        thrust = probe.share * GRAVITY
        sign = contact(DT * k, 0.005, bias, thrust, landed)
        found.append(probe(DT * k, sign, 0.005, bias, thrust))
    assert found.index(True) * DT < (1.0 if landed else 1.7)
    assert all(found[found.index(True) :])


@pytest.mark.parametrize("bias", [0.0, -0.07, -0.1])
def test_falls_that_are_noise_do_not_use_up_what_can_be_taken(bias: float) -> None:
    assert max(standing(bias, 0.03, seed=seed) for seed in range(100)) < 3.5


def test_glitches_of_the_speed_do_not_use_up_what_can_be_taken() -> None:
    assert standing(0.0, glitches=3) < FOUND + 0.5
    assert max(standing(-0.07, 0.03, glitches=3, seed=seed) for seed in range(100)) < 3.5


def test_without_the_sign_all_of_the_thrust_comes_back() -> None:
    probe = GroundProbe(LEAST)
    assert not probe(0.0, False, 0.5, 0.0, 10.0)
    for k in range(1, 1 + round((1 - LEAST) / RECOVERY / DT)):
        assert not probe(DT * k, False, 0.5, 0.0, 10.0)
    assert probe.share == pytest.approx(1.0)


class Landing:
    """A landing in the emulator, with what the world knows at every tick of the loop."""

    def __init__(self, firmware: str, seed: int, gains: TrackingGains | None = None) -> None:
        self.world = RigidBodyWorld(VEHICLE)
        self.rows: list[tuple[float, float, float, bool]] = []  # s, m, m/s, contact; with the reference at rest
        self.landed_at = None
        controller = Controller(VEHICLE, gains=gains)
        self.flight = Outcome(firmware, self.world, self._keep, takes_off=False, seed=seed, controller=controller)

    def _keep(self, record: TickRecord) -> None:
        if record.decision.phase is Phase.LANDED and self.landed_at is None:
            self.landed_at = record.t
        reference = record.reference
        if record.stage != "land" or self.landed_at is not None or reference is None:
            return
        if reference.position[2] <= VEHICLE.gear_clearance + 1e-9:
            state = self.world.state
            self.rows.append((record.t, float(state.height), float(state.velocity[2]), bool(state.contact)))

    @property
    def stands_since(self) -> float:
        return max(t for t, _, _, contact in self.rows if not contact)


@pytest.mark.slow
@pytest.mark.parametrize("firmware", ["px4", "ardupilot"])
def test_who_hangs_at_one_and_a_half_centimetres_is_not_cut_off_and_lands(firmware: str) -> None:
    """Without integral action: ground effect carries it there for good. A rangefinder with noise, or in centimetres.

    Whether it hangs, or is pushed down to the ground by the noise at once, is the noise's to say.
    """
    hanging = 0
    for seed in range(6):
        landing = Landing(firmware, seed, TrackingGains.critically_damped(VEHICLE, 5.0, Gamma=0.0))
        hung = [h for _, h, _, contact in landing.rows if not contact]
        hanging += 0.012 < np.median(hung) < 0.02 and len(hung) > 80
        assert landing.flight.locked == "landed and disarmed"
        assert landing.landed_at is not None
        assert 0.4 < landing.landed_at - landing.stands_since < FOUND
        down = [-v for t, _, v, _ in landing.rows if t > landing.rows[0][0] + 0.6]
        assert max(down) < 0.2  # let down, not dropped: from 15 mm a fall ends at 0.54 m/s
    assert hanging >= 2


@pytest.mark.slow
@pytest.mark.parametrize("firmware, seed", [("px4", 0), ("ardupilot", 1)])
def test_a_true_touchdown_is_found_in_time(firmware: str, seed: int) -> None:
    landing = Landing(firmware, seed)
    assert landing.flight.locked == "landed and disarmed"
    assert landing.landed_at is not None
    assert landing.landed_at - landing.stands_since < FOUND
    assert landing.landed_at - landing.rows[0][0] < 2.5


@pytest.mark.slow
def test_an_abort_low_above_the_ground_goes_around_in_the_emulator() -> None:
    world, rows = RigidBodyWorld(VEHICLE), []

    def low() -> bool:
        return bool(rows) and rows[-1][0] == "land" and float(world.state.height) < 0.1

    def keep(record: TickRecord) -> None:
        rows.append((record.stage, float(world.state.height), record.reference))

    flight = Outcome("px4", world, keep, takes_off=False, abort=low)
    around = [(height, reference) for stage, height, reference in rows if stage == "go around"]
    first = around[0][1]
    assert first is not None and -0.4 < first.velocity[2] < -0.2  # no jump: it begins with the sink that there is
    assert min(height for height, _ in around) > 0.03
    assert max(height for height, _ in around) == pytest.approx(1.0, abs=0.1)
    assert flight.locked.startswith("handed back")
