"""Learning on: from a bundle, its old flights and new ones to a model that may take the old one's place.

Old and new model are judged on flights that neither saw. Where the new flights hold enough of them, the model that is
judged is the one that is delivered: it is not fitted again on what judged it. A landing or two do not; then pairs of
models that are fitted as the old and the new one are, each pair without a part of all flights, are judged on that part
(``cross_fitting``). Which flights judge follows from the flights alone, so that no seed picks its judge.

The label is the whole residual m a - m g - R f_u whatever was compensated in flight, since the thrust in it is the one
that was produced, compensation and all. Nothing is to be subtracted: m a - m g - R f_u - f_a_hat would be what the old
model missed, right for a correction that flies on top of the old model, and the compensation counted twice for a model
that takes its place. What the flown model missed is reported beside it.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from neural_lander.bundle import Bundle
from neural_lander.errors import NeuralLanderWarning, UserError
from neural_lander.flightlog.log import FlightLog
from neural_lander.residual.digest import log_sha256, recorded
from neural_lander.residual.evaluation import Predictors, evaluate
from neural_lander.residual.options import TrainingOptions
from neural_lander.residual.resample import SAMPLE_PERIOD
from neural_lander.residual.retraining.cross_fitting import Dealt, compare_cross_fitted
from neural_lander.residual.retraining.gates import DATA, Gate, blocks_near_ground, compare, no_worse_near_ground
from neural_lander.residual.retraining.manifest import TRAIN, VALIDATION, WITHDRAWN, Entry, active, role
from neural_lander.residual.retraining.new_flight import flight_row
from neural_lander.residual.retraining.poison import check_bias, check_itself, hover_bias, same_flight
from neural_lander.residual.samples import ResidualSamples, residual_samples
from neural_lander.residual.training import (
    Progress,
    TrainingResult,
    dataset_entry,
    fit_fading_domain,
    fit_predictors,
    warn_of_shortfall,
)
from neural_lander.residual.trim import trim_height

VALIDATION_SHARE = 0.25  # of the new flights, rounded up: they judge from then on, and fit no model
ENOUGH_BLOCKS = 12  # of 5 s near the ground that judge by themselves, a flight of a minute: less bounds no 3 %; a guess
LEAST_LOW = round(1.0 / SAMPLE_PERIOD)  # samples near the ground that make a flight fit to judge there; a guess


@dataclass(frozen=True)
class Flight:
    """One flight and what is kept of it."""

    log: FlightLog
    samples: ResidualSamples
    entry: dict[str, Any]

    @property
    def low(self) -> int:
        """Samples near the ground to be judged on."""
        return int((self.samples.scored & self.samples.low).sum())


@dataclass(frozen=True)
class Retrained:
    """A new model, and how it did against the old one."""

    result: TrainingResult
    gate: Gate
    judged: str
    """On what, in one line."""


def options_of(bundle: Bundle, seed: int | None) -> TrainingOptions:
    """The choices the bundle was trained with; options that it is too old to know have their defaults."""
    training = bundle.info["training"]
    stored = {f.name: training[f.name] for f in fields(TrainingOptions) if f.name in training}
    options = TrainingOptions(**{**stored, "hidden": tuple(stored.get("hidden", TrainingOptions.hidden))})
    return options if seed is None else replace(options, seed=seed)


def unknown_logs(logs: Iterable[FlightLog], entries: Sequence[Entry]) -> tuple[list[FlightLog], list[dict[str, str]]]:
    """The logs that the bundle does not use yet, and those left out because it does or because they came twice.

    A withdrawn flight that is given again comes back.
    """
    new: dict[str, FlightLog] = {}
    ignored = []
    for log in logs:
        sha256, known = log_sha256(log), recorded(log, active(entries))
        if known is not None or sha256 in new:
            twin = known["log"] if known is not None else Path(new[sha256].source).name
            place = "in the bundle" if known is not None else "given"
            ignored.append({"log": log.source, "reason": f"the same flight is already {place} as {twin}"})
        else:
            new[sha256] = log
    return list(new.values()), ignored


def old_flights(
    bundle: Bundle, entries: Sequence[Entry], logs: Sequence[FlightLog], options: TrainingOptions, progress: Progress
) -> list[Flight]:
    """Samples of the flights that the bundle rests on.

    Raises
    ------
    UserError
        Where one of them can no longer be used, with the remedy.
    """
    flights = []
    for entry, log in zip(entries, logs, strict=True):
        try:
            samples = residual_samples(log, bundle.vehicle, cut_off=options.cut_off)
        except UserError as error:
            raise UserError(f"{error}; take it out with --without {entry['log']}") from error
        kept = {"role": role(entry), "added": entry.get("added", 1)}
        flights.append(Flight(log, samples, {**dataset_entry(log, samples), **kept}))
        progress("old flights", len(flights) / len(entries))
    return flights


def check_new(
    bundle: Bundle,
    old: Sequence[Flight],
    logs: Sequence[FlightLog],
    options: TrainingOptions,
    number: int,
    progress: Progress,
) -> tuple[list[Flight], Gate, list[dict[str, Any]]]:
    """Samples of the new flights, the gate ``data``, and a row on every flight for the report.

    Parameters
    ----------
    number
        Of the version that the flights are for.
    """
    above = trim_height(bundle.vehicle)
    biases = [hover_bias(f.samples, bundle.vehicle, bundle.cheeseman_bennett) for f in old]
    biases = [b for b in biases if np.isfinite(b)]
    present = Predictors(bundle.model, bundle.cheeseman_bennett, bundle.mean)
    flights: list[Flight] = []
    causes: list[str] = []
    rows = []
    for k, log in enumerate(logs):
        try:
            check_itself(log, bundle.vehicle)
            samples = residual_samples(log, bundle.vehicle, cut_off=options.cut_off)
            bias = hover_bias(samples, bundle.vehicle, bundle.cheeseman_bennett)
            check_bias(log.source, bias, biases)
            for other in (*old, *flights):
                if same_flight(log, other.log):
                    raise UserError(
                        f"log {log.source} is the flight {other.entry['log']} once more, or a part of it: leave one out"
                    )
        except UserError as error:
            causes.append(str(error))
        else:
            flights.append(Flight(log, samples, {**dataset_entry(log, samples), "added": number}))
            row = flight_row(log, samples, present, above)
            rows.append({"log": flights[-1].entry["log"], **row, "hover_bias_of_weight": bias})
        progress("new flights", (k + 1) / len(logs))
    checked = f"{_counted(len(logs), 'new log')} fit vehicle '{bundle.vehicle.name}' and the {len(biases)} old flights"
    checked = checked if logs else "no new log was given"
    figures = {"refused": causes, "hover_bias_of_weight_old": biases}
    return flights, Gate(DATA, not causes, "; ".join(causes) or checked, figures), rows


def refit(
    bundle: Bundle,
    old: Sequence[Flight],
    new: Sequence[Flight],
    withdrawn: Sequence[Flight],
    lost: bool,
    options: TrainingOptions,
    progress: Progress,
) -> Retrained:
    """Fit on old and new flights and judge the old and the new model on flights that neither saw.

    Parameters
    ----------
    old, new
        Flights in use. Of ``new`` a share is set aside to judge; of a lone one, where no earlier flight was, blocks.
    withdrawn
        Flights that the old model was fitted on and the new one is not, as far as they are found.
    lost
        Whether some of these are not found.

    Raises
    ------
    UserError
        Where too little is left to fit on.
    """
    above, vehicle = trim_height(bundle.vehicle), bundle.vehicle
    seed = seed_of([*old, *new])
    flights, judging, fitting, how = _split(old, new, seed)
    samples = [f.samples for f in flights]
    before = Predictors(bundle.model, bundle.cheeseman_bennett, bundle.mean)
    unseen = blocks_near_ground(samples, judging)
    direct = unseen >= ENOUGH_BLOCKS
    if not direct:
        flights = [*old, *(_as(f, TRAIN) for f in new)]
        samples = [f.samples for f in flights]
        fitting = [np.full(len(f.samples), role(f.entry) == TRAIN) for f in flights]
    fitted, after, slope = fit_predictors(samples, fitting, vehicle, options, lambda done: progress("fit", done))
    warn_of_shortfall(fitted, options)
    progress("domain", 0.0)
    domain, fade = fit_fading_domain(samples, fitting, vehicle, options)
    progress("domain", 1.0)
    report = None
    if direct:
        compared = [compare(before, after, f, m, above) for f, m in zip(samples, judging, strict=True)]
        report = evaluate(after, samples, judging)
        report["flights"] = [entry for entry in report["flights"] if entry["samples_scored"]]
    else:
        fits = [role(f.entry) == TRAIN for f in old]
        dealt = [Dealt(f.samples, by_old=use, by_new=use, judges=True) for f, use in zip(old, fits, strict=True)]
        dealt += [Dealt(f.samples, by_old=False, by_new=True, judges=True) for f in new]
        dealt += [Dealt(f.samples, by_old=True, by_new=False, judges=False) for f in withdrawn]
        itself = before if lost else None
        compared, folds = compare_cross_fitted(
            dealt, vehicle, options, itself, lambda done: progress("judging", done), (fitted.effort,)
        )
        how = f"every flight, by {folds} pairs of models fitted like the old and the new one without it"
        how += ", and blocks of 5 s of the new" if new else ""
        warnings.warn(
            f"flights that neither model saw hold {unseen} blocks of 5 s near the ground, and {ENOUGH_BLOCKS} are "
            f"needed to judge by these flights alone. Judged instead on {how}",
            NeuralLanderWarning,
            stacklevel=3,
        )
    gate = no_worse_near_ground(compared, seed)
    judges = [f.entry["log"] for f, c in zip(flights, compared, strict=True) if c.judging.any()]
    result = TrainingResult(
        predictors=after,
        vehicle=vehicle,
        options=options,
        used=fitted.options,
        fit_report=report,
        split={
            "kind": how,
            "held_out": judges,
            "final_fit": "the network that was judged, not fitted again on what judged it" if direct else "all flights",
        },
        datasets=[f.entry for f in flights],
        slope=slope,
        domain=domain,
        fade=fade,
        shortfall=fitted.shortfall,
        optimisation_s=fitted.optimisation_s,
        training_samples=sum(int((s.usable & m).sum()) for s, m in zip(samples, fitting, strict=True)),
    )
    return Retrained(result, gate, f"{how}: {', '.join(judges)}" if direct else how)


def seed_of(flights: Sequence[Flight]) -> int:
    """A seed from what was flown, whatever the order: which flights judge cannot be chosen by trying seeds."""
    hashes = "".join(sorted(str(f.entry["sha256"]) for f in flights))
    return int(hashlib.sha256(hashes.encode("ascii")).hexdigest()[:8], 16)


def with_withdrawn(result: TrainingResult, entries: Sequence[Entry]) -> TrainingResult:
    """The result with the entries that are withdrawn in its manifest too, but for flights that came back."""
    used = {entry["sha256"] for entry in result.datasets} | {entry["file_sha256"] for entry in result.datasets}
    gone = [{**e, "role": WITHDRAWN} for e in entries if role(e) == WITHDRAWN and e["sha256"] not in used]
    return replace(result, datasets=[*result.datasets, *gone])


def _split(
    old: Sequence[Flight], new: Sequence[Flight], seed: int
) -> tuple[list[Flight], list[np.ndarray], list[np.ndarray], str]:
    """All flights with their roles, the samples of each that judge, those that may be fitted on, and how in words."""
    earlier = [f for f in old if role(f.entry) == VALIDATION]
    rng = np.random.default_rng(seed)
    count = int(np.ceil(VALIDATION_SHARE * len(new))) if len(new) > 1 else 0
    order = [new[k] for k in rng.permutation(len(new))]
    order.sort(key=lambda flight: flight.low < LEAST_LOW)  # stable: by chance among those that judge near the ground
    chosen = {id(flight) for flight in order[:count]}
    flights = [_as(f, VALIDATION if id(f) in chosen else role(f.entry)) for f in (*old, *new)]
    judging = [np.full(len(f.samples), role(f.entry) == VALIDATION) for f in flights]
    kinds = [_counted(count, "new flight")] if count else []
    kinds += [_counted(len(earlier), "earlier validation flight")] if earlier else []
    return flights, judging, [~m for m in judging], " and ".join(kinds) or "no flight"


def _counted(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n or 'no'} {noun}s"


def _as(flight: Flight, role_: str) -> Flight:
    return replace(flight, entry={**flight.entry, "role": role_})
