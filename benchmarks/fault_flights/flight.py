"""Short flights with one fault each, in simulated time: companion, line, autopilot and vehicle on one clock."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from benchmarks.fault_flights.rigs import RIGS, STREAM_RATE
from firmware_bridge.emulator.faults import FAULTS, FaultKind, Target
from firmware_bridge.emulator.modes import TICK
from firmware_bridge.emulator.vehicle import FlightWatch
from firmware_bridge.estimation.estimator import STILL
from firmware_bridge.guidance.flight_plan import FlightPlan
from firmware_bridge.guidance.guidance import Guidance
from firmware_bridge.loop import FlightLoop
from firmware_bridge.recording.tick_record import TickRecord
from firmware_bridge.supervisor.limits import Permission
from firmware_bridge.supervisor.types import IN_CONTROL, Phase
from neural_lander.arrays import Array
from neural_lander.control.controller import Controller
from neural_lander.control.guard import Guarded
from neural_lander.state import State
from neural_lander.vehicle import Vehicle

TICKS_PER_STEP = 4  # of the autopilot per tick of the companion: 100 Hz
SETTLE = 0.5  # s of hover before the landing
EARLIEST, LATEST_IN_AIR, LATEST_FROM_GROUND = 0.2, 3.2, 5.2
"""s from control until the fault begins: down to 0.2 m in the landing, or from the spooling up to the climb."""
WATCHED = 3.5  # s after the fault began: longer than three heartbeats
LONGEST = 30.0  # s of a flight


class FailingResidual:
    """No residual, until it is told to give NaN."""

    poisoned = False

    def at(self, state: State) -> Callable[[Array], Array]:
        """See :class:`~neural_lander.residual.model.ResidualModel`."""
        force = np.full(3, math.nan if self.poisoned else 0.0)
        return lambda _: force


@dataclass
class Flight:
    """One flight.

    Parameters
    ----------
    vehicle : Vehicle
    fault : str
        Name of one of :data:`~firmware_bridge.emulator.faults.FAULTS`.
    seed : int
        Of the fault, its moment, the noise; an odd third of them begins on the ground, armed by the companion, the
        others in the air, where the pilot gives control.
    firmware : str
        Key of :data:`~benchmarks.fault_flights.rigs.RIGS`.
    record : callable, optional
        Takes every tick's record.
    """

    vehicle: Vehicle
    fault: str
    seed: int
    firmware: str = "px4"
    record: Callable[[TickRecord], None] | None = None
    now: float = 0.0
    began: float = math.nan
    """When the fault began, s."""
    records: list[TickRecord] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Build both ends."""
        self._rng = np.random.default_rng([self.seed, 0xFA1])
        self.kind: FaultKind = FAULTS[self.fault]
        self.from_ground = self.seed % 3 == 1
        self.rig = RIGS[self.firmware](self.vehicle, self.firmware, self.seed, self.from_ground, lambda: self.now)
        self.watch = FlightWatch(self.rig.world)
        self.residual = FailingResidual()
        plan = FlightPlan(self.vehicle, height=1.0, settle_time=SETTLE)
        self.loop = FlightLoop(
            self.rig.open(),
            Guidance(Guarded(Controller(self.vehicle, self.residual)), plan),
            self.rig.height,
            permission=Permission(take_control=self.from_ground, arm=self.from_ground),
            record=self._keep,
            reopen=self.rig.open,
        )

    def _keep(self, record: TickRecord) -> None:
        self.records.append(record)
        if self.record is not None:
            self.record(record)

    def _poison(self, wanted: bool) -> None:
        self.residual.poisoned = wanted

    def run(self) -> Flight:
        """Fly, break, watch."""
        target = Target(self.rig.line, self.rig.faulty, self._poison)
        due, over, k = math.inf, math.inf, 0
        while self.now < min(self.began + WATCHED if self.began == self.began else LONGEST, LONGEST):
            k += 1
            self.now = k * TICK
            self.rig.step(self.now, self.loop.memory.phase)
            self.watch.look()
            if self.now >= due:
                self.began, over, due = self.now, self.now + self.kind.duration, math.inf
                self.kind.begin(target, self._rng, self.now)
            if self.now > over:
                over = math.inf
                self.kind.end(target)
            if k % TICKS_PER_STEP == 0:
                record = self.loop.tick(self.now)
                if record.decision.phase is Phase.TRACKING and due == math.inf and self.began != self.began:
                    latest = LATEST_FROM_GROUND if self.from_ground else LATEST_IN_AIR
                    due = self.now + float(self._rng.uniform(EARLIEST, latest))
        return self

    @property
    def reaction(self) -> float:
        """From the fault to the first tick that is not in control or sends nothing, s; NaN where it flew and landed."""
        for record in self.records:
            if record.decision.phase is Phase.LANDED:
                break
            if record.t >= self.began and (record.decision.phase not in IN_CONTROL or record.setpoint is None):
                return record.t - self.began
        return math.nan

    @property
    def age_allowed(self) -> float:
        """Of the state behind a setpoint, s: the loop's limit, and what the estimator needs to see frozen values."""
        unseen = (STILL + 2) / STREAM_RATE if self.fault == "frozen-values" else 0.0
        return self.loop.limits.state_age + unseen

    @property
    def end(self) -> Phase:
        """Phase at the end."""
        return self.records[-1].decision.phase

    @property
    def armed_again(self) -> int:
        """How often arming or the companion's mode was asked for after the fault."""
        return sum(t > self.began for t in self.rig.witness.armings + self.rig.witness.takings)
