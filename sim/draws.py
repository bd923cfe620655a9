"""Random numbers by counter: a normal depends on a flight's seed, a stream, a step and a channel, on nothing else.

A flight then has the same noise in whatever batch it flies, on whatever machine, in NumPy and in torch. A generator
with a state of its own gives no such promise: its numbers depend on how many were drawn before, and for whom.

The bits are those of an integer hash with the structure "xor with the shifted self, multiply" of MurmurHash3's
finalizer (A. Appleby, 2011), with the constants that C. Wellons found by search to have the least avalanche bias
("lowbias32", Hash Prospector, 2018). It is a bijection of 32 bits, so that no two seeds share a key, and both the
counter and what it is combined with go through it: neighbouring seeds, steps and channels have nothing in common
(tests hold it to that). Pairs of uniforms become pairs of normals by Box and Muller (Ann. Math. Statist. 29, 1958).
"""

from __future__ import annotations

import math
from typing import Any

import array_api_compat
import numpy as np

from neural_lander.arrays import Array, namespace
from neural_lander.components import Vector

BLOCK = 512  # steps of one flight that are drawn at once
CHANNELS = 64  # per step and stream, at most
_MULTIPLIERS = (0x7FEB352D, 0x846CA68B - (1 << 32))  # as signed integers: torch has no arithmetic on unsigned ones
_UNIFORM = 2.0**-24  # of the upper 24 bits: as many as a float32 holds


def _shifted(x: Array, bits: int) -> Array:
    """Logical shift to the right of signed 32-bit integers."""
    return (x >> bits) & ((1 << (32 - bits)) - 1)


def scramble(x: Array) -> Array:
    """The hash, elementwise on 32-bit integers: a bijection."""
    x = (x ^ _shifted(x, 16)) * _MULTIPLIERS[0]
    x = (x ^ _shifted(x, 15)) * _MULTIPLIERS[1]
    return x ^ _shifted(x, 16)


def _integers(values: Any) -> np.ndarray:
    """As 32-bit integers, modulo 2^32."""
    return np.atleast_1d(np.asarray(values, dtype=np.uint64)).astype(np.uint32).view(np.int32)


class Draws:
    """Standard normals of one stream, for one flight or for N at once.

    Parameters
    ----------
    seeds : int or integer array (N,)
        One per flight, in 0..2^64 - 1 (torch: 2^63 - 1). An array decides library and device of what is drawn.
    stream : int
        What the numbers are for: two streams of a seed are independent.
    """

    def __init__(self, seeds: int | Array, stream: int) -> None:
        start = scramble(_integers(stream))
        if isinstance(seeds, int | np.integer | np.ndarray):
            low, high = _integers(np.asarray(seeds, dtype=np.uint64)), _integers(np.asarray(seeds, np.uint64) >> 32)
        else:
            xp = namespace(seeds)
            low, high = xp.astype(seeds & 0xFFFFFFFF, xp.int32), xp.astype(seeds >> 32, xp.int32)
            start = xp.asarray(start, device=array_api_compat.device(seeds))
        self._key = scramble(scramble(low ^ start) ^ high)  # (N,)

    def normal(self, step: int | Array, channels: int, like: Array | None = None) -> tuple[Array, ...]:
        """Channels 0..channels - 1 of one step, each ``(N,)``, in the precision of ``like`` (float64 without one).

        A step may be an integer array of no dimension, which a compiled loop counts without being compiled anew.
        """
        xp = namespace(self._key)
        counters = self._counters(step, channels)
        bits = scramble(self._key ^ counters[:, None])
        return tuple(_box_muller(bits, xp, xp.float64 if like is None else like.dtype)[:channels])

    def block(self, step: int, count: int, channels: int) -> np.ndarray:
        """Steps ``step`` to ``step + count - 1`` of one NumPy flight at once, ``(count, channels)``: cheap per step."""
        steps = np.arange(step, step + count, dtype=np.uint64) * CHANNELS
        counters = scramble(_integers(steps + _indices(channels).astype(np.uint64)[:, None]))
        return np.ascontiguousarray(_box_muller(scramble(self._key ^ counters), np, np.float64)[:channels].T)

    def _counters(self, step: int | Array, channels: int) -> Array:
        """(channels + channels % 2,): hashed, so that the numbers of two flights never run along each other."""
        index = _indices(channels)
        if type(self._key) is not np.ndarray:
            index = namespace(self._key).asarray(index, device=array_api_compat.device(self._key))
        return scramble(index + step * CHANNELS)


def _indices(channels: int) -> np.ndarray:
    """Of the channels, made even: normals come in pairs."""
    if channels > CHANNELS:
        raise ValueError(f"channels = {channels} exceed {CHANNELS}")
    return np.arange(channels + channels % 2, dtype=np.int32)


def _box_muller(bits: Array, xp: Any, dtype: Any) -> Array:
    """Normals of the shape of ``bits``, whose rows are taken in pairs."""
    uniform = (xp.astype(_shifted(bits, 8), dtype) + 0.5) * _UNIFORM
    radius, angle = xp.sqrt(-2.0 * xp.log(uniform[0::2])), (2.0 * math.pi) * uniform[1::2]
    pairs = xp.stack([radius * xp.cos(angle), radius * xp.sin(angle)], axis=1)
    return xp.reshape(pairs, bits.shape)


def seed_from(*parts: int) -> int:
    """A seed of 32 bits, hashed from numbers: those of two flights or two streams have nothing in common."""
    return int(np.random.SeedSequence(parts).generate_state(1)[0])


class WhiteNoise:
    """Standard normals step after step: what a random effect or a sensor keeps.

    One flight (``seeds`` an int) gets floats, drawn in blocks: one by one they cost more than the control law. A batch
    gets arrays ``(N,)``.
    """

    def __init__(self, seeds: int | Array, stream: int, channels: int) -> None:
        self._draws, self._channels, self._one = Draws(seeds, stream), channels, isinstance(seeds, int | np.integer)
        self._step: Any = 0 if isinstance(seeds, int | np.integer | np.ndarray) else 0 * seeds[0]

    def __call__(self, like: Array | None = None) -> Vector:
        """``channels`` components of the next step, in the precision of ``like``."""
        step, self._step = self._step, self._step + 1
        if not self._one:
            return self._draws.normal(step, self._channels, like)
        if step % BLOCK == 0:
            self._block = self._draws.block(step, BLOCK, self._channels).tolist()
        return self._block[step % BLOCK]


class GaussMarkov:
    """What wanders: first-order Gauss-Markov processes of unit variance, step after step, as :class:`WhiteNoise`.

    Parameters
    ----------
    theta : float
        A step over the correlation time.
    """

    def __init__(self, seeds: int | Array, stream: int, channels: int, theta: float) -> None:
        self._noise = WhiteNoise(seeds, stream, channels)
        self._keep = math.exp(-theta)
        self._drive = math.sqrt(1 - self._keep**2)
        self._x: Vector | None = None

    def __call__(self, like: Array | None = None) -> Vector:
        """``channels`` components of the next step; the first are drawn as they are after any time."""
        e = self._noise(like)
        old, keep, drive = self._x, self._keep, self._drive
        self._x = e if old is None else [keep * x + drive * n for x, n in zip(old, e, strict=True)]
        return self._x
