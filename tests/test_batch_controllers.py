"""What a batch makes of the controllers of single vehicles."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from random_network import random_network

from neural_lander.control.adaptation import LastLayerAdaptation
from neural_lander.control.controller import Controller
from neural_lander.residual.domain import Domain, FadingResidual
from neural_lander.residual.model import ReluNetwork, ResidualModel, WithinThrusts
from neural_lander.vehicle import load_vehicle
from sim.batch.controllers import batched

VEHICLE = load_vehicle("intel-aero")
WIDE = np.array([[-9.0, 9.0], [-9.0, 9.0]])
DOMAIN = Domain(np.array([-1.0, 3.0]), WIDE, 9 * np.ones(2), np.ones(2), 2.0, np.zeros(3), np.array([0.0, 60.0]))


def within(network: ReluNetwork) -> ResidualModel:
    return WithinThrusts(network, 0.5, 6.0)


def faded(network: ReluNetwork) -> ResidualModel:
    return FadingResidual(network, DOMAIN)


def both(network: ReluNetwork) -> ResidualModel:
    return FadingResidual(WithinThrusts(network, 0.5, 6.0), DOMAIN)


def adapted(network: ReluNetwork) -> ResidualModel:
    return FadingResidual(WithinThrusts(LastLayerAdaptation(VEHICLE, network, np.ones(3)), 0.5, 6.0), DOMAIN)


def network_in(model: Any) -> ReluNetwork:
    while not isinstance(model, ReluNetwork):
        model = getattr(model, "model", None) or model.network
    return model


@pytest.mark.parametrize("wrapped", [lambda network: network, within, faded, both, adapted])
def test_a_network_is_prepared_whatever_it_is_wrapped_in(wrapped: Callable[[ReluNetwork], ResidualModel]) -> None:
    """Its weights are torch's once and for all: made from NumPy's at every step they would not reach a GPU."""
    network = replace(random_network(VEHICLE, 0), certified=None)  # which nobody has asked anything yet
    controller = Controller(VEHICLE, wrapped(network), contraction_factor=0.5, uncertified="random weights")
    one = batched([controller], [2], [np.zeros(3)], torch.zeros((), dtype=torch.float64))
    ((_, model),) = one.residual.parts  # type: ignore[attr-defined]
    low_high, first, thrust, layers = vars(network_in(model))["_numpy"]
    assert all(isinstance(part, torch.Tensor) for part in (*low_high, *first, thrust, *layers))
