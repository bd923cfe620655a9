"""Whatever cflib calls back with, the Crazyflie link raises nothing but that it is lost, and fills nothing."""

import contextlib
import gc
import math
import random
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from fake_crazyflie import FakeCrazyflie, FakeLogConfig

from firmware_bridge.crazyflie.link import EVENTS, MOST_PWM, MOST_VOLTAGE, CrazyflieLink
from firmware_bridge.crazyflie.logs import BLOCKS
from firmware_bridge.estimation.height import Rangefinder
from firmware_bridge.heard import Heard
from firmware_bridge.link import (
    AttitudeReport,
    AttitudeSetpoint,
    BatteryReport,
    ImuReport,
    LinkLost,
    PositionReport,
    RangeReport,
    RestartReport,
    RotorReport,
    StatusReport,
)
from firmware_bridge.thrust import ThrustMap
from neural_lander.errors import UserError
from neural_lander.vehicle import load_vehicle

VEHICLE = load_vehicle("crazyflie-21")
THRUST = ThrustMap(0.6, VEHICLE.weight, hover_voltage=3.7, voltage_exponent=1.0)
HOVER = AttitudeSetpoint(np.array([1.0, 0.0, 0.0, 0.0]), VEHICLE.weight)
FEW, MANY = 3000, 100_000
SPECIAL = (math.nan, math.inf, -math.inf, 3.4e38, -3.4e38, 1e-45, 0.0, -0.0, -1.0, 65504.0, 1e308)
NO_NUMBERS: tuple[Any, ...] = (None, "1.0", "", b"\0", [1.0], {}, 10**400, 1j, object())
SOUND = {
    "position": (0.1, -0.2, 0.8, 0.0, 0.1, -0.1),
    "attitude": (1.0, 0.0, 0.0, 0.0, 1.0, -1.0, 0.5),
    "inertial": (0.0, 0.1, 1.0, 0.5, 0.5, 0.5),
    "range": (800,),
    "rotors": (15000, 15100, 15200, 15300),
    "status": (2 | 8 | 16,),
    "battery": (3.8, 70),
}
KINDS = {
    PositionReport, AttitudeReport, ImuReport, RangeReport, RotorReport, StatusReport, BatteryReport, RestartReport,
}  # fmt: skip


class Fuzzed:
    """A link, and what cflib may call it with."""

    def __init__(self, seed: int) -> None:
        self.rng, self.now = random.Random(seed), 10.0
        self.heard = Heard(VEHICLE, Rangefinder())
        self.seen: set[type] = set()
        self.open()

    def open(self) -> None:
        self.gone = False
        self.fake = FakeCrazyflie()
        self.link = CrazyflieLink(self.fake, FakeLogConfig, "radio://0", VEHICLE, thrust_map=THRUST)
        self.fake.connected.call("radio://0")
        self.fake.link_statistics.latency_updated.call(8.0)
        self.link.poll(self.now)
        self.link.take_control(self.now)

    def values(self, block: str) -> Any:
        """What a block holds: sound, special, of a wrong type, missing, unknown."""
        rng, numbers = self.rng, list(SOUND[block])
        names: list[Any] = [name for name, _ in BLOCKS[block][1]]
        kind = rng.random()
        if kind < 0.3:
            for k in rng.sample(range(len(numbers)), rng.randint(1, len(numbers))):
                numbers[k] = rng.choice(SPECIAL) if rng.random() < 0.7 else rng.uniform(-1e3, 1e3)
        elif kind < 0.4:
            return dict(zip(names, (rng.choice(NO_NUMBERS) for _ in names), strict=True))
        elif kind < 0.5:
            other = [name for name, _ in BLOCKS[rng.choice(list(BLOCKS))][1]]
            return dict(zip(rng.sample(other, rng.randint(0, len(other))), numbers, strict=False)) | {"un.known": 1.0}
        elif kind < 0.52:
            return rng.choice(NO_NUMBERS)
        return dict(zip(names, numbers, strict=True))

    def stamp(self) -> Any:
        """Of a packet: mostly the firmware's clock, else out of order, of another time, or no number."""
        kind, true = self.rng.random(), round(1000 * self.now)
        if kind < 0.8:
            return true
        if kind < 0.95:
            return max(true - self.rng.randint(0, 100), 0)
        if kind < 0.97:
            return self.rng.choice((0, 2**24 - 1, self.rng.randrange(2**24)))
        return self.rng.choice((-1, 2**24, 2**63, *SPECIAL, *NO_NUMBERS))

    def say(self) -> None:
        """One call of cflib's thread."""
        rng, fake = self.rng, self.fake
        kind = rng.random()
        if kind < 0.97:
            block = rng.choice(list(BLOCKS))
            fake.blocks[block].data_received_cb.call(self.stamp(), self.values(block), fake.blocks[block])
        elif kind < 0.99:
            fake.link_statistics.latency_updated.call(rng.choice((8.0, np.float64(7.0), *SPECIAL, *NO_NUMBERS)))
        elif kind < 0.999:
            fake.packet_received.call(None)
        else:
            name = rng.choice(("connection_failed", "connection_lost", "disconnected"))
            getattr(fake, name).call(*rng.choice((("radio://0",), ("radio://0", "why"), ("radio://0", None))))
            self.gone = True

    def poll(self) -> None:
        try:
            reports = self.link.poll(self.now)
        except LinkLost:
            assert self.gone
            self.fake_is_told_numbers()
            self.open()
            return
        assert not self.gone
        for report in reports:
            assert getattr(report, "t", self.now) <= self.now + 1e-6
            assert getattr(report, "error", 0.0) >= 0.0
            self.seen.add(type(report))
        self.heard.take(reports, self.now)
        self.heard.view(self.now)
        assert len(self.link._arrivals) <= EVENTS
        self.command()

    def command(self) -> None:
        """Something that the loop asks for."""
        link, now = self.link, self.now
        asked: Callable[[float], None] = self.rng.choice((link.arm, link.take_control, link.hand_back, link.disarm))
        if self.rng.random() < 0.1:
            asked(now)
        with contextlib.suppress(UserError):
            link.send(HOVER, now)
        if self.rng.random() < 0.05:
            link.preflight()
            link.quality()
        self.fake_is_told_numbers()

    def fake_is_told_numbers(self) -> None:
        """What goes out fits the packets that cflib makes of it; a landing does not take for ever."""
        for name, *numbers in self.fake.told:
            assert all(math.isfinite(x) for x in numbers), (name, numbers)
            if name == "land":
                assert abs(numbers[0]) < 200.0 and 1.0 <= numbers[1] < 1000.0
            if name == "send_setpoint" and numbers[3]:
                least = 65_535 * 0.6 * 3.7 / MOST_VOLTAGE  # for the weight, at the highest voltage that is believed
                assert least - 1 <= numbers[3] <= MOST_PWM
        self.fake.told.clear()

    def run(self, count: int) -> None:
        for _ in range(count):
            self.say()
            if self.rng.random() < 0.4:
                self.now += self.rng.choice((0.002, 0.005, 0.01))
                self.poll()

    def recovers(self) -> None:
        """Sound packets are heard at once, whatever came before."""
        self.open()
        self.heard.estimator.reset()
        for _ in range(3):
            self.now += 0.01
            for block, values in SOUND.items():
                self.fake.tell(block, round(1000 * self.now), *values)
            reports = self.link.poll(self.now)
            assert {type(report) for report in reports} == KINDS - {RestartReport}
            self.heard.take(reports, self.now)
        estimate = self.heard.estimator.at(self.now)
        assert estimate is not None and estimate.position_age_at_most < 0.02


def fuzz(count: int, seed: int) -> Fuzzed:
    fuzzed = Fuzzed(seed)
    fuzzed.run(count)
    fuzzed.poll()
    assert fuzzed.seen == KINDS, "some kind of report was never made"
    return fuzzed


def test_whatever_cflib_tells_nothing_raises() -> None:
    fuzz(FEW, seed=1).recovers()


def test_what_is_not_polled_is_forgotten_and_not_kept() -> None:
    fuzzed = Fuzzed(seed=3)
    for _ in range(2 * EVENTS):
        fuzzed.fake.tell("range", round(1000 * fuzzed.now), 500)
    assert len(fuzzed.link._events) == EVENTS
    assert len(fuzzed.link.poll(fuzzed.now)) == EVENTS and not fuzzed.link._events


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_a_hundred_thousand_calls_of_anything_raise_nothing_and_memory_stays_flat(seed: int) -> None:
    fuzz(FEW, seed=10 + seed)
    tracemalloc.start()
    fuzzed = fuzz(FEW, seed=20 + seed)
    gc.collect()  # of links that were opened anew: a whole one is a cycle
    before = tracemalloc.get_traced_memory()[0]
    fuzzed.run(MANY // 2)
    gc.collect()
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 100_000, grown
    fuzzed.recovers()
