"""Model choices as a table: each variant of the default, over seeds, judged by flight and by task.

By flight: folds over the flights that stay in the air, each judged unseen once. By task: trained on all of these and
judged on the flights that begin or end on the ground. What wins on more of the same and loses on landings is no choice.
Each is judged with the trim of the whole flight and with the causal one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from joblib import Parallel, delayed

from neural_lander.errors import UserError
from neural_lander.residual.evaluation import NAMES, evaluate
from neural_lander.residual.model import ReluNetwork
from neural_lander.residual.norms import network_bounds
from neural_lander.residual.options import TrainingOptions
from neural_lander.residual.samples import ResidualSamples
from neural_lander.residual.training import fit_predictors
from neural_lander.residual.trim import TRIMS, trim_height
from neural_lander.vehicle import Vehicle

VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "default": {},
    "features: height and velocity": {"features": "height-velocity"},
    "features: the paper's": {"features": "paper"},
    "features: paper's with battery": {"features": "paper-battery"},
    "rotor thrusts: not seen": {"thrust_input": "off"},
    "rotor thrusts: full bound": {"thrust_input": "on"},
    "height scale 0.05 m": {"height_scale": 0.05},
    "height scale 0.2 m": {"height_scale": 0.2},
    "normalised: control columns only": {"bounded": "thrust"},
    "layers: projection": {"layers": "projection"},
    "gamma 8 weights/m": {"gamma": 8.0},
    "near-ground weight 1": {"near_ground_weight": 1.0},
    "near-ground weight 10": {"near_ground_weight": 10.0},
    "per-flight trim in training: off": {"flight_trim": False},
}
"""Name -> what differs from the default."""

FIGURES = ("rmse_fa_z_N", "rmse_fa_z_low_N")
WAYS = {
    "": "flight",
    "_online_trim": "online",
}
"""What is added to ``by_flight`` and ``by_task`` -> trim."""


@dataclass(frozen=True)
class Split:
    """What is trained on and what is judged."""

    kind: str
    """``by_flight`` or ``by_task``."""
    fitted: list[bool]
    judged: list[bool]


def splits(flights: Sequence[ResidualSamples], folds: int) -> list[Split]:
    """Folds over the flights in the air, then the task split where there are landings.

    Raises
    ------
    UserError
        Where there are fewer flights in the air than folds.
    """
    air = [k for k, f in enumerate(flights) if not f.lands]
    if len(air) < folds or folds < 2:
        raise UserError(f"{len(air)} flights stay in the air, too few for {folds} folds: give more logs or fewer folds")
    rows = []
    for fold in range(folds):
        judged = set(air[fold::folds])
        rows.append(
            Split("by_flight", [k in air and k not in judged for k in range(len(flights))], _flags(judged, flights))
        )
    if len(air) < len(flights):
        landings = set(range(len(flights))) - set(air)
        rows.append(Split("by_task", _flags(set(air), flights), _flags(landings, flights)))
    return rows


def _flags(chosen: set[int], flights: Sequence[ResidualSamples]) -> list[bool]:
    return [k in chosen for k in range(len(flights))]


@dataclass(frozen=True)
class _Job:
    variant: str
    seed: int
    split: int


def ablation(
    flights: Sequence[ResidualSamples],
    vehicle: Vehicle,
    *,
    base: TrainingOptions | None = None,
    variants: Sequence[str] = tuple(VARIANTS),
    seeds: int = 5,
    folds: int = 4,
    workers: int = -1,
    progress: Callable[[float], None] = lambda fraction: None,
) -> dict[str, Any]:
    """The table as JSON values: per variant mean and worst over seeds of RMSE in N, for each of ``WAYS``.

    Raises
    ------
    UserError
        On an unknown variant, or too few flights.
    """
    unknown = sorted(set(variants) - set(VARIANTS))
    if unknown or seeds < 1:
        raise UserError(
            f"variant '{unknown[0]}' is not known; use any of: {'; '.join(VARIANTS)}" if unknown else f"seeds = {seeds}"
        )
    base, parts = base or TrainingOptions(), splits(flights, folds)
    if any(f.battery is None for f in flights):
        variants = [v for v in variants if VARIANTS[v].get("features") != "paper-battery"]
    jobs = [_Job(v, seed, k) for v in variants for seed in range(seeds) for k in range(len(parts))]
    run = (
        delayed(_run)(flights, vehicle, replace(base, **VARIANTS[j.variant], seed=j.seed), parts[j.split]) for j in jobs
    )
    results: dict[_Job, dict[str, Any]] = {}
    for done, (job, result) in enumerate(zip(jobs, Parallel(n_jobs=workers, return_as="generator")(run), strict=True)):
        results[job] = result
        progress((done + 1) / len(jobs))
    kinds = list(dict.fromkeys(part.kind for part in parts))
    return {
        "seeds": seeds,
        "folds": folds,
        "flights": {"in_the_air": sum(not f.lands for f in flights), "landings": sum(f.lands for f in flights)},
        "variants": [_row(v, kinds, parts, results, seeds) for v in variants],
        "baselines": [
            {
                "name": name,
                **{kind + way: _pool(_first(results, parts, kind), name, way) for kind in kinds for way in WAYS},
            }
            for name in NAMES
            if name != "network"
        ],
    }


def _run(
    flights: Sequence[ResidualSamples], vehicle: Vehicle, options: TrainingOptions, split: Split
) -> dict[str, Any]:
    masks = [np.full(len(f), use) for f, use in zip(flights, split.fitted, strict=True)]
    used = [k for k, use in enumerate(split.fitted) if use]
    fitted, predictors, _ = fit_predictors([flights[k] for k in used], [masks[k] for k in used], vehicle, options)
    judged = [f for f, use in zip(flights, split.judged, strict=True) if use]
    above = trim_height(vehicle)
    reports = {t: evaluate(predictors, judged, trim=TRIMS[t], trim_above=above) for t in ("flight", "online")}
    squares = {}
    for way, trim in WAYS.items():
        report = reports[trim]
        squares[way] = {name: _squares(e) for name, e in {"network": report, **report["baselines"]}.items()}
    return {
        "squares": squares,
        "slope": reports["flight"]["thrust_slope"]["mean"],
        **_layer_norms(fitted.network, vehicle),
    }


def _layer_norms(network: ReluNetwork, vehicle: Vehicle) -> dict[str, float]:
    """Bounds by the product of layer norms: contraction factor of the thrust iteration, and L over the whole input."""
    bounds = network_bounds(network)
    per_collective = float(np.linalg.norm(vehicle.thrust_direction))
    return {"contraction": per_collective * bounds.rotor_thrust, "lipschitz": bounds.total}


def _squares(errors: Mapping[str, Any]) -> list[tuple[float, int]]:
    """(sum of squares in N^2, samples), over all and near the ground: what folds can be pooled by."""
    pairs = zip(FIGURES, ("samples_scored", "samples_scored_low"), strict=True)
    return [((errors[figure] or 0.0) ** 2 * errors[count], errors[count]) for figure, count in pairs]


def _pool(parts: Sequence[Mapping[str, Any]], name: str, way: str) -> dict[str, float | None]:
    """RMSE in N over all samples of some splits."""
    pooled = {}
    for k, figure in enumerate(FIGURES):
        total, count = (sum(p["squares"][way][name][k][i] for p in parts) for i in (0, 1))
        pooled[figure] = float(np.sqrt(total / count)) if count else None
    return pooled


def _of(results: Mapping[_Job, Any], variant: str, seed: int, parts: Sequence[Split], kind: str) -> Iterator[Any]:
    return (r for j, r in results.items() if (j.variant, j.seed) == (variant, seed) and parts[j.split].kind == kind)


def _first(results: Mapping[_Job, Any], parts: Sequence[Split], kind: str) -> list[Any]:
    job = next(iter(results))
    return list(_of(results, job.variant, job.seed, parts, kind))


def _row(
    variant: str, kinds: Sequence[str], parts: Sequence[Split], results: Mapping[_Job, Any], seeds: int
) -> dict[str, Any]:
    row: dict[str, Any] = {"name": variant, "changes": dict(VARIANTS[variant])}
    for kind in kinds:
        for way in WAYS:
            key = kind + way
            per_seed = [_pool(list(_of(results, variant, seed, parts, kind)), "network", way) for seed in range(seeds)]
            row[key] = {}
            for figure in FIGURES:
                values = [value for p in per_seed if (value := p[figure]) is not None]
                row[key] |= {
                    figure: float(np.mean(values)) if values else None,
                    f"{figure}_worst_seed": max(values, default=None),
                }
    mine = [r for j, r in results.items() if j.variant == variant]
    row["thrust_slope_mean"] = float(np.mean([r["slope"] for r in mine]))
    row["contraction_factor_product"] = max(r["contraction"] for r in mine)
    row["lipschitz_total_product"] = max(r["lipschitz"] for r in mine)
    return row
