"""What must never be sent: nothing goes out, and the reason is on the screen and in the log."""

import json
import math
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from mcap.reader import make_reader

from benchmarks.fault_flights.rigs import RIGS
from firmware_bridge.emulator.modes import TICK
from firmware_bridge.guidance.flight_plan import FlightPlan
from firmware_bridge.guidance.guidance import Guidance
from firmware_bridge.loop import FlightLoop
from firmware_bridge.recording.recorder import Recorder
from firmware_bridge.session import Session, Wishes
from firmware_bridge.supervisor.types import IN_CONTROL, Phase
from neural_lander.control.controller import Controller
from neural_lander.residual.model import NoResidual
from neural_lander.vehicle import load_vehicle

VEHICLE = load_vehicle("intel-aero")
FULL = 4 * VEHICLE.thrust_coefficient * VEHICLE.u_max


@dataclass
class Run:
    """A session over an emulated line, in simulated time, that breaks half a second after control was given."""

    firmware: str
    recorder: Recorder
    spoil: object
    t: float = 0.0
    lines: list[str] = field(default_factory=list)
    spoilt_at: float = math.inf

    def now(self) -> float:
        return self.t

    def sleep_until(self, t: float) -> None:
        raise NotImplementedError

    def fly(self) -> None:
        rig = self.rig = RIGS[self.firmware](VEHICLE, self.firmware, 0, False, self.now)
        guidance = Guidance(Controller(VEHICLE, NoResidual()), FlightPlan(VEHICLE))
        loop = FlightLoop(rig.open(), guidance, rig.height, checks_passed=False, record=self.recorder.put)
        session = Session(loop, self, Wishes(), say=self.lines.append)
        right, controlled = guidance.step, None
        for k in range(1, round(12.0 / TICK)):
            self.t = k * TICK
            rig.step(self.t, loop.memory.phase)
            if controlled is None and loop.memory.phase in IN_CONTROL:
                controlled = self.t
            if controlled is not None and self.spoilt_at == math.inf and self.t > controlled + 0.5:
                self.spoilt_at = self.t
                guidance.step = lambda *a: replace(s := right(*a), setpoint=self.spoil(s.setpoint))
            if k % 4 == 0 and not session.tick(self.t, 0.0):
                break
            if self.t > self.spoilt_at + 1.0:
                break
        self.recorder.close()


@pytest.mark.parametrize("firmware", ["px4", "ardupilot", "betaflight"])
@pytest.mark.parametrize(
    "spoil, words",
    [
        (lambda s: replace(s, thrust=math.nan), "not finite"),
        (lambda s: replace(s, attitude=np.array([1.0, math.nan, 0.0, 0.0])), "not finite"),
        (lambda s: replace(s, attitude=s.attitude * 1.002), "attitude has the norm 1.002"),
        (lambda s: replace(s, thrust=1.01 * FULL), "thrust = "),
        (lambda s: replace(s, thrust=-0.1), "thrust = -0.1 N must be in [0,"),
    ],
    ids=["NaN thrust", "NaN attitude", "norm", "too much thrust", "negative thrust"],
)
def test_a_setpoint_that_must_not_be_sent_is_not_and_the_reason_is_shown_and_logged(firmware, spoil, words, tmp_path):
    run = Run(firmware, Recorder(tmp_path / "log.mcap", {}, commands=True), spoil)
    run.fly()
    witness = run.rig.witness
    assert run.spoilt_at < math.inf, run.lines
    assert len(witness.setpoints) > 40 and max(witness.setpoints) <= run.spoilt_at + TICK
    assert witness.not_finite == 0
    assert any(words in line for line in run.lines), run.lines
    assert any("handing back" in line for line in run.lines)
    with (tmp_path / "log.mcap").open("rb") as file:
        logged = [json.loads(m.data) for _, _, m in make_reader(file).iter_messages(topics=["/bridge"])]
    told = [m for m in logged if any(words in problem for problem in m["problems"])]
    assert told and all(m["setpoint_thrust"] is None for m in told)
    assert Phase.HANDING_BACK in {m["phase"] for m in logged}
