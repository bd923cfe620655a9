"""The closed loop as a graph: what it keeps, and that compiled it flies as it does step by step."""

import pytest
import torch
from numpy.testing import assert_allclose

from benchmarks.batch import compiled, eager
from sim.batch.graph import Graph, put, tensors
from sim.batch.world import BatchWorld


class Counter:
    """Something with state, as a loop has it."""

    def __init__(self) -> None:
        self.x, self.pair, self.unused = torch.zeros(3), (torch.ones(3), [torch.ones(3)]), torch.zeros(3)
        self.constant = torch.tensor(2.0)

    def step(self) -> None:
        self.x = self.x + self.constant
        self.pair = (self.pair[1][0], [self.pair[0] + self.x])
        self.unused = 3 * self.x


Counter.__module__ = "sim.batch.example"  # objects of ours alone are entered


def test_every_tensor_is_found_by_its_path_and_put_back() -> None:
    counter = Counter()
    found = tensors([counter])
    assert set(found) == {"/0.x", "/0.pair/0", "/0.pair/1/0", "/0.unused", "/0.constant"}
    put([counter], {path: x + 10 for path, x in found.items()})
    assert counter.x.tolist() == [10.0] * 3 and counter.pair[1][0].tolist() == [11.0] * 3


@pytest.mark.slow
def test_a_graph_keeps_what_the_next_step_reads_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda graph, dynamic: graph)
    counter, plain = Counter(), Counter()
    graph = Graph(counter.step, [counter], steps=2)
    assert graph._kept == ["/0.x", "/0.pair/0", "/0.pair/1/0"]
    for _ in range(3):
        graph()
    graph.put_back()
    for _ in range(4 + 2 * 3):
        plain.step()
    assert torch.equal(counter.x, plain.x) and torch.equal(counter.pair[1][0], plain.pair[1][0])


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # of inductor itself
@pytest.mark.slow
def test_a_compiled_loop_flies_as_it_does_step_by_step() -> None:
    """Laws, noise, effects and thrust iteration: to rounding."""
    with torch.no_grad():
        graph, (world, *_) = compiled(16, dtype=torch.float64)
        for _ in range(5):
            graph()
        graph.put_back()
        step, (plain, *_) = eager(16, dtype=torch.float64)
        for _ in range(4 + 5):
            step()
    assert isinstance(world, BatchWorld)
    for ours, theirs in ((world.p, plain.p), (world.v, plain.v), (world.w, plain.w)):
        assert_allclose(torch.stack(list(ours)), torch.stack(list(theirs)), rtol=0, atol=1e-10)
