"""Whatever the guard takes out of a controller's hands teaches its estimate nothing: every estimate, and a user's."""

import textwrap
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from constant_residual import ConstantResidual
from numpy.testing import assert_allclose
from random_network import random_network

from neural_lander.control.build import build_controller
from neural_lander.control.guard import Guarded, Limits
from neural_lander.control.kinds import CONTROLLERS, controller_named
from neural_lander.control.learned import Learned
from neural_lander.state import Reference
from neural_lander.vehicle import load_vehicle
from sim.airframe import Airframe
from sim.batch.controllers import batched
from sim.batch.world import BatchWorld
from sim.world import PyBulletWorld

VEHICLE = load_vehicle("intel-aero")
RANDOM = random_network(VEHICLE, 0)
FAINT = replace(
    RANDOM, weights=(*RANDOM.weights[:-1], 1e-6 * RANDOM.weights[-1]), biases=(*RANDOM.biases[:-1], np.zeros(3))
)
"""No force is in the world, and so none in the network: what it errs by would be learned rightly."""
LEARNED = Learned(FAINT, ConstantResidual(np.zeros(3)), 0.45, uncertified="random weights")
FLAT = Limits(tilt=0.1, tilt_low=0.1)  # rad: so little that whoever is far off to the side stays at the limit
MEASURING = {"indi", "l1"}
"""They compare what is felt with what the rotors were told, whoever told them: nothing there to wind up."""
STEPS = 240  # 1 s
USERS = """
import numpy as np
from neural_lander.arrays import constant, namespace
from neural_lander.control.trim import Trim


class Integrator:
    def __init__(self, vehicle):
        self.reset()

    def reset(self, d_hat=None):
        self.d_hat = np.zeros(3) if d_hat is None else d_hat

    def observe(self, t, state, rotor_thrust, f_a_hat):
        pass

    def update(self, t, s, hold):
        d_hat = constant(self.d_hat, s)
        if s.ndim == 1:
            self.d_hat = d_hat if hold else d_hat + 0.01 * s
        else:
            self.d_hat = namespace(s).where(hold[..., None], d_hat, d_hat + 0.01 * s)


class Ours(Trim):
    def __init__(self, vehicle):
        super().__init__(5.0 * np.ones(3), 1.0)
"""


@pytest.fixture
def users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_estimates.py").write_text(textwrap.dedent(USERS))
    monkeypatch.chdir(tmp_path)


ALL = [*CONTROLLERS, "own_estimates:Integrator", "own_estimates:Ours"]


def guarded(name: str) -> Guarded:
    return Guarded(build_controller(controller_named(name), VEHICLE, LEARNED), FLAT)


def aside(metres: float) -> Reference:
    return Reference(np.array([metres, 0.0, 1.0]), np.zeros(3), np.zeros(3))


@pytest.mark.usefixtures("users")
@pytest.mark.parametrize("name", ALL)
def test_a_second_of_guard_action_teaches_nothing(name: str) -> None:
    pytest.importorskip("pybullet", reason="the PyBullet world needs pybullet")
    controller = guarded(name)
    with PyBulletWorld(VEHICLE) as world:
        for k in range(STEPS):
            world.step(controller(k * world.dt, world.state, aside(5.0)))
            assert controller.intervention is not None and controller.intervention.active
            if controller_named(name).estimate in MEASURING:
                assert np.abs(controller.tracking.d_hat).max() < 0.02 * VEHICLE.weight
            else:
                assert np.all(controller.tracking.d_hat == 0)


@pytest.mark.usefixtures("users")
@pytest.mark.parametrize("name", ALL)
def test_of_a_batch_those_are_held_on_whom_it_acts(name: str) -> None:
    """The second vehicle is let pass, and learns what it learns with no guard at all."""
    like = torch.zeros((), dtype=torch.float64)
    free = batched([guarded(name).controller], [1], [np.zeros(3)], like)
    both = batched([guarded(name)], [2], [np.zeros(3)], like)
    starts = np.array([[-5.0, 0.0, 1.0], [-0.03, 0.0, 1.0]])
    worlds = [BatchWorld(VEHICLE, (), [Airframe.nominal()] * n) for n in (2, 1)]
    for world, start in zip(worlds, (starts, starts[1:]), strict=True):
        world.reset(start)
    here = Reference(*(torch.tensor(x) for x in ([0.0, 0.0, 1.0], [0.0] * 3, [0.0] * 3)))
    with torch.no_grad():
        for k in range(STEPS // 4):
            for world, controller in zip(worlds, (both, free), strict=True):
                world.step(controller(k * world.dt, world.state, here))
            assert both.intervention.active.tolist() == [True, False]
    d_hat, alone = (torch.as_tensor(c.tracking.d_hat) for c in (both, free))
    assert_allclose(d_hat.broadcast_to((2, 3))[1], alone.broadcast_to((1, 3))[0], atol=1e-9)
    kind = controller_named(name)
    if kind.estimate in MEASURING:
        assert d_hat[0].abs().max() < 0.02 * VEHICLE.weight
    else:
        assert torch.all(d_hat.broadcast_to((2, 3))[0] == 0)
        assert kind.estimate == "none" or torch.any(alone != 0)
