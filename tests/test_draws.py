"""Random numbers by counter: their distribution, their independence, and that they depend on nothing else."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy import stats

from sim.draws import CHANNELS, Draws, WhiteNoise, scramble

FLIGHTS, STEPS, WIDTH = 20_000, 6, 4


@pytest.fixture(scope="module")
def normals() -> np.ndarray:
    """(steps, channels, flights) of neighbouring seeds."""
    draws = Draws(np.arange(FLIGHTS), 3)
    return np.stack([np.stack(draws.normal(k, WIDTH)) for k in range(STEPS)])


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    """In standard deviations of what independent numbers would show."""
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1] * np.sqrt(a.size))


def test_they_are_standard_normal(normals: np.ndarray) -> None:
    assert stats.kstest(normals.ravel(), "norm").pvalue > 0.001
    for one in normals.reshape(-1, FLIGHTS)[:8]:
        assert stats.kstest(one, "norm").pvalue > 1e-4
    assert abs(normals.var() - 1) < 4 * np.sqrt(2 / normals.size)
    assert abs(stats.kurtosis(normals.ravel())) < 4 * np.sqrt(24 / normals.size)


def test_one_flight_over_time_is_standard_normal() -> None:
    assert stats.kstest(Draws(7, 1).block(0, 20_000, 3).ravel(), "norm").pvalue > 0.001


@pytest.mark.parametrize("power", [1, 2])
def test_neighbours_in_seed_step_and_channel_are_independent(normals: np.ndarray, power: int) -> None:
    x = normals**power
    pairs = {
        "seeds": (x[..., 1:], x[..., :-1]),
        "every other seed": (x[..., 2:], x[..., :-2]),
        "steps": (x[1:], x[:-1]),
        "of a pair": (x[:, 0], x[:, 1]),
        "of two pairs": (x[:, 0], x[:, 2]),
        "seed and step": (x[1:, :, 1:], x[:-1, :, :-1]),
    }
    for name, (a, b) in pairs.items():
        assert abs(correlation(a, b)) < 4.5, name


def test_streams_of_a_seed_are_independent() -> None:
    a, b = (np.stack(Draws(np.arange(FLIGHTS), stream).normal(0, 4)) for stream in (1, 2))
    assert abs(correlation(a, b)) < 4.5


def test_no_flight_repeats_another_one_later() -> None:
    """A sum of key and counter would: two flights would share their noise, shifted in time."""
    blocks = np.stack([Draws(seed, 1).block(0, 200, 2)[:, 0] for seed in range(300)])
    assert len(np.unique(blocks)) > 0.9999 * blocks.size


@pytest.mark.slow
def test_the_hash_is_a_bijection_with_avalanche() -> None:
    x = np.arange(-(2**20), 2**20, dtype=np.int32)
    assert len(np.unique(scramble(x))) == len(x)
    for bit in range(31):
        changed = (scramble(x[:4096]) ^ scramble(x[:4096] ^ np.int32(1 << bit))).view(np.uint32)
        assert 0.45 < np.unpackbits(changed.view(np.uint8)).mean() < 0.55


def test_uniform_bits_are_uniform() -> None:
    bits = scramble(np.arange(100_000, dtype=np.int32)).view(np.uint32) / 2.0**32
    assert stats.kstest(bits, "uniform").pvalue > 0.001


@pytest.mark.parametrize("seed", [0, 1, 2**31 + 5, 2**32 - 1, 2**40 + 3])
def test_one_flight_in_numpy_draws_what_a_batch_in_torch_draws(seed: int) -> None:
    batch = Draws(torch.tensor([1, 2, seed]), 9)
    block = Draws(seed, 9).block(100, 3, 5)
    for k in range(3):
        drawn = [float(z[2]) for z in batch.normal(100 + k, 5)]
        assert_allclose(drawn, block[k], rtol=1e-13)
        assert_allclose([z[0] for z in Draws(seed, 9).normal(100 + k, 5)], block[k], rtol=1e-13)
        counted = batch.normal(torch.tensor(100 + k), 5)
        assert [float(z[2]) for z in counted] == drawn


def test_single_precision_draws_the_same_numbers() -> None:
    draws = Draws(torch.arange(10_000), 2)
    for double, single in zip(draws.normal(4, 3), draws.normal(4, 3, torch.zeros(1, dtype=torch.float32)), strict=True):
        assert single.dtype == torch.float32
        assert float((double - single).abs().max()) < 1e-5


def test_a_flight_draws_the_same_in_whatever_batch_and_with_however_many_channels() -> None:
    many = Draws(torch.arange(1000), 2).normal(4, 12)
    few = Draws(torch.tensor([17, 900]), 2).normal(4, 3)
    assert all(torch.equal(a[[17, 900]], b) for a, b in zip(many, few, strict=False))


def test_white_noise_goes_on_step_after_step_for_one_as_for_many() -> None:
    one, many = WhiteNoise(5, 4, 3), WhiteNoise(torch.tensor([4, 5]), 4, 3)
    for _ in range(600):
        assert_allclose(one(), [float(z[1]) for z in many()], rtol=1e-12)


def test_large_seeds_differ_from_small_ones_in_either_half() -> None:
    values = {float(Draws(seed, 0).normal(0, 1)[0][0]) for seed in (1, 1 + 2**32, 1 + 2**33, 2**32, 2**33)}
    assert len(values) == 5


def test_more_channels_than_there_are_counters_are_refused() -> None:
    with pytest.raises(ValueError, match="65"):
        Draws(1, 0).normal(0, CHANNELS + 1)
