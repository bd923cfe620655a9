"""Several sources, each at its own rate, joined on one time base without inventing what none of them measured.

- The base is the records of the fastest source of motion; it is not resampled.
- Records whose time runs backwards or alone far off are dropped. Where the clock of a source jumps or stops for more
  than ``SPLIT`` seconds a new stretch begins, and the longest stretch is kept; where all needed sources pause at once,
  that is a pause between two flights, and both are kept.
- Records of the base that fall into a hole of a slower source, or across a reset of the estimator, are left out.
- Records that a source's regular clock shows to be missing are counted.

Whatever is lost is said in a sentence, and the rate of every source goes into the metadata. Three losses leave no
trace: of a source's first records within ``APART``, of its last two, and of any from a source whose clock is irregular.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from neural_lander.errors import UserError
from neural_lander.flightlog.differentiate import VELOCITY_FROM, WORDS, differentiated
from neural_lander.flightlog.gaps import all_gap_words
from neural_lander.flightlog.log import continuous_quaternions
from neural_lander.flightlog.resampling import linear
from neural_lander.rotation import apply, normalise, quaternion_to_matrix

SPLIT = 10.0  # s without a record: another flight, or a clock that jumped; at most 0.4 s in 31 flights; guess
HOLE_PERIODS = 4.0  # times the median period; autopilots' loggers drop one record in a row without harm
SHORTEST_HOLE = 0.1  # s
LEAST_SHARE = 0.5  # of the flight: an optional source that covers less is left out
APART = 0.2  # s by which sources may begin and end apart before it is said; loggers subscribe to them one by one
EARLY_END = 2.0  # periods of its own by which a source may end before the last of the others; real logs reach 1.0
LARGEST = 1e9  # in any SI unit of a flight: beyond it a value is damage
NORM_ERROR = 0.1  # of a quaternion's squared norm
STEP = 0.1  # m; a guess: estimators correct by less than this from one record to the next
STEP_SHARE = 0.5  # of the way flown between two records
STEP_ACCELERATION = 30.0  # m/s^2, three times gravity
MOTION = ("position", "velocity", "attitude", "body_rates", "specific_force")
HELD = ("battery_voltage",)  # may begin late and end early: it changes slowly
REQUIRED = ("position", "velocity", "attitude")


@dataclass(frozen=True, eq=False)
class Stream:
    """One source at its own times: of a :class:`FlightLog` field, in SI and our frames."""

    t: np.ndarray  # (N,) s, of one clock for all streams
    values: np.ndarray  # (N,) or (N, k)


@dataclass(frozen=True, eq=False)
class Joined:
    """All sources on one time base."""

    t: np.ndarray  # (N,) s
    fields: Mapping[str, np.ndarray]
    metadata: Mapping[str, Any]
    """``source_rates_Hz`` by field, and ``clock_jumps`` where there are any."""
    warnings: tuple[str, ...]


def join(streams: Mapping[str, Stream], source: str, resets: Sequence[tuple[float, float]] = ()) -> Joined:
    """All streams at the times of the fastest source of motion.

    Parameters
    ----------
    streams
        By ``FlightLog`` field; position, velocity and attitude must be there.
    source
        Begins every message.
    resets
        Times in s of the records before and after each reset of the estimator: nothing is interpolated across.

    Raises
    ------
    UserError
        Where a needed source is missing, or the needed ones share less than two records.
    """
    said: list[str] = []
    clean, jumps = _clean_all(streams, said)
    missing = [name for name in REQUIRED if name not in clean]
    if missing:
        raise UserError(f"{source}: the log lacks the needed field '{missing[0]}': it holds fewer than 2 records of it")
    start, stop, uncovered = _span(clean)
    said += [f"{name}: there for less than half of the flight, left out" for name in uncovered]
    clean = {name: stream for name, stream in clean.items() if name not in uncovered}
    if "specific_force" not in clean:
        said.append("specific_force: none is readable, so that acceleration has to be differentiated from velocity")
    first, last = min(s.t[0] for s in clean.values()), max(s.t[-1] for s in clean.values())
    if (start - first) + (last - stop) > APART:
        said.append(f"all sources are there for {stop - start:.3g} of {last - first:.3g} s only; the rest is left out")
    else:
        said += _early_ends(clean, last)
    base = max((clean[name].t for name in MOTION if name in clean), key=len)
    t = base[(base >= start) & (base <= stop)]
    t = t[~_within(t, [*_all_holes(clean, start, stop, said), *resets])]
    if len(t) < 2:
        raise UserError(f"{source}: position, velocity and attitude are not there at the same time")
    pauses = [(a, b) for a, b in _shared_pauses([clean[name].t for name in REQUIRED]) if t[0] < b and a < t[-1]]
    if pauses:
        longest = max(b - a for a, b in pauses)
        places = "one place" if len(pauses) == 1 else f"{len(pauses)} places"
        said.append(f"no source has a record at {places}, for up to {longest:.4g} s: between two flights")
    for begin, end in zip([t[0], *(b for _, b in pauses)], [*(a for a, _ in pauses), t[-1]], strict=True):
        said += all_gap_words({name: _around(stream.t, begin, end) for name, stream in clean.items()}, float(t[0]))
    rates = {name: round(1 / float(np.median(np.diff(stream.t))), 2) for name, stream in clean.items()}
    return Joined(
        t,
        {name: _at(name, stream, t) for name, stream in clean.items()},
        {"source_rates_Hz": rates, **({"clock_jumps": jumps} if jumps else {})},
        tuple(f"{source}: {text}" for text in said),
    )


def with_velocity(streams: Mapping[str, Stream]) -> tuple[dict[str, Stream], dict[str, str]]:
    """With the velocity differentiated from sound positions where there is none, and metadata that says so."""
    position, _ = _sound("position", streams["position"])
    position, _, _ = _longest_run(position, _pauses(position.t))
    if "velocity" in streams or len(position.t) < 2:
        return dict(streams), {}
    velocity = Stream(position.t, differentiated(position.t, position.values))
    return {**streams, "velocity": velocity}, {VELOCITY_FROM: WORDS}


def _clean_all(streams: Mapping[str, Stream], said: list[str]) -> tuple[dict[str, Stream], int]:
    """Streams with at least two sound records, and the most places at which the clock of one jumps."""
    clean: dict[str, Stream] = {}
    jumps = 0
    sound = {name: _sound(name, stream) for name, stream in streams.items()}
    pauses = _shared_pauses([stream.t for name, (stream, _) in sound.items() if name in REQUIRED])
    for name, (stream, texts) in sound.items():
        kept, cuts, cut = _longest_run(stream, pauses)
        said += [f"{name}: {text}" for text in (*texts, *cut)]
        jumps = max(jumps, cuts)
        if len(kept.t) >= 2:
            clean[name] = kept
    return clean, jumps


def _all_holes(streams: Mapping[str, Stream], start: float, stop: float, said: list[str]) -> list[tuple[float, float]]:
    """Times in s of the records on either side of every hole in any stream."""
    spans: list[tuple[float, float]] = []
    for name, stream in streams.items():
        holes = _holes(stream.t, start, stop) if name not in HELD else []
        within = [b - a for a, b in holes if b - a <= SPLIT]  # a flight, not between two
        if within:
            longest = max(within)
            said.append(f"{name}: {len(within)} holes, the longest of {longest:.3g} s; nothing is made up for them")
        spans += holes
    return spans


def _shared_pauses(needed: Sequence[np.ndarray]) -> list[tuple[float, float]]:
    """Spans in s, longer than ``SPLIT``, in which none of these times (N,) lies though some do before and after."""
    shared = _pauses(needed[0]) if needed else []
    for t in needed[1:]:
        both = [(max(a, c), min(b, d)) for a, b in shared for c, d in _pauses(t)]
        shared = [(a, b) for a, b in both if b - a > SPLIT]
    return shared


def _pauses(t: np.ndarray) -> list[tuple[float, float]]:
    return [(t[k], t[k + 1]) for k in np.flatnonzero(np.diff(t) > SPLIT)]


def _sound(name: str, stream: Stream) -> tuple[Stream, list[str]]:
    """Records of sound values whose times fit their neighbours', and what is said of the others."""
    said = []
    rows = stream.values.reshape(len(stream.t), -1)
    sound = (np.abs(rows) < LARGEST).all(axis=1) & np.isfinite(stream.t)  # NaN compares as false
    if name == "attitude":
        sound &= np.abs(np.sum(np.where(sound[:, None], rows, 0.0) ** 2, axis=1) - 1) < NORM_ERROR
    if not sound.all():
        said.append(f"{int((~sound).sum())} records with impossible values (no number, or no rotation) are dropped")
    t, values = stream.t[sound], stream.values[sound]
    rising = plausible_times(t)
    if not rising.all():
        said.append(f"{int((~rising).sum())} records whose time does not fit their neighbours' are dropped")
    return Stream(t[rising], values[rising]), said


def _longest_run(stream: Stream, pauses: Sequence[tuple[float, float]]) -> tuple[Stream, int, list[str]]:
    """The longest stretch of rising time, how often its clock jumps, and what is said of that; pauses are no jumps."""
    t, values = stream.t, stream.values
    said, steps, between = [], np.diff(t), np.zeros(max(len(t) - 1, 0), dtype=bool)
    for a, b in pauses:
        between |= np.minimum(t[1:], b) - np.maximum(t[:-1], a) > steps / 2  # sources end a record or two apart
    cuts = np.flatnonzero((steps <= 0) | ((steps > SPLIT) & ~between)) + 1
    if len(cuts):
        stretches = list(zip([0, *cuts], [*cuts, len(t)], strict=True))
        a, b = max(stretches, key=lambda s: s[1] - s[0])
        said.append(
            f"the clock jumps or stops at {len(cuts)} places; of {len(t)} records the longest run, {b - a}, is kept"
        )
        t, values = t[a:b], values[a:b]
    return Stream(t, values), len(cuts), said


def plausible_times(t: np.ndarray) -> np.ndarray:
    """False for single records between two others whose times are in order without it, and for repeated times."""
    keep = np.ones(len(t), dtype=bool)
    for _ in range(3):  # neighbours can be damaged as well
        index = np.flatnonzero(keep)
        if len(index) < 3:
            break
        before, at, after = t[index[:-2]], t[index[1:-1]], t[index[2:]]
        alone = (before <= after) & ((at < before) | (at > after) | (at == before))
        alone[1:] &= ~alone[:-1]
        keep[index[1:-1][alone]] = False
        if not alone.any():
            break
    index = np.flatnonzero(keep)
    if len(index) > 2:
        first, last = t[index[:2]], t[index[-2:]]
        keep[index[0]] &= 0 < first[1] - first[0] < SPLIT
        keep[index[-1]] &= 0 < last[1] - last[0] < SPLIT
    return keep


def _span(streams: Mapping[str, Stream]) -> tuple[float, float, list[str]]:
    """Begin and end of the time in which all sources are there, and the optional ones that are not there enough."""
    start = max(streams[name].t[0] for name in REQUIRED)
    stop = min(streams[name].t[-1] for name in REQUIRED)
    uncovered = []
    for name, stream in streams.items():
        shared = min(stop, stream.t[-1]) - max(start, stream.t[0])
        if name not in REQUIRED and shared < LEAST_SHARE * (stop - start):
            uncovered.append(name)
    cropping = [s for name, s in streams.items() if name not in (*uncovered, *HELD)]
    return max(s.t[0] for s in cropping), min(s.t[-1] for s in cropping), uncovered


def _early_ends(streams: Mapping[str, Stream], last: float) -> list[str]:
    """What is said of sources that end before the others."""
    said = []
    for name, stream in streams.items():
        records = (last - stream.t[-1]) / float(np.median(np.diff(stream.t)))
        if records > EARLY_END:
            said.append(f"{name}: ends {last - stream.t[-1]:.3g} s, about {records:.0f} records, before the others")
    return said


def _holes(t: np.ndarray, start: float, stop: float) -> list[tuple[float, float]]:
    steps = np.diff(t)
    limit = max(HOLE_PERIODS * float(np.median(steps)), SHORTEST_HOLE)
    return [(t[k], t[k + 1]) for k in np.flatnonzero(steps > limit) if t[k + 1] > start and t[k] < stop]


def _around(t: np.ndarray, start: float, stop: float) -> np.ndarray:
    """Times from the last one at or before ``start`` to the first one at or after ``stop``."""
    return t[max(0, int(np.searchsorted(t, start, "right")) - 1) : int(np.searchsorted(t, stop)) + 1]


def _within(t: np.ndarray, spans: Sequence[tuple[float, float]]) -> np.ndarray:
    inside = np.zeros(len(t), dtype=bool)
    for a, b in spans:
        inside |= (t > a) & (t < b)
    return inside


def _at(name: str, stream: Stream, t: np.ndarray) -> np.ndarray:
    """Linear interpolation; quaternions are made sign-continuous before."""
    values = continuous_quaternions(stream.values) if name == "attitude" else stream.values
    return linear(t, stream.t, values)


def remove_steps(values: np.ndarray, after: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """``(N, k)`` without the given steps: what precedes record ``after[i]`` is moved by ``steps[i]``."""
    offset = np.zeros_like(values)
    for k, step in zip(after, steps, strict=True):
        offset[:k] += step
    return values + offset


def to_world(fields: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Fields as they are, with the specific force ``(N, 3)`` taken from the body to the world by the attitude."""
    if "specific_force" not in fields:
        return dict(fields)
    R = quaternion_to_matrix(normalise(fields["attitude"]))
    return {**fields, "specific_force": np.asarray(apply(R, fields["specific_force"]))}


def position_steps(t: np.ndarray, position: np.ndarray, velocity: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Steps of the position ``(N, 3)`` that the velocity does not explain: record after each, and step ``(K, 3)``."""
    dt = np.diff(t)[:, None]
    step = np.diff(position, axis=0) - 0.5 * (velocity[1:] + velocity[:-1]) * dt
    explained = (
        STEP + STEP_SHARE * np.linalg.norm(velocity[1:], axis=1) * dt[:, 0] + 0.5 * STEP_ACCELERATION * dt[:, 0] ** 2
    )
    after = np.flatnonzero((np.linalg.norm(step, axis=1) > explained) & (dt[:, 0] > 0) & (dt[:, 0] < 1.0))
    return after + 1, step[after]
