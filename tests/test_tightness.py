"""What keeps a certificate tight: penalties on paths, and on slopes that no input reaches."""

import math
from itertools import product

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmarks.training import synthetic
from neural_lander.certificate.evidence import proved_slopes
from neural_lander.certificate.steepest import InputBox, steepest
from neural_lander.residual.features import features_named
from neural_lander.residual.network import train_network
from neural_lander.residual.options import TrainingOptions
from neural_lander.residual.tightness import Tightness, UnreachedSlope, path_slope
from neural_lander.vehicle import load_vehicle

VEHICLE = load_vehicle("intel-aero")
ONE = torch.ones(1)
ROUNDS = 150  # of the search; a default training has 56 for each slope


def test_no_pattern_of_neurons_is_steeper_than_the_paths_and_where_none_cancels_one_is_as_steep() -> None:
    rng = np.random.default_rng(0)
    W = [rng.normal(size=shape) for shape in ((6, 7), (5, 6), (1, 5))]
    groups = [np.eye(7)[:, :3], np.eye(7)[:, 3:], np.eye(7)[:, 3:].sum(1, keepdims=True)]

    def steepest(W: list[np.ndarray], E: np.ndarray, D_1: np.ndarray, D_2: np.ndarray) -> float:
        return float(np.linalg.norm(W[2] * D_2 @ W[1] * D_1 @ W[0] @ E, 2))

    patterns = rng.integers(0, 2, (200, 11)).astype(float)
    found = sum(max(steepest(W, E, D[:6], D[6:]) for D in patterns) for E in groups)
    assert found <= float(path_slope([torch.tensor(V) for V in W], 3))
    W = [np.abs(V) for V in W]
    paths = float(path_slope([torch.tensor(V) for V in W], 3))
    assert paths == pytest.approx(sum(steepest(W, E, np.ones(6), np.ones(5)) for E in groups))


def ramps(*kinks: float) -> tuple[list[Tensor], list[Tensor]]:
    """A network of one input: one neuron on above each kink, or below where its sign is negative; all of slope 1."""
    W = [torch.tensor([[math.copysign(1.0, kink)] for kink in kinks]), torch.tensor([[*map(_sign, kinks)]])]
    return W, [torch.tensor([-abs(kink) for kink in kinks]), torch.zeros(1)]


def _sign(x: float) -> float:
    return math.copysign(1.0, x)


def unreached(W: list[Tensor], b: list[Tensor], low: float = -1.0, high: float = 1.0) -> float:
    """After some rounds of its search."""
    found = UnreachedSlope(low * ONE, high * ONE, torch.eye(1), torch.Generator().manual_seed(0))
    return [found(W, b).item() for _ in range(3)][-1]


def test_two_neurons_that_are_never_on_together_are_a_slope_that_no_input_reaches() -> None:
    never = ramps(0.5, -0.5)  # above 0.5, below -0.5
    assert unreached(*never) == pytest.approx(math.log(2.0))
    together = ramps(0.2, 0.5)
    assert unreached(*together) == 0.0
    assert unreached(*together, high=0.4) == pytest.approx(math.log(2.0))  # the input that has both does not occur


def test_the_ratio_is_that_of_an_exhaustive_search_over_patterns() -> None:
    rng, patterns = np.random.default_rng(3), np.array([*product((0.0, 1.0), repeat=11)])
    box, off = InputBox(-np.ones(4), np.ones(4)), []
    for _ in range(6):
        W = [rng.normal(size=shape) for shape in ((6, 4), (5, 6), (3, 5))]
        b = [rng.normal(size=len(V)) for V in W]
        layers, biases = ([torch.tensor(a, dtype=torch.float32) for a in arrays] for arrays in (W, b))
        found = UnreachedSlope(-torch.ones(4), torch.ones(4), torch.eye(4), torch.Generator().manual_seed(0))
        ratio = [float(found(layers, biases)) for _ in range(ROUNDS)][-1]
        J = np.einsum("ij,kj,jl,kl,lm->kim", W[2], patterns[:, 6:], W[1], patterns[:, :6], W[0], optimize=True)
        top, reached = np.linalg.norm(J, 2, axis=(1, 2)).max(), steepest(W, b, np.eye(4), box)[0]
        off.append(ratio - math.log(top / reached))
    assert np.median(np.abs(off)) < 1e-3
    assert np.abs(off).max() < 0.05  # one of the steepest inputs lies in a corner that no round found


def test_the_penalty_on_unreached_slopes_asks_for_no_flatter_network() -> None:
    W, b = ramps(0.5, -0.5)
    for V in W:
        V.requires_grad_()
    UnreachedSlope(-ONE, ONE, torch.eye(1), torch.Generator().manual_seed(0))(W, b).backward()
    for V in W:
        assert V.grad is not None and V.grad.abs().max() > 0.1
        assert float((V.grad * V.detach()).sum()) == pytest.approx(0.0, abs=1e-6)  # along its own size


def test_a_network_that_is_flat_wherever_it_flies_is_penalised_for_nothing() -> None:
    W, b = ramps(2.0, -2.0)  # on nowhere between -1 and 1
    assert unreached(W, b) == 0.0
    assert unreached([torch.zeros_like(V) for V in W], b) == 0.0


def test_penalties_are_due_at_their_steps_and_can_be_left_out() -> None:
    rng = np.random.default_rng(0)
    W = [torch.tensor(rng.normal(size=shape), dtype=torch.float32) for shape in ((6, 7), (3, 6))]
    b = [torch.zeros(6), torch.zeros(3)]

    def due(**options: float) -> list[bool]:
        ends, options_ = torch.ones(7), TrainingOptions(**options)  # type: ignore[arg-type]
        tightness = Tightness(-ends, ends, ends, 3, 1.0, options_)
        return [tightness(step, 30, 1.0, W, b) is not None for step in range(30)]

    assert due(path_weight=0.0, unreached_weight=0.0) == [False] * 30
    assert due(unreached_weight=0.0) == [step % 4 == 0 for step in range(30)]
    assert due(path_weight=0.0) == [step % 8 == 0 and step > 15 for step in range(30)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("hidden", "layers", "allowed"),
    [((25, 30, 15), "aol", 0.01), ((25, 30, 15), "projection", 0.01), ((50, 50, 50), "aol", 0.03)],
)
def test_slopes_are_proved_to_a_hundredth_of_what_a_search_reaches(
    hidden: tuple[int, ...], layers: str, allowed: float
) -> None:
    for seed in range(2):
        options = TrainingOptions(hidden=hidden, layers=layers, seed=seed)
        network = train_network(synthetic(VEHICLE), features_named(options.features), VEHICLE, options).network
        slopes = proved_slopes(network, VEHICLE)
        for name in ("lipschitz_total", "lipschitz_rotor_thrust", "lipschitz_collective"):
            reached = slopes[name].reached
            assert reached is not None and 1.0 <= slopes[name].bound / reached <= 1.0 + allowed, (name, seed)
